"""However many come at once, the ETSI 014 face holds a bounded number of connections and requests."""

import asyncio

import pytest

from keyweave.agent.etsi014 import face
from tests.integration.etsi014_face import (
    MASTER,
    SLAVE,
    FakeSupply,
    Pki,
    address,
    client,
    client_context,
    error_of,
)
from tests.integration.mesh import wait_until


@pytest.mark.parametrize("limit", ["MAX_REQUESTS", "MAX_REQUESTS_OF_ONE"])
async def test_a_request_too_many_is_503_until_another_is_done(
    pki: Pki, url: str, supply: FakeSupply, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(face, limit, 2)
    supply.may_finish.clear()
    async with client(pki, url, pki.sae(MASTER)) as http:
        held = [asyncio.create_task(http.get(f"/{SLAVE}/enc_keys")) for _ in range(2)]
        await wait_until(lambda: supply.calls.count("draw") == 2, 5, "two requests are in hand")
        refused = await http.get(f"/{SLAVE}/enc_keys")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert "too many" in error_of(refused)["message"]
        supply.may_finish.set()
        assert [(await request).status_code for request in held] == [200, 200]
        assert (await http.get(f"/{SLAVE}/enc_keys")).status_code == 200


async def test_one_sae_cannot_take_the_places_of_another(
    pki: Pki, url: str, supply: FakeSupply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "MAX_REQUESTS_OF_ONE", 1)
    supply.may_finish.clear()
    async with client(pki, url, pki.sae(MASTER)) as greedy, client(pki, url, pki.sae(SLAVE)) as other:
        held = asyncio.create_task(greedy.get(f"/{SLAVE}/enc_keys"))
        await supply.began.wait()
        assert (await greedy.get(f"/{SLAVE}/status")).status_code == 503
        assert (await other.get(f"/{MASTER}/status")).status_code == 200
        supply.may_finish.set()
        assert (await held).status_code == 200


async def test_a_connection_too_many_is_told_503_and_closed_until_another_goes(
    pki: Pki, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "MAX_CONNECTIONS", 1)
    async with client(pki, url, pki.sae(MASTER)) as second:
        async with client(pki, url, pki.sae(MASTER)) as first:
            assert (await first.get(f"/{SLAVE}/status")).status_code == 200
            refused = await second.get(f"/{SLAVE}/status")
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert refused.headers["connection"] == "close"
            assert "connections" in error_of(refused)["message"]
            assert (await first.get(f"/{SLAVE}/status")).status_code == 200
        for _ in range(50):
            response = await second.get(f"/{SLAVE}/status")
            if response.status_code == 200:
                break
        assert response.status_code == 200


async def test_a_body_that_does_not_come_frees_its_place(
    pki: Pki, url: str, supply: FakeSupply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "BODY_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection(*address(url), ssl=client_context(pki, pki.sae(MASTER)))
    head = f"POST /api/v1/keys/{SLAVE}/enc_keys HTTP/1.1\r\nHost: kme\r\nContent-Length: 20\r\n\r\n"
    writer.write(head.encode() + b'{"number":')
    status = await reader.readline()
    writer.close()
    assert b" 400 " in status
    assert "draw" not in supply.calls
