"""The network on one screen: what is wrong first, then as much of the rest as fits, the worst first."""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from keyweave.cli import pair_tables, tables
from keyweave.cli.troubles import Weight, health, link_badness, stream_shortfall, summary, troubles
from keyweave.v1 import admin_pb2

EVENTS_KEPT = 50
_EVENTS_SHOWN = 8
# Title and heading of a table, and the blank line before it.
_TABLE_LINES = 3
_HEALTH_STYLES: Mapping[str, str] = {"ok": "bold green", "degraded": "bold yellow", "broken": "bold red"}
_WEIGHT_STYLES: Mapping[Weight, str] = {
    Weight.BROKEN: "bold red",
    Weight.IMPAIRED: "yellow",
    Weight.NOTED: "dim",
}


class LinkOrder(StrEnum):
    """What links are sorted by; always the worst first, or by name."""

    BADNESS = "badness"
    NAME = "name"
    QBER = "qber"
    RATE = "rate"
    POOL = "pool"


class StreamOrder(StrEnum):
    """What streams are sorted by; always the worst first, or by name."""

    SHORTFALL = "shortfall"
    NAME = "name"
    DELIVERED = "delivered"
    READY = "ready"


_LINK_KEYS: Mapping[LinkOrder, Callable[[admin_pb2.LinkState], Any]] = {
    LinkOrder.BADNESS: link_badness,
    LinkOrder.NAME: lambda state: state.link.name,
    LinkOrder.QBER: lambda state: -state.qber_ratio,
    LinkOrder.RATE: lambda state: state.skr_bps,
    LinkOrder.POOL: lambda state: state.pool_bits,
}
_STREAM_KEYS: Mapping[StreamOrder, Callable[[admin_pb2.StreamStatus], Any]] = {
    StreamOrder.SHORTFALL: stream_shortfall,
    StreamOrder.NAME: lambda one: one.stream.name,
    StreamOrder.DELIVERED: lambda one: one.delivered_bps,
    StreamOrder.READY: lambda one: one.buffered_keys,
}


@dataclass(frozen=True, slots=True)
class View:
    """What of the network is looked at, and in which order."""

    links: LinkOrder = LinkOrder.BADNESS
    streams: StreamOrder = StreamOrder.SHORTFALL
    # Only what has this in its name, or in the name of a node at its ends.
    match: str = ""

    def of(self, status: admin_pb2.GetStatusResponse) -> admin_pb2.GetStatusResponse:
        """The part of `status` that is looked at, in its order."""
        seen = admin_pb2.GetStatusResponse()
        seen.CopyFrom(status)
        for name in ("nodes", "links", "streams", "pair_links", "pair_streams"):
            seen.ClearField(name)
        seen.nodes.extend(one for one in status.nodes if self.match in one.node.name)
        seen.links.extend(sorted(filter(self._link, status.links), key=_LINK_KEYS[self.links]))
        seen.streams.extend(sorted(filter(self._stream, status.streams), key=_STREAM_KEYS[self.streams]))
        seen.pair_streams.extend(filter(self._pair_stream, status.pair_streams))
        seen.pair_links.extend(filter(self._pair_link, status.pair_links))
        return seen

    def _pair_stream(self, one: admin_pb2.PairStreamStatus) -> bool:
        stream = one.pair_stream
        return any(self.match in name for name in (stream.name, stream.source_node, stream.target_node))

    def _pair_link(self, link: admin_pb2.PairLinkState) -> bool:
        return any(self.match in name for name in (link.name, link.a_node, link.b_node))

    def _link(self, state: admin_pb2.LinkState) -> bool:
        link = state.link
        return any(self.match in name for name in (link.name, link.a_node, link.b_node))

    def _stream(self, one: admin_pb2.StreamStatus) -> bool:
        stream = one.stream
        return any(self.match in name for name in (stream.name, stream.source_node, stream.target_node))


