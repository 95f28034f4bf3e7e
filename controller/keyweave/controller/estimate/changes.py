"""Sequential tests that tell as soon as a measured quantity is no longer what it was, and since when.

Page's cumulative sum of log-likelihood ratios (Biometrika 41, 100 (1954)): of all tests with as few false
alarms it is the one that takes the shortest time to tell a change of known size, in the worst case
(Moustakides, Ann. Stat. 14, 1379 (1986)), and a larger change is told sooner still. A threshold on a window
has to choose its length: short ones miss small changes, long ones are late for large ones. What the sum
counted since it last left zero also says how large the change is, and that moment when it began.

All sums stop at the same evidence: with `EVIDENCE` a test errs less often than once in e^20 = 5e8 looks
(Lorden, Ann. Math. Stat. 42, 1897 (1971)), four looks a second being 1e7 a month. What that assumes of the
noise, bits that err independently, is measured: where they scatter more, evidence counts less by as much.
"""

import math
from typing import NamedTuple

from keyweave.controller.estimate.signals import LEAST_BITS, Rows, Signals
from keyweave.controller.estimate.windows import ErrorCounts, Moments

EVIDENCE = 20.0
# Evidence that may pile up: a change that is over must be seen to be so as fast as it was seen to begin.
_MOST_EVIDENCE = 2 * EVIDENCE
# The least changes that are looked for. QBER: an eavesdropper on 8 % of the pulses adds 2 percentage points
# (intercept-resend errs in a quarter: Bennett and Brassard 1984). Loss: a bend or a bad connector costs half
# a decibel and more (ITU-T G.650.1, macrobending; G.671, connectors). Dark counts: half as many again is five
# kelvin in InGaAs diodes (they double every 10 K or so); a blinded detector has none.
QBER_RISE = 0.02
LOSS_RISE_DB = 0.5
_DARK_RISE = 1.5
_DARK_FALL = 0.3
# What is not known better than this is not watched.
LEAST_BASELINE_BITS = 1000.0
_LEAST_BASELINE_SAMPLES = 10.0
# The baseline is an estimate itself. It is taken to err by so many standard errors, against a change.
_BASELINE_Z = 3.0
# A single row of loss tells no more than one whose noise is a quarter of the change: it may be an outlier.
_LEAST_LOSS_NOISE_DB = LOSS_RISE_DB / 2


class Page(NamedTuple):
    """One cumulative sum, and what it counted since it last left zero."""

    evidence: float = 0.0
    # When the change most likely began, by the agent's clock; None while there is no sign of one.
    since: float | None = None
    # Errors of so many bits, decibels of so many rows, counts of so many rows.
    total: float = 0.0
    size: float = 0.0
    # Whether the evidence has been enough, and has not vanished since.
    told: bool = False

    def with_gain(self, gain: float, total: float, size: float, start: float) -> "Page":
        """With what a batch that began at `start` says."""
        evidence = self.evidence + gain
        if evidence <= 0.0:
            return CALM
        since = start if self.since is None else self.since
        told = self.told or evidence >= EVIDENCE
        return Page(min(evidence, _MOST_EVIDENCE), since, self.total + total, self.size + size, told)

    @property
    def mean(self) -> float:
        """The mean since the change began; 0 without any."""
        return self.total / self.size if self.size else 0.0


CALM = Page()


class Changes(NamedTuple):
    """The tests of one end of a link."""

    qber: Page = CALM
    loss: Page = CALM
    dark_rise: Page = CALM
    dark_fall: Page = CALM
    # By how much more than independent ones the errors scatter, at least 1, and over how many batches.
    scatter: Moments = Moments()

    @property
    def tests(self) -> tuple[Page, ...]:
        """All of them."""
        return self.qber, self.loss, self.dark_rise, self.dark_fall

    @property
    def any_told(self) -> bool:
        """Whether something has changed."""
        return self.qber.told or self.loss.told or self.dark_rise.told or self.dark_fall.told

    def tells_more_than(self, before: "Changes") -> bool:
        """Whether something has changed of which `before` did not tell."""
        return self.any_told and any(
            now.told and not then.told for now, then in zip(self.tests, before.tests, strict=True)
        )

    @property
    def told_since(self) -> float | None:
        """When the first of what has changed did so; None where nothing has."""
        return min([page.since for page in self.tests if page.told and page.since is not None], default=None)


NO_CHANGES = Changes()


