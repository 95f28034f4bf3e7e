"""Ports that stay the same from one start to the next."""

import json
import secrets
import socket
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from keyweave.common.errors import InvalidInputError, PreconditionError, Violation
from keyweave.common.process import write_atomically

HOST = "127.0.0.1"
# Below Linux's ephemeral range (32768 up), from which the kernel would hand a port that is free for a
# moment, as during a restart, to any outgoing connection.
_FIRST, _LAST = 20000, 32000
_ATTEMPTS = 1000


class Held:
    """Ports that are given to nobody else between being chosen and being listened on, and in a restart.

    A socket that is bound to a port and does not listen keeps out nobody who sets
    SO_REUSEADDR, as servers do.
    """

    def __init__(self) -> None:
        self._sockets = ExitStack()

    def __enter__(self) -> Self:
        """Hold until the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self._sockets.close()

    def hold(self, held: Collection[int]) -> None:
        """Hold these too."""
        for port in held:
            self._sockets.enter_context(_socket()).bind((HOST, port))


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
        if port not in taken and _is_free(port, of_nobody=True):
            return port
    raise PreconditionError(f"no free port was found between {_FIRST} and {_LAST} on {HOST}")


def _is_free(port: int, *, of_nobody: bool = False) -> bool:
    """Whether a server could listen there; with `of_nobody` also whether nobody holds it or did lately."""
    with _socket() as probe:
        if of_nobody:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _socket() -> socket.socket:
    """One that, as those of servers, is not kept out by connections that linger after a close."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made
