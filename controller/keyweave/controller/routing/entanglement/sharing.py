"""How many lanes each path gets, as a linear program that learns of paths as it needs them.

    maximise    sum over paths of value(path) x lanes(path)
    subject to  channels of each edge, memories of each node

`value` is what a lane gives on average among a few others. Dual values are what channels and memories are
worth to everybody together; a path that is worth more than what it takes is added, for some rounds (column
generation: Ford and Fulkerson 1958; Gilmore and Gomory 1961). A greedy choice knows no such prices: it takes
what is best for one and stands in the way of two.
"""

from collections.abc import Sequence
from itertools import chain

import highspy
import numpy as np

from keyweave.controller.routing.entanglement.search import Prices, best_path
from keyweave.controller.routing.entanglement.slots import (
    PairNetwork,
    Path,
    Spare,
    edges_of,
    expected_pairs,
)

# A lane is valued as one of so many on its path: alone it would give less, in a wide bundle more.
LANES_TOGETHER = 4
_MOST_ROUNDS = 5
# A path is new enough if it is worth this much more than it takes, in pairs a slot.
_LEAST_GAIN = 1e-3


class Sharing:
    """The program of one slot, warm from one round to the next."""

    def __init__(self, network: PairNetwork, pairs: Sequence[tuple[int, int]]) -> None:
        self._network = network
        self._pairs = list(dict.fromkeys(pairs))
        self._rows = {link: row for row, link in enumerate(network.channels)}
        self.paths: list[Path] = []
        self._known: set[Path] = set()
        self._solver = highspy.Highs()  # type: ignore[no-untyped-call]
        self._solver.setOptionValue("output_flag", False)
        self._solver.setOptionValue("threads", 1)
        limits = np.array([*network.channels.values(), *network.memories], dtype=np.float64)
        none = np.zeros(0)
        starts = np.zeros(len(limits), dtype=np.int32)
        self._solver.addRows(
            len(limits), np.full(len(limits), -np.inf), limits, 0, starts, none.astype(np.int32), none
        )

    def solve(self) -> list[float]:
        """Lanes of each of `paths`, as fractions."""
        everything = Spare(self._network)
        prices = Prices(dict.fromkeys(self._network.channels, 0.0), [0.0] * len(self._network.memories))
        lanes: list[float] = []
        for _ in range(_MOST_ROUNDS):
            found = [
                one
                for pair in self._pairs
                if (
                    one := best_path(
                        self._network, everything, pair, LANES_TOGETHER, prices, room=1, above=_LEAST_GAIN
                    )
                )
                is not None
            ]
            fresh = [path for path, _ in found if path not in self._known]
            if not fresh:
                break
            self._add(list(dict.fromkeys(fresh)))
            self._solver.run()
            solution = self._solver.getSolution()
            lanes = list(solution.col_value)
            duals = [max(0.0, -dual) for dual in solution.row_dual]
            split = len(self._rows)
            prices = Prices(dict(zip(self._rows, duals[:split], strict=True)), duals[split:])
        return lanes

    def _add(self, paths: Sequence[Path]) -> None:
        self.paths += paths
        self._known.update(paths)
        split = len(self._rows)
        rows = [
            [*(self._rows[link] for link in edges_of(path)), *(split + node for node in path)]
            for path in paths
        ]
        # Nodes on the way take two memories a lane.
        values = [[1.0] * (len(path) - 1) + [1.0] + [2.0] * (len(path) - 2) + [1.0] for path in paths]
        worth = [expected_pairs(self._network, path, LANES_TOGETHER) / LANES_TOGETHER for path in paths]
        lengths = [len(each) for each in rows]
        self._solver.addCols(
            len(paths),
            -np.array(worth),
            np.zeros(len(paths)),
            np.full(len(paths), np.inf),
            sum(lengths),
            np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int32),
            np.fromiter(chain.from_iterable(rows), dtype=np.int32),
            np.fromiter(chain.from_iterable(values), dtype=np.float64),
        )
