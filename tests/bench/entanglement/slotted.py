"""The slotted network of Q-CAST (Shi and Qian, SIGCOMM 2020), and what happens in it in one slot.

In each slot an algorithm says which channels of which edges are used, knowing who wants pairs but no outcome.
Every channel in use is tried once: it gives a pair with probability exp(-alpha L). Then, knowing which came
about, pairs are swapped; each swap succeeds with probability q. What is left between the two ends counts.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from keyweave.controller.routing.entanglement.slots import Edge, PairNetwork, edge

SIDE = 100.0
# The generator of the paper's authors: nodes keep a distance, edges favour short ones.
_CROWDING = 1.2
_REACH = 2.0
_DRAWS_PER_PAIR = 50


def generate(
    seed: int, nodes: int = 100, degree: float = 6.0, mean_success: float = 0.6, swap: float = 0.9
) -> PairNetwork:
    """A random network as the paper's evaluation has them (section 6; its authors' generator).

    10 to 14 qubits a node, 3 to 7 channels an edge; a node with few edges gets more to its nearest ones,
    and edges that are drawn twice have the channels of both.
    """
    random = np.random.default_rng(seed)
    apart = math.sqrt(SIDE * SIDE / nodes)
    places = _places(nodes, apart / _CROWDING, random)
    distance = {(a, b): math.dist(places[a], places[b]) for a, b in combinations(range(nodes), 2)}
    near = [pair for pair, length in distance.items() if length < _REACH * apart]
    draws = dict(zip(near, random.random((len(near), _DRAWS_PER_PAIR)).min(axis=1).tolist(), strict=True))

    def drawn(beta: float) -> list[Edge]:
        return [pair for pair in near if draws[pair] < math.exp(-beta * distance[pair])]

    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if 2 * len(drawn(middle)) / nodes > degree else (low, middle)
    links = drawn(low)
    links += _bridges(nodes, links, distance, random)
    counts = np.bincount(np.array(links).ravel(), minlength=nodes)
    for node in range(nodes):
        if counts[node] // 2 < 5:
            nearest = sorted((n for n in range(nodes) if n != node), key=lambda n: distance[edge(n, node)])
            links += [edge(node, other) for other in nearest[: 5 - int(counts[node]) // 2]]
    channels: dict[Edge, int] = {}
    for link in links:
        channels[link] = channels.get(link, 0) + int(random.integers(3, 8))
    alpha = _attenuation([distance[link] for link in links], mean_success)
    return PairNetwork(
        tuple(int(n) for n in random.integers(10, 15, nodes)),
        channels,
        {link: math.exp(-alpha * distance[link]) for link in channels},
        swap,
    )


def _places(nodes: int, distance: float, random: np.random.Generator) -> list[tuple[float, float]]:
    """So many places further than that from each other, drawn one after another."""
    places: list[tuple[float, float]] = []
    # Squares as wide as the distance: only the nearest nine have to be looked at.
    squares: dict[tuple[int, int], list[tuple[float, float]]] = {}
    while len(places) < nodes:
        x, y = random.uniform(0.0, SIDE, 2).tolist()
        column, row = int(x / distance), int(y / distance)
        around = [
            other
            for i in (column - 1, column, column + 1)
            for j in (row - 1, row, row + 1)
            for other in squares.get((i, j), ())
        ]
        if all(math.dist((x, y), other) > distance for other in around):
            places.append((x, y))
            squares.setdefault((column, row), []).append((x, y))
    return places


def _bridges(
    nodes: int, links: Sequence[Edge], distance: Mapping[Edge, float], random: np.random.Generator
) -> list[Edge]:
    """Edges from every smaller component to the largest: from three of its nodes to the nearest there."""
    parent = list(range(nodes))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for a, b in links:
        parent[root(a)] = root(b)
    parts: dict[int, list[int]] = {}
    for node in range(nodes):
        parts.setdefault(root(node), []).append(node)
    biggest, *others = sorted(parts.values(), key=len, reverse=True)
    added = []
    for part in others:
        for node in random.permutation(part)[:3].tolist():
            nearest = min(biggest, key=lambda n, node=node: distance[edge(n, node)])  # type: ignore[misc]
            added.append(edge(nearest, node))
    return added


def _attenuation(lengths: Sequence[float], mean_success: float) -> float:
    """The alpha at which channels succeed with this probability on average."""
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = sum(math.exp(-middle * length) for length in lengths) / len(lengths)
        low, high = (middle, high) if mean > mean_success else (low, middle)
    return (low + high) / 2


class Slot:
    """The draws of one slot: the same for every algorithm, however many channels it uses."""

    def __init__(self, network: PairNetwork, seed: Sequence[int], number: int = 0) -> None:
        random = np.random.default_rng(seed)
        # Where in a row of slots it is.
        self.number = number
        self._network = network
        self._channels = {
            each: random.random(count).tolist() for each, count in sorted(network.channels.items())
        }
        self._swaps = [random.random(count).tolist() for count in network.memories]

    def outcomes(self, assigned: Mapping[Edge, int]) -> dict[Edge, int]:
        """How many of the assigned channels of each edge have given a pair."""
        return {
            each: sum(draw < self._network.success_ratio[each] for draw in self._channels[each][:count])
            for each, count in assigned.items()
        }

    def swaps(self) -> "Swaps":
        """The swaps of one algorithm in this slot."""
        return Swaps(self._network.swap_ratio, [iter(draws) for draws in self._swaps])


class Swaps:
    """Outcomes of swaps, node by node in the order of asking."""

    def __init__(self, success: float, draws: Sequence[Iterator[float]]) -> None:
        self._success = success
        self._draws = draws

    def through(self, path: Iterable[int]) -> bool:
        """Whether swaps at all inner nodes of a path succeed; all of them are tried."""
        outcomes = [next(self._draws[node]) < self._success for node in tuple(path)[1:-1]]
        return all(outcomes)
