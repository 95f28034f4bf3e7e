"""Whatever is lost, late, refused or restarted: no end uses a path that a node on it does not carry."""

from collections.abc import Collection

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from keyweave.common.names import NodeName, StreamName
from keyweave.controller.topology import Path
from tests.unit.networks import snapshot, stream
from tests.unit.policed import Network, path, plan

LINKS = [
    (f"{a}-{b}", a, b, 1000.0)
    for a, b in (("a", "p"), ("b", "p"), ("a", "q"), ("b", "q"), ("a", "r"), ("b", "r"), ("p", "q"))
]
OVER_P, OVER_Q, OVER_R = path("s", "a", "p", "b"), path("s", "a", "q", "b"), path("s", "a", "r", "b")
OVER_BOTH = path("s", "a", "p", "q", "b")
CHOICES: list[list[list[Path]]] = [
    [],
    [[OVER_P]],
    [[OVER_Q]],
    [[OVER_R]],
    [[OVER_BOTH]],
    [[OVER_P], [OVER_Q]],
    [[OVER_Q], [OVER_R]],
    [[OVER_P, OVER_Q]],
    [[OVER_P, OVER_R]],
]
NODES = ("a", "b", "p", "q", "r")


def network() -> Network:
    return Network(snapshot(LINKS, [stream("s", "a", "b")]))


def used(net: Network, name: str) -> set[str]:
    return {path_id for path_id, _ in net.agents[NodeName(name)].uses()}


