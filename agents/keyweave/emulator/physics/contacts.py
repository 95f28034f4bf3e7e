"""When a satellite is in contact: the windows in which a function of time is positive."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keyweave.emulator.physics.orbit import FloatArray

# Between looks. Contacts that are shorter are found by their peaks.
STEP_SECONDS = 30.0
# To which the beginning and end of a contact are found.
EDGE_SECONDS = 0.5
_PEAK_POINTS = 64

OfTime = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Window:
    """One contact. Seconds of whatever clock the reader counts by."""

    start: float
    end: float
    max_elevation_degrees: float


def windows(margin: OfTime, elevation_degrees: OfTime, since: float, until: float) -> tuple[Window, ...]:
    """The contacts between two times, in order; `margin` is positive in contact.

    One that has begun before `since` is told from then on, and one that goes on after `until` up to then.
    """
    times = np.append(np.arange(since, until, STEP_SECONDS), until)
    times, in_contact = _with_missed_peaks(margin, times, margin(times))
    edges = _edges(margin, times, in_contact)
    if in_contact[0]:
        edges.insert(0, since)
    if in_contact[-1]:
        edges.append(until)
    return tuple(
        Window(start, end, _peak(elevation_degrees, start, end)[1])
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    )


def _with_missed_peaks(
    margin: OfTime, times: FloatArray, values: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Looks, and whether in contact, also where that is so between two looks only: near a peak at neither."""
    middle = values[1:-1]
    peaks = np.flatnonzero((middle <= 0) & (middle > values[:-2]) & (middle >= values[2:]))
    found = [_peak(margin, float(times[i]), float(times[i + 2])) for i in peaks]
    missed = [time for time, value in found if value > 0]
    places = np.searchsorted(times, missed)
    return np.insert(times, places, missed), np.insert(values > 0, places, True)


def _peak(of_time: OfTime, since: float, until: float) -> tuple[float, float]:
    """When a function with one peak has it, and how high: a grid, and another about its best."""
    for _ in range(2):
        times = np.linspace(since, until, _PEAK_POINTS)
        values = of_time(times)
        best = int(np.argmax(values))
        since, until = float(times[max(0, best - 1)]), float(times[min(_PEAK_POINTS - 1, best + 1)])
    return float(times[best]), float(values[best])


def _edges(margin: OfTime, times: FloatArray, in_contact: NDArray[np.bool_]) -> list[float]:
    """Where contacts begin and end, by bisection, all at once."""
    last = np.flatnonzero(in_contact[:-1] != in_contact[1:])
    before, after, at_first = times[last], times[last + 1], in_contact[last]
    while last.size and np.max(after - before) > EDGE_SECONDS:
        middle = (before + after) / 2
        as_at_first = (margin(middle) > 0) == at_first
        before, after = np.where(as_at_first, middle, before), np.where(as_at_first, after, middle)
    return [float(edge) for edge in (before + after) / 2]
