"""Clients that keep an HTTP port busy: silent, one byte at a time, too many, too often. Others are served."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import httpx
import pytest
from prometheus_client import CollectorRegistry

from keyweave.agent.etsi014 import face
from keyweave.agent.etsi014.callers import SaeIdFrom
from keyweave.common import http_door, metrics_http
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.rate_limit import RateLimit
from tests.integration.etsi014_face import (
    MASTER,
    SLAVE,
    FakeSupply,
    Pki,
    address,
    client,
    client_context,
    error_of,
    serving,
)


@pytest.fixture
async def metrics(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setattr(http_door, "FIRST_REQUEST_SECONDS", 0.5)
    serving, url = await metrics_http.serve(CollectorRegistry(), "127.0.0.1", 0)
    try:
        yield url
    finally:
        await serving.cleanup()


async def connect(
    url: str, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parsed = httpx.URL(url)
    return await asyncio.open_connection(parsed.host, parsed.port, ssl=tls)


async def is_closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(30):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize(
    "said", [b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: "], ids=["silent", "half a head"]
)
async def test_who_never_asks_loses_the_connection_and_others_are_served(metrics: str, said: bytes) -> None:
    reader, writer = await connect(metrics)
    writer.write(said)
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(metrics)).status_code == 200
        assert await is_closed(reader)
        # One that has asked keeps its connection.
        assert (await http.get(metrics)).status_code == 200
    writer.close()


async def test_a_connection_too_many_is_told_so_and_closed(
    metrics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_http, "MAX_CONNECTIONS", 1)
    async with httpx.AsyncClient(trust_env=False) as first, httpx.AsyncClient(trust_env=False) as second:
        assert (await first.get(metrics)).status_code == 200
        refused = await second.get(metrics)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert (await first.get(metrics)).status_code == 200


async def test_an_address_that_asks_too_often_is_told_when_to_come_back(metrics: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        codes = [await http.get(metrics) for _ in range(metrics_http.BURST * 3)]
    assert codes[0].status_code == 200
    refused = next(each for each in codes if each.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize("head", [b"A: " + b"a" * 20_000, b"A: b\r\n" * 5_000], ids=["long", "many"])
async def test_a_head_without_end_is_refused(metrics: str, head: bytes) -> None:
    reader, writer = await connect(metrics)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + head)
    async with asyncio.timeout(30):
        # Told, and closed perhaps while more was being sent.
        with suppress(ConnectionError):
            assert b" 400 " in await reader.readline()
    writer.close()
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(metrics)).status_code == 200


# ---- ETSI GS QKD 014 -----------------------------------------------------------------------------


async def test_an_sae_that_connects_and_never_asks_loses_its_place(
    pki: Pki, supply: FakeSupply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_door, "FIRST_REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(face, "MAX_CONNECTIONS", 4)
    async with serving(pki, supply) as url:
        tls = client_context(pki, pki.sae(MASTER))
        opened = [await asyncio.open_connection(*address(url), ssl=tls) for _ in range(4)]
        for reader, _ in opened:
            assert await is_closed(reader)
        async with client(pki, url, pki.sae(SLAVE)) as other:
            assert (await other.get(f"/{MASTER}/status")).status_code == 200
        for _, writer in opened:
            writer.close()


async def test_a_client_without_a_handshake_is_dropped(
    pki: Pki, supply: FakeSupply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_door, "HANDSHAKE_SECONDS", 0.5)
    async with serving(pki, supply) as url:
        reader, writer = await asyncio.open_connection(*address(url))
        writer.write(b"\x16\x03\x01")  # the first bytes of a handshake
        assert await is_closed(reader)
        writer.close()
        async with client(pki, url, pki.sae(SLAVE)) as other:
            assert (await other.get(f"/{MASTER}/status")).status_code == 200


async def test_one_sae_has_only_so_many_connections(
    pki: Pki, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "MAX_CONNECTIONS_OF_ONE", 2)
    files = pki.sae(MASTER)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(pki, url, files)) for _ in range(3)]
        other = await stack.enter_async_context(client(pki, url, pki.sae(SLAVE)))
        answers = [await http.get(f"/{SLAVE}/status") for http in clients]
        assert [answer.status_code for answer in answers] == [200, 200, 503]
        assert answers[2].headers["connection"] == "close"
        assert "connections" in error_of(answers[2])["message"]
        assert (await clients[0].get(f"/{SLAVE}/status")).status_code == 200
        assert (await other.get(f"/{MASTER}/status")).status_code == 200


async def test_an_sae_that_asks_too_often_gets_429_and_draws_nothing_and_others_are_served(
    pki: Pki, supply: FakeSupply
) -> None:
    limit = RateLimit(3, 0.01)
    app = face.create_app(supply, SaeIdFrom.URI, "tokyo", limit=limit)
    listening, url = await face.serve(app, pki.issue(Identity(Plane.SAE, Role.KME, "tokyo")), "127.0.0.1", 0)
    try:
        async with client(pki, url, pki.sae(MASTER)) as greedy, client(pki, url, pki.sae(SLAVE)) as other:
            answers = [await greedy.get(f"/{SLAVE}/enc_keys") for _ in range(5)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
            assert int(answers[3].headers["retry-after"]) > 1
            assert "too often" in error_of(answers[3])["message"]
            assert supply.calls.count("draw") == 3
            assert (await other.get(f"/{MASTER}/status")).status_code == 200
        assert limit.refused_total == 2
    finally:
        await listening.cleanup()
