"""How stable a quantity was: drift and Allan deviation from averages over stretches of time. Pure."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

DAY_SECONDS = 86_400
TAUS_SECONDS = (60, 600, 3600, DAY_SECONDS)
# Less than this is no ground for a slope per day.
_LEAST_SPAN_SECONDS = 1800.0
_LEAST_PAIRS = 3
# An average counts for its stretch if the quantity was measured in this share of it.
_LEAST_COVERED = 0.5


class Average(NamedTuple):
    """A quantity averaged over a stretch of time: its start and length, and for how long it was measured."""

    start: float
    length: float
    seconds: float
    mean: float


def drift_per_day(averages: Sequence[Average]) -> float | None:
    """Slope of the line that fits best, by weighted least squares; None over too short a time."""
    measured = [each for each in averages if each.seconds > 0]
    if len(measured) < _LEAST_PAIRS:
        return None
    if measured[-1].start + measured[-1].length - measured[0].start < _LEAST_SPAN_SECONDS:
        return None
    weight = sum(each.seconds for each in measured)
    origin = measured[0].start
    times = [(each.start + each.length / 2 - origin) / DAY_SECONDS for each in measured]
    mean_time = sum(e.seconds * t for e, t in zip(measured, times, strict=True)) / weight
    mean = sum(e.seconds * e.mean for e in measured) / weight
    spread = sum(e.seconds * (t - mean_time) ** 2 for e, t in zip(measured, times, strict=True))
    together = sum(
        e.seconds * (t - mean_time) * (e.mean - mean) for e, t in zip(measured, times, strict=True)
    )
    return together / spread if spread > 0 else None


def allan_deviation(averages: Iterable[Average], tau: int) -> tuple[float, int] | None:
    """Allan deviation over `tau` seconds and the pairs it rests on; None where there are too few.

    sqrt(1/2 <(y[k+1] - y[k])^2>) of averages over neighbouring stretches: D. W. Allan, Proc. IEEE 54, 221
    (1966); IEEE Std 1139. Stretches that were hardly measured, or come in longer pieces, do not count.
    """
    blocks: dict[int, tuple[float, float]] = {}
    for each in averages:
        if each.length > tau:
            continue
        block = int(each.start // tau)
        seconds, total = blocks.get(block, (0.0, 0.0))
        blocks[block] = (seconds + each.seconds, total + each.seconds * each.mean)
    means = {
        block: total / seconds
        for block, (seconds, total) in sorted(blocks.items())
        if seconds >= _LEAST_COVERED * tau
    }
    squares = [
        (means[after] - means[before]) ** 2 for before, after in pairwise(means) if after == before + 1
    ]
    if len(squares) < _LEAST_PAIRS:
        return None
    return sqrt(sum(squares) / (2 * len(squares))), len(squares)
