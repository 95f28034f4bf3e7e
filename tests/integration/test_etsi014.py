"""ETSI GS QKD 014 v1.1.1 over real mutual TLS, as an independent client sees it."""

import asyncio
import base64
import datetime as dt
import json
import shutil
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog
from aiohttp import web

from keyweave.agent.etsi014 import callers, face, messages
from keyweave.agent.etsi014.callers import SaeIdFrom
from keyweave.agent.etsi014.supply import (
    DeliveredKey,
    Drawn,
    KeyOrder,
    KeySupply,
    Refusal,
    SupplyError,
    SupplyStatus,
)
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import SaeId
from keyweave.common.pki import Authority
from keyweave.common.revocation import Trust
from keyweave.common.tls import TlsFiles

MASTER, SLAVE, STRANGER = SaeId("bank-a"), SaeId("bank-b"), SaeId("bank-c")
KEYS_OF_ONE_REQUEST = 16


@dataclass
class FakeSupply(KeySupply):
    """Two SAEs, one stream between them, and keys without end."""

    extension: dict[str, Any] = field(default_factory=lambda: {"keyweave_protection": "hybrid"})
    stored_key_count: int = 12
    failure: Exception | None = None
    drawn: list[DeliveredKey] = field(default_factory=list)
    # What the slave can still collect.
    waiting: dict[uuid.UUID, DeliveredKey] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    # Set when a draw begins; a draw ends when `may_finish` is set.
    began: asyncio.Event = field(default_factory=asyncio.Event)
    may_finish: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_finish.set()

    def status(self, caller: SaeId, peer: SaeId) -> SupplyStatus:
        self.calls.append("status")
        if {caller, peer} != {MASTER, SLAVE}:
            raise SupplyError(Refusal.NOT_ALLOWED, f"no stream joins {caller} and {peer}")
        return SupplyStatus(
            source_kme_id="tokyo",
            target_kme_id="koganei",
            master_sae_id=caller,
            slave_sae_id=peer,
            key_size=256,
            stored_key_count=self.stored_key_count,
            max_key_count=64,
            max_key_per_request=KEYS_OF_ONE_REQUEST,
            max_key_size=256,
            min_key_size=256,
        )

    async def draw(self, caller: SaeId, peer: SaeId, order: KeyOrder) -> Drawn:
        self.calls.append("draw")
        self.began.set()
        await self.may_finish.wait()
        if self.failure:
            raise self.failure
        first = len(self.drawn)
        keys = tuple(
            DeliveredKey(uuid.UUID(int=n), bytes([n % 256]) * (order.size_bits // 8), self.extension)
            for n in range(first, first + order.number)
        )
        self.drawn += keys
        self.waiting |= {key.key_id: key for key in keys}
        return Drawn(keys)

    async def collect(
        self, caller: SaeId, peer: SaeId, key_ids: tuple[uuid.UUID, ...]
    ) -> tuple[DeliveredKey, ...]:
        self.calls.append("collect")
        if (caller, peer) != (SLAVE, MASTER):
            raise SupplyError(Refusal.NOT_ALLOWED, f"not all of these keys were drawn for {caller}")
        missing = tuple(str(key_id) for key_id in key_ids if key_id not in self.waiting)
        if missing:
            raise SupplyError(Refusal.UNKNOWN_KEYS, "unknown, expired or spent", missing)
        return tuple(self.waiting.pop(key_id) for key_id in key_ids)


class Pki:
    """Certificates in files: the SAE plane's, and others that must not be let in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.anchor = Authority.create(Plane.SAE)
        self.stranger_anchor = Authority.create(Plane.SAE)
        self.key_plane_anchor = Authority.create(Plane.KEY)
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(self.anchor.credential.certificate)

    def issue(
        self, identity: Identity, *, by: Authority | None = None, valid_for: dt.timedelta | None = None
    ) -> TlsFiles:
        issued = (by or self.anchor).issue(
            identity, hosts=("127.0.0.1",), valid_for=valid_for or dt.timedelta(days=1)
        )
        name = uuid.uuid4().hex
        files = TlsFiles(
            certificate=self.directory / f"{name}.pem",
            private_key=self.directory / f"{name}-key.pem",
            trust_anchor=self.ca,
        )
        issued.write(files.certificate, files.private_key)
        return files

    def sae(self, name: str) -> TlsFiles:
        return self.issue(Identity(Plane.SAE, Role.SAE, name))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def supply() -> FakeSupply:
    return FakeSupply()


@asynccontextmanager
async def serving(
    pki: Pki,
    supply: KeySupply,
    sae_id_from: SaeIdFrom = SaeIdFrom.URI,
    *,
    extensions_shown: bool = True,
) -> AsyncIterator[str]:
    app = face.create_app(supply, sae_id_from, "tokyo", extensions_shown=extensions_shown)
    kme = pki.issue(Identity(Plane.SAE, Role.KME, "tokyo"))
    runner, url = await face.serve(app, kme, "127.0.0.1", 0)
    try:
        yield url
    finally:
        await runner.cleanup()


@pytest.fixture
async def url(pki: Pki, supply: FakeSupply) -> AsyncIterator[str]:
    async with serving(pki, supply) as base_url:
        yield base_url


def client_context(pki: Pki, files: TlsFiles | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.ca))
    if files is not None:
        context.load_cert_chain(files.certificate, files.private_key)
    return context


def client(pki: Pki, url: str, files: TlsFiles | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"{url}/api/v1/keys", verify=client_context(pki, files), trust_env=False, timeout=10
    )


@pytest.fixture
async def master(pki: Pki, url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(pki, url, pki.sae(MASTER)) as http:
        yield http


@pytest.fixture
async def slave(pki: Pki, url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(pki, url, pki.sae(SLAVE)) as http:
        yield http


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The body of an error, which must have the standard's form."""
    assert response.headers["content-type"] == "application/json"
    body: dict[str, Any] = response.json()
    assert set(body) <= {"message", "details"}
    assert isinstance(body["message"], str)
    assert all(isinstance(detail, dict) for detail in body.get("details", []))
    return body


def key_ids(*ids: Any) -> dict[str, Any]:
    return {"key_IDs": [{"key_ID": str(key_id)} for key_id in ids]}


# ---- what the standard promises ---------------------------------------------------------------------


async def test_status_describes_the_supply_from_caller_to_peer(master: httpx.AsyncClient) -> None:
    response = await master.get(f"/{SLAVE}/status")
    assert response.status_code == 200
    assert response.json() == {
        "source_KME_ID": "tokyo",
        "target_KME_ID": "koganei",
        "master_SAE_ID": MASTER,
        "slave_SAE_ID": SLAVE,
        "key_size": 256,
        "stored_key_count": 12,
        "max_key_count": 64,
        "max_key_per_request": KEYS_OF_ONE_REQUEST,
        "max_key_size": 256,
        "min_key_size": 256,
        "max_SAE_ID_count": 0,
    }


async def test_stored_key_count_never_exceeds_max_key_count(
    master: httpx.AsyncClient, supply: FakeSupply
) -> None:
    supply.stored_key_count = 99
    assert (await master.get(f"/{SLAVE}/status")).json()["stored_key_count"] == 64


async def test_what_the_master_draws_the_slave_collects_by_key_id(
    master: httpx.AsyncClient, slave: httpx.AsyncClient
) -> None:
    drawn = await master.post(f"/{SLAVE}/enc_keys", json={"number": 3, "size": 256})
    assert drawn.status_code == 200
    keys = drawn.json()["keys"]
    assert [len(base64.b64decode(key["key"])) for key in keys] == [32, 32, 32]
    assert all(key["key_extension"] == {"keyweave_protection": "hybrid"} for key in keys)

    collected = await slave.post(f"/{MASTER}/dec_keys", json=key_ids(*(key["key_ID"] for key in keys)))

    assert collected.status_code == 200
    assert collected.json() == drawn.json()


async def test_get_does_what_post_does(
    master: httpx.AsyncClient, slave: httpx.AsyncClient, supply: FakeSupply
) -> None:
    drawn = await master.get(f"/{SLAVE}/enc_keys", params={"number": 2, "size": 256})
    assert len(drawn.json()["keys"]) == 2
    for key in drawn.json()["keys"]:
        collected = await slave.get(f"/{MASTER}/dec_keys", params={"key_ID": key["key_ID"]})
        assert collected.json() == {"keys": [key]}
    assert supply.waiting == {}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_bare_request_draws_one_key(master: httpx.AsyncClient, method: str) -> None:
    response = await master.request(method, f"/{SLAVE}/enc_keys")
    assert len(response.json()["keys"]) == 1


async def test_answers_may_not_be_stored_on_the_way(master: httpx.AsyncClient) -> None:
    for path in (f"/{SLAVE}/enc_keys", f"/{SLAVE}/status", f"/{STRANGER}/status", "/nothing"):
        assert (await master.get(path)).headers["cache-control"] == "no-store"


async def test_provenance_can_be_switched_off(pki: Pki, supply: FakeSupply) -> None:
    async with (
        serving(pki, supply, extensions_shown=False) as url,
        client(pki, url, pki.sae(MASTER)) as http,
    ):
        (key,) = (await http.get(f"/{SLAVE}/enc_keys")).json()["keys"]
    assert set(key) == {"key_ID", "key"}


async def test_an_sae_id_in_the_path_may_be_percent_encoded(
    master: httpx.AsyncClient, supply: FakeSupply
) -> None:
    response = await master.get("/bank%20b%2Fx/status")
    assert response.status_code == 401
    assert "bank b/x" in error_of(response)["message"]


# ---- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"size": 255}, "size shall be a multiple of 8"),
        ({"extension_mandatory": [{"a": 1}]}, "not all extension_mandatory parameters are supported"),
    ],
)
async def test_the_standards_messages_are_word_for_word(
    master: httpx.AsyncClient, supply: FakeSupply, body: dict[str, Any], message: str
) -> None:
    response = await master.post(f"/{SLAVE}/enc_keys", json=body)
    assert response.status_code == 400
    assert error_of(response)["message"] == message
    assert supply.drawn == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"nubmer": 1}', "nubmer"),
        (b'{"number": 0}', "number"),
        (b'{"number": 17}', "number"),
        (b'{"size": "256"}', "size"),
        (b'{"size": 512}', "size"),
        (b'{"additional_slave_SAE_IDs": ["bank-c"]}', "additional_slave_SAE_IDs"),
        (b'{"extension_optional": 1}', "extension_optional"),
    ],
)
async def test_a_bad_request_for_keys_names_the_field_and_draws_nothing(
    master: httpx.AsyncClient, supply: FakeSupply, body: bytes, field: str
) -> None:
    response = await master.post(f"/{SLAVE}/enc_keys", content=body)
    assert response.status_code == 400
    assert error_of(response)["message"].startswith(f"{field}: ")
    assert supply.drawn == []


