"""Ports that stay the same from one start to the next."""

import json
import secrets
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from keyweave.common.errors import InvalidInputError, PreconditionError, Violation
from keyweave.common.process import write_atomically

HOST = "127.0.0.1"
# Below Linux's ephemeral range (32768 up), from which the kernel would hand a port that is free for a
# moment, as during a restart, to any outgoing connection.
_FIRST, _LAST = 20000, 32000
_ATTEMPTS = 1000


def choose(fixed: Mapping[str, int | None], remembered_in: Path) -> dict[str, int]:
    """A port for each use: the fixed one, the one it had before if that is free, or a free one.

    `fixed` maps each use to its port in the scenario, or None.
    """
    remembered = _remembered(remembered_in)
    chosen = {use: port for use, port in fixed.items() if port is not None}
    _check_fixed(chosen)
    taken = set(chosen.values())
    for use in fixed.keys() - chosen.keys():
        before = remembered.get(use)
        port = before if before is not None and before not in taken and _is_free(before) else free(taken)
        chosen[use] = port
        taken.add(port)
    ordered = {use: chosen[use] for use in fixed}
    write_atomically(remembered_in, json.dumps(ordered, indent=2) + "\n")
    return ordered


def _check_fixed(chosen: Mapping[str, int]) -> None:
    users: dict[int, str] = {}
    found = []
    for use, port in chosen.items():
        other = users.setdefault(port, use)
        if other != use:
            found.append(Violation(f"ports {use}", f"{port} is also that of {other}; give each its own"))
        elif not _is_free(port):
            found.append(
                Violation(f"ports {use}", f"{port} is in use; stop what listens there, or leave the port out")
            )
    if found:
        raise InvalidInputError(found)


def _remembered(path: Path) -> dict[str, int]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(use): int(port) for use, port in content.items()}
    except (OSError, ValueError, AttributeError):
        # Nothing remembered; new ports are as good, only not the same.
        return {}


def free(taken: Collection[int]) -> int:
    """A port that nobody listens on and that no outgoing connection is given by chance."""
    for _ in range(_ATTEMPTS):
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        if port not in taken and _is_free(port):
            return port
    raise PreconditionError(f"no free port was found between {_FIRST} and {_LAST} on {HOST}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections that linger after a close do not keep a port in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
