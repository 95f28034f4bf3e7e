"""The slow life of devices: they drift, warm, age, and calibrate."""

import dataclasses
import math
import statistics

import numpy as np
import pytest

from keyweave.emulator.physics.anchored import OperatingPoint
from keyweave.emulator.physics.detectors import Detectors
from keyweave.emulator.physics.life import ON_REQUEST, STEADY, Calibration, Drift, SlowLife
from keyweave.emulator.physics.link import ProtocolLink
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance, Measurement
from keyweave.v1 import types_pb2
from tests.unit.physics_cases import anchored_devices

HOUR = 3600.0
POINT = OperatingPoint(
    loss_db=10,
    qber_ratio=0.02,
    skr_bps=100_000,
    abort_qber_ratio=0.11,
    pulse_rate_hz=1e9,
    mean_photon_number=0.5,
    gate_seconds=1e-10,
    sifting_ratio=0.5,
    detectors=Detectors("InGaAs", 2, False, 0.2, 1000, -50, 50, 5e-8),
)


def life(drift: Drift = STEADY, calibration: Calibration = ON_REQUEST, seed: int = 1) -> SlowLife:
    return SlowLife(drift, calibration, np.random.default_rng(seed))


def link(drift: Drift = STEADY, calibration: Calibration = ON_REQUEST) -> ProtocolLink:
    devices = dataclasses.replace(anchored_devices(POINT), drift=drift, calibration=calibration)
    return ProtocolLink(devices, link="x", seed=1)


def at(model: ProtocolLink, seconds: float, disturbance: Disturbance = UNDISTURBED) -> Measurement:
    return model.measure(seconds, 0.1, disturbance)


def test_a_steady_drift_grows_as_the_sine_squared_of_the_angle() -> None:
    assert life(Drift(angle_degrees_per_hour=10)).advance(HOUR, 0).misalignment_ratio == pytest.approx(
        math.sin(math.radians(10)) ** 2
    )


def test_a_random_walk_spreads_with_the_square_root_of_time_however_it_is_stepped() -> None:
    for steps in (1, 20):
        angles = []
        for seed in range(400):
            one = life(Drift(angle_walk_degrees=3), seed=seed)
            wear = [one.advance(4 * HOUR * step / steps, 0) for step in range(1, steps + 1)][-1]
            angles.append(math.degrees(math.asin(math.sqrt(wear.misalignment_ratio))) ** 2)
        assert math.sqrt(statistics.fmean(angles)) == pytest.approx(6, rel=0.15)


def test_a_day_warms_and_cools() -> None:
    days = Drift(detector_day_kelvin=4, loss_day_db=0.5, day_seconds=400)
    noon, night = life(days).advance(100, 0), life(days).advance(300, 0)
    assert (noon.warming_kelvin, noon.added_loss_db) == pytest.approx((4, 0.5))
    assert (night.warming_kelvin, night.added_loss_db) == pytest.approx((-4, -0.5))


def test_warm_detectors_of_a_day_show_in_temperature_and_dark_counts() -> None:
    (_, receiver) = at(link(Drift(detector_day_kelvin=10, day_seconds=400)), 100).ends
    assert receiver.detectors[0].temperature_celsius == pytest.approx(-40, abs=0.5)
    model = link(Drift(detector_day_kelvin=10, day_seconds=4e7))
    dark = [at(model, 1e7 + n).ends[1].detectors[0].dark_count_rate_hz for n in range(200)]
    assert statistics.fmean(dark) == pytest.approx(2000, rel=0.03)


def test_an_ageing_laser_gives_less_light_each_year() -> None:
    old = life(Drift(laser_loss_ratio_per_year=0.1, laser_age_years=3)).advance(0, 0)
    assert old.brightness_ratio == pytest.approx(0.9**3)
    young, aged = at(link(), 0), at(link(Drift(laser_loss_ratio_per_year=0.1, laser_age_years=3)), 0)
    assert aged.key_bits < 0.75 * young.key_bits


