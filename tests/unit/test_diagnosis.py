"""What moved together is read as design section 7 has it, with the evidence."""

import pytest

from keyweave.controller.estimate.estimate import Cause, LinkEstimate
from keyweave.controller.topology import Condition
from keyweave.emulator.physics.model import Disturbance
from tests.bench.diagnosis.classes import KINDS, Kind, simulate
from tests.bench.diagnosis.simulated import Simulated, operating_point

SUSPECT, DEGRADED, OK, DOWN = Condition.SUSPECT, Condition.DEGRADED, Condition.OK, Condition.DOWN


def metro(seed: int = 1, *, pulse_rate_hz: float = 1e8, length_km: float = 50.0) -> Simulated:
    """A 50 km link that has been watched for a minute."""
    link = Simulated(operating_point(length_km, pulse_rate_hz, 0.025), seed)
    link.run(60.0)
    assert link.estimate.condition is OK
    link.told.clear()
    return link


def bad(estimate: LinkEstimate) -> bool:
    return estimate.condition in {SUSPECT, DOWN}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_class_is_read_as_what_it_is(kind: Kind, seed: int) -> None:
    assert simulate(kind, seed).reading() is kind.reading


@pytest.mark.parametrize("seed", range(5))
def test_full_interception_is_told_within_two_batches(seed: int) -> None:
    link = metro(seed)
    took = link.run(2.0, lambda _s: Disturbance(intercepted_ratio=1.0), until=bad)
    assert took is not None
    assert took <= 2 * link.batch_seconds + 1e-6


@pytest.mark.parametrize("pulse_rate_hz", [5e6, 1e8])
def test_interception_of_a_tenth_is_told_within_a_minute(pulse_rate_hz: float) -> None:
    link = metro(pulse_rate_hz=pulse_rate_hz)
    took = link.run(60.0, lambda _s: Disturbance(intercepted_ratio=0.1), until=bad)
    assert took is not None
    assert link.estimate.cause is Cause.INTERCEPTION


def test_suspicion_is_dated_to_where_the_interception_began() -> None:
    link = metro(pulse_rate_hz=5e6)
    begun = link.now
    link.run(30.0, lambda _s: Disturbance(intercepted_ratio=0.1), until=bad)
    assert link.estimate.suspect_since == pytest.approx(begun, abs=1.0)


def test_interception_that_loss_is_to_hide_is_suspected_all_the_same() -> None:
    link = metro()
    link.run(20.0, lambda _s: Disturbance(intercepted_ratio=0.5, added_loss_db=3.0))
    assert link.reading() is Cause.INTERCEPTION


def test_a_bend_that_takes_the_qber_over_the_threshold_is_down_and_read_as_loss() -> None:
    link = metro(length_km=100.0)
    link.run(20.0, lambda _s: Disturbance(added_loss_db=22.0))
    assert (link.estimate.condition, link.estimate.cause) == (DOWN, Cause.LOSS)
    assert "at or above the abort threshold" in link.estimate.reason


def test_evidence_says_what_moved_by_how_much_since_when_and_what_else_it_could_be() -> None:
    link = metro()
    link.run(5.0, lambda _s: Disturbance(added_loss_db=3.0))
    *figures, others = link.estimate.evidence
    (loss,) = [figure for figure in figures if figure.startswith("b: loss")]
    assert loss.startswith(("b: loss 14.9", "b: loss 15.0"))
    assert "before 12.0" in loss or "before 11.9" in loss
    assert loss.endswith("since 2001-09-09T01:47:40Z")
    assert others.startswith("could also be: ")
    assert "a tap" in others


def test_what_has_changed_harmlessly_for_long_is_usual_then() -> None:
    link = metro()
    link.run(60.0, lambda _s: Disturbance(added_loss_db=2.0))
    assert (link.estimate.condition, link.estimate.cause) == (DEGRADED, Cause.LOSS)
    link.run(860.0, lambda _s: Disturbance(added_loss_db=2.0))
    assert (link.estimate.condition, link.estimate.cause) == (OK, None)


def test_the_end_of_what_explained_a_qber_is_no_interception() -> None:
    link = metro(length_km=75.0)
    link.run(30.0, lambda _s: Disturbance(dark_count_burst_factor=300.0))
    assert link.reading() is Cause.DARK_COUNTS
    link.run(30.0)
    assert {said.cause for _, said in link.told} <= {Cause.DARK_COUNTS, Cause.QBER, None}


def test_what_is_over_is_no_longer_told() -> None:
    link = metro()
    link.run(60.0, lambda _s: Disturbance(dark_count_burst_factor=10.0))
    assert link.reading() is Cause.DARK_COUNTS
    link.run(20.0)
    assert link.estimate.condition is OK
    assert link.reading() is None


def test_an_end_that_alone_tells_a_worse_qber_is_not_believed_to_be_intercepted() -> None:
    link = metro()
    link.b_adds_qber = 0.04
    link.run(20.0)
    assert link.reading() is Cause.DISAGREEMENT
