"""What secret key a simulated link is worth: SeQUeNCe has no privacy amplification, so it is computed here.

The asymptotic rate of BB84 with decoy states (Lo, Ma, Chen, Phys. Rev. Lett. 94, 230504 (2005)): gain and
error rate are those of the simulated pulses; those of single photons follow from the link's settings, where
decoy states, which SeQUeNCe does not have either, would have measured them.
"""

import math

from keyweave.agent.drivers.sequence_link import Counts, Photonics

# Bits spent on error correction, as a multiple of Shannon's limit; typical of Cascade.
ERROR_CORRECTION_EFFICIENCY = 1.16
# Half of the pulses are measured in the basis that they were sent in.
_SIFTING = 0.5


def transmittance(photonics: Photonics) -> float:
    """Probability that a photon that is sent is detected."""
    loss_db = photonics.length_km * photonics.attenuation_db_per_km
    return float(10 ** (-loss_db / 10) * photonics.detector_efficiency_ratio)


def secret_bits_per_pulse(photonics: Photonics, counts: Counts) -> float:
    """Secret key bits that each pulse brings; 0 where there are none."""
    if not counts.sifted:
        return 0.0
    gain, qber = counts.detected / counts.pulses, counts.errors / counts.sifted
    eta, mu = transmittance(photonics), photonics.mean_photon_number
    dark = min(1.0, 2 * photonics.dark_count_rate_hz / photonics.pulse_rate_hz)
    single_yield = dark + eta - dark * eta
    if not single_yield:
        return 0.0
    single_gain = single_yield * mu * math.exp(-mu)
    single_qber = (dark / 2 + photonics.misalignment_ratio * eta) / single_yield
    secret = single_gain * (1 - _entropy(single_qber))
    return max(0.0, _SIFTING * (secret - gain * ERROR_CORRECTION_EFFICIENCY * _entropy(qber)))


def _entropy(ratio: float) -> float:
    """Of a bit that is wrong with this probability; beyond one half nothing is left to learn."""
    if ratio >= 0.5:
        return 1.0
    return 0.0 if ratio <= 0 else -ratio * math.log2(ratio) - (1 - ratio) * math.log2(1 - ratio)
