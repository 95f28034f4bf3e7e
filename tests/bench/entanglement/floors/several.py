"""Several requests at once (Li et al., IEEE Trans. Commun. 70, 6748 (2022), algorithm 3), from the paper.

Candidates of all requests, each searched for as if it were alone, are served in the order of their utility:
half the degree of the path's nodes (how many others may want to cross), half the pairs it takes. Where one
finds less than it counted on, its request is searched for anew on what is left.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

from keyweave.controller.routing.entanglement.slots import Edge
from tests.bench.entanglement.floors.candidates import Candidate, Found, expected, take, units
from tests.bench.entanglement.floors.model import FloorNetwork, Reckoning, Request, Route

Search = Callable[[FloorNetwork, Reckoning, dict[Edge, int], Request], Found]
# Searches in all: each ends with something served, or with nothing found.
_MOST_SEARCHES = 1000


def serve(
    network: FloorNetwork, reckoning: Reckoning, asked: Sequence[Request], search: Search
) -> list[Route]:
    """Routes for all requests."""
    left, numbers = dict(network.capacity), count()
    wanted = [float(one.pairs) for one in asked]
    queue: list[tuple[float, int, int, Candidate, int]] = []
    routes: list[Route] = []

    def look(request: int) -> None:
        rest = replace(asked[request], pairs=max(0, round(wanted[request] + 0.49)))
        for one, number in search(network, reckoning, left, rest) if rest.pairs else ():
            degrees = sum(len(network.neighbours[node]) for node in one.path)
            utility = 0.5 * degrees + 0.5 * one.cost
            heapq.heappush(queue, (utility, next(numbers), request, one, number))

    for request in range(len(asked)):
        look(request)
    searches = len(asked)
    while queue:
        _, _, request, one, number = heapq.heappop(queue)
        if wanted[request] <= 1e-9:
            continue
        if units(left, one) >= number:
            take(left, one, number)
            wanted[request] -= number * expected(network, reckoning, one)
            routes.append(Route(request, one.path, one.purifications, (number,) * len(one.purifications)))
        elif searches < _MOST_SEARCHES:
            # Its other candidates in the queue were found beside this one: all are searched for anew.
            queue = [each for each in queue if each[2] != request]
            heapq.heapify(queue)
            searches += 1
            look(request)
    return routes
