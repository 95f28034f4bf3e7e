"""The three of them at every point, on the same networks, requests and draws."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tests.bench.entanglement.compare import jain, paired
from tests.bench.entanglement.floors.model import (
    FloorNetwork,
    Product,
    Reckoning,
    Request,
    Route,
    Werner,
    delivered,
    requests,
    success,
    waxman,
)
from tests.bench.entanglement.floors.ours import ours
from tests.bench.entanglement.floors.qleap import q_leap
from tests.bench.entanglement.floors.qpath import q_path
from tests.bench.entanglement.floors.several import serve

Plan = Callable[[FloorNetwork, Reckoning, Sequence[Request]], list[Route]]

ALGORITHMS: dict[str, Plan] = {
    "Q-LEAP": lambda network, reckoning, asked: serve(network, reckoning, asked, q_leap),
    "Q-PATH": lambda network, reckoning, asked: serve(network, reckoning, asked, q_path),
    "ours": ours,
}
RECKONINGS: tuple[Reckoning, ...] = (Product(), Werner())
TOPOLOGIES, SLOTS = 30, 5


@dataclass(frozen=True, slots=True)
class Point:
    """Where in the sweep."""

    floor: float = 0.8
    capacity: int = 50
    requests: int = 10
    # Of each request, a slot.
    pairs: int = 50
    nodes: int = 78
    links: int = 122


REFERENCE = Point()
SWEEP = (
    REFERENCE,
    *(replace(REFERENCE, floor=floor) for floor in (0.6, 0.7, 0.85, 0.9)),
    *(replace(REFERENCE, capacity=capacity) for capacity in (10, 90)),
    *(replace(REFERENCE, requests=count) for count in (1, 20)),
    # As many links again: more ways around.
    replace(REFERENCE, links=244),
)


@dataclass(slots=True)
class Outcome:
    """What one algorithm did, topology by topology."""

    # Mean end-to-end pairs a slot, drawn.
    throughput: list[float] = field(default_factory=list)
    # As the paper counts: the least expected of any hop, up to what was asked.
    expected: list[float] = field(default_factory=list)
    fairness: list[float] = field(default_factory=list)
    planning_seconds: list[float] = field(default_factory=list)


def compare(point: Point, reckoning: Reckoning, topologies: int, slots: int) -> dict[str, Outcome]:
    """All algorithms at one point."""
    outcomes = {name: Outcome() for name in ALGORITHMS}
    for topology in range(topologies):
        network = waxman(topology, point.nodes, point.links, point.capacity)
        asked = requests(topology, point.nodes, point.requests, point.floor, point.pairs)
        for name, plan in ALGORITHMS.items():
            began = time.process_time()
            routes = plan(network, reckoning, asked)
            outcome = outcomes[name]
            outcome.planning_seconds.append(time.process_time() - began)
            made = [
                delivered(network, reckoning, asked, routes, (topology, number)) for number in range(slots)
            ]
            each = [statistics.fmean(counts) for counts in zip(*made, strict=True)]
            outcome.throughput.append(sum(each))
            outcome.fairness.append(jain(each))
            outcome.expected.append(expected(network, reckoning, asked, routes))
    return outcomes


def expected(
    network: FloorNetwork, reckoning: Reckoning, asked: Sequence[Request], routes: Sequence[Route]
) -> float:
    """End-to-end pairs a slot by the paper's measure."""
    made = [0.0] * len(asked)
    for route in routes:
        ratios = success(network, reckoning, route.path, route.purifications)
        made[route.request] += min(groups * ratio for groups, ratio in zip(route.groups, ratios, strict=True))
    return sum(min(pairs, one.pairs) for pairs, one in zip(made, asked, strict=True))


def changed(point: Any, reference: Any) -> str:
    """What is different from a reference point, a dataclass like it."""
    fields = {name: value for name, value in asdict(point).items() if value != getattr(reference, name)}
    return ", ".join(f"{name} {value:g}" for name, value in fields.items()) or "reference"


def line(name: str, outcome: Outcome, theirs: Outcome, unit: str = "pairs/slot") -> str:
    """One algorithm beside Q-LEAP."""
    difference, half = paired(outcome.throughput, theirs.throughput)
    mean, base = statistics.fmean(outcome.throughput), statistics.fmean(theirs.throughput)
    expected_mean = f" (expected {statistics.fmean(outcome.expected):.1f})" if outcome.expected else ""
    return (
        f"  {name:<7} {mean:7.1f} {unit}{expected_mean}"
        f"  {mean / base if base else float('nan'):6.3f}  {difference:+7.1f} +- {half:5.1f}"
        f"  fairness {statistics.fmean(outcome.fairness):.2f}"
        f"  {1e3 * statistics.fmean(outcome.planning_seconds):6.0f} ms"
    )


def floors(topologies: int = TOPOLOGIES, slots: int = SLOTS) -> list[dict[str, object]]:
    """All points under both reckonings, printed as they come."""
    rows: list[dict[str, object]] = []
    for reckoning in RECKONINGS:
        for point in SWEEP:
            outcomes = compare(point, reckoning, topologies, slots)
            sys.stdout.write(f"{reckoning.name}: {changed(point, REFERENCE)}\n")
            for name, outcome in outcomes.items():
                sys.stdout.write(line(name, outcome, outcomes["Q-LEAP"]) + "\n")
                row = {"reckoning": reckoning.name, "point": asdict(point), "algorithm": name}
                rows.append(row | asdict(outcome))
            sys.stdout.flush()
    return rows
