"""Step 5: from the plan to one policy per node. Pure, and deterministic to the byte.

A path that is planned or retiring stands in the rules of every node on it: a relay rule at each trusted
node, an entry in `accepted_paths` at both ends. Which sets of paths the ends may draw keys over
(`path_sets`) is what `Rollout.usable_sets` says; `rollout` has the rules of make-before-break.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from keyweave.common.names import NodeName, PathId, StreamName
from keyweave.common.policy_digest import combine, serialized_rule_digest
from keyweave.controller.agent_events import NANOS
from keyweave.controller.orders import OrderKind
from keyweave.controller.rollout import Rollout, RoutedPath
from keyweave.controller.topology import (
    Condition,
    LinkView,
    OnExhaustion,
    Path,
    PathSet,
    Snapshot,
    Stream,
    StreamPlan,
)
from keyweave.v1 import agent_pb2, types_pb2

# A relay's budget never falls below this many keys a second, so that a starved stream can recover.
BUDGET_FLOOR_KEYS_PER_SECOND = 8
# Either end may be master, and each draws from its own direction: twice the one-way need.
DIRECTIONS = 2
# Size assumed for a stream that is gone while its last paths drain.
_DEFAULT_KEY_BITS = 256
_DEFAULT_BUFFER_KEYS = 64
# The protocol's limit.
_REASON_CHARACTERS = 300

_ON_EXHAUSTION = {
    OnExhaustion.WAIT: types_pb2.ON_EXHAUSTION_WAIT,
    OnExhaustion.PQC: types_pb2.ON_EXHAUSTION_PQC,
    OnExhaustion.REFUSE: types_pb2.ON_EXHAUSTION_REFUSE,
}
ORDER_KINDS = {
    OrderKind.LINK_CLEAR: types_pb2.ORDER_KIND_LINK_CLEAR,
    OrderKind.LINK_DESTROY: types_pb2.ORDER_KIND_LINK_DESTROY,
    OrderKind.NODE_ZEROIZE: types_pb2.ORDER_KIND_NODE_ZEROIZE,
}


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """The desired state of one node."""

    # Deterministic serialization of each rule, by rule_id in sorted order.
    rules: Mapping[str, bytes]
    digest: bytes
    # Paths this node relays or accepts under the policy, and paths it may draw keys over.
    carries: frozenset[PathId] = frozenset()
    uses: frozenset[PathId] = frozenset()


@dataclass(slots=True)
class _Draft:
    """A node's rules while they are collected."""

    rules: list[agent_pb2.Rule] = field(default_factory=list)
    peers: set[NodeName] = field(default_factory=set)
    carries: set[PathId] = field(default_factory=set)
    uses: set[PathId] = field(default_factory=set)


def compile_policies(
    snapshot: Snapshot, rollout: Rollout, only: Collection[NodeName] | None = None
) -> dict[NodeName, NodePolicy]:
    """The policy of every node of the snapshot, or of those in `only`."""
    wanted = snapshot.nodes.keys() if only is None else snapshot.nodes.keys() & set(only)
    drafts = {name: _Draft() for name in sorted(wanted)}
    routed = rollout.paths()
    _add_links(drafts, snapshot)
    for path in routed:
        _add_relays(drafts, path, snapshot, rollout.plan.streams.get(path.stream))
    by_stream: dict[StreamName, list[Path]] = {}
    for path in routed:
        by_stream.setdefault(path.stream, []).append(path.path)
    for name in sorted(snapshot.streams):
        _add_ends(drafts, snapshot, snapshot.streams[name], rollout, by_stream.get(name, ()))
    _add_orders(drafts, snapshot)
    return {name: _finish(draft, snapshot) for name, draft in drafts.items()}


