"""What holds for every protocol, whatever its channel; and that links scatter around what is expected."""

import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.emulator.physics.channel import Channel, QkdProtocol
from keyweave.emulator.physics.cv_qkd import CvQkd
from keyweave.emulator.physics.finite_key import FiniteKey
from keyweave.emulator.physics.information import either_flips, repeaterless_bound
from keyweave.emulator.physics.link import Devices, ProtocolLink
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance, Measurement
from keyweave.v1 import types_pb2
from tests.unit.physics_cases import entangled, gys, receiver

INTERVAL = 0.1
PULSES_HZ = 1e8
WEAK = replace(gys(weak_photon_number=0.05), receiver=receiver(0.5, 1e-7, pulse_rate_hz=PULSES_HZ))
PROTOCOLS: dict[str, QkdProtocol] = {
    "infinite decoys": replace(
        gys(weak_photon_number=None), receiver=receiver(0.9, 1e-8, pulse_rate_hz=PULSES_HZ)
    ),
    "vacuum and weak": replace(WEAK, signal_ratio=0.7, weak_ratio=0.2),
    "finite": replace(
        WEAK, weak_photon_number=0.15, signal_ratio=0.6, weak_ratio=0.3, finite=FiniteKey(block_bits=1e8)
    ),
    "entangled": replace(
        entangled(0.1), receiver=receiver(0.145, 6.02e-6, pulse_rate_hz=PULSES_HZ, at_both_ends=True)
    ),
    "continuous variables": CvQkd(symbol_rate_hz=PULSES_HZ, excess_noise=0.0, key_ratio=1.0),
}
protocols = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS.keys())
ratios = st.floats(0, 1)
channels = st.builds(
    Channel,
    loss_db=st.floats(0.01, 70),
    intercepted_ratio=ratios,
    misalignment_ratio=ratios,
    warming_kelvin=st.floats(-20, 100),
    dark_count_burst_factor=st.floats(1, 1e4),
    brightness_ratio=st.floats(0.1, 1),
    blinded=st.booleans(),
    clock_lost=st.booleans(),
)


@protocols
@given(channel=channels)
def test_key_never_exceeds_what_any_protocol_could_make(protocol: QkdProtocol, channel: Channel) -> None:
    expected = protocol.expected(channel)
    most = PULSES_HZ * repeaterless_bound(channel.transmittance_ratio)
    assert 0 <= expected.secret_bps <= most
    assert 0 <= expected.secret_ratio(expected.noise) <= 4
    assert expected.light_hz >= 0
    assert expected.sifted_bps >= 0


@protocols
@given(channel=channels)
def test_error_ratios_are_error_ratios(protocol: QkdProtocol, channel: Channel) -> None:
    expected = protocol.expected(channel)
    if expected.counts_errors:
        assert 0 <= expected.noise <= 0.5
        assert expected.optics_error_ratio is not None
        assert 0 <= expected.optics_error_ratio <= 0.5


@protocols
@given(loss_db=st.floats(0.1, 60), more_db=st.floats(0.5, 20))
def test_key_falls_with_loss(protocol: QkdProtocol, loss_db: float, more_db: float) -> None:
    near, far = protocol.expected(Channel(loss_db)), protocol.expected(Channel(loss_db + more_db))
    assert far.secret_bps <= near.secret_bps
    assert far.secret_bps < near.secret_bps or near.secret_bps == 0


@protocols
@given(one=ratios, other=ratios)
def test_interception_never_makes_key(protocol: QkdProtocol, one: float, other: float) -> None:
    less, more = (protocol.expected(Channel(5, intercepted_ratio=ratio)) for ratio in sorted((one, other)))
    # Nearly equal noise may round either way.
    assert more.secret_bps <= less.secret_bps * (1 + 1e-9) + 1e-3
    assert more.noise >= less.noise - 1e-12


@protocols
def test_full_interception_leaves_no_key(protocol: QkdProtocol) -> None:
    assert protocol.expected(Channel(5)).secret_bps > 0
    assert protocol.expected(Channel(5, intercepted_ratio=1)).secret_bps == 0


@protocols
def test_equal_channels_give_equal_expectations(protocol: QkdProtocol) -> None:
    one, same = protocol.expected(Channel(5)), protocol.expected(Channel(5))
    assert (one.light_hz, one.sifted_bps, one.noise, one.secret_bps) == (
        same.light_hz,
        same.sifted_bps,
        same.noise,
        same.secret_bps,
    )


def link(name: str, *, loss_db: float = 5, seed: int = 1) -> ProtocolLink:
    protocol = PROTOCOLS[name]
    detectors = None if isinstance(protocol, CvQkd) else protocol.receiver.detectors  # type: ignore[attr-defined]
    return ProtocolLink(Devices(protocol, loss_db, 0.11, detectors), link=name, seed=seed)


