"""The linear program behind allocation: rates of path sets under link capacities (solved by HiGHS).

Every row and column is scaled by its own link, path set or stream, so that the solver's absolute tolerance
is a relative one for a 1 bit/s link and a 1 Mbit/s link alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

from scipy.optimize import linprog
from scipy.sparse import csr_matrix

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.network import Candidate

# A set that is to be used at all carries at least this share of its stream's rate: twice the least share
# that a plan may hold, so that filling up another set cannot push it below.
SPLIT_SHARE = 0.02
# Moving a bit/s from one set in use to another costs as much as this many hops: more than moving can save.
_MOVE_HOPS = 100.0
# Rates found by one program are asked of the next with this much slack, for the solver's tolerance.
_SLACK = 1e-6


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
    rates: Mapping[StreamName, tuple[float, ...]]
    # Dual values: how much the level would rise per bit/s more of a link ...
    link_prices: Mapping[LinkName, float]
    # ... and fall per bit/s more that a stream is given.
    stream_prices: Mapping[StreamName, float]


def width(one: Candidate, residual: Mapping[LinkName, float]) -> float:
    """What a path set could carry alone. A link that takes nothing new is not in `residual`."""
    return min([residual[link] for link in one.links if link in residual] + [one.bound_bps])


class Program:
    """Rates of all candidates of some streams over what is left of the links."""

    def __init__(self, demands: Sequence[Demand], residual: Mapping[LinkName, float]) -> None:
        self._residual = residual
        self._demands = [demand for demand in demands if demand.candidates]
        self._columns: list[tuple[int, Candidate, float]] = []
        self._first: list[int] = []
        for index, demand in enumerate(self._demands):
            self._first.append(len(self._columns))
            for one in demand.candidates:
                self._columns.append((index, one, width(one, residual)))
        self._scale = [max(self._widths(index)) for index in range(len(self._demands))]
        self._build_fixed_rows()

    def _settled_columns(self) -> list[int]:
        return [
            column
            for column, (index, one, _) in enumerate(self._columns)
            if self._demands[index].use_all
            and len(self._demands[index].candidates) > 1
            and one.present_bps > 0
        ]

    def _widths(self, index: int) -> list[float]:
        first = self._first[index]
        return [wide for _, _, wide in self._columns[first : first + len(self._demands[index].candidates)]]

    def _build_fixed_rows(self) -> None:
        rows: list[int] = []
        columns: list[int] = []
        values: list[float] = []
        limits: list[float] = []
        link_rows: dict[LinkName, int] = {}
        for column, (_, one, wide) in enumerate(self._columns):
            for link in one.links:
                if link not in self._residual:
                    continue
                if link not in link_rows:
                    link_rows[link] = len(limits)
                    limits.append(1.0)
                rows.append(link_rows[link])
                columns.append(column)
                values.append(wide / self._residual[link])
        for index, demand in enumerate(self._demands):
            members = [(self._first[index] + i, wide) for i, wide in enumerate(self._widths(index))]
            scale = self._scale[index]
            if isfinite(demand.max_rate_bps):
                rows += [len(limits)] * len(members)
                columns += [column for column, _ in members]
                values += [wide / scale for _, wide in members]
                limits.append(demand.max_rate_bps / scale)
            if demand.use_all and len(members) > 1:
                for own, _ in members:
                    rows += [len(limits)] * len(members)
                    columns += [column for column, _ in members]
                    values += [(SPLIT_SHARE - (column == own)) * wide / scale for column, wide in members]
                    limits.append(0.0)
        self._link_rows = link_rows
        self._fixed = (rows, columns, values, limits)

    def raise_level(
        self, goals: Mapping[StreamName, float], held: Mapping[StreamName, float], ceiling: float = inf
    ) -> Solution | None:
        """The greatest level at which every stream of `goals` gets level times its goal.

        Streams in `held` get at least that rate whatever else. None if even that cannot be.
        """
        # The level's own scale: the least that any one candidate set could give per unit of goal.
        unit = min(self._scale[i] / goals[d.stream] for i, d in enumerate(self._demands) if d.stream in goals)
        return self._solve(goals, held, unit, ceiling)

    def economise(self, held: Mapping[StreamName, float]) -> Solution | None:
        """The rates that give every stream its held rate and spend least link key (fewest hops).

        Streams that keep all their sets keep the split between them too, as far as it can be kept: many
        splits give the same rates, and a shift within one class would change what the next has left.
        """
        return self._solve({}, held, 1.0, inf)

    def _solve(
        self, goals: Mapping[StreamName, float], held: Mapping[StreamName, float], unit: float, ceiling: float
    ) -> Solution | None:
        rows, columns, values, limits = (list(part) for part in self._fixed)
        level_column = len(self._columns)
        rate_rows: list[tuple[StreamName, int, float]] = []
        for index, demand in enumerate(self._demands):
            scale = self._scale[index]
            members = [(self._first[index] + i, wide) for i, wide in enumerate(self._widths(index))]
            for goal, floor in ((goals.get(demand.stream), 0.0), (None, held.get(demand.stream))):
                if goal is None and floor is None:
                    continue
                row = len(limits)
                rows += [row] * len(members)
                columns += [column for column, _ in members]
                values += [-wide / scale for _, wide in members]
                if goal is not None:
                    rows.append(row)
                    columns.append(level_column)
                    values.append(goal * unit / scale)
                limits.append(-(floor or 0.0) * (1 - _SLACK) / scale)
                rate_rows.append((demand.stream, row, scale))
        bounds = [
            (0.0, one.bound_bps / wide if isfinite(one.bound_bps) else None) for _, one, wide in self._columns
        ]
        bounds.append((0.0, ceiling / unit if goals and isfinite(ceiling) else None if goals else 0.0))
        if goals:
            costs = [*([0.0] * level_column), -1.0]
        else:
            costs = [wide * len(one.links) / self._scale[index] for index, one, wide in self._columns]
            costs.append(0.0)
            for column in self._settled_columns():
                index, one, wide = self._columns[column]
                # A column of its own for the distance, up or down, from the present rate.
                distance = len(costs)
                costs.append(_MOVE_HOPS * wide / self._scale[index])
                bounds.append((0.0, None))
                for sign in (1.0, -1.0):
                    rows += [len(limits)] * 2
                    columns += [column, distance]
                    values += [sign, -1.0]
                    limits.append(sign * one.present_bps / wide)
        matrix = csr_matrix((values, (rows, columns)), shape=(len(limits), len(costs)))
        result = linprog(costs, A_ub=matrix, b_ub=limits, bounds=bounds, method="highs-ds")
        if result.status != 0:
            return None
        duals = -result.ineqlin.marginals
        stream_prices: dict[StreamName, float] = {}
        for stream, row, scale in rate_rows:
            stream_prices[stream] = stream_prices.get(stream, 0.0) + max(0.0, float(duals[row])) / scale
        return Solution(
            level=float(result.x[level_column]) * unit,
            rates={
                demand.stream: tuple(
                    max(0.0, float(result.x[self._first[index] + i])) * wide
                    for i, wide in enumerate(self._widths(index))
                )
                for index, demand in enumerate(self._demands)
            },
            link_prices={
                link: max(0.0, float(duals[row])) / self._residual[link]
                for link, row in self._link_rows.items()
            },
            stream_prices=stream_prices,
        )
