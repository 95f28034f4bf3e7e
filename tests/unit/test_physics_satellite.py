"""The downlink of a satellite: its loss, and a link that has one."""

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.emulator.physics.channel import Channel
from keyweave.emulator.physics.decoy_bb84 import DecoyBb84
from keyweave.emulator.physics.detectors import Detectors, Receiver
from keyweave.emulator.physics.information import repeaterless_bound
from keyweave.emulator.physics.link import Devices, ProtocolLink
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance, Measurement
from keyweave.emulator.physics.orbit import DAY_SECONDS, Orbit, Station
from keyweave.emulator.physics.satellite import (
    BLOCKING_CLOUD_DB,
    FARTHEST_SECONDS,
    LOSS_STEP_DB,
    PLANNED_SECONDS,
    Downlink,
    Optics,
    Passes,
    geometric_loss_db,
)
from keyweave.v1 import types_pb2

BEGINS = dt.datetime(2017, 7, 1, tzinfo=dt.UTC).timestamp()
ORBIT = Orbit.circular(
    altitude_km=500, inclination_degrees=97.4, raan_degrees=295, mean_anomaly_degrees=40, epoch=BEGINS
)
OPTICS = Optics(zenith_loss_db=1, other_loss_db=3)
DOWNLINK = Downlink(ORBIT, Station(47.067, 15.493), OPTICS)
DETECTORS = Detectors(
    kind="Si SPAD",
    count=4,
    at_both_ends=False,
    efficiency_ratio=0.5,
    dark_count_rate_hz=25,
    temperature_celsius=-50,
    bias_volts=30,
    dead_time_seconds=5e-8,
)
PROTOCOL = DecoyBb84(
    Receiver(DETECTORS, 1e8, 2e-9, optics_loss_db=8),
    mean_photon_number=0.8,
    weak_photon_number=0.1,
    signal_ratio=0.5,
    weak_ratio=0.25,
)
DEVICES = Devices(PROTOCOL, OPTICS.loss_db(90, ORBIT.perigee_km), 0.11, DETECTORS)


def link() -> ProtocolLink:
    return ProtocolLink(DEVICES, link="down", seed=1, passes=Passes(DOWNLINK, BEGINS))


def over_a_day(disturbance: Disturbance = UNDISTURBED) -> list[tuple[float, Measurement]]:
    model = link()
    return [
        (float(elapsed), model.measure(float(elapsed), 20.0, disturbance))
        for elapsed in np.arange(20, DAY_SECONDS + 1, 20)
    ]


@pytest.mark.parametrize(("range_km", "loss_db"), [(645, 16.2), (1200, 21.6)])
def test_the_geometric_loss_is_the_published_one(range_km: float, loss_db: float) -> None:
    assert geometric_loss_db(range_km, 10, 1) == pytest.approx(loss_db, abs=0.05)


def test_a_telescope_wider_than_the_beam_loses_nothing() -> None:
    assert geometric_loss_db(90, 10, 1) == 0


def test_air_is_twice_as_thick_at_30_degrees() -> None:
    high, low = OPTICS.loss_db(90, 1000), OPTICS.loss_db(30, 1000)
    assert low - high == pytest.approx(OPTICS.zenith_loss_db)


def test_key_comes_in_contact_only() -> None:
    contacts = DOWNLINK.contacts(BEGINS, BEGINS + DAY_SECONDS)
    assert contacts
    in_contact = 0
    for elapsed, measured in over_a_day():
        if any(window.start < BEGINS + elapsed < window.end for window in contacts):
            in_contact += 1
            assert measured.status == types_pb2.LINK_STATUS_ACTIVE
            assert measured.key_bits > 0
            assert measured.qber_ratio < 0.05
        else:
            assert measured.status == types_pb2.LINK_STATUS_PENDING
            assert measured.key_bits == measured.skr_bps == measured.sifted_rate_bps == 0
            readings = (
                measured.qber_ratio,
                measured.visibility_ratio,
                *(end.loss_db for end in measured.ends),
            )
            assert all(math.isnan(reading) for reading in readings)
    assert in_contact * 20 == pytest.approx(sum(w.end - w.start for w in contacts), abs=20 * len(contacts))


def test_the_loss_follows_the_range() -> None:
    passes = Passes(DOWNLINK, BEGINS)
    best = max(passes.coming(0), key=lambda window: window.max_elevation_degrees)
    losses = [passes.loss_db(float(t)) for t in np.arange(best.start + 1, best.end, 5)]
    known = [loss for loss in losses if loss is not None]
    assert len(known) == len(losses)
    nearest = known.index(min(known))
    assert known[0] > known[nearest] + 5
    assert known[:nearest] == sorted(known[:nearest], reverse=True)
    assert known[nearest:] == sorted(known[nearest:])
    # The lowest and straight above is a bound that no pass goes below.
    assert min(known) >= DEVICES.loss_db


