"""What the controller knows now, gathered from the core for those who ask. Changes nothing."""

from collections.abc import Mapping

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.instructions import VersionedPolicy
from keyweave.controller.reconcile.core import Core
from keyweave.controller.routing.network import link_load
from keyweave.controller.topology import Status
from keyweave.controller.views import LinkStateView, NodeView, OrderView, PolicyRef, StreamView


class Overview:
    """Reads the core. Names that are not there raise KeyError: callers look in the snapshot first."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def node(self, name: NodeName) -> NodeView:
        """One node and its agent."""
        sync = self._core.distribution.agent(name)
        report = self._core.reports.agent(name)
        return NodeView(
            node=self._core.nodes[name],
            connected=sync.connected,
            connected_since=report.connected_since if sync.connected else 0.0,
            software_version=report.software_version,
            kme_url=report.kme_url,
            desired=self._ref(sync.desired),
            applied=self._ref(sync.applied),
            in_sync=sync.connected and sync.in_sync,
            in_sync_since=report.in_sync_since,
            behind_since=report.behind_since,
            nacked_rules=sync.nacked_rules,
            dropped_samples_total=report.dropped_samples_total,
            guard_digest=report.guard_digest,
            withheld_rules=report.withheld_rules,
        )

    def desired_rules(self, name: NodeName) -> tuple[bytes, ...]:
        """What one node is to run by: rules (serialized), by their IDs; none before it is known."""
        desired = self._core.distribution.agent(name).desired
        rules = {} if desired is None else desired.policy.rules
        return tuple(rules[rule_id] for rule_id in sorted(rules))

    def nodes(self) -> tuple[NodeView, ...]:
        """All nodes, by name."""
        return tuple(self.node(name) for name in sorted(self._core.nodes))

    def link(self, name: LinkName) -> LinkStateView:
        """One link."""
        return self._link(name, link_load(self._core.plan))

    def links(self) -> tuple[LinkStateView, ...]:
        """All links, by name."""
        load = link_load(self._core.plan)
        return tuple(self._link(name, load) for name in self._core.links)

    def stream(self, name: StreamName) -> StreamView:
        """One stream."""
        plan = self._core.plan.streams.get(name)
        return self._core.reports.stream(name).view(self._core.streams[name], plan)

    def vendor_domains(self) -> Mapping[LinkName, str]:
        """Links that lead through a vendor's domain, and which: as either end tells."""
        return {
            link: domain
            for agent in map(self._core.reports.agent, self._core.nodes)
            for link, domain in agent.vendor_domains.items()
        }

    def streams(self) -> tuple[StreamView, ...]:
        """All streams, by name."""
        return tuple(self.stream(name) for name in sorted(self._core.streams))

    def orders(self) -> tuple[OrderView, ...]:
        """Orders that not all have carried out, oldest first."""
        orders, has_rule = self._core.orders, self._core.distribution.has_rule
        return tuple(OrderView(order, orders.waiting(order, has_rule)) for order in orders)

    def _link(self, name: LinkName, load: Mapping[LinkName, float]) -> LinkStateView:
        entry = self._core.links[name]
        ends = [self._core.reports.agent(node) for node in (entry.link.a, entry.link.b)]
        return LinkStateView(
            view=entry.view,
            status=entry.estimate.status or Status.PENDING,
            loss_db=entry.estimate.loss_db,
            condition_since=entry.estimate.since,
            emulated=any(name in end.emulated_links for end in ends),
            planned_bps=load.get(name, 0.0),
            intake_bps=entry.estimate.intake_bps or 0.0,
            diagnosis=entry.estimate.cause or "",
            evidence=entry.estimate.evidence,
            next_contact=entry.estimate.next_contact,
            vendor_domain=next((d for end in ends if (d := end.vendor_domains.get(name))), ""),
            held_bits=min(self._core.reports.held_bits.get(name, {}).values(), default=0),
        )

    def _ref(self, policy: VersionedPolicy | None) -> PolicyRef | None:
        if policy is None:
            return None
        return PolicyRef(self._core.epoch, policy.version, policy.policy.digest)
