"""Rows as the API has them, and the same packed for the store."""

import zlib
from dataclasses import fields
from math import inf
from typing import Any, TypeVar

from google.protobuf.message import Message

from keyweave.controller.history.cells import (
    FAILOVER_BOUNDS_SECONDS,
    Failovers,
    LinkCell,
    NodeCell,
    PairLinkCell,
    PairStreamCell,
    Shares,
    Spread,
    StreamCell,
)
from keyweave.controller.history.rows import Happening, Row
from keyweave.controller.history.watch import Served, Totals
from keyweave.v1 import history_pb2 as pb

MessageType = TypeVar("MessageType", bound=Message)
_NANOS = 1_000_000_000


def pack(message: Message) -> bytes:
    """A message as the store keeps it."""
    return zlib.compress(message.SerializeToString(deterministic=True), level=9)


def unpack(kind: type[MessageType], content: bytes) -> MessageType:
    """A message that the store has kept."""
    message = kind()
    message.ParseFromString(zlib.decompress(content))
    return message


def row_message(row: Row) -> pb.HistoryRow:
    """A row for the API."""
    return pb.HistoryRow(
        start_unix_seconds=row.start,
        seconds=row.seconds,
        watched_seconds=row.watched_seconds,
        links=[_link(name, row.links[name]) for name in sorted(row.links)],
        streams=[_stream(name, row.streams[name]) for name in sorted(row.streams)],
        nodes=[_node(name, row.nodes[name]) for name in sorted(row.nodes)],
        pair_links=[_pair_link(name, row.pair_links[name]) for name in sorted(row.pair_links)],
        pair_streams=[_pair_stream(name, row.pair_streams[name]) for name in sorted(row.pair_streams)],
        happenings=[_happening(each) for each in row.happenings],
        lost_happenings=row.lost_happenings,
    )


def row_of(message: pb.HistoryRow) -> Row:
    """A row of the API."""
    return Row(
        start=message.start_unix_seconds,
        seconds=message.seconds,
        watched_seconds=message.watched_seconds,
        links={link.link: _link_cell(link) for link in message.links},
        streams={stream.stream: _stream_cell(stream) for stream in message.streams},
        nodes={node.node: _node_cell(node) for node in message.nodes},
        pair_links={link.pair_link: _pair_link_cell(link) for link in message.pair_links},
        pair_streams={stream.pair_stream: _pair_stream_cell(stream) for stream in message.pair_streams},
        happenings=[_happening_of(each) for each in message.happenings],
        lost_happenings=message.lost_happenings,
    )


def totals_message(totals: Totals) -> pb.HistoryTotals:
    """What agents had counted, as the store keeps it."""
    return pb.HistoryTotals(
        served=[
            pb.ServedTotal(
                stream=stream,
                node=node,
                confirmed_bits=each.confirmed_bits,
                keys=pb.KeyCounts(qkd=each.qkd, hybrid=each.hybrid, pqc=each.pqc),
            )
            for (stream, node), each in sorted(totals.served.items())
        ],
        dropped_samples=totals.dropped,
    )


def totals_of(message: pb.HistoryTotals) -> Totals:
    """What agents had counted when the store was last written."""
    return Totals(
        {
            (each.stream, each.node): Served(
                each.confirmed_bits, each.keys.qkd, each.keys.hybrid, each.keys.pqc
            )
            for each in message.served
        },
        dict(message.dropped_samples),
    )


def _link(name: str, cell: LinkCell) -> pb.LinkHistory:
    return pb.LinkHistory(
        link=name,
        condition=pb.ConditionSeconds(**cell.condition),
        status=pb.StatusSeconds(**cell.status),
        qber_ratio=_spread(cell.qber_ratio),
        skr_bps=_spread(cell.skr_bps),
        loss_db=_spread(cell.loss_db),
    )


def _link_cell(message: pb.LinkHistory) -> LinkCell:
    return LinkCell(
        condition=_shares(message.condition),
        status=_shares(message.status),
        qber_ratio=_spread_of(message.qber_ratio),
        skr_bps=_spread_of(message.skr_bps),
        loss_db=_spread_of(message.loss_db),
    )


