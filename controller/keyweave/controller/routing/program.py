"""The linear program behind allocation: rates of path sets under link capacities, solved by HiGHS.

One model lives through all levels of max-min: a level or a path set more changes a few rows and columns, and
the primal simplex method goes on from the last optimum, which stays feasible. Every row and column is scaled
by its own link, path set or stream, so that the solver's absolute tolerance is a relative one for a 1 bit/s
link and a 1 Mbit/s link alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import highspy
import numpy as np
from numpy.typing import NDArray

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.network import Candidate

# A set that is to be used at all carries at least this share of its stream's rate: twice the least share
# that a plan may hold, so that filling up another set cannot push it below.
SPLIT_SHARE = 0.02
# Moving a bit/s from one set in use to another costs as much as this many hops: more than moving can save.
_MOVE_HOPS = 100.0
# What a set as wide as its stream's widest costs on top of its hops; a narrower one costs more.
_WIDTH_HOPS = 1e-3
# Rates found by one program are asked of the next with this much slack, for the solver's tolerance.
_SLACK = 1e-6
# The level's unit follows the goals once they are so many times apart.
_UNIT_RATIO = 1e3
_OPTIONS: dict[str, bool | int | str] = {
    "output_flag": False,
    "threads": 1,
    "solver": "simplex",
    "simplex_strategy": int(highspy.simplex_constants.SimplexStrategy.kSimplexStrategyPrimal),
    "presolve": "off",
}


@dataclass(slots=True)
class Demand:
    """What one stream asks, and the path sets it may get it over (rates in delivered bit/s)."""

    stream: StreamName
    min_rate_bps: float
    max_rate_bps: float
    candidates: list[Candidate]
    # Every candidate is to be used, for at least SPLIT_SHARE of the stream's rate.
    use_all: bool = False


@dataclass(frozen=True, slots=True)
class Solution:
    """An optimum, and what it says about where more would come from."""

    # The common factor reached over all goals.
    level: float
    # Dual values: how much the level would rise per bit/s more of a link ...
    link_prices: Mapping[LinkName, float]
    # ... and fall per bit/s more that a stream is given ...
    stream_prices: Mapping[StreamName, float]
    # ... and what a bit/s over one path set more is worth to it: 0 where it has all it may have.
    worth: Mapping[StreamName, float]


def width(one: Candidate, residual: Mapping[LinkName, float]) -> float:
    """What a path set could carry alone. A link that takes nothing new is not in `residual`."""
    return min([residual[link] for link in one.links if link in residual] + [one.bound_bps])


class Program:
    """Rates of all candidates of some streams over what is left of the links.

    Rows: links, streams (what each is to get at least), limits, floors, then fixed ones. Columns: the level,
    then candidates in the order in which they came.
    """

    def __init__(self, demands: Sequence[Demand], residual: Mapping[LinkName, float]) -> None:
        self._demands = demands
        self._residual = residual
        self._links = {link: row for row, link in enumerate(residual)}
        self._streams = {demand.stream: i for i, demand in enumerate(demands)}
        self._scale = [max(width(one, residual) for one in demand.candidates) for demand in demands]
        self._unit = 0.0
        self._goals = np.zeros(len(demands))
        self._floors = np.zeros(len(demands))
        # Of each candidate's column: whose it is, its width, its place among its demand's candidates.
        self._owner: list[int] = []
        self._width: list[float] = []
        self._columns: list[list[int]] = [[] for _ in demands]
        self._solver = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in _OPTIONS.items():
            self._solver.setOptionValue(name, value)
        links, streams = len(residual), len(demands)
        self._add_rows(np.full(links, -inf), np.ones(links))
        self._add_rows(np.zeros(streams), np.full(streams, inf))
        limited = [i for i, demand in enumerate(demands) if isfinite(demand.max_rate_bps)]
        self._limit_row = {i: links + streams + n for n, i in enumerate(limited)}
        limits = np.array([demands[i].max_rate_bps / self._scale[i] for i in limited])
        self._add_rows(np.full(len(limits), -inf), limits)
        # A floor of its own for a stream that has to have its minimum rate while its level rises.
        floored = [i for i, demand in enumerate(demands) if demand.min_rate_bps > 0]
        self._floor_row = {i: links + streams + len(limited) + n for n, i in enumerate(floored)}
        self._add_rows(np.zeros(len(floored)), np.full(len(floored), inf))
        self._add_columns([0.0], [0.0], [inf], [[]])
        for index, demand in enumerate(demands):
            self.add(index, demand.candidates)
        for index, demand in enumerate(demands):
            if demand.use_all and len(demand.candidates) > 1:
                self._use_all(index)

    def add(self, index: int, candidates: Iterable[Candidate]) -> None:
        """Columns for more candidates of a demand."""
        entries: list[list[tuple[int, float]]] = []
        bounds: list[float] = []
        for one in candidates:
            wide = width(one, self._residual)
            column = [
                (self._links[link], wide / self._residual[link]) for link in one.links if link in self._links
            ]
            column.append((len(self._links) + index, wide / self._scale[index]))
            column += [
                (rows[index], wide / self._scale[index])
                for rows in (self._limit_row, self._floor_row)
                if index in rows
            ]
            entries.append(column)
            bounds.append(one.bound_bps / wide)
            self._columns[index].append(1 + len(self._owner))
            self._owner.append(index)
            self._width.append(wide)
        zeros = [0.0] * len(entries)
        self._add_columns(zeros, zeros, bounds, entries)

    def _use_all(self, index: int) -> None:
        scale = self._scale[index]
        members = np.array(self._columns[index], dtype=np.int32)
        widths = np.array([self._width[column - 1] for column in members]) / scale
        for own in range(len(members)):
            values = widths * SPLIT_SHARE
            values[own] -= widths[own]
            self._solver.addRow(-inf, 0.0, len(members), members, values)

    def _add_rows(self, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
        none = np.zeros(0)
        starts = np.zeros(len(lower), dtype=np.int32)
        if len(lower):
            self._solver.addRows(len(lower), lower, upper, 0, starts, none.astype(np.int32), none)

    def _add_columns(
        self,
        costs: Sequence[float],
        lower: Sequence[float],
        upper: Sequence[float],
        entries: Sequence[Sequence[tuple[int, float]]],
    ) -> None:
        if not entries:
            return
        lengths = [len(column) for column in entries]
        starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int32)
        rows = np.array([row for column in entries for row, _ in column], dtype=np.int32)
        values = np.array([value for column in entries for _, value in column], dtype=np.float64)
        self._solver.addCols(
            len(entries),
            np.array(costs, dtype=np.float64),
            np.array(lower, dtype=np.float64),
            np.array(upper, dtype=np.float64),
            len(values),
            starts,
            rows,
            values,
        )

    def raise_level(
        self, goals: Mapping[StreamName, float], held: Mapping[StreamName, float], ceiling: float = inf
    ) -> Solution | None:
        """The greatest level at which every stream of `goals` gets level times its goal.

        Streams in `held` get at least that rate whatever else. None if even that cannot be.
        """
        # The level's own scale: the least that any one candidate set could give per unit of goal.
        unit = min(self._scale[self._streams[stream]] / goal for stream, goal in goals.items())
        if not self._unit / _UNIT_RATIO < unit < self._unit * _UNIT_RATIO:
            self._unit = unit
        self._ask(goals, held)
        self._solver.changeColCost(0, -1.0)
        self._solver.changeColBounds(0, 0.0, ceiling / self._unit)
        if not self._solve():
            return None
        found = self._solver.getSolution()
        duals = np.array(found.row_dual)
        links = len(self._links)
        # Limits from above have duals up to 0 and limits from below have them from 0 (minimising).
        prices = np.maximum(0.0, -duals[:links]) / np.array(list(self._residual.values()))
        held_at = np.maximum(0.0, duals[links : links + len(self._demands)])
        for index, row in self._floor_row.items():
            held_at[index] += max(0.0, duals[row])
        worth = held_at.copy()
        for index, row in self._limit_row.items():
            worth[index] -= max(0.0, -duals[row])
        scale = np.array(self._scale)
        return Solution(
            level=float(found.col_value[0]) * self._unit,
            link_prices=dict(zip(self._links, prices.tolist(), strict=True)),
            stream_prices=dict(zip(self._streams, (held_at / scale).tolist(), strict=True)),
            worth=dict(zip(self._streams, (worth / scale).tolist(), strict=True)),
        )

    def economise(self, held: Mapping[StreamName, float]) -> dict[StreamName, tuple[float, ...]] | None:
        """The rates that give every stream its held rate and spend least link key (fewest hops).

        Streams that keep all their sets keep the split between them too, as far as it can be kept: many
        splits give the same rates, and a shift within one class would change what the next has left.
        Nothing may be asked of the program afterwards.
        """
        self._ask({}, held)
        self._solver.changeColCost(0, 0.0)
        self._solver.changeColBounds(0, 0.0, 0.0)
        for index, demand in enumerate(self._demands):
            for column, one in zip(self._columns[index], demand.candidates, strict=True):
                per_bit = self._width[column - 1] / self._scale[index]
                # Of sets with as many hops the wider: a stream that one set can serve is not split.
                hops = len(one.links) + _WIDTH_HOPS * self._scale[index] / self._width[column - 1]
                self._solver.changeColCost(column, per_bit * hops)
                if demand.use_all and len(demand.candidates) > 1 and one.present_bps > 0:
                    self._price_of_moving(column, one.present_bps, _MOVE_HOPS * per_bit)
        if not self._solve():
            return None
        values = self._solver.getSolution().col_value
        return {
            demand.stream: tuple(max(0.0, values[c]) * self._width[c - 1] for c in self._columns[index])
            for index, demand in enumerate(self._demands)
        }

    def _price_of_moving(self, column: int, present_bps: float, cost: float) -> None:
        """A column of its own for the distance, up or down, from the present rate."""
        present = present_bps / self._width[column - 1]
        distance = self._solver.getNumCol()
        self._add_columns([cost], [0.0], [inf], [[]])
        where = np.array([column, distance], dtype=np.int32)
        self._solver.addRow(-inf, present, 2, where, np.array([1.0, -1.0]))
        self._solver.addRow(-inf, -present, 2, where, np.array([-1.0, -1.0]))

    def _ask(self, goals: Mapping[StreamName, float], held: Mapping[StreamName, float]) -> None:
        for stream, index in self._streams.items():
            scale = self._scale[index]
            goal = goals.get(stream, 0.0) * self._unit / scale
            floor = held.get(stream, 0.0) * (1 - _SLACK) / scale
            row = len(self._links) + index
            if goal != self._goals[index]:
                self._solver.changeCoeff(row, 0, -goal)
                self._goals[index] = goal
            if index in self._floor_row:
                row = self._floor_row[index]
            elif goal:
                floor = 0.0
            if floor != self._floors[index]:
                self._solver.changeRowBounds(row, floor, inf)
                self._floors[index] = floor

    def _solve(self) -> bool:
        self._solver.run()
        if self._solver.getModelStatus() == highspy.HighsModelStatus.kOptimal:
            return True
        # Once more from nothing, before it is believed.
        self._solver.clearSolver()
        self._solver.run()
        return bool(self._solver.getModelStatus() == highspy.HighsModelStatus.kOptimal)