def _add_links(drafts: Mapping[NodeName, _Draft], snapshot: Snapshot) -> None:
    for name in sorted(snapshot.links):
        view = snapshot.links[name]
        link = view.link
        if link.disabled:
            continue  # without a rule, both ends destroy the link's pools
        suspect_since_unix_nanos, suspect_reason = suspicion(view)
        for node in (link.a, link.b):
            if node in drafts and _is_reachable(snapshot, link.other(node)):
                rule = agent_pb2.LinkRule(
                    link=name,
                    peer_node=link.other(node),
                    abort_qber_ratio=link.abort_qber_ratio,
                    maintenance=link.maintenance,
                    suspect_since_unix_nanos=suspect_since_unix_nanos,
                    suspect_reason=suspect_reason,
                )
                drafts[node].rules.append(agent_pb2.Rule(rule_id=f"link/{name}", link=rule))
                drafts[node].peers.add(link.other(node))


def suspicion(view: LinkView) -> tuple[int, str]:
    """Since when (Unix nanoseconds; 0 if not) the ends are to quarantine what the link made, and why."""
    if view.condition is not Condition.SUSPECT or view.suspect_since <= 0:
        return 0, ""
    return int(view.suspect_since * NANOS), view.suspect_reason[:_REASON_CHARACTERS]


def _add_orders(drafts: Mapping[NodeName, _Draft], snapshot: Snapshot) -> None:
    for order in snapshot.orders.values():
        rule = agent_pb2.OrderRule(
            order_id=order.order_id,
            kind=ORDER_KINDS[order.kind],
            link=order.link,
            ordered_unix_nanos=round(order.ordered_at * NANOS),
            ordered_by=order.ordered_by,
        )
        for node in order.nodes:
            if node in drafts:
                drafts[node].rules.append(agent_pb2.Rule(rule_id=order.rule_id, order=rule))


def _add_relays(
    drafts: Mapping[NodeName, _Draft], routed: RoutedPath, snapshot: Snapshot, plan: StreamPlan | None
) -> None:
    path = routed.path
    stream = snapshot.streams.get(routed.stream)
    source, target = path.nodes[0], path.nodes[-1]
    hops = path_message(path).hops
    for before, after in zip(path.hops, path.hops[1:], strict=False):
        node = before.to_node
        neighbours = {source, target, before.from_node, after.to_node}
        if node not in drafts or not all(_is_reachable(snapshot, each) for each in neighbours):
            continue
        rule = agent_pb2.RelayRule(
            stream=routed.stream,
            path_id=path.path_id,
            hops=hops,
            budget_bps=_budget_bps(stream, plan),
            burst_bits=_burst_bits(stream),
        )
        draft = drafts[node]
        draft.rules.append(agent_pb2.Rule(rule_id=f"relay/{routed.stream}/{path.path_id}", relay=rule))
        draft.carries.add(path.path_id)
        draft.peers |= {before.from_node, after.to_node}


def _add_ends(
    drafts: Mapping[NodeName, _Draft],
    snapshot: Snapshot,
    stream: Stream,
    rollout: Rollout,
    paths: Iterable[Path],
) -> None:
    plan = rollout.plan.streams.get(stream.name)
    # Paths from before the operator moved an end of the stream only drain, at the nodes they cross.
    accepted = [
        path
        for path in paths
        if (path.nodes[0], path.nodes[-1]) == (stream.source, stream.target)
        and all(_is_reachable(snapshot, node) for node in path.nodes)
    ]
    usable = [s for s in rollout.usable_sets(stream.name) if all(path in accepted for path in s.paths)]
    for node, peer in ((stream.source, stream.target), (stream.target, stream.source)):
        if node not in drafts or not _is_reachable(snapshot, peer):
            continue
        at_source = node == stream.source
        rule = agent_pb2.StreamRule(
            stream=stream.name,
            is_source=at_source,
            peer_node=peer,
            local_sae=stream.source_sae if at_source else stream.target_sae,
            peer_sae=stream.target_sae if at_source else stream.source_sae,
            key_size_bits=stream.key_size_bits,
            require_qkd=stream.require_qkd,
            require_pqc=stream.require_pqc,
            k=stream.k,
            min_k=stream.min_k,
            on_exhaustion=_ON_EXHAUSTION[stream.on_exhaustion],
            refresh_seconds=stream.refresh_seconds,
            key_ttl_seconds=stream.key_ttl_seconds,
            buffer_keys=stream.buffer_keys,
            rate_bps=int(plan.rate_bps) if plan else 0,
            # Without the planner's words: their figures would change the digest with every plan.
            path_sets=[path_set_message(replace(path_set, reason="")) for path_set in usable],
            accepted_paths=[path_message(path) for path in accepted],
            revision=stream.revision,
        )
        draft = drafts[node]
        draft.rules.append(agent_pb2.Rule(rule_id=f"stream/{stream.name}", stream=rule))
        draft.carries.update(path.path_id for path in accepted)
        draft.uses.update(path.path_id for path_set in usable for path in path_set.paths)
        draft.peers.add(peer)
        draft.peers.update(
            neighbour
            for path in accepted
            for neighbour in (path.nodes[1] if path.nodes[0] == node else path.nodes[-2],)
        )


