"""The ledger's files: finding, checking and reading them. Everything here blocks; call it from a thread.

A file is named after the first sequence in it. Only the newest is written to; a reader stops at the end it
found when it opened the file, so it needs no lock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyweave.agent.ledger import lines

SUFFIX = ".jsonl"
# What the line of a key begins with; those of heads and notes do not.
KEY_LINE = b'{"sequence":'


def segments(directory: Path) -> list[Path]:
    """All files of the ledger, oldest first."""
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal())


def segment_path(directory: Path, first_sequence: int) -> Path:
    """The file that begins with a sequence."""
    return directory / f"{first_sequence:020d}{SUFFIX}"


@dataclass(frozen=True, slots=True)
class State:
    """Where a file ends."""

    last_digest: bytes
    next_sequence: int
    last_time_unix_nanos: int
    # Length of its whole lines; what comes after is a line that was torn by a crash.
    whole_bytes: int
    torn_bytes: int
    # What is wrong with it; empty where nothing is.
    problem: str


def check(path: Path, previous: bytes | None, *, head_only: bool = False) -> State:
    """Follow the chain through one file, which should begin after the digest `previous` (None: any)."""
    problem, whole, torn = "", 0, 0
    digest, sequence, time_nanos, last_key = previous or lines.NO_DIGEST, 1, 0, b""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                torn = len(line)
                break
            whole += len(line)
            if number == 1:
                digest, sequence, time_nanos, problem = _check_head(path, line, previous)
            elif head_only:
                break
            if not problem and not lines.follows(line, digest):
                problem = f"{path.name}: line {number} does not follow from the line before it"
            digest = lines.digest_of(line) or digest
            if line.startswith(KEY_LINE):
                last_key = line
    members = lines.members_of(last_key)
    if last_key:
        sequence = lines.count_in(members, "sequence", sequence) + 1
        time_nanos = lines.count_in(members, "time_unix_nanos", time_nanos)
    return State(digest, sequence, time_nanos, whole, torn, problem)


def _check_head(path: Path, line: bytes, previous: bytes | None) -> tuple[bytes, int, int, str]:
    head = lines.members_of(line)
    try:
        stated = bytes.fromhex(head["previous_digest"])
        sequence, time_nanos = int(head["next_sequence"]), int(head["time_unix_nanos"])
    except (KeyError, OverflowError, TypeError, ValueError):
        return previous or lines.NO_DIGEST, 1, 0, f"{path.name} does not begin as a ledger does"
    cut_off = previous is not None and stated != previous
    problem = f"{path.name} does not follow from the file before it" if cut_off else ""
    return stated, sequence, time_nanos, problem


def head_time_unix_nanos(path: Path) -> int:
    """When a file was begun; 0 where that cannot be told."""
    try:
        with path.open("rb") as file:
            return lines.count_in(lines.members_of(file.readline()), "time_unix_nanos", 0)
    except OSError:
        return 0


def overlapping(directory: Path, from_nanos: int) -> list[Path]:
    """The files that may hold lines written at or after a moment, oldest first."""
    paths = segments(directory)
    begun = [head_time_unix_nanos(path) for path in paths]
    # A file ends when the next begins.
    return [
        path
        for index, path in enumerate(paths)
        if index + 1 == len(paths) or begun[index + 1] >= from_nanos or not begun[index + 1]
    ]


def key_lines(path: Path, needle: bytes, end: int | None = None) -> Iterator[dict[str, Any]]:
    """The members of all keys' lines that contain `needle`, below an offset; a file that is gone has none."""
    try:
        file = path.open("rb")
    except FileNotFoundError:  # kept long enough
        return
    with file:
        read = 0
        for line in file:
            read += len(line)
            if (end is not None and read > end) or not line.endswith(b"\n"):
                return
            if needle in line and line.startswith(KEY_LINE):
                yield lines.members_of(line)
