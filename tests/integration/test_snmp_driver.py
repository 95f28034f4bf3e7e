"""The `snmp` driver against a real snmpd: v3 and v2c, counters, states, and a device that goes away."""

import asyncio
import json
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from keyweave.agent.drivers import base
from keyweave.agent.drivers.base import DeviceReport, Driver, DriverUnavailableError
from keyweave.agent.drivers.snmp import SnmpDriver
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import types_pb2
from tests.integration.snmpd import AUTH, COMMUNITY, PRIVACY, Snmpd, oid, snmpd

Find = Callable[[str], str]
AB = LinkName("a-b")
QBER, RATE, BITS, TEMPERATURE, STATE = range(1, 6)
# laLoadFloat.1 of every Net-SNMP agent: a float in an Opaque.
LOAD = "1.3.6.1.4.1.2021.10.1.6.1"
RUNNING: dict[int, list[Any]] = {
    QBER: ["string", "2.5"],
    RATE: ["gauge", 12],
    BITS: ["counter64", 10**12, 200_000],
    TEMPERATURE: ["integer", -500],
    STATE: ["integer", 1],
}


def settings(access: dict[str, Any], **link: Any) -> dict[str, Any]:
    """Settings for the link a-b at node a."""
    mapping = {
        "peer_node": "b",
        "model": "ACME QKD-1",
        "interval_seconds": 0.2,
        "status": {"oid": oid(STATE), "values": {1: "active", 2: "off"}},
        "quantities": {
            "qber_ratio": {"oid": oid(QBER), "unit": "percent"},
            "skr_bps": {"oid": oid(RATE), "unit": "kbit/s"},
            "sifted_rate_bps": {"oid": oid(BITS), "unit": "bit/s"},
        },
        "detectors": {
            "apd-0": {
                "temperature_celsius": {"oid": oid(TEMPERATURE), "unit": "C", "scale": 0.1},
                "count_rate_hz": {"oid": LOAD, "unit": "Hz"},
            }
        },
    }
    return {**access, "links": {AB: {**mapping, **link}}}


@pytest.fixture
async def device(outside_program: Find, tmp_path: Path) -> AsyncIterator[Snmpd]:
    async with snmpd(outside_program, tmp_path) as running:
        running.say(RUNNING)
        yield running


@asynccontextmanager
async def driver(given: dict[str, Any]) -> AsyncIterator[Driver]:
    made = base.load("snmp")(given, NodeName("a"))
    yield made
    await made.close()


async def first(of: Driver, wanted: Callable[[DeviceReport], bool]) -> DeviceReport:
    """The first report that fits."""
    async with aclosing(of.watch(AB)) as watched:  # type: ignore[type-var]  # a generator
        async for report in watched:
            if wanted(report):
                return report
    raise AssertionError("the iterator ended")


def value(column: bytes) -> float:
    (one,) = struct.unpack("<f", column)
    return float(one)


def has_rate(report: DeviceReport) -> bool:
    return value(report.samples.sifted_rate_bps) > 0


async def ended(of: Driver) -> str:
    """How the iterator ends."""
    with pytest.raises(DriverUnavailableError) as unavailable:
        await first(of, lambda _report: False)
    return str(unavailable.value)


async def test_what_a_device_tells_over_v3_comes_in_the_protocol_s_units(device: Snmpd) -> None:
    async with driver(settings(device.v3())) as made:
        (end,) = await made.link_ends()
        assert (end.link, end.peer_node, end.gives_key, end.measures) == (AB, "b", False, True)
        report = await first(made, has_rate)
    samples = report.samples
    assert value(samples.qber_ratio) == pytest.approx(0.025)
    assert value(samples.skr_bps) == pytest.approx(12_000)
    # A counter that the device reads a little earlier or later than we think.
    assert value(samples.sifted_rate_bps) == pytest.approx(200_000, rel=0.5)
    assert value(samples.detectors[0].temperature_celsius) == pytest.approx(-50.0)
    assert value(samples.detectors[0].count_rate_hz) >= 0
    assert (samples.loss_db, samples.status) == (b"", types_pb2.LINK_STATUS_ACTIVE)
    assert samples.interval_micros == 200_000


async def test_a_state_shows_in_the_next_answer_and_wrong_values_are_missing(device: Snmpd) -> None:
    async with driver(settings(device.v3())) as made:
        await first(made, has_rate)
        device.say({**RUNNING, STATE: ["integer", 2], QBER: ["string", "broken"]})
        report = await first(made, lambda report: report.samples.status == types_pb2.LINK_STATUS_OFF)
    assert value(report.samples.qber_ratio) != value(report.samples.qber_ratio)  # NaN
    assert value(report.samples.skr_bps) == pytest.approx(12_000)


