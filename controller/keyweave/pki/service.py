"""`keyweave pki serve`: enrolment and renewal over HTTPS, apart from the controller.

TLS 1.3. New holders know the service by the fingerprint in their token, others by its certificate of the
control plane, role `enrolment`. A client certificate is asked for and needed to renew.
"""

import asyncio
import datetime as dt
import ssl
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from cryptography import x509
from pydantic import ValidationError

from keyweave.common import log
from keyweave.common.errors import InvalidInputError, KeyweaveError, NotAllowedError
from keyweave.common.process import announce_ready
from keyweave.common.rate_limit import RateLimit
from keyweave.common.tls import Material, TlsFiles
from keyweave.pki import messages
from keyweave.pki.authorities import Authorities
from keyweave.pki.enrolment import Enrolment
from keyweave.pki.holders import CONTROL, SAE
from keyweave.pki.register import Register
from keyweave.pki.service_certificate import provide_service_certificate, service_files

# Its own certificate and the authorities' lists are looked at so often.
UPKEEP_SECONDS = 3600.0
HANDSHAKE_SECONDS = 5.0
BODY_SECONDS = 10.0
MAX_CONNECTIONS = 256
# Requests of one certificate, or of one address.
BURST = 10
PER_SECOND = 1 / 6
_HEADERS = {"Cache-Control": "no-store", "Server": "keyweave"}
_Handler = Callable[[web.Request], Awaitable[web.Response]]


class Service:
    """The three methods, guarded."""

    def __init__(self, authorities: Authorities, limit: RateLimit) -> None:
        self._enrolment = Enrolment(authorities)
        self._limit = limit
        # One at a time: the directory is locked meanwhile, by a lock that other processes take too.
        self._turn = asyncio.Lock()

    def app(self) -> web.Application:
        """As an application; only over TLS does anybody get a certificate."""
        app = web.Application(client_max_size=messages.MAX_BODY_BYTES)
        app.router.add_get(messages.TRUST_PATH, self._guarded(self._trust), allow_head=False)
        app.router.add_post(messages.ENROL_PATH, self._guarded(self._enrol))
        app.router.add_post(messages.RENEW_PATH, self._guarded(self._renew))
        return app

    async def _trust(self, _request: web.Request) -> web.Response:
        return _json(await self._do(self._enrolment.trust))

    async def _enrol(self, request: web.Request) -> web.Response:
        asked = messages.Enrol.model_validate_json(await _body(request))
        source, now = _source(request), time.time()
        return _json(await self._do(lambda: self._enrolment.enrol(asked, source, now)))

    async def _renew(self, request: web.Request) -> web.Response:
        caller = _caller(request)
        asked = messages.Renew.model_validate_json(await _body(request))
        source, now = _source(request), time.time()
        return _json(await self._do(lambda: self._enrolment.renew(asked, caller, source, now)))

    async def _do(self, work: Callable[[], messages.Certificates]) -> messages.Certificates:
        async with self._turn:
            # Not left alone where its client hangs up: what was begun is finished before the next.
            return await asyncio.shield(asyncio.to_thread(work))

    def _guarded(self, method: _Handler) -> _Handler:
        async def guard(request: web.Request) -> web.Response:
            if self._limit.wait(_asker(request), time.monotonic()):
                return _problem(429, "too many requests; wait a minute")
            try:
                return await method(request)
            except ValidationError as error:
                return _problem(400, _first(error))
            except KeyweaveError as error:
                return _problem(error.http_status, str(error))
            except web.HTTPRequestEntityTooLarge:
                return _problem(413, f"the body must have at most {messages.MAX_BODY_BYTES} bytes")
            except Exception as error:  # noqa: BLE001
                # Where it happened and of which type; not its text, which might hold what was sent.
                frames = traceback.extract_tb(error.__traceback__)
                at = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
                log.get().error("request_failed", path=request.path, error=type(error).__name__, at=at)
                return _problem(500, "internal error; the service's log says where")

        return guard


def address(listen: str) -> tuple[str, int]:
    """Host and port of `host:port`; InvalidInputError."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise InvalidInputError.of("--listen", f"'{listen}' is not host:port")
    return host, int(port)


async def serve(
    authorities: Authorities,
    listen: tuple[str, int],
    ready_file: Path | None,
    stop: asyncio.Event,
    limit: RateLimit,
) -> None:
    """Enrol and renew until `stop`."""
    register = authorities.register
    host, port = listen
    _upkeep(authorities)
    files = service_files(register.directory)
    context = _tls_context(register, files)
    runner = web.AppRunner(
        Service(authorities, limit).app(), access_log=None, handler_cancellation=False, shutdown_timeout=5.0
    )
    await runner.setup()
    server = runner.server
    assert server is not None

    def protocol() -> asyncio.Protocol:
        return server() if len(server.connections) < MAX_CONNECTIONS else _Full()

    try:
        listener = await asyncio.get_running_loop().create_server(
            protocol, host.strip("[]"), port, ssl=context, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )
        bound = listener.sockets[0].getsockname()[1]
        announce_ready(ready_file, {"address": f"{host}:{bound}"})
        log.get().info("enrolment_service_started", address=f"{host}:{bound}")
        while not stop.is_set():
            try:
                async with asyncio.timeout(UPKEEP_SECONDS):
                    await stop.wait()
            except TimeoutError:
                if await asyncio.to_thread(_upkeep, authorities):
                    context.load_cert_chain(files.certificate, files.private_key)
        listener.close()
    finally:
        await runner.cleanup()
    log.get().info("enrolment_service_stopped")


def _upkeep(authorities: Authorities) -> bool:
    """Sign lists anew that age, and the service's own certificate; whether that was done."""
    now = dt.datetime.now(dt.UTC)
    with authorities.register.changing():
        authorities.refresh_lists(now)
        return provide_service_certificate(authorities, now)


def _tls_context(register: Register, files: TlsFiles) -> ssl.SSLContext:
    Material.read(files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_OPTIONAL
    for authority in (CONTROL, SAE):
        context.load_verify_locations(cafile=register.anchor_file(authority))
    context.load_cert_chain(files.certificate, files.private_key)
    # A resumed session is not verified again.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


class _Full(asyncio.Protocol):
    """What a connection gets when there are enough."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _caller(request: web.Request) -> x509.Certificate:
    certificate = _shown(request)
    if certificate is None:
        raise NotAllowedError("renewing takes a client certificate; enrol with a token instead")
    return certificate


def _shown(request: web.Request) -> x509.Certificate | None:
    """The client certificate, which TLS has verified; None where none was shown."""
    transport = request.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    return None if der is None else x509.load_der_x509_certificate(der)


def _asker(request: web.Request) -> str:
    """Whose requests are counted together: a certificate's, else an address's, behind which may be many."""
    certificate = _shown(request)
    return _source(request) if certificate is None else f"certificate {certificate.serial_number:x}"


def _source(request: web.Request) -> str:
    return request.remote or "unknown"


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise InvalidInputError.of("body", f"was not whole after {BODY_SECONDS:g} s") from None


def _first(error: ValidationError) -> str:
    """Where and why; never what was sent, which may be a secret."""
    found = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in found['loc']) or 'body'}: {found['msg']}"


def _json(content: messages.Certificates) -> web.Response:
    return web.Response(text=content.model_dump_json(), content_type="application/json", headers=_HEADERS)


def _problem(status: int, problem: str) -> web.Response:
    text = messages.Problem(problem=problem).model_dump_json()
    return web.Response(status=status, text=text, content_type="application/json", headers=_HEADERS)
