"""What is remembered of one link: the measurements of both ends and what agents reported of it.

A track is an immutable value. `observe`, `report` and `pool_reported` put something in; what is made of
it is decided in `conditions` and told by `estimate`.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.estimate.agreement import SIGNIFICANT_Z, Intake, Mark
from keyweave.controller.estimate.changes import CALM, LEAST_BASELINE_BITS, NO_CHANGES, Changes, weighed
from keyweave.controller.estimate.signals import (
    LEAST_BITS,
    NOTHING_MEASURED,
    Kept,
    Rows,
    Signals,
    mean_changed,
    qber_changed,
)
from keyweave.controller.estimate.windows import weights
from keyweave.controller.samples import Contact, EndSamples
from keyweave.controller.topology import Condition, Link, Status

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
    """Why a link is DOWN, SUSPECT or DEGRADED: what its measurements read as."""

    SIGNAL = "signal"
    DEVICE = "device"
    QBER = "qber"
    INTERCEPTION = "interception"
    BLINDING = "blinding"
    DISAGREEMENT = "disagreement"
    SYNCHRONISATION = "synchronisation"
    COOLING = "cooling"
    DARK_COUNTS = "dark_counts"
    LOSS = "loss"
    QBER_RISE = "qber_rise"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Thresholds and times that a link is judged by."""

    abort_qber_ratio: float = 0.11
    degraded_qber_ratio: float = 0.088
    # DEGRADED ends, and the hold-down after an abort begins, once QBER is below this share of the threshold.
    leave_ratio: float = 0.9
    maintenance: bool = False
    maintenance_reason: str = ""
    stale_after_seconds: float = 3.0
    # Hold-down after the first fault; doubled by each further one within `flap_window_seconds`.
    hold_down_seconds: float = 5.0
    hold_down_max_seconds: float = 300.0
    flap_window_seconds: float = 300.0
    # Time constants: of what is reported, of what reacts to a change, of what a change is seen against.
    ewma_seconds: float = 10.0
    fast_seconds: float = 1.0
    baseline_seconds: float = 60.0
    # And of what a slow drift is seen against.
    reference_seconds: float = 6 * 3600.0
    # What has changed harmlessly for so long is what the link is like now.
    accept_seconds: float = 900.0
    # How long the ends' measurements, or what their pools take in, must disagree before it is said. A pool
    # that is opened anew at one end shows in the intake for up to two of its windows.
    disagree_seconds: float = 5.0
    intake_disagree_seconds: float = 20.0

    def of(self, link: Link) -> "LinkLimits":
        """These limits with the operator's own for `link`."""
        return replace(
            self,
            abort_qber_ratio=link.abort_qber_ratio,
            degraded_qber_ratio=link.degraded_qber_ratio,
            maintenance=link.maintenance,
            maintenance_reason=link.maintenance_reason,
        )


_NO_INTAKE = Intake()


class EndTrack(NamedTuple):
    """One end of a link."""

    node: NodeName
    # When the controller last heard of this end, by its own clock.
    seen_at: float | None = None
    # When the last row ended, by the agent's clock.
    measured_until: float | None = None
    interval_seconds: float = 0.0
    status: Status | None = None
    fast: Signals = NOTHING_MEASURED
    slow: Signals = NOTHING_MEASURED
    baseline: Signals = NOTHING_MEASURED
    # What the baseline was over hours, up to when by the agent's clock, and by how much the QBER has crept up
    # since beyond noise, where the visibility, if it is measured, has fallen with it.
    reference: Signals = NOTHING_MEASURED
    referenced_until: float = -math.inf
    crept: float = 0.0
    # Whether something is no longer as the baseline has it.
    changes: Changes = NO_CHANGES
    # A single row that alone proves QBER at or above the abort threshold; until it is assessed.
    alarm: str = ""
    # The fault that the agent reported and that has not ended, and its words.
    fault: EndEvent | None = None
    fault_reason: str = ""
    # How long the end has made key since.
    producing_seconds: float = 0.0
    # What the agent says of its pool; None until it has.
    pool_bits: int | None = None
    intake: Intake = _NO_INTAKE
    # When the ends see each other, as this one has last told; empty where they always do.
    contacts: tuple[Contact, ...] = ()

    def stale_at(self, limits: LinkLimits) -> float:
        """When this end counts as stale unless it is heard of before."""
        if self.seen_at is None:
            return -math.inf
        return self.seen_at + max(limits.stale_after_seconds, _STALE_ROWS * self.interval_seconds)


