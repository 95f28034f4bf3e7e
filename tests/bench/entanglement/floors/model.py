"""The network of Li et al. (IEEE Trans. Commun. 70, 6748 (2022)) and two ways of reckoning fidelity in it.

In a slot every link has some pairs of one fidelity. A pair of a hop is purified by further ones of the same
link, one after the other (pumping), each of which may fail; then hops are swapped. A plan says for every path
how many groups of pairs each hop purifies, and what counts is how many end-to-end pairs that gives.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np

from keyweave.common.entanglement.bell import werner
from keyweave.common.entanglement.purification import bbpssw
from keyweave.controller.routing.entanglement.slots import Edge, Path, edge, edges_of

# Pumping converges: further pairs add next to nothing.
MOST_PURIFICATIONS = 8


@dataclass(frozen=True, slots=True)
class Pumped:
    """A hop's pair after some purifications."""

    # What fidelity multiplies over the hops of a path: the logarithm of its factor.
    log_factor: float
    # That all of them succeed.
    success_ratio: float


class Reckoning(Protocol):
    """How fidelity is made of that of links."""

    name: str

    def table(self, fidelity: float) -> tuple[Pumped, ...]:
        """By number of purifications, for as long as they raise fidelity."""
        ...

    def log_floor(self, fidelity: float) -> float:
        """What the logarithms of a path's hops must add up to."""
        ...


class Product:
    """Theirs: fidelities multiply, and errors are of one kind, a bit flip.

    Purification of x by y: x y / (x y + (1 - x)(1 - y)), with that denominator as its success.
    """

    name = "product"

    @staticmethod
    @lru_cache(None)
    def table(fidelity: float) -> tuple[Pumped, ...]:
        """By number of purifications."""
        kept, success, found = fidelity, 1.0, [Pumped(math.log(fidelity), 1.0)]
        for _ in range(MOST_PURIFICATIONS):
            agree = kept * fidelity + (1 - kept) * (1 - fidelity)
            kept, success = kept * fidelity / agree, success * agree
            found.append(Pumped(math.log(kept), success))
        return tuple(found)

    @staticmethod
    def log_floor(fidelity: float) -> float:
        """Of the product."""
        return math.log(fidelity)


class Werner:
    """Werner states: (4 F - 1) / 3 multiplies, and purification is BBPSSW's."""

    name = "werner"

    @staticmethod
    @lru_cache(None)
    def table(fidelity: float) -> tuple[Pumped, ...]:
        """By number of purifications, until pumping raises fidelity no more."""
        raw = kept = werner(fidelity)
        success, found = 1.0, [Pumped(math.log((4 * fidelity - 1) / 3), 1.0)]
        for _ in range(MOST_PURIFICATIONS):
            made = bbpssw(kept, raw)
            if made.state.fidelity <= kept.fidelity + 1e-9:
                break
            kept, success = made.state, success * made.success_ratio
            found.append(Pumped(math.log((4 * kept.fidelity - 1) / 3), success))
        return tuple(found)

    @staticmethod
    def log_floor(fidelity: float) -> float:
        """Of the product of (4 F - 1) / 3."""
        return math.log((4 * fidelity - 1) / 3)