def test_a_planned_calibration_takes_its_time_takes_the_drift_out_and_comes_again() -> None:
    one = life(Drift(angle_degrees_per_hour=10), Calibration(takes_seconds=10, every_seconds=600))
    moments = [(n, one.advance(n, 0)) for n in range(1, 2000)]
    calibrating = [n for n, wear in moments if wear.calibrating]
    first = calibrating[0]
    assert 300 <= first <= 600
    assert calibrating[:10] == list(range(first, first + 10))
    assert calibrating[10] == first + 10 + 600
    by_time = dict(moments)
    assert by_time[first + 10].misalignment_ratio == 0 < by_time[first - 1].misalignment_ratio
    assert by_time[first + 20].misalignment_ratio < by_time[first - 1].misalignment_ratio


def test_devices_that_were_switched_on_together_do_not_all_calibrate_at_once() -> None:
    firsts = set()
    for seed in range(10):
        one = life(STEADY, Calibration(takes_seconds=1, every_seconds=600), seed)
        firsts.add(next(n for n in range(601) if one.advance(n, 0).calibrating))
    assert len(firsts) > 5


def test_without_a_period_or_being_asked_nothing_calibrates() -> None:
    one = life()
    assert not any(one.advance(n * HOUR, 0).calibrating for n in range(100))


def test_a_calibrating_link_is_pending_and_makes_no_key_then_works_again() -> None:
    model = link(Drift(angle_degrees_per_hour=20), Calibration(takes_seconds=30))
    before = at(model, HOUR / 2)
    model.calibrate()
    during = [at(model, HOUR / 2 + second) for second in (1, 15, 30)]
    assert {m.status for m in during} == {types_pb2.LINK_STATUS_PENDING}
    assert all(m.key_bits == m.skr_bps == m.sifted_rate_bps == 0 for m in during)
    assert all(math.isnan(m.qber_ratio) and math.isnan(m.visibility_ratio) for m in during)
    assert during[0].ends[1].detectors[0].count_rate_hz > 1000
    after = at(model, HOUR / 2 + 31)
    assert after.status == types_pb2.LINK_STATUS_ACTIVE
    assert after.qber_ratio < before.qber_ratio - 0.01
    assert after.visibility_ratio > before.visibility_ratio + 0.02
    assert after.key_bits == pytest.approx(POINT.skr_bps * 0.1, rel=0.01)


def test_asking_a_device_that_calibrates_already_does_not_make_it_start_again() -> None:
    one = life(STEADY, Calibration(takes_seconds=10))
    one.ask_for_calibration()
    one.advance(1, 0)
    one.ask_for_calibration()
    assert one.advance(10.9, 0).calibrating
    assert not one.advance(11, 0).calibrating
    assert not one.advance(12, 0).calibrating


def test_calibration_takes_a_misalignment_from_outside_out_and_leaves_none_when_that_ends() -> None:
    one = life(STEADY, Calibration(takes_seconds=10))
    assert one.advance(1, 0.04).misalignment_ratio == pytest.approx(0.04)
    one.ask_for_calibration()
    one.advance(2, 0.04)
    assert one.advance(12, 0.04).misalignment_ratio == 0
    assert one.advance(13, 0.05).misalignment_ratio == pytest.approx(0.01)
    assert one.advance(14, 0.0).misalignment_ratio == 0
    assert one.advance(15, 0.04).misalignment_ratio == pytest.approx(0.04)


def test_a_cut_link_is_off_even_while_its_devices_calibrate() -> None:
    model = link(calibration=Calibration(takes_seconds=30))
    model.calibrate()
    assert at(model, 1, Disturbance(cut=True)).status == types_pb2.LINK_STATUS_OFF


def test_drift_until_the_abort_threshold_stops_the_key() -> None:
    model = link(Drift(angle_degrees_per_hour=20))
    assert at(model, 0.1).key_bits > 0
    drifted = at(model, HOUR)
    assert drifted.qber_ratio > 0.11
    assert drifted.key_bits == 0
    assert drifted.status == types_pb2.LINK_STATUS_PASSIVE


def test_a_warm_day_never_makes_a_fibre_amplify() -> None:
    model = link(Drift(loss_day_db=20, day_seconds=400))
    night = at(model, 300)
    assert night.ends[1].loss_db < 0.5
    assert night.sifted_rate_bps == pytest.approx(10 * at(link(), 0.1).sifted_rate_bps, rel=0.01)
