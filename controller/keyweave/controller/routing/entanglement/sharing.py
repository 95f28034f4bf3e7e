"""How many pairs an average slot could carry along each path: a linear program that finds paths as it goes.

    maximise    sum over paths of ratio^(hops - 1) x flow(path)
    subject to  load of each edge <= what its channels give
                sum over a node's edges of memories per load x load <= memories of the node

The ratio is what a swap leaves, or less where a longer path is also likelier to lack a pair somewhere.

An edge whose channels succeed with probability p gives p pairs a channel on average and takes 1/p memories at
each end for one: lanes share channels, and an edge that fails often has as many more (the provisioning of
REPS: Zhao and Qiao, INFOCOM 2021). Dual values are what edges and memories are worth to everybody together; a
path that is worth more than what it takes is added, round after round (column generation: Ford and Fulkerson
1958; Gilmore and Gomory 1961). A greedy choice knows no such prices: it takes what is best for one and stands
in the way of two.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, pairwise

import highspy
import numpy as np

from keyweave.controller.routing.entanglement.pricing import Arcs, Floats, Pricing
from keyweave.controller.routing.entanglement.slots import PairNetwork, Path, edge, edges_of

# A path is new enough if it is worth this much more than it takes, in pairs a slot.
LEAST_GAIN = 1e-6
_MOST_ROUNDS = 100


class Sharing:
    """The program for one network and some pairs of nodes.

    Args:
        network: whose edges and memories are shared.
        arcs: of that network.
        pairs: who shares.
        hop_ratio: what a path is worth, of one that is a hop shorter.
    """

    def __init__(
        self, network: PairNetwork, arcs: Arcs, pairs: Sequence[tuple[int, int]], hop_ratio: float
    ) -> None:
        self._network = network
        self._hop_ratio = hop_ratio
        self._edges = list(network.channels)
        self._row = {link: row for row, link in enumerate(self._edges)}
        self._firsts = np.array([a for a, _ in self._edges], dtype=np.int64)
        self._seconds = np.array([b for _, b in self._edges], dtype=np.int64)
        # Paths of the last solution: where the next one begins.
        self._known: list[Path] = []
        self._pricing = Pricing(arcs, list(dict.fromkeys(pairs)), hop_ratio)

    def solve(
        self,
        limits: Floats,
        memories_per_load: Floats | None = None,
        *,
        first: Sequence[Path] = (),
        least_gain: float = LEAST_GAIN,
        least_growth: float = 0.0,
    ) -> list[tuple[Path, float]]:
        """Paths with their flow, where that is not 0.

        Args:
            limits: the most load of each edge, in the network's order.
            memories_per_load: of each edge; None where memories do not matter any more.
            first: paths to begin with, where there is no solution before this one.
            least_gain: what a path must be worth more than it takes.
            least_growth: of the whole, as a share, in two rounds; with less it stops.
        """
        bounds = limits if memories_per_load is None else np.append(limits, self._network.memories)
        program = _Program(bounds)
        paths: dict[Path, None] = {}
        prices, flow, reached = np.zeros(len(limits)), np.zeros(0), [0.0]
        open_edges = dict(zip(self._edges, limits > 0, strict=True))
        begin = self._known or dict.fromkeys(first)
        fresh = [path for path in begin if all(open_edges[link] for link in edges_of(path))]
        for _ in range(_MOST_ROUNDS):
            if not fresh:
                offers = self._pricing.best(np.where(limits > 0, prices, np.inf), least_gain)
                fresh = [path for path in offers if path not in paths]
            if not fresh:
                break
            paths.update(dict.fromkeys(fresh))
            worth = [self._hop_ratio ** (len(path) - 2) for path in fresh]
            program.add(worth, [self._column(path, memories_per_load) for path in fresh])
            fresh = []
            whole, flow, duals = program.solve()
            reached.append(whole)
            if len(reached) > 2 and reached[-1] - reached[-3] < least_growth * reached[-1]:
                break
            prices = duals[: len(limits)]
            if memories_per_load is not None:
                node = duals[len(limits) :]
                prices = prices + memories_per_load * (node[self._firsts] + node[self._seconds])
        self._known = list(paths)
        return [(path, float(amount)) for path, amount in zip(paths, flow, strict=True) if amount > 1e-9]

    def _column(self, path: Path, memories_per_load: Floats | None) -> dict[int, float]:
        """What a unit of flow takes, by row."""
        taken = {self._row[link]: 1.0 for link in edges_of(path)}
        if memories_per_load is None:
            return taken
        for a, b in pairwise(path):
            needed = float(memories_per_load[self._row[edge(a, b)]])
            for node in (a, b):
                row = len(self._edges) + node
                taken[row] = taken.get(row, 0.0) + needed
        return taken


class _Program:
    """max worth x, A x <= bounds, x >= 0, by columns; of the rows only those that columns are in."""

    def __init__(self, bounds: Floats) -> None:
        self._bounds = bounds
        # Where a row stands among those in use.
        self._places: dict[int, int] = {}
        solver = self._solver = highspy.Highs()  # type: ignore[no-untyped-call]
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("presolve", "off")
        # Primal simplex: new columns leave the last solution feasible.
        solver.setOptionValue("simplex_strategy", 4)

    def add(self, worth: Sequence[float], columns: Sequence[Mapping[int, float]]) -> None:
        """Columns, each with its entries by row."""
        before = len(self._places)
        for row in chain.from_iterable(columns):
            self._places.setdefault(row, len(self._places))
        new = list(self._places)[before:]
        none, empty = np.zeros(0), np.zeros(len(new), dtype=np.int32)
        self._solver.addRows(
            len(new), np.full(len(new), -np.inf), self._bounds[new], 0, empty, none.astype(np.int32), none
        )
        lengths = [len(each) for each in columns]
        self._solver.addCols(
            len(columns),
            -np.array(worth),
            np.zeros(len(columns)),
            np.full(len(columns), np.inf),
            sum(lengths),
            np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int32),
            np.fromiter((self._places[row] for row in chain.from_iterable(columns)), dtype=np.int32),
            np.fromiter(chain.from_iterable(each.values() for each in columns), dtype=np.float64),
        )

    def solve(self) -> tuple[float, Floats, Floats]:
        """What it comes to, each column's share, and what a unit more of each row would be worth."""
        self._solver.run()
        solution = self._solver.getSolution()
        duals = np.zeros(len(self._bounds))
        duals[list(self._places)] = np.maximum(0.0, -np.array(solution.row_dual))
        return -self._solver.getInfo().objective_function_value, np.array(solution.col_value), duals