@dataclass(frozen=True)
class FloorNetwork:
    """Links with so many pairs a slot of such a fidelity."""

    nodes: int
    capacity: dict[Edge, int]
    fidelity: dict[Edge, float]
    neighbours: tuple[tuple[int, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Adjacency, in order."""
        found: list[list[int]] = [[] for _ in range(self.nodes)]
        for a, b in sorted(self.capacity):
            found[a].append(b)
            found[b].append(a)
        object.__setattr__(self, "neighbours", tuple(tuple(sorted(each)) for each in found))


@dataclass(frozen=True, slots=True)
class Request:
    """So many pairs a slot between two nodes, none below the floor."""

    source: int
    target: int
    floor: float
    pairs: int


@dataclass(frozen=True, slots=True)
class Route:
    """A path of one request, and on each hop how often a pair is purified and how many are to be had."""

    request: int
    path: Path
    purifications: tuple[int, ...]
    groups: tuple[int, ...]

    def pairs(self) -> dict[Edge, int]:
        """Pairs of links that it uses up."""
        return {
            link: groups * (times + 1)
            for link, groups, times in zip(edges_of(self.path), self.groups, self.purifications, strict=True)
        }


def log_fidelity(
    network: FloorNetwork, reckoning: Reckoning, path: Path, purifications: Sequence[int]
) -> float:
    """Of the path's pairs; minus infinity where a hop cannot be purified so often."""
    total = 0.0
    for link, times in zip(edges_of(path), purifications, strict=True):
        table = reckoning.table(network.fidelity[link])
        total += table[times].log_factor if times < len(table) else -math.inf
    return total


def success(
    network: FloorNetwork, reckoning: Reckoning, path: Path, purifications: Sequence[int]
) -> list[float]:
    """By hop, that a group gives a pair."""
    return [
        reckoning.table(network.fidelity[link])[times].success_ratio
        for link, times in zip(edges_of(path), purifications, strict=True)
    ]


def waxman(
    seed: int,
    nodes: int = 78,
    links: int = 122,
    capacity: int = 50,
    mean_fidelity: float = 0.9,
    spread: float = 0.1,
    least_fidelity: float = 0.8,
) -> FloorNetwork:
    """A random network (Waxman, IEEE J. Sel. Areas Commun. 6, 1617 (1988), alpha 0.6) with so many links.

    Links are drawn by distance among those not yet there, after a tree that makes it whole. Fidelities are
    normal, of those above the least and below 1 (as in the evaluation of Li et al.).
    """
    random = np.random.default_rng(seed)
    places = random.uniform(0.0, 100.0, (nodes, 2))
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    likely = np.exp(-apart / (0.6 * apart.max()) * 4.0)
    chosen: set[Edge] = set()
    inside = [0]
    while len(inside) < nodes:
        outside = [node for node in range(nodes) if node not in inside]
        weights = likely[np.ix_(inside, outside)].ravel()
        pick = int(random.choice(len(weights), p=weights / weights.sum()))
        node = outside[pick % len(outside)]
        chosen.add(edge(inside[pick // len(outside)], node))
        inside.append(node)
    others = [(a, b) for a in range(nodes) for b in range(a + 1, nodes) if (a, b) not in chosen]
    weights = np.array([likely[each] for each in others])
    for pick in random.choice(len(others), links - len(chosen), replace=False, p=weights / weights.sum()):
        chosen.add(others[int(pick)])
    fidelity: dict[Edge, float] = {}
    for link in sorted(chosen):
        drawn = 0.0
        while not least_fidelity < drawn < 1.0:
            drawn = float(random.normal(mean_fidelity, spread))
        fidelity[link] = drawn
    return FloorNetwork(nodes, dict.fromkeys(fidelity, capacity), fidelity)


def requests(seed: int, nodes: int, count: int, floor: float, pairs: int) -> list[Request]:
    """Between nodes drawn without repetition."""
    drawn = np.random.default_rng((seed, 1)).permutation(nodes)[: 2 * count].tolist()
    return [Request(drawn[2 * i], drawn[2 * i + 1], floor, pairs) for i in range(count)]


def delivered(
    network: FloorNetwork,
    reckoning: Reckoning,
    asked: Sequence[Request],
    routes: Sequence[Route],
    seed: Sequence[int],
) -> list[int]:
    """End-to-end pairs of each request in one slot; ValueError where a plan breaks a rule.

    Whether a group succeeds follows from a draw that belongs to its first pair, the same for every plan.
    """
    random = np.random.default_rng(seed)
    draws = {link: random.random(count) for link, count in sorted(network.capacity.items())}
    begun = dict.fromkeys(network.capacity, 0)
    made = [0] * len(asked)
    for route in routes:
        floor = reckoning.log_floor(asked[route.request].floor)
        if log_fidelity(network, reckoning, route.path, route.purifications) < floor - 1e-9:
            raise ValueError(f"path {route.path} is below its floor")
        ratios = success(network, reckoning, route.path, route.purifications)
        least = min(route.groups)
        for link, times, groups, ratio in zip(
            edges_of(route.path), route.purifications, route.groups, ratios, strict=True
        ):
            last = begun[link] + groups * (times + 1)
            if last > network.capacity[link]:
                raise ValueError(f"link {link} has no {last} pairs")
            good = np.count_nonzero(draws[link][begun[link] : last : times + 1] < ratio)
            least = min(least, int(good))
            begun[link] = last
        made[route.request] += least
    return [min(count, one.pairs) for count, one in zip(made, asked, strict=True)]
