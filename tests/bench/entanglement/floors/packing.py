"""How much of each way of serving somebody is used, as a linear program over what they share.

    maximise    sum over ways of gives(way) x amount(way)
    subject to  what every resource has, and what everybody asked for

Ways can be added as they are found: dual values say what a resource is worth to everybody together, and a way
that gives more than what it takes is worth is better than those that are known (column generation).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import highspy
import numpy as np

Resource = TypeVar("Resource")
Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class Packed(Generic[Resource, Owner]):
    """Amounts in the order of the ways, and what more of anything would be worth."""

    amounts: tuple[float, ...]
    prices: Mapping[Resource, float]
    # What it would be worth to let somebody have more than was asked.
    owner_prices: Mapping[Owner, float]


class Packing(Generic[Resource, Owner]):
    """The program, warm from one solution to the next."""

    def __init__(self, room: Mapping[Resource, float], asked: Mapping[Owner, float]) -> None:
        self._resources = {each: row for row, each in enumerate(room)}
        self._owners = {each: len(room) + row for row, each in enumerate(asked)}
        limits = np.array([*room.values(), *asked.values()], dtype=np.float64)
        self._solver = highspy.Highs()  # type: ignore[no-untyped-call]
        self._solver.setOptionValue("output_flag", False)
        self._solver.setOptionValue("threads", 1)
        none = np.zeros(0)
        starts = np.zeros(len(limits), dtype=np.int32)
        self._solver.addRows(
            len(limits), np.full(len(limits), -np.inf), limits, 0, starts, none.astype(np.int32), none
        )

    def add(self, ways: Sequence[tuple[Owner, Mapping[Resource, float], float]]) -> None:
        """Ways: whose, what one takes of each resource, and what it gives (counted as what was asked)."""
        rows = [[self._owners[owner], *(self._resources[each] for each in takes)] for owner, takes, _ in ways]
        values = [[gives, *takes.values()] for _, takes, gives in ways]
        lengths = [len(each) for each in rows]
        self._solver.addCols(
            len(ways),
            -np.array([gives for _, _, gives in ways]),
            np.zeros(len(ways)),
            np.full(len(ways), np.inf),
            sum(lengths),
            np.cumsum([0, *lengths[:-1]]).astype(np.int32),
            np.concatenate(rows).astype(np.int32),
            np.concatenate(values).astype(np.float64),
        )

    def solve(self) -> Packed[Resource, Owner]:
        """The best amounts of the ways added so far."""
        self._solver.run()
        solution = self._solver.getSolution()
        duals = [max(0.0, -float(dual)) for dual in solution.row_dual]
        return Packed(
            tuple(max(0.0, float(value)) for value in solution.col_value),
            {each: duals[row] for each, row in self._resources.items()},
            {each: duals[row] for each, row in self._owners.items()},
        )
