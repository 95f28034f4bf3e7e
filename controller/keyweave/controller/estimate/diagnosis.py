"""Why a link got worse: what moved together is read by one table, design section 7.

Each row of the table is a function in `_ROWS`; the first that answers counts, so the grave ones come first.
That something has moved is told by sequential tests (changes.py), whether a QBER is more than what moved with
it explains is worked out here, and every reading says what else it could be.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from keyweave.controller.estimate.agreement import SIGNIFICANT_Z
from keyweave.controller.estimate.changes import LEAST_BASELINE_BITS, Page
from keyweave.controller.estimate.track import Cause, EndTrack, LinkTrack
from keyweave.controller.estimate.windows import Moments
from keyweave.controller.topology import Condition

# So many unexplained errors are worth a suspicion: an eavesdropper on 6 % of the pulses (intercept-resend
# errs in a quarter: Bennett and Brassard 1984). Over at half of that.
_SUSPECT_QBER = 0.015
_INTERCEPT_ERROR = 0.25
# A dark count is wrong as often as right: e0 in Ma, Qi, Zhao, Lo, Phys. Rev. A 72, 012326 (2005).
_DARK_ERROR = 0.5
# Of as many clicks this share is sifted where the ends no longer know which pulse is which: an eavesdropper
# who wants key cannot do with so little.
_HARDLY_SIFTED = 0.2
# A warming of so much, beyond noise, is one. Dark counts double every 10 K or so in avalanche diodes, every
# tenths of a kelvin in superconducting nanowires.
_WARMING_KELVIN = 0.1
# A blinded detector still clicks, when its master wants it to: at this share of its usual rate or more.
_STILL_CLICKS = 0.5
# A rise that is less than this by now is none.
_STILL_RISEN = 0.005
# A drift is worth a word from here on, and is over at half of it.
_DRIFT_QBER = 0.005


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What moved together reads as this."""

    cause: Cause
    condition: Condition
    reason: str
    # What moved, by how much and since when; then what else it could be.
    evidence: tuple[str, ...]


def diagnose(track: LinkTrack) -> Diagnosis | None:
    """Read what has changed on a link; None where nothing has."""
    if not any(end.changes.any_told for end in track.ends) and not _is_drifting(track):
        return None
    for row in _ROWS:
        if (diagnosis := row(track)) is not None:
            return diagnosis
    return None


# ---- the rows ------------------------------------------------------------------------------------


def _blinding(track: LinkTrack) -> Diagnosis | None:
    """Dark counts vanish while the detectors click on (Lydersen et al., Nat. Photonics 4, 686 (2010))."""
    for end in track.ends:
        now, before = end.fast, end.baseline
        clicks = now.count_rate_hz.mean >= _STILL_CLICKS * before.count_rate_hz.mean > 0.0
        if end.changes.dark_fall.told and clicks:
            reason = (
                f"dark counts at '{end.node}' fell from {before.dark_count_rate_hz.mean:.0f} to"
                f" {now.dark_count_rate_hz.mean:.0f} /s while the detectors click on: blinding suspected"
            )
            return _read(
                track, Cause.BLINDING, Condition.SUSPECT, reason, "a detector that is read out wrongly"
            )
    return None


def _out_of_step(track: LinkTrack) -> Diagnosis | None:
    """QBER is up and hardly any click is sifted, though as many come."""
    for end in track.ends:
        now, before = end.fast, end.baseline
        few = now.qber.bits_a_row < _HARDLY_SIFTED * before.qber.bits_a_row
        clicks = now.count_rate_hz.mean >= _STILL_CLICKS * before.count_rate_hz.mean > 0.0
        if end.changes.qber.told and few and clicks:
            reason = (
                f"the ends are out of step: of as many clicks at '{end.node}'"
                f" {now.qber.bits_a_row / before.qber.bits_a_row:.1%} of what was sifted is,"
                f" and QBER is {end.changes.qber.mean:.1%}"
            )
            others = "an attacker who only disturbs"
            return _read(track, Cause.SYNCHRONISATION, Condition.DEGRADED, reason, others)
    return None


def _interception(track: LinkTrack) -> Diagnosis | None:
    """QBER jumps by more than what loss and detectors explain.

    Both ends are heard: where both measure QBER both must have seen the jump, and whatever changed with it
    has then arrived too. Once suspected, a smaller rise keeps it so, until the hold-down begins.
    """
    if not _explains(track):
        return None
    measuring = _measuring(track)
    suspected = track.cause is Cause.INTERCEPTION and track.recovering_since is None
    if not measuring or not all(
        # Now, too: where what explained a rise goes, the mean since it began outlasts the explanation.
        _rise(track, end, since_onset=False) > _SUSPECT_QBER / 2
        and (suspected or (end.changes.qber.told and _rise(track, end, since_onset=True) > _SUSPECT_QBER))
        for end in measuring
    ):
        return None
    worst = max(measuring, key=lambda end: end.fast.qber.ratio)
    explained = _explained_qber(track, worst)
    moved = any(end.changes.loss.told or end.changes.dark_rise.told for end in track.ends)
    reason = f"QBER jumped from {worst.baseline.qber.ratio:.1%} to {worst.fast.qber.ratio:.1%}" + (
        f", more than the {explained:.1%} that loss and dark counts explain: interception suspected"
        if moved
        else " while loss and detectors are unchanged: interception suspected"
    )
    return _read(
        track, Cause.INTERCEPTION, Condition.SUSPECT, reason, "a sudden misalignment (polarisation, phase)"
    )


