"""Sets of k routes without a common link or trusted node, preferably without a common risk group.

k node-disjoint routes of least total weight are a minimum-cost flow of k units in the graph whose nodes are
split in two (Suurballe 1974; Bhandari 1999), found by k augmentations. Disjointness of risk groups, and hop
limits, make the question NP-hard (Hu 2003; Itai, Perl and Shiloach 1982), so there a bounded list of routes
is searched.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

import networkx as nx

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.cuts import Cuts
from keyweave.controller.routing.network import Route, Scope, Terrain, are_disjoint, shared_risk_groups
from keyweave.controller.routing.search import cheapest_route, routes_by_hops, widest_route
from keyweave.controller.topology import Hop

_MAX_EXPANSIONS = 3000
_MAX_ROUTES = 200
_MAX_COMBINATIONS = 5000

# A node of the split graph: where flow enters it (False) or leaves it (True).
_Side = tuple[NodeName, bool]
# How a side was reached: from where, over which hop, and whether with it (+1), against it (-1) or inside (0).
_Step = tuple[_Side, Hop | None, int]


@dataclass(slots=True)
class Finder:
    """Looks for path sets of one size for one stream."""

    terrain: Terrain
    scope: Scope
    k: int
    # Hops from each node to a target: a search under weights that follow hops looks at little else.
    hops_to: Callable[[NodeName], Mapping[NodeName, float]] | None = None
    _routes: tuple[Route, ...] | None = field(default=None)

    def cheapest(self, weight: Mapping[LinkName, float]) -> tuple[Route, ...] | None:
        """The set of least total weight; links without a weight are not used."""
        if self.k == 1:
            route = cheapest_route(self.terrain, self.scope, weight, self._least_left(weight))
            return None if route is None else (route,)
        routes = min_cost_disjoint(self.terrain, self.scope, self.k, weight, self._least_left(weight))
        if len(routes) < self.k:
            return None
        return routes if self.fits(routes) else self.instead_of(routes, weight)

    def fits(self, routes: tuple[Route, ...]) -> bool:
        """Whether the routes keep to the hop limit and share no risk group."""
        return max(map(len, routes)) <= self.scope.max_hops and not self.shares_risk(routes)

    def instead_of(
        self, routes: tuple[Route, ...], weight: Mapping[LinkName, float]
    ) -> tuple[Route, ...] | None:
        """The cheapest set where the cheapest disjoint routes do not fit."""
        if self.k == 1:
            return self.cheapest(weight)
        return self._combine(weight, risk_disjoint=True) or (
            routes
            if all(len(route) <= self.scope.max_hops for route in routes)
            else self._combine(weight, risk_disjoint=False)
        )

    def _least_left(self, weight: Mapping[LinkName, float]) -> Mapping[NodeName, float]:
        """What the way from each node to the target costs at least."""
        if self.hops_to is None or not weight or self.scope.target not in self.terrain.hops:
            return {}
        least = min(weight.values())
        return {node: hops * least for node, hops in self.hops_to(self.scope.target).items()}

    def widest(self, residual: Mapping[LinkName, float]) -> tuple[Route, ...] | None:
        """The set whose narrowest link has the most left; one without shared risk groups if there is any."""
        if self.k == 1:
            route = widest_route(self.terrain, self.scope, residual)
            return None if route is None else (route,)
        return self._widest(residual, risk_disjoint=True) or self._widest(residual, risk_disjoint=False)

    def shares_risk(self, routes: Iterable[Route]) -> bool:
        """Whether two of the routes have a risk group in common."""
        return self.k > 1 and bool(shared_risk_groups(routes, self.terrain.risk_groups))

    def _widest(self, residual: Mapping[LinkName, float], *, risk_disjoint: bool) -> tuple[Route, ...] | None:
        widths = sorted({left for left in residual.values() if left > 0})
        best: tuple[Route, ...] | None = None
        low, high = 0, len(widths)
        while low < high:
            middle = (low + high) // 2
            cost = self.terrain.length_cost
            found = self.cheapest({n: cost[n] for n, left in residual.items() if left >= widths[middle]})
            if found is None or (risk_disjoint and self.shares_risk(found)):
                high = middle
            else:
                best, low = found, middle + 1
        return best

    def _combine(self, weight: Mapping[LinkName, float], *, risk_disjoint: bool) -> tuple[Route, ...] | None:
        """The first disjoint combination of known routes, lightest first, by backtracking."""
        if self._routes is None:
            found = routes_by_hops(self.terrain, self.scope, _MAX_EXPANSIONS)
            self._routes = tuple(route for _, route in zip(range(_MAX_ROUTES), found, strict=False))
        usable = [route for route in self._routes if all(hop.link in weight for hop in route)]
        usable.sort(key=lambda route: sum(weight[hop.link] for hop in route))
        tried = 0

        def extend(chosen: tuple[Route, ...], start: int) -> tuple[Route, ...] | None:
            nonlocal tried
            if len(chosen) == self.k:
                return chosen
            for index in range(start, len(usable)):
                tried += 1
                if tried > _MAX_COMBINATIONS:
                    return None
                grown = (*chosen, usable[index])
                if not are_disjoint(grown):
                    continue
                if risk_disjoint and self.shares_risk(grown):
                    continue
                if (found := extend(grown, index + 1)) is not None:
                    return found
            return None

        return extend((), 0)


def min_cost_disjoint(
    terrain: Terrain,
    scope: Scope,
    k: int,
    weight: Mapping[LinkName, float],
    least_left: Mapping[NodeName, float] | None = None,
) -> tuple[Route, ...]:
    """Up to k node-disjoint routes of least total weight, without regard to hop limits.

    `least_left` is what the way from a node to the target costs at least: 0 where nothing is said.
    """
    flow: dict[LinkName, Hop] = {}
    potentials = _Potentials(least_left or {})
    for _ in range(k):
        steps = _augmenting_path(terrain, scope, weight, flow, potentials)
        if steps is None:
            break
        for _, hop, sign in steps:
            if hop is not None and sign > 0:
                flow[hop.link] = hop
            elif hop is not None:
                del flow[hop.link]
    return _decompose(scope, flow)


@dataclass(slots=True)
class _Potentials:
    """What makes every move cost 0 or more, though undoing flow costs less than 0 (Johnson 1977).

    They are the distances of earlier searches, cut off at the target's: what lies beyond was never reached.
    To begin with, they lead towards the target (Hart, Nilsson and Raphael 1968).
    """

    least_left: Mapping[NodeName, float]
    near: dict[_Side, float] = field(default_factory=dict)
    beyond: float = 0.0

    def of(self, side: _Side) -> float:
        """The potential of a side."""
        return self.near.get(side, self.beyond) - self.least_left.get(side[0], 0.0)

    def learn(self, settled: Mapping[_Side, float], to_target: float) -> None:
        """Add the distances of a search that ended at the target."""
        for side in self.near.keys() | settled.keys():
            known = self.near.get(side, self.beyond)
            self.near[side] = known + min(settled.get(side, to_target), to_target)
        self.beyond += to_target


def _augmenting_path(
    terrain: Terrain,
    scope: Scope,
    weight: Mapping[LinkName, float],
    flow: Mapping[LinkName, Hop],
    potentials: _Potentials,
) -> Sequence[_Step] | None:
    """The cheapest way to send one unit more, by Dijkstra's algorithm on reduced costs."""
    entering = {hop.to_node: hop for hop in flow.values()}
    source: _Side = (scope.source, True)
    target: _Side = (scope.target, False)
    distance: dict[_Side, float] = {source: 0.0}
    settled: dict[_Side, float] = {}
    reached: dict[_Side, _Step] = {}
    heap: list[tuple[float, int, _Side]] = [(0.0, 0, source)]
    while heap and target not in settled:
        length, _, side = heappop(heap)
        if side in settled:
            continue
        settled[side] = length
        here = potentials.of(side)
        for onward, cost, hop, sign in _moves(terrain, scope, weight, flow, entering, side):
            grown = length + max(0.0, cost + here - potentials.of(onward))
            if onward not in settled and grown < distance.get(onward, inf):
                distance[onward] = grown
                reached[onward] = (side, hop, sign)
                heappush(heap, (grown, len(reached), onward))
    if target not in settled:
        return None
    potentials.learn(settled, settled[target])
    steps: list[_Step] = []
    side = target
    while side != source:
        steps.append(reached[side])
        side = reached[side][0]
    # Flow is taken off before it is put on: a path may undo a hop and use its link the other way.
    return sorted(steps, key=lambda step: step[2])


