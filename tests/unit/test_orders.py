"""Orders: each is carried out once at each agent, whatever restarts, and none holds anything up for ever."""

from dataclasses import dataclass, field, replace

import pytest
from google.rpc import code_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.common.names import LinkName, NodeName, OrderId
from keyweave.controller import routing
from keyweave.controller.events import Event, Severity
from keyweave.controller.instructions import Emit, ForgetOrder, Instruction, PersistRollout, Push
from keyweave.controller.orders import ORDER_LIFE_SECONDS, Order, OrderKind
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import (
    LinkDeleted,
    LinkPut,
    NodeDeleted,
    OrderPut,
    PolicyAcked,
    PolicyConnected,
    PolicyDisconnected,
    PolicyNacked,
    Stimulus,
    Tick,
)
from keyweave.v1 import agent_pb2, types_pb2
from tests.unit.networks import snapshot

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
AB = LinkName("ab")
NETWORK = snapshot([("ab", "a", "b", 1.0), ("bc", "b", "c", 1.0)], [])
START = 1_000_000.0


def order(number: int, kind: OrderKind = OrderKind.LINK_DESTROY, at: float = START) -> Order:
    nodes = (C,) if kind is OrderKind.NODE_ZEROIZE else (A, B)
    link = LinkName("" if kind is OrderKind.NODE_ZEROIZE else "ab")
    return Order(OrderId(f"{number:032x}"), kind, nodes, link, at, "ann")


@dataclass
class SimulatedAgent:
    """Carries out orders that its policy did not hold before; policy and what was done are one write."""

    rules: frozenset[str] = frozenset()
    digest: bytes = b""
    done: list[str] = field(default_factory=list)
    connected: bool = False
    epoch: int = 0

    def apply(self, push: Push) -> None:
        rules = frozenset(push.target.policy.rules)
        self.done += [rule for rule in rules - self.rules if rule.startswith("order/")]
        self.rules, self.digest = rules, push.target.policy.digest


@dataclass
class World:
    """A controller that can be killed between any two of its steps, its disk, and agents."""

    core: Core = field(init=False)
    # The disk.
    rollout: Rollout = field(default_factory=Rollout)
    orders: dict[OrderId, Order] = field(default_factory=dict)
    epoch: int = 0
    now: float = START
    agents: dict[NodeName, SimulatedAgent] = field(
        default_factory=lambda: {node: SimulatedAgent() for node in (A, B, C)}
    )
    events: list[Event] = field(default_factory=list)
    sent: dict[NodeName, Push] = field(default_factory=dict)
    refusing: frozenset[NodeName] = frozenset()
    # Steps until the controller is killed; None for never.
    steps_left: int | None = None

    def __post_init__(self) -> None:
        self.boot()

    def boot(self) -> None:
        self.epoch += 1
        self.steps_left = None
        # What was sent is on its way, whatever becomes of the sender.
        for node, push in self.sent.items():
            if node not in self.refusing:
                self.agents[node].apply(push)
        self.sent.clear()
        for agent in self.agents.values():
            agent.connected = False
        self.core = Core(
            settings=CoreSettings(warmup_seconds=0), planner=routing, epoch=self.epoch, stored=self.rollout
        )
        links = {name: view.link for name, view in NETWORK.links.items()}
        self._execute(self.core.start(NETWORK.nodes, links, {}, self.now, [*self.orders.values()]))

    def handle(self, stimulus: Stimulus) -> None:
        self._execute(self.core.handle(stimulus, self.now))

    def give(self, given: Order) -> None:
        self.orders[given.order_id] = given
        self.handle(OrderPut(given))

    def _execute(self, instructions: list[Instruction]) -> None:
        for instruction in instructions:
            if self.steps_left is not None:
                if self.steps_left == 0:
                    self.boot()
                    return
                self.steps_left -= 1
            match instruction:
                case Emit(event):
                    self.events.append(event)
                case PersistRollout(change):
                    self.rollout = self.rollout.after(change)
                case ForgetOrder(order_id):
                    self.orders.pop(order_id, None)
                case Push(node, _, _):
                    self.sent[node] = instruction

    def connect(self, node: NodeName) -> None:
        agent = self.agents[node]
        if not agent.connected:
            agent.connected = True
            have = agent_pb2.PolicyVersion(epoch=agent.epoch, version=1, digest=agent.digest)
            # From now on it hears this controller, and knows its epoch.
            known, agent.epoch = agent.epoch, self.epoch
            self.handle(PolicyConnected(node, have, known))

    def disconnect(self, node: NodeName) -> None:
        agent = self.agents[node]
        if agent.connected:
            agent.connected = False
            self.sent.pop(node, None)
            self.handle(PolicyDisconnected(node))

    def deliver(self, node: NodeName, *, answered: bool = True) -> None:
        """The agent gets what was sent, if anything; its answer may be lost with the connection."""
        push = self.sent.pop(node, None)
        if push is None:
            return
        refused = [
            agent_pb2.RuleStatus(
                rule_id=rule, status=status_pb2.Status(code=code_pb2.PERMISSION_DENIED, message="may not")
            )
            for rule in push.target.policy.rules
            if rule.startswith("order/") and node in self.refusing
        ]
        digest = push.target.policy.digest
        if not refused:
            self.agents[node].apply(push)
        if not answered:
            self.disconnect(node)
        else:
            self.handle(PolicyNacked(node, digest, tuple(refused)) if refused else PolicyAcked(node, digest))

    def calm(self) -> None:
        """Everybody is there and answers until nothing is left to do."""
        self.steps_left = None
        self.busy()

    def busy(self) -> None:
        """Everybody connects and answers; the controller may be killed meanwhile."""
        for node in self.agents:
            self.connect(node)
        while self.sent:
            self.deliver(next(iter(self.sent)))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events if event.kind.startswith("order_")]


