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

WINDOW_SECONDS = 1.0
HISTORY_SECONDS = 30.0
# An abort is over when the error rate has been below the threshold for this long.
CLEAR_SECONDS = 3.0
# Blocks older than the estimated onset by less than this are not trusted either.
ONSET_MARGIN_SECONDS = 2.0


class LinkHealth(StrEnum):
    """Whether this end may use the link."""

    UNKNOWN = "unknown"
    OK = "ok"
    NO_SIGNAL = "no-signal"
    FAULT = "fault"
    ABORTED = "aborted"


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
            bits = float(sifted[index]) * interval if index < len(sifted) else 0.0
            if math.isfinite(value) and math.isfinite(bits) and bits > 0:
                self._rows.append(_Row(end, float(value), bits))
        while self._rows and self._rows[0].time < end - HISTORY_SECONDS:
            self._rows.popleft()
        return end

    def _judge_error_rate(self, now: float, threshold: float) -> None:
        recent = [row for row in self._rows if row.time > now - WINDOW_SECONDS]
        bits = sum(row.sifted_bits for row in recent)
        if not bits:
            if self.verdict.health is not LinkHealth.ABORTED:
                self.verdict = Verdict(LinkHealth.OK, "no sifted bits in the last second", now)
            return
        mean = sum(row.qber_ratio * row.sifted_bits for row in recent) / bits
        # One standard error of a binomial proportion: a slow link's scatter is not an attack.
        error = math.sqrt(mean * (1 - mean) / bits)
        if mean - error >= threshold:
            self._clear_since = None
            if self.verdict.health is not LinkHealth.ABORTED:
                reason = f"QBER {mean:.4f} ± {error:.4f} is at or above the abort threshold {threshold:g}"
                self.verdict = Verdict(
                    LinkHealth.ABORTED, reason, self._onset(threshold) - ONSET_MARGIN_SECONDS
                )
        elif self.verdict.health is LinkHealth.ABORTED and mean < threshold:
            self._clear_since = self._clear_since if self._clear_since is not None else now
            if now - self._clear_since >= CLEAR_SECONDS:
                self.verdict = Verdict(LinkHealth.OK, f"QBER is back at {mean:.4f}", now)
        elif self.verdict.health is not LinkHealth.ABORTED:
            self.verdict = Verdict(LinkHealth.OK, f"QBER {mean:.4f}", now)

    def _onset(self, threshold: float) -> float:
        """When the run of raised samples began: halfway between the calm level and the threshold."""
        calm = [row.qber_ratio for row in self._rows if row.qber_ratio < threshold]
        level = (sum(calm) / len(calm) + threshold) / 2 if calm else 0.0
        onset = self._rows[-1].time
        for row in reversed(self._rows):
            if row.qber_ratio < level:
                break
            onset = row.time
        return onset
