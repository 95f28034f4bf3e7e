"""Repairs while the optimiser is at work: they are not held up, and what it answers cannot undo them."""

from dataclasses import replace

import pytest

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller import routing
from keyweave.controller.instructions import Instruction
from keyweave.controller.reconcile.plan_changes import still_holds
from keyweave.controller.reconcile.planning import SLICE_STREAMS
from keyweave.controller.stimuli import LinkPut, Optimised, StreamDeleted, StreamPut
from keyweave.controller.topology import Link, Plan, Snapshot, Stream
from keyweave.v1 import agent_pb2
from tests.unit.core_run import LINKS, NETWORK, RATES, A, B, P, Q, Run, S, events, pushes, reported
from tests.unit.networks import snapshot, stream

LOST = agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL
T = StreamName("t")


@pytest.fixture
def running() -> Run:
    """All agents connected, all links steady, and an optimiser that answers when the test says so."""
    run = Run()
    run.connect()
    run.measure(10.0, RATES)
    assert run.first_path() == (A, P, B)
    run.optimising = False
    return run


def begin(run: Run) -> None:
    """Give the optimiser something to do."""
    run.handle(StreamPut(stream("t", "b", "q", max_hops=1)))
    run.advance(0.2)
    assert run.asked is not None


def lose(run: Run, link: str) -> list[Instruction]:
    """One end of a link loses its signal."""
    return run.handle(reported(NodeName(link[0]), LOST, link=link))


def test_a_stream_whose_agents_hold_a_backup_that_stands_is_left_to_them_until_everything_is_planned(
    running: Run,
) -> None:
    before = running.core.plan.streams[S]
    out = lose(running, "a-p")
    assert running.core.plan.streams[S] is before
    assert not pushes(out)
    running.advance(1.0)
    running.optimise()
    assert running.first_path() == (A, Q, B)


def test_a_stream_is_moved_at_once_if_its_agents_may_not_hold_the_backup() -> None:
    run = Run(answering=False)
    run.connect()
    run.measure(10.0, RATES)
    out = lose(run, "a-p")
    assert run.first_path() == (A, Q, B)
    assert events(out, "plan_changed")


# Four ways from a to b, of which agents are given three.
FOUR_WAYS = [(f"{end}-{over}", end, over, 1.0) for over in "pqxy" for end in "ab"]
FOUR_RATES = {**RATES, "a-x": 3500.0, "b-x": 3500.0, "a-y": 3000.0, "b-y": 3000.0}


def with_four_ways(wanted: Stream) -> tuple[Run, list[NodeName]]:
    """As `running`; and over which nodes the ways go, the one that agents do not hold last."""
    run = Run(network=snapshot(FOUR_WAYS, [wanted]))
    run.connect()
    run.measure(10.0, FOUR_RATES)
    run.optimising = False
    held = [p.nodes[1] for s in run.core.distribution.held_sets(S, ()) for p in s.paths]
    (other,) = {NodeName(over) for over in "pqxy"} - set(held)
    return run, [*held, other]


def test_a_stream_that_was_left_to_its_agents_is_moved_at_once_when_their_backups_fail_as_well() -> None:
    run, (first, second, third, other) = with_four_ways(stream("s", "a", "b", max_rate_bps=1000.0))
    lose(run, f"a-{first}")
    lose(run, f"a-{second}")
    assert run.first_path() == (A, first, B), "its agents have one more"
    lose(run, f"a-{third}")
    assert run.first_path() == (A, other, B)


def test_a_stream_is_moved_at_once_if_what_its_agents_hold_has_no_room_for_its_minimum_rate() -> None:
    wanted = stream("s", "a", "b", max_rate_bps=1000.0, min_rate_bps=900.0)
    run, (first, second, third, other) = with_four_ways(wanted)
    run.measure(10.0, FOUR_RATES | {f"{end}-{over}": 300.0 for end in "ab" for over in (second, third)})
    assert run.first_path() == (A, first, B)
    lose(run, f"a-{first}")
    assert other in {p.nodes[1] for s in run.core.plan.streams[S].path_sets for p in s.paths}


def test_a_stream_whose_minimum_rate_its_backups_have_room_for_together_is_left_to_its_agents() -> None:
    wanted = stream("s", "a", "b", max_rate_bps=1000.0, min_rate_bps=900.0)
    run, (first, second, third, _) = with_four_ways(wanted)
    run.measure(10.0, FOUR_RATES | {f"{end}-{over}": 600.0 for end in "ab" for over in (second, third)})
    before = run.core.plan.streams[S]
    lose(run, f"a-{first}")
    assert run.core.plan.streams[S] is before


def test_a_stream_with_no_way_left_keeps_its_rules_so_that_it_resumes_when_the_link_does() -> None:
    run = Run(network=snapshot(LINKS[:2], [stream("s", "a", "b", require_qkd=True)]))
    run.connect()
    run.measure(10.0, RATES)
    run.optimising = False
    out = lose(run, "a-p")
    assert run.core.plan.streams[S].unmet
    assert events(out, "stream_unmet")
    assert not pushes(out)


def test_a_repair_does_not_wait_for_the_optimiser_whose_answer_cannot_undo_it() -> None:
    run = Run(answering=False)
    run.connect()
    run.measure(10.0, RATES)
    run.optimising = False
    begin(run)
    out = lose(run, "a-p")
    assert events(out, "plan_changed")
    assert run.first_path() == (A, Q, B)
    run.optimise()
    assert run.first_path() == (A, Q, B)
    assert T in run.core.plan.streams, "what still holds of the answer is adopted"


