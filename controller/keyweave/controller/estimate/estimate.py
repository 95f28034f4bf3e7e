"""Step 2: samples of a link's two ends become one estimate with a condition.

    observe, report, pool_reported   something came in: a new track          (track.py)
    assess                           what the track amounts to now           (here; conditions.py decides)
    next_deadline                    when to look again if nothing comes in

The ends are fused pessimistically: the worse QBER, the lower secret key rate, the lower pool, and no rate
above what both pools take in. Where they contradict each other is for agreement.py to tell. Nothing
here knows a clock: `now` is Unix seconds by the controller, handed in.
"""

from dataclasses import dataclass

from keyweave.common.names import LinkName
from keyweave.controller.estimate.agreement import (
    GRAVE_QBER,
    Claims,
    agreed_intake_bps,
    measured_otherwise,
    qber_difference,
    taken_otherwise,
)
from keyweave.controller.estimate.conditions import (
    fresh_ends,
    hold_down_seconds,
    judge,
    keeps_paths,
    takes_paths,
)
from keyweave.controller.estimate.contacts import next_contact, rate_of_stock, waits_for_contact
from keyweave.controller.estimate.diagnosis import Diagnosis, diagnose
from keyweave.controller.estimate.track import (
    Cause,
    EndEvent,
    EndTrack,
    LinkLimits,
    LinkTrack,
    fresh,
    observe,
    pool_reported,
    report,
)
from keyweave.controller.estimate.windows import Moments
from keyweave.controller.samples import Contact
from keyweave.controller.topology import Condition, Link, LinkView, Status

__all__ = [
    "Cause",
    "Diagnosis",
    "EndEvent",
    "LinkEstimate",
    "LinkLimits",
    "LinkTrack",
    "assess",
    "diagnose",
    "fresh",
    "keeps_paths",
    "next_deadline",
    "observe",
    "pool_reported",
    "report",
    "takes_paths",
]

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
    # Lower 95 % confidence bound of the secret key rate, at most the intake that both ends agree on; between
    # contacts what the pools hold, spread until the next; 0 unless paths may newly be placed on the link.
    usable_rate_bps: float
    # The higher of the ends.
    loss_db: float
    # The lower of the ends.
    pool_bits: int
    # What both pools take in, the lower of the ends; None while it has not been measured.
    intake_bps: float | None
    # How the ends contradict each other, if they have done so for a while; empty otherwise.
    ends_disagree: str
    # Whether the figures rest on enough samples to plan by. A link that is out of use is settled as well;
    # one that has just begun to report is not, its lower bound is still wide.
    settled: bool
    # While the link is SUSPECT: from when on its key may be known to others, Unix seconds, and why.
    suspect_since: float = 0.0
    suspect_reason: str = ""
    # What the measurements read as where the link is not OK; None where they say nothing.
    cause: Cause | None = None
    # The present or next window in which the ends see each other; None where they always do.
    next_contact: Contact | None = None

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
            self.suspect_since,
            self.suspect_reason,
        )


def assess(track: LinkTrack, limits: LinkLimits, now: float) -> tuple[LinkTrack, LinkEstimate]:
    """What the link amounts to now, and the track that remembers it."""
    track = judge(_compared(track, limits, now), limits, now)
    # Without any fresh end the last that was known is told; the condition says how old it is.
    ends = fresh_ends(track, limits, now) or track.ends
    rates = [end.slow.skr_bps for end in ends if end.slow.skr_bps.weight]
    dark = any(end.status is Status.OFF or end.fault is not None for end in ends)
    producing = takes_paths(track.condition) and all(end.status is not Status.PENDING for end in ends)
    intake = agreed_intake_bps([end.intake for end in track.ends])
    pool_bits = min([end.pool_bits for end in track.ends if end.pool_bits is not None], default=0)
    usable = min([rate.lower_bound for rate in rates], default=0.0) if producing else 0.0
    usable = usable if intake is None else min(usable, intake)
    if not producing and takes_paths(track.condition) and waits_for_contact(track, now):
        usable = rate_of_stock(pool_bits, track, now)
    return track, LinkEstimate(
        link=track.link,
        condition=track.condition,
        status=_status(ends),
        reason=track.reason,
        evidence=(*track.evidence, track.disagreement) if track.disagreement else track.evidence,
        since=track.since,
        qber_ratio=max([end.slow.qber.ratio for end in ends]),
        skr_bps=0.0 if dark else min([rate.mean for rate in rates], default=0.0),
        usable_rate_bps=usable,
        loss_db=max([end.slow.loss_db.mean for end in ends]),
        pool_bits=pool_bits,
        intake_bps=intake,
        ends_disagree=track.disagreement,
        settled=_settled(track, rates, now),
        suspect_since=track.suspect_since,
        suspect_reason=track.suspect_reason,
        cause=_cause(track),
        next_contact=next_contact(track, now),
    )


