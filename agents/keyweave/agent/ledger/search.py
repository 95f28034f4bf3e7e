"""Looking things up in the ledger. Everything here blocks; call it from a thread, a page at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyweave.agent.ledger import lines, segments
from keyweave.common.names import NodeName
from keyweave.v1 import agent_pb2, types_pb2

PAGE_ENTRIES = 1000
# Whatever the lines hold, a page stays well below gRPC's limit of 4 MiB.
PAGE_BYTES = 1024 * 1024
# No line is shorter than this.
_LEAST_LINE_BYTES = 300

_Members = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Part:
    """A file, and how much of it there was when the search began."""

    path: Path
    end: int


def _parts(directory: Path, from_nanos: int) -> list[_Part]:
    parts = []
    for path in segments.overlapping(directory, from_nanos):
        try:
            parts.append(_Part(path, path.stat().st_size))
        except FileNotFoundError:  # kept long enough
            continue
    return parts


def pages(directory: Path, node: NodeName, query: agent_pb2.LedgerQuery) -> Iterator[agent_pb2.LedgerPage]:
    """The newest `limit` lines of a stream written in a range of time, oldest first.

    Empty pages come between, at least one for each file, so that who waits knows that the search goes on.
    """
    parts = _parts(directory, query.from_unix_nanos)
    needle = f'"stream":"{query.stream}"'.encode()

    def wanted(members: _Members) -> bool:
        written = lines.count_in(members, "time_unix_nanos", 0)
        before_end = not query.to_unix_nanos or written < query.to_unix_nanos
        return members.get("stream") == query.stream and query.from_unix_nanos <= written and before_end

    older = 0
    if sum(part.end for part in parts) >= query.limit * _LEAST_LINE_BYTES:
        newest: list[_Part] = []
        found = 0
        while parts and found < query.limit:
            newest.insert(0, parts.pop())
            found += sum(1 for _ in _matching(newest[:1], needle, wanted))
            yield agent_pb2.LedgerPage()
        parts, older = newest, max(0, found - query.limit)
    page, size = agent_pb2.LedgerPage(), 0
    for part in parts:
        for members in _matching([part], needle, wanted):
            if older:
                older -= 1
                continue
            entry = _entry(members, node)
            if entry is None:
                page.problem = (
                    f"line {lines.count_in(members, 'sequence', 0)} of {part.path.name} is none of ours"
                )
                continue
            page.entries.append(entry)
            size += entry.ByteSize()
            if len(page.entries) >= PAGE_ENTRIES or size > PAGE_BYTES:
                yield page
                page, size = agent_pb2.LedgerPage(), 0
        yield page
        page, size = agent_pb2.LedgerPage(), 0
    yield agent_pb2.LedgerPage(last=True)


def _matching(parts: list[_Part], needle: bytes, wanted: Callable[[_Members], bool]) -> Iterator[_Members]:
    for part in parts:
        yield from (members for members in segments.key_lines(part.path, needle, part.end) if wanted(members))


def _entry(members: _Members, node: NodeName) -> types_pb2.LedgerEntry | None:
    try:
        return lines.entry_of(members, node)
    except (KeyError, TypeError, ValueError):
        return None


def _has_key(members: _Members) -> bool:
    return isinstance(members.get("key_id"), str) and isinstance(members.get("is_master"), bool)


def delivered_over(
    directory: Path, node: NodeName, link: str, since_nanos: int, streams: frozenset[str] | None
) -> Iterator[types_pb2.LedgerEntry]:
    """Keys handed over here that were made over a link since a moment, and not recalled before.

    Of these streams only, where they are given.
    """
    # No key is delivered, or recalled, before it is made.
    parts = _parts(directory, since_nanos)
    needle = f'"{link}"'.encode()

    def suspect(members: _Members) -> bool:
        links, stream = members.get("links"), members.get("stream")
        # A line that somebody has written in may have anything.
        if not (isinstance(links, list) and isinstance(stream, str) and _has_key(members)):
            return False
        made = lines.count_in(members, "created_unix_nanos", 0)
        return link in links and made >= since_nanos and (streams is None or stream in streams)

    known = {
        (members["key_id"], members["is_master"])
        for members in _matching(parts, needle, suspect)
        if members.get("outcome") == "recalled"
    }
    for members in _matching(parts, needle, suspect):
        if members.get("outcome") == "delivered" and (members["key_id"], members["is_master"]) not in known:
            entry = _entry(members, node)
            if entry is not None:
                yield entry
