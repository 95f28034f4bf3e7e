"""Step 5, continued: the policy of every node, kept up to date rule by rule. Pure; owned by `distribution`.

What changed costs what it alone costs: a stream that moves is compiled anew, the paths that it keeps are
not, and only the nodes whose rules it changed get a new policy. That the outcome is that of compiling
everything is held by tests.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from immutables import Map

from keyweave.common.names import LinkName, NodeName, OrderId, PathId, StreamName
from keyweave.common.policy_digest import combine, combine_sorted, serialized_rule_digest
from keyweave.controller.compile.rules import (
    NodeRule,
    Nodes,
    RelayLimits,
    end_rules,
    is_reachable,
    link_rules,
    order_rules,
    path_bytes,
    peer_rule,
    relay_limits,
    relay_rules,
)
from keyweave.controller.orders import RULE_PREFIX, Order
from keyweave.controller.rollout import StreamRollout
from keyweave.controller.topology import LinkView, Stream

# Names of paths. Policies of one node share what they have in common: one of them in a network of ten
# thousand streams has thousands of rules, of which a repair changes a few.
PathNames = Map[PathId, None]
_NO_PATHS: PathNames = Map()


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """The desired state of one node."""

    # Deterministic serialization of each rule, by rule_id.
    rules: Map[str, bytes]
    digest: bytes
    # Paths this node relays or accepts under the policy, and paths it may draw keys over.
    carries: PathNames = _NO_PATHS
    uses: PathNames = _NO_PATHS
    # What is other than under the policy with that digest, None for a rule that is gone: a push to an agent
    # that has it need not compare the rest. Paths that it carries or uses otherwise are among `moved`.
    since: bytes = field(default=b"", compare=False)
    changes: Mapping[str, bytes | None] = field(default_factory=dict, compare=False)
    moved: frozenset[PathId] = field(default=frozenset(), compare=False)

    def changes_from(self, base: "NodePolicy") -> Mapping[str, bytes | None]:
        """The rules that are other than in `base`, None for those that it has and this has not."""
        if base.digest == self.since:
            return self.changes
        gone = dict.fromkeys(name for name in base.rules if name not in self.rules)
        return gone | {name: data for name, data in self.rules.items() if base.rules.get(name) != data}


def with_orders_of(wanted: NodePolicy, base: NodePolicy) -> NodePolicy:
    """`base` with the orders of `wanted` instead of its own."""
    rules = {rule_id: data for rule_id, data in base.rules.items() if not rule_id.startswith(RULE_PREFIX)}
    rules |= {rule_id: data for rule_id, data in wanted.rules.items() if rule_id.startswith(RULE_PREFIX)}
    return NodePolicy(
        Map(rules), combine(map(serialized_rule_digest, rules.values())), base.carries, base.uses
    )


@dataclass(slots=True)
class _NodeRules:
    """The rules of one node now, and what its policy is put together from."""

    rules: dict[str, bytes] = field(default_factory=dict)
    # Of the policy last put together, sorted, as its digest combines them.
    digests: list[bytes] = field(default_factory=list)
    # The policy last put together; the rules of then that have been touched since, and the paths.
    latest: NodePolicy = NodePolicy(Map(), b"")
    former: dict[str, bytes | None] = field(default_factory=dict)
    touched: set[PathId] = field(default_factory=set)
    # How many rules call for each peer.
    peers: Counter[NodeName] = field(default_factory=Counter)
    carries: set[PathId] = field(default_factory=set)
    uses: set[PathId] = field(default_factory=set)

    def write(self, rule_id: str, data: bytes) -> None:
        self.former.setdefault(rule_id, self.rules.get(rule_id))
        self.rules[rule_id] = data

    def erase(self, rule_id: str) -> None:
        self.former.setdefault(rule_id, self.rules.pop(rule_id, None))

    def policy(self) -> NodePolicy:
        changes = {
            rule_id: self.rules.get(rule_id)
            for rule_id, former in self.former.items()
            if self.rules.get(rule_id) != former
        }
        before = self.latest
        rules = before.rules.mutate()
        for rule_id, data in changes.items():
            if (former := self.former[rule_id]) is not None:
                del self.digests[bisect_left(self.digests, serialized_rule_digest(former))]
            if data is None:
                del rules[rule_id]
            else:
                insort(self.digests, serialized_rule_digest(data))
                rules[rule_id] = data
        self.latest = NodePolicy(
            rules.finish(),
            combine_sorted(self.digests),
            _brought_up_to(before.carries, self.carries, self.touched),
            _brought_up_to(before.uses, self.uses, self.touched),
            before.digest,
            changes,
            frozenset(self.touched),
        )
        self.former, self.touched = {}, set()
        return self.latest


def _brought_up_to(before: PathNames, now: set[PathId], touched: set[PathId]) -> PathNames:
    paths = before.mutate()
    for path in touched:
        if path in now:
            paths[path] = None
        elif path in paths:
            del paths[path]
    return paths.finish()


@dataclass(slots=True)
class _StreamRules:
    """What one stream contributes: by path at the trusted nodes, and at its ends."""

    # Of what these are the rules.
    stream: Stream | None
    rollout: StreamRollout | None
    limits: RelayLimits
    written: dict[PathId, bytes] = field(default_factory=dict)
    relays: dict[PathId, list[NodeRule]] = field(default_factory=dict)
    ends: list[NodeRule] = field(default_factory=list)


class Policies:
    """The rules of all nodes."""

    def __init__(self) -> None:
        self._nodes: Nodes = {}
        self._of_node: dict[NodeName, _NodeRules] = {}
        self._of_link: dict[LinkName, list[NodeRule]] = {}
        self._of_order: dict[OrderId, list[NodeRule]] = {}
        self._of_stream: dict[StreamName, _StreamRules] = {}
        self._of_pairs: dict[str, list[NodeRule]] = {}
        self._changed: set[NodeName] = set()

    def put_nodes(self, nodes: Nodes, changed: Iterable[NodeName]) -> None:
        """Some nodes are new, gone, or have another address: links and streams there must be put again."""
        self._nodes = nodes
        gone = {name for name in changed if name not in nodes}
        moved = set(changed)
        for name in gone:
            self._of_node.pop(name, None)
        for name in moved - gone:
            self._of_node.setdefault(name, _NodeRules())
        for name, rules in self._of_node.items():
            for peer in moved & rules.peers.keys():
                self._tell_peer(name, rules, peer)
                self._changed.add(name)
        self._changed |= moved

    def put_link(self, name: LinkName, view: LinkView | None) -> None:
        """A link is as `view` says now; None if it is gone."""
        former = self._of_link.pop(name, [])
        rules = link_rules(view, self._nodes) if view is not None else []
        if rules:
            self._of_link[name] = rules
        self._replace(former, rules)

    def put_order(self, order_id: OrderId, order: Order | None) -> None:
        """An order is to be carried out; None if it is over."""
        former = self._of_order.pop(order_id, [])
        rules = order_rules(order, self._nodes) if order is not None else []
        if rules:
            self._of_order[order_id] = rules
        self._replace(former, rules)

    def put_pairs(self, owner: str, rules: list[NodeRule]) -> None:
        """A path of pairs or a link that makes them amounts to these rules; none once it is gone."""
        former = self._of_pairs.pop(owner, [])
        if rules:
            self._of_pairs[owner] = rules
        self._replace(former, rules)

    def put_stream(
        self, name: StreamName, stream: Stream | None, rollout: StreamRollout | None, *, whole: bool = False
    ) -> None:
        """A stream is wanted like this and followed so far; `whole` if nodes on its way have changed."""
        former = self._of_stream.get(name)
        if former is not None and former.stream is stream and former.rollout is rollout and not whole:
            return
        self._of_stream.pop(name, None)
        plan = rollout.plan if rollout is not None else None
        current = _StreamRules(stream, rollout, relay_limits(stream, plan))
        if former is None:
            former = _StreamRules(None, None, current.limits)
        followed = rollout if rollout is not None else StreamRollout(name)
        for path in followed.paths():
            current.written[path.path_id] = former.written.get(path.path_id) or path_bytes(path)
            kept = former.relays.pop(path.path_id, None)
            if kept is not None and current.limits == former.limits and not whole:
                current.relays[path.path_id] = kept
                continue
            rules = relay_rules(followed, path, current.limits, self._nodes)
            current.relays[path.path_id] = rules
            self._replace(kept or [], rules)
        for rules in former.relays.values():
            self._replace(rules, [])
        if stream is not None:
            current.ends = end_rules(stream, followed, self._nodes, current.written)
        self._replace(former.ends, current.ends)
        if current.relays or current.ends:
            self._of_stream[name] = current

    def take_changed(self, is_busy: Callable[[NodeName], bool]) -> dict[NodeName, NodePolicy | None]:
        """Policies of the nodes whose rules changed since they were last taken; None if a node is gone.

        Those of busy nodes are left for later.
        """
        changed = sorted(node for node in self._changed if not is_busy(node))
        self._changed.difference_update(changed)
        return {node: self._of_node[node].policy() if node in self._of_node else None for node in changed}

    def _replace(self, former: Iterable[NodeRule], current: Iterable[NodeRule]) -> None:
        before = {(rule.node, rule.rule_id): rule for rule in former}
        for rule in current:
            old = before.pop((rule.node, rule.rule_id), None)
            if old != rule:
                self._add(rule, old)
        for old in before.values():
            self._remove(old)

    def _add(self, rule: NodeRule, old: NodeRule | None) -> None:
        if old is not None:
            self._remove(old)
        node = self._of_node[rule.node]
        node.write(rule.rule_id, rule.data)
        node.carries.update(rule.carries)
        node.uses.update(rule.uses)
        node.touched.update(rule.carries, rule.uses)
        for peer in rule.peers:
            node.peers[peer] += 1
            if node.peers[peer] == 1:
                self._tell_peer(rule.node, node, peer)
        self._changed.add(rule.node)

    def _remove(self, rule: NodeRule) -> None:
        node = self._of_node.get(rule.node)
        if node is None:
            return
        node.erase(rule.rule_id)
        node.carries.difference_update(rule.carries)
        node.uses.difference_update(rule.uses)
        node.touched.update(rule.carries, rule.uses)
        for peer in rule.peers:
            node.peers[peer] -= 1
            if not node.peers[peer]:
                del node.peers[peer]
                node.erase(f"peer/{peer}")
        self._changed.add(rule.node)

    def _tell_peer(self, name: NodeName, rules: _NodeRules, peer: NodeName) -> None:
        if is_reachable(self._nodes, peer):
            rule = peer_rule(name, peer, self._nodes)
            rules.write(rule.rule_id, rule.data)
        else:
            rules.erase(f"peer/{peer}")
