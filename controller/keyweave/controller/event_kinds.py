"""Every kind of event there is: what it means, how much it matters, which fields it may have.

The one place to declare a kind: its name in `KindName`, so that a wrong one fails the type check, and what
it says in `KINDS`. An event that is not as declared here warns, and a warning fails a test. The page
docs/events.md is written from this table. A kind is never taken out again: stored events keep its name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Severity(StrEnum):
    """How much it matters; MINOR and MAJOR as in ETSI GS QKD 015."""

    INFO = "info"
    MINOR = "minor"
    MAJOR = "major"


KindName = Literal[
    "agent_connected",
    "agent_lost",
    "audit_anchored",
    "audit_pruned",
    "calibration_asked",
    "confirmation_failed",
    "controller_started",
    "database_outage",
    "ends_disagree",
    "epoch_behind",
    "events_lost",
    "guard_refused",
    "keys_destroyed",
    "keys_recalled",
    "lease_expired",
    "link_condition_changed",
    "link_device_fault",
    "link_diagnosed",
    "link_loss_of_signal",
    "link_qber_abort",
    "link_restored",
    "maintenance_changed",
    "memory_failed",
    "memory_restored",
    "order_completed",
    "order_expired",
    "order_given",
    "order_refused",
    "order_withdrawn",
    "pair_fidelity_changed",
    "pair_link_condition_changed",
    "pair_plan_changed",
    "pair_stream_ended",
    "pair_stream_met",
    "pair_stream_unmet",
    "peer_revoked",
    "plan_changed",
    "plan_pin_dropped",
    "plan_pinned",
    "policy_nacked",
    "policy_refused",
    "pool_destroyed",
    "quarantine_cleared",
    "quarantine_destroyed",
    "quarantined",
    "relay_tag_failed",
    "report_refused",
    "samples_refused",
    "signature_failed",
    "stream_failover",
    "stream_met",
    "stream_starved",
    "stream_supplied",
    "stream_unmet",
    "stream_warning",
    "zeroized",
]
# What an event is about, besides the whole network.
Subject = Literal["node", "link", "stream"]


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind of event.

    `alarm` names a state that lasts: of such kinds, an event of severity INFO ends it for the node, link or
    stream that it names, any other begins it. With `protects`, it tells that what protects keys has changed,
    and goes to the audit log.
    """

    meaning: str
    severities: tuple[Severity, ...]
    about: tuple[Subject, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    alarm: str = ""
    protects: bool = False


_INFO, _MINOR, _MAJOR = (Severity.INFO,), (Severity.MINOR,), (Severity.MAJOR,)
# What happens to something that is in maintenance is marked with the window.
EXPECTED_FIELD: Mapping[str, str] = {"maintenance": "maintenance window in which this was to be expected"}
# What any report of an agent may tell.
REPORTED_FIELDS: Mapping[str, str] = {
    "reason": "why, in the agent's words",
    "peer_node": "the node at the other end",
    "sae": "the application concerned",
    "key_ids": "IDs of the keys concerned, comma-separated; at most 256, more come in further events",
    "count": "how many keys are concerned",
    "occurrences": "how many equal reports the agent has merged into this one",
    "since_unix_seconds": "since when, by the agent's clock",
    **EXPECTED_FIELD,
}
_WHY: Mapping[str, str] = {
    "reason": "what the condition follows from",
    "diagnosis": "what the measurements read as",
    "evidence": "what moved, by how much and since when",
}
_ORDER: Mapping[str, str] = {
    "order": "ID of the order",
    "order_kind": "link_clear, link_destroy, link_calibrate or node_zeroize",
    "ordered_by": "name in the operator's certificate",
}


def _reported(
    meaning: str,
    severities: tuple[Severity, ...],
    *about: Subject,
    fields: Mapping[str, str] | None = None,
    alarm: str = "",
    protects: bool = False,
) -> EventKind:
    """A kind that agents report; always about the node that does."""
    return EventKind(
        meaning, severities, ("node", *about), {**REPORTED_FIELDS, **(fields or {})}, alarm, protects
    )


def _order(meaning: str, severities: tuple[Severity, ...]) -> EventKind:
    return EventKind(meaning, severities, ("node", "link"), _ORDER)


KINDS: Mapping[KindName, EventKind] = {
    # ---- links
    "link_condition_changed": EventKind(
        "A link went from one condition to another.",
        (Severity.INFO, Severity.MINOR, Severity.MAJOR),
        ("link",),
        {"old": "condition before", "new": "condition now", **_WHY, **EXPECTED_FIELD},
        alarm="link_condition",
    ),
    "link_diagnosed": EventKind(
        "A link in the same condition reads otherwise than before.", _INFO, ("link",), _WHY
    ),
    "ends_disagree": EventKind(
        "The two ends of a link contradict each other.", _MAJOR, ("link",), EXPECTED_FIELD
    ),
    "link_loss_of_signal": _reported("A device gets no signal.", _MAJOR, "link", alarm="link_end"),
    "link_device_fault": _reported(
        "A device has a fault that stops key production.", _MAJOR, "link", alarm="link_end"
    ),
    "link_qber_abort": _reported(
        "An agent saw QBER at or above the abort threshold and stopped using the link.",
        _MAJOR,
        "link",
        alarm="link_end",
    ),
    "link_restored": _reported("An end of a link works again.", _INFO, "link", alarm="link_end"),
    "pool_destroyed": _reported("Pool bytes of a link were destroyed.", _MINOR, "link"),
    "quarantined": _reported(
        "Blocks since the moment named are held, and undelivered keys built on them destroyed.",
        _MAJOR,
        "link",
        protects=True,
    ),
    "quarantine_cleared": _reported(
        "Blocks held in quarantine were released for use, by order.", _MINOR, "link", protects=True
    ),
    "quarantine_destroyed": _reported(
        "Blocks held in quarantine were destroyed.", _MINOR, "link", protects=True
    ),
    "calibration_asked": _reported("A device was asked to calibrate, or could not be.", _INFO, "link"),
    # ---- keys and streams
    "stream_failover": _reported(
        "A stream moved to another path set or protection.",
        _MINOR,
        "stream",
        fields={
            "duration_seconds": "from the first failed attempt to the first confirmed key; 0.000 if planned",
            "protection_before": "qkd, hybrid, pqc or none",
            "protection_after": "qkd, hybrid, pqc or none",
            "paths_before": "IDs of the paths before, comma-separated, the first eight",
            "paths_after": "IDs of the paths after, comma-separated, the first eight",
        },
        protects=True,
    ),
    "stream_starved": _reported(
        "A stream can supply no keys.", _MAJOR, "stream", alarm="stream_supply", protects=True
    ),
    "stream_supplied": _reported(
        "A stream supplies keys again.", _INFO, "stream", alarm="stream_supply", protects=True
    ),
    "keys_destroyed": _reported("Undelivered keys of a stream were destroyed.", _MINOR, "stream"),
    "keys_recalled": _reported(
        "Keys that applications have fetched were built on a link under attack: do not trust them.",
        _MAJOR,
        "link",
        "stream",
        protects=True,
    ),
    "relay_tag_failed": _reported("A hop's one-time tag did not verify.", _MAJOR, "link", "stream"),
    "confirmation_failed": _reported(
        "The ends derived different keys: somebody on the path altered a share.", _MAJOR, "stream"
    ),
    "stream_unmet": EventKind(
        "No plan gives a stream what it requires.", _MAJOR, ("stream",), alarm="stream_plan", protects=True
    ),
    "stream_met": EventKind(
        "A stream is planned what it requires again.",
        _INFO,
        ("stream",),
        alarm="stream_plan",
        protects=True,
    ),
    "stream_warning": EventKind(
        "What the network as it is built cannot give a stream; it is kept all the same.",
        _MINOR,
        ("stream",),
    ),
    "plan_changed": EventKind(
        "A new plan moves streams.",
        _INFO,
        (),
        {"version": "version of the plan", "streams": "the first eight streams that it moves"},
    ),
    "plan_pinned": EventKind(
        "An operator pinned streams to their paths of an earlier plan, or let all be planned freely again.",
        _INFO,
        (),
        {
            "version": "version of the plan; 0 where nothing is pinned any more",
            "pinned_by": "name in the operator's certificate",
            "streams": "how many streams are pinned",
        },
    ),
    "plan_pin_dropped": EventKind(
        "A stream is no longer pinned: its paths of the earlier plan cannot be used now.",
        _MINOR,
        ("stream",),
        {"version": "version of the plan it was pinned to", "reason": "why they cannot be used"},
    ),
    # ---- entangled pairs
    "pair_link_condition_changed": EventKind(
        "A link that makes entangled pairs went from one condition to another.",
        (Severity.INFO, Severity.MINOR, Severity.MAJOR),
        ("link",),
        {"old": "condition before", "new": "condition now", "reason": "what the condition follows from"},
        alarm="pair_link_condition",
    ),
    "pair_plan_changed": EventKind(
        "A pair stream goes over other paths, or over the same with other settings.",
        _INFO,
        ("stream",),
        {
            "paths": "nodes of each path, hyphenated; paths semicolon-separated",
            "predicted_rate_hz": "pairs a second that are predicted",
            "predicted_fidelity": "fidelity that is predicted",
        },
    ),
    "pair_stream_unmet": EventKind(
        "A pair stream gets no pairs (major), or fewer than it asks for (minor): no plan gives it more.",
        (Severity.MINOR, Severity.MAJOR),
        ("stream",),
        {"reason": "why, and the best that could be had"},
        alarm="pair_stream_plan",
    ),
    "pair_stream_met": EventKind(
        "A pair stream gets what it asks for again.", _INFO, ("stream",), alarm="pair_stream_plan"
    ),
    "pair_stream_ended": _reported(
        "A pair stream's deadline has passed, or all its pairs are delivered.",
        _INFO,
        "stream",
        alarm="pair_stream_plan",
    ),
    "pair_fidelity_changed": EventKind(
        "Tests show that a pair stream delivers less than its least fidelity (major), or no longer (info).",
        (Severity.INFO, Severity.MAJOR),
        ("stream",),
        {"measured_fidelity": "as tests have it", "min_fidelity": "as the stream asks for"},
        alarm="pair_fidelity",
    ),
    "memory_failed": _reported("A quantum memory stopped working.", _MINOR),
    "memory_restored": _reported("A quantum memory works again.", _INFO),
    # ---- agents and policy
    "agent_connected": EventKind(
        "An agent opened its policy stream.", _INFO, ("node",), EXPECTED_FIELD, alarm="agent_connection"
    ),
    "agent_lost": EventKind(
        "An agent's policy stream ended; it goes on by its last policy.",
        _MAJOR,
        ("node",),
        EXPECTED_FIELD,
        alarm="agent_connection",
    ),
    "lease_expired": _reported(
        "No controller renewed an agent's lease in time; it goes on by its last policy.", _MINOR
    ),
    "policy_nacked": EventKind("An agent refused its policy and keeps the one it had.", _MAJOR, ("node",)),
    "policy_refused": _reported("An agent refused a policy before looking at its rules.", _MAJOR),
    "guard_refused": _reported(
        "A node's own guard keeps its agent from something that policy allows.",
        _MAJOR,
        "link",
        "stream",
        protects=True,
    ),
    "zeroized": _reported("All key material of a node was destroyed, by order.", _MAJOR, protects=True),
    "signature_failed": _reported("A peer's signature did not verify.", _MAJOR),
    "peer_revoked": _reported("A peer's certificate was revoked or has expired.", _MAJOR),
    "samples_refused": EventKind(
        "An agent sent samples that cannot be true; they were not used.", _MINOR, ("node", "link")
    ),
    "report_refused": EventKind(
        "An agent reported on a link that does not end at its node.", _MINOR, ("node", "link")
    ),
    # ---- maintenance
    "maintenance_changed": EventKind(
        "A maintenance window came to its next phase: streams leave, it is under way, or it is over.",
        _INFO,
        (),
        {
            "maintenance": "name of the window",
            "phase": "leaving, under way or over",
            "links": "its links, comma-separated",
            "nodes": "its nodes, comma-separated",
            "reason": "why, in the operator's words",
        },
    ),
    # ---- orders
    "order_given": _order("An operator ordered something to be done once.", _MINOR),
    "order_completed": _order("All who were ordered have acknowledged.", _INFO),
    "order_refused": _order("A node will not carry an order out.", _MAJOR),
    "order_withdrawn": _order("What an order was about is gone.", _MINOR),
    "order_expired": _order("An order was given up: not all acknowledged in time.", _MAJOR),
    # ---- the controller
    "controller_started": EventKind("A controller began to lead.", _INFO, (), {"epoch": "its epoch"}),
    "database_outage": EventKind(
        "Controllers' shared database cannot be used (major: nothing is changed), or can be again (info).",
        (Severity.INFO, Severity.MAJOR),
        (),
        {"reason": "why not"},
        alarm="database",
    ),
    "epoch_behind": EventKind(
        "Agents know an epoch of another run: the store is an old copy, and nothing is changed.",
        _MAJOR,
        ("node",),
        {"seen_epoch": "the epoch that agents have seen", "epoch": "the epoch that this run claimed"},
    ),
    "events_lost": EventKind(
        "Told to one watcher only, and not stored: it was too slow, and events were skipped.",
        _MINOR,
        (),
        {"count": "how many were skipped"},
    ),
    "audit_anchored": EventKind(
        "The head of the audit log, told outside so that a truncated log shows.",
        _INFO,
        (),
        {"sequence": "number of the newest entry", "digest": "SHA-256 of that entry, hexadecimal"},
    ),
    "audit_pruned": EventKind(
        "Old entries of the audit log were written to an archive and left the database.",
        _INFO,
        (),
        {"first": "number of the first entry in the archive", "last": "of the last", "file": "the archive"},
    ),
}


def misfits(
    kind: str, severity: Severity, subjects: Mapping[str, str], fields: Mapping[str, str]
) -> Iterator[str]:
    """What an event has that its kind does not declare."""
    declared = KINDS.get(kind)  # type: ignore[call-overload]  # any word may come here
    if declared is None:
        yield f"kind '{kind}' is not declared"
        return
    if severity not in declared.severities:
        yield f"{kind} is never {severity}"
    for subject, name in subjects.items():
        if name and subject not in declared.about:
            yield f"{kind} is not about a {subject}"
    for name in sorted(set(fields) - set(declared.fields)):
        yield f"{kind} declares no field '{name}'"
