"""Outcomes that both ends have in the same basis: those in Z make key, those in X are told and compared."""

import math

import numpy as np

from keyweave.agent.pairs.deliver import Basis
from keyweave.agent.pairs.keys.bits import Bits

# Outcomes of a run that wait to be compared; the oldest go first.
MAX_WAITING = 50_000
# Numbers that one comparison spans, so that it fits in a message.
MAX_SPAN = 30_000


class Outcomes:
    """What this end has measured of one path's pairs and not compared yet, by the number of the pair."""

    def __init__(self) -> None:
        self._outcomes: dict[int, tuple[Basis, int]] = {}
        self.dropped_total = 0
        # When some of them were last compared.
        self.compared_at = -math.inf

    def __len__(self) -> int:
        return len(self._outcomes)

    def add(self, number: int, basis: Basis, bit: int) -> None:
        """Numbers rise."""
        self._outcomes[number] = basis, bit
        if len(self._outcomes) > MAX_WAITING:
            del self._outcomes[next(iter(self._outcomes))]
            self.dropped_total += 1

    def span(self) -> tuple[int, Bits, Bits]:
        """The first number, which from there on are measured, and which of them in X."""
        first = next(iter(self._outcomes))
        count = min(next(reversed(self._outcomes)) + 1 - first, MAX_SPAN)
        measured, in_x = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
        for number, (basis, _) in self._outcomes.items():
            if number - first >= count:
                break
            measured[number - first] = 1
            in_x[number - first] = basis
        return first, measured, in_x

    def alike(self, first: int, measured: Bits, in_x: Bits) -> Bits:
        """Which of another end's numbers were measured here in the same basis."""
        kept = np.zeros(len(measured), np.uint8)
        for place in np.flatnonzero(measured).tolist():
            mine = self._outcomes.get(first + place)
            kept[place] = mine is not None and mine[0] == in_x[place]
        return kept

    def take(self, first: int, kept: Bits) -> tuple[Bits, Bits]:
        """Outcomes in Z and in X of the kept numbers, in order; all up to the last number is forgotten.

        ValueError where a number is not there.
        """
        of: tuple[list[int], list[int]] = [], []
        for place in np.flatnonzero(kept).tolist():
            mine = self._outcomes.get(first + place)
            if mine is None:
                raise ValueError(f"pair {first + place} is not there")
            of[mine[0]].append(mine[1])
        self.forget(first + len(kept))
        return np.array(of[Basis.Z], np.uint8), np.array(of[Basis.X], np.uint8)

    def forget(self, below: int) -> None:
        """Numbers below this are of no use any more."""
        for number in [each for each in self._outcomes if each < below]:
            del self._outcomes[number]

    def clear(self) -> None:
        """Forget all."""
        self._outcomes.clear()


class Sifted:
    """Bits in Z that wait to become a block, and how those in X compared meanwhile."""

    def __init__(self) -> None:
        self._parts: list[Bits] = []
        self.key_bits = 0
        self.check_bits = 0
        self.check_errors = 0

    def add(self, key: Bits) -> None:
        """More in Z."""
        self._parts.append(key)
        self.key_bits += len(key)

    def compare(self, mine: Bits, theirs: Bits) -> int:
        """More in X, of both ends; how many differ. ValueError where they are not as many."""
        if len(mine) != len(theirs):
            raise ValueError(f"{len(theirs)} outcomes to compare with {len(mine)}")
        errors = int(np.count_nonzero(mine != theirs))
        self.check_bits += len(mine)
        self.check_errors += errors
        return errors

    def take(self) -> Bits:
        """All bits in Z as one string; they are gone from here."""
        block = np.concatenate(self._parts) if self._parts else np.zeros(0, np.uint8)
        self._overwrite()
        return block

    def clear(self) -> None:
        """Forget all, overwritten."""
        self._overwrite()
        self.check_bits = self.check_errors = 0

    def _overwrite(self) -> None:
        for part in self._parts:
            part.fill(0)
        self._parts.clear()
        self.key_bits = 0
