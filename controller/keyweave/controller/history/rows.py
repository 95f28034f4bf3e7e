"""A row: all that was seen of the network over one stretch of time; and which rows to merge as they age.

Rows never overlap. Those of a block become one row of the next tier once they are old enough, so recent times
are known by the minute and last year's by the day, at a bounded size.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from keyweave.controller.history.cells import LinkCell, NodeCell, PairLinkCell, PairStreamCell, StreamCell

DAY_SECONDS = 86_400
# Of a row; what there is no room for is counted.
MOST_HAPPENINGS = 200
_MOST_MERGED_HAPPENINGS = 1000


@dataclass(frozen=True, slots=True)
class Tier:
    """Rows of one length, and for how long they are kept as they are."""

    seconds: int
    kept_seconds: int


# The last one's rows are deleted once they are older.
TIERS = (
    Tier(60, DAY_SECONDS),
    Tier(600, 7 * DAY_SECONDS),
    Tier(3600, 92 * DAY_SECONDS),
    Tier(DAY_SECONDS, 400 * DAY_SECONDS),
)
ROW_SECONDS = TIERS[0].seconds


@dataclass(frozen=True, slots=True)
class Happening:
    """An event worth keeping for longer than events are."""

    time_unix_seconds: float
    kind: str
    severity: str
    message: str
    node: str = ""
    link: str = ""
    stream: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """All that was seen between `start` (Unix seconds) and `seconds` later."""

    start: int
    seconds: int
    watched_seconds: float = 0.0
    links: dict[str, LinkCell] = field(default_factory=dict)
    streams: dict[str, StreamCell] = field(default_factory=dict)
    nodes: dict[str, NodeCell] = field(default_factory=dict)
    happenings: list[Happening] = field(default_factory=list)
    lost_happenings: int = 0
    pair_links: dict[str, PairLinkCell] = field(default_factory=dict)
    pair_streams: dict[str, PairStreamCell] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The first second after it."""
        return self.start + self.seconds

    def keep(self, happening: Happening, most: int = MOST_HAPPENINGS) -> None:
        """Keep it, or count that there was no room."""
        if len(self.happenings) < most:
            self.happenings.append(happening)
        else:
            self.lost_happenings += 1

    def merge(self, other: "Row") -> None:
        """Take in what another row has seen. Which stretch of time this one stands for stays as it is."""
        self.watched_seconds += other.watched_seconds
        for link, cell in other.links.items():
            self.links.setdefault(link, LinkCell()).merge(cell)
        for stream, served in other.streams.items():
            self.streams.setdefault(stream, StreamCell()).merge(served)
        for node, seen in other.nodes.items():
            self.nodes.setdefault(node, NodeCell()).merge(seen)
        for pair_link, made in other.pair_links.items():
            self.pair_links.setdefault(pair_link, PairLinkCell()).merge(made)
        for pair_stream, got in other.pair_streams.items():
            self.pair_streams.setdefault(pair_stream, PairStreamCell()).merge(got)
        for happening in other.happenings:
            self.keep(happening, _MOST_MERGED_HAPPENINGS)
        self.lost_happenings += other.lost_happenings


def merged(start: int, seconds: int, rows: Iterable[Row]) -> Row:
    """One row for this stretch of time of all that these have seen."""
    whole = Row(start, seconds)
    for row in rows:
        whole.merge(row)
    return whole


@dataclass(frozen=True, slots=True)
class Merge:
    """Rows that one of the next tier is to take the place of."""

    start: int
    seconds: int
    rows: tuple[int, ...]


def due_merges(tier: int, starts: Iterable[int], now: float) -> tuple[Merge, ...]:
    """Which of a tier's rows (by their starts) are to be merged: whole blocks of which all is old enough."""
    seconds, kept = TIERS[tier + 1].seconds, TIERS[tier].kept_seconds
    blocks: dict[int, list[int]] = {}
    for start in starts:
        blocks.setdefault(start // seconds * seconds, []).append(start)
    return tuple(
        Merge(block, seconds, tuple(sorted(rows)))
        for block, rows in sorted(blocks.items())
        if block + seconds + kept <= now
    )
