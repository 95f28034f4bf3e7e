"""Step 2: samples of a link's two ends become one estimate with a condition.

    observe, report, agree_intake    something came in: a new track          (track.py)
    assess                           what the track amounts to now           (here; conditions.py decides)
    next_deadline                    when to look again if nothing comes in

The ends are fused pessimistically: the worse QBER, the lower secret key rate, the lower pool. Nothing
here knows a clock: `now` is Unix seconds by the controller, handed in.
"""

import math
from dataclasses import dataclass, replace

from keyweave.common.names import LinkName
from keyweave.controller.conditions import (
    Diagnosis,
    diagnose,
    fresh_ends,
    hold_down_seconds,
    judge,
    keeps_paths,
    takes_paths,
)
from keyweave.controller.topology import Condition, Link, LinkView, Status
from keyweave.controller.track import (
    SIGNIFICANT_Z,
    Cause,
    EndEvent,
    EndTrack,
    LinkLimits,
    LinkTrack,
    agree_intake,
    fresh,
    observe,
    report,
)
from keyweave.controller.windows import Moments

__all__ = [
    "Cause",
    "Diagnosis",
    "EndEvent",
    "LinkEstimate",
    "LinkLimits",
    "LinkTrack",
    "agree_intake",
    "assess",
    "diagnose",
    "fresh",
    "keeps_paths",
    "next_deadline",
    "observe",
    "report",
    "takes_paths",
]

# Beyond noise, ends may differ by so much before it is worth a word.
_SAME_QBER = 0.005
_SAME_RATE = 0.1
# A QBER from fewer bits, or a rate from fewer samples, is not compared.
_LEAST_BITS = 500.0
_LEAST_SAMPLES = 5.0
# From here on the 95 % quantile of Student's t is within 15 % of the normal one.
_LEAST_SETTLED_SAMPLES = 8.0


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """What is believed of a link now. A quantity that nobody measures is 0."""

    link: LinkName
    condition: Condition
    status: Status | None
    reason: str
    evidence: tuple[str, ...]
    # When the condition began, Unix seconds.
    since: float
    # The worse of the ends.
    qber_ratio: float
    # The lower of the ends; 0 without a signal.
    skr_bps: float
    # Lower 95 % confidence bound of the secret key rate; 0 unless paths may newly be placed on the link.
    usable_rate_bps: float
    # The higher of the ends.
    loss_db: float
    # The lower of the ends.
    pool_bits: int
    intake_bits_total: int
    # How the ends contradict each other, if they have done so for a while; empty otherwise.
    ends_disagree: str
    # Whether the figures rest on enough samples to plan by. A link that is out of use is settled as well;
    # one that has just begun to report is not, its lower bound is still wide.
    settled: bool

    def view(self, link: Link) -> LinkView:
        """This estimate beside the operator's description, as planning sees it."""
        return LinkView(
            link,
            self.condition,
            self.reason,
            self.qber_ratio,
            self.skr_bps,
            0.0 if link.disabled else self.usable_rate_bps,
            self.pool_bits,
            keeps_paths(self.condition) and not link.disabled,
            takes_paths(self.condition) and not link.disabled,
        )


def assess(track: LinkTrack, limits: LinkLimits, now: float) -> tuple[LinkTrack, LinkEstimate]:
    """What the link amounts to now, and the track that remembers it."""
    track = judge(track, limits, now)
    track, disagreement = _compare(track, limits, now)
    # Without any fresh end the last that was known is told; the condition says how old it is.
    ends = fresh_ends(track, limits, now) or track.ends
    rates = [end.slow.skr_bps for end in ends if end.slow.skr_bps.weight]
    dark = any(end.status is Status.OFF or end.fault is not None for end in ends)
    producing = takes_paths(track.condition) and all(end.status is not Status.PENDING for end in ends)
    return track, LinkEstimate(
        link=track.link,
        condition=track.condition,
        status=_status(ends),
        reason=track.reason,
        evidence=track.evidence + ((disagreement,) if disagreement else ()),
        since=track.since,
        qber_ratio=max(end.slow.qber.ratio for end in ends),
        skr_bps=0.0 if dark else min((rate.mean for rate in rates), default=0.0),
        usable_rate_bps=min((rate.lower_bound for rate in rates), default=0.0) if producing else 0.0,
        loss_db=max(end.slow.loss_db.mean for end in ends),
        pool_bits=min((end.pool_bits for end in track.ends if end.pool_bits is not None), default=0),
        intake_bits_total=min(
            (end.intake_bits_total for end in track.ends if end.intake_bits_total is not None), default=0
        ),
        ends_disagree=disagreement,
        settled=_settled(track, rates),
    )


def _settled(track: LinkTrack, rates: list[Moments]) -> bool:
    if not takes_paths(track.condition):
        return any(end.seen_at is not None for end in track.ends)
    return bool(rates) and all(rate.effective_samples >= _LEAST_SETTLED_SAMPLES for rate in rates)


_WORST_FIRST = (Status.OFF, Status.PENDING, Status.PASSIVE, Status.ACTIVE)


def _status(ends: tuple[EndTrack, ...]) -> Status | None:
    """The worse of the ends' operational states; None while neither has told."""
    told = [end.status for end in ends]
    return next((status for status in _WORST_FIRST if status in told), None)


def _compare(track: LinkTrack, limits: LinkLimits, now: float) -> tuple[LinkTrack, str]:
    """Keep track of whether the ends contradict each other; the words once it has lasted."""
    ends = fresh_ends(track, limits, now)
    words = _disagreement(*ends) if len(ends) == len(track.ends) else ""
    if not words:
        return (replace(track, disagree_since=None) if track.disagree_since is not None else track), ""
    if track.disagree_since is None:
        track = replace(track, disagree_since=now)
    began = now if track.disagree_since is None else track.disagree_since
    return track, words if now >= began + limits.disagree_seconds else ""


def _disagreement(a: EndTrack, b: EndTrack) -> str:
    parts = []
    qber = a.slow.qber, b.slow.qber
    if all(counts.effective_bits >= _LEAST_BITS for counts in qber):
        noise = math.sqrt(qber[0].ratio_variance + qber[1].ratio_variance)
        if abs(qber[0].ratio - qber[1].ratio) > SIGNIFICANT_Z * noise + _SAME_QBER:
            parts.append(f"QBER {qber[0].ratio:.1%} at '{a.node}' but {qber[1].ratio:.1%} at '{b.node}'")
    skr = a.slow.skr_bps, b.slow.skr_bps
    if all(moments.effective_samples >= _LEAST_SAMPLES for moments in skr):
        noise = math.sqrt(skr[0].mean_variance + skr[1].mean_variance)
        tolerated = SIGNIFICANT_Z * noise + _SAME_RATE * max(skr[0].mean, skr[1].mean)
        if abs(skr[0].mean - skr[1].mean) > tolerated:
            parts.append(
                f"secret key rate {skr[0].mean:.0f} bit/s at '{a.node}' but {skr[1].mean:.0f} at '{b.node}'"
            )
    return "the ends disagree: " + "; ".join(parts) if parts else ""


def next_deadline(track: LinkTrack, limits: LinkLimits) -> float | None:
    """When `assess` may answer otherwise although nothing came in, Unix seconds; None if never.

    Always later than the last assessment, so waking then makes progress.
    """
    moments = [end.stale_at(limits) for end in track.ends]
    if track.recovering_since is not None:
        moments.append(track.recovering_since + hold_down_seconds(track, limits))
    if track.disagree_since is not None:
        moments.append(track.disagree_since + limits.disagree_seconds)
    return min((moment for moment in moments if moment > track.assessed_at), default=None)
