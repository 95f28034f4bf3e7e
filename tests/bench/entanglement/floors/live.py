"""The planner that the controller runs beside Q-LEAP, on nodes with memories that fade.

Q-LEAP knows no time: it takes the truest path, gives each hop the same share of the floor, and rounds of
purification until the hop has that. Here waiting costs fidelity too, so where the pairs of its lane turn out
below the floor its share is raised until they are not. It is given as many lanes as memories allow.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np

from keyweave.common.entanglement.bell import werner
from keyweave.common.entanglement.purification import dejmps
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.routing.entanglement.chain import predict
from keyweave.controller.routing.entanglement.repeaters import (
    Lane,
    PairDemand,
    PairLink,
    PairNode,
    Prediction,
    RepeaterNetwork,
    network_of,
    plain_lane,
    used_memories,
)
from keyweave.controller.routing.entanglement.serve import Served, plan_pairs
from keyweave.controller.routing.entanglement.slots import edge
from tests.bench.entanglement.compare import jain
from tests.bench.entanglement.floors.compare import TOPOLOGIES, Outcome, changed, line
from tests.bench.entanglement.floors.model import FloorNetwork, Request, Werner, waxman
from tests.bench.entanglement.floors.qleap import truest

# By so much of what is missing from 1 the share of a hop is raised at a time.
_STRICTER = 0.85
_MOST_TRIES = 30


@dataclass(frozen=True, slots=True)
class LivePoint:
    """Where in the sweep."""

    floor: float = 0.8
    requests: int = 5
    # Of each request.
    rate_hz: float = 100.0
    nodes: int = 20
    links: int = 32
    memories: int = 12
    t2_seconds: float = 1.0
    swap: float = 0.9


REFERENCE = LivePoint()
SWEEP = (
    REFERENCE,
    *(replace(REFERENCE, floor=floor) for floor in (0.7, 0.9)),
    replace(REFERENCE, t2_seconds=0.3),
)


def network_at(point: LivePoint, seed: int) -> tuple[RepeaterNetwork, FloorNetwork]:
    """Random links, of 20 to 100 pairs a second for each memory; the same as Q-LEAP sees it."""
    plain = waxman(seed, point.nodes, point.links, mean_fidelity=0.95, spread=0.03, least_fidelity=0.85)
    random = np.random.default_rng((seed, 2))
    nodes = [
        PairNode(
            NodeName(f"n{i}"),
            point.memories,
            t2_seconds=point.t2_seconds,
            swap_success_ratio=point.swap,
        )
        for i in range(point.nodes)
    ]
    links = [
        PairLink(
            LinkName(f"l{a}-{b}"),
            NodeName(f"n{a}"),
            NodeName(f"n{b}"),
            float(random.uniform(20.0, 100.0)),
            werner(fidelity),
            delay_seconds=2e-4,
        )
        for (a, b), fidelity in sorted(plain.fidelity.items())
    ]
    return network_of(nodes, links), plain


def demands_at(point: LivePoint, seed: int) -> list[PairDemand]:
    """Between nodes drawn without repetition."""
    drawn = np.random.default_rng((seed, 1)).permutation(point.nodes)[: 2 * point.requests].tolist()
    return [
        PairDemand(
            StreamName(f"s{i}"),
            NodeName(f"n{drawn[2 * i]}"),
            NodeName(f"n{drawn[2 * i + 1]}"),
            point.floor,
            point.rate_hz,
        )
        for i in range(point.requests)
    ]


class LiveQLeap:
    """Its paths, as lanes."""

    def __init__(self, network: RepeaterNetwork, plain: FloorNetwork) -> None:
        self._network = network
        self._plain = plain
        self._free = Counter({name: node.memories for name, node in network.nodes.items()})
        self._usable = dict.fromkeys(plain.capacity, 1)

    def rates(self, demands: Sequence[PairDemand]) -> list[float]:
        """What each demand gets, up to what it asks: in the order of hops and memories, as in algorithm 3."""
        given = dict.fromkeys((one.name for one in demands), 0.0)
        waiting = list(demands)
        while waiting:
            found = {one.name: self._lane(one) for one in waiting}
            waiting = [one for one in waiting if found[one.name] is not None]
            if not waiting:
                break

            def utility(one: PairDemand, found: dict[StreamName, "_Found | None"] = found) -> float:
                lane = found[one.name]
                assert lane is not None
                degrees = sum(len(self._network.at[name]) for name in lane.lane.nodes)
                return 0.5 * degrees + 0.5 * sum(lane.lane.width)

            first = min(waiting, key=utility)
            chosen = found[first.name]
            assert chosen is not None
            used = used_memories(chosen.lane)
            while given[first.name] < first.rate_hz and self._fits(chosen.lane):
                self._free.subtract(used)
                given[first.name] += chosen.gives.rate_hz
            if given[first.name] >= first.rate_hz:
                waiting.remove(first)
        return [min(given[one.name], one.rate_hz) for one in demands]

    def _fits(self, lane: Lane) -> bool:
        return all(self._free[name] >= number for name, number in used_memories(lane).items())

    def _lane(self, demand: PairDemand) -> "_Found | None":
        usable = {
            (a, b): int(self._free[NodeName(f"n{a}")] > 0 and self._free[NodeName(f"n{b}")] > 0)
            for a, b in self._plain.capacity
        }
        asked = Request(int(demand.source[1:]), int(demand.target[1:]), demand.min_fidelity, 1)
        for _ in range(_MOST_TRIES):
            path = truest(self._plain, Werner(), usable, asked)
            if path is None:
                return None
            short = self._purified(demand, path)
            if isinstance(short, _Found):
                return short
            usable[short] = 0
        return None

    def _purified(self, demand: PairDemand, path: Sequence[int]) -> "_Found | tuple[int, int]":
        """The lane, or the edge that cannot have its share."""
        links = [edge(a, b) for a, b in pairwise(path)]
        plain = plain_lane(
            tuple(NodeName(f"n{node}") for node in path), tuple(LinkName(f"l{a}-{b}") for a, b in links)
        )
        share = ((4 * demand.min_fidelity - 1) / 3) ** (1 / len(links))
        while True:
            rounds = []
            for link, name in zip(links, plain.links, strict=True):
                state, number = self._network.links[name].state, 0
                while (4 * state.fidelity - 1) / 3 < share:
                    state, number = dejmps(state, state).state, number + 1
                    if number > demand.max_rounds:
                        return link
                rounds.append(number)
            lane = replace(plain, rounds=tuple(rounds))
            used = used_memories(lane)
            short = [name for name in lane.nodes if used[name] > self._free[name]]
            if short:
                return next(link for link in links if int(short[0][1:]) in link)
            gives = predict(self._network, lane)
            if gives is not None and gives.state.fidelity >= demand.min_fidelity:
                return _Found(lane, gives)
            share = 1 - (1 - share) * _STRICTER


@dataclass(frozen=True, slots=True)
class _Found:
    lane: Lane
    gives: Prediction


def compare_live(point: LivePoint, topologies: int) -> dict[str, Outcome]:
    """Both, by what is predicted of their lanes."""
    outcomes = {"Q-LEAP": Outcome(), "ours": Outcome()}
    for seed in range(topologies):
        network, plain = network_at(point, seed)
        demands = demands_at(point, seed)
        began = time.process_time()
        theirs = LiveQLeap(network, plain).rates(demands)
        between = time.process_time()
        answers = plan_pairs(network, demands).answers
        ended = time.process_time()
        ours = [
            min(answer.rate_hz, one.rate_hz) if isinstance(answer, Served) else 0.0
            for one, answer in ((one, answers[one.name]) for one in demands)
        ]
        for name, rates, seconds in (
            ("Q-LEAP", theirs, between - began),
            ("ours", ours, ended - between),
        ):
            outcome = outcomes[name]
            outcome.throughput.append(sum(rates))
            outcome.fairness.append(jain(rates))
            outcome.planning_seconds.append(seconds)
    return outcomes


def live(topologies: int = TOPOLOGIES) -> list[dict[str, object]]:
    """All points, printed as they come."""
    rows: list[dict[str, object]] = []
    for point in SWEEP:
        outcomes = compare_live(point, topologies)
        sys.stdout.write(f"memories: {changed(point, REFERENCE)}\n")
        for name, outcome in outcomes.items():
            sys.stdout.write(line(name, outcome, outcomes["Q-LEAP"], "pairs/s") + "\n")
            rows.append({"point": asdict(point), "algorithm": name} | asdict(outcome))
        sys.stdout.flush()
    return rows
