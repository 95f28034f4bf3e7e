"""How soon an eavesdropper is told, beside the best that a plain threshold could do on the same counts."""

import math
import statistics
from dataclasses import dataclass
from itertools import accumulate

from scipy.stats import binom

from keyweave.controller.estimate.changes import EVIDENCE
from keyweave.controller.topology import Condition
from keyweave.emulator.physics.model import Disturbance
from tests.bench.diagnosis.classes import WARM_SECONDS
from tests.bench.diagnosis.simulated import Simulated, operating_point

WINDOWS_SECONDS = (0.2, 0.4, 1.0, 2.0, 4.0, 10.0, 20.0, 40.0, 60.0)
LATEST_SECONDS = 120.0
QBER = 0.025


@dataclass(frozen=True, slots=True)
class Case:
    """A link, and the share of its pulses that is intercepted."""

    name: str
    length_km: float
    pulse_rate_hz: float
    intercepted_ratio: float


CASES = (
    Case("50km_full", 50.0, 1.0e8, 1.0),
    Case("50km_tenth", 50.0, 1.0e8, 0.1),
    Case("50km_slow_tenth", 50.0, 5.0e6, 0.1),
    Case("100km_slow_tenth", 100.0, 5.0e6, 0.1),
)


def delays(case: Case, seed: int) -> tuple[float, dict[float, float]]:
    """Seconds until the link is SUSPECT or DOWN, and until each window's threshold is crossed."""
    point = operating_point(case.length_km, case.pulse_rate_hz, QBER)
    link = Simulated(point, seed)
    link.run(WARM_SECONDS)
    before = len(link.counted)
    found: list[float] = []

    def told(estimate: object) -> bool:
        if not found and link.estimate.condition in {Condition.SUSPECT, Condition.DOWN}:
            found.append(link.now)
        return False

    begun = link.now
    link.run(
        LATEST_SECONDS, lambda _seconds: Disturbance(intercepted_ratio=case.intercepted_ratio), until=told
    )
    by_windows = {
        window: _crossing(link.counted, before, round(window / link.batch_seconds)) * link.batch_seconds
        for window in WINDOWS_SECONDS
    }
    return (found[0] - begun if found else math.inf), by_windows


def _crossing(counted: list[tuple[float, float]], before: int, width: int) -> float:
    """Batches after `before` until a window of `width` of them has too many errors.

    The threshold knows the QBER without an eavesdropper exactly, and errs as seldom a look as the sequential
    test does at most: exp(-EVIDENCE).
    """
    errors = [0.0, *accumulate(e for e, _ in counted)]
    bits = [0.0, *accumulate(n for _, n in counted)]
    for end in range(before + 1, len(counted) + 1):
        start = max(0, end - width)
        seen, of = round(errors[end] - errors[start]), round(bits[end] - bits[start])
        if of and binom.sf(seen - 1, of, QBER) <= math.exp(-EVIDENCE):
            return end - before
    return math.inf


def summed_up(found: list[tuple[float, dict[float, float]]]) -> tuple[float, float, float, float]:
    """Median and 99 % delay; the best threshold's median, and the window that it takes."""
    ours = sorted(delay for delay, _ in found)
    medians = {w: statistics.median(by[w] for _, by in found) for w in WINDOWS_SECONDS}
    best = min(WINDOWS_SECONDS, key=lambda window: medians[window])
    return statistics.median(ours), ours[math.ceil(0.99 * len(ours)) - 1], medians[best], best