def test_an_order_reaches_all_concerned_and_leaves_disk_and_policies_once_all_have_acknowledged() -> None:
    world = World()
    world.calm()
    world.give(order(1))
    assert set(world.sent) == {A, B}
    world.deliver(A)
    assert world.orders, "b has not acknowledged"
    assert world.agents[A].rules >= {order(1).rule_id}
    assert world.core.orders.waiting(order(1), world.core.distribution.has_rule) == (B,)
    world.deliver(B)
    assert world.orders == {}
    world.calm()
    assert not any(rule.startswith("order/") for agent in world.agents.values() for rule in agent.rules)
    assert [agent.done for agent in world.agents.values()] == [[order(1).rule_id], [order(1).rule_id], []]
    assert world.kinds() == ["order_given", "order_completed"]
    (done,) = (event for event in world.events if event.kind == "order_completed")
    assert (done.link, done.fields["ordered_by"], done.fields["order"]) == ("ab", "ann", order(1).order_id)


def test_the_rule_says_who_ordered_what_and_when() -> None:
    world = World()
    world.calm()
    world.give(order(3, OrderKind.NODE_ZEROIZE))
    assert set(world.sent) == {C}
    rule = agent_pb2.Rule.FromString(world.sent[C].target.policy.rules[order(3).rule_id])
    assert rule.order == agent_pb2.OrderRule(
        order_id=order(3).order_id,
        kind=types_pb2.ORDER_KIND_NODE_ZEROIZE,
        ordered_unix_nanos=int(START * 1e9),
        ordered_by="ann",
    )


def test_an_order_leaves_the_disk_before_its_rule_leaves_any_policy() -> None:
    world = World()
    world.calm()
    world.give(order(1))
    world.deliver(A)
    push = world.sent[B]
    out = world.core.handle(PolicyAcked(B, push.target.policy.digest), world.now)
    steps = [type(i) for i in out if isinstance(i, ForgetOrder | Push)]
    assert steps == [ForgetOrder, Push, Push]


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["give", "connect", "disconnect", "deliver", "lose answer", "kill", "busy", "killed"]
        ),
        st.integers(0, 11),
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_each_agent_carries_out_each_order_once_wherever_the_controller_is_killed(steps: list[Step]) -> None:
    world = World()
    given_orders: list[Order] = []
    for word, number in steps:
        node = (A, B, C)[number % 3]
        match word:
            case "give":
                kind = (OrderKind.LINK_DESTROY, OrderKind.NODE_ZEROIZE)[number % 2]
                given_orders.append(order(len(given_orders), kind))
                world.give(given_orders[-1])
            case "connect":
                world.connect(node)
            case "disconnect":
                world.disconnect(node)
            case "deliver":
                world.deliver(node)
            case "lose answer":
                world.deliver(node, answered=False)
            case "busy":
                world.busy()
            case "kill":
                world.boot()
            case "killed":
                world.steps_left = number
                world.busy()
    world.calm()
    for node, agent in world.agents.items():
        assert sorted(agent.done) == sorted(o.rule_id for o in given_orders if node in o.nodes)
        assert not any(rule.startswith("order/") for rule in agent.rules)
    assert world.orders == {}


