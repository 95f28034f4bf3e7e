"""A network that makes entangled pairs in slots, and what a plan takes of it.

The model of Shi and Qian (Q-CAST, SIGCOMM 2020): in a slot each channel in use is tried once, all at the same
time; then pairs are swapped into longer ones. A channel takes a memory at each of its ends.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

# Nodes count from 0.
Edge = tuple[int, int]
Path = tuple[int, ...]


def edge(a: int, b: int) -> Edge:
    """The edge between two nodes, whichever comes first."""
    return (a, b) if a < b else (b, a)


def edges_of(path: Path) -> Iterator[Edge]:
    """The edges of a path, in order."""
    return (edge(a, b) for a, b in pairwise(path))


@dataclass(frozen=True)
class PairNetwork:
    """Nodes with memories, edges with channels."""

    memories: tuple[int, ...]
    channels: Mapping[Edge, int]
    # Of one channel in one slot, 0..1.
    success_ratio: Mapping[Edge, float]
    # Of one swap, 0..1.
    swap_ratio: float
    neighbours: tuple[tuple[int, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Adjacency, in order."""
        found: list[list[int]] = [[] for _ in self.memories]
        for a, b in sorted(self.channels):
            found[a].append(b)
            found[b].append(a)
        object.__setattr__(self, "neighbours", tuple(tuple(sorted(each)) for each in found))


@dataclass(frozen=True, slots=True)
class Lanes:
    """Some channels on every edge of one path, for the pair of its ends."""

    path: Path
    width: int


class Spare:
    """What of a network is not in use yet."""

    def __init__(self, network: PairNetwork) -> None:
        self._network = network
        self.memories = list(network.memories)
        self.channels = dict(network.channels)

    def take(self, path: Path, width: int) -> None:
        """Use `width` channels of every edge of a path; ValueError where there are not so many."""
        for a, b in pairwise(path):
            link = edge(a, b)
            if min(self.channels[link], self.memories[a], self.memories[b]) < width:
                raise ValueError(f"edge {link} has no {width} channels left with a memory at each end")
            self.channels[link] -= width
            self.memories[a] -= width
            self.memories[b] -= width

    def room(self, link: Edge) -> int:
        """Channels of an edge that could still be used."""
        return min(self.channels[link], self.memories[link[0]], self.memories[link[1]])

    def used(self) -> dict[Edge, int]:
        """Channels in use, by edge."""
        used = {link: count - self.channels[link] for link, count in self._network.channels.items()}
        return {link: count for link, count in used.items() if count}