def _cooling(track: LinkTrack) -> Diagnosis | None:
    """Dark counts and temperature rise together."""
    for end in track.ends:
        now, before = end.fast.temperature_celsius, end.baseline.temperature_celsius
        if end.changes.dark_rise.told and _higher(now, before, _WARMING_KELVIN):
            reason = (
                f"cooling fails: detectors at '{end.node}' warmed from {before.mean:.1f} to {now.mean:.1f}"
                f" degrees Celsius and have {_times(end)} times the dark counts"
            )
            return _read(
                track,
                Cause.COOLING,
                Condition.DEGRADED,
                reason,
                "a warm room, a blocked fan; interception hidden by the noise",
            )
    return None


def _stray_light(track: LinkTrack) -> Diagnosis | None:
    """Dark counts rise and the temperature does not, or nobody measures it."""
    for end in track.ends:
        if end.changes.dark_rise.told:
            measured = end.fast.temperature_celsius.weight and end.baseline.temperature_celsius.weight
            reason = f"{_times(end)} times the dark counts at '{end.node}'" + (
                " at an unchanged temperature: light from outside, or a noisy detector"
                if measured
                else ": a noisy detector, or light from outside"
            )
            others = "light that an attacker sends in" + ("" if measured else "; cooling that fails")
            return _read(track, Cause.DARK_COUNTS, Condition.DEGRADED, reason, others)
    return None


def _attenuation(track: LinkTrack) -> Diagnosis | None:
    """Loss is up, and QBER by no more than the dark counts' larger share."""
    for end in track.ends:
        if end.changes.loss.told:
            now, before = end.fast.loss_db, end.baseline.loss_db
            reason = (
                f"loss at '{end.node}' rose from {before.mean:.2f} to {now.mean:.2f} dB:"
                " a bend, a splice or a connector"
            )
            others = (
                "a fading source; a tap that takes a part of the light; an interception that the loss hides"
            )
            return _read(track, Cause.LOSS, Condition.DEGRADED, reason, others)
    return None


def _small_rise(track: LinkTrack) -> Diagnosis | None:
    """QBER is up at both ends, not enough to suspect anybody, or there is nothing to tell that by."""
    measuring = _measuring(track)
    if not measuring or not all(end.changes.qber.told for end in measuring):
        return None
    worst = max(measuring, key=lambda end: end.fast.qber.ratio)
    if worst.fast.qber.ratio < worst.baseline.qber.ratio + _STILL_RISEN:
        return None  # it is over; the evidence of it takes a while to fade
    reason = f"QBER rose from {worst.baseline.qber.ratio:.2%} to {worst.fast.qber.ratio:.2%}" + (
        f", by less than the {_SUSPECT_QBER:.1%} that are worth a suspicion"
        if _explains(track)
        else "; loss and detectors are not measured, so nobody can say why"
    )
    others = f"interception of less than {_SUSPECT_QBER / _INTERCEPT_ERROR:.0%} of the pulses"
    return _read(track, Cause.QBER_RISE, Condition.DEGRADED, reason, others)


def _drift(track: LinkTrack) -> Diagnosis | None:
    """QBER has crept up, and visibility down."""
    if not _is_drifting(track):
        return None
    end = max(track.ends, key=lambda end: end.crept)
    now, before = end.baseline.qber.ratio, end.reference.qber.ratio
    seen, usual = end.baseline.visibility_ratio, end.reference.visibility_ratio
    reason = f"QBER at '{end.node}' crept from {before:.2%} to {now:.2%}" + (
        f" and visibility from {usual.mean:.2%} to {seen.mean:.2%}: alignment or phase drifts, recalibrate"
        if seen.weight and usual.weight
        else "; visibility is not measured: alignment or phase drifts, recalibrate"
    )
    others = "an interception that grows slowly; a laser that ages"
    return _read(track, Cause.DRIFT, Condition.DEGRADED, reason, others)


_ROWS: tuple[Callable[[LinkTrack], Diagnosis | None], ...] = (
    _blinding,
    _out_of_step,
    _interception,
    _cooling,
    _stray_light,
    _attenuation,
    _small_rise,
    _drift,
)


# ---- what a QBER is made of ----------------------------------------------------------------------


def _measuring(track: LinkTrack) -> list[EndTrack]:
    """The ends whose QBER was known well enough to see it change."""
    return [end for end in track.ends if end.baseline.qber.effective_bits >= LEAST_BASELINE_BITS]


