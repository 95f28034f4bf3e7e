"""The exact reference of allocation: max-min fair rates over every possible set of routes.

Arc flows instead of path sets, so that no set of routes can have been forgotten. Streams of single routes
share one commodity a source: flow that leaves a node for several targets can be taken apart into their
streams afterwards. A stream of k disjoint routes at rate r is a flow of k*r of its own that takes at most r
through any node between its ends and over any link: such flows are exactly the mixtures of k node-disjoint
routes (flow integrality on the split graph, Ford and Fulkerson 1962). Nothing here is shared with the
planner but the solver.
"""

from collections.abc import Mapping, Sequence

import highspy
import networkx as nx
import numpy as np

from keyweave.common.names import StreamName
from keyweave.controller.routing import OVERHEAD
from keyweave.controller.topology import Plan, Snapshot, Stream

# A stream whose dual value (of all streams': 1 in sum) is above this is held at the level by every optimum.
_HAS_PRICE = 1e-6
_SLACK = 1e-8


class ExactMaxMin:
    """Max-min fair rates of streams of one priority without limits but k."""

    def __init__(self, network: Snapshot) -> None:
        self.streams: Sequence[Stream] = tuple(network.streams.values())
        self._solver = highspy.Highs()  # type: ignore[no-untyped-call]
        self._solver.setOptionValue("output_flag", False)
        self._solver.setOptionValue("threads", 1)
        self._solver.setOptionValue("solver", "simplex")
        # Primal: the last level's optimum stays feasible for the next.
        self._solver.setOptionValue("simplex_strategy", 4)
        self._nodes = {name: i for i, name in enumerate(network.nodes)}
        views = tuple(network.links.values())
        # A unit that keeps the program's numbers near 1.
        self._unit = float(np.median([v.usable_rate_bps for v in views]) / len(self.streams) / OVERHEAD)
        limits = [v.usable_rate_bps / OVERHEAD / self._unit for v in views]
        ends = [(i, self._nodes[v.link.a], self._nodes[v.link.b]) for i, v in enumerate(views)]
        # Arc: its link, where it starts, where it ends.
        self._arcs = ends + [(i, b, a) for i, a, b in ends]
        # Columns: the level, then every stream's rate, then flows. Rows: links, then streams, then flows.
        self._entries: list[tuple[int, int, float]] = []
        self._lower: list[float] = [-highspy.kHighsInf] * len(limits) + [0.0] * len(self.streams)
        self._upper: list[float] = limits + [highspy.kHighsInf] * len(self.streams)
        self._columns = 1 + len(self.streams)
        for i in range(len(self.streams)):
            self._entries.append((len(limits) + i, 1 + i, 1.0))
        self._first_stream = len(limits)
        sizes = [self._size(network, one) for one in self.streams]
        single: dict[str, list[int]] = {}
        for i, (one, k) in enumerate(zip(self.streams, sizes, strict=True)):
            if k == 1:
                single.setdefault(one.source, []).append(i)
            else:
                self._disjoint(i, k)
        for members in single.values():
            self._commodity(members)
        self._load()

    @staticmethod
    def _size(network: Snapshot, one: Stream) -> int:
        """How many disjoint routes the stream gets: k, or as many as there are if min_k allows."""
        split: nx.DiGraph[str] = nx.DiGraph()
        for node in network.nodes:
            split.add_edge(f"in {node}", f"out {node}", capacity=1)
        for name, view in network.links.items():
            for a, b in ((view.link.a, view.link.b), (view.link.b, view.link.a)):
                split.add_edge(f"out {a}", f"{name} {a}", capacity=1)
                split.add_edge(f"{name} {a}", f"in {b}", capacity=1)
        there_are = nx.maximum_flow_value(split, f"out {one.source}", f"in {one.target}")
        assert there_are >= one.min_k
        return int(min(one.k, there_are)) if one.k > 1 else 1

    def _flows(self) -> list[int]:
        """A column an arc, each taking from its link."""
        columns = list(range(self._columns, self._columns + len(self._arcs)))
        self._columns += len(columns)
        self._entries += [(link, c, 1.0) for (link, *_), c in zip(self._arcs, columns, strict=True)]
        return columns

    def _row(self, entries: Sequence[tuple[int, float]], *, at_most: bool = False) -> None:
        self._entries += [(len(self._upper), column, value) for column, value in entries]
        self._upper.append(0.0)
        self._lower.append(-highspy.kHighsInf if at_most else 0.0)

    def _conserve(self, columns: Sequence[int], demands: Mapping[int, Sequence[tuple[int, float]]]) -> None:
        """What flows out of a node less what flows in is what `demands` says."""
        balance: list[list[tuple[int, float]]] = [[] for _ in self._nodes]
        for (_, start, end), column in zip(self._arcs, columns, strict=True):
            balance[start].append((column, 1.0))
            balance[end].append((column, -1.0))
        for node, entries in enumerate(balance):
            self._row([*entries, *demands.get(node, ())])

    def _commodity(self, streams: Sequence[int]) -> None:
        demands: dict[int, list[tuple[int, float]]] = {}
        for i in streams:
            one = self.streams[i]
            demands.setdefault(self._nodes[one.source], []).append((1 + i, -1.0))
            demands.setdefault(self._nodes[one.target], []).append((1 + i, 1.0))
        self._conserve(self._flows(), demands)

    def _disjoint(self, i: int, k: int) -> None:
        one, columns = self.streams[i], self._flows()
        source, target = self._nodes[one.source], self._nodes[one.target]
        self._conserve(columns, {source: [(1 + i, -float(k))], target: [(1 + i, float(k))]})
        into: dict[int, list[tuple[int, float]]] = {}
        over: dict[int, list[tuple[int, float]]] = {}
        for (link, _, end), column in zip(self._arcs, columns, strict=True):
            over.setdefault(link, []).append((column, 1.0))
            if end not in (source, target):
                into.setdefault(end, []).append((column, 1.0))
        for entries in (*into.values(), *over.values()):
            self._row([*entries, (1 + i, -1.0)], at_most=True)

    def _load(self) -> None:
        lower, upper = np.array(self._lower), np.array(self._upper)
        none, nothing = np.zeros(0, dtype=np.int32), np.zeros(0)
        self._solver.addRows(len(upper), lower, upper, 0, np.zeros(len(upper), dtype=np.int32), none, nothing)
        by_column: list[list[tuple[int, float]]] = [[] for _ in range(self._columns)]
        for row, column, value in self._entries:
            by_column[column].append((row, value))
        starts = np.cumsum([0, *(len(entries) for entries in by_column[:-1])], dtype=np.int32)
        rows = np.array([row for entries in by_column for row, _ in entries], dtype=np.int32)
        values = np.array([value for entries in by_column for _, value in entries])
        zeros, most = np.zeros(self._columns), np.full(self._columns, highspy.kHighsInf)
        self._solver.addCols(self._columns, zeros, zeros, most, len(values), starts, rows, values)
        self._solver.changeColCost(0, -1.0)

    def rates(self) -> dict[StreamName, float]:
        """Every stream's rate, delivered bit/s, to the lexicographic end."""
        rates: dict[StreamName, float] = {}
        rising = set(range(len(self.streams)))
        for i in rising:
            self._solver.changeCoeff(self._first_stream + i, 0, -1.0)
        while rising:
            self._solver.run()
            assert self._solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
            found = self._solver.getSolution()
            level = float(found.col_value[0])
            held = {i for i in rising if found.row_dual[self._first_stream + i] > _HAS_PRICE}
            assert held, "the prices of rising streams add up to 1"
            for i in held:
                rates[self.streams[i].name] = level * self._unit
                row = self._first_stream + i
                self._solver.changeCoeff(row, 0, 0.0)
                self._solver.changeRowBounds(row, level * (1 - _SLACK), highspy.kHighsInf)
            rising -= held
        return rates


def scores(network: Snapshot, plan: Plan) -> dict[StreamName, float]:
    """Each stream's rate in `plan` over its exact max-min rate."""
    exact = ExactMaxMin(network).rates()
    return {name: plan.streams[name].rate_bps / rate for name, rate in exact.items()}
