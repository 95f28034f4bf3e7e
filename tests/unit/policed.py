"""Agents that do nothing but keep policy, and a controller that can crash between any two instructions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from keyweave.agent.policy import Policy, PolicyRefusedError, next_policy
from keyweave.common.names import LinkName, NodeName, PathId, StreamName
from keyweave.controller.instructions import Confirm, Instruction, PersistRollout, Push
from keyweave.controller.push import fill
from keyweave.controller.reconcile.distribution import Distribution
from keyweave.controller.reconcile.plan_changes import changed_streams
from keyweave.controller.rollout import Rollout
from keyweave.controller.routing.network import path_id
from keyweave.controller.topology import Hop, Path, PathSet, Plan, Snapshot, StreamPlan
from keyweave.v1 import agent_pb2
from tests.guards import open_guard


def path(stream: str, *nodes: str) -> Path:
    """A path over links that are named after their ends in alphabetical order."""
    hops = tuple(
        Hop(LinkName("-".join(sorted((a, b)))), NodeName(a), NodeName(b)) for a, b in pairwise(nodes)
    )
    return Path(path_id(StreamName(stream), [hop.link for hop in hops]), hops)


def plan(version: int, sets: Mapping[str, Sequence[Sequence[Path]]], *, backups: int = 0) -> Plan:
    """For each stream its path sets; the last `backups` of them are backups."""
    return Plan(
        version=version,
        snapshot_version=version,
        streams={
            StreamName(name): StreamPlan(
                stream=StreamName(name),
                rate_bps=1000.0,
                path_sets=tuple(
                    PathSet(0 if i < len(chosen) - backups else 1, 1000.0, tuple(paths), "as the test says")
                    for i, paths in enumerate(chosen)
                ),
                reason="as the test says",
            )
            for name, chosen in sets.items()
        },
    )


@dataclass
class Agent:
    """What one agent has on disk, and what is on its way to it and back."""

    node: NodeName
    policy: Policy = field(default_factory=Policy)
    connected: bool = False
    # Lost its disk, and no policy has reached it since.
    forgetful: bool = False
    inbox: list[Push] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    confirmed: list[Confirm] = field(default_factory=list)

    def carries(self) -> set[PathId]:
        """Paths it relays or accepts."""
        found = {
            PathId(r.relay.path_id) for r in self.policy.rules.values() if r.WhichOneof("kind") == "relay"
        }
        return found | {
            PathId(p.path_id) for r in self.policy.rules.values() for p in r.stream.accepted_paths
        }

    def uses(self) -> list[tuple[PathId, tuple[NodeName, ...]]]:
        """Paths it may draw keys over, with their nodes."""
        return [
            (PathId(p.path_id), (NodeName(p.hops[0].from_node), *(NodeName(hop.to_node) for hop in p.hops)))
            for r in self.policy.rules.values()
            for path_set in r.stream.path_sets
            for p in path_set.paths
        ]


class Network:
    """One controller's distribution and its agents; every instruction is carried out in order."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.epoch = 1
        self.stored = Rollout()
        self.agents = {name: Agent(name) for name in snapshot.nodes}
        self.distribution = Distribution(self.epoch, self.stored)
        self.writes = 0
        self.carry_out(self.distribution.settle(self.take_snapshot))

    def take_snapshot(self) -> Snapshot:
        return self.snapshot

    def carry_out(self, instructions: Iterable[Instruction], limit: int | None = None) -> None:
        """Do what the controller says; it crashes after `limit` instructions, whose pushes arrive."""
        sent = []
        for count, instruction in enumerate(instructions):
            if limit is not None and count >= limit:
                break
            match instruction:
                case PersistRollout(change):
                    self.stored = self.stored.after(change)
                    self.writes += 1
                case Push(node, _, _):
                    assert not self.agents[node].inbox, "one push at a time"
                    self.agents[node].inbox.append(instruction)
                    sent.append(node)
                case Confirm(node, _, _):
                    self.agents[node].confirmed.append(instruction)
        if limit is not None:
            for node in sent:
                self.deliver(node)
            self.restart()

    def settle(self, limit: int | None = None) -> None:
        self.carry_out(self.distribution.settle(self.take_snapshot), limit)

    def adopt(self, new: Plan, *, crash_after: int | None = None) -> None:
        changed = changed_streams(self.distribution.plan, new)
        self.distribution.adopt(new, changed, lambda _stream, _set: True)
        self.settle(crash_after)

    def restart(self) -> None:
        """The controller dies; the next one knows what was stored."""
        for agent in self.agents.values():
            self._cut(agent)
        self.epoch += 1
        self.distribution = Distribution(self.epoch, self.stored)
        self.settle()

    def connect(self, name: str) -> None:
        agent = self.agents[NodeName(name)]
        agent.connected = True
        self.distribution.connected(agent.node, agent.policy.as_version())
        self.settle()

    def connect_all(self) -> None:
        for name, agent in self.agents.items():
            if not agent.connected:
                self.connect(name)

    def disconnect(self, name: str) -> None:
        agent = self.agents[NodeName(name)]
        self._cut(agent)
        self.distribution.disconnected(agent.node)
        self.settle()

    def _cut(self, agent: Agent) -> None:
        agent.connected = False
        agent.inbox.clear()
        agent.answers.clear()

    def wipe(self, name: str) -> None:
        """An agent loses its disk."""
        self.disconnect(name)
        agent = self.agents[NodeName(name)]
        agent.policy = Policy()
        agent.forgetful = True

    def deliver(self, name: str) -> None:
        """The agent gets its push, checks it with its own rules, and applies it."""
        agent = self.agents[NodeName(name)]
        push = agent.inbox.pop(0)
        message = agent_pb2.PolicyResponse(
            nonce=1,
            version=agent_pb2.PolicyVersion(
                epoch=self.epoch, version=push.target.version, digest=push.target.policy.digest
            ),
        )
        fill(message, push.base, push.target.policy)
        guard = open_guard(name, self.agents)
        try:
            agent.policy = next_policy(agent.node, agent.policy, agent.policy.epoch, message, guard)
        except PolicyRefusedError as error:
            raise AssertionError(f"{name} refuses {push.target.version}: {error}") from error
        agent.forgetful = False
        agent.answers.append(push.target.policy.digest)

    def acknowledge(self, name: str, *, crash_after: int | None = None) -> None:
        """The agent's oldest acknowledgement arrives."""
        agent = self.agents[NodeName(name)]
        assert self.distribution.acked(agent.node, agent.answers.pop(0))
        self.settle(crash_after)

    def refuse(self, name: str) -> None:
        """The agent refuses its push."""
        agent = self.agents[NodeName(name)]
        push = agent.inbox.pop(0)
        assert self.distribution.nacked(agent.node, push.target.policy.digest, ())
        self.settle()

    def calm_down(self) -> None:
        """Everybody is connected and answers until nothing is left to say."""
        self.connect_all()
        while busy := [n for n, agent in self.agents.items() if agent.inbox or agent.answers]:
            for name in busy:
                if self.agents[name].answers:
                    self.acknowledge(name)
                else:
                    self.deliver(name)

    def check(self) -> None:
        """No end uses a path that a node on it does not carry."""
        for agent in self.agents.values():
            for used, nodes in agent.uses():
                for name in nodes:
                    other = self.agents[name]
                    assert other.forgetful or used in other.carries(), (
                        f"'{agent.node}' uses {used}, which '{name}' does not carry"
                    )
