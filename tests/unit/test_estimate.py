"""What a link's two ends measure, and what is made of it, in simulated time with honest noise."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.common.errors import InvalidInputError
from keyweave.common.names import NodeName
from keyweave.controller.estimate import estimate
from keyweave.controller.estimate.estimate import EndEvent, LinkLimits, keeps_paths, takes_paths
from keyweave.controller.topology import Condition, Link, Status
from tests.unit.measurements import LINK, A, B, Bench, Optics, column, samples, settled

OK, DEGRADED, DOWN = Condition.OK, Condition.DEGRADED, Condition.DOWN
STALE, SUSPECT, MAINTENANCE = Condition.STALE, Condition.SUSPECT, Condition.MAINTENANCE

GRAVITY = {OK: 0, DEGRADED: 1, DOWN: 2}

# ---- the figures -----------------------------------------------------------------------------------


def test_a_link_that_nobody_has_measured_keeps_what_runs_and_takes_nothing_new() -> None:
    bench = Bench()
    assert (bench.condition, bench.estimate.reason) == (STALE, "no telemetry yet")
    assert keeps_paths(bench.condition)
    assert not takes_paths(bench.condition)
    assert estimate.next_deadline(bench.track, bench.limits) is None
    assert not bench.estimate.settled


def test_a_working_link_is_estimated_close_to_the_truth_and_used_below_it() -> None:
    found = settled().estimate
    assert found.qber_ratio == pytest.approx(0.03, abs=0.003)
    assert found.skr_bps == pytest.approx(3000, rel=0.02)
    assert 0.95 * found.skr_bps < found.usable_rate_bps < found.skr_bps
    assert found.loss_db == pytest.approx(14, abs=0.1)
    assert found.status is Status.ACTIVE
    assert found.settled


def test_the_figures_of_a_link_that_has_just_begun_to_report_are_not_settled() -> None:
    bench = Bench()
    bench.run(0.2)
    assert bench.condition is OK
    assert not bench.estimate.settled
    bench.run(2.0)
    assert bench.estimate.settled


def test_of_two_ends_the_worse_qber_the_lower_rate_and_the_lower_pool_count() -> None:
    track, limits = estimate.fresh(LINK, A, B, 0.0), LinkLimits()
    track = estimate.observe(track, samples(A, rows=20, qber=0.03, skr=1000.0), limits, 1.0)
    track = estimate.observe(track, samples(B, rows=20, qber=0.04, skr=900.0), limits, 1.0)
    track = estimate.pool_reported(track, A, usable_bits=300, intake_bits_total=0)
    track = estimate.pool_reported(track, B, usable_bits=200, intake_bits_total=0)
    _, found = estimate.assess(track, limits, 1.0)

    assert found.qber_ratio == pytest.approx(0.04)
    assert (found.skr_bps, found.usable_rate_bps) == pytest.approx((900.0, 900.0))
    assert found.pool_bits == 200


@given(st.lists(st.floats(0, 1e6, width=32), min_size=2, max_size=40), st.floats(0, 0.08))
def test_the_usable_rate_never_exceeds_the_mean(rates: list[float], qber: float) -> None:
    sent = samples(A, rows=len(rates), skr=column(*rates), qber=qber)
    limits = LinkLimits()
    track = estimate.observe(estimate.fresh(LINK, A, B, 0.0), sent, limits, 1.0)
    _, found = estimate.assess(track, limits, 1.0)
    assert 0.0 <= found.usable_rate_bps <= found.skr_bps * (1 + 1e-12)


@given(st.permutations(range(4)), st.lists(st.floats(0, 1e5, width=32), min_size=4, max_size=4))
def test_the_order_in_which_the_ends_are_heard_does_not_matter(order: list[int], rates: list[float]) -> None:
    limits = LinkLimits()
    # Each end's own batches stay in order: that is what sequence numbers are for.
    ends = [A if index % 2 else B for index in order]
    queues = {A: [0.0, 0.2], B: [0.0, 0.2]}

    def estimated(nodes: list[NodeName]) -> estimate.LinkEstimate:
        left = {node: list(starts) for node, starts in queues.items()}
        track = estimate.fresh(LINK, A, B, 0.0)
        for node in nodes:
            start = left[node].pop(0)
            rate = rates[2 * int(node == B) + int(start > 0)]
            track = estimate.observe(track, samples(node, start=start, skr=rate), limits, 1.0)
        return estimate.assess(track, limits, 1.0)[1]

    assert estimated(ends) == estimated([A, A, B, B])


def test_after_a_step_of_the_rate_the_past_is_forgotten_within_seconds() -> None:
    bench = settled()
    bench.optics.skr_bps = 1000.0
    bench.run(3.0)
    assert bench.estimate.skr_bps == pytest.approx(1000, rel=0.3)
    assert bench.estimate.usable_rate_bps < 1100


def test_a_passive_link_makes_no_key_but_could() -> None:
    bench = settled()
    bench.optics.status, bench.optics.skr_bps = Status.PASSIVE, 0.0
    bench.run(20.0)
    assert bench.condition is OK
    assert bench.estimate.usable_rate_bps > 2800


def test_a_device_that_starts_or_calibrates_is_degraded_and_takes_no_rate() -> None:
    bench = settled()
    bench.optics.status = Status.PENDING
    bench.run(1.0)
    assert bench.condition is DEGRADED
    assert "starting or calibrating" in bench.estimate.reason
    assert bench.estimate.usable_rate_bps == 0.0


def test_a_device_that_measures_every_half_minute_is_neither_stale_nor_unusable() -> None:
    bench = Bench(rows=1, interval=30.0)
    bench.run(900.0)
    assert bench.condition is OK
    assert bench.estimate.usable_rate_bps > 2700
    bench.wait(50.0)  # 80 s after the last sample
    assert bench.condition is OK
    bench.wait(20.0)
    assert bench.condition is STALE


def test_samples_from_a_node_the_link_does_not_touch_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="runs from 'a' to 'b'; 'mallory' cannot measure it"):
        estimate.observe(estimate.fresh(LINK, A, B, 0.0), samples(NodeName("mallory")), LinkLimits(), 1.0)


def test_ends_that_contradict_each_other_for_a_while_are_named() -> None:
    bench = settled()
    bench.optics.b_adds_qber = 0.02
    bench.run(3.0)
    assert not bench.estimate.ends_disagree
    bench.run(10.0)
    assert bench.estimate.ends_disagree.startswith("the ends disagree: QBER 3.")
    assert bench.estimate.ends_disagree in bench.estimate.evidence
    bench.optics.b_adds_qber = 0.0
    bench.run(10.0)
    assert not bench.estimate.ends_disagree


# ---- falling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EndEvent.LOSS_OF_SIGNAL, EndEvent.DEVICE_FAULT, EndEvent.QBER_ABORT])
def test_a_fault_that_an_agent_reports_takes_the_link_down_at_once(kind: EndEvent) -> None:
    bench = settled()
    bench.event(kind, B, "words of the device")
    assert bench.condition is DOWN
    assert "'b'" in bench.estimate.reason
    assert "words of the device" in bench.estimate.reason
    assert bench.estimate.since == bench.now
    assert (bench.estimate.usable_rate_bps, bench.estimate.skr_bps) == (0.0, 0.0)


def test_a_link_whose_device_shows_no_signal_is_down_without_any_event() -> None:
    bench = settled()
    bench.optics.status = Status.OFF
    bench.run(0.2)
    assert bench.condition is DOWN
    assert "no signal" in bench.estimate.reason


@pytest.mark.parametrize("sifted_bps", [1000.0, 100_000.0])
def test_full_interception_is_found_within_a_second(sifted_bps: float) -> None:
    bench = settled(Optics(sifted_bps=sifted_bps))
    began = bench.now
    bench.optics.qber = 0.265
    bench.run(1.0, until=DOWN)
    assert bench.condition is DOWN
    assert bench.now - began < 1.0
    bench.run(2.0)
    assert bench.estimate.qber_ratio == pytest.approx(0.265, abs=0.05)
    assert "interception suspected" in bench.estimate.reason
    assert "at or above the abort threshold 11.0%" in bench.estimate.reason


def test_a_qber_just_above_the_threshold_is_found_too() -> None:
    bench = Bench(Optics(qber=0.105, sifted_bps=100_000.0))
    bench.run(30.0)
    assert bench.condition is DEGRADED
    bench.optics.qber = 0.112
    bench.run(10.0, until=DOWN)
    assert bench.condition is DOWN


@pytest.mark.parametrize("qber", [0.03, 0.06, 0.085])
def test_the_noise_of_a_slow_link_does_not_take_it_down_in_hours(qber: float) -> None:
    bench = Bench(Optics(qber=qber, sifted_bps=1000.0, skr_bps=300.0), rows=10, seed=int(qber * 1000))
    changes = bench.run(2 * 3600.0)
    assert {condition for _, condition in changes} <= {OK, DEGRADED}
    assert bench.condition in {OK, DEGRADED}


@given(qber=st.floats(0, 0.5), status=st.sampled_from(Status), sifted=st.floats(0, 1e6))
@settings(max_examples=50)
def test_a_constant_link_settles_and_never_flaps(qber: float, status: Status, sifted: float) -> None:
    limits = LinkLimits()
    track, conditions = estimate.fresh(LINK, A, B, 0.0), []
    for step in range(100):
        now = step * 0.2
        for node in (A, B):
            sent = samples(node, start=now, qber=qber, status=status, sifted=sifted)
            track = estimate.observe(track, sent, limits, now)
            track, found = estimate.assess(track, limits, now)
        conditions.append(found.condition)
    # With few bits it may take time to tell how bad it is; it is never taken back.
    assert all(GRAVITY[after] >= GRAVITY[before] for before, after in pairwise(conditions))


def test_a_worse_qber_never_looks_better() -> None:
    found = []
    for qber in np.linspace(0.0, 0.3, 31):
        track, limits = estimate.fresh(LINK, A, B, 0.0), LinkLimits()
        track = estimate.observe(track, samples(A, rows=50, qber=float(qber)), limits, 1.0)
        found.append(GRAVITY[estimate.assess(track, limits, 1.0)[1].condition])
    assert found == sorted(found)
    assert set(found) == {0, 1, 2}


def test_degraded_begins_and_ends_at_different_thresholds() -> None:
    bench = settled(Optics(qber=0.08, sifted_bps=100_000.0))

    def after(qber: float) -> Condition:
        bench.optics.qber = qber
        bench.run(60.0)
        return bench.condition

    assert [after(q) for q in (0.085, 0.09, 0.084, 0.081, 0.076, 0.084)] == [
        OK, DEGRADED, DEGRADED, DEGRADED, OK, OK,
    ]  # fmt: skip


def test_the_thresholds_are_the_links_own() -> None:
    link = Link(LINK, A, B, abort_qber_ratio=0.05, degraded_qber_ratio=0.04, maintenance=True)
    limits = LinkLimits().of(link)
    assert (limits.abort_qber_ratio, limits.degraded_qber_ratio, limits.maintenance) == (0.05, 0.04, True)
    bench = Bench(Optics(qber=0.06), limits=replace(limits, maintenance=False))
    bench.run(5.0)
    assert bench.condition is DOWN


# ---- diagnosis -------------------------------------------------------------------------------------


def test_a_partial_eavesdropper_makes_the_link_suspect() -> None:
    bench = settled()
    bench.optics.qber = 0.03 + 0.25 * 0.2
    bench.run(5.0, until=SUSPECT)
    assert bench.condition is SUSPECT
    assert "QBER jumped from 3." in bench.estimate.reason
    assert bench.estimate.usable_rate_bps == 0.0
    assert any(text.startswith("b: dark counts") for text in bench.estimate.evidence)


def test_a_suspect_link_stays_so_however_long_the_eavesdropper_does() -> None:
    bench = settled()
    bench.optics.qber = 0.08
    bench.run(600.0)
    assert bench.condition is SUSPECT
    bench.optics.qber = 0.03
    bench.run(12.0)
    assert bench.condition is OK


def test_more_loss_explains_a_jump_so_nobody_is_suspected() -> None:
    bench = settled()
    # 0.8 % of the clicks were dark; now a quarter of the light comes, so it is 3.1 %.
    bench.optics.loss_db, bench.optics.qber, bench.optics.counts_hz = 20.0, 0.041, 12_800.0
    assert SUSPECT not in {condition for _, condition in bench.run(30.0)}


def test_a_noisier_detector_explains_a_jump_so_nobody_is_suspected() -> None:
    bench = settled()
    bench.optics.dark_counts_hz, bench.optics.qber = 8000.0, 0.07
    assert SUSPECT not in {condition for _, condition in bench.run(30.0)}


def test_a_slow_drift_is_no_interception() -> None:
    bench = settled()
    for step in range(40):
        bench.optics.qber = 0.03 + step * 0.001
        assert SUSPECT not in {condition for _, condition in bench.run(10.0)}


# ---- rising ----------------------------------------------------------------------------------------


def test_a_restored_link_is_held_down_then_comes_back() -> None:
    bench = settled()
    bench.event(EndEvent.LOSS_OF_SIGNAL)
    bench.optics.status = Status.OFF
    bench.run(10.0)
    bench.optics.status = Status.ACTIVE
    bench.event(EndEvent.RESTORED)
    restored = bench.now
    ((came_back, condition),) = bench.run(20.0)
    assert condition is OK
    assert 5.0 <= came_back - restored < 6.0


def test_a_fault_during_the_hold_down_begins_it_anew() -> None:
    bench = settled()
    bench.event(EndEvent.LOSS_OF_SIGNAL)
    bench.event(EndEvent.RESTORED)
    bench.run(4.0)
    bench.event(EndEvent.LOSS_OF_SIGNAL)
    bench.event(EndEvent.RESTORED)
    assert bench.run(4.0) == []
    assert bench.condition is DOWN
    bench.run(2.0)
    assert bench.condition is OK


def hold_down_of_a_flap(bench: Bench) -> float:
    bench.event(EndEvent.LOSS_OF_SIGNAL)
    bench.event(EndEvent.RESTORED)
    restored = bench.now
    bench.run(1000.0, until=OK)
    return bench.now - restored


def test_the_hold_down_doubles_with_every_flap_up_to_a_limit_and_quiet_halves_it() -> None:
    bench = settled()
    bench.limits = LinkLimits(hold_down_max_seconds=30.0, flap_window_seconds=60.0)
    held = [hold_down_of_a_flap(bench) for _ in range(5)]
    assert held == pytest.approx([5, 10, 20, 30, 30], abs=0.5)

    bench.run(130.0)  # two quiet windows forgive two faults; the next one counts again
    assert hold_down_of_a_flap(bench) == pytest.approx(30, abs=0.5)
    bench.run(600.0)
    assert hold_down_of_a_flap(bench) == pytest.approx(5, abs=0.5)


def test_an_aborted_link_comes_back_when_its_qber_is_well_below_the_threshold() -> None:
    bench = settled(Optics(sifted_bps=100_000.0))
    bench.optics.qber = 0.25
    bench.run(10.0)
    bench.optics.qber = 0.105  # below the threshold of 11 %, not below the 9.9 % at which an abort ends
    bench.run(60.0)
    assert bench.condition is DOWN
    bench.optics.qber = 0.03
    bench.run(15.0)
    assert bench.condition is OK


def test_a_fault_whose_end_was_never_reported_ends_when_the_device_makes_key() -> None:
    bench = settled()
    bench.event(EndEvent.DEVICE_FAULT, A)  # and then the agent was restarted and forgot it
    bench.run(1.0)
    assert bench.track.end(A).fault is EndEvent.DEVICE_FAULT
    bench.run(10.0)
    assert bench.condition is OK


def test_a_fault_stands_while_the_device_makes_no_key() -> None:
    bench = settled()
    bench.event(EndEvent.DEVICE_FAULT, A)
    bench.optics.skr_bps = 0.0
    bench.run(60.0)
    assert bench.condition is DOWN


def test_a_link_that_is_down_does_not_come_back_unseen() -> None:
    bench = settled()
    bench.event(EndEvent.LOSS_OF_SIGNAL)
    bench.event(EndEvent.RESTORED)
    bench.wait(600.0)
    assert bench.condition is DOWN
    assert "no telemetry" in bench.estimate.reason
    bench.run(6.0)
    assert bench.condition is OK


# ---- silence and maintenance -----------------------------------------------------------------------


def test_a_link_is_stale_when_neither_end_is_heard_and_back_with_the_first_sample() -> None:
    bench = settled()
    heard = bench.track.end(B).seen_at
    assert heard is not None
    bench.wait(2.0)
    assert bench.condition is OK
    bench.wait(2.0)
    assert (bench.condition, bench.estimate.since) == (STALE, heard + 3.0)
    assert bench.estimate.usable_rate_bps == 0.0
    bench.run(0.2)
    assert bench.condition is OK


def test_one_end_is_enough_to_keep_a_link_from_staleness() -> None:
    bench = settled()
    assert bench.run(30.0, ends=(A,)) == []


def test_pool_levels_say_nothing_of_the_quantum_channel() -> None:
    bench = settled()
    bench.track = estimate.pool_reported(bench.track, A, usable_bits=1, intake_bits_total=1)
    bench.wait(4.0)
    assert bench.condition is STALE


def test_maintenance_overrides_everything_and_is_a_new_beginning() -> None:
    bench = settled()
    bench.optics.qber = 0.25
    bench.run(5.0)
    bench.limits = replace(bench.limits, maintenance=True)
    bench.assess()
    assert bench.condition is MAINTENANCE
    assert bench.run(5.0) == []
    bench.optics.qber = 0.07  # what 3 % were before the work: no jump, a new operating point
    bench.limits = replace(bench.limits, maintenance=False)
    bench.assess()
    bench.run(30.0)
    assert bench.condition is OK


events = st.one_of(
    st.tuples(st.just("event"), st.sampled_from(EndEvent), st.sampled_from([A, B])),
    st.tuples(st.just("run"), st.floats(0.0, 0.3), st.sampled_from(Status)),
    st.tuples(st.just("wait"), st.floats(0.0, 20.0), st.none()),
    st.tuples(st.just("maintenance"), st.booleans(), st.none()),
)


@given(st.lists(events, max_size=12))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_the_estimate_stays_consistent(script: list[tuple[str, object, object]]) -> None:
    bench = Bench(Optics(sifted_bps=5000.0))
    for what, first, second in script:
        if what == "event":
            bench.event(first, second)  # type: ignore[arg-type]
        elif what == "run":
            bench.optics.qber, bench.optics.status = first, second  # type: ignore[assignment]
            bench.run(1.0)
        elif what == "wait":
            bench.wait(first)  # type: ignore[arg-type]  # asserts that every deadline lies ahead
        else:
            bench.limits = replace(bench.limits, maintenance=bool(first))
            bench.assess()
        found = bench.estimate
        assert found.reason
        assert found.since <= bench.now
        assert takes_paths(found.condition) or found.usable_rate_bps == 0.0
        assert bench.limits.maintenance == (found.condition is MAINTENANCE)
        again, same = estimate.assess(bench.track, bench.limits, bench.now)
        # A single decisive row is named once; the second look names what remains to be seen of it.
        same = replace(same, reason=found.reason, evidence=found.evidence)
        assert same == found, "looking twice at one moment changes nothing"
        deadline = estimate.next_deadline(again, bench.limits)
        assert deadline is None or deadline > bench.now