def test_no_stream_is_moved_to_a_link_that_broke_while_the_optimiser_was_at_work(running: Run) -> None:
    running.measure(10.0, {**RATES, "a-p": 50.0})
    asked = running.asked
    assert asked is not None
    answer = routing.plan_streams(asked.snapshot, asked.previous, 99)
    assert answer.streams[S].path_sets[0].paths[0].nodes == (A, Q, B), "the optimiser would move it"
    running.handle(reported(A, LOST, link="a-q"))
    running.handle(Optimised(asked.number, answer))
    assert running.first_path() == (A, P, B)


def test_what_operators_change_meanwhile_is_planned_again(running: Run) -> None:
    begin(running)
    running.handle(StreamPut(stream("u", "p", "b")))
    running.advance(1.0)
    assert StreamName("u") not in running.core.plan.streams
    running.optimise()
    running.advance(1.0)
    assert running.asked is not None, "asked again without being told of anything new"
    running.optimise()
    assert StreamName("u") in running.core.plan.streams


def test_a_stream_that_changed_meanwhile_is_not_given_what_was_planned_for_the_former_one(
    running: Run,
) -> None:
    begin(running)
    running.handle(StreamPut(stream("s", "a", "b", avoid_nodes=["p"])))
    running.optimise()
    assert P not in running.first_path()
    running.advance(1.0)
    running.optimise()
    assert running.first_path() == (A, Q, B)


def test_a_stream_that_was_deleted_meanwhile_stays_deleted(running: Run) -> None:
    begin(running)
    running.handle(StreamDeleted(T))
    running.optimise()
    assert T not in running.core.plan.streams


def test_only_one_plan_of_everything_is_asked_for_at_a_time_and_only_its_answer_counts(running: Run) -> None:
    begin(running)
    asked = running.asked
    assert asked is not None
    running.handle(Optimised(asked.number + 1, routing.plan_streams(asked.snapshot, None, 99)))
    running.measure(10.0, {**RATES, "a-p": 600.0})
    assert running.asked is asked
    assert T not in running.core.plan.streams


def test_a_large_answer_is_adopted_in_slices_between_which_repairs_have_their_turn() -> None:
    count = SLICE_STREAMS * 2 + 50
    run = Run(network=snapshot(LINKS, [stream(f"s{i}", "a", "b") for i in range(count)]), optimising=False)
    run.measure(2.0, RATES)
    assert run.asked is not None
    out = run.optimise()
    assert len(run.core.plan.streams) == SLICE_STREAMS
    run.handle(reported(A, LOST, link="a-p"))
    run.advance(2.0)
    assert len(events(out, "plan_changed")) == 1
    assert crossing_first(run, "a-p") == []
    run.optimise()
    run.advance(0.5)
    assert len(run.core.plan.streams) == count
    assert crossing_first(run, "a-p") == []


def crossing_first(run: Run, link: str) -> list[StreamName]:
    """Streams that are to use a path over the link."""
    return [
        name
        for name, plan in run.core.plan.streams.items()
        for path_set in plan.path_sets
        if path_set.rank == 0 and any(LinkName(link) in path.links for path in path_set.paths)
    ]


def test_a_disabled_link_is_left_in_the_same_breath_and_never_held_on_to(running: Run) -> None:
    former = running.core.plan.streams[S].path_sets[0].paths[0].path_id
    link = NETWORK.links[LinkName("a-p")].link
    out = running.handle(LinkPut(Link(link.name, link.a, link.b, disabled=True)))
    assert running.first_path() == (A, Q, B)
    assert {push.node for push in pushes(out)} >= {A, B}
    for push in pushes(out):
        assert former not in push.target.policy.uses
        assert "link/a-p" not in push.target.policy.rules


def test_a_link_in_maintenance_is_left_only_once_the_new_path_is_established(running: Run) -> None:
    former = running.core.plan.streams[S].path_sets[0].paths[0].path_id
    link = NETWORK.links[LinkName("a-p")].link
    running.answering = False
    running.handle(LinkPut(Link(link.name, link.a, link.b, maintenance=True)))
    running.advance(1.0)
    out = running.optimise()
    assert running.first_path() == (A, Q, B)
    ends = [push for push in pushes(out) if push.node in (A, B)]
    assert ends
    backups = {p.path_id for s in running.core.plan.streams[S].path_sets for p in s.paths}
    for push in ends:
        assert former in push.target.policy.uses or not backups.isdisjoint(push.target.policy.uses)


def test_what_was_planned_for_a_stream_holds_until_the_stream_its_plan_or_a_link_changes() -> None:
    planned = routing.plan_streams(NETWORK, None, 2)
    new, previous = planned.streams[S], Plan(1, 1)
    (crossed, *_) = new.path_sets[0].paths[0].links

    def holds(network: Snapshot, current: Plan = previous) -> bool:
        return still_holds(S, new, NETWORK, previous, network, current)

    assert holds(NETWORK)
    assert not holds(NETWORK, Plan(1, 1, {S: new})), "repaired meanwhile"
    assert not holds(replace(NETWORK, streams={S: replace(NETWORK.streams[S])})), "changed meanwhile"
    assert not holds(replace(NETWORK, streams={})), "deleted meanwhile"
    view = NETWORK.links[crossed]
    for changed in (
        replace(view, keeps_paths=False),
        replace(view, link=replace(view.link, disabled=True)),
        replace(view, link=replace(view.link, a=NodeName("z"))),
    ):
        assert not holds(replace(NETWORK, links={**NETWORK.links, crossed: changed}))
