"""CV-QKD: the closed form agrees with the states it is about, and with known limits."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from keyweave.emulator.physics.channel import Channel
from keyweave.emulator.physics.cv_qkd import CvQkd

# Lodewyck et al. 2007: 25 km of fibre.
LODEWYCK = CvQkd(
    symbol_rate_hz=350e3,
    modulation_variance=18.5,
    excess_noise=0.005,
    efficiency_ratio=0.606,
    electronic_noise=0.041,
    reconciliation_efficiency=0.898,
)
TRANSMITTANCE = 0.302

Matrix = NDArray[np.float64]


def over(transmittance: float) -> Channel:
    return Channel(-10 * math.log10(transmittance))


def two_mode_squeezed(variance: float) -> Matrix:
    cross = math.sqrt(variance**2 - 1) * np.diag([1.0, -1.0])
    return np.block([[variance * np.eye(2), cross], [cross, variance * np.eye(2)]])


def beam_splitter(modes: int, one: int, other: int, transmittance: float) -> Matrix:
    matrix = np.eye(2 * modes)
    through, across = math.sqrt(transmittance), math.sqrt(1 - transmittance)
    for quadrature in (0, 1):
        i, j = 2 * one + quadrature, 2 * other + quadrature
        matrix[[i, j], [i, j]] = through
        matrix[i, j], matrix[j, i] = across, -across
    return matrix


def entropy(covariance: Matrix) -> float:
    """Von Neumann entropy in bits, from symplectic eigenvalues found numerically."""
    modes = len(covariance) // 2
    form = np.kron(np.eye(modes), np.array([[0, 1], [-1, 0]]))
    values = np.sort(np.abs(np.linalg.eigvals(1j * form @ covariance)))[::2]
    photons = np.maximum((values - 1) / 2, 1e-15)
    return float(np.sum((photons + 1) * np.log2(photons + 1) - photons * np.log2(photons)))


def secret_bits_of_the_states(system: CvQkd, transmittance: float) -> float:
    """beta I_AB - (S(E) - S(E|b)): Eve purifies A and B, and A, F and G once b is measured."""
    variance = system.modulation_variance + 1
    # A and B after a channel of transmittance T and input noise epsilon.
    shared = two_mode_squeezed(variance)
    shared[2:, 2:] = (transmittance * (variance - 1 + system.excess_noise) + 1) * np.eye(2)
    shared[:2, 2:] *= math.sqrt(transmittance)
    shared[2:, :2] *= math.sqrt(transmittance)
    # The detector's inefficiency and noise: half of an entangled pair, F and G, enters at its beam splitter.
    noise = 1 + system.electronic_noise / (1 - system.efficiency_ratio)
    state = np.zeros((8, 8))
    state[:4, :4], state[4:, 4:] = shared, two_mode_squeezed(noise)
    splitter = beam_splitter(4, 1, 2, system.efficiency_ratio)
    state = splitter @ state @ splitter.T
    # Homodyne detection of B's first quadrature.
    rest = [0, 1, 4, 5, 6, 7]
    measured = state[2, 2]
    left = state[np.ix_(rest, rest)] - np.outer(state[rest, 2], state[rest, 2]) / measured
    # Alice's heterodyne measurement of A is what makes her send coherent states.
    given_alice = measured - state[0, 2] ** 2 / (variance + 1)
    mutual = 0.5 * math.log2(measured / given_alice)
    return system.reconciliation_efficiency * mutual - (entropy(shared) - entropy(left))


@pytest.mark.parametrize("transmittance", [0.9, TRANSMITTANCE, 0.05])
@pytest.mark.parametrize("variance", [1.0, 4.0, 18.5])
def test_the_closed_form_is_that_of_the_states(transmittance: float, variance: float) -> None:
    system = CvQkd(1.0, variance, 0.005, 0.606, 0.041, 0.98, 1.0)
    of_states = secret_bits_of_the_states(system, transmittance)
    assert of_states > 0
    assert system.expected(over(transmittance)).secret_bps == pytest.approx(of_states, rel=1e-6, abs=1e-9)


def test_the_published_system_makes_some_kilobits_a_second_over_25_km() -> None:
    bits = LODEWYCK.expected(over(TRANSMITTANCE)).secret_bps
    assert 2_000 < bits < 10_000


@pytest.mark.parametrize("transmittance", [0.5, 0.1, 0.01])
def test_ideal_devices_come_to_half_of_what_the_channel_allows(transmittance: float) -> None:
    # Homodyne detection of one quadrature, reverse reconciliation, modulation without bound:
    # log2(1 / (1 - T)) / 2 (Grosshans, Phys. Rev. Lett. 94, 020504 (2005)).
    ideal = CvQkd(1.0, 1e5, 0.0, 1.0, 0.0, 1.0, 1.0)
    assert ideal.expected(over(transmittance)).secret_bps == pytest.approx(
        -0.5 * math.log2(1 - transmittance), rel=1e-4
    )


def test_excess_noise_and_poor_reconciliation_cost_key() -> None:
    expected = LODEWYCK.expected(over(TRANSMITTANCE))
    ratios = [expected.secret_ratio(noise) for noise in (0.0, 0.005, 0.02, 0.2)]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[1] > ratios[2] > ratios[3] == 0


def test_intercept_resend_adds_two_units_of_shot_noise_and_leaves_no_key() -> None:
    tapped = LODEWYCK.expected(Channel(over(TRANSMITTANCE).loss_db, intercepted_ratio=1.0))
    assert tapped.noise == pytest.approx(2.005)
    assert tapped.secret_bps == 0


def test_phase_noise_adds_excess_noise_in_proportion_to_the_modulation() -> None:
    # Phases of variance s^2 err by (1 - exp(-s^2 / 2)) / 2, about s^2 / 4, and add V_A s^2.
    turned = LODEWYCK.expected(Channel(over(TRANSMITTANCE).loss_db, misalignment_ratio=0.001))
    assert turned.noise == pytest.approx(0.005 + 18.5 * 0.004)


def test_it_counts_no_errors_and_no_photons() -> None:
    expected = LODEWYCK.expected(over(TRANSMITTANCE))
    assert not expected.counts_errors
    assert expected.light_hz == 0
