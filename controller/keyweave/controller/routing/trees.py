"""Cheapest routes of many streams at once: one shortest-path tree a source, by scipy's compiled Dijkstra."""

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.arcs import Arcs, Floats, Indices
from keyweave.controller.routing.network import Route, Scope, Terrain
from keyweave.controller.routing.pairs import cheapest_pairs


class Trees:
    """Searches under prices that change while the network does not."""

    def __init__(self, ground: Terrain) -> None:
        self.arcs = Arcs(ground)
        self._hops: dict[NodeName, Mapping[NodeName, float]] = {}

    def cheapest(
        self, scopes: Mapping[int, Scope], weight: Mapping[LinkName, float]
    ) -> dict[int, tuple[Route, float]]:
        """Route and cost for each scope that has one; hop limits are not looked at.

        Links without a weight are not used; weights are positive.
        """
        costs = self.arcs.costs(weight)
        by_barred: dict[frozenset[NodeName], list[int]] = {}
        for index, scope in scopes.items():
            if scope.source in self.arcs.nodes and scope.target in self.arcs.nodes:
                by_barred.setdefault(scope.barred, []).append(index)
        found: dict[int, tuple[Route, float]] = {}
        for barred, members in by_barred.items():
            around = self.arcs.around(costs, barred)
            routes = self._under(around, [scopes[index] for index in members])
            found.update((index, one) for index, one in zip(members, routes, strict=True) if one is not None)
        return found

    def cheapest_pairs(
        self, scopes: Iterable[Scope], weight: Mapping[LinkName, float]
    ) -> list[tuple[Route, ...] | None]:
        """The pair of node-disjoint routes of least cost for each scope; hop limits are not looked at."""
        costs = self.arcs.costs(weight)
        return cheapest_pairs(self.arcs, ((scope, costs) for scope in scopes))

    def islands(self, links: Container[LinkName]) -> dict[NodeName, int]:
        """The parts into which these links join the nodes: the same number for nodes of the same part."""
        kept = [hop.link in links for hop in self.arcs.hops]
        entries = np.logical_or.reduceat(kept, self.arcs.first) if kept else np.zeros(0, dtype=bool)
        matrix = self._matrix(entries.astype(np.float64))
        matrix.eliminate_zeros()
        labels = connected_components(matrix, directed=False)[1].tolist()
        return dict(zip(self.arcs.nodes, labels, strict=True))

    def hops_to(self, target: NodeName) -> Mapping[NodeName, float]:
        """How many hops each node is from `target`, whatever bars them; nodes out of reach are left out."""
        if target not in self._hops:
            ones = self._matrix(np.ones(len(self.arcs.columns)))
            hops = dijkstra(ones, indices=self.arcs.nodes[target], unweighted=True).tolist()
            named = zip(self.arcs.nodes, hops, strict=True)
            self._hops[target] = {node: count for node, count in named if count < np.inf}
        return self._hops[target]

    def _matrix(self, data: Floats) -> csr_matrix:
        size = self.arcs.size
        return csr_matrix((data, self.arcs.columns, self.arcs.starts), shape=(size, size))

    def _under(self, costs: Floats, scopes: Sequence[Scope]) -> list[tuple[Route, float] | None]:
        nodes = self.arcs.nodes
        targets = np.array([nodes[scope.target] for scope in scopes], dtype=np.int64)
        roots, tree = np.unique(
            np.array([nodes[scope.source] for scope in scopes], dtype=np.int64), return_inverse=True
        )
        matrix = self._matrix(self.arcs.entry_costs(costs))
        distance, before = dijkstra(matrix, indices=roots, return_predecessors=True)
        length = distance[tree, targets]
        reached = np.flatnonzero(np.isfinite(length))
        routes = self._walk(before, roots[tree[reached]], tree[reached], targets[reached], costs)
        found: list[tuple[Route, float] | None] = [None] * len(scopes)
        for place, route, cost in zip(reached.tolist(), routes, length[reached].tolist(), strict=True):
            found[place] = route, cost
        return found

    def _walk(
        self, before: Indices, roots: Indices, tree: Indices, ends: Indices, costs: Floats
    ) -> list[Route]:
        """The routes from the roots to the ends, all of them a hop at a time, backwards."""
        best = self.arcs.best(costs)
        active, node = np.flatnonzero(ends != roots), ends.copy()
        whose, taken = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        while len(active):
            previous = before[tree[active], node[active]].astype(np.int64)
            whose.append(active)
            taken.append(best[self.arcs.entries(previous, node[active])])
            node[active] = previous
            active = active[previous != roots[active]]
        owner = np.concatenate(whose[::-1])
        hops = self.arcs.route(np.concatenate(taken[::-1])[np.argsort(owner, kind="stable")].tolist())
        stops = np.cumsum([0, *np.bincount(owner, minlength=len(ends))]).tolist()
        return [hops[start:stop] for start, stop in pairwise(stops)]
