"""From what was recorded to the report's figures. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from keyweave.cli.report import document as doc
from keyweave.cli.report.faults import faults
from keyweave.cli.report.recorded import (
    LinkAbout,
    NodeAbout,
    PairLinkAbout,
    PairStreamAbout,
    Recorded,
    StreamAbout,
)
from keyweave.cli.report.series import series
from keyweave.cli.report.stability import TAUS_SECONDS, Average, allan_deviation, drift_per_day
from keyweave.controller.history import cells
from keyweave.controller.history.cells import (
    FAILOVER_BOUNDS_SECONDS,
    LinkCell,
    NodeCell,
    PairLinkCell,
    PairStreamCell,
    StreamCell,
)
from keyweave.controller.history.rows import Row, merged

# A pause in watching that is shorter is a restart, not a gap worth a line; it counts as unknown all the same.
_LEAST_GAP_SECONDS = 5.0


def report(known: Recorded, *, title: str, made_at: float, software: str) -> doc.Report:
    """The report of what was recorded, without anything agreed."""
    whole = merged(0, 0, known.rows)
    links, streams, nodes, pair_links, pair_streams = (
        sorted({*about, *found})
        for about, found in (
            (known.links, whole.links),
            (known.streams, whole.streams),
            (known.nodes, whole.nodes),
            (known.pair_links, whole.pair_links),
            (known.pair_streams, whole.pair_streams),
        )
    )
    stream_figures = tuple(
        _stream(name, known.streams.get(name, StreamAbout()), whole.streams.get(name, StreamCell()))
        for name in streams
    )
    happenings = [each for row in known.rows for each in row.happenings]
    period = _period(known)
    return doc.Report(
        title=title,
        made_at=made_at,
        software=software,
        source=known.source,
        limits=known.limits,
        period=period,
        acceptance=None,
        links=tuple(
            _link(name, known.links.get(name, LinkAbout()), whole.links.get(name, LinkCell()), known.rows)
            for name in links
        ),
        streams=stream_figures,
        nodes=tuple(
            _node(name, known.nodes.get(name, NodeAbout()), whole.nodes.get(name, NodeCell()))
            for name in nodes
        ),
        pair_links=tuple(
            _pair_link(
                name,
                known.pair_links.get(name, PairLinkAbout()),
                whole.pair_links.get(name, PairLinkCell()),
            )
            for name in pair_links
        ),
        pair_streams=tuple(
            _pair_stream(
                name,
                known.pair_streams.get(name, PairStreamAbout()),
                whole.pair_streams.get(name, PairStreamCell()),
            )
            for name in pair_streams
        ),
        comparisons=_comparisons(stream_figures),
        faults=faults(happenings, known.end),
        lost_faults=whole.lost_happenings,
        series=series(known.rows, period.start, period.end),
    )


def _period(known: Recorded) -> doc.Period:
    """The period that was asked for; one without a beginning begins with what is known first."""
    rows, end = known.rows, known.end
    start = known.start or (_known_from(rows[0], end) if rows else end)
    watched = min(sum(row.watched_seconds for row in rows), end - start)
    return doc.Period(
        start=start,
        end=end,
        watched_seconds=watched,
        known_ratio=watched / (end - start) if end > start else 0.0,
        coarsest_row_seconds=max((row.seconds for row in rows), default=0),
        gaps=tuple(_gaps(rows, start, end)),
    )


def _known_from(row: Row, end: float) -> float:
    """When watching began in a row: what was not watched of the first one is what came before."""
    return max(float(row.start), min(float(row.end), end) - row.watched_seconds)


def _gaps(rows: Sequence[Row], start: float, end: float) -> Iterable[doc.Gap]:
    """Where there is no row at all; and rows of which only a part was watched."""
    edges = [(start, start), *((float(row.start), float(row.end)) for row in rows), (end, end)]
    for (_, before), (after, _) in pairwise(edges):
        if after - before > _LEAST_GAP_SECONDS:
            yield doc.Gap(start=before, end=after)


# ---- links -------------------------------------------------------------------------------------------


def _link(name: str, about: LinkAbout, cell: LinkCell, rows: Sequence[Row]) -> doc.Link:
    averages = [
        Average(row.start, row.seconds, spread.seconds, spread.mean)
        for row in rows
        if name in row.links and (spread := row.links[name].qber_ratio).seconds
    ]
    stabilities = {tau: allan_deviation(averages, tau) for tau in TAUS_SECONDS}
    known = sum(cell.condition.values())
    maintenance = cell.condition.get("maintenance", 0.0)
    up = cell.condition.get("ok", 0.0) + cell.condition.get("degraded", 0.0)
    return doc.Link(
        name=name,
        a_node=about.a_node,
        b_node=about.b_node,
        technology=about.technology,
        length_km=about.length_km,
        emulated=about.emulated,
        degraded_qber_ratio=about.degraded_qber_ratio,
        abort_qber_ratio=about.abort_qber_ratio,
        condition_seconds=_sorted(cell.condition),
        status_seconds=_sorted(cell.status),
        known_seconds=known,
        maintenance_seconds=maintenance,
        uptime_ratio=_ratio(up, known - maintenance),
        qber=_spread(cell.qber_ratio),
        qber_drift_per_day=drift_per_day(averages),
        qber_allan=tuple(
            doc.Allan(tau_seconds=tau, deviation=found[0], pairs=found[1])
            for tau, found in stabilities.items()
            if found is not None
        ),
        skr_bps=_spread(cell.skr_bps),
        produced_bits=cell.skr_bps.mean * cell.skr_bps.seconds,
        loss_db=_spread(cell.loss_db),
    )


# ---- streams and nodes -------------------------------------------------------------------------------


def _stream(name: str, about: StreamAbout, cell: StreamCell) -> doc.Stream:
    known = sum(cell.service.values())
    had = cell.service.get("serving", 0.0) + cell.service.get("degraded", 0.0)
    quantum = cell.protection.get("qkd", 0.0) + cell.protection.get("hybrid", 0.0)
    failovers = cell.failovers
    return doc.Stream(
        name=name,
        source_node=about.source_node,
        target_node=about.target_node,
        requires=about.requires,
        pqc_only=about.pqc_only,
        service_seconds=_sorted(cell.service),
        protection_seconds=_sorted(cell.protection),
        availability_ratio=_ratio(had, known),
        quantum_ratio=_ratio(quantum, known),
        planned_bps=_ratio(cell.planned_bits, known),
        delivered_bps=_ratio(float(cell.delivered_bits), known),
        delivered_bits=cell.delivered_bits,
        keys={word: cell.served.get(word, 0) for word in ("hybrid", "qkd", "pqc")},
        failovers=doc.Failovers(
            count=failovers.total,
            planned=failovers.planned,
            mean_seconds=_ratio(failovers.sum_seconds, float(failovers.total)),
            p50_seconds=failovers.at_most(0.5) if failovers.total else None,
            p99_seconds=failovers.at_most(0.99) if failovers.total else None,
            longest_seconds=failovers.longest_seconds if failovers.total else None,
            bounds_seconds=FAILOVER_BOUNDS_SECONDS,
            counts=tuple(failovers.counts),
        ),
    )


def _comparisons(streams: Sequence[doc.Stream]) -> tuple[doc.Comparison, ...]:
    """Every stream with the shadows that join the same two nodes."""
    return tuple(
        doc.Comparison(stream=one.name, shadow=shadow.name)
        for one in streams
        if not one.pqc_only and one.source_node
        for shadow in streams
        if shadow.pqc_only and {shadow.source_node, shadow.target_node} == {one.source_node, one.target_node}
    )


def _node(name: str, about: NodeAbout, cell: NodeCell) -> doc.Node:
    connected, away = cell.presence.get("connected", 0.0), cell.presence.get("away", 0.0)
    return doc.Node(
        name=name,
        owner=about.owner,
        location=about.location,
        presence_seconds=_sorted(cell.presence),
        uptime_ratio=_ratio(connected, connected + away),
    )


# ---- entangled pairs ---------------------------------------------------------------------------------


def _pair_link(name: str, about: PairLinkAbout, cell: PairLinkCell) -> doc.PairLink:
    known = sum(cell.condition.values())
    maintenance = cell.condition.get("maintenance", 0.0)
    return doc.PairLink(
        name=name,
        a_node=about.a_node,
        b_node=about.b_node,
        length_km=about.length_km,
        condition_seconds=_sorted(cell.condition),
        known_seconds=known,
        uptime_ratio=_ratio(cell.condition.get("ok", 0.0), known - maintenance),
        pair_rate_hz=_spread(cell.pair_rate_hz),
        fidelity=_spread(cell.fidelity),
    )


def _pair_stream(name: str, about: PairStreamAbout, cell: PairStreamCell) -> doc.PairStream:
    known = sum(cell.standing.values())
    return doc.PairStream(
        name=name,
        source_node=about.source_node,
        target_node=about.target_node,
        asked_rate_hz=about.rate_hz,
        min_fidelity=about.min_fidelity,
        standing_seconds=_sorted(cell.standing),
        met_ratio=_ratio(cell.standing.get("met", 0.0), known),
        planned_rate_hz=_ratio(cell.planned_pairs, known),
        delivered_rate_hz=_spread(cell.delivered_rate_hz),
        fidelity=_spread(cell.fidelity),
    )


def _spread(spread: cells.Spread) -> doc.Spread | None:
    if not spread.seconds:
        return None
    return doc.Spread(
        seconds=spread.seconds,
        mean=spread.mean,
        deviation=spread.deviation,
        least=spread.least,
        most=spread.most,
    )


def _ratio(part: float, whole: float) -> float | None:
    """None where nothing is known: no data is neither 0 nor 1."""
    return part / whole if whole > 0 else None


def _sorted(shares: Mapping[str, float]) -> dict[str, float]:
    return {word: shares[word] for word in sorted(shares)}
