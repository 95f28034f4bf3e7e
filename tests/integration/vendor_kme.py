"""A vendor's pair of KMEs, written from the text of ETSI GS QKD 014 v1.1.1 alone, and what can befall it.

Each request is held to the standard word by word: what an SAE may not send is answered with 400, so that a
driver that is not to the letter gets no key here. Keys of the pair are random and given once at each end.
"""

import asyncio
import base64
import datetime as dt
import ipaddress
import os
import ssl
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# SAEs by the end of the domain that they are at.
SAES = {"west": "acme sae/west", "east": "acme sae/east"}
NOT_FOUND = "one or more keys specified are not found on KME"


class Certificates:
    """The vendor's own authority, with elliptic curves and common names, and nothing of ours."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ACME {directory.name}")])
        self.anchor = directory / "ca.pem"
        certificate = self._sign(self._name, self._key, is_authority=True)
        self.anchor.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> dict[str, Path]:
        """A certificate for a common name, good for 127.0.0.1, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        stem = self.directory / uuid.uuid4().hex
        files = {"certificate": stem.with_suffix(".pem"), "private_key": stem.with_suffix(".key")}
        files["certificate"].write_bytes(
            self._sign(subject, key, is_authority=False).public_bytes(serialization.Encoding.PEM)
        )
        files["private_key"].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files

    def tls(self, name: str) -> dict[str, str]:
        """The `tls` of a driver's settings for the SAE of this name."""
        return {kind: str(path) for kind, path in {**self.issue(name), "trust_anchor": self.anchor}.items()}

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


@dataclass
class Domain:
    """What the vendor's two KMEs share, and what is wrong with them."""

    # Keys that the domain can still make; None: without end.
    stock: int | None = None
    key_size: int = 256
    max_key_per_request: int = 16
    # By end: keys that wait there to be fetched by their IDs.
    waiting: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"west": {}, "east": {}})
    # Every key that was given to anybody.
    given: dict[str, bytes] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    # Set: requests of that end and method are not answered while it is so.
    stalled: dict[str, asyncio.Event] = field(default_factory=dict)
    # What is wrong with answers: wrong-size, same-id-twice, an-old-id, html, no-json, unauthorised.
    manner: str = ""

    def lose(self) -> None:
        """The KMEs restart and have forgotten what waits."""
        for keys in self.waiting.values():
            keys.clear()

    @asynccontextmanager
    async def stall(self, end: str) -> AsyncIterator[None]:
        """The KME at an end takes requests and does not answer, meanwhile."""
        released = self.stalled[end] = asyncio.Event()
        try:
            yield
        finally:
            del self.stalled[end]
            released.set()


