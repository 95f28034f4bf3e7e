"""The REST API of ETSI GS QKD 014 v1.1.1 over mutual TLS.

The caller is whoever the client certificate says; the path names the peer. A request is authorised, checked
and refused before anything is drawn. Keys are burned before the answer is written: a client that goes away
before it has read its answer has lost them, and must draw again.
"""

import asyncio
import ssl
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from math import ceil
from typing import Any
from weakref import WeakSet

from aiohttp import web

from keyweave.agent.etsi014 import messages
from keyweave.agent.etsi014.callers import Callers, SaeIdFrom
from keyweave.agent.etsi014.supply import KeySupply, Refusal, SupplyError
from keyweave.common import log
from keyweave.common.errors import InvalidInputError
from keyweave.common.file_watch import FileWatch
from keyweave.common.http_door import RETRY_AFTER_SECONDS, Full, Serving, open_door
from keyweave.common.names import SaeId
from keyweave.common.rate_limit import RateLimit
from keyweave.common.revocation import Trust
from keyweave.common.tls import TlsFiles, renew_context

_Handler = Callable[[web.Request], Awaitable[web.Response]]
# What is asked by whom, and with which peer.
_Method = Callable[[web.Request, SaeId, SaeId], Awaitable[web.Response]]
# The same without a peer: method, path and what answers.
Resource = tuple[str, str, Callable[[web.Request, SaeId], Awaitable[web.Response]]]

BASE_PATH = "/api/v1/keys"
# Forward secrecy and AEAD only; TLS 1.3 has nothing else.
TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
SHUTDOWN_SECONDS = 5.0
# Connections with a TLS handshake behind them; one more is told 503, and closed.
MAX_CONNECTIONS = 1024
# Of one SAE, so that it cannot take all places.
MAX_CONNECTIONS_OF_ONE = 256
# Requests in hand, of everybody and of one SAE; more get 503. What they hold is bounded by this.
MAX_REQUESTS = 256
MAX_REQUESTS_OF_ONE = 64
# A body that trickles in must not hold one of those places for ever.
BODY_SECONDS = 10.0

_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "Server": "keyweave",
}


def create_app(
    supply: KeySupply,
    sae_id_from: SaeIdFrom,
    kme_id: str,
    *,
    extensions_shown: bool = True,
    trust: Trust | None = None,
    further: Iterable[Resource] = (),
    limit: RateLimit | None = None,
) -> web.Application:
    """The API as an application; it answers 401 to everybody unless served over mutual TLS.

    `kme_id` names this KME in log events. `extensions_shown` says whether provenance goes out as
    `key_extension` at all; the supply decides for whom. `trust` says which callers have been revoked.
    `further` is what else is offered to the same callers. `limit` says how often one SAE may ask; with
    None only what it has in hand is bounded.
    """
    face = _Face(supply, Callers(sae_id_from, trust), kme_id, extensions_shown, limit)
    app = web.Application(client_max_size=messages.MAX_BODY_BYTES)
    for path, handlers in (
        ("{sae_id}/status", {"GET": face.status}),
        ("{sae_id}/enc_keys", {"GET": face.enc_keys, "POST": face.enc_keys}),
        ("{sae_id}/dec_keys", {"GET": face.dec_keys, "POST": face.dec_keys}),
    ):
        resource = app.router.add_resource(f"{BASE_PATH}/{path}")
        # Not add_get(): that would answer HEAD too, and a HEAD of enc_keys would burn keys for nobody.
        for method, handler in handlers.items():
            resource.add_route(method, face.guarded(handler))
        resource.add_route("*", _method_not_allowed(tuple(handlers)))
    for method, path, answer in further:
        app.router.add_route(method, path, face.admitted(answer))
    app.router.add_route("*", "/{path:.*}", _not_found)
    return app


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or 1.3, ECDHE and AEAD only; no client without a certificate of the SAE plane gets in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS12_CIPHERS)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=files.trust_anchor)
    context.load_cert_chain(files.certificate, files.private_key)
    context.set_alpn_protocols(["http/1.1"])
    # A resumed session is not verified again, so a certificate could outlive its expiry in a ticket.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    return context


