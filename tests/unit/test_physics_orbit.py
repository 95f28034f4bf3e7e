"""Orbits, ground stations and the sun, against figures that are published or follow from geometry."""

import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sgp4.propagation import gstime

from keyweave.emulator.physics.contacts import EDGE_SECONDS, windows
from keyweave.emulator.physics.orbit import DAY_SECONDS, EARTH_RADIUS_KM, Orbit, Station, sidereal_degrees
from keyweave.emulator.physics.satellite import Downlink, Optics

EPOCH = dt.datetime(2017, 7, 1, tzinfo=dt.UTC).timestamp()
# The example of the package's own documentation, and of AIAA 2006-6753: Vanguard 1.
VANGUARD = (
    "1 00005U 58002B   00179.78495062  .00000023  00000-0  28098-4 0  4753",
    "2 00005  34.2682 348.7242 1859667 331.7664  19.3264 10.82419157413667",
)


def at(*moment: int) -> float:
    return dt.datetime(*moment, tzinfo=dt.UTC).timestamp()  # type: ignore[misc, arg-type]


def round_orbit(altitude_km: float = 500, inclination_degrees: float = 90, raan_degrees: float = 10) -> Orbit:
    return Orbit.circular(
        altitude_km=altitude_km,
        inclination_degrees=inclination_degrees,
        raan_degrees=raan_degrees,
        mean_anomaly_degrees=0,
        epoch=EPOCH,
    )


def below(orbit: Orbit, time: float) -> Station:
    """Where the satellite stands straight above, by Bowring's formula (Survey Review 23, 323 (1976))."""
    x, y, z = orbit.positions_km(np.array([time]))[0]
    flattening, semi = 1 / 298.257223563, EARTH_RADIUS_KM
    other, squared = semi * (1 - flattening), flattening * (2 - flattening)
    across = math.hypot(x, y)
    parametric = math.atan2(z * semi, across * other)
    latitude = math.atan2(
        z + squared / (1 - squared) * other * math.sin(parametric) ** 3,
        across - squared * semi * math.cos(parametric) ** 3,
    )
    return Station(math.degrees(latitude), math.degrees(math.atan2(y, x)))


def test_the_sidereal_time_is_that_of_the_textbook() -> None:
    # Vallado, Fundamentals of Astrodynamics and Applications, example 3-5.
    (angle,) = sidereal_degrees(np.array([at(1992, 8, 20, 12, 14)]))
    assert angle == pytest.approx(152.578788, abs=1e-6)


@given(st.floats(min_value=0, max_value=4e9))
def test_the_sidereal_time_is_that_of_the_orbit_library(time: float) -> None:
    (angle,) = np.radians(sidereal_degrees(np.array([time])))
    assert math.cos(angle - gstime(time / DAY_SECONDS + 2_440_587.5)) == pytest.approx(1, abs=1e-9)


def test_a_satellite_of_two_line_elements_is_where_the_reference_has_it() -> None:
    # AIAA 2006-6753, appendix E: at the epoch, in coordinates that do not turn with Earth.
    epoch = at(2000, 6, 27) + 0.78495062 * DAY_SECONDS
    (x, y, z) = Orbit.from_tle(*VANGUARD).positions_km(np.array([epoch]))[0]
    angle = math.radians(float(sidereal_degrees(np.array([epoch]))[0]))
    turned_back = (x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle), z)
    assert turned_back == pytest.approx((7022.46529266, -1400.08296755, 0.03995155), abs=0.01)


@pytest.mark.parametrize("inclination", [0, 51.6, 90, 97.4])
def test_a_round_orbit_keeps_its_altitude(inclination: float) -> None:
    times = EPOCH + np.arange(0.0, 6000.0, 10.0)
    radii = np.sqrt(np.sum(round_orbit(500, inclination).positions_km(times) ** 2, axis=1))
    # SGP4 knows how far Earth is from a ball: a few kilometres either way.
    assert np.all(np.abs(radii - EARTH_RADIUS_KM - 500) < 15)


def test_a_geostationary_satellite_stands_still_where_geometry_has_it() -> None:
    # 86,164 s around: 42,164 km from the centre, 35,786 km above the equator.
    orbit = round_orbit(35_786, 0, 0)
    (x, y, _), *_ = orbit.positions_km(np.array([EPOCH]))
    times = EPOCH + np.arange(0, DAY_SECONDS, 3600)
    under = Station(0, math.degrees(math.atan2(y, x)))
    elevations, ranges = under.look_at(orbit, times)
    assert np.all(elevations > 89)
    assert np.all(np.abs(ranges - 35_786) < 30)
    elevations, _ = Station(45, under.longitude_degrees).look_at(orbit, times)
    # Of a ball: atan((cos 45 - 6378 / 42164) / sin 45), within what flattening does.
    assert np.all(np.abs(elevations - 38.2) < 0.4)


