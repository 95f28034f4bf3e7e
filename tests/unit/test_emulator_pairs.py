"""States of emulated pairs against theory: formulas to the digit, outcomes within four sigma."""

import math
from functools import reduce
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.common.entanglement.bell import PERFECT, Bell, swapped, werner
from keyweave.common.entanglement.memory import Memory, waited
from keyweave.common.entanglement.purification import dejmps
from keyweave.common.names import NodeName
from keyweave.controller.routing.entanglement.waiting import correlations, purifying
from keyweave.emulator.memories import pairs
from keyweave.emulator.memories.pairs import Half, Pair, Vector

FOR_EVER = Memory()
# Dephases in a second.
ONE_SECOND = Memory(t2_seconds=1.0)
X, Y, Z = Vector(1.0, 0.0, 0.0), Vector(0.0, 1.0, 0.0), Vector(0.0, 0.0, 1.0)
A, B, C = NodeName("a"), NodeName("b"), NodeName("c")


def pair(state: Bell, near: NodeName = A, far: NodeName = B, memory: Memory = FOR_EVER) -> tuple[Half, Half]:
    """The two halves of a new pair."""
    a, b = Half(near, memory, 0.0), Half(far, memory, 0.0)
    pairs.heralded(state, False, False, a, b)
    return a, b


def fidelity(half: Half, now: float) -> float:
    """Of a whole pair, all decoherence taken."""
    for each in half.pair.halves:
        pairs.settle(each, now)
    return half.pair.state.fidelity


def four_sigma(ratio: float, count: int) -> float:
    return 4.0 * math.sqrt(ratio * (1.0 - ratio) / count)


states = st.lists(st.floats(0.001, 1.0), min_size=4, max_size=4).map(
    lambda parts: Bell(*(part / math.fsum(parts) for part in parts))
)
seeds = st.integers(0, 2**32).map(Random)


# ---- waiting ---------------------------------------------------------------------------------------


def test_a_perfect_pair_after_t2_has_fidelity_0_68394_if_one_half_waits_and_0_56767_if_both_do() -> None:
    a, b = pair(PERFECT, memory=ONE_SECOND)
    b.memory = FOR_EVER
    assert fidelity(a, 1.0) == pytest.approx(0.68394, abs=5e-6)
    a, _ = pair(PERFECT, memory=ONE_SECOND)
    assert fidelity(a, 1.0) == pytest.approx(0.56767, abs=5e-6)


@given(state=states, times=st.lists(st.floats(0.0, 3.0), max_size=6))
def test_it_does_not_matter_how_often_a_pair_is_looked_at(state: Bell, times: list[float]) -> None:
    memory = Memory(2.0, 1.5)
    a, b = pair(state, memory=memory)
    for moment in sorted(times):
        pairs.settle(a, moment)
    fidelity(a, 3.0)
    assert a.pair.state == pytest.approx(waited(waited(state, 3.0, memory), 3.0, memory))
    assert b.since == 3.0


def test_a_fault_that_shortens_t2_acts_from_when_it_begins() -> None:
    a, b = pair(PERFECT, memory=ONE_SECOND)
    b.memory = FOR_EVER
    pairs.fades(a, Memory(t2_seconds=0.25), 0.5)
    # Half a second at 1 s and half a second at 0.25 s: as 2.5 s at 1 s.
    assert fidelity(a, 1.0) == pytest.approx((1.0 + math.exp(-2.5)) / 2.0)


# ---- swapping ----------------------------------------------------------------------------------------


def test_two_werner_pairs_of_0_9_swap_to_0_81333_once_the_frame_is_corrected() -> None:
    chance = Random(1)
    told = set()
    for _ in range(40):
        (a, left), (right, c) = pair(werner(0.9)), pair(werner(0.9), B, C)
        x, z = pairs.swap(left, right, 1.0, 0.0, chance)
        assert a.pair is c.pair
        pairs.correct(c, x, z, 0.0)
        assert fidelity(a, 0.0) == pytest.approx(0.81333, abs=5e-6)
        told.add((x, z))
    assert len(told) == 4


@given(first=states, second=states, done=st.floats(0.0, 1.0), chance=seeds)
def test_swapping_is_what_the_planner_reckons_with(
    first: Bell, second: Bell, done: float, chance: Random
) -> None:
    (_, left), (right, c) = pair(first), pair(second, B, C)
    x, z = pairs.swap(left, right, done, 0.0, chance)
    pairs.correct(c, x, z, 0.0)
    assert c.pair.state == pytest.approx(swapped(first, second, done))


