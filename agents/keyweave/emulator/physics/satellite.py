"""The downlink of a satellite: when it is in contact with its ground station, and what is lost then."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from keyweave.emulator.physics.contacts import Window, windows
from keyweave.emulator.physics.orbit import DAY_SECONDS, FloatArray, Orbit, Station

# Cloud that dims the light by more than this also hides the beacons by which the two telescopes point at each
# other. Assumed.
BLOCKING_CLOUD_DB = 3.0
# Losses are rounded up to it, so that expectations are seldom worked out anew. A loss reading scatters more.
LOSS_STEP_DB = 0.02
# How far ahead contacts are planned.
PLANNED_SECONDS = 2 * DAY_SECONDS
# And how far at most, where there are none: a polar summer has no night.
FARTHEST_SECONDS = 30 * DAY_SECONDS
_LARGEST_FLOAT_ERROR = 1e-9


def geometric_loss_db(range_km: float, divergence_microradians: float, aperture_m: float) -> float:
    """20 log10(theta L / D): the share of the beam's width that the telescope takes.

    The divergence is the whole angle; a telescope that is wider than the beam loses nothing. Liao et al.,
    Nature 549, 43 (2017): 10 microradians from the satellite, a telescope of 1 m at Xinglong.
    """
    beam_m = divergence_microradians * 1e-6 * range_km * 1e3
    return max(0.0, 20 * math.log10(beam_m / aperture_m))


@dataclass(frozen=True, slots=True)
class Optics:
    """The light's way from the telescope on the satellite to the one on the ground."""

    divergence_microradians: float = 10.0
    aperture_m: float = 1.0
    # Of the atmosphere, straight up; it grows with the way through it, as 1 over the sine of the elevation.
    zenith_loss_db: float = 0.0
    # Pointing and all else that does not change.
    other_loss_db: float = 0.0

    def loss_db(self, elevation_degrees: float, range_km: float) -> float:
        """All that is lost on the way."""
        return (
            geometric_loss_db(range_km, self.divergence_microradians, self.aperture_m)
            + self.zenith_loss_db / math.sin(math.radians(elevation_degrees))
            + self.other_loss_db
        )


@dataclass(frozen=True, slots=True)
class Downlink:
    """A satellite and a station whose telescopes point at each other whenever they may."""

    orbit: Orbit
    station: Station
    optics: Optics
    min_elevation_degrees: float = 10.0
    # The sun must be lower; None: it works by day too.
    sun_below_degrees: float | None = -6.0

    def loss_db_at(self, time: float) -> float:
        """Where the satellite stands at a time in contact."""
        elevations, ranges = self.station.look_at(self.orbit, np.array([time]))
        return self.optics.loss_db(float(elevations[0]), float(ranges[0]))

    def contacts(self, since: float, until: float) -> tuple[Window, ...]:
        """The contacts that orbit, mask and night allow."""
        return windows(self._margin_degrees, self._elevation_degrees, since, until)

    def _elevation_degrees(self, times: FloatArray) -> FloatArray:
        return self.station.look_at(self.orbit, times)[0]

    def _margin_degrees(self, times: FloatArray) -> FloatArray:
        """By how much satellite and sun stand where they must; positive in contact."""
        above = self._elevation_degrees(times) - self.min_elevation_degrees
        if self.sun_below_degrees is None:
            return above
        return np.minimum(above, self.sun_below_degrees - self.station.sun_elevation_degrees(times))


class Passes:
    """A downlink in the time of a scenario. Asked for moments that never go back."""

    def __init__(self, downlink: Downlink, begins: float) -> None:
        self._downlink = downlink
        # Unix time in the satellite's sky when the scenario begins.
        self._begins = begins
        self._known: deque[Window] = deque()
        self._known_until = 0.0

    def coming(self, elapsed: float) -> tuple[Window, ...]:
        """The present contact and those planned, in seconds of the scenario."""
        self._plan(elapsed)
        return tuple(self._known)

    def loss_db(self, elapsed: float) -> float | None:
        """None without contact."""
        self._plan(elapsed)
        if not self._known or elapsed < self._known[0].start:
            return None
        exact = self._downlink.loss_db_at(self._begins + elapsed)
        return LOSS_STEP_DB * math.ceil(exact / LOSS_STEP_DB - _LARGEST_FLOAT_ERROR)

    def _plan(self, elapsed: float) -> None:
        while self._known and self._known[0].end <= elapsed:
            self._known.popleft()
        while self._known_until < elapsed + (PLANNED_SECONDS if self._known else FARTHEST_SECONDS):
            since, until = max(elapsed, self._known_until), self._known_until + DAY_SECONDS
            self._known_until = until
            if until <= elapsed:
                continue
            for found in self._downlink.contacts(self._begins + since, self._begins + until):
                self._append(
                    Window(found.start - self._begins, found.end - self._begins, found.max_elevation_degrees)
                )

    def _append(self, window: Window) -> None:
        """A contact that lasts over the edge of what was planned at once is one."""
        if self._known and window.start - self._known[-1].end <= 1e-3:
            last = self._known.pop()
            window = Window(
                last.start, window.end, max(last.max_elevation_degrees, window.max_elevation_degrees)
            )
        self._known.append(window)
