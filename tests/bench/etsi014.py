"""The ETSI GS QKD 014 face beside a bare aiohttp handler: one key per GET enc_keys, kept-alive mutual TLS.

Both are served by `face.serve`, so TLS and HTTP settings are the same; the bare handler sends the same
headers and a body of the same size that it has ready. The client is a plain epoll loop, cheaper per
request than either server, so that the server's core is the one that is full.
"""

import asyncio
import os
import selectors
import socket
import ssl
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from aiohttp import web

from keyweave.agent.etsi014 import face, messages
from keyweave.agent.etsi014.callers import SaeIdFrom
from keyweave.agent.etsi014.supply import DeliveredKey, Drawn, KeyOrder, KeySupply, SupplyStatus
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import SaeId
from keyweave.common.process import announce_ready
from keyweave.common.tls import TlsFiles
from tests.bench.measure import Served, alternate, child, load_core, median_pairs, quantile
from tests.bench.pki import HOST, Pki
from tests.bench.report import Result

PAIRS = 5
SECONDS = 1.0
CONNECTIONS = 8
UNITS = {
    "requests_per_second": "1/s",
    "p99_seconds": "s",
    "cpu_seconds_per_request": "s",
}
MASTER, SLAVE = SaeId("bank-a"), SaeId("bank-b")
PATH = f"{face.BASE_PATH}/{SLAVE}/enc_keys"
REQUEST = f"GET {PATH}?number=1&size=256 HTTP/1.1\r\nHost: kme\r\n\r\n".encode()
EXTENSION = {
    "keyweave_protection": "hybrid",
    "keyweave_paths": ["s:a-b-c"],
    "keyweave_links": ["a-b", "b-c"],
    "keyweave_k": 1,
    "keyweave_trusted_nodes": ["b"],
    "keyweave_emulated": True,
}


class Endless(KeySupply):
    """Keys without end, each drawn fresh from the operating system."""

    def status(self, caller: SaeId, peer: SaeId) -> SupplyStatus:
        """See KeySupply."""
        return SupplyStatus("tokyo", "koganei", caller, peer, 256, 64, 64, 64, 256, 256)

    async def draw(self, caller: SaeId, peer: SaeId, order: KeyOrder) -> Drawn:
        """See KeySupply."""
        size = order.size_bits // 8
        return Drawn(
            tuple(DeliveredKey(uuid.uuid4(), os.urandom(size), EXTENSION) for _ in range(order.number))
        )

    async def collect(
        self, caller: SaeId, peer: SaeId, key_ids: tuple[uuid.UUID, ...]
    ) -> tuple[DeliveredKey, ...]:
        """See KeySupply; nothing here is ever collected."""
        return ()


async def serve_face(ready: Path, stop: asyncio.Event, files: TlsFiles) -> None:
    """Keyweave's face."""
    await _serve(face.create_app(Endless(), SaeIdFrom.URI, "tokyo"), ready, stop, files)


async def serve_bare(ready: Path, stop: asyncio.Event, files: TlsFiles) -> None:
    """The least that aiohttp can do for the same bytes."""
    drawn = await Endless().draw(MASTER, SLAVE, KeyOrder(1, 256))
    body = messages.container_body(drawn.keys, extensions_shown=True)
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store", "Server": "keyweave"}

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    app = web.Application()
    app.router.add_route("GET", PATH, answer)
    await _serve(app, ready, stop, files)


async def _serve(app: web.Application, ready: Path, stop: asyncio.Event, files: TlsFiles) -> None:
    runner, url = await face.serve(app, files, HOST, 0)
    announce_ready(ready, {"url": url})
    await stop.wait()
    await runner.cleanup()


@dataclass(slots=True)
class _Connection:
    """One kept-alive connection with one request under way at a time."""

    socket: ssl.SSLSocket
    sent_at: float = 0.0

    def send(self) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(REQUEST)

    def receive(self, size: int) -> None:
        """A whole answer of `size` bytes, which must be a 200."""
        answer = self.socket.recv(65536)
        while len(answer) < size:
            more = self.socket.recv(65536)
            if not more:
                raise RuntimeError(f"the server hung up after {answer[:200]!r}")
            answer += more
        if len(answer) != size or not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"expected a 200 of {size} bytes, got {answer[:200]!r}")


class Client:
    """Several connections to one server from one thread."""

    def __init__(self, served: Served, sae: TlsFiles) -> None:
        self._served = served
        context = ssl.create_default_context(cafile=str(sae.trust_anchor))
        context.load_cert_chain(sae.certificate, sae.private_key)
        where = urlsplit(served.addresses["url"])
        self._connections = [
            _Connection(
                context.wrap_socket(
                    socket.create_connection((HOST, where.port or 0), timeout=10), server_hostname=HOST
                )
            )
            for _ in range(CONNECTIONS)
        ]
        self.size = self._size_of_answer(self._connections[0])

    def _size_of_answer(self, connection: _Connection) -> int:
        connection.send()
        head, _, body = connection.socket.recv(65536).partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        while len(body) < length:
            body += connection.socket.recv(65536)
        return len(head) + 4 + length

    async def load(self) -> dict[str, float]:
        """Ask on all connections for a while, each as soon as it has its answer."""
        latencies: list[float] = []
        used, begun = self._served.cpu_seconds(), time.perf_counter()
        with self._selector() as selector:
            for connection in self._connections:
                connection.send()
            waiting = len(self._connections)
            while waiting:
                for key, _ in selector.select():
                    connection = key.data
                    connection.receive(self.size)
                    now = time.perf_counter()
                    latencies.append(now - connection.sent_at)
                    if now - begun < SECONDS:
                        connection.send()
                    else:
                        waiting -= 1
        elapsed, used = time.perf_counter() - begun, self._served.cpu_seconds() - used
        return {
            "requests_per_second": len(latencies) / elapsed,
            "p99_seconds": quantile(latencies, 0.99),
            "cpu_seconds_per_request": used / len(latencies),
        }

    @contextmanager
    def _selector(self) -> Iterator[selectors.BaseSelector]:
        with selectors.DefaultSelector() as selector:
            for connection in self._connections:
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            yield selector

    def close(self) -> None:
        """Hang up."""
        for connection in self._connections:
            connection.socket.close()


def run() -> list[Result]:
    """Measure."""
    os.sched_setaffinity(0, {load_core()})
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        pki = Pki(directory, Plane.SAE)
        kme = pki.files(Identity(Plane.SAE, Role.KME, "tokyo"))
        sae = pki.files(Identity(Plane.SAE, Role.SAE, MASTER))
        clients = []
        for serve in (serve_face, serve_bare):
            client = Client(stack.enter_context(child(directory, serve, kme)), sae)
            stack.callback(client.close)
            clients.append(client)
        ours, bare = clients
        if ours.size != bare.size:
            raise RuntimeError(f"answers of {ours.size} and {bare.size} bytes cannot be compared")
        rounds = asyncio.run(alternate(ours.load, bare.load, PAIRS))
    return median_pairs(rounds, UNITS, "etsi014")