_FULL = Full(
    lambda: MAX_CONNECTIONS,
    "application/json",
    lambda: messages.error_body(f"this KME has {MAX_CONNECTIONS} connections; come back later"),
)


async def serve(
    app: web.Application, files: TlsFiles, host: str, port: int, *, watch: FileWatch | None = None
) -> tuple[Serving, str]:
    """Serve `app` at host:port (0: a free one); returns what to clean up, and the base URL.

    Where `watch` says that the files were replaced, new connections get the new certificate.
    """
    context = tls_context(files)
    if watch is not None:
        watch.on_change(files.paths, partial(renew_context, context, files))
    # A handler goes on when its client has gone: cancelled, it would leave keys neither here nor there.
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=False, shutdown_timeout=SHUTDOWN_SECONDS
    )
    serving = await open_door(runner, host, port, _FULL, tls=context)
    return serving, f"https://{serving.address}"


class _Face:
    """The three methods of the standard, section 5."""

    def __init__(
        self,
        supply: KeySupply,
        callers: Callers,
        kme_id: str,
        extensions_shown: bool,
        limit: RateLimit | None,
    ) -> None:
        self._supply = supply
        self._callers = callers
        self._kme_id = kme_id
        self._extensions_shown = extensions_shown
        self._limit = limit
        self._connections_of: defaultdict[SaeId, WeakSet[asyncio.Transport]] = defaultdict(WeakSet)
        self._in_hand = 0
        self._in_hand_of: Counter[SaeId] = Counter()

    async def status(self, request: web.Request, caller: SaeId, peer: SaeId) -> web.Response:
        """5.1 Get status."""
        status = self._supply.status(caller, peer)
        messages.no_query(tuple(request.query.items()))
        return _json(200, messages.status_body(status))

    async def enc_keys(self, request: web.Request, caller: SaeId, peer: SaeId) -> web.Response:
        """5.2 Get key, for the master SAE."""
        status = self._supply.status(caller, peer)
        query = tuple(request.query.items())
        if request.method == "GET":
            wanted = messages.key_request_from_query(query)
        else:
            messages.no_query(query)
            wanted = messages.key_request_from_body(await _body(request))
            # The body may have taken a while to arrive; the limits are those of now.
            status = self._supply.status(caller, peer)
        drawn = await self._supply.draw(caller, peer, messages.order_within(wanted, status))
        body = messages.container_body(
            drawn.keys, extensions_shown=self._extensions_shown, unhandled=(*wanted.unknown, *drawn.unmet)
        )
        return _json(200, body)

    async def dec_keys(self, request: web.Request, caller: SaeId, peer: SaeId) -> web.Response:
        """5.3 Get key with key IDs, for the slave SAE."""
        query = tuple(request.query.items())
        if request.method == "GET":
            key_ids = messages.key_ids_from_query(query)
        else:
            messages.no_query(query)
            key_ids = messages.key_ids_from_body(await _body(request))
        keys = await self._supply.collect(caller, peer, key_ids)
        return _json(200, messages.container_body(keys, extensions_shown=self._extensions_shown))

    def _refused_for_number(self, caller: SaeId, request: web.Request) -> web.Response | None:
        """What an SAE with too many connections, or that asks too often, is told."""
        connections = self._connections_of[caller]
        assert request.transport is not None
        if request.transport not in connections and len(connections) >= MAX_CONNECTIONS_OF_ONE:
            response = _error(503, f"this SAE has {MAX_CONNECTIONS_OF_ONE} connections; use these")
            response.force_close()
            return response
        connections.add(request.transport)
        wait = self._limit.wait(caller, time.monotonic()) if self._limit is not None else 0.0
        if not wait:
            return None
        response = _error(429, f"this SAE asks too often; come back in {wait:.3f} s")
        response.headers["Retry-After"] = str(ceil(wait))
        return response

    def _take_place(self, caller: SaeId) -> None:
        """Take one of the places for requests in hand; SupplyError where there is none."""
        if self._in_hand >= MAX_REQUESTS or self._in_hand_of[caller] >= MAX_REQUESTS_OF_ONE:
            raise SupplyError(Refusal.UNAVAILABLE, "this KME has too many requests in hand")
        self._in_hand += 1
        self._in_hand_of[caller] += 1

    def _give_back_place(self, caller: SaeId) -> None:
        self._in_hand -= 1
        self._in_hand_of[caller] -= 1
        if not self._in_hand_of[caller]:
            del self._in_hand_of[caller]

    def guarded(self, method: _Method) -> _Handler:
        """`method` for a caller and the peer in the path."""
        return self.admitted(
            lambda request, caller: method(request, caller, SaeId(request.match_info["sae_id"]))
        )

    def admitted(self, answer: Callable[[web.Request, SaeId], Awaitable[web.Response]]) -> _Handler:
        """`answer` for an authenticated caller, with every refusal turned into the standard's Error."""

        async def guard(request: web.Request) -> web.Response:
            try:
                caller = self._callers.of(request)
                refused = self._refused_for_number(caller, request)
                self._take_place(caller)
                try:
                    return refused or await answer(request, caller)
                finally:
                    self._give_back_place(caller)
            except SupplyError as error:
                return _refused(error)
            except InvalidInputError as error:
                return _bad_request(error)
            except web.HTTPRequestEntityTooLarge:
                return _error(413, f"body: must be at most {messages.MAX_BODY_BYTES} bytes")
            except (ConnectionError, web.RequestPayloadError):
                # Nobody is likely to read this; nothing was drawn.
                return _error(400, "body: ended before it was whole")
            except Exception as error:  # noqa: BLE001
                # Where it happened and of which type; not its text, which might hold a key.
                log.get().error(
                    "etsi014_request_failed",
                    kme=self._kme_id,
                    method=request.method,
                    path=request.path,
                    error=type(error).__name__,
                    at=[
                        f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)
                    ],
                )
                return _error(503, "internal error at the KME; its log says where")

        return guard


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise InvalidInputError.of("body", f"was not whole after {BODY_SECONDS:g} s") from None