async def test_over_v2c_measurements_are_taken_with_a_warning(device: Snmpd) -> None:
    with structlog.testing.capture_logs() as logs:
        async with driver(settings(device.v2c())) as made:
            assert value((await first(made, has_rate)).samples.qber_ratio) == pytest.approx(0.025)
    assert [entry["address"] for entry in logs if entry["event"] == "snmp_without_v3"] == [device.address]
    assert COMMUNITY not in json.dumps(logs) + repr(made) + repr(vars(made))


async def test_wrong_passwords_and_users_end_it_and_are_told_to_nobody(device: Snmpd) -> None:
    wrong = device.secret("wrong", "none of its passwords")
    async with driver(settings(device.v3(auth_password_file=wrong))) as made:
        assert "digest" in await ended(made)
        assert "none of its passwords" not in repr(made) + repr(vars(made))
    async with driver(settings(device.v3(user="nobody"))) as made:
        assert "user" in (await ended(made)).lower()
    async with driver(settings(device.v2c("another"))) as made:
        assert "does not answer" in await ended(made)


async def test_a_device_that_goes_away_ends_the_iterator(device: Snmpd) -> None:
    async with driver(settings(device.v3())) as made:
        await first(made, has_rate)
        await device.stop()
        assert device.address in await ended(made)


async def test_the_driver_keeps_its_contract_without_giving_key(device: Snmpd) -> None:
    file = device.directory / "setup.yaml"
    file.write_text(json.dumps({"node": "a", "settings": settings(device.v3())}), encoding="utf-8")
    words = ["-m", "keyweave.cli", "driver", "test", "snmp", "--config", str(file), "-o", "json"]
    command = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await command.communicate()
    assert [one for one in json.loads(out)["checks"] if one["outcome"] == "fail"] == []
    outcomes = {one["check"]: one["outcome"] for one in json.loads(out)["checks"]}
    assert (outcomes["measurements"], outcomes["block-numbers"]) == ("pass", "not applicable")
    assert command.returncode == 0
    assert not any(secret.encode() in out + err for secret in (AUTH, PRIVACY))


async def test_key_is_asked_for_in_vain(device: Snmpd) -> None:
    async with driver(settings(device.v3())) as made:
        with pytest.raises(DriverUnavailableError, match="measurements only"):
            await anext(made.take_blocks(AB, 1))


# ---- settings -----------------------------------------------------------------------------------


def _nowhere(directory: Path) -> dict[str, Any]:
    password = directory / "password"
    password.write_text("long enough", encoding="utf-8")
    v3 = {"user": "u", "auth_password_file": str(password), "privacy_password_file": str(password)}
    link = {"peer_node": "b", "model": "m", "quantities": {"skr_bps": {"oid": oid(1), "unit": "bit/s"}}}
    return {"address": "127.0.0.1:1", "v3": v3, "links": {"a-b": link}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"address": "nowhere"}, "settings.address"),
        ({"community": "public"}, "settings.community"),
        ({"v3": None}, "v3 or v2c: give one of them"),
        ({"v2c": {"community_file": "/x"}}, "v3 or v2c: give one of them"),
        ({"v3": {"user": "u", "auth": "md5"}}, "settings.v3.auth"),
        (
            {"v3": {"user": "u", "auth_password_file": "/nowhere", "privacy_password_file": "/x"}},
            "/nowhere cannot",
        ),
        (
            {"v3": {"user": "u", "auth_password_file": "{short}", "privacy_password_file": "/x"}},
            "less than 8",
        ),
        ({"links": {"a-b": {"peer_node": "b", "model": "m"}}}, "neither quantities nor detectors"),
        (
            {"links": {"a-b": {"peer_node": "b", "model": "m", "sequence": "sysUpTime"}}},
            "settings.links.a-b.sequence",
        ),
    ],
)
async def test_wrong_settings_name_the_field(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("secret", encoding="utf-8")
    given = json.loads(
        json.dumps({**_nowhere(tmp_path), **changes}).replace("{short}", str(tmp_path / "short"))
    )
    with pytest.raises(InvalidInputError) as refused:
        SnmpDriver(given, NodeName("a"))
    assert words in str(refused.value)


async def test_without_its_library_the_driver_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pysnmp.error", None)
    with pytest.raises(InvalidInputError, match=r"pip install 'keyweave\[snmp\]'"):
        SnmpDriver(_nowhere(tmp_path), NodeName("a"))
