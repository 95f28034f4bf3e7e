"""The page over HTTP: files, one stream of news, and explanations. Nothing can be written here.

No cookies, no scripts but our own files, nothing from elsewhere: a strict Content-Security-Policy holds the
browser to it, so that a name with markup in it could do nothing even if the page put it in as such.
"""

import asyncio
import hashlib
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from importlib.resources import files as package_files

from aiohttp import web

from keyweave.common.errors import NotFoundError, PreconditionError
from keyweave.common.file_watch import FileWatch
from keyweave.common.http_door import Full, Serving, limited, open_door
from keyweave.common.names import StreamName
from keyweave.common.rate_limit import RateLimit
from keyweave.common.revocation import Trust
from keyweave.common.tls import renew_context
from keyweave.controller.config import ControllerConfig, PageAccess, PageConfig
from keyweave.controller.page.access import Access, CertificateAccess, LocalAccess, tls_context
from keyweave.controller.page.feed import Feed, Frame
from keyweave.controller.page.scene import Observer

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "keyweave",
}
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# A page that has taken nothing of what was sent for this long is gone.
SEND_SECONDS = 30.0
SHUTDOWN_SECONDS = 1.0
RETRY_SECONDS = 5
# Connections, and requests of one address: a page has some twenty files.
MAX_CONNECTIONS = 256
BURST, PER_SECOND = 400, 50.0
FULL = Full(lambda: MAX_CONNECTIONS, "text/plain", lambda: b"too many connections; come back later\n")
PAIR_EXPLANATIONS = "/explain/pair-stream/"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page."""

    body: bytes
    content_type: str
    etag: str


class Page:
    """The page, and where it listens; nowhere if the configuration has no such section."""

    def __init__(
        self,
        config: ControllerConfig,
        observer: Observer,
        trust: Trust,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`trust` is the controller's own, for where the page has no certificate of its own."""
        self._wanted = config.page is not None
        self._config = config.page or PageConfig()
        self._own_tls = self._config.tls
        self._tls = self._own_tls or config.tls
        # A certificate for browsers may come with its own copy of the anchors, and of what they revoked.
        self._trust = Trust("page", self._own_tls) if self._own_tls else trust
        self._access: Access = (
            LocalAccess() if self._config.access is PageAccess.LOCAL else CertificateAccess(self._trust)
        )
        self._observer = observer
        self._assets = assets()
        self._serving: Serving | None = None
        self.limit = RateLimit(BURST, PER_SECOND)
        self._feeding: asyncio.Task[None] | None = None
        self._news = Feed(observer, clock, self._config.max_clients)
        # Where it is once it listens; empty where there is none.
        self.url = ""

    async def start(self, watch: FileWatch, tasks: asyncio.TaskGroup) -> None:
        """Listen. PreconditionError where the address cannot be had."""
        if not self._wanted:
            return
        app = web.Application(middlewares=[limited(self.limit), self._guard])
        app.on_response_prepare.append(_harden)
        app.router.add_get("/", self._asset)
        app.router.add_get("/static/{name}", self._asset)
        app.router.add_get("/feed", self._feed, allow_head=False)
        app.router.add_get("/explain/{stream}", self._explain)
        app.router.add_get(PAIR_EXPLANATIONS + "{stream}", self._explain)
        # A page that is closed gives its place back at once.
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS
        )
        host, _, port = self._config.listen.rpartition(":")
        context: ssl.SSLContext | None = None
        if self._config.access is PageAccess.MTLS:
            context = tls_context(self._tls)
            watch.on_change(self._tls.paths, partial(renew_context, context, self._tls))
            if self._own_tls:
                watch.on_change(self._trust.paths, self._trust.reload)
        try:
            self._serving = await open_door(runner, host.strip("[]"), int(port), FULL, tls=context)
        except OSError as error:
            raise PreconditionError(
                f"page.listen: cannot listen on {self._config.listen} ({error.strerror}); take another"
            ) from None
        self.url = f"{'https' if context else 'http'}://{self._serving.address}/"
        self._feeding = tasks.create_task(self._news.run(), name="page")

    async def close(self) -> None:
        """End all streams and stop listening."""
        self._news.close()
        if self._feeding is not None:
            self._feeding.cancel()
        if self._serving is not None:
            await self._serving.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        reason = self._access.refusal(request)
        if reason:
            return web.Response(status=403, text=f"{reason}\n")
        return await handler(request)

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        asset = self._assets.get(request.match_info.get("name", "index.html"))
        if asset is None:
            return web.Response(status=404, text="there is no such file\n")
        # Asked for anew each time, sent only where it has changed: a new controller may have a new page.
        headers = {"ETag": asset.etag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == asset.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=asset.body, headers={**headers, "Content-Type": asset.content_type})

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        if self._news.full:
            return web.Response(
                status=503,
                text=f"{self._config.max_clients} pages are open already (page.max_clients); close one\n",
                headers={"Retry-After": str(RETRY_SECONDS), "Cache-Control": "no-store"},
            )
        # A browser that connects again by itself sends the header; our page, when it comes back, the query.
        last_seen = request.headers.get("Last-Event-ID") or request.query.get("since", "")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        )
        async with aclosing(self._news.listen(last_seen)) as frames:
            # Nobody is there any more to be told of an error.
            with suppress(TimeoutError, ConnectionError):
                await response.prepare(request)
                async for frame_id, frame in frames:
                    if self._access.refusal(request):
                        break
                    async with asyncio.timeout(SEND_SECONDS):
                        await response.write(_lines(frame_id, frame))
        return response

    async def _explain(self, request: web.Request) -> web.StreamResponse:
        name = StreamName(request.match_info["stream"])
        headers = {"Cache-Control": "no-store"}
        of_pairs = request.path.startswith(PAIR_EXPLANATIONS)
        try:
            found = await self._observer.explain_pairs(name) if of_pairs else self._observer.explain(name)
        except NotFoundError as error:
            return web.json_response({"error": str(error)}, status=404, headers=headers)
        return web.json_response(found, headers=headers)


def assets() -> dict[str, Asset]:
    """Every file of the page, by name: small ones, kept in memory. Names are looked up, never opened."""
    found = {}
    for entry in (package_files("keyweave.controller.page") / "static").iterdir():
        content_type = CONTENT_TYPES.get(f".{entry.name.rpartition('.')[2]}")
        if content_type is not None:
            body = entry.read_bytes()
            found[entry.name] = Asset(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found


async def _harden(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _lines(frame_id: str, frame: Frame) -> bytes:
    number = f"id: {frame_id}\n".encode() if frame_id else b""
    return b"%sevent: %s\ndata: %s\n\n" % (number, frame.kind.encode(), frame.data)
