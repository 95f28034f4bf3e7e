"""Windows in the core: streams leave before them, nothing is placed there during them, and they come back."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyweave.common.names import LinkName, NodeName
from keyweave.controller import routing
from keyweave.controller.calendar import Schedule, TimeOfDay, Window
from keyweave.controller.estimate.link_book import LinkChange
from keyweave.controller.events import Event
from keyweave.controller.instructions import Emit, WakeAt
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.reconcile.news import link_news
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import (
    LinkPut,
    SchedulePut,
    StreamPut,
    WindowDeleted,
    WindowPut,
)
from keyweave.controller.topology import Condition, Path
from keyweave.v1 import agent_pb2
from tests.unit.core_run import NETWORK, RATES, START, A, P, Run, S, events, pushes, reported

AP, BP, AQ = LinkName("a-p"), LinkName("b-p"), LinkName("a-q")


def window(
    name: str = "w", *links: LinkName, begins: float = 20.0, lasts: float = 10.0, lead: float = 5.0
) -> Window:
    start = START + begins
    return Window(name, frozenset(links or (AP,)), frozenset(), start, start + lasts, lead, "new fibre")


@pytest.fixture
def running() -> Run:
    run = Run()
    run.connect()
    run.measure(4, RATES)
    assert run.first_path() == ("a", "p", "b")
    return run


def at(run: Run, seconds: float) -> None:
    """Let time go by until so long after the start."""
    run.measure(START + seconds - run.now, RATES)


def paths(run: Run) -> set[Path]:
    return {p for plan in run.core.plan.streams.values() for one in plan.path_sets for p in one.paths}


def told(run: Run, kind: str) -> list[Event]:
    return events(run.done, kind)


def test_streams_leave_within_the_lead_and_come_back_after_the_window(running: Run) -> None:
    running.handle(WindowPut(window()))
    at(running, 14.8)
    assert running.first_path() == ("a", "p", "b")
    assert running.core.links[AP].view.condition is Condition.OK
    at(running, 17)
    assert running.first_path() == ("a", "q", "b")
    view = running.core.links[AP].view
    assert view.condition is Condition.MAINTENANCE
    assert "maintenance window 'w' until" in view.reason
    assert "new fibre" in view.reason
    at(running, 29.8)
    assert running.core.links[AP].view.condition is Condition.MAINTENANCE
    at(running, 45)
    assert running.core.links[AP].view.condition is Condition.OK
    assert running.first_path() == ("a", "p", "b")
    phases = [event.fields["phase"] for event in told(running, "maintenance_changed")]
    assert phases == ["leaving", "under way", "over"]


def test_a_stream_changes_its_path_once_each_way_and_never_has_none(running: Run) -> None:
    running.handle(WindowPut(window()))
    seen = [running.first_path()]
    while running.now < START + 50:
        running.measure(0.2, RATES)
        if running.first_path() != seen[-1]:
            seen.append(running.first_path())
    assert seen == [("a", "p", "b"), ("a", "q", "b"), ("a", "p", "b")]


def test_the_core_asks_to_be_woken_for_a_window_though_nothing_else_happens(running: Run) -> None:
    out = running.handle(WindowPut(window(begins=1000.0)))
    wakes = [one.time for one in running.done + out if isinstance(one, WakeAt)]
    assert min(wakes) <= START + 995.0
    running.advance(START + 996 - running.now)
    assert running.core.links[AP].view.condition is Condition.MAINTENANCE


def test_windows_that_overlap_keep_a_link_out_of_use_until_the_last_is_over(running: Run) -> None:
    running.handle(WindowPut(window("one", AP, begins=20, lasts=10)))
    running.handle(WindowPut(window("two", AP, begins=25, lasts=20)))
    for seconds in (16, 26, 34, 44):
        at(running, seconds)
        assert running.core.links[AP].view.condition is Condition.MAINTENANCE, seconds
    at(running, 60)
    assert running.core.links[AP].view.condition is Condition.OK


def test_a_window_over_all_paths_leaves_a_stream_with_none_and_both_are_back_after_it(running: Run) -> None:
    running.handle(WindowPut(window("all", AP, AQ)))
    at(running, 22)
    assert running.first_path() == ()
    at(running, 50)
    assert running.first_path() == ("a", "p", "b")


def test_a_node_in_a_window_relays_nothing(running: Run) -> None:
    node_window = replace(window(), links=frozenset(), nodes=frozenset({P}))
    running.handle(WindowPut(node_window))
    at(running, 18)
    assert running.first_path() == ("a", "q", "b")
    assert running.core.nodes[P].maintenance
    at(running, 40)
    assert not running.core.nodes[P].maintenance
    assert running.core.links[AP].view.condition is Condition.OK


def test_a_window_that_is_ended_or_deleted_gives_the_link_back_at_once(running: Run) -> None:
    running.handle(WindowPut(window(lasts=1000)))
    at(running, 25)
    running.handle(WindowPut(replace(window(), end=running.now)))
    assert running.core.links[AP].view.condition is not Condition.MAINTENANCE
    running.handle(WindowPut(window("again", AP, begins=26, lasts=1000, lead=0)))
    at(running, 28)
    assert running.core.links[AP].view.condition is Condition.MAINTENANCE
    running.handle(WindowDeleted("again"))
    assert running.core.links[AP].view.condition is not Condition.MAINTENANCE
    assert [event.fields["phase"] for event in told(running, "maintenance_changed")][-1] == "over"


def test_what_an_operator_took_out_of_use_stays_out_after_a_window(running: Run) -> None:
    running.handle(WindowPut(window()))
    at(running, 22)
    link = replace(running.network.links[AP].link, maintenance=True)
    running.handle(LinkPut(link))
    at(running, 45)
    assert running.core.links[AP].view.condition is Condition.MAINTENANCE
    running.handle(LinkPut(replace(link, maintenance=False)))
    at(running, 60)
    assert running.core.links[AP].view.condition is Condition.OK


def test_a_change_of_a_link_during_its_window_does_not_bring_it_back(running: Run) -> None:
    running.handle(WindowPut(window()))
    at(running, 22)
    running.handle(LinkPut(replace(running.network.links[AP].link, length_km=11.0)))
    at(running, 28)
    assert running.core.links[AP].view.condition is Condition.MAINTENANCE


def test_alarms_of_a_link_in_a_window_are_marked_and_those_of_others_are_not(running: Run) -> None:
    running.handle(WindowPut(window()))
    at(running, 22)
    kind = agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL
    for link in ("a-p", "a-q"):
        running.handle(reported(A, kind, link=link, reason="dark"))
    marks = {event.link: event.fields.get("maintenance") for event in told(running, "link_loss_of_signal")}
    assert marks == {"a-p": "w", "a-q": None}
    changed = [event for event in told(running, "link_condition_changed") if event.link == "a-p"]
    assert [event.fields["new"] for event in changed] == ["ok", "maintenance"]


def test_that_the_ends_of_a_link_in_maintenance_disagree_is_no_alarm(running: Run) -> None:
    entry = running.core.links[AP]
    for condition, alarms in ((Condition.OK, 1), (Condition.MAINTENANCE, 0)):
        before = replace(entry.estimate, condition=condition)
        after = replace(before, ends_disagree="the ends disagree")
        assert len(list(link_news(LinkChange(entry.link, before, after), START))) == alarms


def test_after_a_restart_in_the_middle_of_a_window_it_goes_on() -> None:
    links = {name: view.link for name, view in NETWORK.links.items()}
    core = Core(settings=CoreSettings(), planner=routing, epoch=2, stored=Rollout())
    over = window("over", AQ, begins=-100, lasts=10)
    out = core.start(NETWORK.nodes, links, NETWORK.streams, START + 22, windows=[window(), over])
    assert core.links[AP].view.condition is Condition.MAINTENANCE
    assert core.links[AQ].view.condition is not Condition.MAINTENANCE
    assert [one.event.kind for one in out if isinstance(one, Emit)] == []
    assert min(one.time for one in out if isinstance(one, WakeAt)) <= START + 30


def test_streams_come_back_though_the_controller_restarted_in_the_middle_of_the_window(running: Run) -> None:
    before = running.core.plan
    running.handle(WindowPut(window()))
    at(running, 22)
    assert running.first_path() == ("a", "q", "b")
    held = running.core.distribution.streams[S]
    stored = Rollout(running.core.plan.version, 1, 1, {S: held})
    core = Core(settings=CoreSettings(), planner=routing, epoch=2, stored=stored)
    links = {name: view.link for name, view in NETWORK.links.items()}
    after = Run(epoch=2)
    after.core, after.now, after.has = core, running.now, running.has
    after._follow(
        core.start(
            NETWORK.nodes,
            links,
            NETWORK.streams,
            after.now,
            windows=[window()],
            before=[(window(), before)],
        )
    )
    after.connect(epoch=1, highest_epoch=1)
    at(after, 27)
    assert after.first_path() == ("a", "q", "b")
    at(after, 55)
    assert after.first_path() == ("a", "p", "b")


MOMENTS = st.integers(0, 24)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    planned=st.lists(
        st.tuples(
            st.sampled_from([(AP,), (AQ,), (AP, AQ), (BP,)]), MOMENTS, st.integers(1, 10), st.integers(0, 5)
        ),
        min_size=1,
        max_size=4,
    ),
    slow=st.booleans(),
)
def test_at_no_time_inside_a_window_is_a_new_path_placed_on_its_links(
    planned: list[tuple[tuple[LinkName, ...], int, int, int]], slow: bool
) -> None:
    run = Run(optimising=not slow)
    run.connect()
    run.measure(4, RATES)
    chosen = [
        window(f"w{number}", *links, begins=5 + begins, lasts=lasts, lead=lead)
        for number, (links, begins, lasts, lead) in enumerate(planned)
    ]
    for one in chosen:
        run.handle(WindowPut(one))
    before = paths(run)
    while run.now < START + 45:
        # A plan that was asked for before a window may come when it has begun.
        run.measure(0.4, RATES)
        if slow and run.asked is not None and int(run.now * 10) % 3 == 0:
            run.optimise()
        resting = {link for one in chosen if one.rests(run.now) for link in one.links}
        assert not [path for path in paths(run) - before if not resting.isdisjoint(path.links)]
        before = paths(run)


def test_a_schedule_reaches_the_ends_of_its_streams_and_no_others(running: Run) -> None:
    mine = replace(NETWORK.streams[S], tenant="bank")
    running.handle(StreamPut(mine))
    out = running.handle(SchedulePut(Schedule("x", tenant="bank", refresh_seconds=9, key_ttl_seconds=90)))
    assert {push.node for push in pushes(out)} == {"a", "b"}
    held = running.core.streams[S]
    assert (held.refresh_seconds, held.refresh_from) == (9, "schedule x")
    assert (held.key_ttl_seconds, held.key_ttl_from) == (90, "schedule x")
    assert pushes(running.handle(SchedulePut(Schedule("y", tenant="shop", refresh_seconds=5)))) == []


def test_a_schedule_with_times_of_day_begins_and_ceases_by_the_clock(running: Run) -> None:
    second = int(START) % 86_400
    times = (TimeOfDay(second + 60, second + 120),)
    running.handle(SchedulePut(Schedule("x", refresh_seconds=9, times=times)))
    assert running.core.streams[S].refresh_from == "default"
    at(running, 61)
    assert running.core.streams[S].refresh_seconds == 9
    at(running, 121)
    assert running.core.streams[S].refresh_from == "default"
    assert NodeName("a") in running.core.nodes
