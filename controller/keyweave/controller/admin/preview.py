"""What the plan would be under another intent: for `validate_only`. Pure."""

from dataclasses import replace

from keyweave.controller import routing
from keyweave.controller.intent import Intent, link_of, node_of, stream_of
from keyweave.controller.topology import Condition, Link, LinkView, Plan, Snapshot


def plan_under(intent: Intent, snapshot: Snapshot, plan: Plan) -> Plan:
    """The plan that would follow `plan` if `intent` were what operators want, links being as they are."""
    views = [_view(link_of(spec), snapshot.links.get(name)) for name, spec in intent.links.items()]
    candidate = Snapshot(
        version=snapshot.version + 1,
        nodes={name: node_of(spec) for name, spec in intent.nodes.items()},
        links={view.link.name: view for view in views},
        streams={name: stream_of(spec) for name, spec in intent.streams.items()},
    )
    return routing.plan_streams(candidate, plan, plan.version + 1)


def _view(link: Link, known: LinkView | None) -> LinkView:
    """The link with what is known of it. Nothing is, where it is new, rerouted or out of maintenance."""
    if link.maintenance:
        return _out_of_use(link, Condition.MAINTENANCE, "taken out of use by the operator")
    if (
        known is None
        or {known.link.a, known.link.b} != {link.a, link.b}
        or known.condition is Condition.MAINTENANCE
    ):
        return _out_of_use(link, Condition.STALE, "no telemetry yet")
    if link.disabled:
        return _out_of_use(link, known.condition, "disabled by the operator")
    return replace(known, link=link)


def _out_of_use(link: Link, condition: Condition, reason: str) -> LinkView:
    return LinkView(
        link=link,
        condition=condition,
        reason=reason,
        qber_ratio=0.0,
        skr_bps=0.0,
        usable_rate_bps=0.0,
        pool_bits=0,
        keeps_paths=condition is Condition.STALE and not link.disabled,
        takes_paths=False,
    )