class Kme:
    """One KME of the domain."""

    def __init__(self, domain: Domain, end: str, certificates: Certificates, port: int) -> None:
        self.domain, self.end, self.port = domain, end, port
        self._certificates = certificates
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """What comes before /api/v1/keys."""
        return f"https://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen."""
        files = self._certificates.issue(f"kme-{self.end}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self._certificates.anchor)
        context.load_cert_chain(files["certificate"], files["private_key"])
        app = web.Application()
        app.router.add_get("/api/v1/keys/{sae}/status", self._status)
        app.router.add_post("/api/v1/keys/{sae}/enc_keys", self._enc_keys)
        app.router.add_post("/api/v1/keys/{sae}/dec_keys", self._dec_keys)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context, reuse_address=True)
        await site.start()
        listeners = site._server.sockets  # type: ignore[union-attr]
        self.port = listeners[0].getsockname()[1]

    async def stop(self) -> None:
        """Go away, with all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # ---- the standard's methods ---------------------------------------------------------------

    async def _status(self, request: web.Request) -> web.Response:
        if refusal := await self._admit(request, "status"):
            return refusal
        stored = 1000 if self.domain.stock is None else self.domain.stock
        return self._answer(
            200,
            {
                "source_KME_ID": f"kme-{self.end}",
                "target_KME_ID": f"kme-{self._other}",
                "master_SAE_ID": SAES[self.end],
                "slave_SAE_ID": request.match_info["sae"],
                "key_size": self.domain.key_size,
                "stored_key_count": stored,
                "max_key_count": 1000,
                "max_key_per_request": self.domain.max_key_per_request,
                "max_key_size": 1024,
                "min_key_size": 64,
                "max_SAE_ID_count": 0,
            },
        )

    async def _enc_keys(self, request: web.Request) -> web.Response:
        if refusal := await self._admit(request, "enc_keys"):
            return refusal
        body = await request.json()
        number, size = body.get("number", 1), body.get("size", self.domain.key_size)
        if set(body) - {"number", "size"} or type(number) is not int or type(size) is not int:
            return self._error(400, f"Bad request format: {body}")
        if not 1 <= number <= self.domain.max_key_per_request:
            return self._error(400, f"number: {number}")
        if size % 8:
            return self._error(400, "size shall be a multiple of 8")
        if not 64 <= size <= 1024:
            return self._error(400, f"size: {size}")
        if self.domain.stock is not None:
            if self.domain.stock < number:
                return self._error(503, "no keys now")
            self.domain.stock -= number
        keys = {str(uuid.uuid4()): os.urandom(size // 8) for _ in range(number)}
        self.domain.waiting[self._other] |= keys
        listed = list(keys.items())
        if self.domain.manner == "same-id-twice":
            listed.append(listed[0])
        if self.domain.manner == "an-old-id" and self.domain.given:
            listed[0] = next(iter(self.domain.given.items()))
        self.domain.given |= keys
        return self._container(listed)

    async def _dec_keys(self, request: web.Request) -> web.Response:
        if refusal := await self._admit(request, "dec_keys"):
            return refusal
        body = await request.json()
        if set(body) != {"key_IDs"} or any(set(each) != {"key_ID"} for each in body["key_IDs"]):
            return self._error(400, f"Bad request format: {sorted(body)}")
        ids = [each["key_ID"] for each in body["key_IDs"]]
        here = self.domain.waiting[self.end]
        if not ids or not set(ids) <= here.keys():
            return self._error(400, NOT_FOUND)
        return self._container([(key_id, here.pop(key_id)) for key_id in ids])

    # ---- what they share ----------------------------------------------------------------------

    @property
    def _other(self) -> str:
        return "east" if self.end == "west" else "west"

    async def _admit(self, request: web.Request, method: str) -> web.Response | None:
        self.domain.asked[f"{self.end} {method}"] += 1
        if self.end in self.domain.stalled:
            await self.domain.stalled[self.end].wait()
        assert request.transport is not None
        certificate = request.transport.get_extra_info("peercert")
        caller = dict(part[0] for part in certificate["subject"])["commonName"]
        if (caller, request.match_info["sae"]) != (SAES[self.end], SAES[self._other]):
            return self._error(401, f"{caller} asks for {request.match_info['sae']}")
        if self.domain.manner == "unauthorised":
            return self._error(401, "not today")
        if request.method == "POST" and request.content_type != "application/json":
            return self._error(400, f"Bad request format: {request.content_type}")
        return None

    def _container(self, keys: list[tuple[str, bytes]]) -> web.Response:
        cut = -1 if self.domain.manner == "wrong-size" else None
        listed = [
            {"key_ID": key_id, "key": base64.b64encode(key[:cut]).decode("ascii")} for key_id, key in keys
        ]
        return self._answer(200, {"keys": listed})

    def _error(self, code: int, message: str) -> web.Response:
        self.domain.refused.append(f"{code}: {message}")
        return self._answer(code, {"message": message})

    def _answer(self, code: int, body: dict[str, Any]) -> web.Response:
        if self.domain.manner == "html":
            return web.Response(status=code, text="<html>welcome</html>", content_type="text/html")
        if self.domain.manner == "no-json":
            return web.Response(status=code, text="{", content_type="application/json")
        return web.json_response(body, status=code)


@dataclass
class Vendor:
    """The domain as it runs."""

    domain: Domain
    west: Kme
    east: Kme
    certificates: Certificates

    def settings(self, node: str, **link: Any) -> dict[str, Any]:
        """Settings of the driver at node "a", in the west, or "b"; the link is a-b."""
        here, there = ("west", "east") if node == "a" else ("east", "west")
        kme = self.west if node == "a" else self.east
        return {
            "tls": self.certificates.tls(SAES[here]),
            "answer_seconds": 1.0,
            "links": {
                "a-b": {
                    "peer_node": "b" if node == "a" else "a",
                    "model": "ACME KMS 3.1",
                    "kme": kme.url,
                    "peer_sae": SAES[there],
                    "vendor_domain": "acme-metro",
                    "interval_seconds": 0.1,
                    **link,
                }
            },
        }


@asynccontextmanager
async def vendor(directory: Path, **domain: Any) -> AsyncIterator[Vendor]:
    """A domain that runs."""
    certificates, made = Certificates(directory / "vendor"), Domain(**domain)
    kmes = [Kme(made, end, certificates, 0) for end in ("west", "east")]
    try:
        for kme in kmes:
            await kme.start()
        yield Vendor(made, kmes[0], kmes[1], certificates)
    finally:
        for kme in kmes:
            await kme.stop()
