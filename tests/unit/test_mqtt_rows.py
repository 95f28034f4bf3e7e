"""Messages become rows once, in time, and only where they say something new."""

import base64
import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from keyweave.agent.drivers.base import DeviceReport
from keyweave.agent.drivers.mapping import Refusals
from keyweave.agent.drivers.mqtt_rows import Arrived, KeyBlocks, LinkRows
from keyweave.agent.drivers.mqtt_settings import KeySettings, LinkSettings
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.samples import decode
from keyweave.v1 import types_pb2

LINK = LinkName("a-b")
NOW = 1_700_000_000.0
DEVICE = {
    "peer_node": "b",
    "model": "m",
    "topic": "qkd",
    "quantities": {
        "qber_ratio": {"pointer": "/qber", "unit": "percent"},
        "skr_bps": {"pointer": "/rate", "unit": "bit/s"},
    },
}
STATE = {"pointer": "/state", "values": {"running": "active", "dark": False}}
TWO_TOPICS = {
    "peer_node": "b",
    "model": "m",
    "quantities": {
        "qber_ratio": {"topic": "q", "pointer": "", "unit": "percent"},
        "skr_bps": {"topic": "r", "pointer": "", "unit": "bit/s"},
    },
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


class Device:
    """A device whose messages arrive when the test says."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.refusals = Refusals("mqtt", LINK)
        parsed = LinkSettings.model_validate(settings)
        self.rows = LinkRows(LINK, parsed, self.refusals, lambda topic: topic)

    def says(
        self, content: object, at: float, *, topic: str = "qkd", retained: bool = False
    ) -> list[DeviceReport]:
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        return list(self.rows.take(Arrived([topic], payload, retained, NOW + at)))


def columns(report: DeviceReport) -> dict[str, float | None]:
    """What a report of one row measured; a missing value is None."""
    found: dict[str, float | None] = {}
    for name in ("qber_ratio", "skr_bps"):
        (value,) = struct.unpack("<f", getattr(report.samples, name))
        found[name] = None if math.isnan(value) else round(value, 6)
    return found


def end(report: DeviceReport) -> float:
    samples = report.samples
    return round(samples.start_unix_nanos / 1e9 + samples.interval_micros / 1e6 - NOW, 3)


def test_each_message_is_a_row_that_ends_when_it_came() -> None:
    device = Device(DEVICE)
    first, second = device.says({"qber": 2, "rate": 5}, 0.0), device.says({"qber": 3, "rate": 6}, 1.1)
    assert [columns(report) for report in (*first, *second)] == [
        {"qber_ratio": 0.02, "skr_bps": 5.0},
        {"qber_ratio": 0.03, "skr_bps": 6.0},
    ]
    assert [end(report) for report in (*first, *second)] == [0.0, 1.1]
    assert not device.refusals.counts


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ({"qber": "2", "rate": 5}, "qber_ratio"),
        ({"qber": 90, "rate": 5}, "qber_ratio"),
        ({"qber": -1, "rate": 5}, "qber_ratio"),
        ({"qber": None, "rate": 5}, "qber_ratio"),
        ({"rate": 5}, "qber_ratio"),
    ],
)
def test_a_wrong_value_is_missing_in_its_row_and_the_others_stand(message: object, refused: str) -> None:
    device = Device(DEVICE)
    (report,) = device.says(message, 0.0)
    assert columns(report) == {"qber_ratio": None, "skr_bps": 5.0}
    assert device.refusals.counts == {refused: 1}


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"qber": NaN, "rate": 1}', b"3", b"null", b"\xff"])
def test_a_message_with_nothing_to_take_is_no_row_and_the_next_one_is(payload: bytes) -> None:
    device = Device(DEVICE)
    assert device.says(payload, 0.0) == []
    assert device.refusals.counts
    assert len(device.says({"qber": 2, "rate": 5}, 0.1)) == 1


def test_a_retained_message_is_no_sample() -> None:
    device = Device(DEVICE)
    assert device.says({"qber": 2, "rate": 5}, 0.0, retained=True) == []
    assert device.refusals.counts == {"message": 1}


def test_what_comes_too_soon_after_a_row_is_an_emptied_queue_not_a_second_measurement() -> None:
    device = Device(DEVICE)
    ends = [
        end(report)
        for at in (0.0, 0.001, 0.002, 1.0, 1.4, 1.9)
        for report in device.says({"qber": 2, "rate": 5}, at)
    ]
    assert ends == [0.0, 1.0, 1.9]
    assert device.refusals.counts == {"row": 3}


def test_a_device_s_own_time_counts_and_old_repeated_or_future_ones_are_refused() -> None:
    device = Device({**DEVICE, "time": {"pointer": "/ts"}, "max_age_seconds": 3})

    def says(measured: object, at: float) -> list[DeviceReport]:
        return device.says({"qber": 2, "rate": 5, "ts": measured}, at)

    assert [end(report) for report in says(NOW - 2.0, 0.0)] == [-2.0]
    assert says(NOW - 2.0, 1.0) == []  # the same again
    assert says(NOW - 2.5, 1.0) == []  # an older one
    assert says(NOW - 2.1, 1.0) == []
    assert says(NOW - 1.9, 2.0) == []  # too old
    assert says(NOW + 60, 2.0) == []  # from the future
    assert says("now", 2.0) == []
    assert says(None, 2.0) == []
    assert device.refusals.counts == {"message": 7}
    assert [end(report) for report in says(NOW, 2.0)] == [0.0]
    # A queue of real measurements may come all at once: each has its own time.
    assert [end(report) for at in (1.0, 2.0, 3.0) for report in says(NOW + at, 3.0)] == [1.0, 2.0, 3.0]


def test_topics_of_one_round_make_one_row() -> None:
    device = Device(TWO_TOPICS)
    assert device.says(2, 0.0, topic="q") == []
    (report,) = device.says(5, 0.2, topic="r")
    assert columns(report) == {"qber_ratio": 0.02, "skr_bps": 5.0}
    assert end(report) == 0.2
    assert not device.refusals.counts


def test_a_round_whose_other_topic_is_silent_ends_with_the_next_one() -> None:
    device = Device(TWO_TOPICS)
    assert device.says(2, 0.0, topic="q") == []
    (report,) = device.says(3, 1.0, topic="q")
    assert columns(report) == {"qber_ratio": 0.02, "skr_bps": None}
    assert end(report) == 0.0
    # A part of a round that waited for longer than a measurement may be old is none.
    assert device.says(4, 60.0, topic="q") == []
    assert device.refusals.counts == {"row": 1}


def test_a_change_of_state_is_told_at_once_and_the_next_measurement_still_counts() -> None:
    device = Device(
        {**DEVICE, "status": {**STATE, "topic": "state"}, "fault": {"pointer": "/alarm", "topic": "state"}}
    )
    assert len(device.says({"qber": 2, "rate": 5}, 0.0)) == 1
    assert device.says({"state": "running", "alarm": ""}, 0.1, topic="state") == []
    (report,) = device.says({"state": "dark", "alarm": "no light"}, 0.2, topic="state")
    assert report.samples.status == types_pb2.LINK_STATUS_OFF
    assert report.device_fault == "no light"
    assert columns(report) == {"qber_ratio": None, "skr_bps": None}
    assert device.says({"state": "dark", "alarm": "no light"}, 0.3, topic="state") == []
    (report,) = device.says({"qber": 2, "rate": 5}, 1.0)
    assert report.samples.status == types_pb2.LINK_STATUS_OFF
    assert report.device_fault == "no light"
    (report,) = device.says({"state": "running", "alarm": None}, 1.1, topic="state")
    assert (report.samples.status, report.device_fault) == (types_pb2.LINK_STATUS_ACTIVE, "")
    (report,) = device.says({"qber": 2, "rate": 5}, 2.0)
    assert not device.refusals.counts


def test_a_retained_state_is_the_state_the_device_is_in() -> None:
    device = Device({**DEVICE, "status": {**STATE, "topic": "state"}})
    (report,) = device.says({"state": "dark"}, 0.0, topic="state", retained=True)
    assert report.samples.status == types_pb2.LINK_STATUS_OFF


def test_a_state_that_nobody_knows_changes_nothing_and_its_measurements_count() -> None:
    device = Device({**DEVICE, "status": STATE})
    (report,) = device.says({"qber": 2, "rate": 5, "state": "melting"}, 0.0)
    assert report.samples.status == types_pb2.LINK_STATUS_ACTIVE
    assert device.refusals.counts == {"status": 1}


def test_after_our_clock_was_set_back_measurements_go_on() -> None:
    device = Device(DEVICE)
    assert len(device.says({"qber": 2, "rate": 5}, 3600.0)) == 1
    assert [end(report) for report in device.says({"qber": 2, "rate": 5}, 0.0)] == [0.0]


# ---- key blocks ---------------------------------------------------------------------------------

KEY = {"topic": "key", "number": "/id", "key": "/key", "block_bytes": 4, "time": {"pointer": "/ts"}}


def block(number: object, key: object = "AAECAw==", ts: object = NOW, **more: Any) -> Arrived:
    return Arrived(
        ["key"], json.dumps({"id": number, "key": key, "ts": ts}).encode(), more.get("retained", False), NOW
    )


def test_blocks_come_once_each_with_rising_numbers_from_the_first_that_was_asked_for() -> None:
    refusals = Refusals("mqtt", LINK)
    blocks = KeyBlocks(KeySettings.model_validate(KEY), 5, refusals)
    taken = [blocks.take(block(number)) for number in (4, 5, 5, 6, 8, 7)]
    assert [one.number if one else None for one in taken] == [None, 5, None, 6, 8, None]
    assert refusals.counts == {"block": 3}
    assert taken[1] is not None
    assert (taken[1].key, taken[1].produced_unix_nanos) == (bytearray(range(4)), int(NOW * 1e9))


@pytest.mark.parametrize(
    "message",
    [
        block(1, "AAECAw"),
        block(1, "AAEC"),
        block(1, "AAECAwQ="),
        block(1, 5),
        block(0),
        block("1"),
        block(True),
        block(1.0),
        block(2**63),
        block(1, ts="soon"),
        block(1, retained=True),
        Arrived(["key"], b"{", False, NOW),
    ],
)
def test_a_block_that_is_none_is_refused_and_what_was_in_it_is_not_told(message: Arrived) -> None:
    with structlog.testing.capture_logs() as logs:
        assert KeyBlocks(KeySettings.model_validate(KEY), 1, Refusals("mqtt", LINK)).take(message) is None
    assert len(logs) == 1
    assert "AAEC" not in json.dumps(logs)


def test_a_block_may_be_hexadecimal() -> None:
    settings = KeySettings.model_validate({**KEY, "encoding": "hex"})
    taken = KeyBlocks(settings, 1, Refusals("mqtt", LINK)).take(block(1, "00010203"))
    assert taken is not None
    assert taken.key == base64.b64decode("AAECAw==")


# ---- whatever comes -----------------------------------------------------------------------------

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(NOW)
_ANYTHING = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)
_MESSAGES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("qber", "rate", "state", "alarm", "ts", "id", "key"), _ANYTHING)
)
_PAYLOADS = st.binary() | (_MESSAGES | _ANYTHING).map(lambda content: json.dumps(content).encode())


@given(payloads=st.lists(st.tuples(_PAYLOADS, st.booleans()), max_size=5))
def test_whatever_a_device_publishes_what_is_passed_on_is_valid(payloads: list[tuple[bytes, bool]]) -> None:
    with structlog.testing.capture_logs():
        device = Device(
            {**DEVICE, "time": {"pointer": "/ts"}, "status": STATE, "fault": {"pointer": "/alarm"}}
        )
        blocks = KeyBlocks(KeySettings.model_validate(KEY), 1, Refusals("mqtt", LINK))
        for at, (payload, retained) in enumerate(payloads):
            message = Arrived(["qkd", "key"], payload, retained, NOW + at)
            for report in device.rows.take(message):
                decode(report.samples, NodeName("a"))
                assert len(report.device_fault) <= 300
            taken = blocks.take(message)
            assert taken is None or len(taken.key) == 4
