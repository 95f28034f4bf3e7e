"""Detectors follow temperature, bias, dead time and jitter."""

from dataclasses import replace

import pytest

from keyweave.emulator.physics.channel import Channel
from keyweave.emulator.physics.detectors import Detectors, Receiver

CALM = Channel(10)
INGAAS = Detectors("InGaAs", 2, False, 0.2, 1000, -50, 50, 1e-6)
SNSPD = replace(INGAAS, kind="SNSPD", efficiency_ratio=0.8, dark_count_rate_hz=10, temperature_celsius=-271)


@pytest.mark.parametrize(("detectors", "kelvin"), [(INGAAS, 10), (SNSPD, 0.2)])
def test_dark_counts_double_with_warming(detectors: Detectors, kelvin: float) -> None:
    rates = [detectors.dark_hz(replace(CALM, warming_kelvin=n * kelvin)) for n in (-1, 0, 1, 2)]
    specified = detectors.dark_count_rate_hz
    assert rates == pytest.approx([specified / 2, specified, 2 * specified, 4 * specified])


@pytest.mark.parametrize("detectors", [INGAAS, SNSPD])
def test_more_bias_detects_more_and_clicks_more_in_the_dark(detectors: Detectors) -> None:
    biased = [replace(detectors, bias_ratio=ratio) for ratio in (0.7, 0.85, 1.0, 1.1)]
    efficiencies = [d.biased_efficiency_ratio for d in biased]
    darks = [d.dark_hz(CALM) for d in biased]
    assert efficiencies == sorted(efficiencies)
    assert darks == sorted(darks)
    assert efficiencies[2] == pytest.approx(detectors.efficiency_ratio)
    assert darks[2] == pytest.approx(detectors.dark_count_rate_hz)
    # Efficiency saturates; dark counts do not.
    assert efficiencies[3] / efficiencies[2] < 1.2 < darks[3] / darks[2]


@pytest.mark.parametrize(("detectors", "onset"), [(INGAAS, 0.0), (SNSPD, 0.6)])
def test_below_the_onset_of_detection_there_are_neither_counts_nor_dark_counts(
    detectors: Detectors, onset: float
) -> None:
    off = replace(detectors, bias_ratio=onset)
    assert off.biased_efficiency_ratio == 0
    assert off.dark_hz(CALM) == 0


def test_a_blinded_detector_has_no_dark_counts() -> None:
    assert INGAAS.dark_hz(replace(CALM, blinded=True)) == 0


def test_counts_saturate_at_the_inverse_of_the_dead_time() -> None:
    receiver = Receiver(INGAAS, 1e9, 1e-9)

    def counted_hz(clicks_hz: float) -> float:
        return clicks_hz * receiver.live_ratio(2 * clicks_hz / 1e9)

    assert counted_hz(1e3) == pytest.approx(1e3, rel=2e-3)
    assert counted_hz(1e6) == pytest.approx(0.5e6)
    assert counted_hz(4e8) == pytest.approx(1e6, rel=3e-3)


def test_jitter_loses_clicks_to_the_gaps_between_gates_and_strays_some_into_the_next() -> None:
    sharp = Receiver(INGAAS, 1e9, 5e-10)
    blurred = [
        Receiver(replace(INGAAS, jitter_seconds=jitter), 1e9, 5e-10) for jitter in (1e-10, 5e-10, 1e-9)
    ]
    efficiencies = [r.efficiency_ratio for r in blurred]
    errors = [r.jittered(0.01) for r in blurred]
    assert sharp.efficiency_ratio == 0.2
    assert sharp.jittered(0.01) == 0.01
    assert efficiencies == sorted(efficiencies, reverse=True)
    assert errors == sorted(errors)
    # Half of the clicks lie within the full width at half maximum, near enough: erf(sqrt(ln 2)) = 0.761.
    assert blurred[1].efficiency_ratio == pytest.approx(0.2 * 0.761, rel=0.03)
    assert errors[0] == pytest.approx(0.01, abs=1e-6)
    assert errors[2] > 0.05


def test_a_gate_is_never_longer_than_the_time_between_pulses() -> None:
    always_open = Receiver(INGAAS, 1e9, 1e-6).background_ratio(CALM)
    assert always_open == Receiver(INGAAS, 1e9, 1e-9).background_ratio(CALM)


def test_the_loss_of_the_receivers_optics_takes_light_and_no_dark_counts() -> None:
    lossy = Receiver(INGAAS, 1e9, 1e-9, optics_loss_db=3)
    assert lossy.efficiency_ratio == pytest.approx(0.1, rel=0.01)
    assert lossy.background_ratio(CALM) == Receiver(INGAAS, 1e9, 1e-9).background_ratio(CALM)
