"""The `mqtt` driver against a real Mosquitto: TLS, a password, samples, key blocks, and what goes wrong."""

import asyncio
import json
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from keyweave.agent.drivers import base
from keyweave.agent.drivers.base import DeviceReport, Driver, DriverUnavailableError
from keyweave.agent.drivers.mqtt import MqttDriver
from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Plane
from keyweave.common.names import LinkName, NodeName
from keyweave.common.pki import Authority
from keyweave.v1 import types_pb2
from tests.integration.fake_mqtt_device import BLOCK_BYTES, client, key_of
from tests.integration.mosquitto import PASSWORD, Broker, broker, device
from tests.waiting import eventually

Find = Callable[[str], str]
AB = LinkName("a-b")
INTERVAL = 0.1
QUANTITIES = {
    "qber_ratio": {"pointer": "/qber", "unit": "percent"},
    "skr_bps": {"pointer": "/rates/secret", "unit": "kbit/s"},
    "sifted_rate_bps": {"pointer": "/rates/sifted", "unit": "kbit/s"},
}


def settings(to: Broker, **link: Any) -> dict[str, Any]:
    """Settings for the link a-b at node a."""
    mapping = {
        "peer_node": "b",
        "model": "ACME QKD-1",
        "topic": "qkd/{node}/{link}/telemetry",
        "interval_seconds": INTERVAL,
        "time": {"pointer": "/ts"},
        "status": {"pointer": "/state", "values": {"running": "active", "dark": "off"}},
        "quantities": QUANTITIES,
        "detectors": {"apd-0": {"temperature_celsius": {"pointer": "/apd/0/temp", "unit": "K"}}},
    }
    return {**to.access(), "links": {AB: {**mapping, **link}}}


def keys_of(node: str) -> dict[str, Any]:
    return {"topic": f"qkd/{node}/key", "number": "/id", "key": "/key", "block_bytes": BLOCK_BYTES}


@pytest.fixture
async def secured(outside_program: Find, tmp_path: Path) -> AsyncIterator[Broker]:
    async with broker(outside_program, tmp_path) as running:
        yield running


@asynccontextmanager
async def driver(given: dict[str, Any], node: str = "a") -> AsyncIterator[Driver]:
    made = base.load("mqtt")(given, NodeName(node))
    yield made
    await made.close()


@asynccontextmanager
async def reports(of: Driver) -> AsyncIterator["asyncio.Queue[DeviceReport | Exception]"]:
    """What an agent would see of the link, from when its subscription stands, in a queue."""
    queue: asyncio.Queue[DeviceReport | Exception] = asyncio.Queue()

    async def read() -> None:
        try:
            async for report in of.watch(AB):
                queue.put_nowait(report)
        except DriverUnavailableError as error:
            queue.put_nowait(error)

    task = asyncio.create_task(read())
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.wait({task})


async def published(to: Broker, *messages: object, retain: bool = False) -> None:
    async with client(to.access()) as connection:
        for message in messages:
            payload = message if isinstance(message, bytes) else json.dumps(message)
            await connection.publish("qkd/a/a-b/telemetry", payload, qos=1, retain=retain)


def value(column: bytes) -> float:
    (one,) = struct.unpack("<f", column)
    return float(one)


async def test_measurements_of_a_device_come_in_the_protocol_s_units(secured: Broker) -> None:
    how = {"topic": "qkd/a/a-b/telemetry", "interval_seconds": INTERVAL, "qber_percent": 2.5}
    async with device(secured, **how), driver(settings(secured)) as made:
        (end,) = await made.link_ends()
        assert (end.link, end.peer_node, end.model, end.emulated) == (AB, "b", "ACME QKD-1", False)
        assert (end.gives_key, end.measures) == (False, True)
        async with aclosing(made.watch(AB)) as watched:  # type: ignore[type-var]  # a generator
            report = await anext(watched)
    samples = report.samples
    assert value(samples.qber_ratio) == pytest.approx(0.025)
    assert value(samples.skr_bps) == pytest.approx(20_000.0)
    assert value(samples.sifted_rate_bps) == pytest.approx(200_000.0)
    assert value(samples.detectors[0].temperature_celsius) == pytest.approx(-50.0)
    assert (samples.loss_db, samples.status) == (b"", types_pb2.LINK_STATUS_ACTIVE)