def weighed(changes: Changes, rows: Rows, baseline: Signals, start: float, *, learning: bool) -> Changes:
    """The tests with a batch in them."""
    scatter, overdispersion = changes.scatter, _overdispersion(changes.scatter)
    qber = changes.qber
    if rows.sums.bits and baseline.qber.effective_bits >= LEAST_BASELINE_BITS:
        if learning:
            scatter = _scatter_with(scatter, rows, baseline.qber)
        qber = _qber(qber, rows, baseline.qber, start, overdispersion)
    loss = changes.loss
    if (found := rows.loss_db) and baseline.loss_db.effective_samples >= _LEAST_BASELINE_SAMPLES:
        loss = _loss(loss, *found, baseline.loss_db, start)
    rise, fall = changes.dark_rise, changes.dark_fall
    if (
        found := rows.dark_counts
    ) and baseline.dark_count_rate_hz.effective_samples >= _LEAST_BASELINE_SAMPLES:
        rise, fall = _dark(rise, fall, *found, baseline.dark_count_rate_hz, rows.interval_seconds, start)
    return Changes(qber, loss, rise, fall, scatter)


def _qber(page: Page, rows: Rows, baseline: ErrorCounts, start: float, overdispersion: float) -> Page:
    errors, bits = rows.sums.errors, rows.sums.bits
    before = baseline.ratio + _BASELINE_Z * math.sqrt(baseline.ratio_variance)
    after = before + QBER_RISE
    if page is CALM and errors <= before * bits:
        return CALM
    gain = errors * math.log(after / before) + (bits - errors) * math.log((1 - after) / (1 - before))
    return page.with_gain(gain / overdispersion, errors, bits, start)


# Batches over which the scatter of errors is learnt, and how many are needed.
_SCATTER_BATCHES = 600.0
_LEAST_SCATTER_BATCHES = 20.0


def _scatter_with(scatter: Moments, rows: Rows, baseline: ErrorCounts) -> Moments:
    """With how far a batch's errors are from those expected, squared, in units of what chance allows."""
    if rows.sums.bits < LEAST_BITS:
        return scatter
    ratio, bits = max(baseline.ratio, 1.0 / baseline.effective_bits), rows.sums.bits
    variance = bits * ratio * (1 - ratio) * (1 + bits / baseline.effective_bits)
    square = (rows.sums.errors - bits * baseline.ratio) ** 2 / variance
    return scatter.fold(1 - 1 / _SCATTER_BATCHES, Moments(1.0, 1.0, square))


def _overdispersion(scatter: Moments) -> float:
    if scatter.effective_samples < _LEAST_SCATTER_BATCHES:
        return 1.0
    return max(1.0, scatter.mean)


def _loss(page: Page, rows: int, total: float, baseline: Moments, start: float) -> Page:
    before = baseline.mean + _BASELINE_Z * math.sqrt(baseline.mean_variance)
    variance = max(baseline.variance, _LEAST_LOSS_NOISE_DB**2)
    # Normal noise: the log-likelihood ratio of a mean that is higher by d is d/v (sum - n (mean + d/2)).
    gain = LOSS_RISE_DB / variance * (total - rows * (before + LOSS_RISE_DB / 2))
    if page is CALM and gain <= 0.0:
        return CALM
    return page.with_gain(gain, total, rows, start)


def _dark(
    rise: Page, fall: Page, rows: int, total_hz: float, baseline: Moments, interval: float, start: float
) -> tuple[Page, Page]:
    """Both ways. Poisson noise: the ratio for r times as many is counts ln r - expected (r - 1)."""
    counts = total_hz * interval
    error = _BASELINE_Z * math.sqrt(baseline.mean_variance)
    # Where counts scatter more than chance has them, each says less.
    mean = max(baseline.mean, 1.0 / interval / baseline.effective_samples)
    fano = max(1.0, baseline.variance * interval / mean)
    most, least = (mean + error) * interval * rows, max(0.0, mean - error) * interval * rows
    gain = (counts * math.log(_DARK_RISE) - most * (_DARK_RISE - 1)) / fano
    if rise is not CALM or gain > 0.0:
        rise = rise.with_gain(gain, total_hz, rows, start)
    gain = (counts * math.log(_DARK_FALL) + least * (1 - _DARK_FALL)) / fano
    if fall is not CALM or gain > 0.0:
        fall = fall.with_gain(gain, total_hz, rows, start)
    return rise, fall
