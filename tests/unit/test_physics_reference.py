"""Decoy BB84 and BBM92 agree with TNO's independent implementation, tno.quantum.communication.qkd_key_rate.

It assumes error correction at the Shannon limit and no sifting loss, and counts detections of pulses without
a photon as secret, which Ma et al. 2005 do not.
"""

import math

import pytest
from tno.quantum.communication.qkd_key_rate.quantum import Detector, standard_detector
from tno.quantum.communication.qkd_key_rate.quantum.bb84 import (
    BB84AsymptoticKeyRateEstimate,
    BB84FullyAsymptoticKeyRateEstimate,
)
from tno.quantum.communication.qkd_key_rate.quantum.bbm92 import BBM92AsymptoticKeyRateEstimate

from keyweave.emulator.physics.channel import Channel
from tests.unit.physics_cases import GYS_PULSES_HZ, entangled, gys

SIFTING_RATIO = 0.5


def gys_detector() -> Detector:
    return standard_detector.customise(
        dark_count_rate=8.5e-7,
        efficiency_party=0.045,
        polarization_drift=math.asin(math.sqrt(0.033)),
        error_detector=0.0,
    )


@pytest.mark.parametrize("loss_db", [0.0, 10.5, 21.0, 25.2])
def test_decoy_bb84_agrees(loss_db: float) -> None:
    vacuum = math.exp(-0.48) * 1.7e-6
    for weak, reference in (
        (None, BB84FullyAsymptoticKeyRateEstimate(gys_detector()).compute_rate(0.48, loss_db)),
        (0.05, BB84AsymptoticKeyRateEstimate(gys_detector()).compute_rate([0.48, 0.05, 0.0], loss_db)),
    ):
        protocol = gys(weak_photon_number=weak, reconciliation_efficiency=1.0)
        ours = protocol.expected(Channel(loss_db)).secret_bps / GYS_PULSES_HZ / SIFTING_RATIO
        assert ours + vacuum == pytest.approx(reference, rel=2e-3)


@pytest.mark.parametrize("loss_db", [0.0, 20.0, 40.0])
@pytest.mark.parametrize("mean_pairs", [0.02, 0.1])
def test_bbm92_agrees(loss_db: float, mean_pairs: float) -> None:
    detector = standard_detector.customise(
        dark_count_rate=6.02e-6, efficiency_party=0.145, error_detector=0.015
    )
    reference = BBM92AsymptoticKeyRateEstimate(detector).compute_rate(mean_pairs, loss_db)
    protocol = entangled(mean_pairs, reconciliation_efficiency=1.0)
    ours = protocol.expected(Channel(loss_db)).secret_bps / protocol.receiver.pulse_rate_hz / SIFTING_RATIO
    assert reference > 0
    assert ours == pytest.approx(reference, rel=1e-6)
