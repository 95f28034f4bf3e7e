"""What devices tell becomes the protocol's units, or is refused with its reason."""

import math
import struct
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from keyweave.agent.drivers import json_words
from keyweave.agent.drivers.json_words import Pointer
from keyweave.agent.drivers.mapping import (
    UNITS,
    FaultTable,
    Reading,
    Refusals,
    RefusedError,
    StatusTable,
    one_row,
)
from keyweave.common.names import LinkName, NodeName
from keyweave.common.quantities import DETECTOR_RANGES, LINK_RANGES
from keyweave.controller.samples import decode
from keyweave.v1 import types_pb2

LINK = LinkName("a-b")


@pytest.mark.parametrize(
    ("name", "reading", "number", "value"),
    [
        ("qber_ratio", {"unit": "percent"}, 2.5, 0.025),
        ("qber_ratio", {"unit": "permille"}, 25, 0.025),
        ("qber_ratio", {"unit": "percent", "scale": 0.01}, 250, 0.025),
        ("skr_bps", {"unit": "kbit/s"}, 304, 304e3),
        ("skr_bps", {"unit": "bit/s", "scale": 8}, 100, 800),
        ("sifted_rate_bps", {"unit": "Mbit/s"}, 1.5, 1.5e6),
        ("loss_db", {"unit": "dB", "scale": -1}, -14.5, 14.5),
        ("visibility_ratio", {"unit": "ratio"}, 0.98, 0.98),
        ("count_rate_hz", {"unit": "kHz"}, 12, 12e3),
        ("dark_count_rate_hz", {"unit": "MHz"}, 0.001, 1e3),
        ("efficiency_ratio", {"unit": "percent"}, 20, 0.2),
        ("temperature_celsius", {"unit": "K"}, 223.15, -50.0),
        ("temperature_celsius", {"unit": "K"}, 0, -273.15),
        ("temperature_celsius", {"unit": "F"}, -58, -50.0),
        ("temperature_celsius", {"unit": "C", "scale": 0.1, "offset": -100}, 500, -50.0),
        ("bias_volts", {"unit": "kV"}, -0.1, -100.0),
        ("bias_volts", {"unit": "mV"}, 5000, 5.0),
    ],
)
def test_numbers_come_out_in_the_units_of_the_protocol(
    name: str, reading: dict[str, Any], number: float, value: float
) -> None:
    assert Reading(**reading).value(name, number) == pytest.approx(value, abs=1e-9)


def test_every_quantity_has_the_unit_of_the_protocol_itself() -> None:
    assert set(UNITS) == {*LINK_RANGES, *DETECTOR_RANGES}
    assert all((1.0, 0.0) in units.values() for units in UNITS.values())


@given(
    name=st.sampled_from(sorted(UNITS)),
    number=st.floats(allow_nan=False, allow_infinity=False),
    scale=st.floats(-1e300, 1e300),
    choice=st.data(),
)
def test_what_a_reading_lets_through_the_controller_takes(
    name: str, number: float, scale: float, choice: st.DataObject
) -> None:
    reading = Reading(unit=choice.draw(st.sampled_from(sorted(UNITS[name]))), scale=scale)
    try:
        value = reading.value(name, number)
    except RefusedError:
        return
    quantity = ("" if name in LINK_RANGES else "apd", name)
    row = one_row(
        LINK,
        end=1e9,
        interval_seconds=1.0,
        status=types_pb2.LINK_STATUS_ACTIVE,
        mapped=[quantity],
        values={quantity: value},
    )
    samples = decode(row, NodeName("a"))
    column = getattr(samples.detectors[0] if quantity[0] else samples, name)
    assert column[0] == pytest.approx(value, rel=1e-6)


