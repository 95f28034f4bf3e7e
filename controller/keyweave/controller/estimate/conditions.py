"""What the measurements of a link amount to: its condition, why, and for how long it is held.

Falling is immediate, rising is slow. A fault takes the link DOWN (or SUSPECT) at once; when the fault is
over the link is held down for a while that doubles with every fault that follows soon, and is halved
again by quiet. DEGRADED begins and ends at different thresholds.
"""

from dataclasses import dataclass

from keyweave.controller.estimate.agreement import SIGNIFICANT_Z
from keyweave.controller.estimate.changes import NO_CHANGES
from keyweave.controller.estimate.contacts import next_contact, waits_for_contact
from keyweave.controller.estimate.diagnosis import Diagnosis, diagnose, moment
from keyweave.controller.estimate.signals import NOTHING_MEASURED
from keyweave.controller.estimate.track import (
    Cause,
    EndEvent,
    EndTrack,
    LinkLimits,
    LinkTrack,
    forget_measurements,
)
from keyweave.controller.estimate.windows import ErrorCounts, wilson_lower, wilson_upper
from keyweave.controller.topology import Condition, Status

# From so many bits on a QBER is taken at its word: its standard error is below 0.5 percentage points.
_SURE_BITS = 5000.0
# An onset further back is no onset: the baseline would have followed.
_LONGEST_ONSET_SECONDS = 60.0
_MOST_DOUBLINGS = 30


def keeps_paths(condition: Condition) -> bool:
    """Whether a path that runs over a link in this condition may stay."""
    return condition in {Condition.OK, Condition.DEGRADED, Condition.STALE}


def takes_paths(condition: Condition) -> bool:
    """Whether a path may newly be placed on a link in this condition."""
    return condition in {Condition.OK, Condition.DEGRADED}


def exceeds(qber: ErrorCounts, threshold: float) -> bool:
    """Whether QBER is at or above a threshold, beyond what the noise of few counts can feign.

    Either significantly so, or plainly so over enough bits that the noise is small.
    """
    ratio = qber.ratio
    if ratio < threshold:
        return False  # the lower bound is lower still
    bits = qber.effective_bits
    return bits >= _SURE_BITS or wilson_lower(ratio, bits, SIGNIFICANT_Z) >= threshold


@dataclass(frozen=True, slots=True)
class _Fault:
    cause: Cause
    condition: Condition
    reason: str
    evidence: tuple[str, ...] = ()


def fresh_ends(track: LinkTrack, limits: LinkLimits, now: float) -> tuple[EndTrack, ...]:
    """The ends heard of lately."""
    return tuple(end for end in track.ends if now < end.stale_at(limits))


def judge(track: LinkTrack, limits: LinkLimits, now: float) -> LinkTrack:
    """The track with its condition as of now."""
    judged = _judge(track, limits, now)
    a, b = judged.ends
    if a.alarm or b.alarm:
        judged = judged._replace(ends=(a._replace(alarm=""), b._replace(alarm="")))
    return judged._replace(assessed_at=now)


def _judge(track: LinkTrack, limits: LinkLimits, now: float) -> LinkTrack:
    if limits.maintenance:
        track = track._replace(cause=None, fault_reason="", recovering_since=None)
        reason = limits.maintenance_reason or "taken out of use by the operator"
        return _become(track, Condition.MAINTENANCE, now, reason)
    if track.condition is Condition.MAINTENANCE:
        # People worked on it: what was measured before and meanwhile is no measure for what comes.
        track = forget_measurements(track, baseline=True)
    ends = fresh_ends(track, limits, now)
    diagnosis = diagnose(track)
    fault = _find_fault(track, diagnosis, ends or track.ends, limits)
    track = track._replace(reading=diagnosis.cause if diagnosis is not None else None)
    if fault is not None:
        return _fall(track, fault, limits, now)
    if track.cause is not None:
        return _recover(track, ends, limits, now)
    return _healthy(track, diagnosis, ends, limits, now)


def _become(
    track: LinkTrack, condition: Condition, now: float, reason: str, evidence: tuple[str, ...] = ()
) -> LinkTrack:
    if condition is track.condition:
        return track._replace(reason=reason, evidence=evidence)
    suspect = condition is Condition.SUSPECT
    return track._replace(
        condition=condition,
        since=now,
        reason=reason,
        evidence=evidence,
        suspect_since=_onset(track, now) if suspect else 0.0,
        suspect_reason=reason if suspect else "",
    )


