"""Which streams of a failed link their agents carry on by themselves, as in fast reroute (RFC 4090).

Agents hold ranked backups and turn to them within milliseconds of a refused relay, long before any policy
could reach them. A stream of which both ends hold a complete set that still stands, with room for its minimum
rate, is healed already: to write its rules anew at once would move it a second time for nothing, and would
hold up those that do need new paths. It waits for the next plan of everything, which is made at once after.
"""

from collections.abc import Collection, Iterable, Mapping

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.book import Book
from keyweave.controller.routing.network import RATE_TOLERANCE, link_capacity
from keyweave.controller.topology import Held, LinkView, PathSet, Stream


def holding_nothing(_: StreamName, __: Collection[LinkName]) -> Iterable[PathSet]:
    """Agents of which nothing is known."""
    return ()


class Room:
    """What links have left once some streams have let go of theirs, bit/s, looked up as it is asked for."""

    def __init__(
        self, links: Mapping[LinkName, LinkView], book: Book, released: Collection[StreamName]
    ) -> None:
        self._links = links
        self._book = book
        self._released = released
        self._taken: Mapping[LinkName, float] | None = None
        self._left: dict[LinkName, float] = {}

    def left(self, link: LinkName) -> float:
        """What may still be placed on the link; negative where more is planned than it has."""
        if self._taken is None:
            self._taken = self._book.taken(self._released)
        if link not in self._left:
            self._left[link] = link_capacity(self._links[link]) - self._taken.get(link, 0.0)
        return self._left[link]

    def take(self, path_set: PathSet, rate_bps: float) -> None:
        """A stream's claim to all links of a set."""
        for path in path_set.paths:
            for hop in path.hops:
                self._left[hop.link] = self.left(hop.link) - rate_bps


def left_to_agents(
    gone: Collection[LinkName], room: Room, streams: Iterable[Stream], held: Held
) -> frozenset[StreamName]:
    """Those of the streams whose agents need nothing; takes their minimum rates from `room`.

    `gone` are the links over which no key flows.
    """
    found: list[StreamName] = []
    asking: list[Stream] = []
    for stream in streams:
        if stream.min_rate_bps > 0:
            asking.append(stream)
        elif any(len(one.paths) >= stream.min_k for one in held(stream.name, gone)):
            found.append(stream.name)
    # The foremost take theirs first.
    asking.sort(key=lambda one: (-one.priority, one.name))
    found += [one.name for one in asking if _has_its_least(room, one, held(one.name, gone))]
    return frozenset(found)


def _has_its_least(room: Room, stream: Stream, held: Iterable[PathSet]) -> bool:
    lacking, claims = stream.min_rate_bps * (1 - RATE_TOLERANCE), []
    for one in held:
        if len(one.paths) < stream.min_k:
            continue
        rate = min(lacking, *(room.left(hop.link) for path in one.paths for hop in path.hops))
        if rate > 0:
            claims.append((one, rate))
            lacking -= rate
        if lacking <= 0:
            for claimed, share in claims:
                room.take(claimed, share)
            return True
    return False
