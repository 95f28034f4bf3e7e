"""Ours: all requests in one linear program, with paths and purifications priced by what everybody needs.

What a hop costs for one good pair counts its failures: (n + 1) / p pairs of the link. The program
(`packing.py`) is given new paths as long as some are worth more than they take; a path and its purifications
are found by trading price against fidelity (Lagrangian relaxation, Dijkstra for each rate of exchange), and
what is more than the floor needs is given back hop by hop. Every hop is then given groups for its own rate of
success, where Q-PATH and Q-LEAP give every hop of a path the same number.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, inf

from keyweave.controller.routing.entanglement.mending import traced
from keyweave.controller.routing.entanglement.slots import Edge, Path, edge, edges_of
from tests.bench.entanglement.floors.candidates import Candidate
from tests.bench.entanglement.floors.model import FloorNetwork, Reckoning, Request, Route, success
from tests.bench.entanglement.floors.packing import Packing

_MOST_ROUNDS = 8
# Rates at which price is traded against the logarithm of fidelity.
_EXCHANGES = (0.0, *(1e-3 * 1.7**n for n in range(30)))
_LEAST_GAIN = 1e-3


@dataclass(frozen=True, slots=True)
class _Way:
    request: int
    one: Candidate
    # Pairs of each link for one from end to end.
    takes: Mapping[Edge, float]


def ours(network: FloorNetwork, reckoning: Reckoning, asked: Sequence[Request]) -> list[Route]:
    """Routes for all requests."""
    room = {link: float(count) for link, count in network.capacity.items()}
    packing = Packing[Edge, int](room, {i: float(one.pairs) for i, one in enumerate(asked)})
    ways: list[_Way] = []
    known: set[tuple[int, Candidate]] = set()
    prices: Mapping[Edge, float] = {link: 1.0 / count for link, count in room.items()}
    owner_prices: Mapping[int, float] = dict.fromkeys(range(len(asked)), 0.0)
    amounts: tuple[float, ...] = ()
    for number in range(_MOST_ROUNDS):
        fresh = []
        market = _Market(network, reckoning, prices)
        for i, request in enumerate(asked):
            for one in market.found(request):
                way = _Way(i, one, _takes(network, reckoning, one))
                cost = sum(prices[link] * count for link, count in way.takes.items())
                if (i, one) not in known and (number == 0 or cost + owner_prices[i] < 1.0 - _LEAST_GAIN):
                    known.add((i, one))
                    fresh.append(way)
        if not fresh:
            break
        ways += fresh
        packing.add([(way.request, way.takes, 1.0) for way in fresh])
        packed = packing.solve()
        amounts, prices, owner_prices = packed.amounts, packed.prices, packed.owner_prices
    chosen = [(way, amount) for way, amount in zip(ways, amounts, strict=True) if amount > 0.05]
    return _whole(network, reckoning, asked, chosen)


def _takes(network: FloorNetwork, reckoning: Reckoning, one: Candidate) -> dict[Edge, float]:
    ratios = success(network, reckoning, one.path, one.purifications)
    hops = zip(edges_of(one.path), one.purifications, ratios, strict=True)
    return {link: (times + 1) / ratio for link, times, ratio in hops}


class _Market:
    """What every purification of every link costs at present."""

    def __init__(self, network: FloorNetwork, reckoning: Reckoning, prices: Mapping[Edge, float]) -> None:
        self._network = network
        self._reckoning = reckoning
        # Price, loss of fidelity and purifications, one by one.
        self._options = {
            link: [
                # A little dearer than free, so that what is free is not wasted.
                ((prices[link] + 1e-6) * (times + 1) / one.success_ratio, -one.log_factor, times)
                for times, one in enumerate(reckoning.table(network.fidelity[link]))
                if times < count
            ]
            for link, count in network.capacity.items()
        }
        self._choices: dict[float, dict[Edge, tuple[float, int, float]]] = {}

    def found(self, request: Request) -> list[Candidate]:
        """The cheapest path that is good enough, and others met on the way there."""
        goal = -self._reckoning.log_floor(request.floor) + 1e-12
        low, high, found = 0, len(_EXCHANGES) - 1, list[Candidate]()
        while low <= high:
            middle = (low + high) // 2
            path = self._cheapest(request, _EXCHANGES[middle])
            if path is None:
                return []
            taken = [self._choice(_EXCHANGES[middle])[link] for link in edges_of(path)]
            if sum(one[2] for one in taken) <= goal:
                found.append(self._given_back(path, [one[1] for one in taken], goal))
                high = middle - 1
            else:
                low = middle + 1
        return list(dict.fromkeys(found))

    def _choice(self, exchange: float) -> dict[Edge, tuple[float, int, float]]:
        """By link what is best at a rate of exchange: its cost, purifications and loss."""
        if exchange not in self._choices:
            self._choices[exchange] = {
                link: min((price + exchange * loss, times, loss) for price, loss, times in options)
                for link, options in self._options.items()
            }
        return self._choices[exchange]

    def _cheapest(self, request: Request, exchange: float) -> Path | None:
        """The path with the least price plus loss of fidelity."""
        choice = self._choice(exchange)
        best, before = {request.source: 0.0}, dict[int, int]()
        queue = [(0.0, request.source, -1)]
        while queue:
            cost, node, previous = heapq.heappop(queue)
            if node in before:
                continue
            before[node] = previous
            if node == request.target:
                return traced(before, node)
            for other in self._network.neighbours[node]:
                if other in before:
                    continue
                beyond = cost + choice[edge(node, other)][0]
                if beyond < best.get(other, inf):
                    best[other] = beyond
                    heapq.heappush(queue, (beyond, other, node))
        return None

    def _given_back(self, path: Path, times: list[int], goal: float) -> Candidate:
        """Without the purifications that the floor does not need, the dearest first."""
        hops = [self._options[link] for link in edges_of(path)]
        slack = goal - sum(hop[n][1] for hop, n in zip(hops, times, strict=True))
        while True:
            savings = [
                (hop[n][0] - hop[n - 1][0], i)
                for i, (hop, n) in enumerate(zip(hops, times, strict=True))
                if n > 0 and hop[n - 1][1] - hop[n][1] <= slack
            ]
            if not savings or max(savings)[0] <= 0.0:
                return Candidate(path, tuple(times))
            i = max(savings)[1]
            slack -= hops[i][times[i] - 1][1] - hops[i][times[i]][1]
            times[i] -= 1


def _whole(
    network: FloorNetwork,
    reckoning: Reckoning,
    asked: Sequence[Request],
    chosen: Sequence[tuple[_Way, float]],
) -> list[Route]:
    """Whole groups: each hop what its share of the program affords, then one by one whoever lacks most."""
    ratios = [success(network, reckoning, way.one.path, way.one.purifications) for way, _ in chosen]
    left = dict(network.capacity)
    groups: list[list[int]] = []
    for (way, amount), each in zip(chosen, ratios, strict=True):
        groups.append([floor(amount / ratio + 1e-9) for ratio in each])
        for link, times, number in zip(
            edges_of(way.one.path), way.one.purifications, groups[-1], strict=True
        ):
            left[link] -= number * (times + 1)
    for link in network.capacity:
        users = [
            (w, hop)
            for w, (way, _) in enumerate(chosen)
            for hop, crossed in enumerate(edges_of(way.one.path))
            if crossed == link
        ]
        _spend(link, users, chosen, ratios, groups, left)
    return [
        Route(way.request, way.one.path, way.one.purifications, tuple(numbers))
        for (way, _), numbers in zip(chosen, groups, strict=True)
        if min(numbers) > 0
    ]


def _spend(
    link: Edge,
    users: Sequence[tuple[int, int]],
    chosen: Sequence[tuple[_Way, float]],
    ratios: Sequence[Sequence[float]],
    groups: Sequence[list[int]],
    left: dict[Edge, int],
) -> None:
    """What a link has left, to the hop whose pairs will most likely be too few for its amount."""
    while True:
        lacking = []
        for w, hop in users:
            way, amount = chosen[w]
            ratio, number = ratios[w][hop], groups[w][hop]
            if way.one.purifications[hop] + 1 > left[link]:
                continue
            # In units of the spread of the number of successes; where none can fail, whole pairs suffice.
            spread = max(0.5, (number * ratio * (1 - ratio)) ** 0.5)
            surplus = (number * ratio - amount) / spread
            if surplus < (3.0 if ratio < 1.0 else 1.0):
                lacking.append((surplus, w, hop))
        if not lacking:
            return
        _, w, hop = min(lacking)
        groups[w][hop] += 1
        left[link] -= chosen[w][0].one.purifications[hop] + 1