def test_no_contact_is_begun_by_day() -> None:
    summer_in_the_north = replace(DOWNLINK, station=Station(75, 15))
    assert summer_in_the_north.contacts(BEGINS, BEGINS + DAY_SECONDS) == ()
    by_day_too = replace(summer_in_the_north, sun_below_degrees=None)
    assert len(by_day_too.contacts(BEGINS, BEGINS + DAY_SECONDS)) > 5


def test_what_is_planned_is_what_all_of_it_at_once_would_be() -> None:
    """Whoever moves through time in steps, and over midnight, sees the same contacts."""
    by_day_too = replace(DOWNLINK, sun_below_degrees=None)
    whole = by_day_too.contacts(BEGINS, BEGINS + 5 * DAY_SECONDS)
    passes, seen = Passes(by_day_too, BEGINS), {}
    for elapsed in np.arange(0, 3 * DAY_SECONDS, 200.0):
        for window in passes.coming(float(elapsed)):
            seen[round((window.start + window.end) / 60)] = window
        assert passes.coming(float(elapsed))[-1].end > elapsed + PLANNED_SECONDS - DAY_SECONDS / 2
    expected = [w for w in whole if w.start - BEGINS < 3 * DAY_SECONDS]
    assert len(expected) >= 10
    for window, known in zip(expected, sorted(seen.values(), key=lambda w: w.start), strict=False):
        assert known.start == pytest.approx(window.start - BEGINS, abs=1)
        assert known.end == pytest.approx(window.end - BEGINS, abs=1)
        assert known.max_elevation_degrees == pytest.approx(window.max_elevation_degrees, abs=0.1)


def test_a_contact_over_the_edge_of_planning_is_one() -> None:
    geostationary = Orbit.circular(
        altitude_km=35_786, inclination_degrees=0, raan_degrees=0, mean_anomaly_degrees=0, epoch=BEGINS
    )
    x, y, _ = geostationary.positions_km(np.array([BEGINS]))[0]
    station = Station(0, math.degrees(math.atan2(y, x)))
    passes = Passes(Downlink(geostationary, station, OPTICS, sun_below_degrees=None), BEGINS)
    passes.coming(0.0)
    (window,) = passes.coming(10.0)
    assert window.start == 0
    assert window.end >= PLANNED_SECONDS


def test_planning_ends_where_there_is_nothing_to_find() -> None:
    never = Passes(replace(DOWNLINK, station=Station(75, 15), min_elevation_degrees=89.9), BEGINS)
    assert never.coming(0.0) == ()
    assert never.loss_db(FARTHEST_SECONDS / 2) is None


def test_a_cloud_ends_the_contact_and_haze_dims_it() -> None:
    passes = Passes(DOWNLINK, BEGINS)
    best = max(passes.coming(0), key=lambda window: window.max_elevation_degrees)
    middle = (best.start + best.end) / 2
    clear = link().measure(middle, 1.0, UNDISTURBED)
    hazy = link().measure(middle, 1.0, Disturbance(cloud_db=BLOCKING_CLOUD_DB - 1))
    cloudy = link().measure(middle, 1.0, Disturbance(cloud_db=BLOCKING_CLOUD_DB))
    assert 0 < hazy.key_bits < clear.key_bits
    assert hazy.ends[1].loss_db == pytest.approx(clear.ends[1].loss_db + BLOCKING_CLOUD_DB - 1, abs=0.5)
    assert cloudy.status == types_pb2.LINK_STATUS_PENDING
    assert cloudy.key_bits == 0


def test_a_satellite_that_is_cut_off_is_out_of_order_in_contact_or_not() -> None:
    assert {measured.status for _, measured in over_a_day(Disturbance(cut=True))} == {
        types_pb2.LINK_STATUS_OFF
    }


@settings(max_examples=50)
@given(
    elevation=st.floats(5, 90),
    range_km=st.floats(300, 3000),
    divergence=st.floats(1, 100),
    aperture=st.floats(0.1, 5),
)
def test_no_key_exceeds_the_bound_without_repeaters(
    elevation: float, range_km: float, divergence: float, aperture: float
) -> None:
    loss_db = Optics(divergence, aperture, zenith_loss_db=3, other_loss_db=3).loss_db(elevation, range_km)
    channel = Channel(loss_db)
    per_pulse = PROTOCOL.expected(channel).secret_bps / PROTOCOL.receiver.pulse_rate_hz
    assert per_pulse <= repeaterless_bound(channel.transmittance_ratio)


def test_the_loss_that_key_is_made_at_is_never_below_the_true_one() -> None:
    passes = Passes(DOWNLINK, BEGINS)
    best = max(passes.coming(0), key=lambda window: window.max_elevation_degrees)
    for elapsed in np.linspace(best.start + 1, best.end - 1, 97):
        used, true = passes.loss_db(float(elapsed)), DOWNLINK.loss_db_at(BEGINS + float(elapsed))
        assert used is not None
        assert true - 1e-6 <= used <= true + LOSS_STEP_DB
