"""What planning costs as the network grows: CPU time, and memory in a process of its own."""

import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from keyweave.controller.routing.entanglement.slots import PairNetwork
from tests.bench.entanglement.compare import Algorithm, Point, asking
from tests.bench.entanglement.ours import Ours
from tests.bench.entanglement.qcast import QCast
from tests.bench.entanglement.reps import Reps
from tests.bench.entanglement.slotted import generate

SIZES = (100, 300, 1000)
ALGORITHMS: tuple[type[Algorithm], ...] = (QCast, Reps, Ours)
# Sets of pairs of which the middle one counts.
_REPEATS = 3

Row = dict[str, object]


def grow() -> list[Row]:
    """Measure and print; one row for each size and algorithm."""
    rows: list[Row] = []
    for nodes in SIZES:
        network = generate(0, nodes)
        runs = [(kind, 10) for kind in ALGORITHMS]
        if nodes > 100:
            runs.append((Ours, nodes // 10))
        for kind, count in runs:
            seconds, peak_bytes = _alone(kind, network, nodes, count)
            rows.append(
                {"nodes": nodes, "links": len(network.channels), "pairs": count, "algorithm": kind.name}
                | {"planning_ms": 1e3 * seconds, "peak_mb": peak_bytes / 1e6}
            )
            sys.stdout.write(
                f"{nodes:5} nodes {len(network.channels):5} links {count:4} pairs  {kind.name:<10}"
                f" {1e3 * seconds:9.1f} ms  {peak_bytes / 1e6:7.1f} MB\n"
            )
            sys.stdout.flush()
    return rows


def _alone(kind: type[Algorithm], network: PairNetwork, nodes: int, pairs: int) -> tuple[float, int]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        demands = [asking(0, demand, Point(nodes=nodes, pairs=pairs)) for demand in range(_REPEATS)]
        return process.submit(_planned, kind, network, demands).result()


def _planned(
    kind: type[Algorithm], network: PairNetwork, demands: Sequence[Sequence[tuple[int, int]]]
) -> tuple[float, int]:
    """CPU seconds of one plan, and by how many bytes the process grew at most."""
    kind(network).plan(demands[0][:1])  # what is loaded once
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew (proc(5))
    algorithm, seconds = kind(network), []
    for pairs in demands:
        began = time.process_time()
        algorithm.plan(pairs)
        seconds.append(time.process_time() - began)
    return sorted(seconds)[len(seconds) // 2], _resident("VmHWM") - before


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    (line,) = (each for each in lines if each.startswith(field + ":"))
    return 1024 * int(line.split()[1])
