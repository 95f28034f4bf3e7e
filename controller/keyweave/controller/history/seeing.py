"""The core's state as the history counts it. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import inf
from typing import Any

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.agent_events import protection_word
from keyweave.controller.estimate.estimate import LinkEstimate
from keyweave.controller.events import Event, Severity
from keyweave.controller.history.rows import Happening
from keyweave.controller.history.watch import (
    LinkSeen,
    NodeSeen,
    PairLinkSeen,
    PairStreamSeen,
    Seen,
    Served,
    StreamSeen,
)
from keyweave.controller.pairs.book import LinkState
from keyweave.controller.pairs.served import PairStreamView, State
from keyweave.controller.reconcile.core import Core
from keyweave.controller.reconcile.reports import StreamReport
from keyweave.controller.topology import Condition, Link, Status, Stream, StreamPlan
from keyweave.v1 import types_pb2

# What is measured in these is a figure of the link as it serves.
_IN_SERVICE = frozenset({Condition.OK, Condition.DEGRADED, Condition.SUSPECT})
_KEPT_FIELDS = (
    *("old", "new", "diagnosis", "evidence", "duration_seconds"),
    *("protection_before", "protection_after", "count", "occurrences"),
)
_STANDINGS = {State.MET: "met", State.PARTLY_MET: "partly_met", State.UNMET: "unmet"}
_LONGEST_TEXT = 300
# How long agents may take to be heard after a start, or after a node, link or stream was created.
NEWCOMER_SECONDS = 20.0


def link_seen(link: Link, estimate: LinkEstimate) -> LinkSeen:
    """A link as it is now."""
    condition = Condition.MAINTENANCE if link.disabled else estimate.condition
    serves = condition in _IN_SERVICE
    return LinkSeen(
        condition=condition.value,
        status=(estimate.status or Status.PENDING).value,
        # Quantities that nobody measures are 0.
        qber_ratio=estimate.qber_ratio or None if serves else None,
        skr_bps=estimate.skr_bps if serves else None,
        loss_db=estimate.loss_db or None if serves else None,
    )


def service(stream: Stream, plan: StreamPlan | None, report: StreamReport, *, heard: bool) -> str:
    """`serving`, `degraded`, `unserved` or `silent`; what each means is written in the protocol."""
    view = report.view(stream, plan)
    if not heard or view.protection == types_pb2.PROTECTION_UNSPECIFIED:
        return "silent"
    if view.protection == types_pb2.PROTECTION_NONE:
        return "degraded" if view.buffered_keys else "unserved"
    weak = view.protection == types_pb2.PROTECTION_PQC and not stream.pqc_only
    return "degraded" if weak or (plan is not None and plan.unmet) else "serving"


def pair_link_seen(link: LinkState) -> PairLinkSeen:
    """A link that makes pairs, as it is now."""
    if link.condition is not Condition.OK:
        return PairLinkSeen(link.condition.value)
    return PairLinkSeen(
        link.condition.value,
        link.pair_rate_hz or None,
        link.fidelity.fidelity if link.fidelity is not None else None,
    )


def pair_stream_seen(view: PairStreamView) -> PairStreamSeen:
    """A stream of pairs that has not ended, as it is now."""
    return PairStreamSeen(
        _STANDINGS[view.state],
        view.predicted_rate_hz,
        view.delivered_rate_hz,
        view.measured.fidelity if view.measured is not None and view.ways else None,
    )


def network_seen(core: Core) -> Seen:
    """The whole network as it is now."""
    return Seen(
        links={name: link_seen(core.links[name].link, core.links[name].estimate) for name in core.links},
        streams={name: _stream(core, name) for name in core.streams},
        nodes={name: _node(core, name) for name in core.nodes},
        pair_links={link.name: pair_link_seen(link) for link, _ in core.pairs.links()},
        pair_streams={
            view.stream.name: pair_stream_seen(view)
            for view in core.pairs.views()
            if view.state is not State.ENDED
        },
        existing=frozenset((*core.streams, *core.nodes)),
        served={
            (name, node): Served(
                end.delivered_bits_total,
                end.state.served_qkd_total,
                end.state.served_hybrid_total,
                end.state.served_pqc_total,
            )
            for name, stream in core.streams.items()
            for node, end in core.reports.stream(name).ends.items()
            if node in (stream.source, stream.target)
        },
        dropped={
            name: core.reports.agent(name).dropped_samples_total
            for name in core.nodes
            if core.reports.agent(name).telemetry
        },
    )


class Newcomers:
    """Those of whom nothing has been heard since the controller knows of them: for a while that says nothing.

    A controller that has just started does not know who is away, nor who has just been created.
    """

    def __init__(self) -> None:
        # Since when each is waited for; infinitely long for those that have been heard.
        self._since: dict[tuple[str, str], float] = {}

    def without(self, seen: Seen, now: float) -> Seen:
        """What is seen, but for newcomers that are not heard yet."""
        since, self._since = self._since, {}

        def known(kind: str, names: Mapping[str, Any], unheard: Callable[[Any], bool]) -> dict[str, Any]:
            kept = {}
            for name, each in names.items():
                waiting = since.get((kind, name), now) if unheard(each) else -inf
                # Once heard, always known.
                self._since[kind, name] = min(waiting, since.get((kind, name), waiting))
                if now - self._since[kind, name] >= NEWCOMER_SECONDS:
                    kept[name] = each
            return kept

        return replace(
            seen,
            links=known("link", seen.links, lambda link: link.condition == Condition.STALE),
            streams=known("stream", seen.streams, lambda stream: stream.service == "silent"),
            nodes=known("node", seen.nodes, lambda node: node.presence == "away"),
            pair_links=known("pair link", seen.pair_links, lambda link: link.condition == Condition.STALE),
            pair_streams=known("pair stream", seen.pair_streams, lambda one: one.standing == "unmet"),
        )


def one_link_seen(core: Core, name: str) -> LinkSeen | None:
    """One link as it is now; None if there is no such link."""
    link = LinkName(name)
    return link_seen(core.links[link].link, core.links[link].estimate) if link in core.links else None


def happening(event: Event) -> Happening | None:
    """What is kept of an event; None if it is of no interest later."""
    # What ends an alarm or explains one is kept, however little it matters by itself.
    if event.severity is Severity.INFO and not event.alarm and event.kind != "link_diagnosed":
        return None
    if event.kind == "stream_failover" and not failover_seconds(event):
        return None  # moved without interruption: counted, and no more than that
    return Happening(
        event.time_unix_seconds,
        event.kind,
        event.severity.value,
        event.message[:_LONGEST_TEXT],
        event.node,
        event.link,
        event.stream,
        {name: event.fields[name][:_LONGEST_TEXT] for name in _present(event)},
    )


def failover_seconds(event: Event) -> float:
    """How long a failover took; 0 where nothing was interrupted."""
    return float(event.fields.get("duration_seconds", "0"))


def _present(event: Event) -> Iterable[str]:
    return (name for name in _KEPT_FIELDS if event.fields.get(name))


def _stream(core: Core, name: StreamName) -> StreamSeen:
    stream, report, plan = core.streams[name], core.reports.stream(name), core.plan.streams.get(name)
    ends = (stream.source, stream.target)
    heard = all(node in report.ends and core.reports.agent(node).telemetry for node in ends)
    protection = protection_word(report.view(stream, plan).protection) if heard else "unknown"
    planned = plan.rate_bps if plan is not None else 0.0
    return StreamSeen(service(stream, plan, report, heard=heard), protection, planned)


def _node(core: Core, name: NodeName) -> NodeSeen:
    if core.nodes[name].maintenance:
        return NodeSeen("maintenance")
    return NodeSeen("connected" if core.distribution.agent(name).connected else "away")
