"""Node-disjoint pairs of routes, and routes at costs of their own, for many streams by few compiled calls.

The searches of a batch lie side by side in one graph, as blocks without an arc between them. A pair of least
total cost is two shortest paths, the second in what the first leaves (Suurballe 1974; Bhandari 1999): nodes
of the first are split in two, its arcs are reversed, and distances from the first search keep costs from
being negative.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from keyweave.controller.routing.arcs import Arcs, Floats
from keyweave.controller.routing.network import Route, Scope

# So many searches share a graph: enough for the cost of a call, few enough for the processor's cache.
BATCH = 8

# Where to go, and what every arc costs.
Search = tuple[Scope, Floats]


def cheapest_routes(arcs: Arcs, searches: Iterable[Search]) -> list[tuple[Route, ...] | None]:
    """The cheapest route of each search; hop limits are not looked at."""
    found: list[tuple[Route, ...] | None] = []
    for batch in _batches(arcs, searches):
        ways = (batch.first_way(i) for i in range(batch.count))
        found += [None if way is None else (batch.route(i, way),) for i, way in enumerate(ways)]
    return found


def cheapest_pairs(arcs: Arcs, searches: Iterable[Search]) -> list[tuple[Route, ...] | None]:
    """The two node-disjoint routes of least cost together; hop limits are not looked at."""
    return [pair for batch in _batches(arcs, searches) for pair in batch.pairs()]


def _batches(arcs: Arcs, searches: Iterable[Search]) -> Iterator["Batch"]:
    waiting = iter(searches)
    while members := list(islice(waiting, BATCH)):
        costs = np.array([arcs.around(costs, scope.barred) for scope, costs in members])
        ends = [(arcs.nodes.get(s.source, -1), arcs.nodes.get(s.target, -1)) for s, _ in members]
        entry_costs = arcs.entry_costs(costs)
        yield Batch(arcs, costs, entry_costs, ends, *_first_trees(arcs, entry_costs, ends))


def _first_trees(
    arcs: Arcs, entry_costs: Floats, ends: Sequence[tuple[int, int]]
) -> tuple[Floats, NDArray[np.integer]]:
    """Distances from each search's source, and who comes before each node."""
    size, count = arcs.size, len(ends)
    roots = [i * size + source for i, (source, _) in enumerate(ends) if source >= 0]
    if not roots or not len(arcs.keys):
        return np.full((count, size), np.inf), np.zeros((count, size), dtype=np.int64)
    blocks = np.arange(count)[:, None]
    columns = (arcs.columns[None, :] + blocks * size).ravel()
    starts = (arcs.starts[None, :-1] + blocks * len(arcs.keys)).ravel()
    matrix = csr_matrix(
        (entry_costs.ravel(), columns, np.append(starts, len(columns))), shape=(count * size, count * size)
    )
    distance, before, _ = dijkstra(matrix, indices=roots, return_predecessors=True, min_only=True)
    return distance.reshape(count, size), before.reshape(count, size) - blocks * size


