"""How often two neighbouring memories come to share a pair, and of what fidelity.

Photons from both ends meet halfway; a click, or two, herald the pair.
"""

import math
from dataclasses import dataclass

from keyweave.common.entanglement.bell import Bell

# In silica fibre: the speed of light in vacuum by the group index 1.468 (ITU-T G.652, at 1550 nm).
FIBRE_KM_PER_SECOND = 299_792.458 / 1.468


@dataclass(frozen=True, slots=True)
class Heralding:
    """One attempt."""

    success_ratio: float
    state: Bell


def single_click(bright_state_ratio: float, transmission_ratio: float) -> Heralding:
    """One click of the two detectors: success about 2 alpha eta; F about 1 - alpha, as both may be bright.

    Cabrillo et al., Phys. Rev. A 59, 1025 (1999); Humphreys et al., Nature 558, 268 (2018).

    Args:
        bright_state_ratio: alpha, the probability that a memory is excited, 0..1/2.
        transmission_ratio: eta, from emission to a click, of each arm.

    The error is both memories bright: in the Bell basis Phi, of either sign, against the wanted Psi+, which
    is called Phi+ here after the frame is turned.
    """
    if not 0.0 < bright_state_ratio <= 0.5:
        raise ValueError(f"bright_state_ratio {bright_state_ratio:g} is outside 0..0.5")
    success = 2.0 * bright_state_ratio * transmission_ratio
    wrong = bright_state_ratio / 2.0
    return Heralding(min(1.0, success), Bell(1.0 - bright_state_ratio, 0.0, wrong, wrong))


def double_click(transmission_ratio: float, visibility_ratio: float = 1.0) -> Heralding:
    """A click in each of two rounds (Barrett and Kok, Phys. Rev. A 71, 060310 (2005)): success eta^2 / 2.

    Loss costs success, not fidelity; photons that can be told apart turn the sign: F = (1 + V) / 2.
    """
    success = transmission_ratio**2 / 2.0
    return Heralding(success, Bell((1.0 + visibility_ratio) / 2.0, (1.0 - visibility_ratio) / 2.0, 0.0, 0.0))


def fibre_transmission(length_km: float, loss_db_per_km: float = 0.2, other_loss_db: float = 0.0) -> float:
    """Transmission of a fibre; 0.2 dB/km at 1550 nm (ITU-T G.652.D)."""
    return math.exp(-math.log(10.0) / 10.0 * (length_km * loss_db_per_km + other_loss_db))


def attempt_rate_hz(length_km: float, own_rate_hz: float = math.inf) -> float:
    """Attempts a second of one memory pair: not before the last one's outcome is known.

    With the detectors halfway light goes there and the herald comes back: one length of the link each time.
    """
    bound = FIBRE_KM_PER_SECOND / length_km if length_km > 0.0 else math.inf
    return min(bound, own_rate_hz)