class LinkTrack(NamedTuple):
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
    # What the measurements read as now; None while nothing has changed.
    reading: Cause | None = None
    # When the fault ended and the hold-down began.
    recovering_since: float | None = None
    # Faults within the flap window, and when the last one was over.
    flaps: int = 0
    recovered_at: float = -math.inf
    # Since when the link is suspected: from when on its key may be known to others, and why; 0 and empty
    # while it is not SUSPECT. They stay as they are while it is, for they stand in policies.
    suspect_since: float = 0.0
    suspect_reason: str = ""
    # Since when the ends contradict each other in what they measure, and in what their pools take in; in
    # which words, once that has lasted; and whether one of them may be hiding an eavesdropper.
    disagree_since: float | None = None
    intake_disagree_since: float | None = None
    disagreement: str = ""
    is_grave: bool = False
    assessed_at: float = -math.inf

    def end(self, node: NodeName) -> EndTrack:
        """The end at `node`; InvalidInputError where the link does not end there."""
        return self.ends[self._index(node)]

    def with_end(self, end: EndTrack) -> "LinkTrack":
        """The same link with one end replaced."""
        a, b = self.ends
        return self._replace(ends=(end, b) if self._index(end.node) == 0 else (a, end))

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
    before, until = end.measured_until, samples.end
    end = end._replace(
        seen_at=now,
        measured_until=until,
        interval_seconds=samples.interval_seconds,
        status=samples.status,
        contacts=samples.contacts or end.contacts,
    )
    if samples.status is Status.OFF:
        # Without a signal the columns hold noise.
        return track.with_end(end._replace(producing_seconds=0.0))
    gap = 0.0 if before is None else max(0.0, samples.start - before)
    # While something is wrong the baseline stands.
    end = _measured(end, samples, limits, gap, learning=track.cause is None)
    if until >= end.referenced_until + limits.baseline_seconds:
        end = _referenced(end, limits, until)
    return track.with_end(end if end.fault is None else _proven(end, samples))


_FAST, _SLOW, _BASELINE = range(3)


def _measured(
    end: EndTrack, samples: EndSamples, limits: LinkLimits, gap_seconds: float, *, learning: bool
) -> EndTrack:
    interval = samples.interval_seconds
    time_constants = (
        limits.fast_seconds,
        max(limits.ewma_seconds, _SLOW_ROWS * interval),
        max(limits.baseline_seconds, _BASELINE_ROWS * interval),
    )
    batch = weights(samples.rows, interval, time_constants)
    fades = batch.fades
    if gap_seconds > 0.0:
        gaps = (math.exp(-gap_seconds / seconds) for seconds in time_constants)
        fades = tuple(fade * gap for fade, gap in zip(fades, gaps, strict=True))
    rows = Rows(samples, batch)
    fast = rows.fold(end.fast, _FAST, fades[_FAST])
    slow = rows.fold(end.slow, _SLOW, fades[_SLOW], Kept.SLOW)
    baseline, changes = end.baseline, end.changes
    if samples.status is not Status.PENDING:
        # What a device measures while it calibrates is no measure for anything.
        changes = weighed(changes, rows, baseline, samples.start, learning=learning)
        if end.contacts:
            # The loss to a satellite changes all the time.
            changes = changes._replace(loss=CALM)
        # Nor must what a change is seen against follow it.
        if learning and not changes.any_told:
            baseline = rows.fold(baseline, _BASELINE, fades[_BASELINE], Kept.BASELINE)
    # After a step the past says nothing. All fast windows begin together, so that what moved with the
    # QBER is seen as freshly as the QBER itself.
    news = changes.tells_more_than(end.changes)
    if news or qber_changed(fast.qber, slow.qber):
        anew = rows.fold(NOTHING_MEASURED, _FAST, 0.0)
        fast = anew if news or anew.qber.effective_bits >= LEAST_BITS else fast
        slow = slow._replace(qber=fast.qber)
    if mean_changed(fast.skr_bps, slow.skr_bps):
        slow = slow._replace(skr_bps=fast.skr_bps)
    return end._replace(
        fast=fast,
        slow=slow,
        baseline=baseline,
        changes=changes,
        alarm=rows.alarm(end.node, limits.abort_qber_ratio) or end.alarm,
    )