def _explains(track: LinkTrack) -> bool:
    """Whether anything is measured that could explain a QBER."""
    return any(
        now.weight and before.weight
        for end in track.ends
        for now, before in (
            (end.fast.loss_db, end.baseline.loss_db),
            (end.fast.dark_count_rate_hz, end.baseline.dark_count_rate_hz),
        )
    )


def _rise(track: LinkTrack, end: EndTrack, *, since_onset: bool) -> float:
    """By how much more the QBER is than what has moved with it explains at most."""
    ratio = end.changes.qber.mean if since_onset else end.fast.qber.ratio
    return ratio - _explained_qber(track, end)


def _explained_qber(track: LinkTrack, end: EndTrack) -> float:
    """The highest QBER that the present loss and dark counts can cause where `end.baseline` was the QBER.

    With a share s of the clicks dark, E = e0 s + e (1 - s) (Ma et al. 2005, eq. (11)); loss takes away
    signal, warming adds dark counts. How many dark counts fall into gates is not told, so s is taken as large
    as it can be: the ratio of the counts, and no more than causes all errors there were.
    """
    before = end.baseline.qber.ratio
    lost = max([_most_moved(each.fast.loss_db, each.baseline.loss_db) for each in track.ends])
    factor, share = 1.0, 2 * before
    for each in track.ends:
        dark, usual = each.fast.dark_count_rate_hz, each.baseline.dark_count_rate_hz
        if usual.mean > 0.0:
            factor = max(factor, 1.0 + _most_moved(dark, usual) / usual.mean)
            if each.baseline.count_rate_hz.mean > 0.0:
                share = min(share, usual.mean / each.baseline.count_rate_hz.mean)
    if share >= 1.0:
        return _DARK_ERROR
    signal = (before - _DARK_ERROR * share) / (1.0 - share)
    light, dark_light = (1.0 - share) * 10 ** (-lost / 10), share * factor
    return (signal * light + _DARK_ERROR * dark_light) / (light + dark_light)


def _most_moved(now: Moments, before: Moments) -> float:
    """By how much a mean has risen at most, noise included; 0 where it is not measured."""
    if not now.weight or not before.weight:
        return 0.0
    return max(0.0, now.mean - before.mean + SIGNIFICANT_Z * _noise(now, before))


def _higher(now: Moments, before: Moments, least: float) -> bool:
    """Whether a mean has risen, beyond noise."""
    if not now.weight or not before.weight:
        return False
    return now.mean - before.mean > least + SIGNIFICANT_Z * _noise(now, before)


def _noise(now: Moments, before: Moments) -> float:
    """Standard error of the difference; a few rows scatter no less than those before them did."""
    scatter = max(now.mean_variance, before.variance / now.effective_samples)
    return math.sqrt(scatter + before.mean_variance)


def _times(end: EndTrack) -> str:
    before = end.baseline.dark_count_rate_hz.mean
    return f"{end.fast.dark_count_rate_hz.mean / before:.1f}" if before else "many"


# ---- drift ---------------------------------------------------------------------------------------


def _is_drifting(track: LinkTrack) -> bool:
    least = _DRIFT_QBER / 2 if track.reading is Cause.DRIFT else _DRIFT_QBER
    a, b = track.ends
    return a.crept > least or b.crept > least


# ---- evidence ------------------------------------------------------------------------------------


def _read(track: LinkTrack, cause: Cause, condition: Condition, reason: str, others: str) -> Diagnosis:
    figures = [figure for end in track.ends for figure in _figures(end)]
    return Diagnosis(cause, condition, reason, (*figures, f"could also be: {others}"))


def _figures(end: EndTrack) -> Iterable[str]:
    """What this end measures that tells something, with what it was before, and since when."""
    now, before, changes = end.fast, end.baseline, end.changes
    if now.qber.bits and before.qber.bits:
        yield f"{end.node}: QBER {now.qber.ratio:.2%}, before {before.qber.ratio:.2%}{_since(changes.qber)}"
    dark = changes.dark_fall if changes.dark_fall.told else changes.dark_rise
    for name, unit, value, usual, page in (
        ("loss", "dB", now.loss_db, before.loss_db, changes.loss),
        ("counts", "/s", now.count_rate_hz, before.count_rate_hz, None),
        ("dark counts", "/s", now.dark_count_rate_hz, before.dark_count_rate_hz, dark),
        ("temperature", "degrees Celsius", now.temperature_celsius, before.temperature_celsius, None),
        ("visibility", "", now.visibility_ratio, before.visibility_ratio, None),
    ):
        if value.weight and usual.weight:
            digits = 0 if unit == "/s" else 4 if name == "visibility" else 2
            yield (
                f"{end.node}: {name} {value.mean:.{digits}f} {unit}".rstrip()
                + f", before {usual.mean:.{digits}f}{_since(page) if page else ''}"
            )


def _since(page: Page) -> str:
    if not page.told or page.since is None:
        return ""
    return f", since {moment(page.since)}"


def moment(seconds: float) -> str:
    """Unix seconds as people read them, UTC."""
    return f"{np.datetime64(int(seconds), 's')}Z"
