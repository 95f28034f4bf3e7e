"""What is remembered of one link: the measurements of both ends and what agents reported of it.

A track is an immutable value. `observe`, `report` and `agree_intake` put something in; what is made of
it is decided in `conditions` and told by `estimate`.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.samples import Column, EndSamples
from keyweave.controller.topology import Condition, Link, Status
from keyweave.controller.windows import ErrorCounts, Moments, Values, Weights, weights, wilson_lower

# A row whose device gives no sifted rate counts as this many sifted bits: few, so that it takes several
# such rows, not one, to show anything.
BITS_OF_UNCOUNTED_ROW = 100.0
# Quantile of the normal distribution beyond which a deviation is taken for real: a one-sided chance of
# 3e-5 before the skew of small counts, which Wilson's interval covers.
SIGNIFICANT_Z = 4.0
# For a single row, of which there are a million a day: stricter, as the tail of few counts is long.
_ROW_Z = 5.5
# Below these the noise has not shown itself; a change of the mean is not judged.
_LEAST_BITS = 100.0
_LEAST_SAMPLES = 5.0
# Changes smaller than these are not worth forgetting the past for.
_QBER_CHANGE = 0.002
_RATE_CHANGE = 0.05
# An end that makes key for so long has recovered, whether or not its agent says so (it may have
# restarted and forgotten). Longer than the second over which devices judge themselves.
_PROVEN_BY_SECONDS = 2.0
# A slow device is given time constants and staleness of so many of its own rows.
_SLOW_ROWS = 8
_BASELINE_ROWS = 40
_STALE_ROWS = 3


class EndEvent(StrEnum):
    """What an agent reports of its end of a link."""

    LOSS_OF_SIGNAL = "loss_of_signal"
    DEVICE_FAULT = "device_fault"
    QBER_ABORT = "qber_abort"
    RESTORED = "restored"


class Cause(StrEnum):
    """Why a link is DOWN or SUSPECT."""

    SIGNAL = "signal"
    DEVICE = "device"
    QBER = "qber"
    INTERCEPTION = "interception"


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Thresholds and times that a link is judged by."""

    abort_qber_ratio: float = 0.11
    degraded_qber_ratio: float = 0.088
    # DEGRADED ends, and the hold-down after an abort begins, once QBER is below this share of the threshold.
    leave_ratio: float = 0.9
    maintenance: bool = False
    stale_after_seconds: float = 3.0
    # Hold-down after the first fault; doubled by each further one within `flap_window_seconds`.
    hold_down_seconds: float = 5.0
    hold_down_max_seconds: float = 300.0
    flap_window_seconds: float = 300.0
    # Time constants: of what is reported, of what reacts to a change, of what a change is seen against.
    ewma_seconds: float = 10.0
    fast_seconds: float = 1.0
    baseline_seconds: float = 60.0
    # How long the ends must disagree before it is said.
    disagree_seconds: float = 5.0

    def of(self, link: Link) -> "LinkLimits":
        """These limits with the operator's own for `link`."""
        return replace(
            self,
            abort_qber_ratio=link.abort_qber_ratio,
            degraded_qber_ratio=link.degraded_qber_ratio,
            maintenance=link.maintenance,
        )


_NO_BITS = ErrorCounts()
_NO_SAMPLES = Moments()


@dataclass(frozen=True, slots=True)
class Signals:
    """One end's measured quantities at one time constant. Detector rates are sums over the detectors."""

    qber: ErrorCounts = _NO_BITS
    skr_bps: Moments = _NO_SAMPLES
    loss_db: Moments = _NO_SAMPLES
    count_rate_hz: Moments = _NO_SAMPLES
    dark_count_rate_hz: Moments = _NO_SAMPLES


_NOTHING_MEASURED = Signals()


@dataclass(frozen=True, slots=True)
class EndTrack:
    """One end of a link."""

    node: NodeName
    # When the controller last heard of this end, by its own clock.
    seen_at: float | None = None
    # When the last row ended, by the agent's clock.
    measured_until: float | None = None
    interval_seconds: float = 0.0
    status: Status | None = None
    fast: Signals = _NOTHING_MEASURED
    slow: Signals = _NOTHING_MEASURED
    baseline: Signals = _NOTHING_MEASURED
    # A single row that alone proves QBER at or above the abort threshold; until it is assessed.
    alarm: str = ""
    # The fault that the agent reported and that has not ended, and its words.
    fault: EndEvent | None = None
    fault_reason: str = ""
    # How long the end has made key since.
    producing_seconds: float = 0.0
    pool_bits: int | None = None
    intake_bits_total: int | None = None

    def stale_at(self, limits: LinkLimits) -> float:
        """When this end counts as stale unless it is heard of before."""
        if self.seen_at is None:
            return -math.inf
        return self.seen_at + max(limits.stale_after_seconds, _STALE_ROWS * self.interval_seconds)


