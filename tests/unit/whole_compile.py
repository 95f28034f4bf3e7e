"""Everything compiled from nothing, beside which what is kept up to date is held."""

from collections.abc import Iterable, Mapping

from immutables import Map

from keyweave.common.names import NodeName, PathId, StreamName
from keyweave.common.policy_digest import combine, serialized_rule_digest
from keyweave.controller.compile.policies import NodePolicy
from keyweave.controller.compile.rules import (
    NodeRule,
    end_rules,
    is_reachable,
    link_rules,
    order_rules,
    path_bytes,
    peer_rule,
    relay_limits,
    relay_rules,
)
from keyweave.controller.rollout import RetiringSet, Rollout, StreamRollout
from keyweave.controller.topology import Plan, Snapshot


def rolled_out(
    plan: Plan,
    retiring: Mapping[StreamName, Iterable[RetiringSet]] | None = None,
    established: Iterable[PathId] = (),
) -> Rollout:
    """A rollout of `plan`, with what is retiring by stream."""
    leaving, known = retiring or {}, frozenset(established)
    streams = {
        name: StreamRollout(name, plan.streams.get(name), tuple(leaving.get(name, ())), known)
        for name in sorted(plan.streams.keys() | leaving.keys())
    }
    return Rollout(plan.version, plan.snapshot_version, 0, streams)


def compile_policies(snapshot: Snapshot, rollout: Rollout) -> dict[NodeName, NodePolicy]:
    """The policy of every node."""
    rules: list[NodeRule] = []
    for view in snapshot.links.values():
        rules += link_rules(view, snapshot.nodes)
    for order in snapshot.orders.values():
        rules += order_rules(order, snapshot.nodes)
    for name, followed in rollout.streams.items():
        limits = relay_limits(snapshot.streams.get(name), followed.plan)
        for path in followed.paths():
            rules += relay_rules(followed, path, limits, snapshot.nodes)
    for name, stream in snapshot.streams.items():
        followed = rollout.streams.get(name, StreamRollout(name))
        written = {path.path_id: path_bytes(path) for path in followed.paths()}
        rules += end_rules(stream, followed, snapshot.nodes, written)
    return {
        node: _policy(node, [rule for rule in rules if rule.node == node], snapshot)
        for node in snapshot.nodes
    }


def _policy(node: NodeName, rules: list[NodeRule], snapshot: Snapshot) -> NodePolicy:
    peers = {peer for rule in rules for peer in rule.peers if is_reachable(snapshot.nodes, peer)}
    whole = [*rules, *(peer_rule(node, peer, snapshot.nodes) for peer in peers)]
    return NodePolicy(
        Map((rule.rule_id, rule.data) for rule in whole),
        combine(serialized_rule_digest(rule.data) for rule in whole),
        Map((path, None) for rule in rules for path in rule.carries),
        Map((path, None) for rule in rules for path in rule.uses),
    )
