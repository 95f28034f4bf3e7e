"""The best path for lanes of one width, where what they take may cost something."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from keyweave.controller.routing.entanglement.slots import Edge, PairNetwork, Path, Spare, at_least, edge


@dataclass(frozen=True, slots=True)
class Prices:
    """What a channel and a memory cost, in pairs a slot."""

    channels: Mapping[Edge, float]
    memories: Sequence[float]

    def of(self, link: Edge) -> float:
        """A channel of an edge with the memories at its ends."""
        return self.channels[link] + self.memories[link[0]] + self.memories[link[1]]


def best_path(
    network: PairNetwork,
    spare: Spare,
    ends: tuple[int, int],
    width: int,
    prices: Prices | None = None,
    *,
    room: int | None = None,
    above: float = -inf,
) -> tuple[Path, float] | None:
    """The path with the greatest expected pairs of all its lanes less their price, and that difference.

    Both fall with every hop, so the search goes on from whatever node stands best (extended Dijkstra, Shi
    and Qian, section 4.3). Without prices that is exact in their sense; with prices it is a good guess. None
    where no path has room for that many lanes (or for `room` of them) and is worth more than `above`.
    """
    source, target = ends
    needed = width if room is None else room
    if min(spare.memories[source], spare.memories[target]) < needed:
        return None
    swap, success, memories, channels = (
        network.swap_ratio,
        network.success_ratio,
        spare.memories,
        spare.channels,
    )
    # Of each node that was reached: expected pairs less price, survival by number of pairs, price so far.
    reached: dict[int, tuple[float, list[float], float]] = {source: (inf, [1.0] * width, 0.0)}
    queue: list[tuple[float, int, int]] = [(-inf, source, -1)]
    before: dict[int, int] = {}
    while queue:
        _, node, previous = heapq.heappop(queue)
        if node in before:
            continue
        before[node] = previous
        if node == target:
            return traced(before, target), reached[node][0]
        _, survival, paid = reached[node]
        factor = 1.0 if node == source else swap
        for other in network.neighbours[node]:
            link = edge(node, other)
            memory = memories[other] if other == target else memories[other] // 2
            if other in before or min(memory, channels[link]) < needed:
                continue
            tails = at_least(width, success[link])
            product = [a * b * factor for a, b in zip(survival, tails, strict=True)]
            price = paid if prices is None else paid + width * prices.of(link)
            value = sum(product) - price
            if value > above and (other not in reached or reached[other][0] < value):
                reached[other] = (value, product, price)
                heapq.heappush(queue, (-value, other, node))
    return None


def traced(before: Mapping[int, int], target: int) -> Path:
    """The way to a node, from what came before each; -1 before the first."""
    path = [target]
    while before[path[-1]] >= 0:
        path.append(before[path[-1]])
    return tuple(reversed(path))