def test_a_refused_release_is_over_for_both_ends_and_the_policy_goes_out_without_it() -> None:
    world = World(refusing=frozenset({B}))
    world.calm()
    world.give(order(1, OrderKind.LINK_CLEAR))
    world.deliver(B)
    assert world.orders == {}
    world.calm()
    assert world.agents[B].done == []
    assert not any(rule.startswith("order/") for agent in world.agents.values() for rule in agent.rules)
    assert world.core.distribution.agent(B).in_sync
    (event,) = (event for event in world.events if event.kind == "order_refused")
    assert event.severity is Severity.MAJOR
    assert "'b': PERMISSION_DENIED: may not" in event.message


def test_a_destruction_that_one_end_refuses_still_reaches_the_other() -> None:
    world = World(refusing=frozenset({B}))
    world.connect(B)
    world.deliver(B)
    world.give(order(1))
    world.deliver(B)
    assert world.orders, "a was not there yet"
    world.deliver(B)
    assert world.core.distribution.agent(B).in_sync
    world.calm()
    assert world.agents[A].done == [order(1).rule_id]
    assert world.orders == {}
    assert world.kinds() == ["order_given", "order_refused"]


def test_an_order_that_nobody_answers_is_given_up_after_a_day_and_says_who_was_missing() -> None:
    world = World()
    world.connect(A)
    world.deliver(A)
    world.give(order(1))
    world.deliver(A)
    world.now += ORDER_LIFE_SECONDS - 1
    world.handle(Tick())
    assert world.orders
    world.now += 1
    world.handle(Tick())
    assert world.orders == {}
    (event,) = (event for event in world.events if event.kind == "order_expired")
    assert event.severity is Severity.MAJOR
    assert event.message.endswith("not acknowledged by b")
    world.calm()
    assert world.agents[B].done == []


@pytest.mark.parametrize(
    ("gone", "kind"),
    [(LinkDeleted(AB), OrderKind.LINK_DESTROY), (NodeDeleted(C), OrderKind.NODE_ZEROIZE)],
)
def test_an_order_about_what_is_gone_is_withdrawn(gone: LinkDeleted | NodeDeleted, kind: OrderKind) -> None:
    world = World()
    world.give(order(1, kind))
    world.handle(gone)
    assert world.orders == {}
    assert world.kinds() == ["order_given", "order_withdrawn"]


def test_an_agent_that_refuses_its_policy_for_another_reason_still_gets_its_orders() -> None:
    world = World()
    world.calm()
    kept = world.agents[A].rules
    # An abort threshold that the node's guard does not allow, say.
    world.handle(LinkPut(replace(NETWORK.links[AB].link, abort_qber_ratio=0.2)))
    refused = world.sent.pop(A)
    status = agent_pb2.RuleStatus(
        rule_id="link/ab", status=status_pb2.Status(code=code_pb2.PERMISSION_DENIED)
    )
    world.handle(PolicyNacked(A, refused.target.policy.digest, (status,)))
    assert A not in world.sent
    world.give(order(1))
    assert world.sent[A].target.policy.digest != refused.target.policy.digest
    # With the order, what it refused comes first; then, refused again, the order alone.
    world.handle(PolicyNacked(A, world.sent.pop(A).target.policy.digest, (status,)))
    assert world.sent[A].target.version > refused.target.version
    world.deliver(A)
    assert world.agents[A].rules == kept | {order(1).rule_id}
    assert not world.core.distribution.agent(A).in_sync
    for _ in ("the link's new threshold", "the order"):
        world.deliver(B)
    assert world.orders == {}
    # The rule is withdrawn in the same way.
    world.handle(PolicyNacked(A, world.sent.pop(A).target.policy.digest, (status,)))
    world.deliver(A)
    assert world.agents[A].rules == kept
    assert A not in world.sent
    # What the agent refused can still be given to it, as the newest version.
    applied = world.core.distribution.agent(A).applied
    assert applied is not None
    world.disconnect(A)
    world.connect(A)
    assert world.sent[A].target.version > applied.version
    world.calm()
    assert world.core.distribution.agent(A).in_sync


def test_orders_that_are_refused_with_everything_else_are_not_sent_for_ever() -> None:
    world = World()
    world.calm()
    world.handle(LinkPut(replace(NETWORK.links[AB].link, abort_qber_ratio=0.2)))
    world.give(order(1))
    for _ in range(10):
        push = world.sent.pop(A, None)
        if push is None:
            break
        world.handle(PolicyNacked(A, push.target.policy.digest, (agent_pb2.RuleStatus(),)))
    else:
        pytest.fail("the agent is sent what it refused, again and again")
    assert world.orders
