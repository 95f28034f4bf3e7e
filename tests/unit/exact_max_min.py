"""The exact reference of allocation: max-min fair rates over every possible route, by linear programming.

Arc flows instead of path sets, one commodity a source node: flow that leaves a node for several targets can
be taken apart into their streams afterwards, so the program is as exact as with one commodity a stream.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_matrix, csr_matrix

from keyweave.common.names import StreamName
from keyweave.controller.routing import OVERHEAD
from keyweave.controller.topology import Plan, Snapshot, Stream

# A stream whose dual value (of all streams': 1 in sum) is above this is held at the level by every optimum.
_HAS_PRICE = 1e-6
_SLACK = 1e-7


class ExactMaxMin:
    """Max-min fair rates of streams of one priority without limits."""

    def __init__(self, network: Snapshot) -> None:
        self.streams: Sequence[Stream] = tuple(network.streams.values())
        self._links = tuple(network.links.values())
        nodes = {name: i for i, name in enumerate(network.nodes)}
        # A unit that keeps the program's numbers near 1.
        self._unit = max(v.usable_rate_bps for v in self._links)
        arcs = [(i, nodes[v.link.a], nodes[v.link.b]) for i, v in enumerate(self._links)]
        arcs += [(i, b, a) for i, a, b in arcs]
        sources = {name: i for i, name in enumerate(sorted({one.source for one in self.streams}))}
        self._flows = len(sources) * len(arcs)
        # The last column is the level that all rising streams reach.
        self._columns = self._flows + len(self.streams) + 1
        conserve: list[tuple[int, int, float]] = []
        capacity: list[tuple[int, int, float]] = []
        for s in range(len(sources)):
            for a, (link, start, end) in enumerate(arcs):
                column = s * len(arcs) + a
                conserve += [(s * len(nodes) + start, column, 1.0), (s * len(nodes) + end, column, -1.0)]
                capacity.append((link, column, OVERHEAD))
        for i, one in enumerate(self.streams):
            row = sources[one.source] * len(nodes)
            conserve += [
                (row + nodes[one.source], self._flows + i, -1.0),
                (row + nodes[one.target], self._flows + i, 1.0),
            ]
        self._conserve = self._matrix(conserve, len(sources) * len(nodes))
        self._capacity = capacity

    def rates(self) -> dict[StreamName, float]:
        """Every stream's rate, delivered bit/s, to the lexicographic end."""
        count = len(self.streams)
        floors = np.zeros(count)
        rising = list(range(count))
        while rising:
            level, prices = self._raise(floors, rising)
            floors[rising] = level * (1 - _SLACK)
            held = {s for s, price in zip(rising, prices, strict=True) if price > _HAS_PRICE}
            assert held, "the prices of rising streams add up to 1"
            rising = [s for s in rising if s not in held]
        return {one.name: float(floors[s]) * self._unit for s, one in enumerate(self.streams)}

    def _raise(self, floors: NDArray[np.float64], rising: Sequence[int]) -> tuple[float, NDArray[np.float64]]:
        """The highest level that all of `rising` can reach together, and each one's price."""
        limits = [v.usable_rate_bps / self._unit for v in self._links]
        first = len(limits)
        entries = list(self._capacity)
        for i, s in enumerate(rising):
            entries += [(first + i, self._flows + s, -1.0), (first + i, self._columns - 1, 1.0)]
        cost = np.zeros(self._columns)
        cost[-1] = -1.0
        lower = np.zeros(self._columns)
        lower[self._flows : -1] = floors
        result = linprog(
            cost,
            A_ub=self._matrix(entries, first + len(rising)),
            b_ub=[*limits, *([0.0] * len(rising))],
            A_eq=self._conserve,
            b_eq=np.zeros(self._conserve.shape[0]),
            bounds=np.column_stack([lower, np.full(self._columns, np.inf)]),
            method="highs",
        )
        assert result.status == 0, result.message
        return float(result.x[-1]), -np.asarray(result.ineqlin.marginals[first:])

    def _matrix(self, entries: Sequence[tuple[int, int, float]], rows: int) -> csr_matrix:
        where = np.array([(row, column) for row, column, _ in entries])
        values = np.array([value for *_, value in entries])
        return coo_matrix((values, (where[:, 0], where[:, 1])), shape=(rows, self._columns)).tocsr()


def scores(network: Snapshot, plan: Plan) -> dict[StreamName, float]:
    """Each stream's rate in `plan` over its exact max-min rate."""
    exact = ExactMaxMin(network).rates()
    return {name: plan.streams[name].rate_bps / rate for name, rate in exact.items()}
