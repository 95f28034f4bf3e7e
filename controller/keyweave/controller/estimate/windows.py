"""Statistics that forget: exponentially weighted moments and error counts, with their uncertainty.

Weights follow time, not the number of samples: what was measured t seconds before the newest row counts
exp(-t / time constant). The weights' sum and sum of squares are kept, so the effective sample size
(Kish: (sum w)^2 / sum w^2) is known and nothing is biased at the start. Folding a batch in one go or
row by row gives the same; merging two sets of moments is the pairwise update of Chan, Golub and LeVeque
(1983) with weights.

All columns of a batch, at all time constants, are summed by one matrix product (`summed`): numpy's cost per
call, not per row, is what counts here. The values are named tuples because a frozen dataclass takes twice
as long to make, and some ten are made for every message.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Column = NDArray[np.float32]

# One-sided 95 % quantile of the normal distribution.
Z_95 = 1.645
# A row whose device gives no sifted rate counts as this many sifted bits: few, so that it takes several
# such rows, not one, to show anything.
BITS_OF_UNCOUNTED_ROW = 100.0
_NO_SCATTER_KNOWN = 1.05


class Moments(NamedTuple):
    """Weighted mean and scatter of one quantity, in its own unit."""

    weight: float = 0.0
    weight_squares: float = 0.0
    mean: float = 0.0
    # Weighted sum of squared deviations from the mean.
    deviation_squares: float = 0.0

    @property
    def effective_samples(self) -> float:
        """How many equally weighted independent samples would be as informative; 0 without any."""
        return self.weight * self.weight / self.weight_squares if self.weight_squares else 0.0

    @property
    def variance(self) -> float:
        """Unbiased variance of a single sample; 0 while fewer than two say anything of it."""
        freedom = self.weight - self.weight_squares / self.weight if self.weight else 0.0
        return self.deviation_squares / freedom if freedom > 1e-9 * self.weight else 0.0

    @property
    def mean_variance(self) -> float:
        """Variance of the mean."""
        samples = self.effective_samples
        return self.variance / samples if samples else 0.0

    @property
    def lower_bound(self) -> float:
        """One-sided 95 % lower confidence bound of the mean, at least 0; 0 from a single sample."""
        samples = self.effective_samples
        if samples < _NO_SCATTER_KNOWN:
            return 0.0
        return max(0.0, self.mean - student_95(samples - 1.0) * math.sqrt(self.mean_variance))

    def fold(self, fade: float, newer: "Moments") -> "Moments":
        """These, their weights multiplied by `fade`, and `newer` together."""
        kept = self.weight * fade
        if kept <= 0.0:
            return newer
        weight = kept + newer.weight
        share = newer.weight / weight
        shift = newer.mean - self.mean
        return Moments(
            weight,
            self.weight_squares * fade * fade + newer.weight_squares,
            self.mean + shift * share,
            self.deviation_squares * fade + newer.deviation_squares + shift * shift * kept * share,
        )


class ErrorCounts(NamedTuple):
    """Weighted counts of sifted bits and of the erroneous ones among them: a QBER that knows its noise."""

    errors: float = 0.0
    bits: float = 0.0
    # Sum of squared weights over the bits.
    bit_squares: float = 0.0
    # Weighted rows that they came in.
    rows: float = 0.0

    @property
    def ratio(self) -> float:
        """QBER, 0..0.5; 0 without any bit."""
        return self.errors / self.bits if self.bits else 0.0

    @property
    def bits_a_row(self) -> float:
        """Sifted bits in a row, on average; 0 without any."""
        return self.bits / self.rows if self.rows else 0.0

    @property
    def effective_bits(self) -> float:
        """How many equally weighted bits would be as informative."""
        return self.bits * self.bits / self.bit_squares if self.bit_squares else 0.0

    @property
    def ratio_variance(self) -> float:
        """Binomial variance of the ratio; at least one error is assumed, so it is never 0."""
        bits = self.effective_bits
        if not bits:
            return 0.0
        ratio = max(self.ratio, 1.0 / (bits + 2.0))
        return ratio * (1.0 - ratio) / bits

    def fold(self, fade: float, newer: "ErrorCounts") -> "ErrorCounts":
        """These, their weights multiplied by `fade`, and `newer` together."""
        return ErrorCounts(
            self.errors * fade + newer.errors,
            self.bits * fade + newer.bits,
            self.bit_squares * fade * fade + newer.bit_squares,
            self.rows * fade + newer.rows,
        )


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the rows of one batch at several time constants, the newest row having weight 1."""

    # One row per sample. For each time constant a column of weights, then for each one of their squares,
    # then a column of ones.
    table: Values
    # Sums of these columns.
    totals: tuple[float, ...]
    # By how much what was before the batch fades, for each time constant.
    fades: tuple[float, ...]


@lru_cache(maxsize=512)
def weights(rows: int, interval_seconds: float, time_constants: tuple[float, ...]) -> Weights:
    """The weights of a batch; the same few batch shapes come again and again."""
    age = np.arange(rows - 1, -1, -1, dtype=np.float64)[:, None] * interval_seconds
    plain = np.exp(-age / np.array(time_constants))
    table = np.hstack([plain, plain * plain, np.ones((rows, 1))])
    fades = tuple(math.exp(-rows * interval_seconds / seconds) for seconds in time_constants)
    return Weights(table, tuple(table.sum(axis=0).tolist()), fades)