async def test_optional_extensions_are_ignored(master: httpx.AsyncClient) -> None:
    response = await master.post(f"/{SLAVE}/enc_keys", json={"extension_optional": [{"abc_x": {"y": 1}}]})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/{SLAVE}/enc_keys?number=1&number=2"),
        ("GET", f"/{SLAVE}/enc_keys?nubmer=1"),
        ("POST", f"/{SLAVE}/enc_keys?number=1"),
        ("GET", f"/{SLAVE}/status?verbose=1"),
        ("GET", f"/{SLAVE}/dec_keys"),
        ("POST", f"/{SLAVE}/dec_keys"),
        ("GET", f"/{SLAVE}/dec_keys?key_ID=7"),
    ],
)
async def test_bad_parameters_are_refused(
    master: httpx.AsyncClient, supply: FakeSupply, method: str, path: str
) -> None:
    response = await master.request(method, path)
    assert response.status_code == 400
    (detail,) = error_of(response)["details"]
    assert set(detail) == {"field", "description"}
    assert not {"draw", "collect"} & set(supply.calls)


async def test_unknown_or_spent_keys_get_the_standards_message_and_consume_nothing(
    master: httpx.AsyncClient, slave: httpx.AsyncClient
) -> None:
    first, second = (
        key["key_ID"] for key in (await master.get(f"/{SLAVE}/enc_keys?number=2")).json()["keys"]
    )
    unknown = uuid.UUID(int=999)

    mixed = await slave.post(f"/{MASTER}/dec_keys", json=key_ids(first, unknown))
    assert mixed.status_code == 400
    assert error_of(mixed) == {
        "message": "one or more keys specified are not found on KME",
        "details": [{"detail": str(unknown)}],
    }
    assert (await slave.post(f"/{MASTER}/dec_keys", json=key_ids(first, second))).status_code == 200

    again = await slave.get(f"/{MASTER}/dec_keys?key_ID={first}")
    assert again.status_code == 400
    assert error_of(again)["message"] == "one or more keys specified are not found on KME"


