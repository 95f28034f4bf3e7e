"""What is kept up to date is what looking at everything comes to; and no dead link comes back."""

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keyweave.common.names import LinkName, NodeName, OrderId, StreamName
from keyweave.controller import routing
from keyweave.controller.instructions import Confirm, Instruction, Optimise, Push, WakeAt
from keyweave.controller.orders import Order, OrderKind
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.reconcile.distribution import NO_RULES, Distribution
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import (
    LinkPut,
    NodePut,
    Optimised,
    OrderPut,
    PolicyAcked,
    PolicyConnected,
    PolicyDisconnected,
    PolicyNacked,
    Stimulus,
    StreamDeleted,
    StreamPut,
    Tick,
)
from keyweave.controller.topology import Condition, Link, Node, Snapshot, StreamPlan
from keyweave.v1 import agent_pb2
from tests.unit.core_run import observed, reported
from tests.unit.networks import stream
from tests.unit.whole_compile import compile_policies

NODES = tuple(NodeName(name) for name in "abpqr")
ENDS = [("a", "p"), ("b", "p"), ("a", "q"), ("b", "q"), ("p", "q"), ("a", "r"), ("r", "b")]
LINKS = tuple(LinkName(f"{one}-{other}") for one, other in ENDS)
STREAMS = tuple(StreamName(name) for name in ("s", "t", "u"))
START = 1_000_000.0


class Whole(Distribution):
    """Looks at all streams and compiles everything whenever it settles."""

    def settle(self, snapshot_of: Callable[[], Snapshot]) -> list[Instruction]:
        self._moving |= self.streams.keys()
        self._stirred |= self._agents.keys()
        self._compiled = False
        return super().settle(snapshot_of)

    def _compile(self, snapshot: Snapshot) -> None:
        policies = compile_policies(snapshot, self.rollout)
        for node in sorted(policies.keys() | self._agents.keys()):
            if not self._is_busy(node):
                self._desire(node, policies.get(node, NO_RULES))


class Both:
    """The distribution that is used and the one that looks at everything, side by side."""

    def __init__(self, epoch: int, stored: Rollout) -> None:
        self._one, self._other = Distribution(epoch, stored), Whole(epoch, stored)

    def __getattr__(self, name: str) -> Any:
        used = getattr(self._one, name)
        if not callable(used):
            return used

        def call(*arguments: Any) -> Any:
            expected, found = getattr(self._other, name)(*arguments), used(*arguments)
            if name == "settle":
                assert found == expected
                assert self._one.streams == self._other.streams
            return found

        return call


def link(name: LinkName, **fields: Any) -> Link:
    one, other = name.split("-")
    return Link(name, NodeName(one), NodeName(other), **fields)


def node(name: NodeName, **fields: Any) -> Node:
    return Node(name, **{"key_plane_address": f"{name}:7000", **fields})


