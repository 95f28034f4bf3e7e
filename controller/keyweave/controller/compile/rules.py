"""Step 5: what a link and a stream amount to in the rules of nodes. Pure, and deterministic to the byte.

A path that is planned or retiring stands in the rules of every node on it: a relay rule at each trusted
node, an entry in `accepted_paths` at both ends. Which sets of paths the ends may draw keys over
(`path_sets`) is what `StreamRollout.usable_sets` says; `rollout` has the rules of make-before-break.

Every rule follows from one link, stream, order or peer alone; `policies` puts a node's together and keeps
them up to date.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keyweave.common.names import NodeName, PathId
from keyweave.controller.agent_events import NANOS
from keyweave.controller.compile import wire
from keyweave.controller.orders import Order, OrderKind
from keyweave.controller.rollout import StreamRollout
from keyweave.controller.topology import (
    Condition,
    LinkView,
    Node,
    OnExhaustion,
    Path,
    PathSet,
    Stream,
    StreamPlan,
)
from keyweave.v1 import agent_pb2, types_pb2

# A relay's budget never falls below this many keys a second, so that a starved stream can recover.
BUDGET_FLOOR_KEYS_PER_SECOND = 8
# Either end may be master, and each draws from its own direction: twice the one-way need.
DIRECTIONS = 2
# Budgets are rounded up to so many binary digits (by at most a quarter), so that a rate that moves a little
# changes the rules of the two ends and not of every node between them.
_BUDGET_DIGITS = 3
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
    OrderKind.LINK_CALIBRATE: types_pb2.ORDER_KIND_LINK_CALIBRATE,
    OrderKind.NODE_ZEROIZE: types_pb2.ORDER_KIND_NODE_ZEROIZE,
}

# Fields that come last, or last but for the revision and what follows it, in the messages that hold them.
_STREAM = agent_pb2.Rule.STREAM_FIELD_NUMBER
_PATH_SETS = agent_pb2.StreamRule.PATH_SETS_FIELD_NUMBER
_ACCEPTED_PATHS = agent_pb2.StreamRule.ACCEPTED_PATHS_FIELD_NUMBER
_PATHS = types_pb2.PathSet.PATHS_FIELD_NUMBER

Nodes = Mapping[NodeName, Node]


@dataclass(frozen=True, slots=True)
class NodeRule:
    """One rule of one node, and what it means for the node as a whole."""

    node: NodeName
    rule_id: str
    # Deterministic serialization.
    data: bytes
    # Nodes that this one has to know for it.
    peers: tuple[NodeName, ...] = ()
    # Paths the node relays or accepts by it, and paths it may draw keys over.
    carries: tuple[PathId, ...] = ()
    uses: tuple[PathId, ...] = ()


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What each trusted node grants a stream, on every path alike."""

    budget_bps: int
    burst_bits: int


def is_reachable(nodes: Nodes, node: NodeName) -> bool:
    """Whether operators have said where the node's key plane is: agents refuse rules about others."""
    known = nodes.get(node)
    return known is not None and bool(known.key_plane_address)


def link_rules(view: LinkView, nodes: Nodes) -> list[NodeRule]:
    """The rule of a link at either end."""
    link = view.link
    if link.disabled:
        return []  # without a rule, both ends destroy the link's pools
    suspect_since_unix_nanos, suspect_reason = suspicion(view)
    found = []
    for node in (link.a, link.b):
        peer = link.other(node)
        if node in nodes and is_reachable(nodes, peer):
            rule = agent_pb2.LinkRule(
                link=link.name,
                peer_node=peer,
                abort_qber_ratio=link.abort_qber_ratio,
                maintenance=link.maintenance,
                suspect_since_unix_nanos=suspect_since_unix_nanos,
                suspect_reason=suspect_reason,
            )
            found.append(_written(node, agent_pb2.Rule(rule_id=f"link/{link.name}", link=rule), (peer,)))
    return found


def suspicion(view: LinkView) -> tuple[int, str]:
    """Since when (Unix nanoseconds; 0 if not) the ends are to quarantine what the link made, and why."""
    if view.condition is not Condition.SUSPECT or view.suspect_since <= 0:
        return 0, ""
    return int(view.suspect_since * NANOS), view.suspect_reason[:_REASON_CHARACTERS]


def order_rules(order: Order, nodes: Nodes) -> list[NodeRule]:
    """The rule of an order at every node that is to carry it out."""
    rule = agent_pb2.OrderRule(
        order_id=order.order_id,
        kind=ORDER_KINDS[order.kind],
        link=order.link,
        ordered_unix_nanos=round(order.ordered_at * NANOS),
        ordered_by=order.ordered_by,
    )
    whole = agent_pb2.Rule(rule_id=order.rule_id, order=rule)
    return [_written(node, whole) for node in order.nodes if node in nodes]


def peer_rule(node: NodeName, peer: NodeName, nodes: Nodes) -> NodeRule:
    """Where `node` finds `peer`, which is reachable."""
    # The address comes from intent alone, so that a restarted controller compiles the same bytes.
    rule = agent_pb2.PeerRule(node=peer, key_plane_address=nodes[peer].key_plane_address)
    return _written(node, agent_pb2.Rule(rule_id=f"peer/{peer}", peer=rule))


