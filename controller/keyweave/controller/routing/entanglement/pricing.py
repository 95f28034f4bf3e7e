"""The paths that are worth most above a price for each edge, for many pairs of nodes at once.

What a path is worth depends on its number of hops alone, so the cheapest one of each number is the best of
that number (Bellman and Ford).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from keyweave.controller.routing.entanglement.slots import PairNetwork, Path, edge

Floats = NDArray[np.float64]


class Arcs:
    """The edges of a network, each in both directions, in the order of the node that they lead to."""

    def __init__(self, network: PairNetwork) -> None:
        self.nodes = len(network.memories)
        rows = {link: row for row, link in enumerate(network.channels)}
        arcs = sorted((head, tail) for a, b in rows for head, tail in ((a, b), (b, a)))
        self.tails = np.array([tail for _, tail in arcs], dtype=np.int64)
        # Where its edge stands in the network's order.
        self.rows = np.array([rows[edge(head, tail)] for head, tail in arcs], dtype=np.int64)
        self.heads, self.starts = np.unique([head for head, _ in arcs], return_index=True)
        starts = self.starts.tolist()
        # Of each node, the arcs that lead to it.
        self.incoming = dict(
            zip(
                self.heads.tolist(),
                map(slice, starts, [*starts[1:], len(arcs)]),
                strict=True,
            )
        )


class Pricing:
    """The search in one network, for some pairs.

    Args:
        arcs: of the network.
        pairs: for whom.
        hop_ratio: what a path is worth, of one that is a hop shorter.
    """

    def __init__(self, arcs: Arcs, pairs: Sequence[tuple[int, int]], hop_ratio: float) -> None:
        self._arcs = arcs
        self._pairs = pairs
        self._hop_ratio = hop_ratio
        self._sources = np.array([source for source, _ in pairs], dtype=np.int64)
        self._targets = np.array([target for _, target in pairs], dtype=np.int64)

    def best(self, prices: Floats, above: float) -> Iterator[Path]:
        """For each pair the path worth most, and shorter ones on the way to it, of more worth than `above`.

        Args:
            prices: by edge, in the network's order; infinite where nothing can go.
            above: what a path has to be worth beyond the price of its edges.
        """
        every = np.arange(len(self._pairs))
        tails, heads, starts = self._arcs.tails, self._arcs.heads, self._arcs.starts
        # By node and pair.
        cost = np.full((self._arcs.nodes, len(self._pairs)), np.inf)
        cost[self._sources, every] = 0.0
        # The least cost of each node over at most 0, 1, 2, ... hops.
        costs, weights = [cost], prices[self._arcs.rows]
        value = np.full(len(self._pairs), above)
        found: list[tuple[int, int]] = []
        worth = 1.0
        while (value < worth - 1e-12).any():
            arriving = cost.take(tails, axis=0)
            arriving += weights[:, None]
            onward = cost.copy()
            onward[heads] = np.minimum(cost[heads], np.minimum.reduceat(arriving, starts, axis=0))
            # Beyond that, nothing on the way to the target can be worth more than what is known.
            onward[onward >= worth - value] = np.inf
            if (onward == cost).all():
                break
            cost = onward
            costs.append(cost)
            there = worth - cost[self._targets, every]
            better = there > value + 1e-12
            found += [(pair, len(costs) - 1) for pair in np.flatnonzero(better).tolist()]
            value = np.where(better, there, value)
            worth *= self._hop_ratio
        return (self._traced(costs, weights, pair, hops) for pair, hops in found)

    def _traced(self, costs: Sequence[Floats], weights: Floats, pair: int, hops: int) -> Path:
        source, node = self._pairs[pair]
        path = [node]
        while node != source:
            hops -= 1
            if costs[hops][node, pair] == costs[hops + 1][node, pair]:
                continue
            into = self._arcs.incoming[node]
            tails = self._arcs.tails[into]
            node = int(tails[(costs[hops][tails, pair] + weights[into]).argmin()])
            path.append(node)
        return tuple(reversed(path))
