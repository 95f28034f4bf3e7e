"""How often a link makes pairs, and of what fidelity: from counts that agents report. Pure.

Old counts are forgotten little by little, so that an estimate follows what drifts. What changes at once is
seen by comparing the newest counts with those before: where they differ by more than chance explains, those
before are forgotten.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from keyweave.common.entanglement.bell import Bell
from keyweave.v1 import pairs_pb2

# Quantile of the normal distribution that leaves 2.5 % at either side.
Z_95 = 1.959964
# How far, in standard deviations, new tests must be from what was settled to be another story. By chance that
# is once in a thousand blocks, which costs some precision for a while.
_BLOCK_SIGMA = 3.3
_BLOCK_TESTS_PER_AXIS = 50
_SETTLED_TESTS = 1200.0
# The same for rates, where every report is looked at.
_RATE_SIGMA = 4.0
_SLOW_HERALDS, _QUICK_HERALDS = 600.0, 60.0
# Tests of a quiet link fade with this time constant even if no new ones come.
_TESTS_TAU_SECONDS = 900.0
# Tests of each axis before a fidelity is told.
MIN_TESTS_PER_AXIS = 30.0
MIN_HERALDS = 10.0
AXES = ("x", "y", "z")


@dataclass(frozen=True, slots=True)
class FidelityEstimate:
    """What tests of pairs say."""

    state: Bell
    # Half the width of the 95 % confidence interval of its fidelity.
    half_width: float
    # That it rests on, those that are nearly forgotten counting little.
    tests: float

    @property
    def fidelity(self) -> float:
        """The overlap with Phi+."""
        return self.state.fidelity

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return max(0.0, self.fidelity - self.half_width)

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return min(1.0, self.fidelity + self.half_width)


@dataclass(slots=True)
class _Tally:
    """Tests by axis, and how many of each agreed."""

    totals: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    equals: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])

    def fade(self, factor: float) -> None:
        self.totals = [each * factor for each in self.totals]
        self.equals = [each * factor for each in self.equals]

    def add(self, totals: Sequence[float], equals: Sequence[float]) -> None:
        self.totals = [a + b for a, b in zip(self.totals, totals, strict=True)]
        self.equals = [a + b for a, b in zip(self.equals, equals, strict=True)]

    def correlations(self) -> tuple[list[float], list[float]]:
        """<XX>, <YY>, <ZZ> as measured, and their variances (binomial, one test added to either side)."""
        means, variances = [], []
        for total, equal in zip(self.totals, self.equals, strict=True):
            means.append(2 * equal / total - 1)
            share = (equal + 1) / (total + 2)
            variances.append(4 * share * (1 - share) / total)
        return means, variances


class FidelityTally:
    """Test pairs of one link or path."""

    def __init__(self) -> None:
        # What is settled, and the block of newest tests, which joins it once it is full; if it is another
        # story than before, it takes its place.
        self._settled = _Tally()
        self._block = _Tally()
        self._told_at = 0.0
        # All that were ever told.
        self.tests_total = 0

    def add(self, totals: Sequence[int], equals: Sequence[int], now: float) -> None:
        """So many more tests along X, Y and Z, and how many of each agreed."""
        if not sum(totals):
            return
        since = max(0.0, now - self._told_at) if self._told_at else 0.0
        self._settled.fade(math.exp(-since / _TESTS_TAU_SECONDS - sum(totals) / _SETTLED_TESTS))
        self._told_at = now
        self.tests_total += sum(totals)
        self._block.add(totals, equals)
        if min(self._block.totals) < _BLOCK_TESTS_PER_AXIS:
            return
        if min(self._settled.totals) >= MIN_TESTS_PER_AXIS and self._differ():
            self._settled = _Tally()
        self._settled.add(self._block.totals, self._block.equals)
        self._block = _Tally()

    def _differ(self) -> bool:
        before, before_variances = self._settled.correlations()
        now, variances = self._block.correlations()
        apart = _fidelity(before) - _fidelity(now)
        return abs(apart) > _BLOCK_SIGMA * math.sqrt(sum(before_variances) + sum(variances)) / 4

    def estimate(self, readout: float = 1.0, least: float = MIN_TESTS_PER_AXIS) -> FidelityEstimate | None:
        """What the tests say; None before there are `least` along every axis.

        `readout` is (2 r_a - 1)(2 r_b - 1) of how often either end reads its memory right: outcomes are less
        correlated than the pair by that factor.
        """
        tally = _Tally()
        for part in (self._settled, self._block):
            tally.add(part.totals, part.equals)
        if min(tally.totals) < max(least, 1.0) or readout <= 0:
            return None
        means, variances = tally.correlations()
        xx, yy, zz = (each / readout for each in means)
        # Of Phi+ outcomes agree in X and Z and differ in Y (Gühne and Tóth, Phys. Rep. 474, 1 (2009)).
        raw = Bell(
            (1 + xx - yy + zz) / 4, (1 - xx + yy + zz) / 4, (1 + xx + yy - zz) / 4, (1 - xx - yy - zz) / 4
        )
        half_width = Z_95 * math.sqrt(sum(variances)) / 4 / readout
        return FidelityEstimate(physical(raw), half_width, sum(tally.totals))


def _fidelity(means: Sequence[float]) -> float:
    xx, yy, zz = means
    return (1 + xx - yy + zz) / 4


def physical(raw: Bell) -> Bell:
    """The nearest four probabilities: chance can make a measured one negative.

    Euclidean projection on the simplex (Smolin, Gambetta and Smith, Phys. Rev. Lett. 108, 070502 (2012)).
    """
    ordered = sorted(raw, reverse=True)
    shift, total = 0.0, 0.0
    for count, value in enumerate(ordered, 1):
        total += value
        if value + (1 - total) / count > 0:
            shift = (1 - total) / count
    return Bell(*(max(0.0, value + shift) for value in raw))


@dataclass(slots=True)
class _Counts:
    memory: float
    heralds: float = 0.0
    attempts: float = 0.0
    seconds: float = 0.0

    def add(self, heralds: int, attempts: int, seconds: float) -> None:
        # What was to be expected counts where less came: silence, too, makes old counts fade.
        expected = max(heralds, self.rate_hz * seconds)
        factor = math.exp(-expected / self.memory)
        self.heralds = self.heralds * factor + heralds
        self.attempts = self.attempts * factor + attempts
        self.seconds = self.seconds * factor + seconds

    @property
    def rate_hz(self) -> float:
        return self.heralds / self.seconds if self.seconds else 0.0


class RateTally:
    """Heralds of one link end."""

    def __init__(self) -> None:
        self._slow = _Counts(_SLOW_HERALDS)
        self._quick = _Counts(_QUICK_HERALDS)
        # Pairs that would have come since the last one did, at the rate before.
        self.silence = 0.0

    def add(self, heralds: int, attempts: int, seconds: float) -> None:
        """So many heralds after so many attempts in so long, added up over memories."""
        if seconds <= 0 and heralds <= 0:
            return
        self.silence = 0.0 if heralds else self.silence + self._slow.rate_hz * seconds
        for counts in (self._slow, self._quick):
            counts.add(heralds, attempts, seconds)
        if self._slow.heralds >= MIN_HERALDS and self._quick.seconds > 0:
            slow, quick = self._slow.rate_hz, self._quick.rate_hz
            expected = max(1.0, slow * self._quick.seconds)
            # Of counts (Poisson) in units of what was to be expected.
            sigma = slow * math.sqrt(1 / expected + 1 / self._slow.heralds)
            if abs(quick - slow) > _RATE_SIGMA * sigma:
                for name in ("heralds", "attempts", "seconds"):
                    setattr(self._slow, name, getattr(self._quick, name))

    @property
    def heralds(self) -> float:
        """That the rate rests on."""
        return self._slow.heralds

    @property
    def rate_hz(self) -> float:
        """Pairs a second of one memory at each end."""
        return self._slow.rate_hz

    @property
    def success_ratio(self) -> float:
        """Share of attempts that gave a pair."""
        return self._slow.heralds / self._slow.attempts if self._slow.attempts else 0.0


@dataclass(slots=True)
class Counter:
    """Totals that begin anew when an agent does: what is new in each report."""

    last: tuple[float, ...] = ()

    def news(self, *totals: float) -> tuple[float, ...]:
        """What came since the last report."""
        before, self.last = self.last, totals
        if not before or any(now < then for now, then in zip(totals, before, strict=True)):
            return totals
        return tuple(now - then for now, then in zip(totals, before, strict=True))


def tests_of(counter: Counter, tests: pairs_pb2.PairTests) -> tuple[list[int], list[int]]:
    """New tests along X, Y and Z, and how many of each agreed."""
    news = counter.news(
        tests.x_total,
        tests.y_total,
        tests.z_total,
        tests.x_equal_total,
        tests.y_equal_total,
        tests.z_equal_total,
    )
    numbers = [int(each) for each in news]
    return numbers[:3], [min(equal, total) for equal, total in zip(numbers[3:], numbers[:3], strict=True)]
