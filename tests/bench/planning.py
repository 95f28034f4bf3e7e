"""Planning on 50 nodes, 75 links and 200 streams, beside the exact max-min fair rates.

Quality is the worst stream's rate over its exact one (baseline 1), and the middle stream's likewise. The
exact reference may split a stream over any number of routes; a plan may not. A plan is timed beside the
exact solution; a repair, after the busiest link went down, beside a whole new plan.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from keyweave.common.names import LinkName
from keyweave.controller.routing import link_load, plan_streams, repair
from keyweave.controller.topology import Condition, Plan, Snapshot
from tests.bench.measure import median_pairs, served_core
from tests.bench.report import Result
from tests.unit.exact_max_min import ExactMaxMin
from tests.unit.networks import random_network, random_streams, snapshot

T = TypeVar("T")

NODES, LINKS, STREAMS = 50, 75, 200
# Networks whose exact rates are solved, and pairs of repair and plan on the first of them.
SEEDS = (1, 2, 3)
PAIRS = 5


def network(seed: int) -> Snapshot:
    """A random network; rates of links differ a hundredfold."""
    return snapshot(random_network(seed, NODES, LINKS), random_streams(seed, NODES, STREAMS))


def without(before: Snapshot, link: LinkName) -> Snapshot:
    """The network after a link went down."""
    down = replace(
        before.links[link],
        condition=Condition.DOWN,
        usable_rate_bps=0.0,
        takes_paths=False,
        keeps_paths=False,
    )
    return replace(before, version=before.version + 1, links={**before.links, link: down})


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` returns and the seconds it took."""
    begun = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begun


def against_exact(seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """One network, planned and solved exactly."""
    ground = network(seed)
    plan, plan_seconds = timed(lambda: plan_streams(ground, None, 1))
    exact, exact_seconds = timed(ExactMaxMin(ground).rates)
    shares = [plan.streams[name].rate_bps / rate for name, rate in exact.items()]
    return (
        {"worst_share": min(shares), "median_share": statistics.median(shares), "seconds": plan_seconds},
        {"worst_share": 1.0, "median_share": 1.0, "seconds": exact_seconds},
    )


def repaired(ground: Snapshot, plan: Plan) -> tuple[dict[str, float], dict[str, float]]:
    """The busiest link goes down: what it takes to route around it, and to plan anew."""
    loads = link_load(plan)
    link = max(loads, key=lambda name: loads[name])
    after = without(ground, link)
    _, repair_seconds = timed(lambda: repair(after, plan, frozenset([link]), 2))
    _, plan_seconds = timed(lambda: plan_streams(after, plan, 2))
    return {"repair_seconds": repair_seconds}, {"repair_seconds": plan_seconds}


def run() -> list[Result]:
    """Measure."""
    os.sched_setaffinity(0, {served_core()})
    units = {"worst_share": "ratio", "median_share": "ratio", "seconds": "s"}
    results = median_pairs([against_exact(seed) for seed in SEEDS], units, "planning")
    ground = network(SEEDS[0])
    plan = plan_streams(ground, None, 1)
    return results + median_pairs(
        [repaired(ground, plan) for _ in range(PAIRS)], {"repair_seconds": "s"}, "planning"
    )
