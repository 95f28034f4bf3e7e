"""The terrain as arrays, for compiled searches: an arc for each direction of each link.

Arcs with the same two ends (parallel links) lie side by side and make one entry of the matrix.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.network import Route, Terrain
from keyweave.controller.topology import Hop

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class Arcs:
    """All arcs by their ends; entries in row order of a sparse matrix."""

    def __init__(self, ground: Terrain) -> None:
        self.nodes: Mapping[NodeName, int] = {name: i for i, name in enumerate(ground.hops)}
        self.size = len(self.nodes)
        hops = [hop for outward in ground.hops.values() for hop in outward]
        ends = np.array([(self.nodes[h.from_node], self.nodes[h.to_node]) for h in hops], dtype=np.int64)
        keys = ends @ (self.size, 1) if hops else np.zeros(0, dtype=np.int64)
        # Stable: of parallel links the wider stays first.
        order = np.argsort(keys, kind="stable")
        self.hops: Sequence[Hop] = [hops[i] for i in order]
        self._objects = np.array(self.hops, dtype=object)
        self.keys, first = np.unique(keys[order], return_index=True)
        self.first: Indices = np.asarray(first, dtype=np.int64)
        self.after = np.append(self.first[1:], len(hops)).astype(np.int64)
        self._entry_of = {key: entry for entry, key in enumerate(self.keys.tolist())}
        self.rows, self.columns = self.keys // max(1, self.size), self.keys % max(1, self.size)
        self.starts = np.searchsorted(self.rows, np.arange(self.size + 1))
        self.has_parallels = len(self.first) < len(hops)
        self._of_link: dict[LinkName, list[int]] = {}
        self._at_node: dict[NodeName, list[int]] = {name: [] for name in self.nodes}
        for arc, hop in enumerate(self.hops):
            self._of_link.setdefault(hop.link, []).append(arc)
            self._at_node[hop.from_node].append(arc)
            self._at_node[hop.to_node].append(arc)
        numbers = {link: i for i, link in enumerate(self._of_link)}
        self._link = np.array([numbers[hop.link] for hop in self.hops], dtype=np.int64)

    def costs(self, weight: Mapping[LinkName, float]) -> Floats:
        """Cost of every arc; infinite where the link has no weight."""
        found = np.array([weight.get(link, np.inf) for link in self._of_link], dtype=np.float64)
        return np.asarray(found[self._link], dtype=np.float64)

    def weights(self, costs: Floats) -> dict[LinkName, float]:
        """Costs that are the same both ways, by link."""
        return {hop.link: cost for hop, cost in zip(self.hops, costs.tolist(), strict=True)}

    def of_links(self, links: Iterable[LinkName]) -> list[int]:
        """The arcs of some links, both ways; links that take no paths have none."""
        return [arc for link in links for arc in self._of_link.get(link, ())]

    def at_nodes(self, nodes: Iterable[NodeName]) -> list[int]:
        """The arcs into and out of some nodes."""
        return [arc for node in nodes for arc in self._at_node.get(node, ())]

    def around(self, costs: Floats, barred: Iterable[NodeName]) -> Floats:
        """Costs that keep clear of some nodes."""
        shut = self.at_nodes(barred)
        if not shut:
            return costs
        costs = costs.copy()
        costs[shut] = np.inf
        return costs

    def entry_costs(self, costs: Floats) -> Floats:
        """Of parallel arcs the cheapest; arcs along the last axis."""
        if not self.has_parallels:
            return costs
        return np.asarray(np.minimum.reduceat(costs, self.first, axis=-1), dtype=np.float64)

    def entries(self, rows: Indices, columns: Indices) -> Indices:
        """Where the arcs between given ends are; there have to be some."""
        return np.asarray(np.searchsorted(self.keys, rows * self.size + columns), dtype=np.int64)

    def entries_along(self, way: Sequence[int]) -> list[int]:
        """Where the arcs of one way are, which is given by its nodes."""
        size, numbers = self.size, self._entry_of
        return [numbers[a * size + b] for a, b in pairwise(way)]

    def best(self, costs: Floats) -> Indices:
        """The cheapest arc of every entry; of equal ones the first, which is the widest."""
        if not self.has_parallels:
            return self.first
        best = self.first.copy()
        for entry in np.flatnonzero(self.after - self.first > 1):
            first, after = self.first[entry], self.after[entry]
            best[entry] = first + np.argmin(costs[first:after])
        return best

    def route(self, arcs: Iterable[int]) -> Route:
        """Arcs, first to last, as hops."""
        return tuple([self.hops[arc] for arc in arcs])

    def routes(self, arcs: Indices, counts: Indices) -> list[Route]:
        """Arcs of very many routes, one after the other, as the hops of each."""
        hops: Route = tuple(self._objects.take(arcs).tolist())
        stops = np.cumsum([0, *counts]).tolist()
        return [hops[start:stop] for start, stop in pairwise(stops)]
