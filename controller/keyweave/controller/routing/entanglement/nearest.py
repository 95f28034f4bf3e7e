"""Flows without a program: again and again along the fewest hops that still have room.

Nobody's path gives way to anybody else's, which is near enough for a pair of nodes that asks alone, takes a
tenth of the time, and gives the program of `sharing` paths to begin with.
"""

from collections.abc import Sequence
from math import inf

from keyweave.controller.routing.entanglement.mending import traced
from keyweave.controller.routing.entanglement.slots import PairNetwork, Path, edge, edges_of

# Pairs a slot; along less than that a path is not worth its swaps.
_LEAST_FLOW = 0.3


def nearest_first(network: PairNetwork, pairs: Sequence[tuple[int, int]]) -> list[tuple[Path, float]]:
    """Paths with the mean pairs a slot that they may carry, in the order of being chosen."""
    room = _Room(network)
    known = {pair: path for pair in dict.fromkeys(pairs) if (path := room.path(*pair))}
    flows: list[tuple[Path, float]] = []
    while True:
        best: tuple[int, float, Path] | None = None
        for pair, path in list(known.items()):
            now, flow = path, room.along(path)
            if flow < _LEAST_FLOW:
                again = room.path(*pair)
                if again is None or (flow := room.along(again)) < _LEAST_FLOW:
                    del known[pair]
                    continue
                now = known[pair] = again
            if best is None or (len(now), -flow) < best[:2]:
                best = len(now), -flow, now
        if best is None:
            return flows
        flows.append((best[2], -best[1]))
        room.take(*flows[-1])


class _Room:
    """What is left of a network, in mean pairs a slot and memories."""

    def __init__(self, network: PairNetwork) -> None:
        self._neighbours = network.neighbours
        # A pair a slot takes as many channels, so as many memories at each end.
        self._memories_per_pair = {link: 1 / ratio for link, ratio in network.success_ratio.items()}
        self._pairs = {link: count * network.success_ratio[link] for link, count in network.channels.items()}
        self._memories = [float(count) for count in network.memories]

    def path(self, source: int, target: int) -> Path | None:
        """The fewest hops that each have room."""
        before, layer = {source: -1}, [source]
        pairs, memories, needed = self._pairs, self._memories, self._memories_per_pair
        while layer:
            following = []
            for node in layer:
                for other in self._neighbours[node]:
                    if other in before or pairs[link := edge(node, other)] < _LEAST_FLOW:
                        continue
                    # Beyond an inner node the path needs about as many memories there again.
                    sides = 1 if other == target else 2
                    if memories[other] < needed[link] * _LEAST_FLOW * sides:
                        continue
                    before[other] = node
                    if other == target:
                        return traced(before, other)
                    following.append(other)
            layer = following
        return None

    def along(self, path: Path) -> float:
        """Mean pairs a slot for which all edges and nodes of a path have room."""
        least, before, at = inf, 0.0, path[0]
        for node in path[1:]:
            link = edge(at, node)
            needed = self._memories_per_pair[link]
            least = min(least, self._pairs[link], self._memories[at] / (before + needed))
            before, at = needed, node
        return min(least, self._memories[at] / before)

    def take(self, path: Path, flow: float) -> None:
        """So much less."""
        for link in edges_of(path):
            self._pairs[link] -= flow
            for node in link:
                self._memories[node] -= self._memories_per_pair[link] * flow
