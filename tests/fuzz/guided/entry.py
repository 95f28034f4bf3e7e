"""What a parser is to the fuzzer, and the seeds that lead it past the first check."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from tests.protocol.golden import DIRECTORY

Parsed = TypeVar("Parsed", bound=Message)
# A message of a sequence has its length before it.
_LENGTH_BYTES = 2


@dataclass(frozen=True)
class Entry:
    """One way in for bytes. `take` feeds it; whatever that raises is a finding."""

    name: str
    take: Callable[[bytes], None]
    # Inputs that are right, or nearly.
    seeds: Callable[[], Iterable[bytes]]
    # Inputs in the quick run, seeds and mutated ones.
    quick: int = 150
    # Longer inputs are not tried: what is slow in proportion is told by `max_bytes`, not by the fuzzer.
    max_bytes: int = 4096


@cache
def _golden_files() -> dict[str, tuple[bytes, ...]]:
    found: dict[str, tuple[bytes, ...]] = {}
    for path in sorted(DIRECTORY.glob("*.json")):
        entries = json.loads(path.read_text())
        for entry in entries if isinstance(entries, list) else ():
            found[entry["message"]] = (*found.get(entry["message"], ()), bytes.fromhex(entry["hex"]))
    return found


def golden(kind: type[Message]) -> tuple[bytes, ...]:
    """The bytes of a message in the golden files, every kind of its oneof."""
    descriptor = kind.DESCRIPTOR
    return _golden_files()[descriptor.full_name]


def sequence(messages: Iterable[bytes]) -> bytes:
    """Messages one after the other."""
    return b"".join(len(each).to_bytes(_LENGTH_BYTES, "big") + each for each in messages)


def parts(data: bytes) -> Iterator[bytes]:
    """The messages of a sequence; the last may be cut short."""
    at = 0
    while at + _LENGTH_BYTES <= len(data):
        size = int.from_bytes(data[at : at + _LENGTH_BYTES], "big")
        at += _LENGTH_BYTES
        yield data[at : at + size]
        at += size


def parsed(kind: type[Parsed], data: bytes) -> Parsed | None:
    """The message; None where gRPC would have refused it before anybody of ours saw it."""
    try:
        return kind.FromString(data)
    except DecodeError:
        return None


def mutated(random: Random, data: bytes, other: bytes) -> bytes:
    """`data` with a few things wrong, as libFuzzer would begin."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(changed))
        match random.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                del changed[at : at + random.randint(1, 8)]
            case 2:
                changed[at:at] = random.randbytes(random.randint(1, 8))
            case 3:
                start = random.randint(0, len(other))
                changed[at:at] = other[start : start + random.randint(1, 64)]
            case 4 if at < len(changed):
                changed[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, ord("0"), ord('"'), ord("[")))
            case _:
                changed[at:at] = changed[at : at + random.randint(1, 64)]
    return bytes(changed)
