"""What both ends of a link vouch for, and where they contradict each other.

A device can claim any rate. What counts is what arrives: the pool of each end counts the bits that it takes
in, and the lesser of both is all that a key can be made of. Each end is timed by its own clock, the one its
samples carry, so that reports which arrive late and together show no burst.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from keyweave.common.names import NodeName
from keyweave.controller.estimate.windows import ErrorCounts, Moments

# Quantile of the normal distribution beyond which a deviation is taken for real: a one-sided chance of
# 3e-5 before the skew of small counts, which Wilson's interval covers.
SIGNIFICANT_Z = 4.0
# Intake is measured over the last one to two of these.
INTAKE_WINDOW_SECONDS = 5.0
# An end whose pool takes in nothing for so long, though its device makes key, gets none: until then its
# pool may be waiting for policy or for the peer.
PATIENCE_SECONDS = 15.0
# ... and until its device should have given so much by its own word: one that makes keys slowly gives them in
# blocks (those of entangled pairs once a minute, so that statistics cost less of them).
PATIENCE_BITS = 4096.0
# After a longer silence, or step of the agent's clock, intake is measured anew.
_SILENCE_SECONDS = 120.0

# Beyond noise, ends may differ by so much before it is worth a word.
_SAME_QBER = 0.005
_SAME_RATE = 0.1
_SAME_INTAKE = 0.25
# So many errors are worth a suspicion: 2 percentage points are an eavesdropper on 8 % of the pulses
# (intercept-resend adds 25 %: Bennett and Brassard 1984).
GRAVE_QBER = 0.02
# A claimed rate above so many times the intake is worth a word.
_CLAIM = 2.0
# A QBER from fewer bits, or a rate from fewer samples, is not compared.
_LEAST_BITS = 500.0
_LEAST_SAMPLES = 5.0


class Mark(NamedTuple):
    """How much an end's pool had taken in at a moment, Unix seconds by the agent's clock."""

    time: float
    bits: int


class Intake(NamedTuple):
    """The rate at which one end's pool takes in key, measured from the older of two marks."""

    last: Mark | None = None
    older: Mark | None = None
    newer: Mark | None = None
    # Whether anything was taken in since the older mark was set. What waited for the pool to open comes
    # in at once and is no rate, so measuring begins after it.
    begun: bool = False
    # The smallest gain between two reports: at least one device block; 0 until there was one. Blocks come
    # whole, so over any time one may be missing.
    block_bits: int = 0
    # None until it has been measured; stays while it is being measured anew.
    rate_bps: float | None = None

    def taken(self, mark: Mark, *, producing: bool, claimed_bps: float) -> "Intake":
        """With a pool level in it. While the device makes no key, intake says nothing.

        `claimed_bps` is the rate that the device says it makes key at; 0 where it says nothing.
        """
        last, older, newer = self.last, self.older, self.newer
        if last is None or older is None or newer is None or not producing or _is_new_count(last, mark):
            return Intake(mark, mark, mark, rate_bps=self.rate_bps)
        gained = mark.bits - last.bits
        if not self.begun:
            if gained:
                return Intake(mark, mark, mark, begun=True, rate_bps=self.rate_bps)
            nothing = _is_nothing(mark.time - older.time, claimed_bps)
            return self._replace(last=mark, rate_bps=0.0 if nothing else self.rate_bps)
        block = min(gained, self.block_bits or gained) if gained else self.block_bits
        rate, seconds = self.rate_bps, mark.time - older.time
        if not block:
            return self._replace(last=mark, rate_bps=0.0 if _is_nothing(seconds, claimed_bps) else rate)
        if seconds >= INTAKE_WINDOW_SECONDS:
            rate = (mark.bits - older.bits + block) / seconds
        if mark.time - newer.time >= INTAKE_WINDOW_SECONDS:
            older, newer = newer, mark
        return Intake(mark, older, newer, begun=True, block_bits=block, rate_bps=rate)


def _is_nothing(seconds: float, claimed_bps: float) -> bool:
    """Whether no bit in this time means that none come."""
    return seconds >= PATIENCE_SECONDS and (not claimed_bps or claimed_bps * seconds >= PATIENCE_BITS)


def _is_new_count(last: Mark, mark: Mark) -> bool:
    """Whether the agent counts from 0 again, or its clock or its silence makes the marks incomparable."""
    return mark.bits < last.bits or not 0.0 <= mark.time - last.time < _SILENCE_SECONDS


class Claims(NamedTuple):
    """What one end says of its link."""

    node: NodeName
    qber: ErrorCounts
    skr_bps: Moments
    intake: Intake


def agreed_intake_bps(intakes: Sequence[Intake]) -> float | None:
    """The rate at which both pools take in key: the lesser of the ends'; None while neither is known."""
    return min((intake.rate_bps for intake in intakes if intake.rate_bps is not None), default=None)


def qber_difference(a: Claims, b: Claims) -> float:
    """By how much the ends' QBERs differ beyond noise, at least 0."""
    if min(a.qber.effective_bits, b.qber.effective_bits) < _LEAST_BITS:
        return 0.0
    noise = math.sqrt(a.qber.ratio_variance + b.qber.ratio_variance)
    return max(0.0, abs(a.qber.ratio - b.qber.ratio) - SIGNIFICANT_Z * noise)


def measured_otherwise(a: Claims, b: Claims) -> str:
    """How the ends' measurements contradict each other, beyond noise; empty where they do not."""
    parts = []
    if qber_difference(a, b) > _SAME_QBER:
        parts.append(f"QBER {a.qber.ratio:.1%} at '{a.node}' but {b.qber.ratio:.1%} at '{b.node}'")
    if min(a.skr_bps.effective_samples, b.skr_bps.effective_samples) >= _LEAST_SAMPLES:
        noise = math.sqrt(a.skr_bps.mean_variance + b.skr_bps.mean_variance)
        tolerated = SIGNIFICANT_Z * noise + _SAME_RATE * max(a.skr_bps.mean, b.skr_bps.mean)
        if abs(a.skr_bps.mean - b.skr_bps.mean) > tolerated:
            rates = f"{a.skr_bps.mean:.0f} bit/s at '{a.node}' but {b.skr_bps.mean:.0f} at '{b.node}'"
            parts.append(f"secret key rate {rates}")
    return "; ".join(parts)


def taken_otherwise(a: Claims, b: Claims) -> str:
    """How what the pools take in contradicts the other pool or the claimed rate; empty where it does not."""
    if a.intake.rate_bps is None or b.intake.rate_bps is None:
        return ""
    parts = []
    # A block may have been counted at one end and not yet at the other.
    between = (a.intake.block_bits + b.intake.block_bits) / INTAKE_WINDOW_SECONDS
    more, less = max(a.intake.rate_bps, b.intake.rate_bps), min(a.intake.rate_bps, b.intake.rate_bps)
    if more - less > _SAME_INTAKE * more + between:
        intakes = f"{a.intake.rate_bps:.0f} bit/s at '{a.node}' but {b.intake.rate_bps:.0f} at '{b.node}'"
        parts.append(f"pools take in {intakes}")
    for end in (a, b):
        claimed = end.skr_bps.lower_bound
        # A pool that takes in nothing at all may just have no peer; the rate is bounded all the same.
        if 0.0 < less < claimed / _CLAIM - between:
            parts.append(f"'{end.node}' claims {claimed:.0f} bit/s of which {less:.0f} reach both pools")
    return "; ".join(parts)
