"""Bits: entropy, and what error correction and privacy amplification leave of a sifted bit."""

import math

# A random bit, a dark count for one, is as often right as wrong: e0 in Ma, Qi, Zhao, Lo, Phys. Rev. A 72,
# 012326 (2005).
RANDOM_ERROR_RATIO = 0.5
# Error that intercept-resend causes in BB84: half the bases wrong, half of those bits (Bennett, Brassard
# 1984; Scarani et al., Rev. Mod. Phys. 81, 1301 (2009)).
INTERCEPT_RESEND_ERROR_RATIO = 0.25


def binary_entropy(ratio: float) -> float:
    """h2 in bits."""
    if ratio in (0.0, 1.0):
        return 0.0
    return -ratio * math.log2(ratio) - (1 - ratio) * math.log2(1 - ratio)


def secret_fraction(qber_ratio: float, *, efficiency: float = 1.0) -> float:
    """Secret bits per sifted bit, asymptotically: 1 - f h2(e) - h2(e), never below 0.

    Shor, Preskill, Phys. Rev. Lett. 85, 441 (2000), for single photons. Error correction leaks f h2(e) bits
    per bit; f = 1, the Shannon limit, ends the key at 11.0 %, the protocol's default abort threshold.
    """
    if qber_ratio >= RANDOM_ERROR_RATIO:
        return 0.0
    return max(0.0, 1 - (1 + efficiency) * binary_entropy(qber_ratio))


def either_flips(one: float, other: float) -> float:
    """The probability that a bit is wrong after two independent causes of bit flips: a + b - 2ab."""
    return one + other - 2 * one * other


def shifted(error_ratio: float, expected: float, estimated: float) -> float:
    """An error ratio of some of the bits, where all of them were estimated at another ratio than expected.

    The difference is taken for flips that came upon all bits alike.
    """
    if expected >= RANDOM_ERROR_RATIO:
        return RANDOM_ERROR_RATIO
    flips = (estimated - expected) / (1 - 2 * expected)
    return min(RANDOM_ERROR_RATIO, max(0.0, either_flips(error_ratio, flips)))


def repeaterless_bound(transmittance_ratio: float) -> float:
    """Secret bits per channel use that no protocol without a repeater exceeds: -log2(1 - eta).

    Pirandola, Laurenza, Ottaviani, Banchi, Nat. Commun. 8, 15043 (2017), "PLOB".
    """
    return -math.log1p(-transmittance_ratio) / math.log(2) if transmittance_ratio < 1 else math.inf
