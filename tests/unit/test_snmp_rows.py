"""Answers become rows: counters as rates, across wraps and restarts, and nothing that is no measurement."""

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from keyweave.agent.drivers.base import DeviceReport
from keyweave.agent.drivers.mapping import Refusals, RefusedError
from keyweave.agent.drivers.snmp_rows import UPTIME, Answer, Counted, Polled, PolledRows, number
from keyweave.agent.drivers.snmp_settings import LinkSettings
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.samples import decode
from keyweave.v1 import types_pb2

LINK = LinkName("a-b")
NOW = 1_700_000_000.0
QBER, BITS, STATE, ALARM, COUNT = (f"1.3.6.1.4.1.8072.9999.{leaf}.0" for leaf in range(1, 6))
DEVICE = {
    "peer_node": "b",
    "model": "m",
    "quantities": {
        "qber_ratio": {"oid": f".{QBER}", "unit": "percent", "scale": 0.01},
        "sifted_rate_bps": {"oid": BITS, "unit": "bit/s"},
    },
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


class Device:
    """A device that is polled when the test says."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.refusals = Refusals("snmp", LINK)
        self.rows = PolledRows(LINK, LinkSettings.model_validate(settings), self.refusals)

    def answers(
        self, at: float, values: Mapping[str, Polled], *, uptime: int | None = None
    ) -> DeviceReport | None:
        ticks = round(100 * (at + 1000)) if uptime is None else uptime
        return self.rows.take(Answer({UPTIME: ticks, **values}, NOW + at, 50.0 + at))


def measured(report: DeviceReport | None) -> list[float | None] | None:
    """QBER and sifted rate of a report."""
    if report is None:
        return None
    columns = (report.samples.qber_ratio, report.samples.sifted_rate_bps)
    values = [struct.unpack("<f", column)[0] for column in columns]
    return [None if math.isnan(value) else round(value, 6) for value in values]


def test_a_poll_is_a_row_and_a_counter_the_rate_since_the_one_before() -> None:
    device = Device(DEVICE)
    first = device.answers(0, {QBER: 250, BITS: Counted(1000, 64)})
    second = device.answers(2, {QBER: 300, BITS: Counted(5000, 64)})
    assert (measured(first), measured(second)) == ([0.025, None], [0.03, 2000.0])
    assert second is not None
    assert second.samples.start_unix_nanos == (NOW + 1.0) * 1e9
    assert not device.refusals.counts


@pytest.mark.parametrize(
    ("before", "now", "rate"),
    [
        (Counted(2**32 - 1000, 32), Counted(1000, 32), 2000.0),
        (Counted(2**64 - 1000, 64), Counted(1000, 64), 2000.0),
        (Counted(7, 32), Counted(7, 32), 0.0),
    ],
)
def test_a_counter_that_wraps_goes_on(before: Counted, now: Counted, rate: float) -> None:
    device = Device(DEVICE)
    device.answers(0, {QBER: 250, BITS: before})
    assert measured(device.answers(1, {QBER: 250, BITS: now})) == [0.025, rate]


def test_after_a_restart_of_the_device_there_is_no_rate_until_the_next_answer() -> None:
    device = Device(DEVICE)
    device.answers(0, {QBER: 250, BITS: Counted(2**32 - 5000, 32)}, uptime=90_000)
    assert measured(device.answers(1, {QBER: 250, BITS: Counted(10, 32)}, uptime=3)) == [0.025, None]
    assert measured(device.answers(2, {QBER: 250, BITS: Counted(110, 32)}, uptime=103)) == [0.025, 100.0]
    assert not device.refusals.counts


def test_an_uptime_that_wraps_is_no_restart() -> None:
    device = Device(DEVICE)
    device.answers(0, {QBER: 250, BITS: Counted(0, 64)}, uptime=2**32 - 50)
    assert measured(device.answers(1, {QBER: 250, BITS: Counted(100, 64)}, uptime=50)) == [0.025, 100.0]


def test_a_counter_that_begins_anew_while_the_device_runs_on_is_no_enormous_rate() -> None:
    device = Device(DEVICE)
    device.answers(0, {QBER: 250, BITS: Counted(1_000_000, 32)})
    assert measured(device.answers(1, {QBER: 250, BITS: Counted(5, 32)})) == [0.025, None]
    assert device.refusals.counts == {"sifted_rate_bps": 1}


@pytest.mark.parametrize(
    ("told", "value"),
    [(b"2.5", 2.5), (b" -3e-2 ", -0.03), (7, 7.0), (-7, -7.0), (2.5, 2.5), (b"+12.", 12.0)],
)
def test_numbers_may_be_written_as_text(told: Polled, value: float) -> None:
    assert number(told, QBER) == value


@pytest.mark.parametrize(
    "told",
    [
        None,
        b"",
        b"n/a",
        b"0x10",
        b"nan",
        b"inf",
        b"1e999",
        b"\xff",
        b"1,5",
        math.nan,
        math.inf,
        Counted(1, 32),
    ],
)
def test_what_is_no_number_is_refused(told: Polled) -> None:
    with pytest.raises(RefusedError, match=r"is no |has no "):
        number(told, QBER)


def test_what_cannot_be_true_or_is_not_there_is_missing_and_the_rest_stands() -> None:
    device = Device(DEVICE)
    device.answers(0, {QBER: 9000, BITS: Counted(0, 64)})
    assert measured(device.answers(1, {QBER: 9000, BITS: Counted(100, 64)})) == [None, 100.0]
    assert measured(device.answers(2, {BITS: Counted(200, 64)})) == [None, 100.0]
    assert device.refusals.counts == {"qber_ratio": 3}
    assert device.answers(3, {QBER: 9000, BITS: None}) is None


def test_with_a_sequence_only_what_was_measured_since_is_a_row() -> None:
    device = Device({**DEVICE, "sequence": COUNT})

    def poll(at: float, sequence: Polled, bits: int) -> list[float | None] | None:
        return measured(device.answers(at, {QBER: 250, COUNT: sequence, BITS: Counted(bits, 64)}))

    assert poll(0, 1, 0) is None  # nobody knows when that was measured
    assert poll(1, 1, 0) is None
    assert poll(2, 2, 300) == [0.025, 150.0]
    assert poll(3, 2, 300) is None
    assert poll(4, 3, 600) == [0.025, 150.0]
    assert poll(5, None, 600) is None
    assert device.refusals.counts == {"sequence": 1}


def test_states_come_with_the_row_or_at_once() -> None:
    status = {"oid": STATE, "values": {1: "active", 2: "off"}}
    fault = {"oid": ALARM, "texts": {0: "", 3: "laser interlock"}}
    device = Device({**DEVICE, "status": status, "fault": fault, "sequence": COUNT})
    assert device.answers(0, {STATE: 1, ALARM: 0, COUNT: 1}) is None
    report = device.answers(1, {STATE: 2, ALARM: 3, COUNT: 1})
    assert report is not None
    assert (report.samples.status, report.device_fault) == (types_pb2.LINK_STATUS_OFF, "laser interlock")
    assert measured(report) == [None, None]
    assert device.answers(2, {STATE: 7, ALARM: None, COUNT: 1}) is None
    assert device.refusals.counts == {"status": 1, "fault": 1}
    report = device.answers(3, {STATE: b"1", ALARM: b"", COUNT: 1})
    assert report is not None
    assert (report.samples.status, report.device_fault) == (types_pb2.LINK_STATUS_ACTIVE, "")


_VALUES = (
    st.none()
    | st.integers(-(2**31), 2**64)
    | st.floats()
    | st.binary(max_size=20)
    | st.builds(Counted, st.integers(0, 2**64 - 1), st.sampled_from([32, 64]))
)


@given(
    polls=st.lists(st.dictionaries(st.sampled_from([QBER, BITS, STATE, ALARM, UPTIME]), _VALUES), max_size=5)
)
def test_whatever_a_device_answers_what_is_passed_on_is_valid(polls: list[dict[str, Polled]]) -> None:
    with structlog.testing.capture_logs():
        status, fault = {"oid": STATE, "values": {1: "active"}}, {"oid": ALARM}
        device = Device({**DEVICE, "status": status, "fault": fault})
        for at, values in enumerate(polls):
            report = device.rows.take(Answer(values, NOW + at, 50.0 + at))
            if report is not None:
                decode(report.samples, NodeName("a"))