def _referenced(end: EndTrack, limits: LinkLimits, until: float) -> EndTrack:
    """The end with what it measured of late in its reference, and compared with it."""
    now, before = end.baseline, end.reference
    if now.qber.effective_bits < LEAST_BASELINE_BITS:
        return end
    fade = math.exp(-limits.baseline_seconds / limits.reference_seconds)
    after = Signals(
        qber=before.qber.fold(fade, now.qber),
        visibility_ratio=before.visibility_ratio.fold(fade, now.visibility_ratio)
        if now.visibility_ratio.weight
        else before.visibility_ratio,
    )
    noise = math.sqrt(now.qber.ratio_variance + after.qber.ratio_variance)
    crept = now.qber.ratio - after.qber.ratio - SIGNIFICANT_Z * noise
    seen, usual = now.visibility_ratio, after.visibility_ratio
    blurred = not seen.weight or usual.mean - seen.mean > SIGNIFICANT_Z * math.sqrt(
        seen.mean_variance + usual.mean_variance
    )
    return end._replace(reference=after, referenced_until=until, crept=crept if blurred else 0.0)


def _proven(end: EndTrack, samples: EndSamples) -> EndTrack:
    """Drop a reported fault once the end has made key for long enough to prove that it is over."""
    makes_key = (
        samples.status is Status.ACTIVE and samples.skr_bps.size > 0 and bool((samples.skr_bps > 0).all())
    )
    if not makes_key:
        return end._replace(producing_seconds=0.0)
    producing = end.producing_seconds + samples.rows * samples.interval_seconds
    if producing < _PROVEN_BY_SECONDS:
        return end._replace(producing_seconds=producing)
    return end._replace(fault=None, fault_reason="", producing_seconds=0.0)


def report(track: LinkTrack, kind: EndEvent, node: NodeName, reason: str, now: float) -> LinkTrack:
    """The track with what the agent at `node` reported of its end."""
    end = track.end(node)
    if kind is EndEvent.RESTORED:
        return track.with_end(end._replace(seen_at=now, fault=None, fault_reason="", producing_seconds=0.0))
    return track.with_end(end._replace(seen_at=now, fault=kind, fault_reason=reason, producing_seconds=0.0))


def pool_reported(
    track: LinkTrack,
    node: NodeName,
    *,
    usable_bits: int,
    intake_bits_total: int,
    latest: EndSamples | None = None,
) -> LinkTrack:
    """The track with one end's pool level, told after the samples `latest` if they are still to be observed.

    It says nothing of the quantum channel, so it does not keep the link from STALE.
    """
    end = track.end(node)
    intake = end.intake
    until, status = (end.measured_until, end.status) if latest is None else (latest.end, latest.status)
    if until is not None:
        intake = intake.taken(
            Mark(until, intake_bits_total),
            producing=status is Status.ACTIVE,
            claimed_bps=end.slow.skr_bps.mean if end.slow.skr_bps.weight else 0.0,
        )
    return track.with_end(end._replace(pool_bits=usable_bits, intake=intake))


def forget_measurements(track: LinkTrack, *, baseline: bool) -> LinkTrack:
    """The track as before the first sample, for a new beginning; `baseline` forgets that as well."""
    a, b = (
        end._replace(
            fast=NOTHING_MEASURED,
            slow=NOTHING_MEASURED,
            baseline=NOTHING_MEASURED if baseline else end.baseline,
            reference=NOTHING_MEASURED if baseline else end.reference,
            referenced_until=-math.inf if baseline else end.referenced_until,
            crept=0.0,
            changes=NO_CHANGES if baseline else NO_CHANGES._replace(scatter=end.changes.scatter),
            alarm="",
            intake=_NO_INTAKE if baseline else _NO_INTAKE._replace(rate_bps=end.intake.rate_bps),
        )
        for end in track.ends
    )
    return track._replace(
        ends=(a, b), intake_disagree_since=None, disagree_since=None, disagreement="", is_grave=False
    )