def _stream(name: str, cell: StreamCell) -> pb.StreamHistory:
    failovers = cell.failovers
    counts = list(failovers.counts)
    while counts and not counts[-1]:
        counts.pop()
    return pb.StreamHistory(
        stream=name,
        service=pb.ServiceSeconds(**cell.service),
        protection=pb.ProtectionSeconds(**cell.protection),
        planned_bits=cell.planned_bits,
        delivered_bits=cell.delivered_bits,
        served=pb.KeyCounts(**cell.served),
        failovers=pb.Failovers(
            counts=counts,
            sum_seconds=failovers.sum_seconds,
            longest_seconds=failovers.longest_seconds,
            planned=failovers.planned,
        )
        if failovers.total or failovers.planned
        else None,
    )


def _stream_cell(message: pb.StreamHistory) -> StreamCell:
    places = len(FAILOVER_BOUNDS_SECONDS) + 1
    counts = [*message.failovers.counts, *[0] * places][:places]
    return StreamCell(
        service=_shares(message.service),
        protection=_shares(message.protection),
        planned_bits=message.planned_bits,
        delivered_bits=message.delivered_bits,
        served={field.name: value for field, value in message.served.ListFields()},
        failovers=Failovers(
            counts,
            message.failovers.sum_seconds,
            message.failovers.longest_seconds,
            message.failovers.planned,
        ),
    )


def _pair_link(name: str, cell: PairLinkCell) -> pb.PairLinkHistory:
    return pb.PairLinkHistory(
        pair_link=name,
        condition=pb.ConditionSeconds(**cell.condition),
        pair_rate_hz=_spread(cell.pair_rate_hz),
        fidelity=_spread(cell.fidelity),
    )


def _pair_link_cell(message: pb.PairLinkHistory) -> PairLinkCell:
    return PairLinkCell(
        condition=_shares(message.condition),
        pair_rate_hz=_spread_of(message.pair_rate_hz),
        fidelity=_spread_of(message.fidelity),
    )


def _pair_stream(name: str, cell: PairStreamCell) -> pb.PairStreamHistory:
    return pb.PairStreamHistory(
        pair_stream=name,
        standing=pb.PairStandingSeconds(**cell.standing),
        planned_pairs=cell.planned_pairs,
        delivered_rate_hz=_spread(cell.delivered_rate_hz),
        fidelity=_spread(cell.fidelity),
    )


def _pair_stream_cell(message: pb.PairStreamHistory) -> PairStreamCell:
    return PairStreamCell(
        standing=_shares(message.standing),
        planned_pairs=message.planned_pairs,
        delivered_rate_hz=_spread_of(message.delivered_rate_hz),
        fidelity=_spread_of(message.fidelity),
    )


def _node(name: str, cell: NodeCell) -> pb.NodeHistory:
    return pb.NodeHistory(
        node=name,
        dropped_samples=cell.dropped_samples,
        **{f"{word}_seconds": seconds for word, seconds in cell.presence.items()},
    )


def _node_cell(message: pb.NodeHistory) -> NodeCell:
    shares = _shares(message)
    presence = {
        name.removesuffix("_seconds"): value for name, value in shares.items() if name.endswith("_seconds")
    }
    return NodeCell(presence, message.dropped_samples)


def _spread(spread: Spread) -> pb.Spread | None:
    if not spread.seconds:
        return None
    return pb.Spread(**{each.name: getattr(spread, each.name) for each in fields(spread)})


def _spread_of(message: pb.Spread) -> Spread:
    if not message.seconds:
        return Spread(least=inf, most=-inf)
    return Spread(message.seconds, message.mean, message.squares, message.least, message.most)


def _shares(message: Any) -> Shares:
    return {field.name: value for field, value in message.ListFields() if isinstance(value, float)}


def _happening(happening: Happening) -> pb.Happening:
    return pb.Happening(
        time_unix_nanos=round(happening.time_unix_seconds * _NANOS),
        kind=happening.kind,
        severity=happening.severity,
        node=happening.node,
        link=happening.link,
        stream=happening.stream,
        message=happening.message,
        fields=dict(happening.fields),
    )


def _happening_of(message: pb.Happening) -> Happening:
    return Happening(
        time_unix_seconds=message.time_unix_nanos / _NANOS,
        kind=message.kind,
        severity=message.severity,
        message=message.message,
        node=message.node,
        link=message.link,
        stream=message.stream,
        fields=dict(message.fields),
    )
