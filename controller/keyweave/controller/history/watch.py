"""What is seen of the network, held until it is seen otherwise, and added up into rows. Pure.

Between two looks everything is taken to be as the first found it. Where they are too far apart, nobody knows
what was in between, and it is left out: unknown time is neither up nor down.
"""

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

from keyweave.controller.history.cells import (
    LinkCell,
    NodeCell,
    PairLinkCell,
    PairStreamCell,
    Shares,
    Spread,
    StreamCell,
)
from keyweave.controller.history.rows import ROW_SECONDS, Happening, Row

# What was seen is taken to last no longer than this unless it is seen again.
LONGEST_HOLD_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """A link at one moment. None: not measured, or no figure of a link in service."""

    condition: str
    status: str
    qber_ratio: float | None = None
    skr_bps: float | None = None
    loss_db: float | None = None

    def hold(self, cell: LinkCell, seconds: float) -> None:
        """It was so for so long."""
        _hold(cell.condition, self.condition, seconds)
        _hold(cell.status, self.status, seconds)
        _spread(cell.qber_ratio, self.qber_ratio, seconds)
        _spread(cell.skr_bps, self.skr_bps, seconds)
        _spread(cell.loss_db, self.loss_db, seconds)


@dataclass(frozen=True, slots=True)
class StreamSeen:
    """A stream at one moment."""

    service: str
    protection: str
    planned_bps: float = 0.0

    def hold(self, cell: StreamCell, seconds: float) -> None:
        """It was so for so long."""
        _hold(cell.service, self.service, seconds)
        _hold(cell.protection, self.protection, seconds)
        cell.planned_bits += self.planned_bps * seconds


@dataclass(frozen=True, slots=True)
class PairLinkSeen:
    """A link that makes pairs at one moment. None: not measured, or no figure of a link in service."""

    condition: str
    pair_rate_hz: float | None = None
    fidelity: float | None = None

    def hold(self, cell: PairLinkCell, seconds: float) -> None:
        """It was so for so long."""
        _hold(cell.condition, self.condition, seconds)
        _spread(cell.pair_rate_hz, self.pair_rate_hz, seconds)
        _spread(cell.fidelity, self.fidelity, seconds)


