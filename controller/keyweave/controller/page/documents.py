"""What the page is told of the network, as values that JSON can hold. Pure.

What moves all the time stands under `figures`, so that news of it can go out apart from what matters at once.
"""

import math
from collections.abc import Iterable
from typing import Any

from keyweave.controller.agent_events import protection_word
from keyweave.controller.events import Event
from keyweave.controller.page.positions import Picture
from keyweave.controller.topology import PathSet, Stream
from keyweave.controller.views import LinkStateView, NodeView, OrderView, StreamView
from keyweave.v1 import agent_pb2, types_pb2

Document = dict[str, Any]
# Figures are shown with three or four digits; what moves less is no news.
_DIGITS = 4


def node_document(spec: types_pb2.Node, view: NodeView) -> Document:
    """A node and its agent."""
    return {
        "name": spec.name,
        "owner": spec.owner,
        "location": spec.location,
        "trust_domain": spec.trust_domain,
        "maintenance": spec.maintenance,
        "connected": view.connected,
        "connected_since": round(view.connected_since, 1),
        "software_version": view.software_version,
        "kme_url": view.kme_url,
        "policy": _policy_word(view),
        "refused_rules": _rules(view.nacked_rules),
        "withheld_rules": _rules(view.withheld_rules),
        # Where it has quantum memories.
        "memories": None,
        "figures": {"dropped_samples_total": view.dropped_samples_total},
    }


def link_document(view: LinkStateView) -> Document:
    """A link and what telemetry says of it."""
    known = view.view
    link = known.link
    contact = view.next_contact
    return {
        "name": link.name,
        "a": link.a,
        "b": link.b,
        "technology": link.technology,
        "length_km": number(link.length_km),
        "risk_groups": sorted(link.risk_groups),
        "abort_qber_ratio": link.abort_qber_ratio,
        "degraded_qber_ratio": number(link.degraded_qber_ratio),
        "maintenance": link.maintenance,
        "disabled": link.disabled,
        "condition": known.condition.value,
        "status": view.status.value,
        "since": round(view.condition_since, 1),
        "reason": known.reason,
        "diagnosis": view.diagnosis,
        "evidence": list(view.evidence),
        "emulated": view.emulated,
        "vendor_domain": view.vendor_domain,
        "next_contact": [round(contact.start), round(contact.end)] if contact else None,
        "figures": {
            "qber_ratio": number(known.qber_ratio),
            "skr_bps": number(known.skr_bps),
            "usable_rate_bps": number(known.usable_rate_bps),
            "planned_bps": number(view.planned_bps),
            "intake_bps": number(view.intake_bps),
            "loss_db": number(view.loss_db),
            "pool_bits": known.pool_bits,
            "held_bits": view.held_bits,
        },
    }


def stream_document(spec: types_pb2.Stream, view: StreamView) -> Document:
    """A stream, its plan, and what its ends report."""
    stream, plan = view.stream, view.plan
    in_use = frozenset(view.path_ids)
    sets = plan.path_sets if plan else ()
    return {
        "name": stream.name,
        "source": stream.source,
        "target": stream.target,
        "source_sae": stream.source_sae,
        "target_sae": stream.target_sae,
        "tenant": spec.tenant,
        "application_class": spec.application_class,
        "requirement": _requirement(stream),
        "on_exhaustion": stream.on_exhaustion.value,
        "k": stream.k,
        "min_k": stream.min_k,
        "priority": stream.priority,
        "min_rate_bps": stream.min_rate_bps,
        "max_rate_bps": number(stream.max_rate_bps),
        "buffer_keys": stream.buffer_keys,
        "protection": protection_word(view.protection),
        "path_sets": [_path_set(one, in_use) for one in sets],
        "reason": plan.reason if plan else "",
        "unmet": plan.unmet if plan else "",
        "failovers_total": view.failovers_total,
        "last_failover_seconds": number(view.last_failover_seconds),
        "figures": {
            "planned_bps": number(plan.rate_bps) if plan else 0.0,
            "delivered_bps": number(view.delivered_bps),
            "buffered_keys": view.buffered_keys,
            "served_qkd_total": view.served_qkd_total,
            "served_hybrid_total": view.served_hybrid_total,
            "served_pqc_total": view.served_pqc_total,
        },
    }


def event_document(event: Event) -> Document:
    """An event, without its fields: these may list key IDs, which are for operators."""
    return {
        "id": event.id,
        "time": round(event.time_unix_seconds, 3),
        "severity": event.severity.value,
        "kind": event.kind,
        "message": event.message,
        "node": event.node,
        "link": event.link,
        "stream": event.stream,
    }


def order_document(view: OrderView) -> Document:
    """An order that not all have carried out."""
    order = view.order
    return {
        "kind": order.kind.value,
        "link": order.link,
        "node": "" if order.link else order.nodes[0],
        "waiting_for": list(view.waiting_for),
    }


def picture_document(picture: Picture) -> Document:
    """A map or graph."""
    document: Document = {
        "width": picture.width,
        "height": picture.height,
        "places": {name: list(place) for name, place in picture.places.items()},
    }
    if picture.west_degrees is not None:
        document["grid"] = {
            "west": picture.west_degrees,
            "north": picture.north_degrees,
            "per_x": picture.degrees_per_x,
            "per_y": picture.degrees_per_y,
        }
    return document


def _policy_word(view: NodeView) -> str:
    if view.nacked_rules:
        return "refused"
    if view.withheld_rules:
        return "withheld"
    if not view.connected:
        return "unknown"
    return "applied" if view.in_sync else "pending"


def _rules(rules: Iterable[agent_pb2.RuleStatus]) -> list[str]:
    return [f"{rule.rule_id}: {rule.status.message}" for rule in rules]


def _requirement(stream: Stream) -> str:
    if stream.require_qkd and stream.require_pqc:
        return "QKD and ML-KEM"
    if stream.require_qkd:
        return "QKD"
    return "ML-KEM" if stream.require_pqc else "strongest available"


def _path_set(path_set: PathSet, in_use: frozenset[str]) -> Document:
    return {
        "rank": path_set.rank,
        "rate_bps": number(path_set.rate_bps),
        "reason": path_set.reason,
        "paths": [
            {"nodes": list(path.nodes), "links": list(path.links), "in_use": path.path_id in in_use}
            for path in path_set.paths
        ],
    }


def number(value: float) -> float | None:
    """`value` with as many digits as are shown; None where it is no number or has no end."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
