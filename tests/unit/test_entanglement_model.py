"""What swapping, purification, waiting and heralding make of pairs, against published values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.common.entanglement import bell, heralding, memory, purification
from keyweave.common.entanglement.bell import PERFECT, Bell
from keyweave.common.entanglement.memory import Memory


@st.composite
def states(draw: st.DrawFn) -> Bell:
    """Any Bell-diagonal state of which Phi+ is the largest part."""
    parts = sorted(draw(st.lists(st.floats(1e-6, 1.0), min_size=4, max_size=4)), reverse=True)
    return Bell(*(part / math.fsum(parts) for part in parts))


def is_a_state(state: Bell) -> bool:
    return min(state) >= -1e-12 and math.isclose(math.fsum(state), 1.0, abs_tol=1e-9)


# ---- swapping --------------------------------------------------------------------------------------


def test_two_werner_pairs_of_0_9_swap_to_0_81333() -> None:
    swapped = bell.swapped(bell.werner(0.9), bell.werner(0.9))
    assert swapped.fidelity == pytest.approx(0.81333, abs=5e-6)
    assert swapped == pytest.approx(bell.werner(swapped.fidelity))


def test_four_links_of_0_95_give_0_81913() -> None:
    assert bell.chain_fidelity(0.95, 4) == pytest.approx(0.81913, abs=5e-6)


@given(fidelity=st.floats(0.25, 1.0), links=st.integers(1, 12))
def test_swapping_one_by_one_is_the_chain_formula(fidelity: float, links: int) -> None:
    state = pair = bell.werner(fidelity)
    for _ in range(links - 1):
        state = bell.swapped(state, pair)
    assert state.fidelity == pytest.approx(bell.chain_fidelity(fidelity, links), abs=1e-9)


@given(left=states(), right=states(), third=states())
def test_the_order_of_swaps_does_not_matter_and_gives_a_state(left: Bell, right: Bell, third: Bell) -> None:
    one = bell.swapped(bell.swapped(left, right), third)
    other = bell.swapped(left, bell.swapped(right, third))
    assert is_a_state(one)
    assert one == pytest.approx(other, abs=1e-12)
    assert bell.swapped(left, PERFECT) == pytest.approx(left, abs=1e-12)


def test_a_measurement_that_fails_wholly_leaves_a_fully_mixed_pair() -> None:
    assert bell.swapped(PERFECT, PERFECT, measurement_fidelity=0.0) == pytest.approx((0.25,) * 4)


@given(fidelity=st.floats(0.25, 1.0))
def test_the_error_rate_of_werner_pairs_is_two_thirds_of_what_fidelity_lacks(fidelity: float) -> None:
    assert bell.werner(fidelity).qber_ratio == pytest.approx(bell.werner_qber(fidelity), abs=1e-12)


@pytest.mark.parametrize("fidelity", [0.2, 1.01, math.nan])
def test_no_werner_state_has_such_a_fidelity(fidelity: float) -> None:
    with pytest.raises(ValueError, match="fidelity"):
        bell.werner(fidelity)


# ---- purification ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after", "success"), [(0.9, 0.92640, 0.87556), (0.8, 0.83815, 0.76889)])
def test_bbpssw(before: float, after: float, success: float) -> None:
    made = purification.bbpssw(bell.werner(before), bell.werner(before))
    assert made.state.fidelity == pytest.approx(after, abs=5e-6)
    assert made.success_ratio == pytest.approx(success, abs=5e-6)
    assert made.state == pytest.approx(bell.werner(made.state.fidelity))


def test_dejmps_from_0_8_in_three_rounds() -> None:
    state, fidelities, successes = bell.werner(0.8), [], []
    for _ in range(3):
        made = purification.dejmps(state, state)
        state = made.state
        fidelities.append(round(state.fidelity, 5))
        successes.append(round(made.success_ratio, 4))
    assert fidelities == [0.83815, 0.94364, 0.98797]
    assert successes == [0.7689, 0.7446, 0.9013]


@given(first=states(), second=states())
def test_purification_gives_a_state_with_a_probability(first: Bell, second: Bell) -> None:
    for protocol in (purification.dejmps, purification.bbpssw):
        made = protocol(first, second)
        assert is_a_state(made.state)
        assert 0.0 < made.success_ratio <= 1.0 + 1e-12


@given(fidelity=st.floats(0.501, 0.999))
def test_two_equal_werner_pairs_above_a_half_always_gain(fidelity: float) -> None:
    assert purification.bbpssw(bell.werner(fidelity), bell.werner(fidelity)).state.fidelity > fidelity


def test_rounds_multiply_their_chances_and_what_they_use() -> None:
    made = purification.rounds(bell.werner(0.8), 3)
    assert made.state.fidelity == pytest.approx(0.98797, abs=5e-6)
    assert made.success_ratio == pytest.approx(0.76889 * 0.7446 * 0.9013, rel=1e-3)
    used = purification.pairs_per_purified(bell.werner(0.8), 3)
    assert used == pytest.approx(8 / (0.76889 * 0.7446 * 0.9013), rel=1e-3)


# ---- waiting ---------------------------------------------------------------------------------------


def test_a_perfect_pair_after_one_coherence_time() -> None:
    kept = Memory(t2_seconds=0.5)
    one_side = memory.waited(PERFECT, 0.5, kept)
    assert one_side.fidelity == pytest.approx(0.68394, abs=5e-6)
    assert memory.waited(one_side, 0.5, kept).fidelity == pytest.approx(0.56767, abs=5e-6)


def test_a_depolarising_memory_ends_fully_mixed() -> None:
    assert memory.depolarised(PERFECT, 1.0, 1.0).fidelity == pytest.approx(0.25 + 0.75 * math.exp(-1))
    assert memory.depolarised(PERFECT, 1e6, 1.0) == pytest.approx((0.25,) * 4)


@given(
    state=states(),
    first=st.floats(0.0, 3.0),
    second=st.floats(0.0, 3.0),
    t1=st.floats(0.1, 10.0),
    share=st.floats(0.05, 2.0),
)
def test_waiting_twice_is_waiting_as_long_at_once(
    state: Bell, first: float, second: float, t1: float, share: float
) -> None:
    kept = Memory(t1_seconds=t1, t2_seconds=t1 * share)
    at_once = memory.waited(state, first + second, kept)
    assert is_a_state(at_once)
    assert memory.waited(memory.waited(state, first, kept), second, kept) == pytest.approx(at_once, abs=1e-9)


@given(fidelity=st.floats(0.6, 0.99), floor=st.floats(0.5, 0.98), t2=st.floats(0.01, 100.0))
def test_at_the_cutoff_time_the_fidelity_is_at_the_floor(fidelity: float, floor: float, t2: float) -> None:
    state, kept = bell.werner(fidelity), Memory(t2_seconds=t2)
    seconds = memory.cutoff_seconds(state, floor, kept, kept)
    if fidelity < floor:
        assert seconds == 0.0
    elif math.isfinite(seconds):
        then = memory.waited(memory.waited(state, seconds, kept), seconds, kept)
        assert floor <= then.fidelity + 1e-12
        later = memory.waited(memory.waited(state, seconds * 1.01, kept), seconds * 1.01, kept)
        assert later.fidelity <= floor + 1e-3


@pytest.mark.parametrize("times", [(0.0, 1.0), (1.0, 0.0), (1.0, 2.1), (-1.0, 1.0)])
def test_times_that_no_memory_has_are_refused(times: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="seconds"):
        Memory(*times)


# ---- heralding -------------------------------------------------------------------------------------


def test_single_click_trades_rate_for_fidelity() -> None:
    attempt = heralding.single_click(0.05, 0.01)
    assert attempt.success_ratio == pytest.approx(2 * 0.05 * 0.01)
    assert attempt.state.fidelity == pytest.approx(0.95)


def test_double_click_pays_for_loss_with_rate_alone() -> None:
    attempt = heralding.double_click(0.1)
    assert attempt.success_ratio == pytest.approx(0.005)
    assert attempt.state == PERFECT
    assert heralding.double_click(0.1, visibility_ratio=0.9).state.fidelity == pytest.approx(0.95)


def test_attempts_wait_for_light_to_go_and_the_herald_to_come_back() -> None:
    # 20 km of silica take 98 us one way: 10 km there, 10 km back.
    assert heralding.attempt_rate_hz(20.0) == pytest.approx(10_211, rel=1e-3)
    assert heralding.attempt_rate_hz(20.0, own_rate_hz=1000.0) == 1000.0
    assert heralding.attempt_rate_hz(0.0, own_rate_hz=1000.0) == 1000.0


def test_fifty_kilometres_of_fibre_lose_ten_decibels() -> None:
    assert heralding.fibre_transmission(50.0) == pytest.approx(0.1)
