"""Links anchored at what was published, disturbed as the papers say."""

import dataclasses
import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.emulator.physics.anchored import OperatingPoint, anchor, over
from keyweave.emulator.physics.channel import Channel
from keyweave.emulator.physics.detectors import Detectors
from keyweave.emulator.physics.information import secret_fraction
from keyweave.emulator.physics.link import ProtocolLink
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance, Measurement
from keyweave.v1 import types_pb2
from tests.unit.physics_cases import anchored_devices

INTERVAL = 0.1
# Toshiba's link of the Tokyo QKD Network: 45 km, 14.5 dB, 2.7 %, 304 kbit/s.
TOKYO = OperatingPoint(
    loss_db=14.5,
    qber_ratio=0.027,
    skr_bps=304_000,
    abort_qber_ratio=0.11,
    pulse_rate_hz=1e9,
    mean_photon_number=0.5,
    gate_seconds=1e-9,
    sifting_ratio=0.5,
    detectors=Detectors(
        kind="InGaAs",
        count=2,
        at_both_ends=False,
        efficiency_ratio=0.1,
        dark_count_rate_hz=600,
        temperature_celsius=-50,
        bias_volts=50,
        dead_time_seconds=5e-8,
    ),
)
WIRETAPPED = Disturbance(intercepted_ratio=1.0)
CUT = Disturbance(cut=True)


def run(
    link: ProtocolLink, seconds: float, disturbance: Disturbance = UNDISTURBED, start: float = 0.0
) -> list[Measurement]:
    rows = round(seconds / INTERVAL)
    return [link.measure(start + row * INTERVAL, INTERVAL, disturbance) for row in range(1, rows + 1)]


def tokyo(seed: int = 1) -> ProtocolLink:
    return ProtocolLink(anchored_devices(TOKYO), link="koganei-otemachi", seed=seed)


def mean(values: list[float]) -> float:
    return statistics.fmean(values)


def test_undisturbed_link_makes_exactly_the_published_key_rate() -> None:
    bits = math.fsum(m.key_bits for m in run(tokyo(), 20))
    assert bits == pytest.approx(20 * TOKYO.skr_bps, rel=1e-9)


def test_undisturbed_measurements_scatter_around_the_published_figures() -> None:
    rows = run(tokyo(), 60)
    assert mean([m.qber_ratio for m in rows]) == pytest.approx(TOKYO.qber_ratio, rel=0.01)
    assert mean([m.skr_bps for m in rows]) == pytest.approx(TOKYO.skr_bps, rel=0.01)
    assert mean([m.ends[0].loss_db for m in rows]) == pytest.approx(TOKYO.loss_db, abs=0.05)
    assert {m.status for m in rows} == {types_pb2.LINK_STATUS_ACTIVE}


@given(
    loss_db=st.floats(0, 25),
    qber_ratio=st.floats(0.01, 0.1),
    skr_share=st.floats(0.001, 0.9),
)
def test_any_possible_published_point_is_reproduced(
    loss_db: float, qber_ratio: float, skr_share: float
) -> None:
    point = dataclasses.replace(TOKYO, loss_db=loss_db, qber_ratio=qber_ratio, skr_bps=1)
    most = anchor(point).detections_hz * point.sifting_ratio * secret_fraction(qber_ratio)
    point = dataclasses.replace(point, skr_bps=skr_share * most)
    assert anchor(point).qber_ratio == pytest.approx(qber_ratio)
    row = ProtocolLink(anchored_devices(point), link="x", seed=0).measure(INTERVAL, INTERVAL, UNDISTURBED)
    assert row.key_bits == pytest.approx(point.skr_bps * INTERVAL)


def test_qber_noise_is_binomial_in_the_sifted_bits() -> None:
    slow = dataclasses.replace(TOKYO, pulse_rate_hz=1e7, gate_seconds=1e-10, skr_bps=1000)
    rows = run(ProtocolLink(anchored_devices(slow), link="slow", seed=3), 300)
    sifted = mean([m.sifted_rate_bps for m in rows]) * INTERVAL
    expected = math.sqrt(slow.qber_ratio * (1 - slow.qber_ratio) / sifted)
    assert statistics.stdev([m.qber_ratio for m in rows]) == pytest.approx(expected, rel=0.06)


