"""What an agent reports, in the controller's own words. Pure."""

from keyweave.common.names import NodeName
from keyweave.controller.estimate.estimate import EndEvent
from keyweave.controller.event_kinds import KINDS, KindName
from keyweave.controller.events import Event
from keyweave.v1 import agent_pb2, types_pb2

NANOS = 1_000_000_000
# Longest list of paths that an event's field spells out.
_PATHS_SHOWN = 8

_KINDS: dict[agent_pb2.AgentEventKind, KindName] = {
    agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL: "link_loss_of_signal",
    agent_pb2.AGENT_EVENT_KIND_LINK_DEVICE_FAULT: "link_device_fault",
    agent_pb2.AGENT_EVENT_KIND_LINK_QBER_ABORT: "link_qber_abort",
    agent_pb2.AGENT_EVENT_KIND_LINK_RESTORED: "link_restored",
    agent_pb2.AGENT_EVENT_KIND_POOL_DESTROYED: "pool_destroyed",
    agent_pb2.AGENT_EVENT_KIND_QUARANTINED: "quarantined",
    agent_pb2.AGENT_EVENT_KIND_KEYS_DESTROYED: "keys_destroyed",
    agent_pb2.AGENT_EVENT_KIND_FAILOVER: "stream_failover",
    agent_pb2.AGENT_EVENT_KIND_RELAY_TAG_FAILED: "relay_tag_failed",
    agent_pb2.AGENT_EVENT_KIND_CONFIRMATION_FAILED: "confirmation_failed",
    agent_pb2.AGENT_EVENT_KIND_LEASE_EXPIRED: "lease_expired",
    agent_pb2.AGENT_EVENT_KIND_POLICY_REFUSED: "policy_refused",
    agent_pb2.AGENT_EVENT_KIND_STREAM_STARVED: "stream_starved",
    agent_pb2.AGENT_EVENT_KIND_STREAM_SUPPLIED: "stream_supplied",
    agent_pb2.AGENT_EVENT_KIND_KEYS_RECALLED: "keys_recalled",
    agent_pb2.AGENT_EVENT_KIND_ZEROIZED: "zeroized",
    agent_pb2.AGENT_EVENT_KIND_QUARANTINE_CLEARED: "quarantine_cleared",
    agent_pb2.AGENT_EVENT_KIND_QUARANTINE_DESTROYED: "quarantine_destroyed",
    agent_pb2.AGENT_EVENT_KIND_SIGNATURE_FAILED: "signature_failed",
    agent_pb2.AGENT_EVENT_KIND_PEER_REVOKED: "peer_revoked",
    agent_pb2.AGENT_EVENT_KIND_GUARD_REFUSED: "guard_refused",
    agent_pb2.AGENT_EVENT_KIND_CALIBRATION_ASKED: "calibration_asked",
    agent_pb2.AGENT_EVENT_KIND_MEMORY_FAILED: "memory_failed",
    agent_pb2.AGENT_EVENT_KIND_MEMORY_RESTORED: "memory_restored",
    agent_pb2.AGENT_EVENT_KIND_PAIR_STREAM_ENDED: "pair_stream_ended",
}
_END_EVENTS: dict[agent_pb2.AgentEventKind, EndEvent] = {
    agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL: EndEvent.LOSS_OF_SIGNAL,
    agent_pb2.AGENT_EVENT_KIND_LINK_DEVICE_FAULT: EndEvent.DEVICE_FAULT,
    agent_pb2.AGENT_EVENT_KIND_LINK_QBER_ABORT: EndEvent.QBER_ABORT,
    agent_pb2.AGENT_EVENT_KIND_LINK_RESTORED: EndEvent.RESTORED,
}


def end_event(kind: agent_pb2.AgentEventKind) -> EndEvent | None:
    """What the report means for its link's condition, if anything."""
    return _END_EVENTS.get(kind)


def event_of(node: NodeName, report: agent_pb2.AgentEvent, now: float) -> Event | None:
    """The event for a report; None for a kind that this controller does not know."""
    if report.kind not in _KINDS:
        return None
    kind = _KINDS[report.kind]
    declared = KINDS[kind]
    (severity,) = declared.severities
    return Event(
        kind=kind,
        severity=severity,
        # Kind, node, link and stream are fields of their own, shown before it.
        message=_message(kind, report),
        # The agent's clock says when it happened, but cannot place it in the future.
        time_unix_seconds=min(now, report.time_unix_nanos / NANOS) if report.time_unix_nanos else now,
        node=node,
        # An agent may name more than such an event is about.
        link=report.link if "link" in declared.about else "",
        stream=report.stream if "stream" in declared.about else "",
        fields=_fields(report),
    )


def _message(kind: str, report: agent_pb2.AgentEvent) -> str:
    said = report.reason or kind.replace("_", " ")
    if report.kind == agent_pb2.AGENT_EVENT_KIND_KEYS_RECALLED:
        count = report.count or len(report.key_ids)
        return f"{count} keys that {report.sae or 'an application'} has fetched: {said}"
    return said


def _fields(report: agent_pb2.AgentEvent) -> dict[str, str]:
    fields = {
        "reason": report.reason,
        "peer_node": report.peer_node,
        "sae": report.sae,
        # All of them: whoever holds such a key must be able to find it. The protocol has at most 256.
        "key_ids": ",".join(report.key_ids),
        "count": str(report.count) if report.count else "",
        "occurrences": str(report.occurrences) if report.occurrences > 1 else "",
        "since_unix_seconds": f"{report.since_unix_nanos / NANOS:.3f}" if report.since_unix_nanos else "",
    }
    if report.kind == agent_pb2.AGENT_EVENT_KIND_FAILOVER:
        fields |= {
            "duration_seconds": f"{report.duration_seconds:.3f}",
            "protection_before": protection_word(report.protection_before),
            "protection_after": protection_word(report.protection_after),
            "paths_before": ",".join(report.path_ids_before[:_PATHS_SHOWN]),
            "paths_after": ",".join(report.path_ids_after[:_PATHS_SHOWN]),
        }
    return {name: value for name, value in fields.items() if value}


def protection_word(protection: types_pb2.Protection) -> str:
    """`qkd`, `hybrid`, `pqc`, `none`, or `unknown`."""
    if protection not in types_pb2.Protection.values() or not protection:
        return "unknown"
    return types_pb2.Protection.Name(protection).removeprefix("PROTECTION_").lower()
