"""Who is let in to the ETSI GS QKD 014 face: certificates, planes, versions of TLS."""

import asyncio
import datetime as dt
import ssl
import uuid
from collections.abc import Callable
from types import SimpleNamespace

import httpx
import pytest
from aiohttp import web

from keyweave.agent.etsi014 import callers, face
from keyweave.agent.etsi014.callers import SaeIdFrom
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.revocation import Trust
from keyweave.common.tls import TlsFiles
from tests.integration.etsi014_face import (
    MASTER,
    SLAVE,
    STRANGER,
    FakeSupply,
    Pki,
    address,
    client,
    client_context,
    error_of,
    serving,
)


@pytest.mark.parametrize(
    "path", [f"/{SLAVE}/status", f"/{SLAVE}/enc_keys", f"/{SLAVE}/dec_keys?key_ID={uuid.UUID(int=0)}"]
)
async def test_another_saes_certificate_is_401(
    pki: Pki, url: str, master: httpx.AsyncClient, supply: FakeSupply, path: str
) -> None:
    await master.get(f"/{SLAVE}/enc_keys")
    async with client(pki, url, pki.sae(STRANGER)) as http:
        response = await http.get(path)
    assert response.status_code == 401
    error_of(response)
    assert len(supply.drawn) == len(supply.waiting) == 1


async def test_who_may_not_is_told_so_before_a_bad_request_is_explained(pki: Pki, url: str) -> None:
    async with client(pki, url, pki.sae(STRANGER)) as http:
        assert (await http.post(f"/{SLAVE}/enc_keys", content=b"{")).status_code == 401


async def test_the_master_cannot_collect_its_own_key(master: httpx.AsyncClient, supply: FakeSupply) -> None:
    (key,) = (await master.get(f"/{SLAVE}/enc_keys")).json()["keys"]
    assert (await master.get(f"/{SLAVE}/dec_keys?key_ID={key['key_ID']}")).status_code == 401
    assert len(supply.waiting) == 1


SAE = Identity(Plane.SAE, Role.SAE, MASTER)
Unwelcome = Callable[[Pki], TlsFiles | None]


@pytest.mark.parametrize(
    "certificate",
    [
        pytest.param(lambda _pki: None, id="no certificate"),
        pytest.param(lambda pki: pki.issue(SAE, by=pki.stranger_anchor), id="unknown CA"),
        pytest.param(lambda pki: pki.issue(SAE, by=pki.key_plane_anchor), id="key plane's CA"),
        pytest.param(lambda pki: pki.issue(SAE, valid_for=dt.timedelta(hours=-1)), id="expired"),
    ],
)
async def test_tls_itself_refuses(pki: Pki, url: str, supply: FakeSupply, certificate: Unwelcome) -> None:
    async with client(pki, url, certificate(pki)) as http:
        with pytest.raises(httpx.TransportError):
            await http.get(f"/{SLAVE}/enc_keys")
    assert supply.calls == []


@pytest.mark.parametrize("sae_id_from", SaeIdFrom)
@pytest.mark.parametrize(
    "identity",
    [
        Identity(Plane.SAE, Role.KME, MASTER),
        Identity(Plane.KEY, Role.SAE, MASTER),
        Identity(Plane.CONTROL, Role.OPERATOR, MASTER),
    ],
    ids=["KME", "key plane", "operator"],
)
async def test_a_certificate_of_another_role_or_plane_is_401_even_from_the_right_ca(
    pki: Pki, supply: FakeSupply, sae_id_from: SaeIdFrom, identity: Identity
) -> None:
    async with (
        serving(pki, supply, sae_id_from) as url,
        client(pki, url, pki.issue(identity)) as http,
    ):
        response = await http.get(f"/{SLAVE}/enc_keys")
    assert response.status_code == 401
    assert supply.calls == []


async def test_a_certificate_that_expires_on_an_open_connection_is_401(
    pki: Pki, url: str, supply: FakeSupply, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(pki, url, pki.sae(MASTER)) as http:
        assert (await http.get(f"/{SLAVE}/enc_keys")).status_code == 200
        later = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
        monkeypatch.setattr(callers, "time", SimpleNamespace(time=later.timestamp))
        response = await http.get(f"/{SLAVE}/enc_keys")
    assert response.status_code == 401
    assert "expired" in error_of(response)["message"]
    assert len(supply.drawn) == 1


async def test_a_certificate_is_parsed_once_per_connection(
    pki: Pki, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    real = callers.caller

    def counting(certificate: bytes, source: SaeIdFrom, trust: Trust | None) -> callers.Caller:
        parsed.append(certificate)
        return real(certificate, source, trust)

    monkeypatch.setattr(callers, "caller", counting)
    async with client(pki, url, pki.sae(MASTER)) as http:
        for _ in range(3):
            assert (await http.get(f"/{SLAVE}/enc_keys")).status_code == 200
    assert len(parsed) == 1


async def test_without_tls_everybody_is_a_stranger(supply: FakeSupply) -> None:
    app = face.create_app(supply, SaeIdFrom.URI, "tokyo")
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with httpx.AsyncClient(trust_env=False) as http:
        response = await http.get(f"http://{host}:{port}/api/v1/keys/{SLAVE}/enc_keys")
    await runner.cleanup()
    assert response.status_code == 401
    assert supply.calls == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_are_spoken_with_forward_secrecy_and_aead(
    pki: Pki, url: str, version: ssl.TLSVersion
) -> None:
    context = client_context(pki, pki.sae(MASTER))
    context.minimum_version = context.maximum_version = version
    _, writer = await asyncio.open_connection(*address(url), ssl=context)
    name, _, _ = writer.get_extra_info("cipher")
    writer.close()
    await writer.wait_closed()
    assert name.startswith("TLS_") if version is ssl.TLSVersion.TLSv1_3 else name.startswith("ECDHE-")
    assert any(mode in name for mode in ("GCM", "POLY1305"))


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA384"),
        (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384"),
    ],
    ids=["TLS 1.1", "no AEAD", "no forward secrecy"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_weaker_tls_is_not_spoken(pki: Pki, url: str, version: ssl.TLSVersion, ciphers: str) -> None:
    context = client_context(pki, pki.sae(MASTER))
    context.set_ciphers(ciphers)
    context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(*address(url), ssl=context)


async def test_sessions_are_not_resumed_so_every_connection_is_verified(pki: Pki) -> None:
    context = face.tls_context(pki.issue(Identity(Plane.SAE, Role.KME, "tokyo")))
    assert context.num_tickets == 0
    assert context.options & ssl.OP_NO_TICKET
    assert context.verify_mode is ssl.CERT_REQUIRED
