"""Telemetry that lies: no rate is planned on that does not reach both pools, and contradictions show."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.controller.estimate.agreement import (
    INTAKE_WINDOW_SECONDS,
    PATIENCE_BITS,
    PATIENCE_SECONDS,
    Intake,
    Mark,
)
from keyweave.controller.estimate.estimate import Cause
from keyweave.controller.topology import Condition, Status
from tests.unit.measurements import B, Bench, Optics, settled


def honest() -> Optics:
    """A link whose whole rate reaches both pools."""
    return Optics(skr_bps=3000.0, sifted_bps=100_000.0, arriving_bps=3000.0)


def told(bench: Bench, seconds: float) -> set[str]:
    """Every contradiction that is told of while time goes by."""
    words = set()
    for _ in range(round(seconds)):
        bench.run(1.0)
        words.add(bench.estimate.ends_disagree)
    return words - {""}


# ---- the rate ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_bits", [512, 2048, 30_000])
def test_what_an_honest_link_makes_is_used_whole(block_bits: int) -> None:
    bench = settled(replace(honest(), block_bits=block_bits))
    bench.run(60.0)
    assert bench.estimate.usable_rate_bps > 0.93 * 3000
    assert bench.estimate.intake_bps == pytest.approx(3000, rel=0.1, abs=block_bits / INTAKE_WINDOW_SECONDS)


def test_a_device_that_claims_a_megabit_while_a_kilobit_arrives_is_planned_with_a_kilobit() -> None:
    bench = settled(replace(honest(), skr_bps=1e6, arriving_bps=1000.0, block_bits=256))
    bench.run(30.0)
    assert bench.estimate.usable_rate_bps == pytest.approx(1000, rel=0.1)
    assert "claims" in bench.estimate.ends_disagree
    assert "reach both pools" in bench.estimate.ends_disagree


@pytest.mark.parametrize("factor", [1000.0, 3.0, 0.3])
def test_of_two_pools_that_differ_the_lesser_counts_and_it_is_told(factor: float) -> None:
    bench = settled(replace(honest(), b_counts=factor))
    bench.run(60.0)
    assert bench.estimate.usable_rate_bps <= 1.3 * 3000 * min(1.0, factor)
    assert "pools take in" in bench.estimate.ends_disagree
    assert bench.condition is Condition.OK, "a rate that is claimed wrongly harms no key"


def test_an_end_whose_pool_never_takes_anything_in_makes_the_link_worth_nothing() -> None:
    bench = settled(replace(honest(), b_counts=0.0))
    bench.run(PATIENCE_SECONDS + 5.0)
    assert bench.estimate.usable_rate_bps == 0.0
    assert bench.estimate.intake_bps == 0.0


def test_until_pools_have_had_time_to_open_the_devices_are_believed() -> None:
    bench = Bench(replace(honest(), arriving_bps=0.0))
    bench.run(10.0)
    assert bench.estimate.intake_bps is None
    assert bench.estimate.usable_rate_bps > 0.9 * 3000


def test_what_waited_for_the_pool_to_open_is_no_rate() -> None:
    bench = Bench(replace(honest(), arriving_bps=0.0))
    bench.run(8.0)
    bench.optics.arriving_bps = 100_000.0  # what came before policy did, at once
    bench.run(0.2)
    bench.optics.arriving_bps = 3000.0
    bench.run(INTAKE_WINDOW_SECONDS + 1.0)
    assert bench.estimate.intake_bps == pytest.approx(3000, rel=0.3)


def test_a_link_that_nobody_asked_for_keys_keeps_its_rate() -> None:
    bench = settled(honest())
    bench.run(30.0)
    bench.optics.status = Status.PASSIVE
    bench.run(120.0)
    assert bench.estimate.usable_rate_bps > 0.9 * 3000


def test_an_agent_that_starts_again_counts_from_zero_and_keeps_its_rate() -> None:
    intake = Intake()
    for second in range(20):
        intake = intake.taken(Mark(float(second), second * 3000), producing=True, claimed_bps=3000.0)
    again = intake.taken(Mark(20.0, 0), producing=True, claimed_bps=3000.0).taken(
        Mark(21.0, 500_000), producing=True, claimed_bps=3000.0
    )
    assert again.rate_bps == intake.rate_bps


def test_a_slow_link_whose_blocks_come_once_a_minute_is_never_taken_for_one_that_gives_none() -> None:
    intake = Intake()
    for second in range(600):
        intake = intake.taken(Mark(float(second), second // 60 * 1536), producing=True, claimed_bps=25.0)
        assert intake.rate_bps is None or intake.rate_bps >= 25.0
    assert intake.rate_bps is not None


def test_a_slow_device_that_gives_nothing_is_found_out_by_its_own_word() -> None:
    intake, rates = Intake(), []
    for second in range(200):
        intake = intake.taken(Mark(float(second), 0), producing=True, claimed_bps=25.0)
        rates.append(intake.rate_bps)
    assert rates.index(0.0) == math.ceil(PATIENCE_BITS / 25.0)


@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 2**63), st.booleans()), min_size=1, max_size=60)
)
def test_whatever_an_end_says_its_rate_is_never_negative_nor_above_what_it_counted(
    reports: list[tuple[float, int, bool]],
) -> None:
    intake, time = Intake(), 1000.0
    for step, bits, producing in reports:
        time += step
        intake = intake.taken(Mark(time, bits), producing=producing, claimed_bps=3000.0)
        highest = max(bits for _, bits, _ in reports)
        assert intake.rate_bps is None or 0.0 <= intake.rate_bps <= 2 * highest / INTAKE_WINDOW_SECONDS


@given(
    rate=st.floats(300.0, 1e6),
    block=st.sampled_from([512, 2048, 16_384]),
    every=st.floats(0.1, 1.0),
    late=st.floats(0.0, 1.0),
)
def test_steady_intake_is_never_taken_for_less_than_it_is(
    rate: float, block: int, every: float, late: float
) -> None:
    intake = Intake()
    for report in range(1, round(60 / every)):
        time = report * every
        bits = int(rate * (time + late)) // block * block
        intake = intake.taken(Mark(time, bits), producing=True, claimed_bps=3000.0)
        # Of a slow link it is known only once a second block has come.
        assert intake.rate_bps is None or intake.rate_bps >= 0.999 * rate or not intake.block_bits


# ---- contradictions ------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 1000),
    sifted=st.sampled_from([1000.0, 10_000.0, 1e6]),
    block=st.sampled_from([512, 2048, 16_384]),
)
@settings(max_examples=10, deadline=None)
def test_honest_ends_never_seem_to_disagree(seed: int, sifted: float, block: int) -> None:
    bench = Bench(replace(honest(), sifted_bps=sifted, block_bits=block), seed=seed)
    assert told(bench, 60) == set()


def test_a_pool_that_opens_anew_is_no_contradiction() -> None:
    bench = settled(honest())
    bench.run(30.0)
    bench.optics.arriving_bps = 0.0
    words = told(bench, 4)
    bench.optics.arriving_bps = 3000.0
    assert words | told(bench, 30) == set()


@pytest.mark.parametrize("factor", [3.0, 0.3])
def test_a_secret_key_rate_that_one_end_overstates_is_told_and_the_lower_one_used(factor: float) -> None:
    bench = settled(replace(honest(), b_claims=factor))
    bench.run(20.0)
    assert "secret key rate" in bench.estimate.ends_disagree
    assert bench.estimate.usable_rate_bps <= 3000 * min(1.0, factor) * 1.05
    assert bench.condition is Condition.OK


def test_errors_that_one_end_hides_make_the_link_suspect_from_when_they_differed() -> None:
    bench = settled(honest())
    began = bench.now
    bench.optics.b_adds_qber = 0.04
    bench.run(20.0, until=Condition.SUSPECT)
    assert (bench.condition, bench.track.cause) == (Condition.SUSPECT, Cause.DISAGREEMENT)
    assert "a node or its device misreports" in bench.estimate.reason
    assert f"'{B}'" in bench.estimate.reason
    assert began - 0.5 <= bench.estimate.suspect_since <= began + 2.0


def test_an_end_that_tells_the_truth_again_is_believed_after_the_hold_down() -> None:
    bench = Bench(replace(honest(), b_adds_qber=0.04))
    changes = bench.run(20.0, until=Condition.SUSPECT)
    assert changes[-1][1] is Condition.SUSPECT
    bench.optics.b_adds_qber = 0.0
    bench.run(30.0)
    assert bench.condition is Condition.OK
    assert (bench.estimate.suspect_since, bench.estimate.suspect_reason) == (0.0, "")


# ---- the onset -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sifted_bps", [5_000.0, 100_000.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_suspicion_reaches_back_to_where_the_errors_began_and_stays(sifted_bps: float, seed: int) -> None:
    bench = Bench(Optics(sifted_bps=sifted_bps), seed=seed)
    bench.run(60.0)
    began = bench.now
    bench.optics.qber = 0.075
    bench.run(10.0, until=Condition.SUSPECT)
    assert bench.condition is Condition.SUSPECT
    since, reason = bench.estimate.suspect_since, bench.estimate.suspect_reason
    # Noise may have begun the rise a little early: that costs key, not secrecy.
    assert began - 3.0 <= since <= began + 0.2
    assert "interception suspected" in reason
    bench.run(20.0)
    assert (bench.estimate.suspect_since, bench.estimate.suspect_reason) == (since, reason)
