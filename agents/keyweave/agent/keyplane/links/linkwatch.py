"""Local protection of one link end: whether its device's own reports allow to go on using it.

The agent decides this itself, from its own measurements, with the controller there or not. It is coarse
on purpose: loss of signal, device fault, and an error rate that is significantly at or above the abort
threshold. Diagnosis is the controller's business.
"""

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from keyweave.v1 import agent_pb2, types_pb2

# The error rate is judged over the last second, and over more for links too slow to say much in one.
WINDOW_SECONDS = 1.0
LONG_WINDOW_SECONDS = 10.0
# How sure an abort is, in standard deviations: a false one destroys key and quarantines streams.
ABORT_SIGMAS = 3.0
HISTORY_SECONDS = 30.0
# An abort is over when the error rate has been below the threshold for this long.
CLEAR_SECONDS = 3.0
# A row whose device does not count sifted bits is taken for so many, as by the controller: few, so that one
# such row aborts only where its QBER is far above the threshold.
BITS_OF_UNCOUNTED_ROW = 100.0
# Blocks older than the estimated onset by less than this are not trusted either.
ONSET_MARGIN_SECONDS = 2.0


class LinkHealth(StrEnum):
    """Whether this end may use the link."""

    UNKNOWN = "unknown"
    OK = "ok"
    NO_SIGNAL = "no-signal"
    FAULT = "fault"
    ABORTED = "aborted"
    # The controller's verdict, by policy; this end's own measurements never give it.
    SUSPECT = "suspect"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Health, and for an abort since when the error rate has been up (seconds since the Unix epoch)."""

    health: LinkHealth
    reason: str
    since: float


@dataclass(frozen=True, slots=True)
class _Row:
    time: float
    qber_ratio: float
    sifted_bits: float


class LinkWatch:
    """The watch over one link end. Feed it reports in order; it answers with the verdict."""

    def __init__(self) -> None:
        self.verdict = Verdict(LinkHealth.UNKNOWN, "no report yet", 0.0)
        self._rows: deque[_Row] = deque()
        self._clear_since: float | None = None

    def observe(self, samples: agent_pb2.LinkSamples, device_fault: str, abort_qber_ratio: float) -> Verdict:
        """Take in a report; `abort_qber_ratio` as policy or guard has it now."""
        end = self._append(samples)
        if device_fault:
            self.verdict = Verdict(LinkHealth.FAULT, device_fault, end)
        elif samples.status == types_pb2.LINK_STATUS_OFF:
            self.verdict = Verdict(LinkHealth.NO_SIGNAL, "the device reports no signal", end)
        else:
            self._judge_error_rate(end, abort_qber_ratio)
        if self.verdict.health is not LinkHealth.ABORTED:
            self._clear_since = None
        return self.verdict

    def _append(self, samples: agent_pb2.LinkSamples) -> float:
        interval = samples.interval_micros / 1e6
        start = samples.start_unix_nanos / 1e9
        qber = np.frombuffer(samples.qber_ratio, dtype="<f4")
        sifted = np.frombuffer(samples.sifted_rate_bps, dtype="<f4")
        end = start
        for index, value in enumerate(qber):
            end = start + index * interval
            rate = float(sifted[index]) if index < len(sifted) else math.nan
            bits = BITS_OF_UNCOUNTED_ROW if math.isnan(rate) else rate * interval
            if math.isfinite(value) and math.isfinite(bits) and bits > 0:
                self._rows.append(_Row(end, float(value), bits))
        while self._rows and self._rows[0].time < end - HISTORY_SECONDS:
            self._rows.popleft()
        return end

    def _judge_error_rate(self, now: float, threshold: float) -> None:
        mean, bits = self._mean_since(now - WINDOW_SECONDS)
        aborted = self.verdict.health is LinkHealth.ABORTED
        if not bits:
            if not aborted:
                self.verdict = Verdict(LinkHealth.OK, "no QBER was measured in the last second", now)
            return
        if aborted:
            self._judge_clear(now, mean, threshold)
            return
        for seconds in (WINDOW_SECONDS, LONG_WINDOW_SECONDS):
            over, counted = self._mean_since(now - seconds)
            if lower_bound(over, counted) >= threshold:
                reason = f"QBER {over:.4f} over {counted:.0f} bits: at or above the threshold {threshold:g}"
                since = self._onset(threshold) - ONSET_MARGIN_SECONDS
                self.verdict = Verdict(LinkHealth.ABORTED, reason, since)
                return
        self.verdict = Verdict(LinkHealth.OK, f"QBER {mean:.4f}", now)

    def _judge_clear(self, now: float, mean: float, threshold: float) -> None:
        if mean >= threshold:
            self._clear_since = None
            return
        self._clear_since = self._clear_since if self._clear_since is not None else now
        if now - self._clear_since >= CLEAR_SECONDS:
            # What was measured under attack must not count against the link a second time.
            while self._rows and self._rows[0].time < self._clear_since:
                self._rows.popleft()
            self.verdict = Verdict(LinkHealth.OK, f"QBER is back at {mean:.4f}", now)

    def _mean_since(self, moment: float) -> tuple[float, float]:
        """QBER over the sifted bits after a moment, and how many bits that is; (0, 0) without any."""
        bits = errors = 0.0
        for row in reversed(self._rows):
            if row.time <= moment:
                break
            bits += row.sifted_bits
            errors += row.qber_ratio * row.sifted_bits
        return (errors / bits if bits else 0.0), bits

    def _onset(self, threshold: float) -> float:
        """When the error rate rose: the most likely change-point (Page's CUSUM, Biometrika 41, 100 (1954)).

        The reference value lies halfway between the calm level and the threshold.
        """
        calm = [row.qber_ratio for row in self._rows if row.qber_ratio < threshold]
        level = (sum(calm) / len(calm) + threshold) / 2 if calm else 0.0
        onset = self._rows[-1].time
        excess = most = 0.0
        for row in reversed(self._rows):
            excess += (row.qber_ratio - level) * row.sifted_bits
            if excess > most:
                most, onset = excess, row.time
        return onset


def lower_bound(ratio: float, trials: float, sigmas: float = ABORT_SIGMAS) -> float:
    """The least success probability that `ratio` observed in `trials` does not rule out.

    Wilson's score interval (J. Am. Stat. Assoc. 22, 209 (1927)), which holds for a handful of trials too.
    """
    if trials <= 0:
        return 0.0
    square = sigmas * sigmas / trials
    spread = sigmas * math.sqrt(ratio * (1 - ratio) / trials + square / trials / 4)
    return max(0.0, (ratio + square / 2 - spread) / (1 + square))