def _onset(track: LinkTrack, now: float) -> float:
    """When what makes the link suspect most likely began.

    By the clock of the agent that saw it first, which can place it neither in the future nor further back
    than what it is compared with.
    """
    seen = [
        page.since
        for end in track.ends
        for page in (end.changes.qber, end.changes.dark_fall)
        if page.told and page.since is not None
    ]
    if track.is_grave and track.disagree_since is not None:
        seen.append(track.disagree_since)
    return max(now - _LONGEST_ONSET_SECONDS, min([*seen, now]))


def _find_fault(
    track: LinkTrack, diagnosis: Diagnosis | None, ends: tuple[EndTrack, ...], limits: LinkLimits
) -> _Fault | None:
    """What takes the link out of use now, the gravest first."""
    if (outage := _outage(ends)) is not None:
        return outage
    suspicious = diagnosis is not None and diagnosis.condition is Condition.SUSPECT
    if high := _abort_reason(track, ends, limits):
        if diagnosis is None:
            return _Fault(Cause.QBER, Condition.DOWN, high)
        cause = diagnosis.cause if suspicious else Cause.QBER
        return _Fault(cause, Condition.DOWN, f"{diagnosis.reason}; {high}", diagnosis.evidence)
    if diagnosis is not None and suspicious:
        return _Fault(diagnosis.cause, diagnosis.condition, diagnosis.reason, diagnosis.evidence)
    if track.is_grave:
        reason = f"{track.disagreement}: a node or its device misreports"
        return _Fault(Cause.DISAGREEMENT, Condition.SUSPECT, reason)
    return None


def _outage(ends: tuple[EndTrack, ...]) -> _Fault | None:
    for end in ends:
        if end.fault is EndEvent.LOSS_OF_SIGNAL or end.status is Status.OFF:
            return _Fault(Cause.SIGNAL, Condition.DOWN, f"no signal at '{end.node}'{_words(end)}")
    for end in ends:
        if end.fault is EndEvent.DEVICE_FAULT:
            return _Fault(Cause.DEVICE, Condition.DOWN, f"device fault at '{end.node}'{_words(end)}")
    return None


def _words(end: EndTrack) -> str:
    return f": {end.fault_reason}" if end.fault_reason else ""


def _abort_reason(track: LinkTrack, ends: tuple[EndTrack, ...], limits: LinkLimits) -> str:
    """Why the link is aborted for its QBER; empty if it is not."""
    threshold = limits.abort_qber_ratio
    aborted = track.condition is Condition.DOWN and track.cause in {Cause.QBER, Cause.INTERCEPTION}
    for end in ends:
        if end.fault is EndEvent.QBER_ABORT:
            return f"'{end.node}' aborted for its QBER{_words(end)}"
    for end in ends:
        if end.alarm:
            return end.alarm
        for qber in (end.fast.qber, end.slow.qber):
            if exceeds(qber, threshold):
                at = f"QBER {qber.ratio:.1%} at '{end.node}'"
                return f"{at} is at or above the abort threshold {threshold:.1%}"
        lingers = end.fast.qber.ratio >= threshold * limits.leave_ratio
        if aborted and track.recovering_since is None and lingers:
            return (
                f"QBER {end.fast.qber.ratio:.1%} at '{end.node}' is not yet below"
                f" {threshold * limits.leave_ratio:.1%}, {limits.leave_ratio:.0%} of the abort threshold"
            )
    return ""


def _fall(track: LinkTrack, fault: _Fault, limits: LinkLimits, now: float) -> LinkTrack:
    flaps = track.flaps
    if track.cause is None:
        # Every quiet flap window has forgiven one fault.
        quiet_windows = (now - track.recovered_at) / limits.flap_window_seconds
        flaps = max(0, flaps - int(min(quiet_windows, flaps))) + 1
    condition = fault.condition
    if track.condition is Condition.DOWN and track.recovering_since is None:
        # On the way back from an abort the QBER is suspicious for a moment: not news.
        condition = Condition.DOWN
    track = track._replace(cause=fault.cause, fault_reason=fault.reason, recovering_since=None, flaps=flaps)
    return _become(track, condition, now, fault.reason, fault.evidence)


def hold_down_seconds(track: LinkTrack, limits: LinkLimits) -> float:
    """How long the link is held down after the fault it has now or had last."""
    doublings = min(max(track.flaps - 1, 0), _MOST_DOUBLINGS)
    return min(limits.hold_down_max_seconds, limits.hold_down_seconds * 2.0**doublings)


