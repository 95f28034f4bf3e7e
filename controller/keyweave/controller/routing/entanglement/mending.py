"""Once it is known which channels gave pairs: lanes around those that did not.

A node learns within a slot what happened up to `LINK_STATE_HOPS` hops away (Shi and Qian, section 3), so a
detour leaves and joins its path no further apart than that, over no more than one hop more.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import chain, count

from keyweave.controller.routing.entanglement.slots import Edge, Lanes, PairNetwork, Path, edge, edges_of

LINK_STATE_HOPS = 3


def mended(network: PairNetwork, lanes: Collection[Lanes], made: Mapping[Edge, int]) -> Iterator[Path]:
    """The paths to swap along, for as long as there are pairs for them.

    First whatever lanes have all they need, then detours for the others, then lanes beyond their width for
    what chance has given more than was expected.

    Args:
        network: whose channels they are.
        lanes: in the order in which they are served.
        made: how many channels of each edge have given a pair.
    """
    left, lacking = dict(made), []
    for lane in lanes:
        whole = min(lane.width, *(left.get(link, 0) for link in edges_of(lane.path)))
        for link in edges_of(lane.path):
            left[link] = left.get(link, 0) - whole
        yield from [lane.path] * whole
        lacking.append((lane.path, lane.width - whole))
    for path, missing in chain(lacking, ((path, None) for path, _ in lacking)):
        for _ in count() if missing is None else range(missing):
            found = _around(network, path, left)
            if found is None:
                break
            for link in edges_of(found):
                left[link] -= 1
            yield found


def _around(network: PairNetwork, path: Path, left: Mapping[Edge, int]) -> Path | None:
    """The path with a detour in the place of each hop without a pair; None where there is none."""
    whole, at = [path[0]], 0
    while at < len(path) - 1:
        ahead = path[at + 1]
        if left.get(edge(path[at], ahead), 0) > 0 and ahead not in whole:
            whole.append(ahead)
            at += 1
            continue
        for start in range(at, max(-1, at - LINK_STATE_HOPS), -1):
            if path[start] not in whole:
                continue
            kept = whole[: whole.index(path[start])]
            joins = set(path[at + 1 : start + LINK_STATE_HOPS + 1]).difference(kept)
            detour = _nearest(network, path[start], joins, left, kept)
            if detour is not None:
                whole = [*kept, *detour]
                at = path.index(detour[-1])
                break
        else:
            return None
    return tuple(whole)


def _nearest(
    network: PairNetwork,
    start: int,
    joins: Collection[int],
    left: Mapping[Edge, int],
    shunned: Collection[int],
) -> Path | None:
    """The shortest way over pairs that were made to one of the nodes."""
    before, layer = {start: -1}, [start]
    for _ in range(LINK_STATE_HOPS + 1):
        following = []
        for node in layer:
            for other in network.neighbours[node]:
                if other in before or other in shunned or left.get(edge(node, other), 0) <= 0:
                    continue
                before[other] = node
                if other in joins:
                    return traced(before, other)
                following.append(other)
        layer = following
    return None


def traced(before: Mapping[int, int], target: int) -> Path:
    """The way to a node, from what came before each; -1 before the first."""
    path = [target]
    while before[path[-1]] >= 0:
        path.append(before[path[-1]])
    return tuple(reversed(path))