def _refused(error: SupplyError) -> web.Response:
    details: tuple[dict[str, Any], ...] = tuple({"detail": text} for text in error.details)
    if error.refusal is Refusal.UNKNOWN_KEYS:
        return _error(400, messages.KEYS_NOT_FOUND, details)
    if error.refusal is Refusal.MANDATORY_UNMET:
        return _error(400, messages.MANDATORY_UNMET, details)
    return _error(error.refusal.http_status, error.message, details)


def _bad_request(error: InvalidInputError) -> web.Response:
    if isinstance(error, messages.BadRequestError):
        return _error(400, error.message, error.details)
    details = tuple({"field": v.field, "description": v.description} for v in error.violations)
    return _error(400, str(error), details)


def _method_not_allowed(allowed: tuple[str, ...]) -> _Handler:
    methods = ", ".join(allowed)

    async def answer(request: web.Request) -> web.Response:
        response = _error(405, f"{request.method} is not a method of this resource; use {methods}")
        response.headers["Allow"] = methods
        return response

    return answer


async def _not_found(request: web.Request) -> web.Response:
    return _error(
        404,
        f"there is nothing at {request.path[:128]}; expected {BASE_PATH}/<SAE ID>/(status|enc_keys|dec_keys)",
    )


def _error(status: int, message: str, details: Iterable[Mapping[str, Any]] = ()) -> web.Response:
    response = _json(status, messages.error_body(message, details))
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, headers=_HEADERS)