class Batch:
    """Searches of which the first trees are known; costs, distances and predecessors have a row for each."""

    def __init__(
        self,
        arcs: Arcs,
        costs: Floats,
        entry_costs: Floats,
        ends: Sequence[tuple[int, int]],
        distance: Floats,
        before: NDArray[np.integer],
    ) -> None:
        self._arcs, self._costs, self._entry_costs = arcs, costs, entry_costs
        self._ends, self._distance, self._before = ends, distance, before
        self.count = len(ends)

    def first_way(self, index: int) -> list[int] | None:
        """Nodes of a search's cheapest route."""
        source, target = self._ends[index]
        if source < 0 or target < 0 or not np.isfinite(self._distance[index, target]):
            return None
        return _trail(self._before[index], source, target)

    def route(self, index: int, way: Sequence[int], rank: int = 0) -> Route:
        """The hops between nodes; of parallel links the cheapest, or the one of that rank."""
        arcs, costs = self._arcs, self._costs[index]
        entries = arcs.entries_along(way)
        if not arcs.has_parallels:
            return arcs.route(entries)
        chosen: list[int] = []
        for entry in entries:
            first, after = int(arcs.first[entry]), int(arcs.after[entry])
            order = [0] if after - first == 1 else np.argsort(costs[first:after], kind="stable").tolist()
            chosen.append(first + order[rank])
        return arcs.route(chosen)

    def pairs(self) -> list[tuple[Route, ...] | None]:
        """Two node-disjoint routes each."""
        found: list[tuple[Route, ...] | None] = [None] * self.count
        ways = {i: way for i in range(self.count) if (way := self.first_way(i)) is not None}
        if not ways:
            return found
        matrix, stride = self._left_by(ways)
        roots = [n * stride + way[0] for n, way in enumerate(ways.values())]
        distance, before, _ = dijkstra(matrix, indices=roots, return_predecessors=True, min_only=True)
        for n, (i, way) in enumerate(ways.items()):
            if np.isfinite(distance[n * stride + way[-1]]):
                found[i] = self._untangled(i, way, _trail(before, way[0], way[-1], n * stride))
        return found

    def _left_by(self, ways: Mapping[int, Sequence[int]]) -> tuple[csr_matrix, int]:
        """What the first routes leave: arcs at reduced costs, with the routes' inner nodes split in two.

        A split node keeps its number where it is left; where it is entered, it has one beyond all nodes,
        with a single arc, back along the route. Also how far blocks are apart.
        """
        arcs, size, count = self._arcs, self._arcs.size, len(ways)
        stride = size + max(len(way) for way in ways.values()) - 2
        blocks = list(ways)
        distance = self._distance[blocks]
        with np.errstate(invalid="ignore"):
            reduced = self._entry_costs[blocks] + distance.take(arcs.rows, axis=1)
            reduced -= distance.take(arcs.columns, axis=1)
        np.maximum(reduced, 0.0, out=reduced)
        # Beyond reach on both sides, there is no difference.
        reduced[np.isnan(reduced)] = np.inf
        entered = np.tile(np.arange(stride, dtype=np.int32), (count, 1))
        back_to = entered[:, size:].copy()
        for n, way in enumerate(ways.values()):
            inner = len(way) - 2
            entered[n, way[1:-1]] = np.arange(size, size + inner)
            back_to[n, 1:inner] = way[1:inner]
        columns = entered.take(arcs.columns, axis=1)
        for n, (i, way) in enumerate(ways.items()):
            # What was the way on from an inner node leads to where that is entered: its flow can be undone.
            first, *onward = arcs.entries_along(way)
            reduced[n, first] = np.inf if onward else self._beside(i, first)
            reduced[n, onward] = 0.0
            columns[n, onward] = np.arange(size, size + len(onward))
        costs = np.concatenate((reduced, np.where(back_to < size, 0.0, np.inf)), axis=1)
        offsets = np.arange(count, dtype=np.int32)[:, None]
        leads_to = np.concatenate((columns, back_to), axis=1) + offsets * stride
        starts = np.concatenate((arcs.starts[:-1], len(arcs.keys) + np.arange(stride - size)))
        begins = np.append((starts + offsets * costs.shape[1]).ravel(), costs.size)
        shape = (count * stride, count * stride)
        return csr_matrix((costs.ravel(), leads_to.ravel(), begins), shape=shape), stride

    def _beside(self, index: int, entry: int) -> float:
        """What the next link beside a route of one hop costs more."""
        costs = np.sort(self._costs[index, self._arcs.first[entry] : self._arcs.after[entry]])
        return float(costs[1] - costs[0]) if len(costs) > 1 else np.inf

    def _untangled(self, index: int, first: Sequence[int], second: Sequence[int]) -> tuple[Route, ...]:
        """Both ways, less what the second takes back of the first."""
        source, target, size = first[0], first[-1], self._arcs.size
        onward = dict(pairwise(first[1:]))
        begun = [first[1]]
        for here, there in pairwise(second):
            end = there if there < size else first[1 + there - size]
            if here >= size:
                # Back along the first way, to `end`.
                del onward[end]
            elif here == source:
                begun.append(end)
            elif here != end:
                onward[here] = end
        ways = []
        for node in begun:
            way = [source, node]
            while way[-1] != target:
                way.append(onward[way[-1]])
            ways.append(way)
        twins = ways[0] == ways[1]
        return self.route(index, ways[0]), self.route(index, ways[1], rank=1 if twins else 0)


def _trail(before: NDArray[np.integer], source: int, target: int, offset: int = 0) -> list[int]:
    """Nodes from source to target; in `before` their numbers are larger by the offset."""
    way = [target + offset]
    while way[-1] != source + offset:
        way.append(before.item(way[-1]))
    way.reverse()
    return [node - offset for node in way] if offset else way