def test_detector_counts_are_poissonian() -> None:
    dark = [m.ends[1].detectors[0].dark_count_rate_hz * INTERVAL for m in run(tokyo(), 300)]
    assert mean(dark) == pytest.approx(60, rel=0.02)
    assert statistics.variance(dark) == pytest.approx(60, rel=0.1)


def test_full_intercept_resend_reads_as_25_percent_while_loss_and_detectors_stand_still() -> None:
    quiet, tapped = run(tokyo(), 20), run(tokyo(), 20, WIRETAPPED)
    qber = mean([m.qber_ratio for m in tapped])
    assert 0.25 < qber < 0.25 + TOKYO.qber_ratio
    assert mean([m.ends[1].loss_db for m in tapped]) == pytest.approx(TOKYO.loss_db, abs=0.05)
    counts = [mean([m.ends[1].detectors[0].count_rate_hz for m in rows]) for rows in (quiet, tapped)]
    assert counts[0] == pytest.approx(counts[1], rel=0.01)


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_interception_never_lowers_the_error(one: float, other: float) -> None:
    less, more = sorted((one, other))
    rates = anchor(TOKYO)
    tapped = [over(rates, Channel(14.5, intercepted_ratio=ratio), TOKYO).qber_ratio for ratio in (less, more)]
    assert tapped[0] <= tapped[1] + 1e-12


def test_a_device_keeps_making_key_for_a_moment_after_an_eavesdropper_arrives_then_stops() -> None:
    link = tokyo()
    run(link, 5)
    tapped = run(link, 3, WIRETAPPED, start=5)
    assert tapped[0].key_bits > 0
    assert tapped[0].qber_ratio > 0.2
    noticed = next(row for row, m in enumerate(tapped) if m.key_bits == 0)
    assert 0.2 <= noticed * INTERVAL <= 1.0
    assert all(m.key_bits == 0 and m.skr_bps == 0 for m in tapped[noticed:])
    assert tapped[-1].status == types_pb2.LINK_STATUS_PASSIVE
    recovered = run(link, 3, UNDISTURBED, start=8)
    assert recovered[-1].key_bits == pytest.approx(TOKYO.skr_bps * INTERVAL)


def test_a_cut_leaves_dark_counts_and_no_key() -> None:
    rows = run(tokyo(), 60, CUT)
    assert {m.status for m in rows} == {types_pb2.LINK_STATUS_OFF}
    assert all(m.key_bits == m.skr_bps == m.sifted_rate_bps == 0 for m in rows)
    assert all(math.isnan(m.qber_ratio) and math.isnan(m.ends[1].loss_db) for m in rows)
    assert mean([m.ends[1].detectors[1].count_rate_hz for m in rows]) == pytest.approx(600, rel=0.03)


def test_ten_decibels_cost_nine_tenths_of_the_signal_and_raise_the_dark_count_share() -> None:
    before = anchor(TOKYO)
    after = over(before, Channel(24.5), TOKYO)
    assert after.signal_hz == pytest.approx(before.signal_hz / 10)
    assert after.dark_hz == before.dark_hz
    assert after.qber_ratio > before.qber_ratio
    bent = run(tokyo(), 20, Disturbance(added_loss_db=10))
    assert mean([m.ends[0].loss_db for m in bent]) == pytest.approx(24.5, abs=0.05)
    assert 0 < bent[-1].key_bits < 0.1 * TOKYO.skr_bps * INTERVAL


def test_a_warm_detector_shows_in_dark_counts_temperature_and_error() -> None:
    rows = run(tokyo(), 20, Disturbance(dark_count_factor=100))
    detector = rows[-1].ends[1].detectors[0]
    assert detector.dark_count_rate_hz == pytest.approx(60_000, rel=0.05)
    assert detector.temperature_celsius > -50 + 60
    assert mean([m.qber_ratio for m in rows]) > TOKYO.qber_ratio + 0.01
    assert rows[-1].device_fault == ""


def test_a_detector_whose_cooling_fails_altogether_is_a_device_fault_and_makes_no_key() -> None:
    row = tokyo().measure(INTERVAL, INTERVAL, Disturbance(dark_count_factor=1000))
    assert "cooling failed" in row.device_fault
    assert row.key_bits == 0


