"""Strings of bits: one byte a bit in memory, where they can be overwritten; packed on the wire."""

import hashlib

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]


def packed(bits: Bits) -> bytes:
    """Eight a byte, the first in the highest place; the last byte is filled up with zeros."""
    return np.packbits(bits).tobytes()


def unpacked(data: bytes, count: int) -> Bits:
    """The first `count` bits; ValueError where there are fewer, or a byte too many."""
    if len(data) != (count + 7) // 8:
        raise ValueError(f"{len(data)} bytes do not hold {count} bits")
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count)


def order(seed: bytes, number: int, count: int) -> NDArray[np.int64]:
    """A permutation of 0..count-1 that everybody draws alike from a public seed and a number.

    By the ranks of 64-bit words of SHAKE-256: no library's generator, which another version may change.
    """
    words = hashlib.shake_256(seed + number.to_bytes(4, "big")).digest(8 * count)
    return np.argsort(np.frombuffer(words, ">u8"), kind="stable")
