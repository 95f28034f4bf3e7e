"""Policy between a controller and an agent, whatever is lost, restarted, restored or refused.

The real core, pusher and session at one end, the real uplink and policy file at the other, and between them a
stream that the machine delivers, breaks and garbles.
"""

import asyncio
import tempfile
from collections import Counter, deque
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keyweave.agent.app import Agent as AgentProcess
from keyweave.agent.policy import PolicyStore
from keyweave.common import one_writer
from keyweave.common.errors import KeyweaveError
from keyweave.common.names import LinkName, NodeName, OrderId
from keyweave.common.policy_digest import policy_digest
from keyweave.common.process import write_atomically
from keyweave.controller import routing
from keyweave.controller.instructions import (
    Confirm,
    FallSilent,
    ForgetOrder,
    Instruction,
    Optimise,
    PersistRollout,
    Push,
)
from keyweave.controller.orders import Order, OrderKind
from keyweave.controller.push import PolicyPusher
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import NodePut, Optimised, OrderPut, PolicyAcked, PolicyConnected, Stimulus
from keyweave.controller.topology import Node
from keyweave.v1 import agent_pb2
from tests.fuzz.controller import Context
from tests.fuzz.uplink import uplink_of
from tests.guards import open_guard
from tests.unit.core_run import NETWORK, START

A = NodeName("a")
NEIGHBOURS = (NodeName("p"), NodeName("q"))
NODES = tuple(NETWORK.nodes)


@dataclass
class Disk:
    """What a controller has stored."""

    epoch: int = 0
    rollout: Rollout = field(default_factory=Rollout)
    nodes: dict[NodeName, Node] = field(default_factory=lambda: dict(NETWORK.nodes))
    orders: dict[OrderId, Order] = field(default_factory=dict)

    def copy(self) -> "Disk":
        """A backup, which orders are not kept in: one that is restored is for people to give again."""
        return Disk(self.epoch, self.rollout, dict(self.nodes))


