"""A path with its purifications, and what Q-PATH and Q-LEAP both do with it."""

import math
from dataclasses import dataclass

from keyweave.controller.routing.entanglement.slots import Edge, Path, edges_of
from tests.bench.entanglement.floors.model import FloorNetwork, Reckoning, success


@dataclass(frozen=True, slots=True)
class Candidate:
    """Good enough for its request."""

    path: Path
    purifications: tuple[int, ...]

    @property
    def cost(self) -> int:
        """Pairs of links for one from end to end."""
        return sum(times + 1 for times in self.purifications)


# Candidates and how many units of each, in the order in which they were found.
Found = list[tuple[Candidate, int]]


def units(left: dict[Edge, int], one: Candidate) -> int:
    """How often its pairs can be had."""
    hops = zip(edges_of(one.path), one.purifications, strict=True)
    return min(left[link] // (times + 1) for link, times in hops)


def take(left: dict[Edge, int], one: Candidate, number: int) -> None:
    """So many units."""
    for link, times in zip(edges_of(one.path), one.purifications, strict=True):
        left[link] -= number * (times + 1)


def expected(network: FloorNetwork, reckoning: Reckoning, one: Candidate) -> float:
    """End-to-end pairs of one unit: those of the hop that gives least (their section 3)."""
    return min(success(network, reckoning, one.path, one.purifications))


def enough(each: float, most: int, wanted: float) -> int:
    """Units for so many expected pairs."""
    return min(most, math.ceil(wanted / each - 1e-9))