async def test_what_is_retained_repeated_or_garbage_is_no_sample_and_the_next_good_message_is(
    secured: Broker,
) -> None:
    def good(ts: float, qber: float) -> dict[str, Any]:
        return {"ts": ts, "qber": qber, "rates": {"secret": 1, "sifted": 1}, "state": "running"}

    now = time.time() - 10
    given = settings(secured, max_age_seconds=3600)
    await published(secured, good(now, 1), retain=True)
    garbage: tuple[object, ...] = (b"{", b"\xff\xfe", b'{"ts": NaN}', [], good(now + 10**6, 2), {"qber": 2})
    with structlog.testing.capture_logs() as logs:
        async with driver(given) as made, reports(made) as queue:

            async def subscribed() -> bool:
                return any("retained" in entry.get("reason", "") for entry in logs)

            await eventually(subscribed, 15.0, "the retained message has come")
            await published(secured, *garbage, good(now + 1, 2.0), good(now + 1, 3.0), good(now + 2, 4.0))
            seen = [await queue.get(), await queue.get()]
    assert all(isinstance(one, DeviceReport) for one in seen), seen
    assert [round(value(one.samples.qber_ratio), 4) for one in seen if isinstance(one, DeviceReport)] == [
        0.02,
        0.04,
    ]
    reasons = " ".join(entry["reason"] for entry in logs if entry["event"] == "measurement_refused")
    assert "not JSON" in reasons


async def test_a_wrong_password_says_so_and_tells_it_to_nobody(secured: Broker, tmp_path: Path) -> None:
    given = settings(secured)
    wrong = tmp_path / "wrong"
    wrong.write_text("not it", encoding="utf-8")
    given["password_file"] = str(wrong)
    async with driver(given) as made:
        with pytest.raises(DriverUnavailableError, match=r"Not auth|Bad user") as refused:
            await anext(made.watch(AB))
    assert "not it" not in str(refused.value) + repr(made) + repr(vars(made))


# The MQTT library leaves it to its socket's end to close it.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)
async def test_a_broker_of_another_authority_gets_nothing(secured: Broker) -> None:
    given = settings(secured)
    secured.trust_anchor.write_bytes(Authority.create(Plane.CONTROL).credential.certificate)
    async with driver(given) as made:
        with pytest.raises(DriverUnavailableError, match="certificate verify failed"):
            await anext(made.watch(AB))