class Reality(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.wake: float | None = None
        self.asked: Optimise | None = None
        self.sent: dict[NodeName, Push] = {}
        self.has: dict[NodeName, bytes] = dict.fromkeys(NODES, b"")
        self.orders = 0
        self.core = Core(
            settings=CoreSettings(warmup_seconds=1.0), planner=routing, epoch=1, stored=Rollout()
        )
        self.core.distribution = Both(1, Rollout())  # type: ignore[assignment]
        self.carry_out(
            self.core.start(
                {name: node(name) for name in NODES},
                {name: link(name) for name in LINKS},
                {name: stream(name, "a", "b") for name in STREAMS[:2]},
                self.now,
            )
        )
        for name in NODES:
            self.connect(name)
        for _ in range(10):
            self.now += 0.2
            for measured in LINKS:
                for end in map(NodeName, measured.split("-")):
                    self.handle(observed(measured, end, self.now, 5000.0))
        self.advance(2.0)
        self.the_optimiser_answers()
        assert links_in_use(self.core.plan.streams[STREAMS[0]])

    def handle(self, stimulus: Stimulus) -> None:
        self.carry_out(self.core.handle(stimulus, self.now))

    def carry_out(self, instructions: list[Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case WakeAt(when):
                    self.wake = when
                case Optimise():
                    assert self.asked is None, "one at a time"
                    self.asked = instruction
                case Push(name, _, _):
                    assert name not in self.sent, "one push at a time"
                    check_changes(instruction)
                    self.sent[name] = instruction
                case Confirm(name, _, digest):
                    assert self.has[name] == digest

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(1000):
            if self.wake is None or self.wake > until:
                break
            self.now, self.wake = max(self.now, self.wake), None
            self.handle(Tick())
        else:
            raise AssertionError("the core wakes and wakes")
        self.now = until

    def connect(self, name: NodeName) -> None:
        epoch = 1 if self.has[name] else 0
        have = agent_pb2.PolicyVersion(epoch=epoch, version=1, digest=self.has[name])
        self.handle(PolicyConnected(name, have, epoch))

    @rule(name=st.sampled_from(LINKS), restored=st.booleans())
    def a_link_breaks_or_comes_back(self, name: LinkName, restored: bool) -> None:
        kind = (
            agent_pb2.AGENT_EVENT_KIND_LINK_RESTORED
            if restored
            else agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL
        )
        self.handle(reported(NodeName(name.split("-")[0]), kind, link=name))

    @rule(seconds=st.sampled_from([0.1, 1.0, 15.0]), rate=st.sampled_from([500.0, 5000.0]))
    def time_goes_by(self, seconds: float, rate: float) -> None:
        self.advance(seconds)
        for name in LINKS:
            for end in map(NodeName, name.split("-")):
                if name in self.core.links:
                    self.handle(observed(name, end, self.now, rate))

    @rule()
    def the_optimiser_answers(self) -> None:
        if self.asked is not None:
            asked, self.asked = self.asked, None
            plan = routing.plan_streams(asked.snapshot, asked.basis, asked.previous.version + 1)
            self.handle(Optimised(asked.number, plan))

    @rule(
        name=st.sampled_from(STREAMS),
        ends=st.sampled_from([("a", "b"), ("b", "a"), ("p", "r")]),
        k=st.integers(1, 2),
        avoid=st.sampled_from([[], ["q"]]),
        rate=st.sampled_from([0.0, 300.0]),
    )
    def a_stream_is_put(
        self, name: StreamName, ends: tuple[str, str], k: int, avoid: list[str], rate: float
    ) -> None:
        self.handle(StreamPut(stream(name, *ends, k=k, avoid_nodes=avoid, min_rate_bps=rate)))

    @rule(name=st.sampled_from(STREAMS))
    def a_stream_is_deleted(self, name: StreamName) -> None:
        self.handle(StreamDeleted(name))

    @rule(
        name=st.sampled_from(NODES),
        address=st.sampled_from(["", "here:1", "there:2"]),
        maintenance=st.booleans(),
    )
    def a_node_is_put(self, name: NodeName, address: str, maintenance: bool) -> None:
        self.handle(NodePut(node(name, key_plane_address=address, maintenance=maintenance)))

    @rule(name=st.sampled_from(LINKS), maintenance=st.booleans(), disabled=st.booleans())
    def a_link_is_put(self, name: LinkName, maintenance: bool, disabled: bool) -> None:
        self.handle(LinkPut(link(name, maintenance=maintenance, disabled=disabled)))

    @rule(name=st.sampled_from(LINKS))
    def an_order_is_given(self, name: LinkName) -> None:
        self.orders += 1
        ends = tuple(map(NodeName, name.split("-")))
        order = Order(OrderId(f"{self.orders:032x}"), OrderKind.LINK_CLEAR, ends, name, self.now, "operator")
        self.handle(OrderPut(order))

    @rule(name=st.sampled_from(NODES))
    def an_agent_applies_what_it_was_sent(self, name: NodeName) -> None:
        push = self.sent.pop(name, None)
        if push is not None:
            self.has[name] = push.target.policy.digest
            self.handle(PolicyAcked(name, push.target.policy.digest))

    @rule()
    def all_agents_apply_what_they_were_sent(self) -> None:
        for _ in range(100):
            if not self.sent:
                break
            self.an_agent_applies_what_it_was_sent(next(iter(self.sent)))
        else:
            raise AssertionError("pushes without end")

    @rule(name=st.sampled_from(NODES))
    def an_agent_refuses_what_it_was_sent(self, name: NodeName) -> None:
        push = self.sent.pop(name, None)
        if push is not None:
            self.handle(PolicyNacked(name, push.target.policy.digest, ()))

    @rule(name=st.sampled_from(NODES), applied=st.booleans(), wiped=st.booleans())
    def an_agent_comes_back(self, name: NodeName, applied: bool, wiped: bool) -> None:
        push = self.sent.pop(name, None)
        if push is not None and applied:
            self.has[name] = push.target.policy.digest
        if wiped:
            self.has[name] = b""
        self.handle(PolicyDisconnected(name))
        self.connect(name)

    @invariant()
    def no_stream_is_planned_first_over_a_forbidden_link_or_one_that_is_dead_with_no_plan_coming(
        self,
    ) -> None:
        # Agents carry it on over what they hold, or there is nothing: until everything is planned.
        coming = self.asked is not None or self.core._planning.deadline is not None
        for plan in self.core.plan.streams.values():
            for name in links_in_use(plan):
                view = self.core.links[name].view
                assert coming or view.condition is not Condition.DOWN, f"{plan.stream} over {name}"
                assert not view.link.disabled, f"{plan.stream} over {name}"


def check_changes(push: Push) -> None:
    """What a push says has changed makes of the base what is desired."""
    if push.base is not None:
        rules = {**push.base.rules, **push.target.policy.changes_from(push.base)}
        left = {name: data for name, data in rules.items() if data is not None}
        assert left == dict(push.target.policy.rules)


def links_in_use(plan: StreamPlan) -> set[LinkName]:
    return {
        one
        for path_set in plan.path_sets
        if path_set.rank == 0
        for path in path_set.paths
        for one in path.links
    }


Reality.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestReality = Reality.TestCase
