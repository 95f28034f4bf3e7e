"""An ETSI GS QKD 014 face over mutual TLS with a key supply of its own, and clients of it."""

import asyncio
import datetime as dt
import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from keyweave.agent.etsi014 import face
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


def client_context(pki: Pki, files: TlsFiles | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.ca))
    if files is not None:
        context.load_cert_chain(files.certificate, files.private_key)
    return context


def client(pki: Pki, url: str, files: TlsFiles | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"{url}/api/v1/keys", verify=client_context(pki, files), trust_env=False, timeout=10
    )


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


def address(url: str) -> tuple[str, int]:
    parsed = httpx.URL(url)
    assert parsed.port is not None
    return parsed.host, parsed.port
