"""What the controller knows, as the admin API writes it. Pure."""

from collections.abc import Iterable, Mapping

from keyweave.common.names import NodeName
from keyweave.controller.calendar import Phase
from keyweave.controller.compile.rules import ORDER_KINDS, path_set_message
from keyweave.controller.events import Event, Severity
from keyweave.controller.orders import Order
from keyweave.controller.topology import Condition, Plan, Status, StreamPlan
from keyweave.controller.views import LinkStateView, NodeView, PolicyRef, StreamView
from keyweave.v1 import admin_pb2, agent_pb2, types_pb2

_CONDITIONS: Mapping[Condition, types_pb2.LinkCondition] = {
    Condition.OK: types_pb2.LINK_CONDITION_OK,
    Condition.DEGRADED: types_pb2.LINK_CONDITION_DEGRADED,
    Condition.SUSPECT: types_pb2.LINK_CONDITION_SUSPECT,
    Condition.DOWN: types_pb2.LINK_CONDITION_DOWN,
    Condition.STALE: types_pb2.LINK_CONDITION_STALE,
    Condition.MAINTENANCE: types_pb2.LINK_CONDITION_MAINTENANCE,
}
_STATUSES: Mapping[Status, types_pb2.LinkStatus] = {
    Status.ACTIVE: types_pb2.LINK_STATUS_ACTIVE,
    Status.PASSIVE: types_pb2.LINK_STATUS_PASSIVE,
    Status.PENDING: types_pb2.LINK_STATUS_PENDING,
    Status.OFF: types_pb2.LINK_STATUS_OFF,
}
_SEVERITIES: Mapping[Severity, admin_pb2.EventSeverity] = {
    Severity.INFO: admin_pb2.EVENT_SEVERITY_INFO,
    Severity.MINOR: admin_pb2.EVENT_SEVERITY_MINOR,
    Severity.MAJOR: admin_pb2.EVENT_SEVERITY_MAJOR,
}

PHASES: Mapping[Phase, admin_pb2.MaintenancePhase] = {
    Phase.PLANNED: admin_pb2.MAINTENANCE_PHASE_PLANNED,
    Phase.LEAVING: admin_pb2.MAINTENANCE_PHASE_LEAVING,
    Phase.UNDER_WAY: admin_pb2.MAINTENANCE_PHASE_UNDER_WAY,
    Phase.OVER: admin_pb2.MAINTENANCE_PHASE_OVER,
}


def unix_nanos(unix_seconds: float) -> int:
    """A time as the wire has it."""
    return round(unix_seconds * 1e9)


def node_status(spec: types_pb2.Node, view: NodeView | None) -> admin_pb2.NodeStatus:
    """A node and what is known of its agent."""
    if view is None:
        return admin_pb2.NodeStatus(node=spec)
    return admin_pb2.NodeStatus(
        node=spec,
        connected=view.connected,
        connected_since_unix_nanos=unix_nanos(view.connected_since),
        software_version=view.software_version,
        kme_url=view.kme_url,
        desired_policy=_policy(view.desired),
        applied_policy=_policy(view.applied),
        nacked_rules=view.nacked_rules,
        dropped_samples_total=view.dropped_samples_total,
        guard_digest=view.guard_digest,
        withheld_rules=view.withheld_rules,
    )


def link_state(spec: types_pb2.Link, view: LinkStateView | None) -> admin_pb2.LinkState:
    """A link and what telemetry says of it."""
    if view is None:
        return admin_pb2.LinkState(link=spec)
    known = view.view
    return admin_pb2.LinkState(
        link=spec,
        status=_STATUSES[view.status],
        condition=_CONDITIONS[known.condition],
        reason=known.reason,
        qber_ratio=known.qber_ratio,
        skr_bps=known.skr_bps,
        usable_rate_bps=known.usable_rate_bps,
        loss_db=view.loss_db,
        pool_bits=known.pool_bits,
        condition_since_unix_nanos=unix_nanos(view.condition_since),
        emulated=view.emulated,
        planned_bps=view.planned_bps,
        held_bits=view.held_bits,
        intake_bps=view.intake_bps,
        diagnosis=view.diagnosis,
        evidence=view.evidence,
        vendor_domain=view.vendor_domain,
        next_contact=agent_pb2.ContactWindow(
            start_unix_nanos=unix_nanos(view.next_contact.start),
            end_unix_nanos=unix_nanos(view.next_contact.end),
            max_elevation_degrees=view.next_contact.max_elevation_degrees,
        )
        if view.next_contact
        else None,
    )


def stream_status(spec: types_pb2.Stream, view: StreamView | None) -> admin_pb2.StreamStatus:
    """A stream, its plan, and what its ends report."""
    if view is None:
        return admin_pb2.StreamStatus(stream=spec)
    return admin_pb2.StreamStatus(
        stream=spec,
        plan=stream_plan(view.plan) if view.plan else None,
        protection=view.protection,
        path_ids=view.path_ids,
        delivered_bps=view.delivered_bps,
        buffered_keys=view.buffered_keys,
        served_qkd_total=view.served_qkd_total,
        served_hybrid_total=view.served_hybrid_total,
        served_pqc_total=view.served_pqc_total,
        failovers_total=view.failovers_total,
        last_failover_seconds=view.last_failover_seconds,
        refresh_seconds=view.stream.refresh_seconds,
        refresh_from=view.stream.refresh_from,
        key_ttl_seconds=view.stream.key_ttl_seconds,
        key_ttl_from=view.stream.key_ttl_from,
    )


def stream_plan(plan: StreamPlan) -> admin_pb2.StreamPlan:
    """What one stream is given, and why."""
    return admin_pb2.StreamPlan(
        stream=plan.stream,
        rate_bps=plan.rate_bps,
        path_sets=[path_set_message(path_set) for path_set in plan.path_sets],
        reason=plan.reason,
        unmet=plan.unmet,
    )


def plan_message(plan: Plan, time_unix_seconds: float) -> admin_pb2.Plan:
    """The whole plan, streams by name. `time_unix_seconds` is when it was made, 0 for a preview."""
    return admin_pb2.Plan(
        version=plan.version,
        snapshot_version=plan.snapshot_version,
        time_unix_nanos=unix_nanos(time_unix_seconds),
        streams=[stream_plan(plan.streams[name]) for name in sorted(plan.streams)],
    )


def order_message(order: Order, waiting_for: Iterable[NodeName]) -> admin_pb2.Order:
    """An order and who keeps it waiting."""
    return admin_pb2.Order(
        order_id=order.order_id,
        kind=ORDER_KINDS[order.kind],
        node="" if order.link else order.nodes[0],
        link=order.link,
        ordered_unix_nanos=unix_nanos(order.ordered_at),
        ordered_by=order.ordered_by,
        waiting_for_nodes=waiting_for,
    )


def event_message(event: Event) -> admin_pb2.Event:
    """An event."""
    return admin_pb2.Event(
        id=event.id,
        time_unix_nanos=unix_nanos(event.time_unix_seconds),
        severity=_SEVERITIES[event.severity],
        kind=event.kind,
        node=event.node,
        link=event.link,
        stream=event.stream,
        message=event.message,
        fields=dict(event.fields),
    )


def _policy(ref: PolicyRef | None) -> agent_pb2.PolicyVersion | None:
    if ref is None:
        return None
    return agent_pb2.PolicyVersion(epoch=ref.epoch, version=ref.version, digest=ref.digest)
