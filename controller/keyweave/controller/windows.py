"""Statistics that forget: exponentially weighted moments and error counts, with their uncertainty.

Weights follow time, not the number of samples: what was measured t seconds before the newest row counts
exp(-t / time constant). The weights' sum and sum of squares are kept, so the effective sample size
(Kish: (sum w)^2 / sum w^2) is known and nothing is biased at the start. Folding a batch in one go or
row by row gives the same; merging two sets of moments is the pairwise update of Chan, Golub and LeVeque
(1983) with weights.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# One-sided 95 % quantile of the normal distribution.
Z_95 = 1.645
_NO_SCATTER_KNOWN = 1.05


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the rows of one batch, the newest having weight 1; and by how much what was before fades."""

    values: Values
    squares: Values
    total: float
    total_squares: float
    fade: float


@lru_cache(maxsize=512)
def weights(rows: int, interval_seconds: float, time_constant_seconds: float) -> Weights:
    """The weights of a batch; the same few batch shapes come again and again."""
    step = interval_seconds / time_constant_seconds
    values = np.exp(-step * np.arange(rows - 1, -1, -1, dtype=np.float64))
    squares = values * values
    return Weights(values, squares, float(values.sum()), float(squares.sum()), math.exp(-step * rows))


@dataclass(frozen=True, slots=True)
class Moments:
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

    def faded(self, factor: float) -> "Moments":
        """The same, with its weights multiplied by `factor`."""
        return Moments(
            self.weight * factor,
            self.weight_squares * factor * factor,
            self.mean,
            self.deviation_squares * factor,
        )

    def merged(self, other: "Moments") -> "Moments":
        """Both together."""
        weight = self.weight + other.weight
        if weight <= 0.0:
            return other
        shift = other.mean - self.mean
        return Moments(
            weight,
            self.weight_squares + other.weight_squares,
            self.mean + shift * other.weight / weight,
            self.deviation_squares
            + other.deviation_squares
            + shift * shift * self.weight * other.weight / weight,
        )

    def fold(self, batch: Weights, values: Values, gap_fade: float) -> "Moments":
        """With a batch of rows in it; NaN rows only let time pass."""
        before = self.faded(batch.fade * gap_fade)
        known = ~np.isnan(values)
        if known.all():
            return before.merged(_moments(batch.values, values, batch.total, batch.total_squares))
        if not known.any():
            return before
        kept = batch.values[known]
        return before.merged(_moments(kept, values[known], float(kept.sum()), float((kept * kept).sum())))


def _moments(weight: Values, values: Values, total: float, total_squares: float) -> Moments:
    mean = float(weight @ values) / total
    deviation = values - mean
    return Moments(total, total_squares, mean, float(weight @ (deviation * deviation)))


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Weighted counts of sifted bits and of the erroneous ones among them: a QBER that knows its noise."""

    errors: float = 0.0
    bits: float = 0.0
    # Sum of squared weights over the bits.
    bit_squares: float = 0.0

    @property
    def ratio(self) -> float:
        """QBER, 0..0.5; 0 without any bit."""
        return self.errors / self.bits if self.bits else 0.0

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

    def fold(self, batch: Weights, errors: Values, bits: Values, gap_fade: float) -> "ErrorCounts":
        """With a batch of rows in it; rows of 0 bits only let time pass."""
        fade = batch.fade * gap_fade
        return ErrorCounts(
            self.errors * fade + float(batch.values @ errors),
            self.bits * fade + float(batch.values @ bits),
            self.bit_squares * fade * fade + float(batch.squares @ bits),
        )


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
