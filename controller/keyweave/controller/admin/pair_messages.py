"""Pair streams, pair links and memories as the API has them."""

import math

from keyweave.controller.admin.messages import unix_nanos
from keyweave.controller.pair_records import way_message
from keyweave.controller.pairs.estimate import FidelityEstimate
from keyweave.controller.pairs.served import PairStreamView, State
from keyweave.controller.pairs.supply import PairSupply
from keyweave.controller.topology import Condition
from keyweave.v1 import admin_pb2, pairs_pb2, types_pb2

_STATES = {
    State.UNMET: admin_pb2.PAIR_STREAM_STATE_UNMET,
    State.PARTLY_MET: admin_pb2.PAIR_STREAM_STATE_PARTLY_MET,
    State.MET: admin_pb2.PAIR_STREAM_STATE_MET,
    State.ENDED: admin_pb2.PAIR_STREAM_STATE_ENDED,
}
_CONDITIONS = {
    Condition.OK: types_pb2.LINK_CONDITION_OK,
    Condition.DOWN: types_pb2.LINK_CONDITION_DOWN,
    Condition.STALE: types_pb2.LINK_CONDITION_STALE,
    Condition.MAINTENANCE: types_pb2.LINK_CONDITION_MAINTENANCE,
}


def pair_stream_status(spec: pairs_pb2.PairStream, view: PairStreamView | None) -> admin_pb2.PairStreamStatus:
    """A pair stream and what is known of it."""
    if view is None:
        return admin_pb2.PairStreamStatus(pair_stream=spec)
    fidelity, low, high = _interval(view.measured)
    return admin_pb2.PairStreamStatus(
        pair_stream=spec,
        state=_STATES[view.state],
        reason=view.reason,
        paths=map(way_message, view.ways),
        predicted_rate_hz=view.predicted_rate_hz,
        predicted_fidelity=view.predicted_fidelity,
        delivered_rate_hz=view.delivered_rate_hz,
        measured_fidelity=fidelity,
        measured_fidelity_low=low,
        measured_fidelity_high=high,
        delivered_total=view.delivered_total,
        tested_total=view.tested_total,
        lost_total=view.lost_total,
        kept=view.kept,
        mean_wait_seconds=view.mean_wait_seconds,
        state_since_unix_nanos=unix_nanos(view.since),
    )


def link_states(pairs: PairSupply) -> list[admin_pb2.PairLinkState]:
    """All links that make pairs."""
    found = []
    for link, streams in pairs.links():
        fidelity, low, high = _interval(link.fidelity)
        found.append(
            admin_pb2.PairLinkState(
                name=link.name,
                a_node=link.a,
                b_node=link.b,
                model=link.model,
                condition=_CONDITIONS[link.condition],
                reason=link.reason,
                length_km=link.length_km,
                attempt_rate_hz=link.attempt_rate_hz,
                success_ratio=link.success_ratio,
                pair_rate_hz=link.pair_rate_hz,
                fidelity=fidelity,
                fidelity_low=low,
                fidelity_high=high,
                tests_total=link.tests_total,
                streams=streams,
            )
        )
    return found


def memories_states(pairs: PairSupply) -> list[admin_pb2.MemoriesState]:
    """The memories of all nodes that have some."""
    planned = pairs.planned_memories()
    return [
        admin_pb2.MemoriesState(
            node=node.name,
            model=told.model,
            memories=told.memories,
            working=node.memories,
            attempting=state.attempting if state is not None else 0,
            holding=state.holding if state is not None else 0,
            planned=planned.get(node.name, 0),
            t1_seconds=0.0 if math.isinf(node.t1_seconds) else node.t1_seconds,
            t2_seconds=0.0 if math.isinf(node.t2_seconds) else node.t2_seconds,
            swap_success_ratio=node.swap_success_ratio,
            swap_fidelity=told.swap_fidelity,
            readout_fidelity=told.readout_fidelity,
            emulated=told.emulated,
        )
        for node, told, state in pairs.book.banks()
    ]


def _interval(estimate: FidelityEstimate | None) -> tuple[float, float, float]:
    return (0.0, 0.0, 0.0) if estimate is None else (estimate.fidelity, estimate.low, estimate.high)
