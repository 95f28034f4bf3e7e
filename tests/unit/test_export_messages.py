"""Events as receivers get them, against the letter of RFC 5424, CEF, CloudEvents and Standard Webhooks."""

import base64
import hashlib
import hmac
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.controller.events import Event, Severity
from keyweave.controller.exports.messages import (
    cloud_event,
    event_members,
    framed,
    signature,
    syslog_message,
)

CUT = Event(
    "link_condition_changed",
    Severity.MAJOR,
    "link 'a|b' went from ok to down: no=signal\\here",
    1_763_755_200.25,
    link="ab",
    fields={"old": "ok", "new": "down", "reason": 'no "light" ]'},
    id=17,
)
FORMAT = re.compile(
    rb"<(\d{1,3})>1 (\S+) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) "
    rb'\[(\S+)((?: [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*)\] (.*)',
    re.DOTALL,
)


def syslog(event: Event, **changed: Any) -> bytes:
    settings: dict[str, Any] = {
        "facility": 13,
        "hostname": "kms1",
        "process": 42,
        "enterprise": 32473,
        "version": "0.4",
        "max_bytes": 8192,
    }
    return syslog_message(event, **(settings | changed))


def parameters(data: bytes) -> dict[str, str]:
    found = re.findall(r' ([^=]+)="((?:[^"\\\]]|\\["\\\]])*)"', data.decode())
    return {name: re.sub(r'\\(["\\\]])', r"\1", value) for name, value in found}


def test_a_message_has_header_structured_data_and_cef() -> None:
    match = FORMAT.fullmatch(syslog(CUT))
    assert match is not None
    priority, time, host, app, process, message_id, sd_id, data, cef = match.groups()
    assert int(priority) == 13 * 8 + 2
    assert (time, host, app, process) == (b"2025-11-21T20:00:00.250000Z", b"kms1", b"keyweave", b"42")
    assert (message_id, sd_id) == (b"link_condition_changed", b"keyweave@32473")
    told = parameters(data)
    assert told["id"] == "17"
    assert told["link"] == "ab"
    assert told["new"] == "down"
    assert told["reason"] == 'no "light" ]'
    assert (told["alarm"], told["alarm_state"]) == ("link_condition", "begun")
    *header, extension = cef.decode().split("|", 7)
    assert header == [
        "CEF:0", "Keyweave", "Keyweave", "0.4", "link_condition_changed",
        "A link went from one condition to another", "9",
    ]  # fmt: skip
    assert "externalId=17" in extension
    assert "rt=1763755200250" in extension
    assert "cs1Label=link cs1=ab" in extension
    assert "msg=link 'a|b' went from ok to down: no\\=signal\\\\here" in extension


def test_octets_are_counted_not_characters() -> None:
    assert framed("größer".encode()) == b"8 gr\xc3\xb6\xc3\x9fer"


def test_a_long_event_is_cut_to_what_the_server_takes_and_keeps_its_form() -> None:
    ids = ",".join(f"8d9a6f0e-0000-4000-8000-{number:012d}" for number in range(256))
    recalled = Event(
        "keys_recalled", Severity.MAJOR, "m" * 3000, 1.0, node="a", fields={"key_ids": ids}, id=3
    )
    assert len(syslog(recalled, max_bytes=65536)) > 9000
    for limit in (2048, 8192):
        message = syslog(recalled, max_bytes=limit)
        assert len(message) <= limit
        match = FORMAT.fullmatch(message)
        assert match is not None
        assert parameters(match[8])["key_ids"].endswith("...")
        assert parameters(match[8])["id"] == "3"


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_an_event_says_it_stays_one_message_on_one_line(message: str, reason: str) -> None:
    event = Event("policy_refused", Severity.MAJOR, message, 1.0, node="a", fields={"reason": reason}, id=1)
    written = syslog(event, max_bytes=2048)
    assert len(written) <= 2048
    assert FORMAT.fullmatch(written)
    assert b"\n" not in written
    assert b"\r" not in written


def test_a_cloud_event_has_all_that_is_required_and_the_same_id_each_time() -> None:
    members = cloud_event(CUT, "tokyo")
    assert members["specversion"] == "1.0"
    assert (members["source"], members["type"]) == ("/keyweave/tokyo", "keyweave.link_condition_changed")
    assert (members["subject"], members["datacontenttype"]) == ("link/ab", "application/json")
    assert members["data"] == event_members(CUT)
    assert members["id"] == cloud_event(CUT, "tokyo")["id"]
    assert members["id"].startswith("17-")
    assert members["id"] != cloud_event(replace(CUT, time_unix_seconds=2.0), "tokyo")["id"]
    # Attributes beyond the standard's are lower case letters and digits (CloudEvents 1.0, 3.1).
    assert all(re.fullmatch("[a-z0-9]+", name) for name in members)
    assert members["time"] == "2025-11-21T20:00:00.250000Z"


def test_the_signature_is_what_the_specification_says() -> None:
    """Standard Webhooks, "Signature scheme": base64 of HMAC-SHA256 over id.timestamp.body."""
    secret, body = b"0123456789abcdef", b'{"a":1}'
    expected = hmac.digest(secret, b"17-x.1763755200." + body, hashlib.sha256)
    assert signature(secret, "17-x", 1_763_755_200, body) == "v1," + base64.b64encode(expected).decode()


@pytest.mark.parametrize(("severity", "state"), [(Severity.INFO, "ended"), (Severity.MINOR, "begun")])
def test_an_alarm_says_whether_it_begins_or_ends(severity: Severity, state: str) -> None:
    event = Event("link_condition_changed", severity, "m", 1.0, link="ab", id=1)
    assert event_members(event)["alarm_state"] == state
    assert "alarm" not in event_members(Event("plan_changed", Severity.INFO, "m", 1.0, id=1))
