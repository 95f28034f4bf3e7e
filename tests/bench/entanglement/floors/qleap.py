"""Q-LEAP (Li et al., IEEE Trans. Commun. 70, 6748 (2022), algorithm 2), written from the paper.

It takes the path of the highest fidelity before purification (Dijkstra over what multiplies), and every hop
gets the same share of the floor: its h-th root on a path of h hops. Where a hop cannot reach that with the
pairs that its link has, the link is left out and the search goes on.
"""

import heapq
from math import inf

from keyweave.controller.routing.entanglement.mending import traced
from keyweave.controller.routing.entanglement.slots import Edge, Path, edge, edges_of
from tests.bench.entanglement.floors.candidates import Candidate, Found, enough, expected, take, units
from tests.bench.entanglement.floors.model import FloorNetwork, Reckoning, Request


def q_leap(network: FloorNetwork, reckoning: Reckoning, left: dict[Edge, int], asked: Request) -> Found:
    """Candidates for what is asked."""
    left, wanted, found = dict(left), float(asked.pairs), Found()
    while wanted > 1e-9:
        path = truest(network, reckoning, left, asked)
        if path is None:
            break
        share = reckoning.log_floor(asked.floor) / (len(path) - 1)
        times: list[int] = []
        for link in edges_of(path):
            table = reckoning.table(network.fidelity[link])
            least = next((n for n, one in enumerate(table) if one.log_factor >= share - 1e-12), None)
            if least is None or least + 1 > left[link]:
                left[link] = 0
                break
            times.append(least)
        if len(times) < len(path) - 1:
            continue
        one = Candidate(path, tuple(times))
        each = expected(network, reckoning, one)
        used = enough(each, units(left, one), wanted)
        take(left, one, used)
        wanted -= used * each
        found.append((one, used))
    return found


def truest(network: FloorNetwork, reckoning: Reckoning, left: dict[Edge, int], asked: Request) -> Path | None:
    """The path of the highest fidelity over links that have pairs."""
    best = {asked.source: 0.0}
    queue, before = [(0.0, asked.source, -1)], dict[int, int]()
    while queue:
        loss, node, previous = heapq.heappop(queue)
        if node in before:
            continue
        before[node] = previous
        if node == asked.target:
            return traced(before, node)
        for other in network.neighbours[node]:
            link = edge(node, other)
            if other in before or left[link] <= 0:
                continue
            beyond = loss - reckoning.table(network.fidelity[link])[0].log_factor
            if beyond < best.get(other, inf):
                best[other] = beyond
                heapq.heappush(queue, (beyond, other, node))
    return None
