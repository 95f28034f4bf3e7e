"""Lanes where pairs are rare: each the way on which all edges most likely have a pair in the same slot.

Means say little where an edge with all its channels gives less than a pair a slot: half a pair here and half
a pair there are a quarter of a pair across both. What counts is that whole pairs meet, so an edge gets as
many channels as it can have, and -log(1 - (1 - p)^channels) is its length: the shortest way is the likeliest
(Dijkstra 1959). Whoever's is likeliest takes its channels first, until nobody has a way left.
"""

import heapq
from collections.abc import Iterator, Sequence
from itertools import count
from math import inf, log, log1p

from keyweave.controller.routing.entanglement.mending import traced
from keyweave.controller.routing.entanglement.slots import (
    Edge,
    Lanes,
    PairNetwork,
    Path,
    Spare,
    edge,
    edges_of,
)


def likeliest_first(network: PairNetwork, pairs: Sequence[tuple[int, int]]) -> tuple[list[Lanes], Spare]:
    """Lanes in the order of being chosen, and what they leave over."""
    search = _Search(network)
    lanes: list[Lanes] = []
    known: dict[tuple[int, int], _Way] = {}
    waiting = list(dict.fromkeys(pairs))
    while True:
        for pair in waiting:
            if (way := search.likeliest(*pair)) is not None:
                known[pair] = way
        if not known:
            return lanes, search.spare
        pair = min(known, key=lambda each: known[each][0])
        path = known[pair][1]
        channels = search.take(path)
        lanes.append(Lanes(path, min(channels.values())))
        taken = set(path)
        # Elsewhere there is as much room as before, so a way that keeps clear of this one is still the best.
        waiting = [each for each, (_, other) in known.items() if not taken.isdisjoint(other)]
        for each in waiting:
            del known[each]


# Its length, and the way.
_Way = tuple[float, Path]


class _Search:
    """In one network, with what is not in use yet."""

    def __init__(self, network: PairNetwork) -> None:
        self.spare = Spare(network)
        self._network = network
        # By edge, with 0, 1, 2, ... channels.
        self._lengths = {
            link: [inf, *_lengths(ratio, network.channels[link])]
            for link, ratio in network.success_ratio.items()
        }
        self._swap = -log(network.swap_ratio)

    def likeliest(self, source: int, target: int) -> _Way | None:
        """The way that has pairs everywhere most often; None where there is none."""
        memories, channels = self.spare.memories, self.spare.channels
        before: dict[int, int] = {}
        order = count()
        queue = [(0.0, next(order), source, -1)]
        while queue:
            length, _, node, previous = heapq.heappop(queue)
            if node in before:
                continue
            before[node] = previous
            if node == target:
                return length, traced(before, target)
            # An inner node has its memories for both sides.
            here = memories[node] if node == source else memories[node] // 2
            swap = 0.0 if node == source else self._swap
            for other in self._network.neighbours[node]:
                if other in before:
                    continue
                there = memories[other] if other == target else memories[other] // 2
                link = edge(node, other)
                if (most := min(channels[link], here, there)) > 0:
                    further = length + swap + self._lengths[link][most]
                    heapq.heappush(queue, (further, next(order), other, node))
        return None

    def take(self, path: Path) -> dict[Edge, int]:
        """Channels for all its edges, each where one more helps most, as long as there are any."""
        taken = dict.fromkeys(edges_of(path), 0)

        def gain(link: Edge) -> float:
            lengths = self._lengths[link]
            return lengths[taken[link]] - lengths[taken[link] + 1] if self.spare.room(link) else -inf

        for link in taken:
            self._one_more(link, taken)
        while gain(link := max(taken, key=gain)) > 0:
            self._one_more(link, taken)
        return taken

    def _one_more(self, link: Edge, taken: dict[Edge, int]) -> None:
        self.spare.take(link, 1)
        taken[link] += 1


def _lengths(ratio: float, channels: int) -> Iterator[float]:
    """-log of the chance that one at least of 1, 2, ... channels gives a pair."""
    for number in range(1, channels + 1):
        yield -log1p(-((1 - ratio) ** number)) if ratio < 1 else 0.0