def test_an_end_that_measures_before_the_swap_has_the_same_correlations_as_one_that_measures_after() -> None:
    for early in ("one end", "both ends"):
        for along, sign in ((X, 1), (Y, -1), (Z, 1)):
            chance, equal, count = Random(f"{early}{along}"), 0, 4000
            for _ in range(count):
                (a, left), (right, c) = pair(werner(0.9)), pair(werner(0.9), B, C)
                ours = pairs.measure(a, along, 0.0, chance)
                if early == "both ends":
                    theirs = pairs.measure(c, along, 0.0, chance)
                    x, z = pairs.swap(left, right, 1.0, 0.0, chance)
                    # Corrected in software: the Paulis flip what they do not commute with.
                    theirs ^= {X: z, Y: x ^ z, Z: x}[along]
                else:
                    x, z = pairs.swap(left, right, 1.0, 0.0, chance)
                    pairs.correct(c, x, z, 0.0)
                    theirs = pairs.measure(c, along, 0.0, chance)
                equal += ours == theirs
            expected = (1.0 + sign * (4.0 * 0.81333 - 1.0) / 3.0) / 2.0
            assert equal / count == pytest.approx(expected, abs=four_sigma(expected, count))


# ---- purification ------------------------------------------------------------------------------------


def purified(kept: Bell, measured: Bell, chance: Random) -> tuple[bool, Half]:
    """One round: whether the outcomes agree, and the near end's kept half."""
    (a, b), (c, d) = pair(kept), pair(measured)
    near = pairs.purify(a, c, 1.0, 0.0, chance)
    far = pairs.purify(b, d, 1.0, 0.0, chance)
    return near == far, a


def test_dejmps_makes_0_83815_of_two_of_0_8_with_success_0_7689_and_the_first_outcome_is_a_coin() -> None:
    chance, count, agreed, heads = Random(2), 4000, 0, 0
    for _ in range(count):
        (a, b), (c, d) = pair(werner(0.8)), pair(werner(0.8))
        near = pairs.purify(a, c, 1.0, 0.0, chance)
        far = pairs.purify(b, d, 1.0, 0.0, chance)
        heads += near
        if near == far:
            agreed += 1
            assert fidelity(a, 0.0) == pytest.approx(0.83815, abs=5e-6)
    assert agreed / count == pytest.approx(0.7689, abs=four_sigma(0.7689, count))
    assert heads / count == pytest.approx(0.5, abs=four_sigma(0.5, count))


_ONE, _PX = np.eye(2), np.array([[0, 1], [1, 0]])
_PZ = np.diag([1, -1])
_H = np.array([[1, 1], [1, -1]]) / math.sqrt(2)
_PHI = np.array([1, 0, 0, 1]) / math.sqrt(2)
_BELL = [np.kron(_ONE, pauli) @ _PHI for pauli in (_ONE, _PZ, _PX, _PX @ _PZ)]


def density(state: Bell) -> np.ndarray:
    return np.array(sum(p * np.outer(v, v) for p, v in zip(state, _BELL, strict=True)), dtype=complex)


def cnot(control: int, target: int) -> np.ndarray:
    """Of four qubits."""
    gate = np.zeros((16, 16))
    for number in range(16):
        flipped = number ^ (1 << (3 - target)) if number >> (3 - control) & 1 else number
        gate[flipped, number] = 1
    return gate


def on(*gates: np.ndarray) -> np.ndarray:
    return np.array(reduce(np.kron, gates))


@given(kept=states, measured=states, chance=seeds)
def test_both_branches_of_a_round_are_what_the_circuit_of_deutsch_et_al_does(
    kept: Bell, measured: Bell, chance: Random
) -> None:
    # Qubits: near kept, far kept, near measured, far measured.
    turn = np.array([[1, -1j], [-1j, 1]]) / math.sqrt(2)
    circuit = cnot(1, 3) @ cnot(0, 2) @ on(turn, turn.conj(), turn, turn.conj())
    rho = circuit @ on(density(kept), density(measured)) @ circuit.conj().T
    agree, half = purified(kept, measured, chance)
    outcomes = ((0, 0), (1, 1)) if agree else ((0, 1), (1, 0))
    left = np.zeros((4, 4), dtype=complex)
    for near, far in outcomes:
        index = 2 * near + far
        left += rho.reshape(4, 4, 4, 4)[:, index, :, index]
    left /= np.trace(left)
    expected = [float((vector @ left @ vector).real) for vector in _BELL]
    assert list(half.pair.state) == pytest.approx(expected, abs=1e-9)


def test_a_half_purified_pair_keeps_what_waiting_and_corrections_do_to_either_end_meanwhile() -> None:
    chance, agree = Random(3), False
    while not agree:
        (a, b), (c, d) = pair(werner(0.95), memory=ONE_SECOND), pair(werner(0.95), memory=ONE_SECOND)
        near = pairs.purify(a, c, 1.0, 0.0, chance)
        pairs.correct(a, True, False, 0.1)
        agree = near == pairs.purify(b, d, 1.0, 0.2, chance)
    # The far halves waited before their part of the round, the near one that is kept after its own.
    before = waited(werner(0.95), 0.2, ONE_SECOND)
    after = waited(dejmps(before, before).state, 0.2, ONE_SECOND)
    pairs.settle(a, 0.2)
    assert a.pair.state == pytest.approx(pairs.turned(after, True, False))


