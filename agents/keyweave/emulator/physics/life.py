"""The slow life of a device: drift of its optics, warm days, an ageing laser, and calibration."""

import math
from dataclasses import dataclass

import numpy as np

HOUR_SECONDS = 3600.0
YEAR_SECONDS = 365.25 * 86400


@dataclass(frozen=True, slots=True)
class Drift:
    """How a device changes by itself. Magnitudes are the scenario's to choose; the laws are named below."""

    # Angle between the two ends' frames (polarisation; half the phase of an interferometer): a steady part,
    # and the standard deviation of a random walk after an hour.
    angle_degrees_per_hour: float = 0.0
    angle_walk_degrees: float = 0.0
    # Swing of a day about its mean: detectors that are cooled less well at noon, fibre that is strained.
    detector_day_kelvin: float = 0.0
    loss_day_db: float = 0.0
    day_seconds: float = 86400.0
    # Share of its power that the laser loses in a year.
    laser_loss_ratio_per_year: float = 0.0
    laser_age_years: float = 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a device brings its optics back. Without a period it calibrates only when asked to."""

    takes_seconds: float = 60.0
    every_seconds: float | None = None


STEADY = Drift()
ON_REQUEST = Calibration()


@dataclass(frozen=True, slots=True)
class Wear:
    """What the slow life has made of a device at one moment."""

    calibrating: bool
    misalignment_ratio: float
    warming_kelvin: float
    added_loss_db: float
    brightness_ratio: float


class SlowLife:
    """The drift of one link's devices. Called for consecutive moments, in order."""

    def __init__(self, drift: Drift, calibration: Calibration, chance: np.random.Generator) -> None:
        self._drift = drift
        self._calibration = calibration
        self._chance = chance
        self._elapsed = 0.0
        self._angle_degrees = 0.0
        self._asked = False
        self._until: float | None = None
        # Devices that were switched on together do not calibrate together.
        every = calibration.every_seconds
        self._next = math.inf if every is None else every * chance.uniform(0.5, 1.0)
        # What a calibration took out of a misalignment that came from outside.
        self._compensated = 0.0

    def ask_for_calibration(self) -> None:
        """Begin at the next moment; it changes nothing for a device that is at it already."""
        self._asked = True

    def advance(self, elapsed_seconds: float, outside_misalignment_ratio: float) -> Wear:
        """Live on until `elapsed_seconds`, with some misalignment from outside (a fault)."""
        passed = max(0.0, elapsed_seconds - self._elapsed)
        self._elapsed = max(self._elapsed, elapsed_seconds)
        drift = self._drift
        self._angle_degrees += drift.angle_degrees_per_hour * passed / HOUR_SECONDS
        if drift.angle_walk_degrees and passed:
            self._angle_degrees += drift.angle_walk_degrees * self._chance.normal(
                0.0, math.sqrt(passed / HOUR_SECONDS)
            )
        calibrating = self._calibrate(outside_misalignment_ratio)
        self._compensated = min(self._compensated, outside_misalignment_ratio)
        day = math.sin(2 * math.pi * self._elapsed / drift.day_seconds)
        years = drift.laser_age_years + self._elapsed / YEAR_SECONDS
        # Light of one polarisation, analysed under an angle: sin^2 of it goes to the wrong detector.
        angle_error = math.sin(math.radians(self._angle_degrees)) ** 2
        outside = outside_misalignment_ratio - self._compensated
        return Wear(
            calibrating=calibrating,
            misalignment_ratio=angle_error + outside - 2 * angle_error * outside,
            warming_kelvin=drift.detector_day_kelvin * day,
            added_loss_db=drift.loss_day_db * day,
            brightness_ratio=(1 - drift.laser_loss_ratio_per_year) ** years,
        )

    def _calibrate(self, outside_misalignment_ratio: float) -> bool:
        if self._until is None:
            if not self._asked and self._elapsed < self._next:
                return False
            self._until = self._elapsed + self._calibration.takes_seconds
        if self._elapsed < self._until:
            return True
        self._angle_degrees = 0.0
        self._compensated = outside_misalignment_ratio
        every = self._calibration.every_seconds
        self._next = math.inf if every is None else self._elapsed + every
        self._asked, self._until = False, None
        return False
