"""All algorithms on the same topologies, pairs and draws: pairs a slot, time to plan, fairness."""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.stats import t as student

from keyweave.controller.routing.entanglement.slots import Edge, PairNetwork
from tests.bench.entanglement.slotted import Slot, generate

# The reference point of the paper's evaluation.
NODES, DEGREE, SUCCESS, SWAP, PAIRS = 100, 6.0, 0.6, 0.9, 10


class Algorithm(Protocol):
    """What is compared: planning before a slot, swapping within it."""

    name: str

    def __init__(self, network: PairNetwork) -> None: ...

    def prepare(self, pairs: Sequence[tuple[int, int]]) -> None:
        """What is worked out once for a network, before anybody asks; its time is not counted."""

    def plan(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Decide for whoever asks."""
        ...

    def channels(self, number: int) -> Mapping[Edge, int]:
        """Channels to use on each edge in a slot of this number."""
        ...

    def connect(self, slot: Slot, good: dict[Edge, int]) -> list[tuple[int, int]]:
        """Swap, knowing how many channels of each edge have given a pair; which pairs came about."""
        ...


@dataclass(frozen=True, slots=True)
class Point:
    """Where in the sweep: the generator's parameters, and how many ask."""

    nodes: int = NODES
    degree: float = DEGREE
    success: float = SUCCESS
    swap: float = SWAP
    pairs: int = PAIRS


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is drawn."""

    topologies: int
    # Sets of pairs that ask, on each topology.
    demands: int
    # Slots for each of them.
    draws: int


@dataclass(slots=True)
class Outcome:
    """What one algorithm did, topology by topology."""

    # Mean pairs a slot.
    throughput: list[float]
    # CPU seconds of planning for one set of pairs, mean.
    planning_seconds: list[float]
    # Jain's index over the pairs of nodes that asked (Jain, Chiu and Hawe 1984), of what each got over the
    # draws, mean over sets.
    fairness: list[float]

    @property
    def mean(self) -> float:
        """Pairs a slot over all topologies."""
        return statistics.fmean(self.throughput)


def compare(algorithms: Sequence[type[Algorithm]], point: Point, effort: Effort) -> dict[str, Outcome]:
    """Run them all.

    As in the paper's evaluation, who asks is drawn anew for every slot; here a set of pairs may get several
    slots, which says more about fairness for the same planning.
    """
    outcomes = {each.name: Outcome([], [], []) for each in algorithms}
    for topology in range(effort.topologies):
        network = generate(topology, point.nodes, point.degree, point.success, point.swap)
        planners = [kind(network) for kind in algorithms]
        kept = {each.name: _Kept() for each in planners}
        for demand in range(effort.demands):
            pairs = asking(topology, demand, point)
            slots = [Slot(network, (topology, demand, n), n) for n in range(effort.draws)]
            for algorithm in planners:
                _serve(network, algorithm, pairs, slots, kept[algorithm.name])
        for name, one in kept.items():
            outcomes[name].throughput.append(one.made / (effort.demands * effort.draws))
            outcomes[name].planning_seconds.append(one.seconds / effort.demands)
            outcomes[name].fairness.append(one.fairness / effort.demands)
    return outcomes


@dataclass(slots=True)
class _Kept:
    """Sums of one algorithm on one topology."""

    made: int = 0
    seconds: float = 0.0
    fairness: float = 0.0


def _serve(
    network: PairNetwork,
    algorithm: Algorithm,
    pairs: Sequence[tuple[int, int]],
    slots: Sequence[Slot],
    kept: _Kept,
) -> None:
    algorithm.prepare(pairs)
    began = time.process_time()
    algorithm.plan(pairs)
    kept.seconds += time.process_time() - began
    got = dict.fromkeys(pairs, 0)
    for slot in slots:
        channels = algorithm.channels(slot.number)
        check(network, channels)
        for pair in algorithm.connect(slot, slot.outcomes(channels)):
            got[pair] += 1
    kept.made += sum(got.values())
    kept.fairness += jain(list(got.values()))


def asking(topology: int, demand: int, point: Point) -> list[tuple[int, int]]:
    """Who wants pairs: nodes drawn without repetition."""
    random = np.random.default_rng((topology, demand, 1))
    nodes = random.permutation(point.nodes)[: 2 * point.pairs].tolist()
    return [(nodes[2 * i], nodes[2 * i + 1]) for i in range(point.pairs)]


def check(network: PairNetwork, channels: Mapping[Edge, int]) -> None:
    """ValueError where an algorithm uses more than there is."""
    used = [0] * len(network.memories)
    for (a, b), count in channels.items():
        if not 0 <= count <= network.channels[a, b]:
            raise ValueError(f"{count} channels in use on edge {(a, b)} of {network.channels[a, b]}")
        used[a] += count
        used[b] += count
    if any(count > there for count, there in zip(used, network.memories, strict=True)):
        raise ValueError("a node has more memories in use than it has")


def jain(shares: Sequence[float]) -> float:
    """1 where all get the same, 1/n where one gets all; 1 where nobody gets anything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def paired(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Mean difference and half the width of its 95 % confidence interval (Student's t, by topology)."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    count = len(differences)
    spread = statistics.stdev(differences) / math.sqrt(count)
    return statistics.fmean(differences), float(student.ppf(0.975, count - 1)) * spread