def _moves(
    terrain: Terrain,
    scope: Scope,
    weight: Mapping[LinkName, float],
    flow: Mapping[LinkName, Hop],
    entering: Mapping[NodeName, Hop],
    side: _Side,
) -> list[tuple[_Side, float, Hop | None, int]]:
    node, leaving = side
    if not leaving:
        if node not in entering:
            return [((node, True), 0.0, None, 0)]
        undone = entering[node]
        if undone.from_node == scope.source:
            # Back at the source is where the search began.
            return []
        return [((undone.from_node, True), -weight[undone.link], undone, -1)]
    moves: list[tuple[_Side, float, Hop | None, int]] = [
        ((hop.to_node, False), weight[hop.link], hop, 1)
        for hop in terrain.hops.get(node, ())
        if hop.link in weight
        and hop.link not in flow
        and hop.to_node not in scope.barred
        and hop.to_node != scope.source
    ]
    if node != scope.source and node in entering:
        moves.append(((node, False), 0.0, None, 0))
    return moves


def _decompose(scope: Scope, flow: Mapping[LinkName, Hop]) -> tuple[Route, ...]:
    onward = {hop.from_node: hop for hop in flow.values() if hop.from_node != scope.source}
    routes: list[Route] = []
    for first in sorted((h for h in flow.values() if h.from_node == scope.source), key=lambda h: h.link):
        route = [first]
        while route[-1].to_node != scope.target:
            route.append(onward[route[-1].to_node])
        routes.append(tuple(route))
    return tuple(routes)


