"""All algorithms on the same topologies, pairs and draws: pairs a slot, time to plan, fairness."""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from keyweave.controller.routing.entanglement.slots import Edge, PairNetwork
from tests.bench.entanglement.slotted import Slot, generate

# The reference point of the paper's evaluation.
NODES, DEGREE, SUCCESS, SWAP, PAIRS = 100, 6.0, 0.6, 0.9, 10
TOPOLOGIES, SLOTS = 30, 10


class Algorithm(Protocol):
    """What is compared: planning before a slot, swapping within it."""

    name: str

    def __init__(self, network: PairNetwork) -> None: ...

    def plan(self, pairs: Sequence[tuple[int, int]]) -> dict[Edge, int]:
        """Channels to use on each edge."""
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


@dataclass(slots=True)
class Outcome:
    """What one algorithm did, topology by topology."""

    # Mean pairs a slot.
    throughput: list[float]
    # CPU seconds of planning a slot.
    planning_seconds: list[float]
    # Jain's index over the pairs of nodes that asked (Jain, Chiu and Hawe 1984), of what each got over slots.
    fairness: list[float]

    @property
    def mean(self) -> float:
        """Pairs a slot over all topologies."""
        return statistics.fmean(self.throughput)


def compare(
    algorithms: Sequence[type[Algorithm]], point: Point, topologies: int = TOPOLOGIES, slots: int = SLOTS
) -> dict[str, Outcome]:
    """Run them all. The same pairs of nodes ask in every slot of a topology."""
    outcomes = {each.name: Outcome([], [], []) for each in algorithms}
    for topology in range(topologies):
        network = generate(topology, point.nodes, point.degree, point.success, point.swap)
        pairs = asking(topology, point)
        plans = {}
        for kind in algorithms:
            algorithm = kind(network)
            began = time.process_time()
            channels = algorithm.plan(pairs)
            outcomes[kind.name].planning_seconds.append(time.process_time() - began)
            check(network, channels)
            plans[kind.name] = algorithm, channels
        for name, (algorithm, channels) in plans.items():
            made = dict.fromkeys(pairs, 0)
            for number in range(slots):
                slot = Slot(network, seed=(topology, number))
                for pair in algorithm.connect(slot, slot.outcomes(channels)):
                    made[pair] += 1
            outcomes[name].throughput.append(sum(made.values()) / slots)
            outcomes[name].fairness.append(jain(list(made.values())))
    return outcomes


def asking(topology: int, point: Point) -> list[tuple[int, int]]:
    """Who wants pairs: nodes drawn without repetition, as long as there are enough."""
    nodes = np.random.default_rng((topology, 1)).permutation(point.nodes)[: 2 * point.pairs].tolist()
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
    """Mean difference and half the width of its 95 % confidence interval (normal, paired by topology)."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    spread = statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.fmean(differences), 1.96 * spread
