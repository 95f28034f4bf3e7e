"""Cheapest routes of many streams at once: one shortest-path tree a source, by scipy's compiled Dijkstra."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.arcs import Arcs, Floats, Indices
from keyweave.controller.routing.network import Route, Scope, Terrain
from keyweave.controller.routing.pairs import BATCH, Batch


class Trees:
    """Searches under prices that change while the network does not."""

    def __init__(self, ground: Terrain) -> None:
        self.arcs = Arcs(ground)
        self._hops: dict[NodeName, Mapping[NodeName, float]] = {}

    def under(self, weight: Mapping[LinkName, float]) -> "Forest":
        """Searches under weights of links, which are positive; links without one are not used."""
        return Forest(self.arcs, self.arcs.costs(weight))

    def islands(self, links: Container[LinkName]) -> dict[NodeName, int]:
        """The parts into which these links join the nodes: the same number for nodes of the same part."""
        kept = [hop.link in links for hop in self.arcs.hops]
        entries = np.logical_or.reduceat(kept, self.arcs.first) if kept else np.zeros(0, dtype=bool)
        matrix = matrix_of(self.arcs, entries.astype(np.float64))
        matrix.eliminate_zeros()
        labels = connected_components(matrix, directed=False)[1].tolist()
        return dict(zip(self.arcs.nodes, labels, strict=True))

    def hops_to(self, target: NodeName) -> Mapping[NodeName, float]:
        """How many hops each node is from `target`, whatever bars them; nodes out of reach are left out."""
        if target not in self._hops:
            ones = matrix_of(self.arcs, np.ones(len(self.arcs.columns)))
            hops = dijkstra(ones, indices=self.arcs.nodes[target], unweighted=True).tolist()
            named = zip(self.arcs.nodes, hops, strict=True)
            self._hops[target] = {node: count for node, count in named if count < np.inf}
        return self._hops[target]


class Forest:
    """The trees under one set of costs, each grown once. Hop limits are not looked at."""

    def __init__(self, arcs: Arcs, costs: Floats) -> None:
        self._arcs, self._costs = arcs, costs
        self._grown: dict[frozenset[NodeName], _Grown] = {}

    def routes(self, scopes: Mapping[int, Scope]) -> dict[int, tuple[Route, float]]:
        """The cheapest route, and its cost, for each scope that has one."""
        found: dict[int, tuple[Route, float]] = {}
        for barred, members in self._by_barred(scopes.items()).items():
            targets = np.array([self._arcs.nodes[scopes[index].target] for index in members], dtype=np.int64)
            grown, tree = self._from_sources(barred, [scopes[index] for index in members])
            length = grown.distance[tree, targets]
            reached = np.flatnonzero(np.isfinite(length))
            routes = self._walk(grown, tree[reached], targets[reached])
            for place, route, cost in zip(reached.tolist(), routes, length[reached].tolist(), strict=True):
                found[members[place]] = route, cost
        return found

    def pairs(self, scopes: Sequence[Scope]) -> list[tuple[Route, ...] | None]:
        """The pair of node-disjoint routes of least cost for each scope."""
        found: list[tuple[Route, ...] | None] = [None] * len(scopes)
        nodes = self._arcs.nodes
        for barred, members in self._by_barred(enumerate(scopes)).items():
            grown, tree = self._from_sources(barred, [scopes[index] for index in members])
            entry_costs = self._arcs.entry_costs(grown.costs)
            for start in range(0, len(members), BATCH):
                batch, rows = members[start : start + BATCH], tree[start : start + BATCH]
                pairs = Batch(
                    self._arcs,
                    np.broadcast_to(grown.costs, (len(batch), len(grown.costs))),
                    np.broadcast_to(entry_costs, (len(batch), len(entry_costs))),
                    [(nodes[scopes[index].source], nodes[scopes[index].target]) for index in batch],
                    grown.distance[rows],
                    grown.before[rows],
                ).pairs()
                for index, pair in zip(batch, pairs, strict=True):
                    found[index] = pair
        return found

    def _by_barred(self, scopes: Iterable[tuple[int, Scope]]) -> dict[frozenset[NodeName], list[int]]:
        """The scopes whose ends exist, by what they keep clear of."""
        groups: dict[frozenset[NodeName], list[int]] = {}
        for index, scope in scopes:
            if scope.source in self._arcs.nodes and scope.target in self._arcs.nodes:
                groups.setdefault(scope.barred, []).append(index)
        return groups

    def _from_sources(self, barred: frozenset[NodeName], scopes: Sequence[Scope]) -> tuple["_Grown", Indices]:
        """Trees from all the sources, and which of them is each scope's."""
        sources = np.array([self._arcs.nodes[scope.source] for scope in scopes], dtype=np.int64)
        grown = self._grown.get(barred)
        if grown is None or not np.isin(sources, grown.roots).all():
            costs = self._arcs.around(self._costs, barred)
            roots = np.unique(sources)
            distance, before = dijkstra(
                matrix_of(self._arcs, self._arcs.entry_costs(costs)), indices=roots, return_predecessors=True
            )
            grown = self._grown[barred] = _Grown(costs, roots, distance, before)
        return grown, np.searchsorted(grown.roots, sources).astype(np.int64)

    def _walk(self, grown: "_Grown", tree: Indices, ends: Indices) -> list[Route]:
        """The routes from the roots of trees to the ends, all of them a hop at a time, backwards."""
        roots = grown.roots[tree]
        best = self._arcs.best(grown.costs)
        active, node = np.flatnonzero(ends != roots), ends.copy()
        whose, taken = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        while len(active):
            previous = grown.before[tree[active], node[active]].astype(np.int64)
            whose.append(active)
            taken.append(best[self._arcs.entries(previous, node[active])])
            node[active] = previous
            active = active[previous != roots[active]]
        owner = np.concatenate(whose[::-1])
        in_order = np.concatenate(taken[::-1])[np.argsort(owner, kind="stable")]
        return self._arcs.routes(in_order, np.bincount(owner, minlength=len(ends)))


class _Grown(NamedTuple):
    """Trees that keep clear of some nodes, a row for each root."""

    costs: Floats
    roots: Indices
    distance: Floats
    before: Indices


def matrix_of(arcs: Arcs, data: Floats) -> csr_matrix:
    """Costs of entries as a matrix."""
    return csr_matrix((data, arcs.columns, arcs.starts), shape=(arcs.size, arcs.size))