class Controller:
    """One process of a controller; every agent but `a` answers at once."""

    def __init__(self, disk: Disk, now: float) -> None:
        disk.epoch += 1
        self.disk = disk
        self.now = now
        # Everything that `a` was ever to run by under this epoch, by digest.
        self.pushed: set[bytes] = set()
        links = {name: view.link for name, view in NETWORK.links.items()}
        self.core = Core(
            settings=CoreSettings(warmup_seconds=0.0), planner=routing, epoch=disk.epoch, stored=disk.rollout
        )
        self.pusher = PolicyPusher(
            epoch=disk.epoch, lease_seconds=3600.0, known_node=NODES.__contains__, submit=self.submit
        )
        self._follow(self.core.start(disk.nodes, links, NETWORK.streams, now, tuple(disk.orders.values())))
        for node in NODES:
            if node != A:
                self.handle(PolicyConnected(node, agent_pb2.PolicyVersion(), 0))

    async def submit(self, stimulus: Stimulus) -> None:
        """As the queue to the core."""
        self.handle(stimulus)

    def handle(self, stimulus: Stimulus) -> None:
        """Have the core handle it, and carry out what it says."""
        self._follow(self.core.handle(stimulus, self.now))

    def _follow(self, instructions: Iterable[Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case PersistRollout(change):
                    self.disk.rollout = self.disk.rollout.after(change)
                case ForgetOrder(order_id):
                    self.disk.orders.pop(order_id, None)
                case Optimise(number, network, previous):
                    plan = routing.plan_streams(network, previous, previous.version + 1)
                    self.handle(Optimised(number, plan))
                case Push(node, target, _) if node != A:
                    self.handle(PolicyAcked(node, target.policy.digest))
                case Push(node, target, _):
                    self.pushed.add(target.policy.digest)
                    self.pusher.execute(instruction)
                case Confirm(node, _, _) if node == A:
                    self.pusher.execute(instruction)
                case FallSilent():
                    self.pusher.fall_silent()
                case _:
                    pass


class Connection:
    """A policy stream that is up: what is on its way, in either direction."""

    def __init__(self, controller: Controller) -> None:
        self.down: deque[bytes] = deque()
        self._up: asyncio.Queue[agent_pb2.PolicyRequest | None] = asyncio.Queue()
        self.waiting_up: deque[bytes] = deque()
        context: Any = Context()
        context.write = self._write
        self.task = asyncio.create_task(controller.pusher.policy(self._requests(), context))

    def deliver_up(self) -> None:
        """The oldest thing that the agent said reaches the controller."""
        self._up.put_nowait(agent_pb2.PolicyRequest.FromString(self.waiting_up.popleft()))

    async def end(self) -> None:
        """The stream breaks, with all that is on its way."""
        self._up.put_nowait(None)
        with suppress(KeyweaveError):
            await self.task

    async def _write(self, response: agent_pb2.PolicyResponse) -> None:
        self.down.append(response.SerializeToString())

    async def _requests(self) -> AsyncIterator[agent_pb2.PolicyRequest]:
        while (request := await self._up.get()) is not None:
            yield request


class Agent:
    """One process of the agent, on the disk that it shares with those before."""

    def __init__(self, directory: Path, carried_out: list[str]) -> None:
        self.policies = PolicyStore(directory / "policy.json")
        guard = open_guard(A, NODES)
        self._process: Any = mock.Mock(
            node=A,
            policies=self.policies,
            observer=mock.Mock(),
            guardian=mock.Mock(guard=guard, permitted=lambda rules: rules),
            plane=mock.Mock(carry_out=lambda order: carried_out.append(order.order_id)),
            _orders=self.policies.policy.orders,
        )
        self.uplink = uplink_of(directory, A, self.policies, self._apply, lambda: guard)

    async def _apply(self) -> None:
        AgentProcess.apply_policy(cast("AgentProcess", self._process))

    def hello(self) -> agent_pb2.PolicyRequest:
        """What it says first."""
        hello = agent_pb2.PolicyHello(
            node=A,
            incarnation=bytes(16),
            have=self.policies.policy.as_version(),
            highest_epoch=self.policies.highest_epoch,
        )
        return agent_pb2.PolicyRequest(hello=hello)


class PolicySessions(RuleBasedStateMachine):
    @initialize()
    def the_network_starts(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.directory = Path(self.folder.name)
        self.carried_out: list[str] = []
        self.pushed: set[bytes] = {b""}
        self.highest = (0, 0, 0)
        self.changes = 0
        self.disk = Disk()
        self.backup = self.disk.copy()
        self.controller = Controller(self.disk, START)
        self.agent: Agent | None = Agent(self.directory, self.carried_out)
        self.connection: Connection | None = None

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        async def then_settle() -> None:
            await work
            for _ in range(30):
                await asyncio.sleep(0)

        self.runner.run(then_settle())
        self.pushed |= self.controller.pushed

    # ---- what operators want ---------------------------------------------------------------------

    @rule(node=st.sampled_from(NEIGHBOURS))
    def a_neighbour_moves(self, node: NodeName) -> None:
        self.changes += 1
        moved = replace(self.disk.nodes[node], key_plane_address=f"{node}:{self.changes}")
        self.disk.nodes[node] = moved
        self.run(self._stimulate(NodePut(moved)))

    @rule()
    def an_operator_orders_a_link_destroyed(self) -> None:
        self.changes += 1
        order = Order(
            OrderId(f"{self.changes:032x}"),
            OrderKind.LINK_DESTROY,
            (A, NodeName("p")),
            LinkName("a-p"),
            self.controller.now,
            "olga",
        )
        if not self.controller.core.read_only:
            self.disk.orders[order.order_id] = order
            self.run(self._stimulate(OrderPut(order)))

    async def _stimulate(self, stimulus: Stimulus) -> None:
        self.controller.handle(stimulus)

    # ---- the stream ------------------------------------------------------------------------------

    @precondition(lambda self: self.connection is None and self.agent is not None)
    @rule()
    def the_agent_connects(self) -> None:
        self.run(self._connect())

    async def _connect(self) -> None:
        assert self.agent is not None
        self.connection = Connection(self.controller)
        self.connection.waiting_up.append(self.agent.hello().SerializeToString())
        self.connection.deliver_up()

    @precondition(lambda self: self.connection is not None)
    @rule()
    def the_stream_breaks(self) -> None:
        self.run(self._break())

    async def _break(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.end()

    @precondition(lambda self: self.connection is not None and self.connection.down)
    @rule()
    def the_agent_gets_what_was_sent(self) -> None:
        self.run(self._deliver_down())

    async def _deliver_down(self) -> None:
        assert self.agent is not None
        assert self.connection is not None
        push = agent_pb2.PolicyResponse.FromString(self.connection.down.popleft())
        await self._take(push)

    async def _take(self, push: agent_pb2.PolicyResponse) -> None:
        assert self.agent is not None
        assert self.connection is not None
        answer = await self.agent.uplink._take(push)
        if answer is not None:
            self.connection.waiting_up.append(answer.SerializeToString())
            if answer.HasField("ack"):
                kept = PolicyStore(self.directory / "policy.json").policy
                assert kept.as_version() == answer.ack.version, "acknowledged, and not on the disk"

    @precondition(lambda self: self.connection is not None and self.connection.waiting_up)
    @rule()
    def the_controller_hears_the_agent(self) -> None:
        self.run(self._deliver_up())

    async def _deliver_up(self) -> None:
        assert self.connection is not None
        self.connection.deliver_up()

    @precondition(lambda self: self.connection is not None and self.connection.down)
    @rule(what=st.sampled_from(("digest", "rules", "base", "older", "leap")))
    def the_agent_gets_it_spoiled(self, what: str) -> None:
        assert self.connection is not None
        push = agent_pb2.PolicyResponse.FromString(self.connection.down.popleft())
        match what:
            case "digest":
                push.version.digest = bytes(32)
            case "rules":
                del push.snapshot.rules[len(push.snapshot.rules) // 2 :]
            case "base":
                push.delta.base_digest = b"another"
            case "older":
                push.version.epoch = max(0, push.version.epoch - 1)
            case _:
                push.version.epoch += 5000
        known = self.pushed | {policy_digest([])}
        self.run(self._take(push))
        assert self.agent is not None
        assert self.agent.policies.policy.digest in known

    # ---- crashes ---------------------------------------------------------------------------------

    @precondition(lambda self: self.agent is not None)
    @rule()
    def the_agent_crashes(self) -> None:
        self.run(self._break())
        self.agent = None

    @precondition(lambda self: self.connection is not None and self.connection.down)
    @rule(written=st.booleans())
    def the_agent_crashes_while_it_writes(self, written: bool) -> None:
        def crash(path: Path, text: str) -> None:
            if written:
                write_atomically(path, text)
            raise OSError("the power is gone")

        with mock.patch.object(one_writer, "write_atomically", crash), suppress(OSError):
            self.run(self._deliver_down())
        self.run(self._break())
        self.agent = None

    @precondition(lambda self: self.agent is None)
    @rule()
    def the_agent_comes_back(self) -> None:
        self.agent = Agent(self.directory, self.carried_out)

    @rule()
    def the_controller_restarts(self) -> None:
        self._restart(self.disk)

    @rule()
    def a_backup_is_made(self) -> None:
        self.backup = self.disk.copy()

    @rule()
    def the_backup_is_restored(self) -> None:
        self._restart(self.backup.copy())

    @precondition(lambda self: not self.controller.core.read_only)
    @rule(node=st.sampled_from(NEIGHBOURS))
    def a_backup_exactly_one_start_old_is_restored(self, node: NodeName) -> None:
        self.a_backup_is_made()
        self.the_controller_restarts()
        self.a_neighbour_moves(node)
        self.in_the_end_they_agree()
        self.the_backup_is_restored()
        self.in_the_end_they_agree()

    @rule()
    def an_operator_raises_the_epoch(self) -> None:
        if self.controller.core.read_only:
            self.disk.epoch = self.highest[0]
            self._restart(self.disk)

    def _restart(self, disk: Disk) -> None:
        self.run(self._break())
        self.disk = disk
        self.controller = Controller(disk, self.controller.now + 1)

    # ---- what must hold --------------------------------------------------------------------------

    @rule()
    def in_the_end_they_agree(self) -> None:
        self.run(self._break())
        if self.agent is None:
            self.the_agent_comes_back()
        assert self.agent is not None
        before = self.agent.policies.policy
        self.run(self._connect())
        assert self.connection is not None
        for _ in range(60):
            if self.connection.down:
                self.run(self._deliver_down())
            elif self.connection.waiting_up:
                self.run(self._deliver_up())
            else:
                break
        else:
            raise AssertionError("they do not come to rest")
        if self.controller.core.read_only:
            assert self.agent.policies.policy == before, "a controller from the past changed something"
            return
        sync = self.controller.core.distribution.agent(A)
        assert sync.in_sync
        assert sync.desired is not None
        assert self.agent.policies.policy.digest == sync.desired.policy.digest
        assert self.agent.policies.policy.epoch == self.disk.epoch
        assert not self.disk.orders, "all ends have acknowledged, and the orders still stand"

    @invariant()
    def never_older_never_half_and_orders_once(self) -> None:
        kept = PolicyStore(self.directory / "policy.json")
        policy = kept.policy
        if policy.digest or policy.rules:
            assert policy_digest(policy.rules.values()) == policy.digest, "half a policy"
            assert policy.digest in self.pushed, "a policy that no controller ever wanted"
        now = (kept.highest_epoch, policy.epoch, policy.version)
        assert now[0] >= self.highest[0], "the fence came down"
        assert now[1:] >= self.highest[1:], "an older policy took the place of a newer one"
        self.highest = now
        if self.agent is not None:
            assert self.agent.policies.policy == policy, "it runs by what is not on the disk"
        twice = [order for order, times in Counter(self.carried_out).items() if times > 1]
        assert not twice, "an order was carried out twice"

    def teardown(self) -> None:
        self.run(self._break())
        self.runner.close()
        self.folder.cleanup()


PolicySessions.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPolicySessions = PolicySessions.TestCase
