"""Desired versus applied policy of every agent, and what follows from it for paths. Pure.

At most one push per agent is outstanding; whatever changes meanwhile coalesces into the next.

After a restart the controller knows from its store which paths were established. An agent that has not
spoken yet is taken to carry exactly those, and to use, at the ends, any path the store knows:
established paths leave a node's rules only after both ends have given them up, and the store learnt of
each step before the agents did.

Whatever happens is noted as streams, links, nodes and agents to look at, and `settle` looks at those
only: an acknowledgement in a network of ten thousand streams costs what the streams it speaks of cost. What
is for a *busy* agent, one that has not answered its last push, is put together once it has: until then it
cannot be sent, and much more may come together.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Protocol

from immutables import Map

from keyweave.common.names import LinkName, NodeName, OrderId, PathId, StreamName
from keyweave.common.policy_digest import combine
from keyweave.controller.compile.policies import NodePolicy, Policies, with_orders_of
from keyweave.controller.compile.rules import NodeRule, Nodes
from keyweave.controller.instructions import Confirm, Instruction, PersistRollout, Push, VersionedPolicy
from keyweave.controller.reconcile.agent_sync import NO_PATHS, AgentSync
from keyweave.controller.rollout import Rollout, RolloutChange, StreamRollout
from keyweave.controller.topology import Path, PathSet, Plan, Snapshot, StreamPlan
from keyweave.v1 import agent_pb2

# What an agent is left with when its node is deleted while it is connected.
NO_RULES = NodePolicy(rules=Map(), digest=combine(()))

MayBeHeld = Callable[[StreamName, PathSet], bool]


class HasRules(Protocol):
    """What amounts to rules at nodes."""

    def rules(self, nodes: Nodes) -> list[NodeRule]:
        """At these nodes."""
        ...


class Distribution:
    """Brings every agent to its policy, make-before-break."""

    def __init__(self, epoch: int, stored: Rollout) -> None:
        self.epoch = epoch
        self.plan = stored.plan
        self.streams: dict[StreamName, StreamRollout] = dict(stored.streams)
        self._stored_epoch = stored.epoch
        self._agents: dict[NodeName, AgentSync] = {}
        self._last_version = 0
        self._policies = Policies()
        self._stream_of: dict[PathId, StreamName] = {}
        # A node on each path that did not carry it when last asked.
        self._waited_for: dict[PathId, NodeName] = {}
        # Streams all of whose paths are to be looked at; of others, the paths that an agent may have begun or
        # ceased to carry or use.
        self._moving: set[StreamName] = set(stored.streams)
        self._moving_paths: dict[StreamName, set[PathId]] = {}
        # What the store has not been told; the first word is under which epoch this controller leads.
        self._unwritten: set[StreamName] = set()
        self._written = False
        # What must be compiled anew (at first, everything); agents for which there may be something to do.
        self._compiled = False
        self._stale_nodes: set[NodeName] = set()
        self._stale_links: set[LinkName] = set()
        self._stale_streams: set[StreamName] = set()
        self._stale_orders: set[OrderId] = set()
        self._pairs: dict[str, HasRules] = {}
        self._stale_pairs: set[str] = set()
        # Streams of which only the ends are to be told otherwise, by each of these: all are busy.
        self._stale_at: dict[NodeName, set[StreamName]] = {}
        self._stirred: set[NodeName] = set()
        # Agents that the last `settle` looked at.
        self.stirred: tuple[NodeName, ...] = ()
        self._restored_carries: dict[NodeName, set[PathId]] = {}
        self._restored_uses: dict[NodeName, set[PathId]] = {}
        for name, rollout in stored.streams.items():
            for path in rollout.paths():
                self._stream_of[path.path_id] = name
                if path.path_id in rollout.established:
                    for node in path.nodes:
                        self._restored_carries.setdefault(node, set()).add(path.path_id)
                # Even one that is not established: an end away since before a node on it lost its disk
                # uses it.
                for node in _ends(path):
                    self._restored_uses.setdefault(node, set()).add(path.path_id)

    def agent(self, node: NodeName) -> AgentSync:
        """How `node` stands."""
        if node not in self._agents:
            self._agents[node] = AgentSync(
                assumed_carries=frozenset(self._restored_carries.pop(node, ())),
                assumed_uses=frozenset(self._restored_uses.pop(node, ())),
            )
        return self._agents[node]

    @property
    def rollout(self) -> Rollout:
        """All of it, as a value."""
        return Rollout(
            self.plan.version, self.plan.snapshot_version, self.epoch, dict(sorted(self.streams.items()))
        )

    def has_rule(self, node: NodeName, rule_id: str) -> bool:
        """Whether the agent has acknowledged a policy with this rule."""
        applied = self.agent(node).applied
        return applied is not None and rule_id in applied.policy.rules

    # ---- what is wanted --------------------------------------------------------------------------

    def adopt(self, plan: Plan, changed: Iterable[StreamName], may_be_held: MayBeHeld) -> None:
        """Follow `plan` from now on; sets that it no longer has begin to retire.

        It differs from the one before in the `changed` streams at most. `may_be_held` says whether a stream
        may still use a set until its new paths are established; it is asked anew for all of these streams.
        """
        self.plan = plan
        for name in changed:
            self._follow(name, plan.streams.get(name), may_be_held)
        self._written = False

    def _follow(self, name: StreamName, plan: StreamPlan | None, may_be_held: MayBeHeld) -> None:
        before = self.streams.get(name, StreamRollout(name))
        after = before.following(plan, may_be_held)
        if after != before:
            self._put(after)
            self._moving.add(name)

    def nodes_changed(self, names: Iterable[NodeName]) -> None:
        """Nodes came, went, or moved their key plane: so do the rules of all that has to do with them."""
        for node in names:
            self._stale_nodes.add(node)
            self._stale_streams.update(self.streams_through(node))

    def links_changed(self, names: Iterable[LinkName]) -> None:
        """Compile anew what the ends of these links are told."""
        self._stale_links.update(names)

    def streams_changed(self, names: Iterable[StreamName]) -> None:
        """Compile anew what the nodes of these streams are told."""
        self._stale_streams.update(names)

    def order_changed(self, order_id: OrderId) -> None:
        """Compile anew what the nodes that the order is for are told."""
        self._stale_orders.add(order_id)

    def pairs_changed(self, changed: Mapping[str, HasRules | None]) -> None:
        """What is wanted of pairs, by whose rules they are; None where nothing is any more."""
        for owner, wanted in changed.items():
            if wanted is None:
                self._pairs.pop(owner, None)
            else:
                self._pairs[owner] = wanted
        self._stale_pairs |= changed.keys()

    def held_sets(self, name: StreamName, gone: Collection[LinkName]) -> Iterator[PathSet]:
        """What both ends of a stream can go on with by themselves without these links, planned sets first.

        Whatever became of the last pushes.
        """
        rollout = self.streams.get(name)
        if rollout is None:
            return
        retiring = (one.path_set for one in rollout.retiring if rollout.is_held(one))
        for path_set in chain(rollout.planned_sets, retiring):
            if not path_set.crosses(gone) and rollout.is_established(path_set) and self._is_held(path_set):
                yield path_set

    def _is_held(self, path_set: PathSet) -> bool:
        return all(self.agent(end).does_use(path.path_id) for path in path_set.paths for end in _ends(path))

    def streams_through(self, node: NodeName) -> tuple[StreamName, ...]:
        """Streams with a planned or retiring path that touches the node."""
        return self._streams_with(lambda path: any(node in (h.from_node, h.to_node) for h in path.hops))

    def streams_over(self, link: LinkName) -> tuple[StreamName, ...]:
        """Streams with a planned or retiring path that crosses the link."""
        return self._streams_with(lambda path: any(hop.link == link for hop in path.hops))

    def _streams_with(self, touches: Callable[[Path], bool]) -> tuple[StreamName, ...]:
        return tuple(name for name, one in self.streams.items() if any(map(touches, one.paths())))

    # ---- what happened ---------------------------------------------------------------------------

    def connected(self, node: NodeName, have: agent_pb2.PolicyVersion) -> None:
        """An agent has connected and says what it runs by."""
        sync = self.agent(node)
        carried, used = sync.carries, sync.uses
        known = (sync.outstanding, sync.applied, sync.desired)
        match = next((p for p in known if p is not None and p.policy.digest == have.digest), None)
        if match is None:
            if not have.digest:
                sync.assumed_carries, sync.assumed_uses = NO_PATHS, NO_PATHS
            elif sync.heard or have.epoch > self._stored_epoch:
                # Not a policy that follows from our store: relies on nothing, may use anything.
                sync.assumed_carries = NO_PATHS
                sync.assumed_uses = frozenset(
                    path.path_id
                    for rollout in self.streams.values()
                    for path in rollout.paths()
                    if node in _ends(path)
                )
        sync.applied = match
        sync.outstanding = None
        sync.nacked_digest, sync.nacked_orders_digest, sync.nacked_rules = b"", b"", ()
        sync.connected = sync.heard = sync.unconfirmed = True
        self._stir(node)
        self._look_at(node, (carried ^ sync.carries) | (used ^ sync.uses))

    def disconnected(self, node: NodeName) -> None:
        """The agent's policy stream ended; what is outstanding stays in doubt."""
        self.agent(node).connected = False
        self._stir(node)

    def acked(self, node: NodeName, digest: bytes) -> bool:
        """The agent has applied a policy; whether that was the outstanding one."""
        sync = self.agent(node)
        if sync.outstanding is None or sync.outstanding.policy.digest != digest:
            return False
        self._look_at(node, sync.in_doubt)
        sync.applied, sync.outstanding = sync.outstanding, None
        if not sync.orders_alone:
            sync.nacked_digest, sync.nacked_rules = b"", ()
        self._stir(node)
        return True

    def nacked(self, node: NodeName, digest: bytes, rules: tuple[agent_pb2.RuleStatus, ...]) -> bool:
        """The agent refused a policy and keeps what it had; whether that was the outstanding one."""
        sync = self.agent(node)
        if sync.outstanding is None or sync.outstanding.policy.digest != digest:
            return False
        self._look_at(node, sync.in_doubt)
        sync.outstanding = None
        if sync.orders_alone:
            sync.nacked_orders_digest = digest
        else:
            sync.nacked_digest, sync.nacked_rules = digest, rules
        self._stir(node)
        return True

    def _stir(self, node: NodeName) -> None:
        """Something is otherwise with an agent, which may not be busy any more."""
        self._stirred.add(node)
        self._stale_streams |= self._stale_at.pop(node, set())

    def _look_at(self, node: NodeName, paths: Iterable[PathId]) -> None:
        """A node may have begun or ceased to carry or use these paths."""
        for path in paths:
            stream = self._stream_of.get(path)
            # A path that waits for another node does so whatever this one does.
            if stream is not None and (
                self._waited_for.get(path, node) == node or self.streams[stream].retiring
            ):
                self._moving_paths.setdefault(stream, set()).add(path)

    def _is_busy(self, node: NodeName) -> bool:
        sync = self._agents.get(node)
        return sync is not None and sync.connected and sync.outstanding is not None

    # ---- what follows ----------------------------------------------------------------------------

    def settle(self, snapshot_of: Callable[[], Snapshot]) -> list[Instruction]:
        """Everything to do now so that agents come closer to what is desired; empty when they are there.

        `snapshot_of` is asked for the network only if a policy has to be compiled.
        """
        self._follow_paths()
        instructions: list[Instruction] = []
        if self._unwritten or not self._written:
            instructions.append(PersistRollout(self._change()))
        stale = (
            self._stale_nodes,
            self._stale_links,
            self._stale_streams,
            self._stale_orders,
            self._stale_pairs,
        )
        if not self._compiled or any(stale):
            self._compile(snapshot_of())
        self._desire_changed()
        self.stirred, self._stirred = tuple(sorted(self._stirred)), set()
        for node in self.stirred:
            instruction = self._next_step(node, self._agents[node])
            if instruction is not None:
                instructions.append(instruction)
        return instructions

    def _follow_paths(self) -> None:
        """Bring streams up to what agents have acknowledged."""
        whole, self._moving = self._moving, set()
        parts, self._moving_paths = self._moving_paths, {}
        for name in sorted(whole | parts.keys()):
            before = self.streams.get(name)
            if before is not None:
                paths = None if name in whole else parts[name]
                after = before.caught_up(self._is_carried, self._is_used, paths)
                if after is not before:
                    self._put(after, at_ends_alone=after.retiring is before.retiring)

    def _is_carried(self, path: Path) -> bool:
        """Whether every node on the path carries it; looks first at the one that did not when last asked."""
        path_id = path.path_id
        waited_for = self._waited_for.get(path_id)
        if waited_for is not None and not self.agent(waited_for).does_carry(path_id):
            return False
        for node in path.nodes:
            if not self.agent(node).does_carry(path_id):
                self._waited_for[path_id] = node
                return False
        self._waited_for.pop(path_id, None)
        return True

    def _is_used(self, path: Path) -> bool:
        return any(self.agent(end).may_use(path.path_id) for end in _ends(path))

    def _put(self, after: StreamRollout, *, at_ends_alone: bool = False) -> None:
        """Go on with this; `at_ends_alone` if what is established is all that differs."""
        name = after.stream
        before = self.streams.pop(name, None)
        if at_ends_alone and all(map(self._is_busy, after.ends())):
            for end in after.ends():
                self._stale_at.setdefault(end, set()).add(name)
        elif before is None or not before.has_rules_of(after):
            self._stale_streams.add(name)
        paths = {} if after.is_over else {path.path_id: name for path in after.paths()}
        for path in before.paths() if before is not None else ():
            if path.path_id not in paths:
                self._stream_of.pop(path.path_id, None)
                self._waited_for.pop(path.path_id, None)
        self._stream_of |= paths
        if not after.is_over:
            self.streams[name] = after
        self._unwritten.add(name)

    def _change(self) -> RolloutChange:
        changed, self._unwritten, self._written = sorted(self._unwritten), set(), True
        streams = {name: self.streams.get(name) for name in changed}
        return RolloutChange(self.plan.version, self.plan.snapshot_version, self.epoch, streams)

    def _compile(self, snapshot: Snapshot) -> None:
        nodes, self._stale_nodes = self._stale_nodes, set()
        if not self._compiled:
            self._compiled = True
            nodes |= snapshot.nodes.keys()
            self._stale_streams |= self.streams.keys()
            self._stale_orders |= snapshot.orders.keys()
        if nodes:
            self._policies.put_nodes(snapshot.nodes, nodes)
            self._stale_links |= _links_at(snapshot, nodes)
            self._stale_streams |= _streams_at(snapshot, nodes)
            self._stale_orders |= snapshot.orders.keys()
            self._stale_pairs |= self._pairs.keys()
        for link in sorted(self._stale_links):
            self._policies.put_link(link, snapshot.links.get(link))
        for stream in sorted(self._stale_streams):
            wanted, followed = snapshot.streams.get(stream), self.streams.get(stream)
            self._policies.put_stream(stream, wanted, followed, whole=bool(nodes))
        for order in sorted(self._stale_orders):
            self._policies.put_order(order, snapshot.orders.get(order))
        for owner in sorted(self._stale_pairs):
            pairs = self._pairs.get(owner)
            self._policies.put_pairs(owner, pairs.rules(snapshot.nodes) if pairs is not None else [])
        self._stale_links, self._stale_streams = set(), set()
        self._stale_orders, self._stale_pairs = set(), set()

    def _desire_changed(self) -> None:
        for node, policy in self._policies.take_changed(self._is_busy).items():
            if policy is not None:
                self._desire(node, policy)
            elif node in self._agents:
                self._desire(node, NO_RULES)

    def _desire(self, node: NodeName, policy: NodePolicy) -> None:
        sync = self.agent(node)
        if sync.desired is None or sync.desired.policy.digest != policy.digest:
            self._last_version += 1
            sync.desired = VersionedPolicy(self._last_version, policy)
            self._stirred.add(node)

    def _next_step(self, node: NodeName, sync: AgentSync) -> Instruction | None:
        desired = sync.desired
        if not sync.connected or sync.outstanding is not None or desired is None:
            return None
        if sync.applied is not None and sync.applied.policy.digest == desired.policy.digest:
            if sync.applied.version == desired.version and not sync.unconfirmed:
                return None
            sync.applied, sync.unconfirmed = desired, False
            return Confirm(node, desired.version, desired.policy.digest)
        if sync.nacked_digest == desired.policy.digest:
            return self._orders_alone(node, sync, desired)
        sync.outstanding, sync.unconfirmed, sync.orders_alone = desired, False, False
        self._look_at(node, sync.in_doubt)
        return Push(node, desired, sync.applied.policy if sync.applied else None)

    def _orders_alone(self, node: NodeName, sync: AgentSync, desired: VersionedPolicy) -> Push | None:
        """Orders do not wait for the rest to be accepted: what the agent has, and they."""
        if sync.applied is None:
            return None
        policy = with_orders_of(desired.policy, sync.applied.policy)
        if policy.digest in (sync.applied.policy.digest, sync.nacked_orders_digest):
            return None
        sync.outstanding = VersionedPolicy(self._last_version + 1, policy)
        # Versions rise: what is desired stays the newest, for when the agent accepts it after all.
        self._last_version += 2
        sync.desired = VersionedPolicy(self._last_version, desired.policy)
        sync.unconfirmed, sync.orders_alone = False, True
        return Push(node, sync.outstanding, sync.applied.policy)


def _ends(path: Path) -> tuple[NodeName, NodeName]:
    return path.hops[0].from_node, path.hops[-1].to_node


def _links_at(snapshot: Snapshot, nodes: set[NodeName]) -> set[LinkName]:
    return {name for name, view in snapshot.links.items() if not nodes.isdisjoint((view.link.a, view.link.b))}


def _streams_at(snapshot: Snapshot, nodes: set[NodeName]) -> set[StreamName]:
    return {name for name, one in snapshot.streams.items() if not nodes.isdisjoint((one.source, one.target))}