@dataclass(frozen=True, slots=True)
class BatchSums:
    """A batch's rows, weighted and summed. Time constants and quantities are counted from 0."""

    _constants: int
    # Of each quantity: a value near all others, the weights of the rows that have one, and the weighted
    # sums of distances from that value and of their squares.
    _origins: list[float]
    _totals: Sequence[Sequence[float]]
    _distances: list[list[float]]
    _squares: list[list[float]]
    _errors: list[float]
    _bits: list[float]
    _rows: Sequence[float]

    def moments(self, quantity: int, constant: int) -> Moments:
        """Of one quantity at one time constant."""
        totals = self._totals[quantity]
        weight = totals[constant]
        if weight <= 0.0:
            return Moments()
        distance = self._distances[quantity][constant]
        shift = distance / weight
        return Moments(
            weight,
            totals[self._constants + constant],
            self._origins[quantity] + shift,
            max(0.0, self._squares[quantity][constant] - distance * shift),
        )

    def total(self, quantity: int) -> tuple[int, float]:
        """Of one quantity in the whole batch: how many rows have a value, and their sum."""
        rows = self._totals[quantity][-1]
        return round(rows), self._distances[quantity][-1] + self._origins[quantity] * rows

    def counts(self, constant: int) -> ErrorCounts:
        """Errors and bits at one time constant."""
        squares = self._bits[self._constants + constant]
        return ErrorCounts(self._errors[constant], self._bits[constant], squares, self._rows[constant])

    @property
    def errors(self) -> float:
        """Erroneous bits in the whole batch."""
        return self._errors[-1]

    @property
    def bits(self) -> float:
        """Sifted bits in the whole batch."""
        return self._bits[-1]


def summed(
    batch: Weights, quantities: Sequence[Column | Values], qber: Column | Values, bits: Column | Values
) -> BatchSums:
    """Sum a batch up. NaN is a missing value: such rows only let time pass.

    `qber` may be empty; `bits` are the sifted bits of each row, NaN where they are not counted.
    """
    count = len(quantities)
    # Distances from the newest row, whose weight is 1: then squares lose nothing to cancellation.
    table = np.zeros((2 * count + 2, len(batch.table)))
    for row, column in enumerate(quantities):
        table[row] = column
    distances, squares = table[:count], table[count:-2]
    origins = distances[:, -1:].copy()
    distances -= origins
    np.multiply(distances, distances, out=squares)
    if qber.size:
        table[-1] = bits
        np.multiply(qber, table[-1], out=table[-2])
    sums = (table @ batch.table).tolist()
    totals: Sequence[Sequence[float]] = [batch.totals] * count
    if any(math.isnan(row[0]) for row in sums):
        known, origins = _fill_missing(table, quantities, qber, bits)
        sums, totals = (table @ batch.table).tolist(), (known @ batch.table).tolist()
    return BatchSums(
        len(batch.fades), origins[:, 0].tolist(), totals, sums[:count], sums[count:-2], sums[-2], sums[-1],
        batch.totals,
    )  # fmt: skip


def _fill_missing(
    table: Values, quantities: Sequence[Column | Values], qber: Column | Values, bits: Column | Values
) -> tuple[Values, Values]:
    """Put zeros where a value is missing; which values are there (0 or 1), and the origins chosen anew."""
    count = len(quantities)
    values = np.array([*quantities], dtype=np.float64).reshape(count, table.shape[1])
    missing = np.isnan(values)
    # Of each quantity the last value that is there; 0 where there is none.
    last = table.shape[1] - 1 - np.argmin(missing[:, ::-1], axis=1)
    origins = np.nan_to_num(values[np.arange(count), last])[:, None]
    table[:count] = np.where(missing, 0.0, values - origins)
    table[count:-2] = table[:count] ** 2
    if qber.size:
        counted = np.where(np.isnan(bits), BITS_OF_UNCOUNTED_ROW, bits)
        table[-1] = np.where(np.isnan(qber), 0.0, counted)
        table[-2] = np.nan_to_num(qber) * table[-1]
    return (~missing).astype(np.float64), origins


def wilson_lower(ratio: float, bits: float, z: float) -> float:
    """Lower end of Wilson's score interval (1927) of a ratio seen over `bits` bits; 0 without any.

    Unlike the plain normal interval it holds for the few counts that a slow link has.
    """
    centre, spread = _wilson(ratio, bits, z)
    return max(0.0, centre - spread)


def wilson_upper(ratio: float, bits: float, z: float) -> float:
    """Upper end of the same interval; 1 without any bits."""
    centre, spread = _wilson(ratio, bits, z)
    return min(1.0, centre + spread)


def _wilson(ratio: float, bits: float, z: float) -> tuple[float, float]:
    if bits <= 0.0:
        return 0.5, 0.5
    z_squares = z * z / bits
    spread = z * math.sqrt(ratio * (1.0 - ratio) / bits + z_squares / (4.0 * bits))
    return (ratio + z_squares / 2.0) / (1.0 + z_squares), spread / (1.0 + z_squares)


def student_95(freedom: float) -> float:
    """One-sided 95 % quantile of Student's t: 1.645 for many samples, more for few.

    Expansion in 1/freedom, Abramowitz and Stegun 26.7.5; within 0.3 % from 3 degrees of freedom on.
    Held at the value for one degree below that.
    """
    z, v = Z_95, max(freedom, 1.0)
    z3, z5, z7 = z**3, z**5, z**7
    return (
        z
        + (z3 + z) / (4 * v)
        + (5 * z5 + 16 * z3 + 3 * z) / (96 * v**2)
        + (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * v**3)
    )
