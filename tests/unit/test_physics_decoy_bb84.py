"""Decoy-state BB84 gives the figures of Ma, Qi, Zhao, Lo 2005 for the GYS experiment."""

import math
from dataclasses import replace

import pytest
from scipy.optimize import brentq

from keyweave.emulator.physics.channel import Channel
from keyweave.emulator.physics.decoy_bb84 import DecoyBb84
from keyweave.emulator.physics.finite_key import FiniteKey
from keyweave.emulator.physics.information import binary_entropy, secret_fraction
from tests.unit.physics_cases import GYS_LOSS_DB_PER_KM, GYS_PULSES_HZ, gys, receiver

INFINITE = gys(weak_photon_number=None)
VACUUM_AND_WEAK = gys(weak_photon_number=0.05)


def fibre(kilometres: float) -> Channel:
    return Channel(GYS_LOSS_DB_PER_KM * kilometres)


def per_pulse(protocol: DecoyBb84, kilometres: float) -> float:
    return protocol.expected(fibre(kilometres)).secret_bps / GYS_PULSES_HZ


@pytest.mark.parametrize(
    ("kilometres", "gain", "qber", "infinite", "vacuum_and_weak"),
    [
        (50, 1.925e-3, 0.0334, 2.226e-4, 2.096e-4),
        (100, 1.733e-4, 0.0376, 1.718e-5, 1.602e-5),
        (120, 6.693e-5, 0.0449, 4.815e-6, 4.369e-6),
    ],
)
def test_gain_qber_and_rate_are_the_published_ones(
    kilometres: float, gain: float, qber: float, infinite: float, vacuum_and_weak: float
) -> None:
    expected = INFINITE.expected(fibre(kilometres))
    assert expected.sifted_bps / 0.5 / GYS_PULSES_HZ == pytest.approx(gain, rel=5e-4)
    assert expected.noise == pytest.approx(qber, abs=5e-5)
    assert per_pulse(INFINITE, kilometres) == pytest.approx(infinite, rel=5e-4)
    assert per_pulse(VACUUM_AND_WEAK, kilometres) == pytest.approx(vacuum_and_weak, rel=5e-4)


@pytest.mark.parametrize(("protocol", "kilometres"), [(INFINITE, 142.0), (VACUUM_AND_WEAK, 140.6)])
def test_key_ends_at_the_published_distance(protocol: DecoyBb84, kilometres: float) -> None:
    assert per_pulse(protocol, kilometres - 0.05) > 0
    assert per_pulse(protocol, kilometres + 0.05) == 0


@pytest.mark.parametrize(("efficiency", "cut_off"), [(1.0, 0.1100), (1.16, 0.0981), (1.22, 0.0942)])
def test_single_photons_bear_no_more_error_than_reconciliation_allows(
    efficiency: float, cut_off: float
) -> None:
    ends = brentq(lambda qber: 1 - (1 + efficiency) * binary_entropy(qber), 1e-3, 0.2)
    assert ends == pytest.approx(cut_off, abs=5e-5)
    assert secret_fraction(ends - 1e-6, efficiency=efficiency) > 0
    assert secret_fraction(ends + 1e-6, efficiency=efficiency) == 0


def test_bounds_from_two_decoys_never_promise_more_than_is_known_with_all() -> None:
    for kilometres in range(0, 150, 5):
        assert per_pulse(VACUUM_AND_WEAK, kilometres) <= per_pulse(INFINITE, kilometres)


def test_the_weaker_the_decoy_the_closer_to_the_limit() -> None:
    rates = [per_pulse(replace(VACUUM_AND_WEAK, weak_photon_number=nu), 100) for nu in (0.2, 0.1, 0.05, 0.01)]
    assert rates == sorted(rates)
    assert per_pulse(gys(weak_photon_number=1e-4), 100) == pytest.approx(per_pulse(INFINITE, 100), rel=1e-3)


def test_a_faint_decoy_for_the_vacuum_promises_less_and_comes_to_it() -> None:
    rates = [per_pulse(replace(VACUUM_AND_WEAK, vacuum_photon_number=rest), 100) for rest in (2e-2, 2e-3, 0)]
    assert rates == sorted(rates)
    nearly = per_pulse(replace(VACUUM_AND_WEAK, vacuum_photon_number=1e-6), 100)
    assert nearly == pytest.approx(rates[-1], rel=1e-4)


def test_a_device_that_reads_a_higher_qber_makes_less_key() -> None:
    for protocol in (INFINITE, VACUUM_AND_WEAK):
        expected = protocol.expected(fibre(50))
        ratios = [expected.secret_ratio(qber) for qber in (0.02, expected.noise, 0.05, 0.12)]
        assert ratios == sorted(ratios, reverse=True)
        assert ratios[0] > ratios[1] > ratios[2] > ratios[3] == 0


def test_decoys_cost_the_pulses_that_are_not_signals() -> None:
    some = replace(VACUUM_AND_WEAK, signal_ratio=0.7, weak_ratio=0.2)
    assert per_pulse(some, 50) == pytest.approx(0.7 * per_pulse(VACUUM_AND_WEAK, 50))


def test_afterpulses_add_random_bits() -> None:
    pulses = replace(VACUUM_AND_WEAK, receiver=receiver(0.045, 1.7e-6, afterpulse_ratio=0.04))
    quiet = replace(VACUUM_AND_WEAK, receiver=receiver(0.045, 1.7e-6))
    more, less = pulses.expected(fibre(50)), quiet.expected(fibre(50))
    assert more.sifted_bps == pytest.approx(1.04 * less.sifted_bps)
    assert more.noise == pytest.approx((less.noise + 0.04 / 2) / 1.04)
    assert more.secret_bps < less.secret_bps


def test_gains_stay_probabilities_however_many_dark_counts_there_are() -> None:
    expected = VACUUM_AND_WEAK.expected(replace(fibre(50), dark_count_burst_factor=1e9))
    assert expected.sifted_bps <= GYS_PULSES_HZ / 2
    assert expected.noise == pytest.approx(0.5)
    assert expected.secret_bps == 0


def test_a_dimmer_laser_sends_fewer_photons() -> None:
    dim = INFINITE.expected(replace(fibre(50), brightness_ratio=0.5))
    assert dim.light_hz == pytest.approx(GYS_PULSES_HZ * -math.expm1(-0.24 * 0.045 * 10 ** (-1.05)), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weak_photon_number": 0.6}, "weak_photon_number 0.6"),
        ({"signal_ratio": 0.9, "weak_ratio": 0.2}, "exceed 1"),
        ({"weak_photon_number": None, "finite": FiniteKey()}, "infinitely many"),
        ({"finite": FiniteKey()}, "vacuum pulses"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(VACUUM_AND_WEAK, **change)  # type: ignore[arg-type]
