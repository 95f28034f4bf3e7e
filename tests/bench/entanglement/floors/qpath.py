"""Q-PATH (Li et al., IEEE Trans. Commun. 70, 6748 (2022), algorithm 1), written from the paper.

It looks for the least cost in pairs: for every cost in turn, paths with no more hops than that, each purified
where a round raises fidelity most until it is good enough; what costs no more than the present cost is used
for all the pairs it can give.
"""

import heapq
from collections.abc import Iterator
from itertools import count
from math import inf

from keyweave.controller.routing.entanglement.slots import Edge, Path, edge, edges_of
from tests.bench.entanglement.floors.candidates import Candidate, Found, enough, expected, take, units
from tests.bench.entanglement.floors.model import FloorNetwork, Reckoning, Request

# Paths that are looked at, and hops beyond the shortest: with every hop there are several times as many.
_MOST_PATHS = 100
_MORE_HOPS = 4


def q_path(network: FloorNetwork, reckoning: Reckoning, left: dict[Edge, int], asked: Request) -> Found:
    """Candidates for what is asked."""
    left, wanted = dict(left), float(asked.pairs)
    queue: list[tuple[int, int, Candidate]] = []
    numbers, found = count(), Found()
    paths = paths_by_hops(network, left, asked)
    upcoming = next(paths, None)
    while wanted > 1e-9 and (queue or upcoming is not None):
        hops = inf if upcoming is None else len(upcoming) - 1
        cost = min(queue[0][0], hops) if queue else hops
        while upcoming is not None and len(upcoming) - 1 <= cost:
            one = _purified(network, reckoning, left, upcoming, asked.floor)
            if one is not None:
                heapq.heappush(queue, (one.cost, next(numbers), one))
            upcoming = next(paths, None)
        while queue and queue[0][0] <= cost and wanted > 1e-9:
            one = heapq.heappop(queue)[2]
            each = expected(network, reckoning, one)
            if used := enough(each, units(left, one), wanted):
                take(left, one, used)
                wanted -= used * each
                found.append((one, used))
    return found


def paths_by_hops(network: FloorNetwork, left: dict[Edge, int], asked: Request) -> Iterator[Path]:
    """Simple paths over links that have pairs, the shortest first."""
    reach, layer = {asked.target: 0}, [asked.target]
    for node in layer:
        for other in network.neighbours[node]:
            if other not in reach and left[edge(node, other)] > 0:
                reach[other] = reach[node] + 1
                layer.append(other)
    given = 0
    shortest = reach.get(asked.source, network.nodes)
    for longest in range(shortest, min(shortest + _MORE_HOPS + 1, network.nodes)):
        stack: list[Path] = [(asked.source,)]
        while stack:
            path = stack.pop()
            if path[-1] == asked.target:
                if len(path) - 1 == longest:
                    yield path
                    given += 1
                    if given == _MOST_PATHS:
                        return
                continue
            stack.extend(
                (*path, node)
                for node in reversed(network.neighbours[path[-1]])
                if node not in path
                and left[edge(path[-1], node)] > 0
                and len(path) + reach.get(node, network.nodes) <= longest
            )


def _purified(
    network: FloorNetwork, reckoning: Reckoning, left: dict[Edge, int], path: Path, floor: float
) -> Candidate | None:
    """Round by round where it raises fidelity most; None where that does not suffice."""
    tables = [reckoning.table(network.fidelity[link]) for link in edges_of(path)]
    most = [min(len(table), left[link]) - 1 for table, link in zip(tables, edges_of(path), strict=True)]
    times = [0] * len(tables)

    def gain(hop: int) -> float:
        if times[hop] >= most[hop]:
            return 0.0
        return tables[hop][times[hop] + 1].log_factor - tables[hop][times[hop]].log_factor

    goal = reckoning.log_floor(floor) - 1e-12
    total = sum(table[0].log_factor for table in tables)
    while total < goal:
        hop = max(range(len(times)), key=gain)
        if gain(hop) <= 0.0:
            return None
        total += gain(hop)
        times[hop] += 1
    return Candidate(path, tuple(times))
