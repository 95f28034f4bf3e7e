"""What single links and nodes keep two nodes together, of many pairs at once: the blocks of the network.

A block is a largest part that no single node takes apart (Hopcroft and Tarjan 1973). A route from one node to
another leaves one block for the next at the nodes without which the two are apart, and so does every other
route; a link that is a block by itself is a bridge.
"""

from collections import Counter, deque
from collections.abc import Mapping

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.network import Route, Scope, Terrain
from keyweave.controller.topology import Hop


class Cuts:
    """The cuts of one terrain. Streams that keep clear of the same nodes have the same blocks."""

    def __init__(self, terrain: Terrain) -> None:
        self._terrain = terrain
        self._blocks: dict[frozenset[NodeName], Mapping[LinkName, int]] = {}
        self._sizes: dict[frozenset[NodeName], Counter[int]] = {}

    def between(self, scope: Scope, known: Route = ()) -> tuple[int, tuple[str, ...]]:
        """How many node-disjoint routes there are (2: or more), and what keeps a second from being there.

        That is every link and node between the ends without which they are apart, in order from the source.
        `known` is a route of the scope, if there is one at hand.
        """
        if scope.barred not in self._blocks:
            self._blocks[scope.barred] = found = blocks(self._terrain, scope.barred)
            self._sizes[scope.barred] = Counter(found.values())
        block_of, sizes = self._blocks[scope.barred], self._sizes[scope.barred]
        if not known or any(hop.link not in block_of for hop in known):
            known = _route_of_fewest_hops(self._terrain, scope)
        cut: list[str] = []
        before: int | None = None
        for hop in known:
            block = block_of[hop.link]
            if before not in (None, block):
                cut.append(f"node {hop.from_node}")
            if sizes[block] == 1:
                cut.append(f"link {hop.link}")
            before = block
        return (0 if not known else 1 if cut else 2), tuple(cut)


def blocks(terrain: Terrain, barred: frozenset[NodeName]) -> dict[LinkName, int]:
    """The block of every link between nodes that are not barred."""
    found: dict[LinkName, int] = {}
    # When each node was come to, and the earliest of these that it or what came after it reaches.
    entered: dict[NodeName, int] = {}
    lowest: dict[NodeName, int] = {}
    number = 0
    for root in terrain.hops:
        if root in entered or root in barred:
            continue
        entered[root] = lowest[root] = len(entered)
        waiting: list[LinkName] = []
        trail = [(root, LinkName(""), 0, iter(terrain.hops[root]))]
        while trail:
            node, came_by, begun, onward = trail[-1]
            for hop in onward:
                there = hop.to_node
                if there in barred or hop.link == came_by:
                    continue
                if there not in entered:
                    entered[there] = lowest[there] = len(entered)
                    trail.append((there, hop.link, len(waiting), iter(terrain.hops[there])))
                    waiting.append(hop.link)
                    break
                if entered[there] < entered[node]:
                    waiting.append(hop.link)
                    lowest[node] = min(lowest[node], entered[there])
            else:
                trail.pop()
                if trail:
                    above = trail[-1][0]
                    lowest[above] = min(lowest[above], lowest[node])
                    if lowest[node] >= entered[above]:
                        # Nothing below reaches beyond the node above: what waits since then is a block.
                        found.update(dict.fromkeys(waiting[begun:], number))
                        del waiting[begun:]
                        number += 1
    return found


def _route_of_fewest_hops(terrain: Terrain, scope: Scope) -> Route:
    into: dict[NodeName, Hop | None] = {scope.source: None}
    frontier = deque([scope.source])
    while frontier and scope.target not in into:
        for hop in terrain.hops.get(frontier.popleft(), ()):
            if hop.to_node not in into and hop.to_node not in scope.barred:
                into[hop.to_node] = hop
                frontier.append(hop.to_node)
    route: list[Hop] = []
    last = into.get(scope.target)
    while last is not None:
        route.append(last)
        last = into[last.from_node]
    return tuple(reversed(route))
