"""States of a pair that are diagonal in the Bell basis, and what swapping does to them.

A pair of fidelity F says how likely it is the pair that was asked for; what it is otherwise decides what
swapping, purification and waiting make of it. Four probabilities say so wherever those mix; a single number
(a Werner state, Phys. Rev. A 40, 4277 (1989)) stands for the case that errors are all alike.

All operations here map Bell-diagonal states to Bell-diagonal states exactly. Pauli frames are taken as
corrected: Phi+ is what is wanted.
"""

import math
from typing import NamedTuple

# Below this there is no entanglement left to purify (Werner state: F <= 1/2 is separable).
SEPARABLE_FIDELITY = 0.5
# A pair about which nothing is known.
MIXED_FIDELITY = 0.25


class Bell(NamedTuple):
    """Probabilities of the four Bell states; they add up to 1."""

    phi_plus: float
    phi_minus: float
    psi_plus: float
    psi_minus: float

    @property
    def fidelity(self) -> float:
        """The overlap with Phi+, 0..1."""
        return self.phi_plus

    @property
    def qber_z(self) -> float:
        """How often both ends' outcomes differ when both measure in the computational basis."""
        return self.psi_plus + self.psi_minus

    @property
    def qber_x(self) -> float:
        """How often they differ when both measure in the diagonal basis."""
        return self.phi_minus + self.psi_minus

    @property
    def qber_ratio(self) -> float:
        """The error rate of BBM92 with both bases used equally; 2 (1 - F) / 3 for a Werner state."""
        return (self.qber_z + self.qber_x) / 2


PERFECT = Bell(1.0, 0.0, 0.0, 0.0)


def werner(fidelity: float) -> Bell:
    """The Werner state of a fidelity; ValueError outside 1/4..1."""
    if not MIXED_FIDELITY <= fidelity <= 1.0:
        raise ValueError(f"fidelity {fidelity:g} is outside {MIXED_FIDELITY:g}..1")
    rest = (1.0 - fidelity) / 3.0
    return Bell(fidelity, rest, rest, rest)


def checked(state: Bell) -> Bell:
    """The same state; ValueError unless its probabilities are such."""
    if min(state) < -1e-9 or abs(math.fsum(state) - 1.0) > 1e-6:
        raise ValueError(f"{tuple(state)} are not four probabilities that add up to 1")
    return state


def twirled(state: Bell) -> Bell:
    """The Werner state of the same fidelity (Bennett et al., Phys. Rev. Lett. 76, 722 (1996))."""
    return werner(max(MIXED_FIDELITY, state.fidelity))


def swapped(left: Bell, right: Bell, measurement_fidelity: float = 1.0) -> Bell:
    """The pair between the outer ends after a Bell measurement on the inner ones.

    Errors of both pairs are Pauli operators, which multiply (Dür et al., Phys. Rev. A 59, 169 (1999)).
    `measurement_fidelity` (0..1): with what is missing from 1 the measurement leaves a fully mixed pair.

    For Werner states: F = F1 F2 + (1 - F1)(1 - F2) / 3.
    """
    (a, b, c, d), (e, f, g, h) = left, right
    product = Bell(
        a * e + b * f + c * g + d * h,
        a * f + b * e + c * h + d * g,
        a * g + c * e + b * h + d * f,
        a * h + d * e + b * g + c * f,
    )
    return mixed(product, measurement_fidelity)


def mixed(state: Bell, kept: float) -> Bell:
    """The state with probability `kept`, else a fully mixed one: a depolarising channel."""
    lost = (1.0 - kept) / 4.0
    return Bell(*(kept * each + lost for each in state))


def chain_fidelity(fidelity: float, links: int) -> float:
    """Of Werner pairs of one fidelity, swapped over `links` links: 1/4 + 3/4 ((4 F - 1) / 3)^n.

    Briegel et al., Phys. Rev. Lett. 81, 5932 (1998), with perfect operations.
    """
    return 0.25 + 0.75 * ((4.0 * fidelity - 1.0) / 3.0) ** links


def werner_qber(fidelity: float) -> float:
    """The error rate of BBM92 on Werner pairs: 2 (1 - F) / 3."""
    return 2.0 * (1.0 - fidelity) / 3.0
