"""Rates and fidelities from counts: what is true comes out, intervals hold, and what changes is seen."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.common.entanglement.bell import Bell, werner
from keyweave.common.errors import UnavailableError
from keyweave.controller.pairs.chsh import chsh
from keyweave.controller.pairs.estimate import Counter, FidelityTally, RateTally, physical


def outcomes(chance: random.Random, state: Bell, count: int) -> tuple[list[int], list[int]]:
    """Outcomes of tests along X, Y and Z, in turn."""
    p, q, r, _ = state
    agree = (p + r, q + r, p + q)
    totals, equals = [0, 0, 0], [0, 0, 0]
    for number in range(count):
        axis = number % 3
        totals[axis] += 1
        equals[axis] += chance.random() < agree[axis]
    return totals, equals


def test_nothing_is_said_before_there_are_tests_along_every_axis() -> None:
    tally = FidelityTally()
    tally.add([100, 0, 100], [95, 0, 95], 1.0)
    assert tally.estimate() is None


def test_all_four_coefficients_come_out() -> None:
    state = Bell(0.9, 0.06, 0.03, 0.01)
    tally = FidelityTally()
    tally.add([3000, 3000, 3000], [round(3000 * (0.9 + 0.03)), round(3000 * 0.09), round(3000 * 0.96)], 1.0)
    found = tally.estimate()
    assert found is not None
    assert tuple(found.state) == pytest.approx(tuple(state), abs=0.001)


@pytest.mark.parametrize("fidelity", [0.6, 0.85, 0.97])
def test_the_interval_holds_the_truth_as_often_as_it_says(fidelity: float) -> None:
    chance = random.Random(7)
    held = 0
    for _ in range(200):
        tally = FidelityTally()
        tally.add(*outcomes(chance, werner(fidelity), 450), 1.0)
        found = tally.estimate()
        assert found is not None
        held += found.low <= fidelity <= found.high
    # 95 % of 200 are 190, give or take 3: five standard deviations below.
    assert held >= 175


def test_what_a_readout_gets_wrong_is_not_blamed_on_the_pair() -> None:
    readout = 0.98
    seen = (2 * readout - 1) ** 2
    tally = FidelityTally()
    agree = (1 + (4 * 0.9 - 1) / 3 * seen) / 2
    tally.add([4000] * 3, [round(4000 * agree), round(4000 * (1 - agree)), round(4000 * agree)], 1.0)
    found = tally.estimate(seen)
    assert found is not None
    assert found.fidelity == pytest.approx(0.9, abs=0.002)


def test_a_fidelity_that_falls_is_followed_within_some_hundred_tests() -> None:
    chance = random.Random(1)
    tally = FidelityTally()
    for second in range(200):
        tally.add(*outcomes(chance, werner(0.97), 20), float(second))
    for second in range(200, 220):
        tally.add(*outcomes(chance, werner(0.75), 20), float(second))
    found = tally.estimate()
    assert found is not None
    assert found.high < 0.9


@given(st.lists(st.floats(-0.3, 1.3), min_size=3, max_size=3))
def test_whatever_was_measured_a_state_has_probabilities(raw: list[float]) -> None:
    state = physical(Bell(raw[0], raw[1], raw[2], 1 - math.fsum(raw)))
    assert min(state) >= 0
    assert math.fsum(state) == pytest.approx(1)


def test_a_rate_is_heralds_by_the_time_of_trying() -> None:
    tally = RateTally()
    for _ in range(100):
        tally.add(5, 5_000, 0.5)
    assert tally.rate_hz == pytest.approx(10.0)
    assert tally.success_ratio == pytest.approx(0.001)


def test_a_rate_that_falls_at_once_is_followed_at_once() -> None:
    tally = RateTally()
    for _ in range(200):
        tally.add(20, 20_000, 0.2)
    for _ in range(60):
        tally.add(2, 20_000, 0.2)
    assert tally.rate_hz == pytest.approx(10.0, rel=0.5)


def test_silence_is_counted_in_pairs_that_were_to_come() -> None:
    tally = RateTally()
    for _ in range(50):
        tally.add(10, 1000, 1.0)
    tally.add(0, 1000, 1.0)
    assert tally.silence == pytest.approx(10.0)
    tally.add(0, 1000, 1.0)
    assert tally.silence > 15
    tally.add(1, 1000, 1.0)
    assert tally.silence == 0.0


def test_what_an_agent_counts_anew_after_a_start_is_all_new() -> None:
    counter = Counter()
    assert counter.news(5.0) == (5.0,)
    assert counter.news(8.0) == (3.0,)
    assert counter.news(2.0) == (2.0,)


# ---- CHSH ------------------------------------------------------------------------------------------


def test_a_perfect_pair_reaches_tsirelsons_bound() -> None:
    agree = (1 + 1 / math.sqrt(2)) / 2
    many = 1_000_000
    found = chsh([many] * 4, [round(many * agree)] * 3 + [round(many * (1 - agree))])
    assert found.s == pytest.approx(2 * math.sqrt(2), abs=1e-4)
    assert found.low > 2


def test_outcomes_that_are_settled_beforehand_never_surely_break_the_inequality() -> None:
    found = chsh([1000] * 4, [1000] * 4)
    assert found.s == pytest.approx(2.0)
    assert found.low < 2.0


def test_a_werner_pair_has_what_theory_says() -> None:
    fidelity, many = 0.9, 1_000_000
    value = 2 * math.sqrt(2) * (4 * fidelity - 1) / 3
    agree = (1 + value / 4) / 2
    found = chsh([many] * 4, [round(many * agree)] * 3 + [round(many * (1 - agree))])
    assert found.s == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(("pairs", "equal"), [([], []), ([1, 1, 1, 0], [0] * 4), ([1] * 4, [2, 0, 0, 0])])
def test_counts_that_cannot_be_are_refused(pairs: list[int], equal: list[int]) -> None:
    with pytest.raises(UnavailableError, match="ask for more pairs"):
        chsh(pairs, equal)
