"""Cheapest routes of many streams at once: one shortest-path tree a source, by scipy's compiled Dijkstra."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.network import Route, Scope, Terrain
from keyweave.controller.topology import Hop

# scipy's marker for a node that is its tree's root or out of its reach.
_NO_NODE = -9999


class Trees:
    """The terrain as arrays, for searches under prices that change while the network does not."""

    def __init__(self, ground: Terrain) -> None:
        self._nodes = {name: i for i, name in enumerate(ground.hops)}
        arcs = [hop for outward in ground.hops.values() for hop in outward]
        # Arcs in row order of their matrix; parallel links fall together in one entry.
        ends = np.array([(self._nodes[h.from_node], self._nodes[h.to_node]) for h in arcs], dtype=np.int64)
        keys = ends @ (len(self._nodes), 1) if arcs else np.zeros(0, dtype=np.int64)
        self._entry_of_arc = np.unique(keys, return_inverse=True)[1]
        entries = np.unique(keys)
        self._rows, self._columns = entries // len(self._nodes), entries % len(self._nodes)
        self._starts = np.searchsorted(self._rows, np.arange(len(self._nodes) + 1))
        self._arcs = arcs
        self._hops: dict[NodeName, Mapping[NodeName, float]] = {}

    def cheapest(
        self, scopes: Mapping[int, Scope], weight: Mapping[LinkName, float]
    ) -> dict[int, tuple[Route, float]]:
        """Route and cost for each scope that has one; hop limits are not looked at.

        Links without a weight are not used; weights are positive.
        """
        costs = np.array([weight.get(hop.link, np.inf) for hop in self._arcs], dtype=np.float64)
        # Of parallel links the cheapest; of equal ones the first, which is the widest.
        order = np.lexsort((np.arange(len(costs)), costs, self._entry_of_arc))
        first = np.searchsorted(self._entry_of_arc[order], np.arange(len(self._rows)))
        best = order[first] if len(order) else order
        by_barred: dict[frozenset[NodeName], dict[int, Scope]] = {}
        for index, scope in scopes.items():
            by_barred.setdefault(scope.barred, {})[index] = scope
        found: dict[int, tuple[Route, float]] = {}
        for barred, members in by_barred.items():
            found.update(self._under(barred, members, costs[best], best))
        return found

    def hops_to(self, target: NodeName) -> Mapping[NodeName, float]:
        """How many hops each node is from `target`, whatever bars them; nodes out of reach are left out."""
        if target not in self._hops:
            size = len(self._nodes)
            ones = csr_matrix((np.ones(len(self._columns)), self._columns, self._starts), shape=(size, size))
            hops = dijkstra(ones, indices=self._nodes[target], unweighted=True).tolist()
            named = zip(self._nodes, hops, strict=True)
            self._hops[target] = {node: count for node, count in named if count < np.inf}
        return self._hops[target]

    def _under(
        self,
        barred: frozenset[NodeName],
        scopes: Mapping[int, Scope],
        costs: NDArray[np.float64],
        best: NDArray[np.int64],
    ) -> dict[int, tuple[Route, float]]:
        if barred:
            shut = np.zeros(len(self._nodes), dtype=bool)
            shut[[self._nodes[node] for node in barred]] = True
            costs = np.where(shut[self._rows] | shut[self._columns], np.inf, costs)
        size = len(self._nodes)
        matrix = csr_matrix((costs, self._columns, self._starts), shape=(size, size))
        known = {i: s for i, s in scopes.items() if s.source in self._nodes and s.target in self._nodes}
        roots = sorted({self._nodes[scope.source] for scope in known.values()})
        if not roots:
            return {}
        distance, before = dijkstra(matrix, indices=roots, return_predecessors=True)
        row_of = {root: row for row, root in enumerate(roots)}
        hop_into = self._hops_into(best)
        found: dict[int, tuple[Route, float]] = {}
        trails: dict[int, list[int]] = {}
        for index, scope in known.items():
            root, node = self._nodes[scope.source], self._nodes[scope.target]
            row = row_of[root]
            cost = float(distance[row, node])
            if cost < np.inf:
                if row not in trails:
                    trails[row] = before[row].tolist()
                found[index] = (_walk(trails[row], hop_into, root, node), cost)
        return found

    def _hops_into(self, best: NDArray[np.int64]) -> dict[tuple[int, int], Hop]:
        pairs = zip(self._rows.tolist(), self._columns.tolist(), strict=True)
        return {pair: self._arcs[arc] for pair, arc in zip(pairs, best.tolist(), strict=True)}


def _walk(before: list[int], hop_into: Mapping[tuple[int, int], Hop], root: int, node: int) -> Route:
    hops: list[Hop] = []
    while node != root:
        previous = before[node]
        assert previous != _NO_NODE, "a node at a finite distance has a predecessor"
        hops.append(hop_into[previous, node])
        node = previous
    return tuple(reversed(hops))
