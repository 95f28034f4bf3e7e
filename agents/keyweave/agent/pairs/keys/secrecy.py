"""How many bits of a corrected block nobody else can know, the block being as long as it is.

Security is universally composable: a key is `secrecy`-secret and `correctness`-correct (Renner 2005). The
length is that of Tomamichel, Lim, Gisin, Renner, Nat. Commun. 3, 634 (2012), for measurements in two bases of
a pair that anybody may have made; the statistics of what was not looked at are those of Fung, Ma, Chau,
Phys. Rev. A 81, 012318 (2010), as in eq. (5) of Lim et al., Phys. Rev. A 89, 022307 (2014).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """With which probability, at the most, a block's key is not what it is said to be."""

    # Not secret.
    secrecy: float = 1e-10
    # Different at the two ends: what the hash of the corrected block may miss.
    hash_bits: int = 64

    @property
    def correctness(self) -> float:
        """Two different blocks have one hash with this probability (universal hashing)."""
        return 2.0**-self.hash_bits


def secret_bits(key_bits: int, check_bits: int, check_errors: int, leaked_bits: int, promise: Promise) -> int:
    """Secret bits in a block; 0 where there are none.

    Args:
        key_bits: n, sifted bits of the key basis, corrected.
        check_bits: k, outcomes of the other basis that were compared, all of them told openly.
        check_errors: how many of these differed.
        leaked_bits: parities, and bits of the hash, that were told openly.
        promise: how sure it must be.

    Of the secrecy one half goes to what was not looked at (twice the smoothing of 1/4), one half to privacy
    amplification (leftover hashing).
    """
    if key_bits <= 0 or check_bits <= 0:
        return 0
    # With no error seen the sampling bound has nothing to go by: one error is assumed.
    seen = max(check_errors, 1) / check_bits
    if seen >= 0.5:
        return 0
    phase = seen + sampling_margin(seen, check_bits, key_bits, promise.secrecy / 4.0)
    if phase >= 0.5:
        return 0
    amplified = 2.0 * math.log2(1.0 / (2.0 * (promise.secrecy / 2.0)))
    return max(0, math.floor(key_bits * (1.0 - binary_entropy(phase)) - leaked_bits - amplified))


# Parities that Cascade tells beyond what theory needs: (block of so many bits, factor), as measured
# (tests/unit/test_pair_keys.py holds it to that of the longest).
_CASCADE_EFFICIENCY = ((8192, 1.08), (2048, 1.2), (1024, 1.35), (0, 1.8))


def expected_bits(key_bits: int, check_bits: int, check_errors: int, promise: Promise) -> int:
    """What to expect of a block that is not corrected yet, its errors taken as the other basis'."""
    if not check_bits:
        return 0
    efficiency = next(factor for bits, factor in _CASCADE_EFFICIENCY if key_bits >= bits)
    leaked = efficiency * key_bits * binary_entropy(max(check_errors, 1) / check_bits) + promise.hash_bits
    return secret_bits(key_bits, check_bits, check_errors, round(leaked), promise)


def sampling_margin(seen: float, check_bits: int, key_bits: int, smoothing: float) -> float:
    """By how much the key's error ratio may exceed the sample's, but with probability `smoothing` squared."""
    both = (check_bits + key_bits) / (check_bits * key_bits)
    spread = both * (1.0 - seen) * seen / math.log(2.0)
    return math.sqrt(spread * max(0.0, math.log2(both / ((1.0 - seen) * seen) / smoothing**2)))


def binary_entropy(ratio: float) -> float:
    """h2 in bits."""
    if ratio <= 0.0 or ratio >= 1.0:
        return 0.0
    return -ratio * math.log2(ratio) - (1.0 - ratio) * math.log2(1.0 - ratio)