def _finish(draft: _Draft, snapshot: Snapshot) -> NodePolicy:
    rules = list(draft.rules)
    for peer in sorted(draft.peers):
        # The address comes from intent alone, so that a restarted controller compiles the same bytes.
        if _is_reachable(snapshot, peer):
            address = snapshot.nodes[peer].key_plane_address
            rule = agent_pb2.PeerRule(node=peer, key_plane_address=address)
            rules.append(agent_pb2.Rule(rule_id=f"peer/{peer}", peer=rule))
    serialized = {
        rule.rule_id: rule.SerializeToString(deterministic=True)
        for rule in sorted(rules, key=lambda rule: rule.rule_id)
    }
    return NodePolicy(
        rules=serialized,
        digest=combine(serialized_rule_digest(data) for data in serialized.values()),
        carries=frozenset(draft.carries),
        uses=frozenset(draft.uses),
    )


def _is_reachable(snapshot: Snapshot, node: NodeName) -> bool:
    """Whether operators have said where the node's key plane is: agents refuse rules about others."""
    known = snapshot.nodes.get(node)
    return known is not None and bool(known.key_plane_address)


def _budget_bps(stream: Stream | None, plan: StreamPlan | None) -> int:
    """Sustained relayed secret bits a second for one path, both directions.

    Any single path may have to carry the whole stream when its others fail, so each has the whole
    stream's budget: the planned rate, at least the guaranteed one, at least the floor.
    """
    floor = BUDGET_FLOOR_KEYS_PER_SECOND * (stream.key_size_bits if stream else _DEFAULT_KEY_BITS)
    planned = plan.rate_bps if plan else 0.0
    guaranteed = stream.min_rate_bps if stream else 0.0
    return int(max(planned, guaranteed, floor)) * DIRECTIONS


def _burst_bits(stream: Stream | None) -> int:
    """Enough to refill the buffers of both directions at once, after a failover or a restart."""
    if stream is None:
        return _DEFAULT_BUFFER_KEYS * _DEFAULT_KEY_BITS * DIRECTIONS
    return stream.buffer_keys * stream.key_size_bits * DIRECTIONS


def path_message(path: Path) -> types_pb2.Path:
    """A path as the protocol writes it."""
    return types_pb2.Path(
        path_id=path.path_id,
        hops=[
            types_pb2.Hop(link=hop.link, from_node=hop.from_node, to_node=hop.to_node) for hop in path.hops
        ],
    )


def path_set_message(path_set: PathSet) -> types_pb2.PathSet:
    """A path set as the protocol writes it."""
    return types_pb2.PathSet(
        rank=path_set.rank,
        rate_bps=int(path_set.rate_bps),
        paths=[path_message(path) for path in path_set.paths],
        reason=path_set.reason,
    )