def test_a_quantity_that_is_not_mapped_is_empty_and_one_without_a_value_is_nan() -> None:
    mapped = [("", "qber_ratio"), ("", "skr_bps"), ("apd-1", "temperature_celsius")]
    row = one_row(
        LINK,
        end=1_000_000_000.0,
        interval_seconds=0.5,
        status=types_pb2.LINK_STATUS_ACTIVE,
        mapped=mapped,
        values={("", "skr_bps"): 5.0},
    )
    assert (row.start_unix_nanos, row.interval_micros, row.rows) == (999_999_999_500_000_000, 500_000, 1)
    assert math.isnan(struct.unpack("<f", row.qber_ratio)[0])
    assert struct.unpack("<f", row.skr_bps) == (5.0,)
    assert row.loss_db == b""
    (detector,) = row.detectors
    assert (detector.detector, detector.bias_volts) == ("apd-1", b"")
    assert math.isnan(struct.unpack("<f", detector.temperature_celsius)[0])


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe\xfd", "is not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b"[" * 100_000, "nested too deeply"),
        (b'"' + b"x" * 300_000 + b'"', "at most"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not JSON"),
    ],
)
def test_what_is_no_json_is_refused(payload: bytes, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        json_words.parsed(payload)


def test_pointers_are_those_of_rfc_6901() -> None:
    document = {
        "foo": ["bar", "baz"],
        "": 0,
        "a/b": 1,
        "c%d": 2,
        "e^f": 3,
        "g|h": 4,
        "i\\j": 5,
        'k"l': 6,
        " ": 7,
        "m~n": 8,
    }
    # The examples of its section 5.
    expected = {
        "": document,
        "/foo": ["bar", "baz"],
        "/foo/0": "bar",
        "/": 0,
        "/a~1b": 1,
        "/c%d": 2,
        "/e^f": 3,
        "/g|h": 4,
        "/i\\j": 5,
        '/k"l': 6,
        "/ ": 7,
        "/m~0n": 8,
    }
    assert {pointer: json_words.at(document, pointer) for pointer in expected} == expected


@pytest.mark.parametrize("pointer", ["/foo/2", "/foo/-", "/foo/01", "/foo/x", "/nowhere", "/foo/0/1"])
def test_a_pointer_to_nothing_says_so(pointer: str) -> None:
    with pytest.raises(RefusedError, match="has nothing at"):
        json_words.at({"foo": ["bar", "baz"]}, pointer)


@pytest.mark.parametrize("pointer", ["foo", "/a~2", "/a~"])
def test_what_is_no_pointer_is_told_in_the_settings(pointer: str) -> None:
    with pytest.raises(ValidationError, match="no JSON pointer"):
        TypeAdapter(Pointer).validate_python(pointer)


@pytest.mark.parametrize("value", [True, None, "2.5", [2.5], {"v": 2.5}, 10**400, 1e999])
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(RefusedError, match=r"is no number|too large"):
        json_words.number_at({"v": value}, "/v")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1_700_000_000.25, "unix_seconds"),
        (1_700_000_000_250, "unix_millis"),
        (1_700_000_000_250_000, "unix_micros"),
        (1_700_000_000_250_000_000, "unix_nanos"),
        ("2023-11-14T22:13:20.25Z", "iso8601"),
        ("2023-11-14T23:13:20.25+01:00", "iso8601"),
    ],
)
def test_times_are_read_in_each_form(value: object, written: Any) -> None:
    assert json_words.time_at({"t": value}, "/t", written) == pytest.approx(1_700_000_000.25, abs=1e-6)


@pytest.mark.parametrize("value", ["2023-11-14T22:13:20", "yesterday", 5, None])
def test_a_time_without_a_zone_or_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(RefusedError, match="no ISO 8601 time with a zone"):
        json_words.time_at({"t": value}, "/t", "iso8601")


def test_states_are_found_however_yaml_or_json_writes_them() -> None:
    # As YAML reads `{on: active, off: off, 3: pending, Idle: passive}`.
    table = StatusTable.model_validate(
        {"values": {True: "active", False: False, 3: "pending", "Idle": "passive"}}
    )
    active, off, pending = ("on", "ON", True, "yes"), ("off", False), (3, 3.0, "3")
    assert {table.status(told) for told in active} == {types_pb2.LINK_STATUS_ACTIVE}
    assert {table.status(told) for told in off} == {types_pb2.LINK_STATUS_OFF}
    assert {table.status(told) for told in pending} == {types_pb2.LINK_STATUS_PENDING}
    assert table.status("idle") == types_pb2.LINK_STATUS_PASSIVE
    with pytest.raises(RefusedError, match="'melting' is none of"):
        table.status("melting")


def test_faults_are_told_in_the_owner_s_words_or_the_device_s() -> None:
    table = FaultTable.model_validate({"texts": {"OK": "", 3: "laser interlock"}})
    assert [table.fault(value) for value in (None, False, 0, "", "ok")] == [""] * 5
    assert table.fault(3) == "laser interlock"
    assert table.fault("hot") == "hot"
    assert table.fault(True) == "the device reports a fault"
    assert len(table.fault("x" * 10_000)) == 300


def test_refusals_are_all_counted_and_ever_more_seldom_logged() -> None:
    refusals = Refusals("mqtt", LINK)
    with structlog.testing.capture_logs() as logs:
        for _ in range(1000):
            refusals.refuse("qber_ratio", "is no number")
        refusals.refuse("message", "is not JSON")
    assert refusals.counts == {"qber_ratio": 1000, "message": 1}
    assert [entry["count"] for entry in logs] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1]
    assert {entry["reason"] for entry in logs} == {"is no number", "is not JSON"}
