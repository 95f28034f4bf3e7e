"""Runs of every class by seeds that nothing was tuned on, and what came of them."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

from tests.bench.diagnosis.classes import KINDS, simulate
from tests.bench.diagnosis.delay import CASES, delays, summed_up
from tests.bench.diagnosis.quiet import suspicions
from tests.bench.report import COMMAND, Result

RUNS = 200
FIRST_SEED = 1_000_000
RIGHT_RATIO = 0.95
DELAY_RUNS = 100
LINK_DAYS, LINKS = 30, 10
_COMMAND = f"{COMMAND} diagnosis"

T = TypeVar("T")


def run() -> list[Result]:
    """Measure; the confusion matrix goes to standard error."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return [*_classes(pool), *_delays(pool), *_quiet(pool)]


def _each(pool: ProcessPoolExecutor, work: Callable[[int], T], count: int) -> Iterable[T]:
    return pool.map(work, range(FIRST_SEED, FIRST_SEED + count), chunksize=max(1, count // 20))


def reading_of(kind: int, seed: int) -> str:
    """What a run was read as."""
    cause = simulate(KINDS[kind], seed).reading()
    return cause.value if cause else "none"


def _classes(pool: ProcessPoolExecutor) -> list[Result]:
    results, lines = [], []
    for number, kind in enumerate(KINDS):
        found = Counter(_each(pool, partial(reading_of, number), RUNS))
        right = found[kind.reading.value if kind.reading else "none"] / RUNS
        read = ", ".join(f"{name} {count}" for name, count in found.most_common())
        lines.append(f"  {kind.name:18} {right:6.1%}  {read}\n")
        results.append(
            Result(f"diagnosis_{kind.name}_right", right, "ratio", RIGHT_RATIO, right / RIGHT_RATIO, _COMMAND)
        )
    sys.stderr.write(f"what {RUNS} runs of each class were read as:\n{''.join(lines)}")
    return results


def _delays(pool: ProcessPoolExecutor) -> list[Result]:
    results = []
    for case in CASES:
        median, late, threshold, window = summed_up(list(_each(pool, partial(delays, case), DELAY_RUNS)))
        sys.stderr.write(f"{case.name}: best threshold looks at {window:g} s\n")
        name = f"diagnosis_delay_{case.name}"
        results += [
            Result(f"{name}_p50_seconds", median, "s", threshold, median / threshold, _COMMAND),
            Result(f"{name}_p99_seconds", late, "s", threshold, late / threshold, _COMMAND),
        ]
    return results


def _quiet(pool: ProcessPoolExecutor) -> list[Result]:
    found = list(_each(pool, partial(suspicions, LINK_DAYS / LINKS), LINKS))
    grave, slight = (sum(counts) for counts in zip(*found, strict=True))
    return [
        Result("diagnosis_false_suspects_per_link_month", grave, "1", 1.0, float(grave), _COMMAND),
        Result("diagnosis_false_degraded_per_link_month", slight, "1", 1.0, float(slight), _COMMAND),
    ]