def run(model: ProtocolLink, seconds: float, disturbance: Disturbance = UNDISTURBED) -> list[Measurement]:
    return [
        model.measure(row * INTERVAL, INTERVAL, disturbance)
        for row in range(1, round(seconds / INTERVAL) + 1)
    ]


counting = pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "continuous variables"])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_key_comes_at_exactly_the_expected_rate_and_reports_of_it_scatter(name: str) -> None:
    expected = PROTOCOLS[name].expected(Channel(5))
    rows = run(link(name), 60)
    assert math.fsum(m.key_bits for m in rows) == pytest.approx(60 * expected.secret_bps, rel=1e-9)
    reported = [m.skr_bps for m in rows]
    error = statistics.stdev(reported) / math.sqrt(len(reported))
    # A convex rate costs the mean of noisy reports a little more than their noise.
    assert statistics.fmean(reported) == pytest.approx(expected.secret_bps, rel=0.01, abs=4 * error)
    assert statistics.stdev(reported) > 0
    assert {m.status for m in rows} == {types_pb2.LINK_STATUS_ACTIVE}


@counting
def test_qber_scatters_binomially_around_what_is_expected(name: str) -> None:
    expected = PROTOCOLS[name].expected(Channel(5))
    qber = [m.qber_ratio for m in run(link(name), 200)]
    deviation = math.sqrt(expected.noise * (1 - expected.noise) / (expected.sifted_bps * INTERVAL))
    assert statistics.fmean(qber) == pytest.approx(expected.noise, abs=4 * deviation / math.sqrt(len(qber)))
    assert statistics.stdev(qber) == pytest.approx(deviation, rel=0.1)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_sifted_bits_are_counted_with_poissonian_noise(name: str) -> None:
    expected = PROTOCOLS[name].expected(Channel(5)).sifted_bps * INTERVAL
    counts = [m.sifted_rate_bps * INTERVAL for m in run(link(name), 200)]
    assert statistics.fmean(counts) == pytest.approx(expected, abs=4 * math.sqrt(expected / len(counts)))
    assert statistics.variance(counts) == pytest.approx(expected, rel=0.15)


@counting
def test_every_disturbance_shows_where_it_should(name: str) -> None:
    quiet = run(link(name), 30)

    def settled(disturbance: Disturbance) -> list[Measurement]:
        return run(link(name), 30, disturbance)[15:]

    def qber(rows: list[Measurement]) -> float:
        return statistics.fmean(m.qber_ratio for m in rows)

    def counts(rows: list[Measurement]) -> float:
        return statistics.fmean(m.ends[1].detectors[0].count_rate_hz for m in rows)

    tapped = settled(Disturbance(tapped_ratio=0.3))
    assert statistics.fmean(m.ends[1].loss_db for m in tapped) == pytest.approx(5 + 1.549, abs=0.05)
    assert qber(tapped) == pytest.approx(qber(quiet), abs=0.01)
    intercepted = settled(Disturbance(intercepted_ratio=0.5))
    assert qber(intercepted) == pytest.approx(either_flips(qber(quiet), 0.125), abs=0.01)
    assert counts(intercepted) == pytest.approx(counts(quiet), rel=0.01)
    assert {m.key_bits for m in intercepted} == {0.0}
    drifted = settled(Disturbance(misalignment_ratio=0.02))
    assert qber(drifted) == pytest.approx(either_flips(qber(quiet), 0.02), abs=0.005)
    lost = settled(Disturbance(clock_lost=True))
    # Few bits are left, and none reads above one half.
    assert qber(lost) == pytest.approx(0.5, abs=0.05)
    assert counts(lost) == pytest.approx(counts(quiet), rel=0.01)
    assert {m.status for m in lost} == {types_pb2.LINK_STATUS_PASSIVE}
    blinded = settled(Disturbance(blinded=True))
    assert {m.ends[1].detectors[0].dark_count_rate_hz for m in blinded} == {0.0}
    assert qber(blinded) == pytest.approx(qber(quiet), abs=0.005)
    assert blinded[-1].key_bits > 0


def test_homodyne_devices_report_no_qber_and_stop_by_their_excess_noise() -> None:
    model = link("continuous variables")
    quiet = run(model, 2)
    assert all(math.isnan(m.qber_ratio) and math.isnan(m.visibility_ratio) for m in quiet)
    assert quiet[-1].key_bits > 0
    tapped = [
        model.measure(2 + row * INTERVAL, INTERVAL, Disturbance(intercepted_ratio=1)) for row in range(1, 20)
    ]
    assert tapped[-1].key_bits == 0
    assert tapped[-1].status == types_pb2.LINK_STATUS_PASSIVE
    assert tapped[-1].device_fault == "excess noise leaves no secret key"
    assert not quiet[-1].device_fault
