"""Routes, and node-disjoint pairs of routes, for many streams at costs of their own, by few compiled calls.

The searches of a batch lie side by side in one graph, as blocks without an arc between them. A pair of least
total cost is two shortest paths, the second in what the first leaves (Suurballe 1974; Bhandari 1999): nodes
of the first are split in two, its arcs are reversed, and distances from the first search keep costs from
being negative.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from keyweave.controller.routing.arcs import Arcs, Floats, Indices
from keyweave.controller.routing.network import Route, Scope

# So many searches share a graph: enough for the cost of a call, few enough for the processor's cache.
_BATCH = 8

# Where to go, and what every arc costs.
Search = tuple[Scope, Floats]


def cheapest_routes(arcs: Arcs, searches: Iterable[Search]) -> list[tuple[Route, ...] | None]:
    """The cheapest route of each search; hop limits are not looked at."""
    found: list[tuple[Route, ...] | None] = []
    for batch in _batches(arcs, searches):
        found += [None if way is None else (batch.route(i, way),) for i, way in enumerate(batch.first_ways())]
    return found


def cheapest_pairs(arcs: Arcs, searches: Iterable[Search]) -> list[tuple[Route, ...] | None]:
    """The two node-disjoint routes of least cost together; hop limits are not looked at."""
    found: list[tuple[Route, ...] | None] = []
    for batch in _batches(arcs, searches):
        found += batch.pairs()
    return found


def _batches(arcs: Arcs, searches: Iterable[Search]) -> Iterator["_Batch"]:
    waiting = iter(searches)
    while members := list(islice(waiting, _BATCH)):
        yield _Batch(arcs, members)


class _Batch:
    def __init__(self, arcs: Arcs, searches: Sequence[Search]) -> None:
        self._arcs = arcs
        first, plain = searches[0]
        # One network for all: one search a source, without copies of it.
        self._is_shared = all(s.barred == first.barred and costs is plain for s, costs in searches)
        if self._is_shared:
            costs = arcs.around(plain, first.barred)
            self._costs = np.broadcast_to(costs, (len(searches), len(costs)))
            entries = arcs.entry_costs(costs)
            self._entry_costs = np.broadcast_to(entries, (len(searches), len(entries)))
        else:
            self._costs = np.array([arcs.around(costs, scope.barred) for scope, costs in searches])
            self._entry_costs = arcs.entry_costs(self._costs)
        nodes = arcs.nodes
        self._sources = [nodes.get(scope.source, -1) for scope, _ in searches]
        self._targets = [nodes.get(scope.target, -1) for scope, _ in searches]
        self._count = len(searches)
        self._distance = np.zeros((0, 0))

    def first_ways(self) -> list[list[int] | None]:
        """Nodes of each search's cheapest route."""
        size, count = self._arcs.size, self._count
        if not len(self._arcs.keys):
            return [None] * count
        roots = [i * size + s for i, s in enumerate(self._sources) if s >= 0 and self._targets[i] >= 0]
        if not roots:
            return [None] * count
        parents = self._tree(roots) if not self._is_shared or len(roots) < count else self._trees()
        ways: list[list[int] | None] = []
        for i, (source, target) in enumerate(zip(self._sources, self._targets, strict=True)):
            known = source >= 0 and target >= 0 and np.isfinite(self._distance[i, target])
            ways.append(_trail(parents, i * size, source, target) if known else None)
        return ways

    def _trees(self) -> list[int]:
        """A tree for each source in the network that all share; who comes before each node of each block."""
        arcs, size = self._arcs, self._arcs.size
        matrix = csr_matrix((self._entry_costs[0], arcs.columns, arcs.starts), shape=(size, size))
        self._distance, before = dijkstra(matrix, indices=self._sources, return_predecessors=True)
        parents: list[int] = (before + (np.arange(self._count) * size)[:, None]).ravel().tolist()
        return parents

    def _tree(self, roots: Sequence[int]) -> list[int]:
        """The same where every block has costs of its own."""
        arcs, size, count = self._arcs, self._arcs.size, self._count
        blocks = np.arange(count)[:, None]
        columns = (arcs.columns[None, :] + blocks * size).ravel()
        starts = (arcs.starts[None, :-1] + blocks * len(arcs.keys)).ravel()
        matrix = csr_matrix(
            (self._entry_costs.ravel(), columns, np.append(starts, len(columns))),
            shape=(count * size, count * size),
        )
        distance, before, _ = dijkstra(matrix, indices=roots, return_predecessors=True, min_only=True)
        self._distance = distance.reshape(count, size)
        parents: list[int] = before.tolist()
        return parents

    def route(self, index: int, way: Sequence[int], rank: int = 0) -> Route:
        """The hops between nodes; of parallel links the cheapest, or the one of that rank."""
        arcs, costs = self._arcs, self._costs[index]
        ends = np.array(way, dtype=np.int64)
        chosen: list[int] = []
        for entry in arcs.entries(ends[:-1], ends[1:]).tolist():
            first, after = int(arcs.first[entry]), int(arcs.after[entry])
            order = [0] if after - first == 1 else np.argsort(costs[first:after], kind="stable").tolist()
            chosen.append(first + order[rank])
        return arcs.route(chosen)

    def pairs(self) -> list[tuple[Route, ...] | None]:
        """Two node-disjoint routes each."""
        firsts = self.first_ways()
        found: list[tuple[Route, ...] | None] = [None] * self._count
        open_blocks = [i for i, way in enumerate(firsts) if way is not None]
        if not open_blocks:
            return found
        ways = [firsts[i] or [] for i in open_blocks]
        size = self._arcs.size
        stride = size + max(len(way) for way in ways)
        out_of, data, rows, columns = self._left_by(open_blocks, ways, stride)
        matrix = coo_matrix((data, (rows, columns)), shape=(len(ways) * stride, len(ways) * stride)).tocsr()
        roots = [n * stride + self._sources[i] for n, i in enumerate(open_blocks)]
        distance, before, _ = dijkstra(matrix, indices=roots, return_predecessors=True, min_only=True)
        parents = before.tolist()
        for n, (i, way) in enumerate(zip(open_blocks, ways, strict=True)):
            source, target = self._sources[i], self._targets[i]
            if np.isfinite(distance[n * stride + target]):
                second = _trail(parents, n * stride, source, target)
                found[i] = self._untangled(i, way, second, out_of[n])
        return found

    def _left_by(
        self, blocks: Sequence[int], ways: Sequence[Sequence[int]], stride: int
    ) -> tuple[list[dict[int, int]], Floats, Indices, Indices]:
        """What the first routes leave: arcs at reduced costs, with the routes' inner nodes split in two.

        A split node keeps its number where it is entered; where it is left, it has one of its own.
        """
        arcs = self._arcs
        distance = self._distance[blocks]
        with np.errstate(invalid="ignore"):
            reduced = self._entry_costs[blocks] + distance[:, arcs.rows] - distance[:, arcs.columns]
        reduced = np.where(np.isfinite(reduced), np.maximum(0.0, reduced), np.inf)
        leaves = np.tile(np.arange(arcs.size), (len(ways), 1))
        numbers: list[dict[int, int]] = []
        undo: list[tuple[int, int]] = []
        for n, way in enumerate(ways):
            ends = np.array(way, dtype=np.int64)
            inner = way[1:-1]
            leaves[n, inner] = arcs.size + np.arange(len(inner))
            numbers.append({arcs.size + j: node for j, node in enumerate(inner)})
            reduced[n, arcs.entries(ends[:-1], ends[1:])] = np.inf
            if not inner:
                reduced[n, arcs.entries(ends[:1], ends[1:])] = self._beside(blocks[n], way)
            base = n * stride
            undo += [(base + arcs.size + j, base + node) for j, node in enumerate(inner)]
            undo += [(base + node, base + arcs.size + j) for j, node in enumerate(inner[1:])]
        bases = (np.arange(len(ways)) * stride)[:, None]
        used = np.isfinite(reduced)
        extra = np.array(undo, dtype=np.int64).reshape(-1, 2)
        rows = np.concatenate(((leaves[:, arcs.rows] + bases)[used], extra[:, 0]))
        columns = np.concatenate(((arcs.columns[None, :] + bases)[used], extra[:, 1]))
        return numbers, np.concatenate((reduced[used], np.zeros(len(extra)))), rows, columns

    def _beside(self, block: int, way: Sequence[int]) -> float:
        """What the next link beside a route of one hop costs more."""
        entry = int(self._arcs.entries(np.array(way[:1]), np.array(way[1:]))[0])
        costs = np.sort(self._costs[block, self._arcs.first[entry] : self._arcs.after[entry]])
        return float(costs[1] - costs[0]) if len(costs) > 1 else np.inf

    def _untangled(
        self, index: int, first: Sequence[int], second: Sequence[int], real: dict[int, int]
    ) -> tuple[Route, ...]:
        """Both ways, less what the second takes back of the first."""
        source, target = first[0], first[-1]
        onward = dict(pairwise(first[1:]))
        begun = [first[1]]
        for here, there in pairwise(second):
            start, end = real.get(here, here), real.get(there, there)
            if there in real:
                # Back along the first way, from `start` to `end`.
                del onward[end]
            elif start == source:
                begun.append(end)
            elif start != end:
                onward[start] = end
        ways = []
        for node in begun:
            way = [source, node]
            while way[-1] != target:
                way.append(onward[way[-1]])
            ways.append(way)
        twins = ways[0] == ways[1]
        return self.route(index, ways[0]), self.route(index, ways[1], rank=1 if twins else 0)


def _trail(parents: Sequence[int], base: int, source: int, target: int) -> list[int]:
    """Nodes from source to target, without the block's offset."""
    way = [target]
    while way[-1] != source:
        way.append(parents[base + way[-1]] - base)
    way.reverse()
    return way
