"""Plans that are kept, and streams that are pinned to one: by the core and by routing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.common.names import LinkName, NodeName, PathId, StreamName
from keyweave.controller import routing
from keyweave.controller.instructions import KeepPlan, PersistPin
from keyweave.controller.plan_records import PlanRecord
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.reconcile.plan_book import infeasible, same_paths
from keyweave.controller.reconcile.plan_changes import permits
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import LinkDeleted, LinkPut, PlanPinned, StreamDeleted
from keyweave.controller.topology import NO_PIN, Pin, Plan, StreamPlan
from keyweave.v1 import agent_pb2
from tests.unit.core_run import NETWORK, RATES, START, A, B, Run, S, events, observed, reported
from tests.unit.networks import random_network, snapshot, stream

OVER_Q = {"a-p": 300.0, "b-p": 300.0, "a-q": 5000.0, "b-q": 5000.0}


@pytest.fixture
def running() -> Run:
    run = Run()
    run.connect()
    run.measure(6, RATES)
    assert run.first_path() == ("a", "p", "b")
    return run


def kept(run: Run) -> list[PlanRecord]:
    return [one.record for one in run.done if isinstance(one, KeepPlan)]


def first_nodes(plan: Plan) -> tuple[NodeName, ...]:
    return plan.streams[S].path_sets[0].paths[0].nodes


def ways(plan: StreamPlan) -> set[PathId]:
    return {path.path_id for one in plan.path_sets if one.rank == 0 for path in one.paths}


def moved_to_q(run: Run) -> None:
    """The link over p fails and comes back: the stream stays where it went."""
    dark = agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL
    run.handle(reported(A, dark, link="a-p", reason="cut"))
    run.measure(6, RATES, without=("a-p",))
    run.handle(reported(A, agent_pb2.AGENT_EVENT_KIND_LINK_RESTORED, link="a-p", reason="spliced"))
    run.measure(20, RATES)
    assert run.first_path() == ("a", "q", "b")


def test_a_plan_is_kept_once_it_has_stood_and_again_only_when_paths_differ(running: Run) -> None:
    assert [first_nodes(one.plan) for one in kept(running)] == [("a", "p", "b")]
    assert kept(running)[0].moved == (S,)
    # Rates that move are no other plan.
    running.measure(12, {name: 0.6 * rate for name, rate in RATES.items()})
    assert len(kept(running)) == 1
    moved_to_q(running)
    assert [first_nodes(one.plan) for one in kept(running)][1:] == [("a", "q", "b")]


def test_a_plan_that_does_not_stand_is_not_kept() -> None:
    run = Run()
    run.connect()
    run.measure(2.6, RATES)
    assert run.first_path() == ("a", "p", "b")
    before = len(kept(run))
    dark = agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL
    run.handle(reported(A, dark, link="a-p", reason="cut"))
    run.measure(6, RATES, without=("a-p",))
    assert before == 0
    assert [first_nodes(one.plan) for one in kept(run)] == [("a", "q", "b")]


def test_a_stream_goes_back_to_the_paths_it_is_pinned_to_and_stays(running: Run) -> None:
    earlier = kept(running)[0].plan
    moved_to_q(running)
    before = running.core.plan.version
    running.handle(PlanPinned(Pin(earlier.version, running.now, "olga", earlier.streams)))
    running.measure(1, RATES)
    assert running.first_path() == ("a", "p", "b")
    assert running.core.plan.version > before
    # Not even a way that is five times better moves it.
    running.measure(30, OVER_Q)
    assert running.first_path() == ("a", "p", "b")
    running.handle(PlanPinned(NO_PIN))
    running.measure(12, OVER_Q)
    assert running.first_path() == ("a", "q", "b")
    assert [event.fields["version"] for event in events(running.done, "plan_pinned")] == [
        str(earlier.version),
        "0",
    ]


def pinned(run: Run) -> Pin:
    plan = kept(run)[0].plan
    pin = Pin(plan.version, run.now, "olga", plan.streams)
    run.handle(PlanPinned(pin))
    run.measure(1, RATES)
    return pin


def test_a_pin_ends_when_its_path_fails_and_says_so(running: Run) -> None:
    pinned(running)
    running.handle(reported(A, agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL, link="a-p", reason="cut"))
    running.measure(3, RATES, without=("a-p",))
    assert running.first_path() == ("a", "q", "b")
    (event,) = events(running.done, "plan_pin_dropped")
    assert (event.stream, event.fields["reason"]) == ("s", "link 'a-p' is down")
    assert [one.pin for one in running.done if isinstance(one, PersistPin)] == [NO_PIN]
    assert running.core.snapshot().pin == NO_PIN


def test_a_pin_ends_with_maintenance_of_its_path_and_with_its_stream(running: Run) -> None:
    pinned(running)
    running.handle(LinkPut(replace(running.network.links[LinkName("a-p")].link, maintenance=True)))
    running.measure(2, RATES)
    assert [one.fields["reason"] for one in events(running.done, "plan_pin_dropped")] == [
        "link 'a-p' is in maintenance"
    ]
    again = Run()
    again.connect()
    again.measure(6, RATES)
    pinned(again)
    again.handle(StreamDeleted(S))
    again.measure(1, RATES)
    assert again.core.plans.pin == NO_PIN


def test_a_silent_link_does_not_end_a_pin(running: Run) -> None:
    pinned(running)
    running.measure(8, RATES, without=("a-p",))
    assert running.core.plans.pin.streams.keys() == {S}
    assert running.first_path() == ("a", "p", "b")


def test_what_was_pinned_is_pinned_after_a_restart(running: Run) -> None:
    moved_to_q(running)
    plan = kept(running)[0].plan
    pin = Pin(plan.version, running.now, "olga", plan.streams)
    core = Core(settings=CoreSettings(), planner=routing, epoch=2, stored=Rollout())
    links = {name: view.link for name, view in NETWORK.links.items()}
    core.start(NETWORK.nodes, links, NETWORK.streams, START, pin=pin)
    assert core.snapshot().pin == pin
    assert core.handle(observed("a-p", A, START + 1, 1000.0), START + 1) is not None
    assert core.snapshot().pin == pin


def test_what_is_infeasible_is_told_with_the_reason(running: Run) -> None:
    plan = running.core.plan.streams[S]
    network = running.core.snapshot()

    def why(planned: StreamPlan = plan) -> str:
        now = running.core.snapshot()
        return infeasible(planned, now, permits(now))

    assert why() == ""
    assert why(replace(plan, path_sets=())) == "it had no quantum path by that plan"
    assert why(replace(plan, stream=StreamName("other"))) == "there is no such stream any more"
    running.handle(LinkDeleted(LinkName("a-p")))
    assert why() == "link 'a-p' is gone"
    swapped = replace(network.streams[S], source=B, target=A)
    other = replace(network, streams={S: swapped})
    assert "has changed" in infeasible(plan, other, permits(other))


@given(seed=st.integers(0, 10_000), nodes=st.integers(4, 9))
def test_pinned_streams_keep_their_paths_and_no_link_is_given_away_twice(seed: int, nodes: int) -> None:
    rows = random_network(seed, nodes, nodes + 4)
    streams = [
        stream(f"s{i}", f"n{i}", f"n{(i + 2) % nodes}", max_rate_bps=2000.0, priority=i % 2)
        for i in range(nodes - 1)
    ]
    before = routing.plan_streams(snapshot(rows, streams), None, 1)
    # Later every other link gives a tenth: without a pin, streams would leave it.
    weaker = [(name, a, b, rate / 10 if i % 2 else rate) for i, (name, a, b, rate) in enumerate(rows)]
    placed = [name for name, plan in sorted(before.streams.items()) if plan.rate_bps > 0]
    some = {name: before.streams[name] for name in placed[::2]}
    network = replace(snapshot(weaker, streams, version=2), pin=Pin(1, 0.0, "olga", some))
    after = routing.plan_streams(network, before, 2)
    for name, plan in some.items():
        # Another way only where streams of higher priority leave nothing on all of its own.
        assert ways(after.streams[name]) <= ways(plan) or network.streams[name].priority == 0
    for link, load in routing.link_load(after).items():
        assert load <= network.links[link].usable_rate_bps * 1.001


def test_plans_with_other_rates_have_the_same_paths(running: Run) -> None:
    plan = running.core.plan
    slower = replace(plan, streams={S: replace(plan.streams[S], rate_bps=1.0)})
    assert same_paths(plan, slower)
    assert not same_paths(plan, replace(plan, streams={}))