async def test_no_key_now_is_503_with_a_hint_to_come_back(
    master: httpx.AsyncClient, supply: FakeSupply
) -> None:
    supply.failure = SupplyError(Refusal.UNAVAILABLE, "all paths are down", ("link l1: cut",))
    response = await master.get(f"/{SLAVE}/enc_keys")
    assert response.status_code == 503
    assert error_of(response) == {"message": "all paths are down", "details": [{"detail": "link l1: cut"}]}
    assert int(response.headers["retry-after"]) > 0


async def test_an_unforeseen_error_is_503_and_neither_answer_nor_log_holds_its_text(
    master: httpx.AsyncClient, supply: FakeSupply
) -> None:
    secret = "c2VjcmV0IGtleQ"
    supply.failure = RuntimeError(f"cannot pack {secret}")
    with structlog.testing.capture_logs() as logged:
        response = await master.get(f"/{SLAVE}/enc_keys")
    assert response.status_code == 503
    (event,) = logged
    assert (event["event"], event["error"]) == ("etsi014_request_failed", "RuntimeError")
    assert any("in draw" in place or place.endswith(" draw") for place in event["at"])
    assert secret not in response.text
    assert secret not in repr(logged)


async def test_a_body_over_the_limit_is_refused(master: httpx.AsyncClient, supply: FakeSupply) -> None:
    body = json.dumps({"extension_optional": [{"x": "y" * messages.MAX_BODY_BYTES}]})
    response = await master.post(f"/{SLAVE}/enc_keys", content=body)
    assert response.status_code == 413
    assert str(messages.MAX_BODY_BYTES) in error_of(response)["message"]
    assert supply.drawn == []


