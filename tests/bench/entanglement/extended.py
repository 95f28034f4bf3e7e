"""What Q-CAST values a path at, and its search for the best one (Shi and Qian, SIGCOMM 2020, section 4)."""

import heapq
from functools import cache
from math import comb, inf

from keyweave.controller.routing.entanglement.mending import traced
from keyweave.controller.routing.entanglement.slots import PairNetwork, Path, Spare, edge, edges_of


@cache
def at_least(width: int, success_ratio: float) -> tuple[float, ...]:
    """The probabilities that of `width` channels at least 1, 2, ..., `width` succeed."""
    tails, tail = [], 0.0
    for i in range(width, 0, -1):
        tail += comb(width, i) * success_ratio**i * (1 - success_ratio) ** (width - i)
        tails.append(tail)
    return tuple(reversed(tails))


def expected_pairs(network: PairNetwork, path: Path, width: int) -> float:
    """EXT: the pairs that lanes along a path give in a slot on average (their equations 1 and 2).

    Their recursion gives the distribution of the least number of pairs that any hop has. It is at least i
    exactly where every hop has i or more, so its mean is the sum over i of products over hops.
    """
    product = [1.0] * width
    for link in edges_of(path):
        product = [a * b for a, b in zip(product, at_least(width, network.success_ratio[link]), strict=True)]
    return float(network.swap_ratio ** (len(path) - 2) * sum(product))


def best_path(
    network: PairNetwork, spare: Spare, ends: tuple[int, int], width: int
) -> tuple[Path, float] | None:
    """The path for lanes of one width with the greatest expected pairs, and that number; None without room.

    It falls with every hop, so the search goes on from whatever node stands best (extended Dijkstra).
    """
    source, target = ends
    if min(spare.memories[source], spare.memories[target]) < width:
        return None
    swap, success, memories, channels = (
        network.swap_ratio,
        network.success_ratio,
        spare.memories,
        spare.channels,
    )
    # Of each node that was reached: expected pairs, survival by number of pairs.
    reached: dict[int, tuple[float, list[float]]] = {source: (inf, [1.0] * width)}
    queue: list[tuple[float, int, int]] = [(-inf, source, -1)]
    before: dict[int, int] = {}
    while queue:
        _, node, previous = heapq.heappop(queue)
        if node in before:
            continue
        before[node] = previous
        if node == target:
            return traced(before, target), reached[node][0]
        survival = reached[node][1]
        factor = 1.0 if node == source else swap
        for other in network.neighbours[node]:
            link = edge(node, other)
            memory = memories[other] if other == target else memories[other] // 2
            if other in before or min(memory, channels[link]) < width:
                continue
            tails = at_least(width, success[link])
            product = [a * b * factor for a, b in zip(survival, tails, strict=True)]
            value = sum(product)
            if other not in reached or reached[other][0] < value:
                reached[other] = (value, product)
                heapq.heappush(queue, (-value, other, node))
    return None
