"""The statistics beneath the estimate: weights follow time, and uncertainty is honest."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from keyweave.controller.estimate.windows import (
    Moments,
    Values,
    Weights,
    student_95,
    summed,
    weights,
    wilson_lower,
)

INTERVAL, TAU = 0.1, 2.0
rates = st.lists(st.floats(0, 1e6), min_size=1, max_size=60).map(
    lambda rows: np.array(rows, dtype=np.float64)
)


NO_ROWS = np.array([])


def batch_of(values: Values) -> Weights:
    return weights(len(values), INTERVAL, (1.0, TAU, 60.0))


def moments_of(values: Values) -> Moments:
    return summed(batch_of(values), [values], NO_ROWS, NO_ROWS).moments(0, 1)


def fold(moments: Moments, values: Values, gap_fade: float = 1.0) -> Moments:
    return moments.fold(batch_of(values).fades[1] * gap_fade, moments_of(values))


def folded(values: Values) -> Moments:
    return fold(Moments(), values)


@given(rates)
def test_mean_and_variance_are_those_of_the_weighted_rows(values: Values) -> None:
    weight = np.exp(-np.arange(len(values))[::-1] * INTERVAL / TAU)
    mean = np.average(values, weights=weight)
    moments = folded(values)

    assert moments.mean == pytest.approx(mean, rel=1e-9, abs=1e-6)
    assert moments.effective_samples == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    if len(values) > 1:
        unbiased = weight @ (values - mean) ** 2 / (weight.sum() - (weight**2).sum() / weight.sum())
        assert moments.variance == pytest.approx(unbiased, rel=1e-6, abs=1e-3)


@given(rates, st.integers(0, 60))
def test_it_does_not_matter_how_rows_are_split_into_batches(values: Values, at: int) -> None:
    first, second = values[: min(at, len(values))], values[min(at, len(values)) :]
    split = Moments()
    for part in (first, second):
        if part.size:
            split = fold(split, part)
    whole = folded(values)

    assert split.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
    assert split.weight == pytest.approx(whole.weight)
    assert split.deviation_squares == pytest.approx(whole.deviation_squares, rel=1e-6, abs=1e-2)


@given(rates)
def test_the_lower_bound_lies_between_nothing_and_the_mean(values: Values) -> None:
    moments = folded(values)
    assert 0.0 <= moments.lower_bound <= moments.mean * (1 + 1e-12)


@given(rates.filter(lambda values: values.size > 2), st.floats(0.1, 10))
def test_the_bound_scales_with_the_unit(values: Values, unit: float) -> None:
    scaled = folded(values * unit).lower_bound
    assert scaled == pytest.approx(folded(values).lower_bound * unit, rel=1e-6, abs=1e-3)


def test_one_sample_says_nothing_of_its_scatter_so_nothing_is_promised() -> None:
    assert folded(np.array([5000.0])).lower_bound == 0.0


def test_more_rows_of_the_same_scatter_narrow_the_bound() -> None:
    scatter = np.tile([900.0, 1100.0], 40)
    bounds = [folded(scatter[:rows]).lower_bound for rows in (2, 4, 8, 16, 32)]
    assert bounds == sorted(bounds)


def test_the_bound_holds_for_nineteen_of_twenty_means() -> None:
    random = np.random.default_rng(3)
    bounds = [folded(random.normal(1000, 100, 12)).lower_bound for _ in range(2000)]
    held = sum(bound <= 1000 for bound in bounds) / len(bounds)
    assert 0.93 < held < 0.97


def test_a_gap_lets_the_past_fade_as_its_time_does() -> None:
    old, new = np.full(50, 100.0), np.array([200.0])
    gap_seconds = 3.0
    after_gap = fold(folded(old), new, math.exp(-gap_seconds / TAU))
    after_missing_rows = folded(np.concatenate([old, np.full(30, np.nan), new]))

    assert after_gap.mean == pytest.approx(after_missing_rows.mean)
    assert after_gap.mean > folded(np.concatenate([old, new])).mean


def test_rows_that_are_missing_change_no_mean() -> None:
    known = folded(np.array([1.0, 2.0, 3.0]))
    missing = np.array([np.nan, np.nan])
    assert fold(known, missing).mean == known.mean


@pytest.mark.parametrize("freedom", [3.0, 5.0, 10.0, 30.0, 1000.0])
def test_students_quantile_is_close_to_the_exact_one(freedom: float) -> None:
    assert student_95(freedom) == pytest.approx(student.ppf(0.95, freedom), rel=0.003)


@given(st.integers(1, 10_000), st.data())
def test_wilsons_bound_never_exceeds_what_was_seen(bits: int, data: st.DataObject) -> None:
    errors = data.draw(st.integers(0, bits))
    assert 0.0 <= wilson_lower(errors / bits, bits, 4.0) <= errors / bits + 1e-12


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_the_same_ratio_over_more_bits_is_surer(few: int, more: int) -> None:
    assert wilson_lower(0.25, few, 4.0) <= wilson_lower(0.25, few + more, 4.0)


def test_a_qber_is_weighted_by_bits_not_by_rows() -> None:
    bits = np.array([9000.0, 1000.0])
    errors = bits * np.array([0.02, 0.12])
    counts = summed(weights(2, 1e-9, (1.0,)), [], errors / bits, bits).counts(0)

    assert counts.ratio == pytest.approx(0.03)
    assert counts.effective_bits == pytest.approx(10_000)
    assert counts.ratio_variance == pytest.approx(0.03 * 0.97 / 10_000)
