"""A change of what is measured is told soon, dated rightly, and noise is not taken for one."""

import math

import numpy as np
import pytest

from keyweave.controller.estimate.changes import EVIDENCE, NO_CHANGES, Changes, Page, weighed
from keyweave.controller.estimate.signals import NOTHING_MEASURED, Kept, Rows, Signals
from keyweave.controller.estimate.windows import weights
from keyweave.controller.samples import Column
from tests.unit.measurements import samples

BATCH = 0.2
BITS = 2000.0


def qber(random: np.random.Generator, ratio: float, bits: float = BITS) -> Column:
    return np.array(
        [random.binomial(int(bits / 2), ratio) / int(bits / 2) for _ in range(2)], dtype=np.float32
    )


def batch(
    random: np.random.Generator, *, ratio: float = 0.03, loss: float = 14.0, dark: float = 400.0
) -> Rows:
    message = samples(
        qber=qber(random, ratio),
        sifted=BITS / BATCH,
        loss=random.normal(loss, 0.05, 2).astype(np.float32),
        counts=50_000.0,
        dark_counts=(random.poisson(dark * 0.1, 2) / 0.1).astype(np.float32),
    )
    return Rows(message, weights(2, 0.1, (60.0,)))


def learnt(random: np.random.Generator, **optics: float) -> Signals:
    """What was measured for a minute."""
    baseline = NOTHING_MEASURED
    for _ in range(300):
        baseline = batch(random, **optics).fold(baseline, 0, 1.0, Kept.BASELINE)
    return baseline


def followed(
    random: np.random.Generator, baseline: Signals, batches: int, begin: float = 0.0, **optics: float
) -> Changes:
    changes = NO_CHANGES
    for number in range(batches):
        changes = weighed(changes, batch(random, **optics), baseline, begin + number * BATCH, learning=False)
    return changes


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_is_no_change(seed: int) -> None:
    random = np.random.default_rng(seed)
    assert not followed(random, learnt(random), 3000).any_told


@pytest.mark.parametrize(
    ("quantity", "optics"),
    [
        ("qber", {"ratio": 0.055}),
        ("loss", {"loss": 14.7}),
        ("dark_rise", {"dark": 800.0}),
        ("dark_fall", {"dark": 20.0}),
    ],
)
def test_a_change_is_told_by_its_own_test_alone(quantity: str, optics: dict[str, float]) -> None:
    random = np.random.default_rng(7)
    changes = followed(random, learnt(random), 20, **optics)
    told = {name for name in ("qber", "loss", "dark_rise", "dark_fall") if getattr(changes, name).told}
    assert told == {quantity}


def test_a_change_is_dated_to_where_it_began() -> None:
    random = np.random.default_rng(3)
    baseline = learnt(random)
    changes = NO_CHANGES
    for number in range(400):
        ratio = 0.03 if number < 300 else 0.055
        changes = weighed(changes, batch(random, ratio=ratio), baseline, number * BATCH, learning=False)
    assert changes.qber.since == pytest.approx(300 * BATCH, abs=2.0)
    assert changes.qber.mean == pytest.approx(0.055, abs=0.003)
    assert changes.told_since == changes.qber.since


def test_a_change_that_is_over_is_seen_to_be_so() -> None:
    random = np.random.default_rng(3)
    baseline = learnt(random)
    changes = followed(random, baseline, 600, ratio=0.055)
    for number in range(50):
        changes = weighed(changes, batch(random), baseline, 120 + number * BATCH, learning=False)
    assert changes.qber == Page()


def test_what_is_hardly_known_is_not_watched() -> None:
    random = np.random.default_rng(3)
    baseline = batch(random).fold(NOTHING_MEASURED, 0, 1.0, Kept.BASELINE)
    few = baseline._replace(qber=baseline.qber._replace(bits=900.0, bit_squares=900.0))
    assert followed(random, few, 50, ratio=0.2, loss=30.0, dark=8000.0) == NO_CHANGES


def test_errors_that_come_in_bursts_count_less() -> None:
    """A device whose errors scatter ten times as much as independent ones gives no false alarm."""
    random = np.random.default_rng(11)
    baseline = learnt(random)
    changes, most = NO_CHANGES, 0.0
    for number in range(3000):
        ratio = 0.03 + 0.012 * random.choice([-1, 1])
        changes = weighed(changes, batch(random, ratio=ratio), baseline, number * BATCH, learning=True)
        if number > 100:
            most = max(most, changes.qber.evidence)
    assert changes.scatter.mean > 5
    assert most < EVIDENCE


def test_evidence_is_the_log_likelihood_ratio() -> None:
    random = np.random.default_rng(5)
    baseline = learnt(random)
    one = batch(random, ratio=0.08)
    before = baseline.qber.ratio + 3 * math.sqrt(baseline.qber.ratio_variance)
    after = before + 0.02
    errors, bits = one.sums.errors, one.sums.bits
    gain = errors * math.log(after / before) + (bits - errors) * math.log((1 - after) / (1 - before))
    assert weighed(NO_CHANGES, one, baseline, 0.0, learning=False).qber.evidence == pytest.approx(
        min(gain, 2 * EVIDENCE)
    )