class Reality(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.net = network()
        self.net.calm_down()
        self.plans = 0
        self.chosen: list[list[Path]] = []

    @rule(sets=st.sampled_from(CHOICES), backups=st.integers(0, 1))
    def a_new_plan_is_made(self, sets: list[list[Path]], backups: int) -> None:
        self._adopt(sets, backups, None)

    @rule(sets=st.sampled_from(CHOICES), crash_after=st.integers(0, 3))
    def the_controller_crashes_while_it_carries_out_a_new_plan(
        self, sets: list[list[Path]], crash_after: int
    ) -> None:
        self._adopt(sets, 0, crash_after)
        stored = self.net.stored.plan.streams
        self.chosen = [list(s.paths) for plan in stored.values() for s in plan.path_sets]

    def _adopt(self, sets: list[list[Path]], backups: int, crash_after: int | None) -> None:
        self.plans += 1
        self.chosen = sets
        backups = min(backups, max(0, len(sets) - 1))
        self.net.adopt(plan(self.plans, {"s": sets}, backups=backups), crash_after=crash_after)

    @rule(name=st.sampled_from(NODES), crash_after=st.integers(0, 3))
    def the_controller_crashes_while_it_follows_an_acknowledgement(self, name: str, crash_after: int) -> None:
        agent = self.net.agents[NodeName(name)]
        if agent.inbox:
            self.net.deliver(name)
        if agent.answers:
            self.net.acknowledge(name, crash_after=crash_after)

    @rule()
    def the_controller_restarts(self) -> None:
        self.net.restart()

    @rule(name=st.sampled_from(NODES))
    def an_agent_connects_or_its_connection_breaks(self, name: str) -> None:
        if self.net.agents[NodeName(name)].connected:
            self.net.disconnect(name)
        else:
            self.net.connect(name)

    @rule(name=st.sampled_from(NODES))
    def an_agent_applies_a_policy_or_is_heard_to_have(self, name: str) -> None:
        self._step(name)

    @rule(name=st.sampled_from(NODES))
    def an_acknowledgement_is_lost_with_the_connection(self, name: str) -> None:
        if self.net.agents[NodeName(name)].inbox:
            self.net.deliver(name)
            self.net.disconnect(name)

    @rule(away=st.sets(st.sampled_from(NODES), max_size=2), steps=st.integers(1, 30))
    def all_but_some_make_progress(self, away: set[str], steps: int) -> None:
        for count in range(steps):
            self._step(NODES[count % len(NODES)], unless=away)

    def _step(self, name: str, unless: Collection[str] = ()) -> None:
        agent = self.net.agents[NodeName(name)]
        if agent.answers and name not in unless:
            self.net.acknowledge(name)
        elif agent.inbox and name not in unless:
            self.net.deliver(name)
            self.net.check()

    @rule(name=st.sampled_from(NODES))
    def a_policy_is_refused(self, name: str) -> None:
        if self.net.agents[NodeName(name)].inbox:
            self.net.refuse(name)

    @rule(name=st.sampled_from(NODES))
    def an_agent_loses_its_disk(self, name: str) -> None:
        self.net.wipe(name)

    @precondition(lambda self: self.plans)
    @rule()
    def in_the_end_the_plan_is_what_is_used(self) -> None:
        for name in NODES:  # a refusal stands until the agent comes back
            if self.net.agents[NodeName(name)].connected:
                self.net.disconnect(name)
        self.net.calm_down()
        wanted = {p.path_id for paths in self.chosen for p in paths}
        assert used(self.net, "a") == used(self.net, "b") == wanted
        assert not any(one.retiring for one in self.net.distribution.streams.values())
        assert all(self.net.distribution.agent(NodeName(name)).in_sync for name in NODES)

    @invariant()
    def no_end_uses_what_a_node_does_not_carry(self) -> None:
        self.net.check()


Reality.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestReality = Reality.TestCase


def test_transit_and_far_end_have_a_path_before_the_near_end_may_use_it() -> None:
    net = network()
    net.calm_down()
    net.adopt(plan(1, {"s": [[OVER_P]]}))
    for name in ("a", "b"):
        net.deliver(name)
        net.acknowledge(name)
    assert used(net, "a") == set()
    net.deliver("p")
    assert used(net, "a") == set()
    net.acknowledge("p")
    net.deliver("a")
    assert used(net, "a") == {OVER_P.path_id}


def test_a_stream_goes_on_over_its_old_path_until_the_new_one_is_established() -> None:
    net = network()
    net.adopt(plan(1, {"s": [[OVER_P]]}))
    net.calm_down()
    net.adopt(plan(2, {"s": [[OVER_Q]]}))
    seen = []
    while any(agent.inbox or agent.answers for agent in net.agents.values()):
        for name in NODES:
            if net.agents[NodeName(name)].inbox:
                net.deliver(name)
                seen.append(used(net, "a"))
            elif net.agents[NodeName(name)].answers:
                net.acknowledge(name)
            net.check()
    assert all(seen), "at no time is the stream without a path"
    assert seen[-1] == {OVER_Q.path_id}
    assert OVER_P.path_id not in net.agents[NodeName("p")].carries()


def test_a_transit_node_that_refuses_leaves_the_stream_on_its_old_path() -> None:
    net = network()
    net.adopt(plan(1, {"s": [[OVER_P]]}))
    net.calm_down()
    net.adopt(plan(2, {"s": [[OVER_Q]]}))
    net.refuse("q")
    net.calm_down()
    assert used(net, "a") == used(net, "b") == {OVER_P.path_id}
    assert not net.agents[NodeName("q")].inbox, "what was refused is not sent again"


def test_a_refused_policy_is_sent_again_once_something_else_is_desired_or_the_agent_is_back() -> None:
    net = network()
    net.connect_all()
    net.calm_down()
    net.adopt(plan(1, {"s": [[OVER_Q]]}))
    net.refuse("q")
    net.adopt(plan(2, {"s": [[OVER_Q], [OVER_BOTH]]}))
    assert net.agents[NodeName("q")].inbox
    net.refuse("q")
    net.disconnect("q")
    net.connect("q")
    assert net.agents[NodeName("q")].inbox


def test_a_path_whose_end_is_away_stays_in_transit_until_that_end_has_left_it() -> None:
    net = network()
    net.adopt(plan(1, {"s": [[OVER_P]]}))
    net.calm_down()
    net.disconnect("a")
    net.adopt(plan(2, {"s": [[OVER_Q]]}))
    net.disconnect("p")
    net.connect("p")
    while net.agents[NodeName("p")].inbox:
        net.deliver("p")
        net.acknowledge("p")
    assert OVER_P.path_id in net.agents[NodeName("p")].carries()
    net.calm_down()
    assert OVER_P.path_id not in net.agents[NodeName("p")].carries()


def test_a_lost_acknowledgement_counts_for_neither_side_until_the_agent_says_what_it_has() -> None:
    net = network()
    net.adopt(plan(1, {"s": [[OVER_P]]}))
    net.calm_down()
    net.adopt(plan(2, {"s": []}))
    net.deliver("a")
    net.disconnect("a")  # applied, but its acknowledgement is lost
    assert OVER_P.path_id in net.distribution.agent(NodeName("a")).uses
    net.connect("a")
    assert OVER_P.path_id not in net.distribution.agent(NodeName("a")).uses


def test_a_path_that_may_have_been_removed_is_established_anew_before_it_is_used_again() -> None:
    net = network()
    net.adopt(plan(1, {"s": [[OVER_P]]}))
    net.calm_down()
    net.adopt(plan(2, {"s": []}))
    for name in ("a", "b"):
        net.deliver(name)
        net.acknowledge(name)
    net.deliver("p")
    net.disconnect("p")  # p has dropped the path; the controller cannot know
    net.adopt(plan(3, {"s": [[OVER_P]]}))
    for _ in range(4):
        for name in ("a", "b"):
            if net.agents[NodeName(name)].inbox:
                net.deliver(name)
                net.acknowledge(name)
    assert used(net, "a") == used(net, "b") == set()
    net.calm_down()
    assert used(net, "a") == {OVER_P.path_id}


def test_the_store_knows_of_a_path_before_an_end_may_use_it() -> None:
    net = network()
    net.calm_down()
    net.adopt(plan(1, {"s": [[OVER_P]]}))
    for name in ("a", "b", "p"):
        net.deliver(name)
    for name in ("a", "b"):
        net.acknowledge(name)
    net.acknowledge("p", crash_after=2)  # the store is written, the first end hears of it, and no more
    assert OVER_P.path_id in net.stored.streams[StreamName("s")].established
    assert used(net, "a") == {OVER_P.path_id}
    net.connect("p")
    net.adopt(plan(2, {"s": []}))
    while net.agents[NodeName("p")].inbox:
        net.deliver("p")
        net.acknowledge("p")
    net.check()


def test_an_agent_that_comes_back_with_nothing_is_relied_on_for_nothing_even_after_a_restart() -> None:
    net = network()
    net.adopt(plan(1, {"s": [[OVER_P]]}))
    net.calm_down()
    net.restart()
    net.connect("a")
    net.wipe("p")
    net.connect("p")
    net.deliver("a")
    assert used(net, "a") == set()
    net.calm_down()
    assert used(net, "a") == {OVER_P.path_id}


def test_changes_that_come_while_a_push_is_out_coalesce_into_one() -> None:
    net = network()
    net.connect_all()
    net.calm_down()
    before = net.distribution.agent(NodeName("p")).desired
    assert before is not None
    for version, sets in enumerate(([[OVER_P]], [[OVER_BOTH]], [[OVER_P], [OVER_BOTH]]), start=1):
        net.adopt(plan(version, {"s": sets}))
    assert len(net.agents[NodeName("p")].inbox) == 1
    net.deliver("p")
    net.acknowledge("p")
    assert len(net.agents[NodeName("p")].inbox) == 1
    net.deliver("p")
    assert net.agents[NodeName("p")].carries() == {OVER_P.path_id, OVER_BOTH.path_id}


def test_a_restarted_controller_only_confirms() -> None:
    net = network()
    net.adopt(plan(1, {"s": [[OVER_P], [OVER_Q]]}, backups=1))
    net.calm_down()
    policies = {name: agent.policy for name, agent in net.agents.items()}
    net.restart()
    for name in NODES:
        net.connect(name)
        agent = net.agents[NodeName(name)]
        assert not agent.inbox
        assert agent.confirmed[-1].digest == policies[NodeName(name)].digest


def test_an_agent_that_ran_by_a_store_that_is_lost_is_relied_on_for_nothing() -> None:
    net = network()
    net.adopt(plan(1, {"s": [[OVER_P]]}))
    net.calm_down()
    backup = net.stored
    net.restart()
    net.connect_all()
    net.adopt(plan(2, {"s": [[OVER_Q]]}))
    net.calm_down()
    net.epoch, net.stored = 10, backup  # the operator restored a backup and raised the epoch
    net.restart()
    net.connect("a")
    net.deliver("a")
    assert used(net, "a") == set(), "p no longer carries what the backup says is established"
    net.calm_down()
    assert used(net, "a") == {OVER_P.path_id}


def test_the_store_is_written_only_when_something_changed() -> None:
    net = network()
    net.adopt(plan(1, {"s": [[OVER_P]]}))
    net.calm_down()
    writes = net.writes
    net.disconnect("a")
    net.connect("a")
    net.calm_down()
    assert net.writes == writes


def test_a_path_stays_for_an_end_that_was_away_through_a_lost_disk_and_a_crash() -> None:
    net = network()
    net.adopt(plan(1, {"s": [[OVER_P]]}))
    net.calm_down()
    net.wipe("a")
    net.adopt(plan(2, {"s": []}))
    net.connect("a")
    net.adopt(plan(3, {"s": []}), crash_after=0)
    net.connect("a")
    assert used(net, "b") == {OVER_P.path_id}, "b was not heard of since"
    if net.agents[NodeName("a")].inbox:
        net.deliver("a")
    net.check()
    net.calm_down()
    assert used(net, "b") == set()
    assert not any(one.retiring for one in net.distribution.streams.values())
