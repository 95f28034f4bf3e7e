"""Measuring fairly: A and B in turn, on cores of their own, medians of pairs."""

import asyncio
import json
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from keyweave.common import log, process
from tests.bench.report import COMMAND, Result

P = ParamSpec("P")
Child = Callable[Concatenate[Path, asyncio.Event, P], Awaitable[None]]

START_SECONDS = 30.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02
# gRPC does not survive a fork.
_spawning = multiprocessing.get_context("spawn")


def median_pairs(
    rounds: Sequence[tuple[Mapping[str, float], Mapping[str, float]]], units: Mapping[str, str], part: str
) -> list[Result]:
    """One result per quantity of `units`, from (ours, baseline) pairs."""
    return [
        Result(
            name=f"{part}_{name}",
            value=statistics.median(ours[name] for ours, _ in rounds),
            unit=unit,
            baseline=statistics.median(bare[name] for _, bare in rounds),
            ratio=statistics.median(ours[name] / bare[name] for ours, bare in rounds),
            command=f"{COMMAND} {part}",
        )
        for name, unit in units.items()
    ]


async def alternate(
    ours: Callable[[], Awaitable[dict[str, float]]],
    bare: Callable[[], Awaitable[dict[str, float]]],
    pairs: int,
) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Both in turn, the order turning round with each pair; an unreported pair goes first, to warm up."""
    await ours()
    await bare()
    rounds = []
    for number in range(pairs):
        if number % 2:
            second = await bare()
            rounds.append((await ours(), second))
        else:
            first = await ours()
            rounds.append((first, await bare()))
    return rounds


def quantile(values: Sequence[float], ratio: float) -> float:
    """The value that `ratio` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(ratio * len(ordered)) - 1)]


# ---- processes on cores --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Served:
    """A child process that is ready, and what it announced."""

    pid: int
    addresses: Mapping[str, str]

    def cpu_seconds(self) -> float:
        """CPU time that all its threads have used so far.

        Linux encodes the CPU clock of process p as (~p << 3) | 2 (clock_getcpuclockid(3)).
        """
        return time.clock_gettime_ns((~self.pid << 3) | 2) / 1e9


def load_core() -> int:
    """The core for what makes the load: the first that this process may use."""
    return min(_cores)


def served_core() -> int:
    """The core for what is measured: the last; the same as the other where there is only one."""
    return max(_cores)


def all_cores() -> frozenset[int]:
    """Every core that this process may use, for what is to run as the product does."""
    return _cores


# As at the start: this process pins itself later on.
_cores = frozenset(os.sched_getaffinity(0))


@contextmanager
def child(directory: Path, main: Child[P], *arguments: P.args, **named: P.kwargs) -> Iterator[Served]:
    """`main(ready file, stop, *arguments)` in a process of its own on `served_core`, until left."""
    ready = directory / f"ready-{main.__name__}.json"
    begun = _spawning.Process(
        target=_run,
        args=(main, served_core(), ready, arguments, named),
        name=main.__name__,
        daemon=True,
    )
    begun.start()
    try:
        yield Served(begun.pid or 0, _announced(ready, begun))
    finally:
        begun.terminate()
        begun.join(STOP_SECONDS)
        begun.kill()


def _announced(ready: Path, begun: SpawnProcess) -> dict[str, str]:
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists():
        if begun.exitcode is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{begun.name} did not become ready (exit code {begun.exitcode})")
        time.sleep(_POLL_SECONDS)
    announced: dict[str, str] = json.loads(ready.read_text("utf-8"))
    return announced


def _run(main: Child[...], core: int, ready: Path, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    process.die_with_parent()
    os.sched_setaffinity(0, {core})
    log.configure(process=main.__name__, level="error")
    process.run(lambda stop: main(ready, stop, *arguments, **named))