@dataclass
class Board:
    """What is on the screen."""

    view: View = field(default_factory=View)
    status: admin_pb2.GetStatusResponse = field(default_factory=admin_pb2.GetStatusResponse)
    events: deque[admin_pb2.Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    # Why `status` may be old.
    away: str = "waiting for the controller"

    def render(self, width: int, height: int | None) -> RenderableType:
        """The screen; without a height, all of it."""
        seen = self.view.of(self.status)
        found = troubles(self.status)
        counts = Text(summary(self.status))
        head: list[RenderableType] = [self._headline(health(found)), counts]
        wrong, streams, links = len(found), len(seen.streams), len(seen.links)
        events, nodes = min(_EVENTS_SHOWN, len(self.events)), len(seen.nodes)
        pair_streams, pair_links = len(seen.pair_streams), len(seen.pair_links)
        if height is not None:
            # Words are not broken, so a line of counts is not always full.
            left = height - 1 - math.ceil(len(counts) / (width - 8)) - len(self.status.orders)
            wanted = (
                Wanted(wrong, least=3, besides=1),
                Wanted(streams, least=2, besides=_TABLE_LINES),
                Wanted(links, least=2, besides=_TABLE_LINES),
                Wanted(pair_streams, least=2, besides=_TABLE_LINES),
                Wanted(pair_links, least=2, besides=_TABLE_LINES),
                Wanted(events, least=1, besides=2, told=False),
                Wanted(nodes, least=nodes, besides=_TABLE_LINES),
            )
            wrong, streams, links, pair_streams, pair_links, events, nodes = rows(left, wanted)
        parts = [*head, *_troubles(found[:wrong], len(found))]
        parts += _section(tables.streams_table(seen.streams[:streams], width), streams, len(seen.streams))
        parts += _section(tables.links_table(seen.links[:links], width), links, len(seen.links))
        pairs = pair_tables.streams_table(seen.pair_streams[:pair_streams], width)
        parts += _section(pairs, pair_streams, len(seen.pair_streams))
        made = pair_tables.links_table(seen.pair_links[:pair_links])
        parts += _section(made, pair_links, len(seen.pair_links))
        parts += _section(tables.nodes_table(seen.nodes[:nodes], width), nodes, nodes)
        if events:
            parts += ["", tables.events_table(list(self.events)[-events:])]
        return Group(*parts, *(tables.order_line(order) for order in self.status.orders))

    def _headline(self, word: str) -> Text:
        if not self.status.nodes and self.away:
            return Text(self.away, style="bold red")
        text = Text(word.upper(), style=_HEALTH_STYLES[word])
        text.append(f"   plan {self.status.plan_version}   epoch {self.status.epoch}", style="default")
        if self.away:
            text.append(f"   {self.away}", style="bold red")
        return text


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows that a section would fill, the least that is worth it, and the lines it takes besides."""

    rows: int
    least: int
    besides: int
    # A line says so where it is cut.
    told: bool = True


def rows(height: int, wanted: Sequence[Wanted]) -> list[int]:
    """Rows for each section so that all fit: earlier ones first, and none of them starves the next.

    Each gets its least; then, in order, up to half of what is left, and what remains over goes round again.
    """
    given = [0] * len(wanted)
    left = height
    for place, one in enumerate(wanted):
        least = min(one.rows, one.least)
        cost = least + one.besides + (one.told and least < one.rows)
        if least and cost <= left:
            given[place] = least
            left -= cost
    for share in (2, 1):
        for place, one in enumerate(wanted):
            if given[place] and given[place] < one.rows:
                more = min(one.rows - given[place], left // share)
                given[place] += more
                left -= more
                if one.told and one.rows - given[place] <= 1:
                    # The line that would say so has room for the last one.
                    left += given[place] == one.rows
                    given[place] = one.rows
    return given


def _section(table: Table, shown: int, there: int) -> list[RenderableType]:
    if not shown:
        return []
    more = [Text(f"... {there - shown} more, better off", style="dim")] if there > shown else []
    return ["", table, *more]


def _troubles(found: Sequence[Any], there: int) -> list[RenderableType]:
    if not found:
        return []
    lines: list[RenderableType] = [""]
    for one in found:
        text = Text(one.subject, style=_WEIGHT_STYLES[one.weight], no_wrap=True, overflow="ellipsis")
        lines.append(text.append(f": {one.what}", style="default"))
    if there > len(found):
        lines.append(Text(f"... {there - len(found)} more that is wrong; all: -o json", style="dim"))
    return lines
