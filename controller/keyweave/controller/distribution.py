"""Desired versus applied policy of every agent, and what follows from it for paths. Pure.

At most one push per agent is outstanding; whatever changes meanwhile coalesces into the next. A push
whose answer never came may or may not have been applied, so until the agent says which, it counts as
carrying only the paths that both policies carry and as using those that either uses.

After a restart the controller knows from its store which paths were established. An agent that has not
spoken yet is taken to carry exactly those, and to use, at the ends, any path the store knows:
established paths leave a node's rules only after both ends have given them up, and the store learnt of
each step before the agents did.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from keyweave.common.names import NodeName, PathId, StreamName
from keyweave.common.policy_digest import combine
from keyweave.controller.compile import NodePolicy, compile_policies
from keyweave.controller.instructions import Confirm, Instruction, PersistRollout, Push, VersionedPolicy
from keyweave.controller.rollout import RetiringSet, Rollout, RoutedPath, set_key
from keyweave.controller.topology import Link, PathSet, Plan, Snapshot
from keyweave.v1 import agent_pb2

_NONE: frozenset[PathId] = frozenset()
# What an agent is left with when its node is deleted while it is connected.
NO_RULES = NodePolicy(rules={}, digest=combine(()))


@dataclass(slots=True)
class AgentSync:
    """What one agent should have, has, and was last sent."""

    assumed_carries: frozenset[PathId]
    assumed_uses: frozenset[PathId]
    connected: bool = False
    # The agent has connected and waits to hear that what it has is right.
    unconfirmed: bool = False
    # Whether the agent has said what it runs by since this controller started.
    heard: bool = False
    desired: VersionedPolicy | None = None
    # Applied and persisted by the agent; None while its content is not known.
    applied: VersionedPolicy | None = None
    # Sent, not answered (the connection may have gone meanwhile).
    outstanding: VersionedPolicy | None = None
    # Last refusal; it holds back this digest until the agent reconnects or something else is desired.
    nacked_digest: bytes = b""
    nacked_rules: tuple[agent_pb2.RuleStatus, ...] = ()

    @property
    def carries(self) -> frozenset[PathId]:
        """Paths that the agent relays or accepts, whatever became of the last push."""
        base = self.applied.policy.carries if self.applied else self.assumed_carries
        return base & self.outstanding.policy.carries if self.outstanding else base

    @property
    def uses(self) -> frozenset[PathId]:
        """Paths that the agent may be drawing keys over."""
        base = self.applied.policy.uses if self.applied else self.assumed_uses
        return base | self.outstanding.policy.uses if self.outstanding else base

    @property
    def in_sync(self) -> bool:
        """Whether the agent has applied what is desired of it."""
        return (
            self.applied is not None
            and self.desired is not None
            and self.outstanding is None
            and self.applied.policy.digest == self.desired.policy.digest
        )


class Distribution:
    """Brings every agent to its policy, make-before-break."""

    def __init__(self, epoch: int, stored: Rollout) -> None:
        self.epoch = epoch
        self.rollout = replace(stored, epoch=epoch)
        self._stored_epoch = stored.epoch
        self._written: Rollout | None = None
        self._agents: dict[NodeName, AgentSync] = {}
        self._last_version = 0
        # Nodes whose policy must be compiled anew; None stands for all.
        self._stale: set[NodeName] | None = None
        self._restored_carries: dict[NodeName, set[PathId]] = {}
        self._restored_uses: dict[NodeName, set[PathId]] = {}
        for routed in stored.paths():
            if routed.path.path_id in stored.established:
                for node in routed.path.nodes:
                    self._restored_carries.setdefault(node, set()).add(routed.path.path_id)
            # Even one that is not established: an end away since before a node on it lost its disk uses it.
            for node in _ends(routed):
                self._restored_uses.setdefault(node, set()).add(routed.path.path_id)

    def agent(self, node: NodeName) -> AgentSync:
        """How `node` stands."""
        if node not in self._agents:
            self._agents[node] = AgentSync(
                assumed_carries=frozenset(self._restored_carries.get(node, ())),
                assumed_uses=frozenset(self._restored_uses.get(node, ())),
            )
        return self._agents[node]

    # ---- what happened ---------------------------------------------------------------------------

    def adopt(self, plan: Plan, may_be_held: Callable[[StreamName, PathSet], bool]) -> None:
        """Follow `plan` from now on; sets that it no longer has begin to retire.

        `may_be_held` says whether a stream may still use a set until its new paths are established.
        """
        former = [
            (name, path_set)
            for name in sorted(self.rollout.plan.streams)
            for path_set in self.rollout.plan.streams[name].path_sets
        ]
        former += [(retiring.stream, retiring.path_set) for retiring in self.rollout.retiring]
        seen = {set_key(path_set) for stream in plan.streams.values() for path_set in stream.path_sets}
        retiring: list[RetiringSet] = []
        for name, path_set in former:
            if set_key(path_set) not in seen:
                seen.add(set_key(path_set))
                retiring.append(RetiringSet(name, path_set, may_be_held(name, path_set)))
        self.rollout = replace(self.rollout, plan=plan, retiring=tuple(retiring))
        self._stale = None

    def intent_changed(self) -> None:
        """Compile every policy anew at the next `settle`."""
        self._stale = None

    def suspicion_changed(self, link: Link) -> None:
        """Compile anew what the link's ends are told."""
        if self._stale is not None:
            self._stale |= {link.a, link.b}

    def orders_changed(self, nodes: Collection[NodeName]) -> None:
        """Compile the policies of these nodes anew at the next `settle`."""
        if self._stale is not None:
            self._stale |= set(nodes)

    def has_rule(self, node: NodeName, rule_id: str) -> bool:
        """Whether the agent has acknowledged a policy with this rule."""
        applied = self.agent(node).applied
        return applied is not None and rule_id in applied.policy.rules

    def connected(self, node: NodeName, have: agent_pb2.PolicyVersion) -> None:
        """An agent has connected and says what it runs by."""
        sync = self.agent(node)
        known = (sync.outstanding, sync.applied, sync.desired)
        match = next((p for p in known if p is not None and p.policy.digest == have.digest), None)
        if match is None:
            if not have.digest:
                sync.assumed_carries, sync.assumed_uses = _NONE, _NONE
            elif sync.heard or have.epoch > self._stored_epoch:
                # Not a policy that follows from our store: relies on nothing, may use anything.
                sync.assumed_uses = frozenset(
                    routed.path.path_id for routed in self.rollout.paths() if node in _ends(routed)
                )
                sync.assumed_carries = _NONE
        sync.applied = match
        sync.outstanding = None
        sync.nacked_digest, sync.nacked_rules = b"", ()
        sync.connected = sync.heard = sync.unconfirmed = True

    def disconnected(self, node: NodeName) -> None:
        """The agent's policy stream ended; what is outstanding stays in doubt."""
        self.agent(node).connected = False

    def acked(self, node: NodeName, digest: bytes) -> bool:
        """The agent has applied a policy; whether that was the outstanding one."""
        sync = self.agent(node)
        if sync.outstanding is None or sync.outstanding.policy.digest != digest:
            return False
        sync.applied, sync.outstanding = sync.outstanding, None
        sync.nacked_digest, sync.nacked_rules = b"", ()
        return True

    def nacked(self, node: NodeName, digest: bytes, rules: tuple[agent_pb2.RuleStatus, ...]) -> bool:
        """The agent refused a policy and keeps what it had; whether that was the outstanding one."""
        sync = self.agent(node)
        if sync.outstanding is None or sync.outstanding.policy.digest != digest:
            return False
        sync.outstanding = None
        sync.nacked_digest, sync.nacked_rules = digest, rules
        return True

    # ---- what follows ----------------------------------------------------------------------------

    def settle(self, snapshot_of: Callable[[], Snapshot]) -> list[Instruction]:
        """Everything to do now so that agents come closer to what is desired; empty when they are there.

        `snapshot_of` is asked for the network only if a policy has to be compiled.
        """
        self._follow_paths()
        instructions: list[Instruction] = []
        if self.rollout != self._written:
            self._written = self.rollout
            instructions.append(PersistRollout(self.rollout))
        if self._stale is None or self._stale:
            snapshot = snapshot_of()
            for node, policy in compile_policies(snapshot, self.rollout, self._stale).items():
                self._desire(node, policy)
            for node in self._agents.keys() - snapshot.nodes.keys():
                self._desire(node, NO_RULES)
            self._stale = set()
        for node in sorted(self._agents):
            instruction = self._next_step(node, self._agents[node])
            if instruction is not None:
                instructions.append(instruction)
        return instructions

    def _follow_paths(self) -> None:
        """Bring `established` and `retiring` up to what agents have acknowledged."""
        before = self.rollout
        established = frozenset(r.path.path_id for r in before.paths() if self._is_carried(r))
        current = replace(before, established=established)
        planned = {routed.path.path_id for routed in Rollout(before.plan).paths()}
        retiring = tuple(
            r for r in before.retiring if current.is_held(r, r.stream) or self._drains(r, planned)
        )
        self.rollout = replace(current, retiring=retiring)
        if self._stale is not None:
            # Whether one path is established can change what all sets of its stream amount to.
            left = {path.path_id for r in before.retiring if r not in retiring for path in r.path_set.paths}
            changed = (before.established ^ established) | left
            streams = {r.stream for r in before.paths() if r.path.path_id in changed}
            self._stale |= {node for r in before.paths() if r.stream in streams for node in r.path.nodes}

    def _drains(self, retiring: RetiringSet, planned: Collection[PathId]) -> bool:
        """Whether an end may still be using a path that only this set keeps alive."""
        return any(
            path.path_id not in planned
            and any(path.path_id in self.agent(end).uses for end in (path.nodes[0], path.nodes[-1]))
            for path in retiring.path_set.paths
        )

    def _is_carried(self, routed: RoutedPath) -> bool:
        return all(routed.path.path_id in self.agent(node).carries for node in routed.path.nodes)

    def _desire(self, node: NodeName, policy: NodePolicy) -> None:
        sync = self.agent(node)
        if sync.desired is None or sync.desired.policy.digest != policy.digest:
            self._last_version += 1
            sync.desired = VersionedPolicy(self._last_version, policy)

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
            return None
        sync.outstanding, sync.unconfirmed = desired, False
        return Push(node, desired, sync.applied.policy if sync.applied else None)


def _ends(routed: RoutedPath) -> tuple[NodeName, NodeName]:
    return routed.path.nodes[0], routed.path.nodes[-1]
