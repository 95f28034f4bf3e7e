"""Planning on real networks and a large one: how fair, how fast, and how soon after a failure.

Quality is a stream's rate over its exact max-min rate (baseline 1), which an independent program finds over
every possible set of routes (tests/unit/exact_max_min.py); a plan is timed beside it. What classes of more
than 1,000 streams get is checked by the same code on the small networks. A repair, alone and for every
single link in turn, is timed beside a whole new plan; `down_ms` rows have that as baseline.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar
from unittest.mock import patch

from keyweave.common.names import StreamName
from keyweave.controller.routing import Planner, plan_streams
from keyweave.controller.routing import plan as planning
from keyweave.controller.topology import Plan, Snapshot
from tests.bench.measure import quantile, served_core
from tests.bench.networks import down, germany50, large, surfnet, vtlwavenet2011
from tests.bench.report import COMMAND, Result
from tests.unit.exact_max_min import ExactMaxMin

T = TypeVar("T")

_NETWORKS = {"surfnet": surfnet, "vtlwavenet2011": vtlwavenet2011, "germany50": germany50}
# The exact reference takes minutes for more.
_EXACT_STREAMS = 200
_STREAMS = 1000
# Every so manyth link of the large network fails.
_LARGE_STEP = 10


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` returns and the seconds it took."""
    begun = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begun


def _row(name: str, value: float, unit: str, baseline: float) -> Result:
    return Result(f"planning_{name}", value, unit, baseline, value / baseline, f"{COMMAND} planning")


def _quality(name: str, exact: Mapping[StreamName, float], plan: Plan) -> list[Result]:
    shares = [plan.streams[stream].rate_bps / rate for stream, rate in exact.items()]
    return [
        _row(f"{name}_worst_share", min(shares), "ratio", 1.0),
        _row(f"{name}_twentieth_share", quantile(shares, 0.05), "ratio", 1.0),
        _row(f"{name}_median_share", statistics.median(shares), "ratio", 1.0),
    ]


def _against_exact(name: str, build: Callable[[int], Snapshot]) -> list[Result]:
    ground = build(_EXACT_STREAMS)
    exact, exact_seconds = timed(ExactMaxMin(ground).rates)
    plan, seconds = timed(lambda: plan_streams(ground, None, 1))
    with patch.object(planning, "EXACT_STREAMS", 0):
        rough = plan_streams(ground, None, 1)
    return [
        *_quality(name, exact, plan),
        _row(f"{name}_seconds", seconds, "s", exact_seconds),
        *_quality(f"{name}_rough", exact, rough),
    ]


def _repairs(name: str, ground: Snapshot, step: int = 1) -> list[Result]:
    planner = Planner()
    plan, seconds = timed(lambda: planner.plan_streams(ground, None, 1))
    # As the controller's process does once it has started: what lives long is not searched for garbage.
    gc.collect()
    gc.freeze()
    times = []
    for link in list(ground.links)[::step]:
        after = down(ground, link)
        times.append(timed(lambda: planner.repair(after, plan, frozenset([link]), 2))[1] * 1e3)  # noqa: B023
    gc.unfreeze()
    return [
        _row(f"{name}_{len(ground.streams)}_seconds", seconds, "s", seconds),
        _row(f"{name}_repair_p50_ms", quantile(times, 0.5), "ms", seconds * 1e3),
        _row(f"{name}_repair_p99_ms", quantile(times, 0.99), "ms", seconds * 1e3),
    ]


def run() -> list[Result]:
    """Measure."""
    os.sched_setaffinity(0, {served_core()})
    results: list[Result] = []
    for name, build in _NETWORKS.items():
        results += _against_exact(name, build)
        results += _repairs(name, build(_STREAMS))
    return results + _repairs("large", large(), _LARGE_STEP)
