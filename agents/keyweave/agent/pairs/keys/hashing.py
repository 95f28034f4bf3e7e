"""Toeplitz hashing: privacy amplification, and the check that both ends have corrected to the same.

Random Toeplitz matrices are universal hash functions (Krawczyk, CRYPTO '94; Carter and Wegman 1979): with a
seed drawn after the input is fixed, two inputs collide with probability 2^-length, and what is left of a key
that is known in part is unknown as far as the leftover hash lemma says.
"""

import numpy as np

from keyweave.agent.pairs.keys.bits import Bits


def seed_bits(input_bits: int, output_bits: int) -> int:
    """Diagonals of the matrix."""
    return input_bits + output_bits - 1


def hashed(source: Bits, seed: Bits, output_bits: int) -> Bits:
    """`output_bits` bits: row i of the matrix has seed[i + n - 1 - j] in column j of n.

    By the fast Fourier transform: sums up to n are exact in 64-bit floats for any n that fits in memory.
    """
    count = len(source)
    if len(seed) != seed_bits(count, output_bits):
        raise ValueError(
            f"{len(seed)} seed bits; {count} to {output_bits} bits take {count + output_bits - 1}"
        )
    if not output_bits:
        return np.zeros(0, np.uint8)
    size = 1 << (len(seed) + count).bit_length()
    spectrum = np.fft.rfft(source, size)
    spectrum *= np.fft.rfft(seed, size)
    sums = np.fft.irfft(spectrum, size)[count - 1 : count - 1 + output_bits]
    result = (np.rint(sums).astype(np.int64) & 1).astype(np.uint8)
    sums.fill(0)
    spectrum.fill(0)
    return result
