"""Where a satellite, and the sun, stand in a ground station's sky: pure functions of time.

The satellite moves by SGP4 (Vallado, Crawford, Hujsak, Kelso, "Revisiting Spacetrack Report #3", AIAA
2006-6753; the package sgp4), which needs no data but its elements. Earth turns below it by the sidereal time
of 1982 (Aoki et al., Astron. Astrophys. 105, 359 (1982)). UT1 is taken for UTC, which they keep within 0.9 s
of each other, and the pole is taken to stand still: together less than 0.5 km on the ground.

Times are seconds since 1970 (Unix), arrays of them throughout.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sgp4.api import WGS84, Satrec

FloatArray = NDArray[np.float64]

DAY_SECONDS = 86_400.0
# WGS 84, NIMA TR8350.2 (2000): equatorial radius, flattening, gravitational constant.
EARTH_RADIUS_KM = 6378.137
EARTH_FLATTENING = 1 / 298.257223563
EARTH_GRAVITY_KM3_S2 = 398_600.4418
# Days counted in astronomy's way at the Unix epoch, at J2000.0 and at SGP4's own epoch.
_UNIX_JULIAN_DAY = 2_440_587.5
_J2000_JULIAN_DAY = 2_451_545.0
_SGP4_JULIAN_DAY = 2_433_281.5


def sidereal_degrees(times: FloatArray) -> FloatArray:
    """Greenwich mean sidereal time, as an angle (Aoki et al. 1982)."""
    centuries = (times / DAY_SECONDS + _UNIX_JULIAN_DAY - _J2000_JULIAN_DAY) / 36_525
    seconds = (
        67_310.54841
        + (876_600 * 3600 + 8_640_184.812866) * centuries
        + 0.093104 * centuries**2
        - 6.2e-6 * centuries**3
    )
    return np.asarray(seconds / 240 % 360)


class Orbit:
    """A satellite's orbit."""

    def __init__(self, elements: Satrec) -> None:
        self._elements = elements

    @classmethod
    def circular(
        cls,
        *,
        altitude_km: float,
        inclination_degrees: float,
        raan_degrees: float,
        mean_anomaly_degrees: float,
        epoch: float,
    ) -> "Orbit":
        """Round, without drag. The altitude is above the equator's radius, the anomaly from the node on."""
        elements = Satrec()
        radius = EARTH_RADIUS_KM + altitude_km
        elements.sgp4init(
            WGS84,
            "i",
            0,
            epoch / DAY_SECONDS + _UNIX_JULIAN_DAY - _SGP4_JULIAN_DAY,
            0.0,  # drag
            0.0,  # derivatives of the mean motion, which SGP4 does not use
            0.0,
            0.0,  # eccentricity
            0.0,  # argument of perigee
            math.radians(inclination_degrees),
            math.radians(mean_anomaly_degrees),
            60 * math.sqrt(EARTH_GRAVITY_KM3_S2 / radius**3),
            math.radians(raan_degrees),
        )
        return cls(elements)

    @classmethod
    def from_tle(cls, line1: str, line2: str) -> "Orbit":
        """Two-line elements, whose form the caller has checked."""
        return cls(Satrec.twoline2rv(line1, line2))

    @property
    def is_possible(self) -> bool:
        """Whether SGP4 can follow it."""
        return int(self._elements.error) == 0

    @property
    def perigee_km(self) -> float:
        """The least altitude above the equator's radius."""
        return float(self._elements.altp * self._elements.radiusearthkm)

    def positions_km(self, times: FloatArray) -> FloatArray:
        """Turning with Earth, a row of x, y, z for each time. NaN where it has come down by SGP4's drag."""
        days = np.floor(times / DAY_SECONDS)
        errors, positions, _velocities = self._elements.sgp4_array(
            days + _UNIX_JULIAN_DAY, times / DAY_SECONDS - days
        )
        turned = np.radians(sidereal_degrees(times))
        x, y, z = positions.T
        east, north = np.cos(turned), np.sin(turned)
        earth_fixed = np.column_stack((east * x + north * y, east * y - north * x, z))
        earth_fixed[errors != 0] = np.nan
        return np.asarray(earth_fixed)


@dataclass(frozen=True, slots=True)
class Station:
    """A place on the WGS 84 ellipsoid."""

    latitude_degrees: float
    longitude_degrees: float

    @property
    def zenith(self) -> FloatArray:
        """The direction straight up, turning with Earth."""
        latitude, longitude = math.radians(self.latitude_degrees), math.radians(self.longitude_degrees)
        return np.array(
            (
                math.cos(latitude) * math.cos(longitude),
                math.cos(latitude) * math.sin(longitude),
                math.sin(latitude),
            )
        )

    @property
    def position_km(self) -> FloatArray:
        """Turning with Earth."""
        squashed = (1 - EARTH_FLATTENING) ** 2
        sine = math.sin(math.radians(self.latitude_degrees))
        normal = EARTH_RADIUS_KM / math.sqrt(1 - (1 - squashed) * sine**2)
        return np.asarray(normal * self.zenith * (1, 1, squashed))

    def look_at(self, orbit: Orbit, times: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Elevation in degrees and range in km. What air bends light by, 0.1 degrees at 10, is left out."""
        apart = orbit.positions_km(times) - self.position_km
        ranges = np.sqrt(np.sum(apart**2, axis=1))
        # Straight above, rounding may go beyond 1.
        sines = np.clip(apart @ self.zenith / ranges, -1.0, 1.0)
        return np.degrees(np.arcsin(sines)), ranges

    def sun_elevation_degrees(self, times: FloatArray) -> FloatArray:
        """Of the sun's centre.

        Low-precision formula of the Astronomical Almanac (section C; U.S. Naval Observatory, "Computing
        approximate solar coordinates"): better than 0.02 degrees between 1800 and 2200.
        """
        days = times / DAY_SECONDS + _UNIX_JULIAN_DAY - _J2000_JULIAN_DAY
        anomaly = np.radians(357.529 + 0.98560028 * days)
        longitude = np.radians(
            280.459 + 0.98564736 * days + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly)
        )
        obliquity = np.radians(23.439 - 0.00000036 * days)
        right_ascension = np.arctan2(np.cos(obliquity) * np.sin(longitude), np.cos(longitude))
        declination = np.arcsin(np.sin(obliquity) * np.sin(longitude))
        hour = np.radians(sidereal_degrees(times) + self.longitude_degrees) - right_ascension
        latitude = math.radians(self.latitude_degrees)
        sine = math.sin(latitude) * np.sin(declination)
        sine += math.cos(latitude) * np.cos(declination) * np.cos(hour)
        return np.asarray(np.degrees(np.arcsin(sine)))