@dataclass(frozen=True, slots=True)
class LinkTrack:
    """One link: both ends, its condition, and what decides when that changes."""

    link: LinkName
    ends: tuple[EndTrack, EndTrack]
    condition: Condition
    # When the condition began, Unix seconds.
    since: float
    reason: str
    evidence: tuple[str, ...] = ()
    # Why it is DOWN or SUSPECT, and in which words; the cause stays until the hold-down is over.
    cause: Cause | None = None
    fault_reason: str = ""
    # When the fault ended and the hold-down began.
    recovering_since: float | None = None
    # Faults within the flap window, and when the last one was over.
    flaps: int = 0
    recovered_at: float = -math.inf
    disagree_since: float | None = None
    assessed_at: float = -math.inf

    def end(self, node: NodeName) -> EndTrack:
        """The end at `node`; InvalidInputError where the link does not end there."""
        return self.ends[self._index(node)]

    def with_end(self, end: EndTrack) -> "LinkTrack":
        """The same link with one end replaced."""
        a, b = self.ends
        return replace(self, ends=(end, b) if self._index(end.node) == 0 else (a, end))

    def _index(self, node: NodeName) -> int:
        for index, end in enumerate(self.ends):
            if end.node == node:
                return index
        a, b = self.ends
        raise InvalidInputError.of(
            "link", f"'{self.link}' runs from '{a.node}' to '{b.node}'; '{node}' cannot measure it"
        )


def fresh(link: LinkName, a: NodeName, b: NodeName, now: float) -> LinkTrack:
    """A link nothing is known of yet: it keeps what runs, and takes nothing new."""
    return LinkTrack(link, (EndTrack(a), EndTrack(b)), Condition.STALE, now, "no telemetry yet")


def observe(track: LinkTrack, samples: EndSamples, limits: LinkLimits, now: float) -> LinkTrack:
    """The track with one end's samples in it.

    Rows advance time by the agent's clock; a gap before them lets the past fade, a step back does not.
    """
    end = track.end(samples.node)
    end = replace(
        end,
        seen_at=now,
        measured_until=samples.end,
        interval_seconds=samples.interval_seconds,
        status=samples.status,
    )
    if samples.status is Status.OFF:
        # Without a signal the columns hold noise.
        return track.with_end(replace(end, producing_seconds=0.0))
    gap = 0.0 if (before := track.end(samples.node).measured_until) is None else samples.start - before
    # While something is wrong the baseline stands: what the change is seen against must not follow it.
    learning = track.cause is None
    end = _measured(end, samples, limits, max(0.0, gap), learning=learning)
    return track.with_end(_proven(end, samples))


def _measured(
    end: EndTrack, samples: EndSamples, limits: LinkLimits, gap_seconds: float, *, learning: bool
) -> EndTrack:
    rows = _Rows(samples)
    interval = samples.interval_seconds
    slow_seconds = max(limits.ewma_seconds, _SLOW_ROWS * interval)
    fast = _fold(end.fast, rows, limits.fast_seconds, gap_seconds)
    slow = _fold(end.slow, rows, slow_seconds, gap_seconds)
    baseline = end.baseline
    if learning:
        baseline_seconds = max(limits.baseline_seconds, _BASELINE_ROWS * interval)
        baseline = _fold(baseline, rows, baseline_seconds, gap_seconds)
    # After a step the past says nothing. All fast windows begin together, so that what moved with the
    # QBER is seen as freshly as the QBER itself.
    if qber_changed(fast.qber, slow.qber):
        anew = _fold(_NOTHING_MEASURED, rows, limits.fast_seconds, 0.0)
        fast = anew if anew.qber.effective_bits >= _LEAST_BITS else fast
        slow = replace(slow, qber=fast.qber)
    if _mean_changed(fast.skr_bps, slow.skr_bps):
        slow = replace(slow, skr_bps=fast.skr_bps)
    alarm = rows.alarm(limits.abort_qber_ratio, end.node) or end.alarm
    return replace(end, fast=fast, slow=slow, baseline=baseline, alarm=alarm)


class _Rows:
    """A batch's columns, ready to be folded at several time constants."""

    __slots__ = ("bits", "counts", "dark_counts", "errors", "interval", "loss", "qber", "rows", "skr")

    def __init__(self, samples: EndSamples) -> None:
        self.rows = samples.rows
        self.interval = samples.interval_seconds
        self.qber = _float64(samples.qber_ratio)
        self.bits: Values | None = None
        self.errors: Values | None = None
        if self.qber is not None:
            bits = np.full(self.rows, BITS_OF_UNCOUNTED_ROW)
            if samples.sifted_rate_bps.size:
                counted = samples.sifted_rate_bps * self.interval
                bits = np.where(np.isnan(counted), bits, counted)
            self.bits = np.where(np.isnan(self.qber), 0.0, bits)
            self.errors = np.nan_to_num(self.qber) * self.bits
        # A link that nobody asks for keys makes none; that says nothing of what it could make.
        self.skr = None if samples.status is Status.PASSIVE else _float64(samples.skr_bps)
        self.loss = _float64(samples.loss_db)
        self.counts = _sum([detector.count_rate_hz for detector in samples.detectors])
        self.dark_counts = _sum([detector.dark_count_rate_hz for detector in samples.detectors])

    def alarm(self, abort_qber_ratio: float, node: NodeName) -> str:
        """The words for a row that alone proves QBER at or above the threshold; empty without one."""
        if self.qber is None or self.bits is None:
            return ""
        for row in np.flatnonzero(self.qber >= abort_qber_ratio):
            ratio, bits = float(self.qber[row]), float(self.bits[row])
            if wilson_lower(ratio, bits, _ROW_Z) >= abort_qber_ratio:
                return (
                    f"QBER {ratio:.1%} over {bits:.0f} sifted bits at '{node}' is at or above the abort"
                    f" threshold {abort_qber_ratio:.1%}"
                )
        return ""