def _recover(track: LinkTrack, ends: tuple[EndTrack, ...], limits: LinkLimits, now: float) -> LinkTrack:
    """The fault is over: wait out the hold-down, as long as the link can be seen."""
    if not ends:
        reason = f"no telemetry since the fault: {track.fault_reason}"
        return _become(track._replace(recovering_since=None), track.condition, now, reason)
    hold = hold_down_seconds(track, limits)
    if track.recovering_since is None:
        # Devices settle differently after a cut or a repair; after a rise of QBER they must come back.
        refitted = track.cause in {Cause.SIGNAL, Cause.DEVICE}
        track = forget_measurements(track, baseline=refitted)._replace(recovering_since=now)
    began = now if track.recovering_since is None else track.recovering_since
    if now < began + hold:
        reason = (
            f"recovered, held for {hold:.0f} s (fault {track.flaps} in a row) after: {track.fault_reason}"
        )
        return _become(track, track.condition, now, reason, track.evidence)
    track = track._replace(cause=None, fault_reason="", recovering_since=None, recovered_at=now)
    return _healthy(track, None, ends, limits, now)


def _healthy(
    track: LinkTrack, diagnosis: Diagnosis | None, ends: tuple[EndTrack, ...], limits: LinkLimits, now: float
) -> LinkTrack:
    track = _accepted(track, limits)
    if all(end.seen_at is None for end in track.ends):
        return _become(track, Condition.STALE, now, "no telemetry yet")
    if not ends:
        a, b = track.ends
        # In terms of the moment, not of a running age, so that the reason stays while the condition does.
        allowed = max(end.stale_at(limits) - end.seen_at for end in (a, b) if end.seen_at is not None)
        return _become(track, Condition.STALE, now, f"no telemetry from either end for {allowed:.1f} s")
    short = _shortcoming(track, ends, limits, now)
    if diagnosis is not None:
        reason = f"{diagnosis.reason}; {short}" if short else diagnosis.reason
        return _become(track, Condition.DEGRADED, now, reason, diagnosis.evidence)
    if short:
        return _become(track, Condition.DEGRADED, now, short)
    return _become(track, Condition.OK, now, _good(track, ends, limits, now))


def _good(track: LinkTrack, ends: tuple[EndTrack, ...], limits: LinkLimits, now: float) -> str:
    """What is said of a link that works."""
    if waits_for_contact(track, now):
        window = next_contact(track, now)
        return "between contacts: " + (
            f"the next one is {moment(window.start)} to {moment(window.end)}"
            if window
            else "no further one is known"
        )
    measured = [end.slow.qber.ratio for end in ends if end.slow.qber.bits]
    if not measured:
        return "working; QBER is not measured"
    # At or above it without a shortcoming: the few bits so far may show anything.
    clear = max(measured) < limits.degraded_qber_ratio
    relation = "is below" if clear else "of few bits is not surely above"
    return f"QBER {max(measured):.1%} {relation} {limits.degraded_qber_ratio:.1%}"


def _accepted(track: LinkTrack, limits: LinkLimits) -> LinkTrack:
    """The track where what has been otherwise for long, and harmlessly, is what is usual from now on."""
    for end in track.ends:
        since, until = end.changes.told_since, end.measured_until
        if since is not None and until is not None and until > since + limits.accept_seconds:
            track = track.with_end(end._replace(baseline=NOTHING_MEASURED, changes=NO_CHANGES))
    return track


def _shortcoming(track: LinkTrack, ends: tuple[EndTrack, ...], limits: LinkLimits, now: float) -> str:
    """What keeps a working link from being OK; empty if nothing does."""
    if waits_for_contact(track, now):
        return ""
    for end in ends:
        if end.status is Status.PENDING:
            return f"the device at '{end.node}' is starting or calibrating"
    threshold = limits.degraded_qber_ratio
    leave = threshold * limits.leave_ratio
    for end in ends:
        qber = end.slow.qber
        if exceeds(qber, threshold):
            return f"QBER {qber.ratio:.1%} at '{end.node}' is at or above {threshold:.1%}"
        if track.condition is not Condition.DEGRADED or not qber.bits:
            continue
        if wilson_upper(qber.ratio, qber.effective_bits, SIGNIFICANT_Z) >= leave:
            return f"QBER {qber.ratio:.1%} at '{end.node}' is not yet surely below {leave:.1%}"
    return ""
