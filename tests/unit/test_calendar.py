"""Windows and schedules by themselves: when they are at work, and which of them decides."""

from hypothesis import given
from hypothesis import strategies as st

from keyweave.common.names import LinkName
from keyweave.controller.calendar import (
    DAY_SECONDS,
    Phase,
    Schedule,
    TimeOfDay,
    Window,
    by_schedule,
    combinations,
)
from keyweave.controller.planned_intent import schedule_of, schedule_violations, window_of, window_violations
from keyweave.v1 import types_pb2
from tests.unit.networks import stream

SECONDS = st.integers(0, 86_399)
# Within four days, to the second.
MOMENTS = st.integers(0, 4 * 86_400)


@st.composite
def windows(draw: st.DrawFn, name: str = "w") -> Window:
    start = draw(st.integers(1000, 2000))
    length, lead = draw(st.integers(1, 500)), draw(st.integers(0, 300))
    return Window(name, frozenset({LinkName(name)}), frozenset(), start, start + length, lead)


def schedule(name: str = "x", **fields: object) -> Schedule:
    return Schedule(name, **{"refresh_seconds": 30, **fields})  # type: ignore[arg-type]  # fields by name


@given(windows(), st.integers(0, 3000))
def test_a_window_rests_from_its_lead_to_its_end_and_says_when_that_changes(window: Window, now: int) -> None:
    assert window.rests(now) == (window.phase(now) in {Phase.LEAVING, Phase.UNDER_WAY})
    assert window.rests(now) == (window.start - window.lead_seconds <= now < window.end)
    following = window.next_change(now)
    later = range(now, int(following) if following is not None else now + 1000)
    assert {window.phase(moment) for moment in later} == {window.phase(now)}
    if following is not None:
        assert window.phase(following) is not window.phase(now)


@given(windows("a"), st.lists(windows("b") | windows("c"), max_size=4))
def test_every_company_that_a_window_has_at_some_moment_is_looked_at(
    window: Window, others: list[Window]
) -> None:
    found = [set(company) for company in combinations(window, others)]
    for moment in range(int(window.leaves_at), int(window.end)):
        assert {one for one in others if one.rests(moment)} in found
    assert found[0] is not None
    assert len(found) == len({frozenset(company) for company in found})


@given(SECONDS, SECONDS, MOMENTS)
def test_a_time_of_day_says_when_it_begins_and_ends_to_hold(start: int, end: int, now: int) -> None:
    time = TimeOfDay(start, end)
    following = time.next_change(now)
    assert now < following <= now + DAY_SECONDS
    assert time.holds(now) == time.holds((now + following) / 2)
    if start != end:
        assert time.holds(following) != time.holds(now)


@given(SECONDS, SECONDS, SECONDS, SECONDS)
def test_times_of_day_overlap_if_a_second_is_in_both(a: int, b: int, c: int, d: int) -> None:
    one, two = TimeOfDay(a, b), TimeOfDay(c, d)
    edges = [moment % 86_400 for moment in (a, b, c, d, a - 1, b - 1, c - 1, d - 1)]
    together = any(one.holds(moment) and two.holds(moment) for moment in edges)
    assert one.overlaps(two) == two.overlaps(one) == together


def test_the_most_specific_schedule_decides_each_value_by_itself() -> None:
    night = (TimeOfDay(0, 3600),)
    known = [
        schedule("all", refresh_seconds=50, key_ttl_seconds=500),
        schedule("class", application_class="vpn", refresh_seconds=40),
        schedule("tenant", tenant="bank", refresh_seconds=30, key_ttl_seconds=300),
        schedule("both", tenant="bank", application_class="vpn", refresh_seconds=20),
        schedule("both-night", tenant="bank", application_class="vpn", refresh_seconds=10, times=night),
    ]
    in_force = sorted(known, key=lambda one: one.rank)

    def given_to(tenant: str, application_class: str, now: float = 7200.0) -> tuple[int, str, int, str]:
        held = [one for one in in_force if one.holds(now)]
        one = by_schedule(stream("s", "a", "b", tenant=tenant, application_class=application_class), held)
        return one.refresh_seconds, one.refresh_from, one.key_ttl_seconds, one.key_ttl_from

    assert given_to("bank", "vpn") == (20, "schedule both", 300, "schedule tenant")
    assert given_to("bank", "vpn", 60.0) == (10, "schedule both-night", 300, "schedule tenant")
    assert given_to("bank", "tls") == (30, "schedule tenant", 300, "schedule tenant")
    assert given_to("", "vpn") == (40, "schedule class", 500, "schedule all")
    assert given_to("shop", "tls") == (50, "schedule all", 500, "schedule all")


def test_what_a_stream_says_itself_no_schedule_changes() -> None:
    own = stream("s", "a", "b", refresh_seconds=7, refresh_from="stream")
    assert by_schedule(own, [schedule(refresh_seconds=30)]) == own
    left_open = by_schedule(own, [schedule(refresh_seconds=30, key_ttl_seconds=90)])
    assert (left_open.refresh_seconds, left_open.key_ttl_seconds) == (7, 90)


def test_a_window_is_checked_against_the_network_and_itself() -> None:
    spec = types_pb2.Maintenance(
        name="w", links=["ab", "zz"], nodes=["q"], start_unix_nanos=10**9, end_unix_nanos=10**9
    )
    found = {one.field: one.description for one in window_violations({"a"}, {"ab"}, spec)}
    assert found.keys() == {"links[1]", "nodes[0]", "end_unix_nanos"}
    nothing = types_pb2.Maintenance(name="w", start_unix_nanos=1, end_unix_nanos=400 * 86_400 * 10**9)
    assert {one.field for one in window_violations({}, {}, nothing)} == {"links", "end_unix_nanos"}
    fine = types_pb2.Maintenance(name="w", links=["ab"], start_unix_nanos=10**9, end_unix_nanos=3 * 10**9)
    assert list(window_violations({}, {"ab"}, fine)) == []
    assert window_of(fine).lead_seconds == 300.0
    fine.lead_seconds = 0
    assert window_of(fine).lead_seconds == 0.0


def test_two_schedules_may_not_say_the_same_of_the_same_streams_at_the_same_time() -> None:
    def put(name: str, *times: str, **fields: object) -> types_pb2.Schedule:
        base = {"tenant": "bank", "refresh_seconds": 30} | fields
        return types_pb2.Schedule(name=name, times=times, **base)  # type: ignore[arg-type]

    present = [put("day", "08:00-18:00"), put("ever")]

    def wrong(spec: types_pb2.Schedule) -> set[str]:
        return {one.field for one in schedule_violations(present, spec)}

    assert wrong(put("noon", "11:00-13:00")) == {"times"}
    assert wrong(put("night", "18:00-08:00")) == set()
    assert wrong(put("other")) == {"tenant"}
    assert wrong(put("other", tenant="shop")) == set()
    assert wrong(put("ever")) == set()
    assert wrong(put("lives", refresh_seconds=0, key_ttl_seconds=60)) == set()
    assert wrong(put("void", tenant="shop", refresh_seconds=0)) == {"refresh_seconds"}
    assert wrong(put("void", "08:00-08:00", tenant="shop")) == {"times[0]"}
    assert schedule_of(put("day", "22:30-24:00")).times == (TimeOfDay(81_000, 86_400),)