def relay_rules(rollout: StreamRollout, path: Path, limits: RelayLimits, nodes: Nodes) -> list[NodeRule]:
    """The rule of a path at each trusted node on it: the same everywhere."""
    reachable = [is_reachable(nodes, node) for node in path.nodes]
    if not (reachable[0] and reachable[-1]):
        return []
    message = path_message(path)
    rule = agent_pb2.RelayRule(
        stream=rollout.stream,
        path_id=path.path_id,
        hops=message.hops,
        budget_bps=limits.budget_bps,
        burst_bits=limits.burst_bits,
    )
    whole = agent_pb2.Rule(rule_id=f"relay/{rollout.stream}/{path.path_id}", relay=rule)
    rule_id, data = whole.rule_id, whole.SerializeToString(deterministic=True)
    found = []
    carries = (path.path_id,)
    for i, node in enumerate(path.nodes[1:-1], start=1):
        if node in nodes and reachable[i - 1] and reachable[i + 1]:
            neighbours = path.nodes[i - 1], path.nodes[i + 1]
            found.append(NodeRule(node, rule_id, data, neighbours, carries=carries))
    return found


def end_rules(
    stream: Stream, rollout: StreamRollout, nodes: Nodes, written: Mapping[PathId, bytes]
) -> list[NodeRule]:
    """The rule of a stream at either end; `written` holds each of its paths as `path_bytes`.

    Put together from bytes: most of a rule is paths, which are in two fields at two ends and stay as they
    are when a stream moves. The outcome is the rule's deterministic serialization all the same.
    """
    # Paths from before the operator moved an end of the stream only drain, at the nodes they cross.
    accepted = {
        path.path_id: path
        for path in rollout.paths()
        if (path.hops[0].from_node, path.hops[-1].to_node) == (stream.source, stream.target)
        and all(is_reachable(nodes, node) for node in path.nodes)
    }
    usable = [s for s in rollout.usable_sets() if all(path.path_id in accepted for path in s.paths)]
    ways = b"".join(
        (
            *(wire.field(_PATH_SETS, _path_set_bytes(path_set, written)) for path_set in usable),
            *(wire.field(_ACCEPTED_PATHS, written[path_id]) for path_id in accepted),
            agent_pb2.StreamRule(
                revision=stream.revision, restricts_relays=stream.restricts_relays
            ).SerializeToString(deterministic=True),
        )
    )
    uses = tuple({path.path_id: None for path_set in usable for path in path_set.paths})
    rule_id = f"stream/{stream.name}"
    found = []
    for node, peer in ((stream.source, stream.target), (stream.target, stream.source)):
        if node not in nodes or not is_reachable(nodes, peer):
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
            rate_bps=int(rollout.plan.rate_bps) if rollout.plan else 0,
        )
        whole = wire.field(_STREAM, rule.SerializeToString(deterministic=True) + ways)
        data = agent_pb2.Rule(rule_id=rule_id).SerializeToString(deterministic=True) + whole
        neighbours = (
            path.hops[0].to_node if at_source else path.hops[-1].from_node for path in accepted.values()
        )
        peers = tuple({peer: None} | dict.fromkeys(neighbours))
        found.append(NodeRule(node, rule_id, data, peers, tuple(accepted), uses))
    return found


def _path_set_bytes(path_set: PathSet, written: Mapping[PathId, bytes]) -> bytes:
    # Without the planner's words: their figures would change the digest with every plan.
    head = types_pb2.PathSet(rank=path_set.rank, rate_bps=int(path_set.rate_bps))
    paths = (wire.field(_PATHS, written[path.path_id]) for path in path_set.paths)
    return b"".join((head.SerializeToString(deterministic=True), *paths))


def path_bytes(path: Path) -> bytes:
    """A path's deterministic serialization."""
    return path_message(path).SerializeToString(deterministic=True)


def relay_limits(stream: Stream | None, plan: StreamPlan | None) -> RelayLimits:
    """Sustained relayed secret bits a second for one path, and burst, both directions together.

    Any single path may have to carry the whole stream when its others fail, so each has the whole
    stream's budget: the planned rate, at least the guaranteed one, at least the floor. The burst refills
    the buffers of both directions at once, after a failover or a restart.
    """
    key_bits = stream.key_size_bits if stream else _DEFAULT_KEY_BITS
    planned = plan.rate_bps if plan else 0.0
    guaranteed = stream.min_rate_bps if stream else 0.0
    budget = int(max(planned, guaranteed, BUDGET_FLOOR_KEYS_PER_SECOND * key_bits)) * DIRECTIONS
    step = 1 << max(0, budget.bit_length() - _BUDGET_DIGITS)
    buffer_keys = stream.buffer_keys if stream else _DEFAULT_BUFFER_KEYS
    return RelayLimits(-(-budget // step) * step, buffer_keys * key_bits * DIRECTIONS)


def _written(
    node: NodeName,
    rule: agent_pb2.Rule,
    peers: tuple[NodeName, ...] = (),
    *,
    carries: tuple[PathId, ...] = (),
    uses: tuple[PathId, ...] = (),
) -> NodeRule:
    return NodeRule(node, rule.rule_id, rule.SerializeToString(deterministic=True), peers, carries, uses)


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
