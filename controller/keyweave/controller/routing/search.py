"""Single routes: the cheapest and the widest, exact under a hop limit.

Both are label-setting searches (Dijkstra's algorithm) in which a node keeps more than one label where a
dearer route has fewer hops. They run on plain adjacency, since they are the planner's hottest loop; whoever
replaces them by a compiled library replaces this file only.
"""

from collections.abc import Callable, Iterator, Mapping
from heapq import heappop, heappush
from math import inf

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.network import Route, Scope, Terrain
from keyweave.controller.topology import Hop

# A route under construction, last hop first.
_Trail = tuple["_Trail", Hop] | None


def cheapest_route(
    terrain: Terrain,
    scope: Scope,
    weight: Mapping[LinkName, float],
    least_left: Mapping[NodeName, float] | None = None,
) -> Route | None:
    """The route of least total weight; links without a weight are not used. Weights are positive.

    `least_left` is what the way from a node to the target costs at least: 0 where nothing is said.
    """

    def extend(cost: float, hop: Hop) -> float:
        return cost + weight.get(hop.link, inf)

    return _search(terrain, scope, extend, 0.0, least_left or {})


def widest_route(terrain: Terrain, scope: Scope, residual: Mapping[LinkName, float]) -> Route | None:
    """The route whose narrowest link has the most left, and of those one with the fewest hops."""

    def extend(cost: float, hop: Hop) -> float:
        left = residual.get(hop.link, 0.0)
        return max(cost, -left) if left > 0 else inf

    return _search(terrain, scope, extend, -inf, {})


def _search(
    terrain: Terrain,
    scope: Scope,
    extend: Callable[[float, Hop], float],
    start: float,
    least_left: Mapping[NodeName, float],
) -> Route | None:
    heap: list[tuple[float, int, int, float, NodeName, _Trail]] = [(start, 0, 0, start, scope.source, None)]
    # Labels leave the heap cheapest first, so a later one at the same node is of use only with fewer hops.
    fewest: dict[NodeName, float] = {}
    serial = 0
    while heap:
        _, hops, _, cost, node, trail = heappop(heap)
        if node == scope.target:
            return _unwind(trail)
        if hops >= fewest.get(node, inf):
            continue
        fewest[node] = hops if scope.limited else -1
        if hops == scope.max_hops:
            continue
        for hop in terrain.hops.get(node, ()):
            onward = hop.to_node
            if onward in scope.barred:
                continue
            if hops + 1 >= fewest.get(onward, inf):
                continue
            grown = extend(cost, hop)
            if grown < inf:
                serial += 1
                hope = grown + least_left.get(onward, 0.0)
                heappush(heap, (hope, hops + 1, serial, grown, onward, (trail, hop)))
    return None


def routes_by_hops(terrain: Terrain, scope: Scope, max_expansions: int) -> Iterator[Route]:
    """Simple routes, fewest hops first, until that many partial routes have been extended."""
    frontier: list[Route] = [()]
    expansions = 0
    for _ in range(scope.max_hops):
        grown: list[Route] = []
        for route in frontier:
            if expansions == max_expansions:
                return
            expansions += 1
            visited = {scope.source, *(hop.from_node for hop in route)}
            for hop in terrain.hops.get(route[-1].to_node if route else scope.source, ()):
                if hop.to_node == scope.target:
                    yield (*route, hop)
                elif hop.to_node not in scope.barred and hop.to_node not in visited:
                    grown.append((*route, hop))
        frontier = grown


def _unwind(trail: _Trail) -> Route:
    hops: list[Hop] = []
    while trail is not None:
        trail, hop = trail
        hops.append(hop)
    return tuple(reversed(hops))
