"""What one end of a link measures, as windows of several lengths, and how a batch gets into them."""

import math
from typing import NamedTuple

import numpy as np

from keyweave.common.names import NodeName
from keyweave.controller.estimate.agreement import SIGNIFICANT_Z
from keyweave.controller.estimate.windows import (
    BITS_OF_UNCOUNTED_ROW,
    BatchSums,
    Column,
    ErrorCounts,
    Moments,
    Values,
    Weights,
    summed,
    wilson_lower,
)
from keyweave.controller.samples import DetectorColumns, EndSamples
from keyweave.controller.topology import Status

# For a single row, of which there are a million a day: stricter, as the tail of few counts is long.
_ROW_Z = 5.5
# Below these the noise has not shown itself; a change of the mean is not judged.
LEAST_BITS = 100.0
_LEAST_SAMPLES = 5.0
# Changes smaller than these are not worth forgetting the past for.
_QBER_CHANGE = 0.002
_RATE_CHANGE = 0.05

_NO_BITS = ErrorCounts()
_NO_SAMPLES = Moments()


class Signals(NamedTuple):
    """One end's measured quantities at one time constant. Detector rates are sums over the detectors.

    Only what somebody asks for is kept up (`Kept`).
    """

    qber: ErrorCounts = _NO_BITS
    skr_bps: Moments = _NO_SAMPLES
    loss_db: Moments = _NO_SAMPLES
    count_rate_hz: Moments = _NO_SAMPLES
    dark_count_rate_hz: Moments = _NO_SAMPLES
    # The mean of the detectors.
    temperature_celsius: Moments = _NO_SAMPLES
    visibility_ratio: Moments = _NO_SAMPLES


NOTHING_MEASURED = Signals()

_SKR, _LOSS, _COUNTS, _DARK, _TEMPERATURE, _VISIBILITY = range(6)


class Kept:
    """Which quantities each window has, beside the QBER; numbers count from the one after it in `Signals`."""

    ALL = (_SKR, _LOSS, _COUNTS, _DARK, _TEMPERATURE, _VISIBILITY)
    SLOW = (_SKR, _LOSS)
    BASELINE = (_LOSS, _COUNTS, _DARK, _TEMPERATURE, _VISIBILITY)


class Rows:
    """A batch's columns, summed up, ready to be folded at several time constants."""

    __slots__ = ("_bits", "_places", "_qber", "interval_seconds", "sums")

    def __init__(self, samples: EndSamples, batch: Weights) -> None:
        # A link that nobody asks for keys makes none; that says nothing of what it could make.
        rate = None if samples.status is Status.PASSIVE else samples.skr_bps
        self.interval_seconds = samples.interval_seconds
        columns: list[Column | Values] = []
        # Where in `columns` each quantity is, in the order of `Signals`; None where it is not measured.
        self._places: list[int | None] = []
        detectors = _of_detectors(samples.detectors)
        for column in (rate, samples.loss_db, *detectors, samples.visibility_ratio):
            if column is None or not column.size:
                self._places.append(None)
            else:
                self._places.append(len(columns))
                columns.append(column)
        self._qber = samples.qber_ratio
        self._bits = _sifted_bits(samples)
        self.sums: BatchSums = summed(batch, columns, self._qber, self._bits)

    def fold(
        self, signals: Signals, constant: int, fade: float, quantities: tuple[int, ...] = Kept.ALL
    ) -> Signals:
        """`signals` with these rows in them, at one of the time constants."""
        values = list(signals)
        if self._qber.size:
            values[0] = signals.qber.fold(fade, self.sums.counts(constant))
        for quantity in quantities:
            place = self._places[quantity]
            if place is not None:
                before = signals[quantity + 1]
                assert isinstance(before, Moments)  # the QBER alone is counted
                values[quantity + 1] = before.fold(fade, self.sums.moments(place, constant))
        return Signals._make(values)

    @property
    def loss_db(self) -> tuple[int, float] | None:
        """How many rows have a loss, and its sum; None where it is not measured."""
        return self._total(_LOSS)

    @property
    def dark_counts(self) -> tuple[int, float] | None:
        """How many rows have a dark count rate, and its sum (Hz); None where it is not measured."""
        return self._total(_DARK)

    def _total(self, quantity: int) -> tuple[int, float] | None:
        place = self._places[quantity]
        return None if place is None else self.sums.total(place)

    def alarm(self, node: NodeName, abort_qber_ratio: float) -> str:
        """The words for a row that alone proves QBER at or above the threshold; empty without one."""
        if not self._qber.size or not np.fmax.reduce(self._qber) >= abort_qber_ratio:
            return ""
        for row in np.flatnonzero(self._qber >= abort_qber_ratio):
            ratio, bits = float(self._qber[row]), float(self._bits[row])
            bits = BITS_OF_UNCOUNTED_ROW if math.isnan(bits) else bits
            if wilson_lower(ratio, bits, _ROW_Z) >= abort_qber_ratio:
                return (
                    f"QBER {ratio:.1%} over {bits:.0f} sifted bits at '{node}' is at or above the abort"
                    f" threshold {abort_qber_ratio:.1%}"
                )
        return ""


def _sifted_bits(samples: EndSamples) -> Column | Values:
    if samples.sifted_rate_bps.size:
        return samples.sifted_rate_bps * np.float32(samples.interval_seconds)
    return np.full(samples.rows, BITS_OF_UNCOUNTED_ROW)


_NO_DETECTORS = (None, None, None)


def _of_detectors(
    detectors: tuple[DetectorColumns, ...],
) -> tuple[Values | None, Values | None, Values | None]:
    """Counts, dark counts and mean temperature, row by row over all detectors; None unless all measure it."""
    if not detectors:
        return _NO_DETECTORS
    temperature = _sum([detector.temperature_celsius for detector in detectors])
    return (
        _sum([detector.count_rate_hz for detector in detectors]),
        _sum([detector.dark_count_rate_hz for detector in detectors]),
        None if temperature is None else temperature / len(detectors),
    )


def _sum(columns: list[Column]) -> Values | None:
    if not all(column.size for column in columns):
        return None
    total = columns[0].astype(np.float64)
    for column in columns[1:]:
        total += column
    return total


def qber_changed(fast: ErrorCounts, slow: ErrorCounts) -> bool:
    """Whether the fast window's QBER differs from the slow one's by more than noise."""
    if fast.effective_bits < LEAST_BITS or slow.effective_bits < LEAST_BITS:
        return False
    noise = math.sqrt(fast.ratio_variance + slow.ratio_variance)
    return abs(fast.ratio - slow.ratio) > SIGNIFICANT_Z * noise + _QBER_CHANGE


def mean_changed(fast: Moments, slow: Moments) -> bool:
    """Whether the fast window's mean differs from the slow one's by more than noise."""
    if fast.effective_samples < _LEAST_SAMPLES or slow.effective_samples < _LEAST_SAMPLES:
        return False
    noise = math.sqrt(fast.mean_variance + slow.mean_variance)
    return abs(fast.mean - slow.mean) > SIGNIFICANT_Z * noise + _RATE_CHANGE * abs(slow.mean)