def _fold(signals: Signals, rows: _Rows, time_constant_seconds: float, gap_seconds: float) -> Signals:
    batch = weights(rows.rows, rows.interval, time_constant_seconds)
    gap_fade = math.exp(-gap_seconds / time_constant_seconds)
    qber = signals.qber
    if rows.errors is not None and rows.bits is not None:
        qber = qber.fold(batch, rows.errors, rows.bits, gap_fade)
    return Signals(
        qber,
        _folded(signals.skr_bps, batch, rows.skr, gap_fade),
        _folded(signals.loss_db, batch, rows.loss, gap_fade),
        _folded(signals.count_rate_hz, batch, rows.counts, gap_fade),
        _folded(signals.dark_count_rate_hz, batch, rows.dark_counts, gap_fade),
    )


def _folded(moments: Moments, batch: Weights, values: Values | None, gap_fade: float) -> Moments:
    return moments if values is None else moments.fold(batch, values, gap_fade)


def _float64(column: Column) -> Values | None:
    return column.astype(np.float64) if column.size else None


def _sum(columns: list[Column]) -> Values | None:
    """Row by row over all detectors; None unless each of them measures it."""
    if not columns or not all(column.size for column in columns):
        return None
    total = columns[0].astype(np.float64)
    for column in columns[1:]:
        total += column
    return total


def qber_changed(fast: ErrorCounts, slow: ErrorCounts) -> bool:
    """Whether the fast window's QBER differs from the slow one's by more than noise."""
    if fast.effective_bits < _LEAST_BITS or slow.effective_bits < _LEAST_BITS:
        return False
    noise = math.sqrt(fast.ratio_variance + slow.ratio_variance)
    return abs(fast.ratio - slow.ratio) > SIGNIFICANT_Z * noise + _QBER_CHANGE


def _mean_changed(fast: Moments, slow: Moments) -> bool:
    if fast.effective_samples < _LEAST_SAMPLES or slow.effective_samples < _LEAST_SAMPLES:
        return False
    noise = math.sqrt(fast.mean_variance + slow.mean_variance)
    return abs(fast.mean - slow.mean) > SIGNIFICANT_Z * noise + _RATE_CHANGE * abs(slow.mean)


def _proven(end: EndTrack, samples: EndSamples) -> EndTrack:
    """Drop a reported fault once the end has made key for long enough to prove that it is over."""
    if end.fault is None:
        return end
    makes_key = (
        samples.status is Status.ACTIVE and samples.skr_bps.size > 0 and bool((samples.skr_bps > 0).all())
    )
    if not makes_key:
        return replace(end, producing_seconds=0.0)
    producing = end.producing_seconds + samples.rows * samples.interval_seconds
    if producing < _PROVEN_BY_SECONDS:
        return replace(end, producing_seconds=producing)
    return replace(end, fault=None, fault_reason="", producing_seconds=0.0)


def report(
    track: LinkTrack, kind: EndEvent, node: NodeName, reason: str, limits: LinkLimits, now: float
) -> LinkTrack:
    """The track with what the agent at `node` reported of its end."""
    del limits  # every limit is the agent's own here; kept so that all inputs have one form
    end = track.end(node)
    if kind is EndEvent.RESTORED:
        return track.with_end(replace(end, seen_at=now, fault=None, fault_reason="", producing_seconds=0.0))
    return track.with_end(replace(end, seen_at=now, fault=kind, fault_reason=reason, producing_seconds=0.0))


def agree_intake(
    track: LinkTrack, node: NodeName, intake_bits_total: int, pool_bits: int, now: float
) -> LinkTrack:
    """The track with one end's pool level: the bits it can use, and those it has taken in."""
    end = track.end(node)
    del now  # a pool level says nothing of the quantum channel, so it does not keep the link from STALE
    return track.with_end(replace(end, pool_bits=pool_bits, intake_bits_total=intake_bits_total))


def forget_measurements(track: LinkTrack, *, baseline: bool) -> LinkTrack:
    """The track as before the first sample, for a new beginning; `baseline` forgets that as well."""
    a, b = (
        replace(
            end,
            fast=_NOTHING_MEASURED,
            slow=_NOTHING_MEASURED,
            baseline=_NOTHING_MEASURED if baseline else end.baseline,
            alarm="",
        )
        for end in track.ends
    )
    return replace(track, ends=(a, b))
