"""Cascade: both ends come to the same bits by telling parities (Brassard and Salvail, EUROCRYPT '93).

One end's bits are the reference; it answers what the parity of a stretch of its bits, in the order of a pass,
is. The other end asks, finds the errors by bisection and corrects its own. Every answer is a bit that
somebody may have heard, and is counted. Block sizes and reuse of stretches that are known already follow
"optimisation (7)" of Martinez-Mateo et al., Quantum Inf. Comput. 15, 453 (2015).
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keyweave.agent.pairs.keys.bits import Bits, order

PASSES = 14
# Stretches that one question asks for.
MAX_ASKED = 2000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Places start..end-1 in the order of a pass."""

    number: int
    start: int
    end: int


class Orders:
    """The order of bits in each pass; drawn when it is needed. The first pass takes them as they are."""

    def __init__(self, seed: bytes, count: int) -> None:
        self._seed = seed
        self._count = count
        self._orders: dict[int, NDArray[np.int64]] = {0: np.arange(count)}

    def of(self, number: int) -> NDArray[np.int64]:
        """Of pass `number`: which bit is in each place."""
        if number not in self._orders:
            self._orders[number] = order(self._seed, number, self._count)
        return self._orders[number]


class Reference:
    """The end whose bits stand."""

    def __init__(self, bits: Bits, seed: bytes) -> None:
        self._bits = bits
        self._orders = Orders(seed, len(bits))
        self._sums: dict[int, Bits] = {}
        # Parities told.
        self.leaked_bits = 0

    def answer(self, asked: Sequence[Stretch]) -> Bits:
        """Their parities; ValueError for stretches that are none."""
        parities = np.zeros(len(asked), np.uint8)
        for place, stretch in enumerate(asked):
            if not (0 <= stretch.number < PASSES and 0 <= stretch.start < stretch.end <= len(self._bits)):
                raise ValueError(f"{stretch} is no stretch of {len(self._bits)} bits")
            sums = self._sums.get(stretch.number)
            if sums is None:
                sums = self._sums[stretch.number] = running(self._bits, self._orders.of(stretch.number))
            parities[place] = sums[stretch.end] ^ sums[stretch.start]
        self.leaked_bits += len(asked)
        return parities

    def forget(self) -> None:
        """Overwrite what was worked out of the bits."""
        for sums in self._sums.values():
            sums.fill(0)
        self._sums.clear()


def running(bits: Bits, places: NDArray[np.int64]) -> Bits:
    """Parity of the first i bits in an order, for i from 0."""
    sums = np.zeros(len(bits) + 1, np.uint8)
    np.bitwise_xor.accumulate(bits[places], out=sums[1:])
    return sums


class _Pass:
    """One order, cut into stretches whose parities at the other end are known."""

    def __init__(self, number: int, places: NDArray[np.int64]) -> None:
        self.number = number
        self.places = places
        self.place_of = np.argsort(places)
        self.starts: list[int] = []
        self.ends: dict[int, int] = {}
        # Whether the two ends' parities of a stretch differ, by its start.
        self.odd: set[int] = set()

    def holding(self, bit: int) -> int:
        """The start of the stretch that a bit is in."""
        return self.starts[bisect_right(self.starts, int(self.place_of[bit])) - 1]

    def flip(self, bit: int) -> None:
        """A bit was corrected."""
        self.odd ^= {self.holding(bit)}

    def cut(self, start: int, middle: int, *, left_odd: bool) -> None:
        """Half of an odd stretch is known now; one of the halves is odd."""
        end = self.ends[start]
        self.starts.insert(bisect_right(self.starts, start), middle)
        self.ends[start], self.ends[middle] = middle, end
        self.odd.discard(start)
        self.odd.add(start if left_odd else middle)


class Corrector:
    """The end that corrects its bits, in place: ask `questions`, `learn` the answers, until none come."""

    def __init__(self, bits: Bits, seed: bytes, error_ratio: float) -> None:
        self.bits = bits
        self._orders = Orders(seed, len(bits))
        self._sizes = tuple(block_sizes(len(bits), error_ratio))
        self._passes: list[_Pass] = []
        # Stretches of a new pass that have not been asked for.
        self._new: list[Stretch] = []
        self._halves: dict[Stretch, int] = {}
        self.leaked_bits = 0
        self.corrected_bits = 0

    def questions(self) -> tuple[Stretch, ...]:
        """Stretches whose parities are wanted next; none when it is over."""
        while True:
            if self._new:
                return tuple(self._new[:MAX_ASKED])
            if self._halves:
                return tuple(list(self._halves)[:MAX_ASKED])
            if self._bisect():
                continue
            if len(self._passes) == len(self._sizes):
                return ()
            self._begin(len(self._passes))

    def learn(self, asked: Sequence[Stretch], parities: Bits) -> None:
        """The other end's parities of what `questions` gave last; ValueError where there are too few."""
        if len(asked) != len(parities):
            raise ValueError(f"{len(parities)} parities for {len(asked)} stretches")
        self.leaked_bits += len(asked)
        own: dict[int, Bits] = {}
        for stretch, parity in zip(asked, parities.tolist(), strict=True):
            one = self._passes[stretch.number]
            if stretch.number not in own:
                own[stretch.number] = running(self.bits, one.places)
            sums = own[stretch.number]
            odd = bool(sums[stretch.end] ^ sums[stretch.start] ^ parity)
            if self._new:
                one.starts.append(stretch.start)
                one.ends[stretch.start] = stretch.end
                if odd:
                    one.odd.add(stretch.start)
            else:
                one.cut(stretch.start, stretch.end, left_odd=odd)
        for sums in own.values():
            sums.fill(0)
        if self._new:
            del self._new[: len(asked)]
        else:
            for stretch in asked:
                del self._halves[stretch]

    def _begin(self, number: int) -> None:
        count, size = len(self.bits), self._sizes[number]
        self._passes.append(_Pass(number, self._orders.of(number)))
        self._new = [Stretch(number, start, min(start + size, count)) for start in range(0, count, size)]

    def _bisect(self) -> bool:
        """Correct what is found; ask for halves of the odd stretches of one pass. False where none is odd."""
        for one in sorted(self._passes, key=_smallest_odd):
            if not one.odd:
                return False
            found = [start for start in one.odd if one.ends[start] - start == 1]
            if found:
                for start in found:
                    self._correct(int(one.places[start]))
                return True
            for start in one.odd:
                middle = (start + one.ends[start]) // 2
                self._halves[Stretch(one.number, start, middle)] = middle
            return True
        return False

    def _correct(self, bit: int) -> None:
        self.bits[bit] ^= 1
        self.corrected_bits += 1
        for one in self._passes:
            one.flip(bit)


def _smallest_odd(one: _Pass) -> float:
    return min((one.ends[start] - start for start in one.odd), default=math.inf)


def block_sizes(count: int, error_ratio: float) -> Iterator[int]:
    """Of each pass: 2^ceil(log2(1/Q)), four times that, then halves."""
    half = max(1, (count + 1) // 2)
    first = 2 ** math.ceil(math.log2(1.0 / min(0.5, max(error_ratio, 1.0 / count))))
    yield min(half, first)
    yield min(half, 4 * first)
    for _ in range(PASSES - 2):
        yield half