async def test_a_broker_that_goes_away_ends_the_iterator_and_can_be_reached_again(
    outside_program: Find, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(broker(outside_program, tmp_path))
        made = await stack.enter_async_context(driver(settings(first)))
        how = {"topic": "qkd/a/a-b/telemetry", "interval_seconds": INTERVAL}
        async with device(first, **how), reports(made) as queue:
            assert isinstance(await queue.get(), DeviceReport)
            await first.stop()
            while isinstance(last := await queue.get(), DeviceReport):
                pass
            assert isinstance(last, DriverUnavailableError)
            assert first.address in str(last)
        with pytest.raises(DriverUnavailableError, match=first.address):
            await anext(made.watch(AB))
        again = await stack.enter_async_context(broker(outside_program, tmp_path, port=first.port))
        async with device(again, **how), reports(made) as queue:
            assert isinstance(await queue.get(), DeviceReport)


async def test_without_tls_telemetry_is_taken_with_a_warning(outside_program: Find, tmp_path: Path) -> None:
    async with broker(outside_program, tmp_path, tls=False) as plain:
        how = {"topic": "qkd/a/a-b/telemetry", "interval_seconds": INTERVAL}
        with structlog.testing.capture_logs() as logs:
            async with device(plain, **how), driver(settings(plain)) as made, reports(made) as queue:
                assert isinstance(await queue.get(), DeviceReport)
    assert [entry["broker"] for entry in logs if entry["event"] == "mqtt_without_tls"] == [plain.address]


async def test_key_blocks_come_from_the_one_that_is_asked_for(secured: Broker) -> None:
    how = {"topic": "x", "interval_seconds": 0.02, "key_topics": ["qkd/a/key"]}
    async with device(secured, **how), driver(settings(secured, key=keys_of("a"))) as made:
        (end,) = await made.link_ends()
        assert end.block_bytes == BLOCK_BYTES
        async with aclosing(made.take_blocks(AB, 40)) as taken:  # type: ignore[type-var]  # a generator
            blocks = [*await anext(taken), *await anext(taken)]
    numbers = [block.number for block in blocks]
    assert numbers[0] >= 40
    assert [bytes(block.key) for block in blocks] == [key_of(number) for number in numbers]


async def test_the_driver_keeps_its_contract_with_measurements_and_key_at_both_ends(secured: Broker) -> None:
    here = settings(secured, topic="qkd/t", key=keys_of("a"))
    there = settings(secured, topic="qkd/t", key=keys_of("b"), peer_node="a")
    setup = {"node": "a", "settings": here, "peer": {"node": "b", "settings": there}}
    file = secured.directory / "setup.yaml"
    file.write_text(json.dumps(setup), encoding="utf-8")
    how = {"topic": "qkd/t", "interval_seconds": INTERVAL, "key_topics": ["qkd/a/key", "qkd/b/key"]}
    words = ["-m", "keyweave.cli", "driver", "test", "mqtt", "--config", str(file)]
    async with device(secured, **how):
        command = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
        out, _ = await command.communicate()
    assert [line for line in out.decode().splitlines() if not line.startswith("pass ")] == []
    assert command.returncode == 0
    assert PASSWORD not in out.decode()


# ---- settings -----------------------------------------------------------------------------------


def _nowhere() -> dict[str, Any]:
    link = {"peer_node": "b", "model": "m", "topic": "t", "quantities": QUANTITIES}
    return {"broker": "127.0.0.1:1", "links": {"a-b": link}}


def _with(path: str, new: Any) -> dict[str, Any]:
    given = json.loads(json.dumps(_nowhere()))
    *parents, last = path.split(".")
    inner = given
    for part in parents:
        inner = inner.setdefault(part, {})
    inner[last] = new
    return dict(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "settings.broker"),
        (_with("broker", "nowhere"), "settings.broker"),
        (_with("password", "secret"), "settings.password"),
        (_with("password_file", "/x"), "password_file: without username"),
        ({**_with("password_file", "/x"), "username": "u"}, "password_file: is not sent without `tls`"),
        (_with("links.a-b.key", {**keys_of("a")}), "links.a-b.key: key is not taken without `tls`"),
        (_with("links", {}), "settings.links"),
        (_with("links.a-b.interval_seconds", 0), "settings.links.a-b.interval_seconds"),
        (_with("links.a-b.quantities.qber_ratio.unit", "V"), "qber_ratio.unit is 'V'; use ratio, percent"),
        (_with("links.a-b.quantities.qber_ratio.pointer", "qber"), "quantities.qber_ratio.pointer"),
        (_with("links.a-b.quantities.qber", {"pointer": "", "unit": "ratio"}), "quantities.qber"),
        (_with("links.a-b.topic", "a/#/b"), "settings.links.a-b.topic"),
        (_with("links.a-b.topic", None), "quantities.qber_ratio, quantities.skr_bps"),
        (_with("links.a-b.quantities", {}), "neither quantities nor detectors nor key"),
        (_with("links.a-b.status", {"pointer": "/s", "values": {"x": "up"}}), "status.values.x"),
        (_with("tls", {"trust_anchor": "/nowhere.pem"}), "settings.tls: /nowhere.pem cannot be read"),
        (_with("tls", {"trust_anchor": "/x", "certificate": "/y"}), "go together"),
    ],
)
async def test_wrong_settings_name_the_field(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        MqttDriver(given, NodeName("a"))
    assert words in str(refused.value)


async def test_without_its_library_the_driver_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    with pytest.raises(InvalidInputError, match=r"pip install 'keyweave\[mqtt\]'"):
        MqttDriver(_nowhere(), NodeName("a"))