def test_a_device_fault_stops_the_key_though_its_qber_is_low() -> None:
    assert TOKYO.detectors
    quiet = dataclasses.replace(TOKYO, detectors=dataclasses.replace(TOKYO.detectors, dark_count_rate_hz=1))
    model = ProtocolLink(anchored_devices(quiet), link="quiet", seed=1)
    row = model.measure(INTERVAL, INTERVAL, Disturbance(dark_count_factor=1000))
    assert row.qber_ratio < 0.05
    assert row.device_fault
    assert row.key_bits == 0


def test_what_a_device_measured_before_a_cut_does_not_count_after_it() -> None:
    link = tokyo()
    run(link, 3, WIRETAPPED)
    run(link, 0.2, CUT, start=3)
    (first,) = run(link, INTERVAL, start=3.2)
    assert first.key_bits == pytest.approx(TOKYO.skr_bps * INTERVAL)


def test_only_the_receiver_has_detectors_unless_the_link_shares_pairs() -> None:
    assert [len(end.detectors) for end in run(tokyo(), 0.1)[0].ends] == [0, 2]
    assert TOKYO.detectors
    pairs = dataclasses.replace(TOKYO, detectors=dataclasses.replace(TOKYO.detectors, at_both_ends=True))
    link = ProtocolLink(anchored_devices(pairs), link="pairs", seed=1)
    assert [len(end.detectors) for end in link.measure(INTERVAL, INTERVAL, UNDISTURBED).ends] == [2, 2]


def test_homodyne_receivers_report_no_photon_counts() -> None:
    homodyne = dataclasses.replace(TOKYO, detectors=None)
    row = ProtocolLink(anchored_devices(homodyne), link="cv", seed=1).measure(INTERVAL, INTERVAL, UNDISTURBED)
    assert [end.detectors for end in row.ends] == [(), ()]
    assert math.isnan(row.visibility_ratio)


def test_the_seed_and_the_link_decide_the_noise() -> None:
    assert run(tokyo(1), 2) == run(tokyo(1), 2)
    assert run(tokyo(1), 2) != run(tokyo(2), 2)
    assert run(tokyo(1), 2) != run(ProtocolLink(anchored_devices(TOKYO), link="other", seed=1), 2)


def test_the_two_ends_read_their_instruments_independently_but_share_the_error_count() -> None:
    rows = run(tokyo(), 60)
    a, b = ([m.ends[end].loss_db for m in rows] for end in (0, 1))
    assert abs(statistics.correlation(a, b)) < 0.2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"qber_ratio": 0.001, "loss_db": 35.0, "skr_bps": 10.0}, "dark_count_rate_hz"),
        ({"qber_ratio": 0.12}, "no secret key"),
        ({"skr_bps": 1e9}, "pulse_rate_hz"),
    ],
)
def test_published_figures_that_contradict_each_other_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        anchor(dataclasses.replace(TOKYO, **change))


def test_the_secret_fraction_ends_at_the_shor_preskill_bound() -> None:
    assert secret_fraction(0.0) == 1.0
    assert secret_fraction(0.1099) > 0
    assert secret_fraction(0.1101) == 0.0


def settled(disturbance: Disturbance, seconds: float = 20) -> list[Measurement]:
    """Measurements of an otherwise quiet link, once its device has noticed."""
    link = tokyo()
    run(link, 2, disturbance)
    return run(link, seconds, disturbance, start=2)


def test_a_burst_of_dark_counts_raises_the_error_and_leaves_the_temperature() -> None:
    rows = settled(Disturbance(dark_count_burst_factor=1000))
    detector = [m.ends[1].detectors[0] for m in rows]
    counted = 600_000 / (1 + 600_000 * 5e-8)
    assert mean([d.dark_count_rate_hz for d in detector]) == pytest.approx(counted, rel=0.01)
    assert mean([d.temperature_celsius for d in detector]) == pytest.approx(-50, abs=0.05)
    assert mean([m.qber_ratio for m in rows]) > TOKYO.qber_ratio + 0.1
    assert {m.device_fault for m in rows} == {""}