@dataclass(frozen=True, slots=True)
class PairStreamSeen:
    """A stream of pairs at one moment."""

    standing: str
    planned_rate_hz: float = 0.0
    delivered_rate_hz: float = 0.0
    fidelity: float | None = None

    def hold(self, cell: PairStreamCell, seconds: float) -> None:
        """It was so for so long."""
        _hold(cell.standing, self.standing, seconds)
        cell.planned_pairs += self.planned_rate_hz * seconds
        _spread(cell.delivered_rate_hz, self.delivered_rate_hz, seconds)
        _spread(cell.fidelity, self.fidelity, seconds)


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node at one moment."""

    presence: str

    def hold(self, cell: NodeCell, seconds: float) -> None:
        """It was so for so long."""
        _hold(cell.presence, self.presence, seconds)


@dataclass(frozen=True, slots=True)
class Seen:
    """The network at one moment, and totals that only grow: by stream and node, and by node."""

    links: Mapping[str, LinkSeen] = field(default_factory=dict)
    streams: Mapping[str, StreamSeen] = field(default_factory=dict)
    nodes: Mapping[str, NodeSeen] = field(default_factory=dict)
    pair_links: Mapping[str, PairLinkSeen] = field(default_factory=dict)
    pair_streams: Mapping[str, PairStreamSeen] = field(default_factory=dict)
    served: Mapping[tuple[str, str], "Served"] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    # All streams and nodes that there are, whether anything is known of them or not.
    existing: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """What one end of a stream has done since its agent started."""

    confirmed_bits: int = 0
    qkd: int = 0
    hybrid: int = 0
    pqc: int = 0

    def since(self, before: "Served") -> "Served":
        """What was done since `before`; an agent that has restarted counts from nothing."""
        pairs = [(getattr(self, name), getattr(before, name)) for name in self.__slots__]
        if any(now < then for now, then in pairs):
            return self
        return Served(*[now - then for now, then in pairs])


@dataclass(slots=True)
class Totals:
    """Totals as last seen. Kept, so that what agents do while nobody watches is counted afterwards."""

    served: dict[tuple[str, str], Served] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)


class Watch:
    """Adds up what is seen; hands out a row once its time is over."""

    def __init__(self, totals: Totals | None = None, row_seconds: int = ROW_SECONDS) -> None:
        self.totals = totals or Totals()
        self._row_seconds = row_seconds
        self._row: Row | None = None
        # How each object is, and since when that has not been added up.
        self._links: dict[str, tuple[LinkSeen, float]] = {}
        self._streams: dict[str, tuple[StreamSeen, float]] = {}
        self._nodes: dict[str, tuple[NodeSeen, float]] = {}
        self._pair_links: dict[str, tuple[PairLinkSeen, float]] = {}
        self._pair_streams: dict[str, tuple[PairStreamSeen, float]] = {}
        self._looked_at: float | None = None

    def look(self, seen: Seen, now: float) -> list[Row]:
        """The network is so now; the rows whose time is over."""
        done = self._reach(now)
        self._links = {name: (each, now) for name, each in seen.links.items()}
        self._streams = {name: (each, now) for name, each in seen.streams.items()}
        self._nodes = {name: (each, now) for name, each in seen.nodes.items()}
        self._pair_links = {name: (each, now) for name, each in seen.pair_links.items()}
        self._pair_streams = {name: (each, now) for name, each in seen.pair_streams.items()}
        self._count(seen, self._current(now))
        return done

    def link(self, name: str, seen: LinkSeen, now: float) -> None:
        """One link is so now, noticed between two looks."""
        if name in self._links and self._row is not None and self._row.start <= now < self._row.end:
            self._settle_link(name, now)
            self._links[name] = (seen, now)

    def failover(self, stream: str, seconds: float, now: float) -> None:
        """A stream has moved."""
        self._current(now).streams.setdefault(stream, StreamCell()).failovers.add(seconds)

    def happened(self, happening: Happening, now: float) -> None:
        """Something worth keeping."""
        self._current(now).keep(happening)

    def open_row(self, now: float) -> Row | None:
        """A copy of the row that is being written, as of now."""
        if self._row is None or now >= self._row.end or self._is_too_long_ago(now):
            return deepcopy(self._row)
        self._settle(now)
        return deepcopy(self._row)

    def finish(self, now: float) -> list[Row]:
        """All rows that are not handed out, the last one unfinished."""
        done = self._reach(now)
        rest, self._row = self._row, None
        return [*done, *_worth_keeping(rest)]

    # ---- time passes ---------------------------------------------------------------------------------

    def _reach(self, now: float) -> list[Row]:
        """Add everything up to now, closing rows on the way."""
        done: list[Row] = []
        if self._is_too_long_ago(now):
            self._links, self._streams, self._nodes = {}, {}, {}
            self._pair_links, self._pair_streams = {}, {}
            self._looked_at = None
        while self._row is not None and now >= self._row.end:
            looking = self._looked_at is not None
            if looking:
                self._settle(float(self._row.end))
            done += _worth_keeping(self._row)
            # Where nobody has looked for long there is nothing to write rows about.
            self._row = self._fresh(self._row.end) if looking else None
        self._settle(now)
        return done

    def _current(self, now: float) -> Row:
        """The row being written. What comes between a row's end and the next look is still noted in it."""
        self._row = self._row or self._fresh(now)
        return self._row

    def _fresh(self, time: float) -> Row:
        return Row(int(time // self._row_seconds) * self._row_seconds, self._row_seconds)

    def _is_too_long_ago(self, now: float) -> bool:
        return self._looked_at is not None and now - self._looked_at > LONGEST_HOLD_SECONDS

    def _settle(self, now: float) -> None:
        """Everything was as it is held to be, up to now."""
        row = self._current(now)
        if self._looked_at is not None:
            row.watched_seconds += max(0.0, now - self._looked_at)
        self._looked_at = now
        for name in self._links:
            self._settle_link(name, now)
        for name, (stream, since) in self._streams.items():
            stream.hold(row.streams.setdefault(name, StreamCell()), now - since)
            self._streams[name] = (stream, now)
        for name, (node, since) in self._nodes.items():
            node.hold(row.nodes.setdefault(name, NodeCell()), now - since)
            self._nodes[name] = (node, now)
        for name, (making, since) in self._pair_links.items():
            making.hold(row.pair_links.setdefault(name, PairLinkCell()), now - since)
            self._pair_links[name] = (making, now)
        for name, (getting, since) in self._pair_streams.items():
            getting.hold(row.pair_streams.setdefault(name, PairStreamCell()), now - since)
            self._pair_streams[name] = (getting, now)

    def _settle_link(self, name: str, now: float) -> None:
        link, since = self._links[name]
        link.hold(self._current(now).links.setdefault(name, LinkCell()), now - since)
        self._links[name] = (link, now)

    # ---- totals that grow ----------------------------------------------------------------------------

    def _count(self, seen: Seen, row: Row) -> None:
        """Count what has come to the totals. Of one that is new, nobody has seen what it has done before."""
        for key, total in seen.served.items():
            grown = total.since(self.totals.served.get(key, total))
            cell = row.streams.setdefault(key[0], StreamCell())
            cell.delivered_bits += grown.confirmed_bits
            for word, count in (("qkd", grown.qkd), ("hybrid", grown.hybrid), ("pqc", grown.pqc)):
                if count:
                    cell.served[word] = cell.served.get(word, 0) + count
            self.totals.served[key] = total
        for node, dropped in seen.dropped.items():
            before = self.totals.dropped.get(node, dropped)
            row.nodes.setdefault(node, NodeCell()).dropped_samples += (
                dropped - before if dropped >= before else dropped
            )
            self.totals.dropped[node] = dropped
        there = seen.existing
        self.totals.served = {key: each for key, each in self.totals.served.items() if key[0] in there}
        self.totals.dropped = {node: each for node, each in self.totals.dropped.items() if node in there}


def _hold(shares: Shares, word: str, seconds: float) -> None:
    if seconds > 0:
        shares[word] = shares.get(word, 0.0) + seconds


def _spread(spread: Spread, value: float | None, seconds: float) -> None:
    if value is not None:
        spread.add(value, seconds)


def _worth_keeping(row: Row | None) -> Iterator[Row]:
    if row is not None and (row.watched_seconds > 0 or row.happenings or row.streams):
        yield row
