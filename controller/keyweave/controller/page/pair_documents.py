"""What the page is told of entangled pairs, as values that JSON can hold. Pure."""

import math
from collections.abc import Sequence

from keyweave.common.names import StreamName
from keyweave.controller.page.documents import Document, number
from keyweave.controller.pairs.book import LinkState
from keyweave.controller.pairs.estimate import FidelityEstimate
from keyweave.controller.pairs.served import PairStreamView
from keyweave.controller.pairs.streams import PairWay
from keyweave.controller.routing.entanglement.repeaters import PairNode
from keyweave.v1 import pairs_pb2


def pair_link_document(link: LinkState, streams: Sequence[StreamName]) -> Document:
    """A link that makes pairs, and the streams that are planned over it."""
    return {
        "name": link.name,
        "a": link.a,
        "b": link.b,
        "model": link.model,
        "length_km": number(link.length_km),
        "condition": link.condition.value,
        "reason": link.reason,
        "streams": list(streams),
        "figures": {
            "attempt_rate_hz": number(link.attempt_rate_hz),
            "success_ratio": number(link.success_ratio),
            "pair_rate_hz": number(link.pair_rate_hz),
            "tests_total": link.tests_total,
            **_interval(link.fidelity),
        },
    }


def pair_stream_document(view: PairStreamView) -> Document:
    """A stream of pairs: what it asks for, what was predicted, what came."""
    stream = view.stream
    return {
        "name": stream.name,
        "source": stream.source,
        "target": stream.target,
        "kind": stream.kind,
        "min_fidelity": stream.min_fidelity,
        "rate_hz": stream.rate_hz,
        "priority": stream.priority,
        "pair_count": stream.pair_count,
        "deadline": round(stream.deadline) if math.isfinite(stream.deadline) else None,
        "key_link": stream.key_link or "",
        "tenant": stream.tenant,
        "state": view.state.value,
        "reason": view.reason,
        "since": round(view.since, 1),
        "paths": [_path(way) for way in view.ways],
        "figures": {
            "predicted_rate_hz": number(view.predicted_rate_hz),
            "predicted_fidelity": number(view.predicted_fidelity),
            "delivered_rate_hz": number(view.delivered_rate_hz),
            "delivered_total": view.delivered_total,
            "tested_total": view.tested_total,
            "lost_total": view.lost_total,
            "kept": view.kept,
            "mean_wait_seconds": number(view.mean_wait_seconds),
            **_interval(view.measured),
        },
    }


def memories_document(node: PairNode, bank: pairs_pb2.MemoryBank) -> Document:
    """The memories of a node, as they are told to be."""
    return {
        "model": bank.model,
        "count": bank.memories,
        "emulated": bank.emulated,
        "t1_seconds": number(node.t1_seconds),
        "t2_seconds": number(node.t2_seconds),
    }


def memories_figures(node: PairNode, state: pairs_pb2.MemoryState | None, planned: int) -> Document:
    """What the memories of a node do now."""
    return {
        "working": node.memories,
        "holding": state.holding if state is not None else 0,
        "attempting": state.attempting if state is not None else 0,
        "planned": planned,
        "swap_success_ratio": number(node.swap_success_ratio),
    }


def _path(way: PairWay) -> Document:
    path = way.path
    return {
        "nodes": list(path.nodes),
        "links": list(path.links),
        "memories": list(path.width),
        "rounds": list(path.rounds),
        "end_rounds": path.end_rounds,
        "swaps": [list(level) for level in path.swap_order],
        "cutoff_seconds": [number(each) for each in path.cutoff_seconds],
        "predicted_rate_hz": number(path.predicted_rate_hz),
        "predicted_fidelity": number(path.predicted_fidelity),
    }


def _interval(measured: FidelityEstimate | None) -> Document:
    if measured is None:
        return {"fidelity": None, "fidelity_low": None, "fidelity_high": None}
    return {
        "fidelity": number(measured.fidelity),
        "fidelity_low": number(measured.low),
        "fidelity_high": number(measured.high),
    }
