"""Where an HTTP face takes connections: only so many, and none that never asks.

aiohttp waits for ever for the first request of a connection; so a client that says nothing, or a head byte by
byte, would keep its place.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import ceil
from weakref import WeakSet

from aiohttp import web
from aiohttp.typedefs import Middleware

from keyweave.common.rate_limit import RateLimit

HANDSHAKE_SECONDS = 5.0
# From the connection, its handshake included, until the head of a first request is whole.
FIRST_REQUEST_SECONDS = 10.0
RETRY_AFTER_SECONDS = 1
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Full:
    """How many connections there may be, and what one too many is told."""

    most: Callable[[], int]
    content_type: str
    body: Callable[[], bytes]


class Serving:
    """A face as it listens."""

    def __init__(self, runner: web.AppRunner, listener: asyncio.Server) -> None:
        self._runner = runner
        self._listener = listener
        self.host, self.port = listener.sockets[0].getsockname()[:2]

    @property
    def address(self) -> str:
        """`host:port` as it stands in a URL."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def cleanup(self) -> None:
        """Take no more connections, finish what is in hand, close."""
        self._listener.close()
        await self._runner.cleanup()


async def open_door(
    runner: web.AppRunner, host: str, port: int, full: Full, *, tls: ssl.SSLContext | None = None
) -> Serving:
    """Listen for the application of `runner`, which is not set up yet; OSError where that cannot be."""
    # Connections by their transport: aiohttp gives their protocols no weak references.
    asked: WeakSet[asyncio.BaseTransport] = WeakSet()

    @web.middleware
    async def note(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.transport is not None:
            asked.add(request.transport)
        return await handler(request)

    runner.app.middlewares.insert(0, note)
    await runner.setup()
    server = runner.server
    assert server is not None
    loop = asyncio.get_running_loop()

    def end_if_silent(connection: web.RequestHandler) -> None:
        if connection.transport is not None and connection.transport not in asked:
            connection.transport.abort()

    def protocol() -> asyncio.Protocol:
        if len(server.connections) >= full.most():
            return _Refusal(full)
        connection = server()
        loop.call_later(FIRST_REQUEST_SECONDS, end_if_silent, connection)
        return connection

    try:
        listener = await loop.create_server(
            protocol, host, port, ssl=tls, ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None
        )
    except OSError:
        await runner.cleanup()
        raise
    return Serving(runner, listener)


def limited(limit: RateLimit, clock: Callable[[], float] = time.monotonic) -> Middleware:
    """For faces that know nobody: 429 to an address that asks too often."""

    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        wait = limit.wait(request.remote or "unknown", clock())
        if not wait:
            return await handler(request)
        text = f"too many requests; come back in {wait:.3f} s\n"
        return web.Response(status=429, text=text, headers={"Retry-After": str(ceil(wait))})

    return guard


class _Refusal(asyncio.Protocol):
    """What a connection gets when there are enough."""

    def __init__(self, full: Full) -> None:
        self._full = full

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer whatever will be asked, and hang up."""
        assert isinstance(transport, asyncio.Transport)
        body = self._full.body()
        head = (
            "HTTP/1.1 503 Service Unavailable",
            f"Content-Type: {self._full.content_type}",
            "Cache-Control: no-store",
            "Server: keyweave",
            f"Retry-After: {RETRY_AFTER_SECONDS}",
            "Connection: close",
            f"Content-Length: {len(body)}",
            "",
            "",
        )
        transport.write("\r\n".join(head).encode() + body)
        transport.close()