def bottleneck_of_disjointness(terrain: Terrain, scope: Scope) -> tuple[int, tuple[str, ...]]:
    """How many node-disjoint routes exist (without hop limits), and the least cut that allows no more.

    By max-flow min-cut on the split graph (Menger 1927). The cut is named as "node ..." and "link ...". If
    one element suffices, all that would do are named, in order from the source: each of them has to be
    doubled before there are two.
    """
    exists, cut = Cuts(terrain).between(scope)
    if exists < 2:
        return exists, cut
    network: nx.DiGraph[str] = nx.DiGraph()
    ends = (scope.source, scope.target)
    open_nodes = [node for node in terrain.hops if node not in scope.barred]
    for node in open_nodes:
        capacity = 1 if node not in ends else len(terrain.capacity) + 1
        network.add_edge(f"in {node}", f"out {node}", capacity=capacity, element=f"node {node}")
    for node in (node for node in open_nodes if node != scope.target):
        for hop in terrain.hops[node]:
            if hop.to_node not in scope.barred and hop.to_node != scope.source:
                middle = f"hop {hop.link} {hop.from_node}"
                network.add_edge(f"out {node}", middle, capacity=1, element=f"link {hop.link}")
                network.add_edge(middle, f"in {hop.to_node}", capacity=1)
    value, (near, _) = nx.minimum_cut(network, f"out {scope.source}", f"in {scope.target}")
    narrow = {
        data.get("element") or network.edges[next(network.predecessors(one)), one]["element"]
        for one, other, data in network.edges(data=True)
        if one in near and other not in near
    }
    return int(value), tuple(sorted(narrow))