def tied(state: Bell) -> np.ndarray:
    """As the planner reckons: 1, <XX>, -<YY>, <ZZ>."""
    return correlations(state).reshape(4, 1)


@given(kept=states, measured=states, near=st.floats(0.5, 1.0), far=st.floats(0.5, 1.0), chance=seeds)
def test_gates_that_are_not_perfect_cost_what_the_planner_reckons_with(
    kept: Bell, measured: Bell, near: float, far: float, chance: Random
) -> None:
    (a, b), (c, d) = pair(kept), pair(measured)
    agree = pairs.purify(a, c, near, 0.0, chance) == pairs.purify(b, d, far, 0.0, chance)
    if agree:
        joined = purifying(near * far)(tied(kept), tied(measured))[:, 0]
        assert tied(a.pair.state)[:, 0] == pytest.approx(joined / joined[0])


@pytest.mark.parametrize("what", ["measure", "release", "swap", "other round"])
def test_whatever_else_befalls_a_half_purified_pair_leaves_it_fully_mixed(what: str) -> None:
    chance = Random(4)
    (a, b), (c, d) = pair(PERFECT), pair(PERFECT)
    pairs.purify(a, c, 1.0, 0.0, chance)
    if what == "measure":
        pairs.measure(d, Z, 0.0, chance)
    elif what == "release":
        pairs.release(d)
    elif what == "swap":
        pairs.swap(d, pair(PERFECT, B, C)[0], 1.0, 0.0, chance)
    else:
        pairs.purify(d, b, 1.0, 0.0, chance)
        assert a.pair.vector == pairs.NOTHING_KNOWN
        return
    assert a.pair.state == pairs.MIXED
    assert b.pair is a.pair


# ---- measuring ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("along", "sign"), [(X, 1), (Y, -1), (Z, 1)], ids=["X", "Y", "Z"])
def test_outcomes_of_a_werner_pair_agree_as_its_fidelity_says(along: Vector, sign: int) -> None:
    chance, count = Random(5), 4000
    equal = 0
    for _ in range(count):
        a, b = pair(werner(0.8))
        equal += pairs.measure(a, along, 0.0, chance) == pairs.measure(b, along, 0.0, chance)
    expected = (1.0 + sign * (4.0 * 0.8 - 1.0) / 3.0) / 2.0
    assert equal / count == pytest.approx(expected, abs=four_sigma(expected, count))


def test_chsh_of_werner_pairs_is_two_root_two_times_4f_minus_1_over_3() -> None:
    chance, count = Random(6), 4000
    total = 0.0
    for ours, theirs, sign in (
        (0.0, math.pi / 4, 1),
        (0.0, -math.pi / 4, 1),
        (math.pi / 2, math.pi / 4, 1),
        (math.pi / 2, -math.pi / 4, -1),
    ):
        equal = 0
        for _ in range(count):
            a, b = pair(werner(0.9))
            near = pairs.measure(a, pairs.direction(ours, along_y=False), 0.0, chance)
            equal += near == pairs.measure(b, pairs.direction(theirs, along_y=False), 0.0, chance)
        total += sign * (2.0 * equal / count - 1.0)
    expected = 2.0 * math.sqrt(2.0) * (4.0 * 0.9 - 1.0) / 3.0
    # Of each of the four: 1 - E^2 over the count.
    sigma = 2.0 * math.sqrt((1.0 - (expected / 4.0) ** 2) / count)
    assert total == pytest.approx(expected, abs=4.0 * sigma)
    assert total > 2.0


def test_a_half_goes_on_decohering_after_the_other_one_was_measured() -> None:
    for along, kept in ((X, math.exp(-1.0)), (Y, math.exp(-1.0)), (Z, 1.0)):
        a, b = pair(PERFECT, memory=ONE_SECOND)
        outcome = pairs.measure(a, along, 0.0, Random(7))
        pairs.settle(b, 1.0)
        assert b.pair.vector is not None
        expected = kept * (-1.0 if outcome else 1.0) * (-1.0 if along == Y else 1.0)
        assert sum(b.pair.vector) == pytest.approx(expected)


def test_two_halves_of_one_pair_that_met_in_one_node_are_told_as_what_they_are() -> None:
    a, b = pair(pairs.turned(PERFECT, True, True))
    assert pairs.swap(a, b, 1.0, 0.0, Random(8)) == (True, True)
    assert isinstance(a.pair, Pair)
    assert not a.pair.halves