def test_optics_out_of_alignment_add_error_and_take_visibility_but_no_light() -> None:
    rows = settled(Disturbance(misalignment_ratio=0.03))
    assert mean([m.qber_ratio for m in rows]) == pytest.approx(
        TOKYO.qber_ratio + 0.03 * (1 - 2 * TOKYO.qber_ratio), rel=0.02
    )
    error = anchor(TOKYO).signal_error_ratio
    assert mean([m.visibility_ratio for m in rows]) == pytest.approx((1 - 2 * error) * (1 - 0.06), abs=0.001)
    assert mean([m.ends[1].loss_db for m in rows]) == pytest.approx(TOKYO.loss_db, abs=0.05)
    assert 0 < rows[-1].key_bits < TOKYO.skr_bps * INTERVAL


def test_a_beam_splitting_tap_shows_in_the_loss_alone() -> None:
    rows = settled(Disturbance(tapped_ratio=0.5))
    assert mean([m.ends[0].loss_db for m in rows]) == pytest.approx(TOKYO.loss_db + 3.01, abs=0.05)
    after = over(anchor(TOKYO), Channel(14.5 + Disturbance(tapped_ratio=0.5).loss_db), TOKYO)
    assert after.signal_hz == pytest.approx(anchor(TOKYO).signal_hz / 2)
    assert after.signal_error_ratio == anchor(TOKYO).signal_error_ratio
    assert mean([m.qber_ratio for m in rows]) == pytest.approx(TOKYO.qber_ratio, rel=0.02)


def test_blinded_detectors_click_at_a_plateau_without_dark_counts_and_the_key_goes_on() -> None:
    rows = settled(Disturbance(blinded=True))
    detectors = [detector for m in rows for detector in m.ends[1].detectors]
    assert {d.count_rate_hz for d in detectors} == {1 / 5e-8}
    assert {d.dark_count_rate_hz for d in detectors} == {0.0}
    assert mean([d.bias_volts for d in detectors]) == pytest.approx(45, abs=0.05)
    assert mean([m.qber_ratio for m in rows]) == pytest.approx(TOKYO.qber_ratio, rel=0.05)
    assert rows[-1].key_bits == pytest.approx(TOKYO.skr_bps * INTERVAL, rel=0.05)


def test_nobody_blinds_detectors_over_a_cut_fibre() -> None:
    rows = settled(Disturbance(blinded=True, cut=True))
    assert mean([m.ends[1].detectors[0].dark_count_rate_hz for m in rows]) == pytest.approx(600, rel=0.05)


def test_a_lost_clock_leaves_random_bits_of_the_few_that_are_sifted_and_all_counts() -> None:
    quiet, rows = run(tokyo(), 20), settled(Disturbance(clock_lost=True))
    assert mean([m.qber_ratio for m in rows]) == pytest.approx(0.5, abs=0.01)
    assert mean([m.sifted_rate_bps for m in rows]) < 0.02 * mean([m.sifted_rate_bps for m in quiet])
    counts = [mean([m.ends[1].detectors[0].count_rate_hz for m in measured]) for measured in (quiet, rows)]
    assert counts[0] == pytest.approx(counts[1], rel=0.01)
    assert {m.key_bits for m in rows} == {0.0}
    assert {m.status for m in rows} == {types_pb2.LINK_STATUS_PASSIVE}


def test_a_flood_of_dark_counts_saturates_the_counters() -> None:
    detectors = [m.ends[1].detectors[0] for m in settled(Disturbance(dark_count_burst_factor=1e9))]
    assert mean([d.count_rate_hz for d in detectors]) == pytest.approx(1 / 5e-8, rel=0.001)
    assert mean([d.dark_count_rate_hz for d in detectors]) == pytest.approx(1 / 5e-8, rel=0.001)


@pytest.mark.parametrize(
    "change",
    [
        {"tapped_ratio": 1.0},
        {"intercepted_ratio": 1.1},
        {"misalignment_ratio": -0.1},
        {"dark_count_factor": 0.0},
        {"dark_count_burst_factor": -1.0},
    ],
)
def test_disturbances_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(ValueError, match=name):
        Disturbance(**change)