@pytest.mark.parametrize(("place", "radius"), [((0, 0), 6378.137), ((90, 0), 6356.752), ((45, 90), 6367.490)])
def test_a_station_stands_on_the_ellipsoid(place: tuple[float, float], radius: float) -> None:
    assert math.sqrt(sum(Station(*place).position_km ** 2)) == pytest.approx(radius, abs=0.001)


@pytest.mark.parametrize(
    ("moment", "declination"),
    [
        # Equinox and solstices of 2017, and the sun's declination then.
        ((2017, 3, 20, 10, 29), 0.0),
        ((2017, 6, 21, 4, 24), 23.43),
        ((2017, 9, 22, 20, 2), 0.0),
        ((2017, 12, 21, 16, 28), -23.43),
    ],
)
def test_the_sun_stands_where_the_seasons_have_it(moment: tuple[int, ...], declination: float) -> None:
    (at_pole,) = Station(90, 0).sun_elevation_degrees(np.array([at(*moment)]))
    assert at_pole == pytest.approx(declination, abs=0.02)


@pytest.mark.parametrize(
    ("day", "declination", "noon"),
    [
        # The equation of time at its extremes: -14 min 14 s in February, +16 min 27 s in November.
        ((2017, 2, 11), -14.0, 12 * 3600 + 14 * 60 + 14),
        ((2017, 11, 3), -15.1, 12 * 3600 - 16 * 60 - 27),
    ],
)
def test_the_sun_is_highest_at_greenwich_when_the_equation_of_time_has_it(
    day: tuple[int, ...], declination: float, noon: int
) -> None:
    # Elsewhere the sun is highest a little off the meridian, as it moves north or south meanwhile.
    times = at(*day) + np.arange(0, DAY_SECONDS, 1)
    highest = int(np.argmax(Station(declination, 0).sun_elevation_degrees(times)))
    assert highest == pytest.approx(noon, abs=10)


@pytest.mark.parametrize("moment", [0, 300, 700])
def test_an_overhead_pass_at_500_km_is_above_10_degrees_for_443_s(moment: float) -> None:
    orbit = round_orbit(500)
    downlink = Downlink(orbit, below(orbit, EPOCH + moment), Optics(), sun_below_degrees=None)
    (found,) = downlink.contacts(EPOCH + moment - 1000, EPOCH + moment + 1000)
    assert found.end - found.start == pytest.approx(443, rel=0.01)
    assert (found.start + found.end) / 2 == pytest.approx(EPOCH + moment, abs=3)
    assert found.max_elevation_degrees > 89.5


@settings(max_examples=15, deadline=None)
@given(
    latitude=st.floats(-80, 80),
    longitude=st.floats(-180, 180),
    inclination=st.floats(30, 100),
    mask=st.floats(5, 60),
    sun=st.sampled_from([None, -6.0, 0.0]),
)
def test_contacts_are_those_of_a_scan_of_every_second(
    latitude: float, longitude: float, inclination: float, mask: float, sun: float | None
) -> None:
    orbit, station = round_orbit(500, inclination), Station(latitude, longitude)
    downlink = Downlink(orbit, station, Optics(), min_elevation_degrees=mask, sun_below_degrees=sun)
    until = EPOCH + DAY_SECONDS / 2
    found = downlink.contacts(EPOCH, until)

    times = np.arange(EPOCH, until + 1, 1.0)
    elevations, _ = station.look_at(orbit, times)
    scanned = elevations > mask
    if sun is not None:
        scanned &= station.sun_elevation_degrees(times) < sun
    told = np.zeros_like(scanned)
    for window in found:
        within = (times >= window.start) & (times <= window.end)
        told |= within
        if np.any(scanned & within):
            highest = float(np.max(elevations[scanned & within]))
            assert window.max_elevation_degrees == pytest.approx(highest, abs=0.5)
    # Each edge may be off by as much as bisection leaves.
    edges = np.flatnonzero(scanned != told)
    near = [min(abs(times[i] - edge) for w in found for edge in (w.start, w.end)) for i in edges]
    assert all(apart <= 1 + EDGE_SECONDS for apart in near)
    assert len(edges) <= 2 * len(found)


def test_a_contact_shorter_than_the_looks_are_apart_is_found() -> None:
    (found,) = windows(lambda t: 3 - np.abs(t - 104.0), lambda t: t * 0, 0, 600)
    assert (found.start, found.end) == pytest.approx((101, 107), abs=EDGE_SECONDS)


def test_a_contact_that_has_begun_or_goes_on_is_told_as_far_as_was_looked() -> None:
    always = windows(lambda t: t * 0 + 1, lambda t: t * 0 + 45, 10, 100)
    assert [(window.start, window.end) for window in always] == [(10, 100)]
    assert windows(lambda t: t * 0 - 1, lambda t: t * 0, 10, 100) == ()
