"""Two pairs become one of higher fidelity, or none.

Both ends act on their halves of both pairs, measure one pair, and keep the other where the outcomes agree,
which they learn by one classical message each way.
"""

from dataclasses import dataclass

from keyweave.common.entanglement.bell import Bell, twirled


@dataclass(frozen=True, slots=True)
class Purified:
    """What a round makes: the pair that is kept, and how probably it is."""

    state: Bell
    success_ratio: float


def bbpssw(kept: Bell, measured: Bell) -> Purified:
    """One round of Bennett et al. (Phys. Rev. Lett. 76, 722 (1996)) on pairs twirled to Werner states.

    For two of one fidelity F: F' = (F^2 + g^2) / p with g = (1 - F) / 3 and p = F^2 + 2 F g + 5 g^2.
    The kept pair is twirled again.
    """
    first, second = twirled(kept), twirled(measured)
    f, g = first.fidelity, second.fidelity
    u, v = (1.0 - f) / 3.0, (1.0 - g) / 3.0
    success = f * g + f * v + u * g + 5.0 * u * v
    fidelity = (f * g + u * v) / success
    return Purified(twirled(Bell(fidelity, 0.0, 0.0, 1.0 - fidelity)), success)


def dejmps(kept: Bell, measured: Bell) -> Purified:
    """One round of Deutsch et al. (Phys. Rev. Lett. 77, 2818 (1996)); Bell-diagonal in, Bell-diagonal out.

    Both ends rotate by a quarter turn about x, in opposite senses, before a bilateral CNOT: that turns
    Phi- and Psi- into one another, and so lets two rounds correct what one of them cannot.
    """
    (a, d, c, b), (e, h, g, f) = kept, measured
    success = (a + b) * (e + f) + (c + d) * (g + h)
    return Purified(
        Bell(
            phi_plus=(a * e + b * f) / success,
            psi_minus=(c * h + d * g) / success,
            psi_plus=(c * g + d * h) / success,
            phi_minus=(a * f + b * e) / success,
        ),
        success,
    )


def rounds(state: Bell, count: int) -> Purified:
    """A pair after `count` rounds of DEJMPS, each on two equal ones.

    `success_ratio` is that all rounds succeed, one after the other; it takes 2^count pairs.
    """
    success = 1.0
    for _ in range(count):
        made = dejmps(state, state)
        state, success = made.state, success * made.success_ratio
    return Purified(state, success)


def pairs_per_purified(state: Bell, count: int) -> float:
    """Pairs that `count` rounds use on average for one that succeeds: 2/p of each round multiply."""
    used = 1.0
    for _ in range(count):
        made = dejmps(state, state)
        state, used = made.state, used * 2.0 / made.success_ratio
    return used