@pytest.mark.parametrize(
    "path",
    [
        f"/{SLAVE}",
        f"/{SLAVE}/status/",
        f"/{SLAVE}/enc_keys/",
        f"/{SLAVE}/keys",
        "//enc_keys",
        "/a/b/enc_keys",
    ],
)
async def test_there_is_nothing_at_other_paths(
    master: httpx.AsyncClient, supply: FakeSupply, path: str
) -> None:
    response = await master.get(path)
    assert response.status_code == 404
    error_of(response)
    assert supply.calls == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "status", "GET"),
        ("PUT", "enc_keys", "GET, POST"),
        ("DELETE", "dec_keys", "GET, POST"),
        ("HEAD", "enc_keys", "GET, POST"),
        ("OPTIONS", "enc_keys", "GET, POST"),
    ],
)
async def test_other_methods_are_not_allowed_and_draw_nothing(
    master: httpx.AsyncClient, supply: FakeSupply, method: str, path: str, allowed: str
) -> None:
    response = await master.request(method, f"/{SLAVE}/{path}")
    assert response.status_code == 405
    assert response.headers["allow"] == allowed
    assert supply.calls == []


async def test_a_key_whose_reader_went_away_is_burned(pki: Pki, url: str, supply: FakeSupply) -> None:
    supply.may_finish.clear()
    async with client(pki, url, pki.sae(MASTER)) as http:
        request = asyncio.create_task(http.get(f"/{SLAVE}/enc_keys"))
        await supply.began.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    async with client(pki, url, pki.sae(MASTER)) as http:
        # By the time this is answered the server knows that the first connection is gone.
        await http.get(f"/{SLAVE}/status")
        supply.may_finish.set()
        (key,) = (await http.get(f"/{SLAVE}/enc_keys")).json()["keys"]
    assert key["key_ID"] == str(supply.drawn[1].key_id)


# ---- who is let in ----------------------------------------------------------------------------------


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


def address(url: str) -> tuple[str, int]:
    parsed = httpx.URL(url)
    assert parsed.port is not None
    return parsed.host, parsed.port


# ---- as an operator tries it ------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_curl_draws_and_collects_a_key(pki: Pki, url: str) -> None:
    async def curl(sae: SaeId, *arguments: str) -> Any:
        files = pki.sae(sae)
        process = await asyncio.create_subprocess_exec(
            "curl",
            *("--silent", "--fail-with-body", "--noproxy", "*", "--max-time", "10"),
            *("--cacert", str(pki.ca)),
            *("--cert", str(files.certificate), "--key", str(files.private_key)),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output
        return json.loads(output)

    drawn = await curl(MASTER, "-d", '{"number": 1}', f"{url}/api/v1/keys/{SLAVE}/enc_keys")
    key_id = drawn["keys"][0]["key_ID"]
    collected = await curl(SLAVE, f"{url}/api/v1/keys/{MASTER}/dec_keys?key_ID={key_id}")
    assert collected == drawn