def _settled(track: LinkTrack, rates: list[Moments], now: float) -> bool:
    if not takes_paths(track.condition) or waits_for_contact(track, now):
        return any(end.seen_at is not None for end in track.ends)
    return bool(rates) and all(rate.effective_samples >= _LEAST_SETTLED_SAMPLES for rate in rates)


def _cause(track: LinkTrack) -> Cause | None:
    """What the link reads as: a QBER that is too high may be due to something that moved with it."""
    return track.reading or track.cause if track.cause in {None, Cause.QBER} else track.cause


_WORST_FIRST = (Status.OFF, Status.PENDING, Status.PASSIVE, Status.ACTIVE)


def _status(ends: tuple[EndTrack, ...]) -> Status | None:
    """The worse of the ends' operational states; None while neither has told."""
    told = [end.status for end in ends]
    return next((status for status in _WORST_FIRST if status in told), None)


def _claims(track: LinkTrack, limits: LinkLimits, now: float) -> tuple[Claims, Claims] | None:
    """What both ends say, if both are heard."""
    a, b = track.ends
    if now >= a.stale_at(limits) or now >= b.stale_at(limits):
        return None
    return (
        Claims(a.node, a.slow.qber, a.slow.skr_bps, a.intake),
        Claims(b.node, b.slow.qber, b.slow.skr_bps, b.intake),
    )


def _compared(track: LinkTrack, limits: LinkLimits, now: float) -> LinkTrack:
    """The track with how the ends contradict each other, once that has lasted, and how gravely."""
    claims = _claims(track, limits, now)
    measured = measured_otherwise(*claims) if claims is not None else ""
    taken = taken_otherwise(*claims) if claims is not None else ""
    if not measured and not taken and track.disagree_since is None and track.intake_disagree_since is None:
        return track
    measured_since = (track.disagree_since or now) if measured else None
    taken_since = (track.intake_disagree_since or now) if taken else None
    lasting = measured_since is not None and now >= measured_since + limits.disagree_seconds
    told = [measured] if lasting else []
    if taken_since is not None and now >= taken_since + limits.intake_disagree_seconds:
        told.append(taken)
    return track._replace(
        disagree_since=measured_since,
        intake_disagree_since=taken_since,
        disagreement="the ends disagree: " + "; ".join(told) if told else "",
        is_grave=lasting and claims is not None and qber_difference(*claims) > GRAVE_QBER,
    )


def next_deadline(track: LinkTrack, limits: LinkLimits) -> float | None:
    """When `assess` may answer otherwise although nothing came in, Unix seconds; None if never.

    Always later than the last assessment, so waking then makes progress.
    """
    moments = [end.stale_at(limits) for end in track.ends]
    if track.recovering_since is not None:
        moments.append(track.recovering_since + hold_down_seconds(track, limits))
    if track.disagree_since is not None:
        moments.append(track.disagree_since + limits.disagree_seconds)
    if track.intake_disagree_since is not None:
        moments.append(track.intake_disagree_since + limits.intake_disagree_seconds)
    moments += [edge for end in track.ends for window in end.contacts for edge in window[:2]]
    return min((moment for moment in moments if moment > track.assessed_at), default=None)
