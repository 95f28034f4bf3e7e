"""Making confirmed 256-bit keys over two hops, beside a bare echo of the same frames over the same hops.

Three agents and an emulator share one process on one core with the three echo servers, so both pay for all
nodes. A batch of 32 keys is made by the product's own `BatchMaker`: a share over a-b and b-c (pad, tag,
relay, tag, pad), an ML-KEM ratchet step, key derivation at both ends, offer and confirmation. The echo sends
frames of the sizes that such a batch was seen to have, the same way. Pads are there before the clock starts:
the link's rate does not limit this, but taking in its key goes on meanwhile.
"""

import asyncio
import json
import os
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import grpc

from keyweave.agent import memory
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.streams import combine
from keyweave.agent.keyplane.streams.near import MAX_BATCH_KEYS, NearEnd
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.common.process import announce_ready
from keyweave.common.tls import SERVER_OPTIONS, TlsFiles, secure_channel, server_credentials
from keyweave.v1 import keyplane_pb2 as pb
from keyweave.v1 import types_pb2
from tests.bench.measure import alternate, child, median_pairs, quantile
from tests.bench.report import Result
from tests.integration import mesh
from tests.integration.mesh import HOST, Mesh, wait_until
from tests.integration.mesh_policy import MeshStream

PAIRS = 5
# A p99 of fewer would be their worst.
BATCHES = 100
SKR_BPS = 2_000_000
FILL_SECONDS = 20.0
UNITS = {"keys_per_second": "1/s", "batch_p50_seconds": "s", "batch_p99_seconds": "s"}
STREAM = MeshStream(
    path_sets=((("a", "b", "c"),),),
    require_qkd=True,
    on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT,
    budget_bps=1_000_000_000,
)
SERVICE, METHOD = "keyweave.bench.Echo", "Session"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request of one batch and its reply, in bytes on the session; `to` is who is asked first."""

    to: NodeName
    request_bytes: int
    reply_bytes: int


def summary(latencies: list[float]) -> dict[str, float]:
    """Batches made one after the other, as rates and times."""
    return {
        "keys_per_second": MAX_BATCH_KEYS * len(latencies) / sum(latencies),
        "batch_p50_seconds": statistics.median(latencies),
        "batch_p99_seconds": quantile(latencies, 0.99),
    }


# ---- keys ----------------------------------------------------------------------------------------


class Keys:
    """Batches of keys between the ends of the mesh's stream."""

    def __init__(self, running: Mesh) -> None:
        self._running = running
        self._near: NearEnd = running.plane("a").near[STREAM.name]
        (self._way,) = self._near.terms.path_sets

    async def load(self) -> dict[str, float]:
        """Make batches, once both hops have pads for all of them."""
        await wait_until(self._pads_are_there, FILL_SECONDS, "both links have pads for a round")
        latencies = []
        for _ in range(BATCHES):
            begun = time.perf_counter()
            await self._batch()
            latencies.append(time.perf_counter() - begun)
        return summary(latencies)

    async def exchanges(self) -> tuple[Exchange, ...]:
        """What a batch asks of others: without a new ML-KEM exchange, which one in 32 needs."""
        seen: list[Exchange] = []
        request = Peer.request

        async def recorded(peer: Peer, frame: pb.Frame, timeout_seconds: float) -> pb.Frame:
            reply = await request(peer, frame, timeout_seconds)
            mine = peer in self._running.plane("a").peers.values()
            if mine and frame.WhichOneof("body") in {"relay", "offer"}:
                seen.append(Exchange(peer.node, frame.ByteSize(), reply.ByteSize()))
            return reply

        with mock.patch.object(Peer, "request", recorded):
            await self._batch()
        return tuple(seen)

    async def _batch(self) -> None:
        for key in await self._near._maker.make(self._way, MAX_BATCH_KEYS):
            memory.wipe(key.key)

    def _pads_are_there(self) -> bool:
        needed = BATCHES * (MAX_BATCH_KEYS * combine.secret_bytes_per_key(256) + 1024)
        pools = [self._running.plane(n).links[link].pool for n, link in (("a", "a-b"), ("b", "b-c"))]
        return all(pool is not None and pool.send_bytes() >= needed for pool in pools)


# ---- the echo ------------------------------------------------------------------------------------


class Line:
    """One session to a server: a frame there, a frame back, one at a time."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def ask(self, frame: bytes) -> bytes:
        """The echo of a frame."""
        await self._call.write(frame)
        reply: bytes = await self._call.read()
        return reply


class Echo:
    """Three bare servers. The first 4 bytes of a frame say how long the reply is to be."""

    def __init__(self, exchanges: tuple[Exchange, ...], lines: dict[NodeName, Line]) -> None:
        self._asked = [
            (lines[one.to], one.reply_bytes.to_bytes(4, "big") + os.urandom(one.request_bytes - 4))
            for one in exchanges
        ]

    async def load(self) -> dict[str, float]:
        """The frames of as many batches."""
        latencies = []
        for _ in range(BATCHES):
            begun = time.perf_counter()
            for line, frame in self._asked:
                await line.ask(frame)
            latencies.append(time.perf_counter() - begun)
        return summary(latencies)


@asynccontextmanager
async def echo_server(files: TlsFiles, onward: Line | None) -> AsyncIterator[str]:
    """A server that passes frames on, or at the end of the line answers them."""

    async def session(requests: AsyncIterator[bytes], context: Any) -> None:
        async for frame in requests:
            size = int.from_bytes(frame[:4], "big")
            await context.write(await onward.ask(frame) if onward else bytes(size))

    server = grpc.aio.server(options=SERVER_OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(session)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    port = server.add_secure_port(f"{HOST}:0", server_credentials(files))
    await server.start()
    try:
        yield f"{HOST}:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def dialled(address: str, files: TlsFiles, server: Identity) -> AsyncIterator[Line]:
    """A session to a server."""
    async with secure_channel(address, files, server) as channel:
        method: Any = channel.stream_stream  # the stubs want serializers and an iterator; frames need neither
        yield Line(method(f"/{SERVICE}/{METHOD}")())


@asynccontextmanager
async def echoing(running: Mesh) -> AsyncIterator[dict[NodeName, Line]]:
    """What a can ask: b, which passes on to c, and c directly."""
    identity = {name: Identity(Plane.KEY, Role.AGENT, name) for name in "abc"}
    files = {name: running.files(one) for name, one in identity.items()}
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        c = await enter(echo_server(files["c"], None))
        b = await enter(echo_server(files["b"], await enter(dialled(c, files["b"], identity["c"]))))
        yield {
            NodeName("b"): await enter(dialled(b, files["a"], identity["b"])),
            NodeName("c"): await enter(dialled(c, files["a"], identity["c"])),
        }


async def measure(ready: Path, stop: asyncio.Event) -> None:
    """Both in one process; what came of it is what this announces."""
    with TemporaryDirectory() as directory:
        async with mesh.running(Path(directory), ("a-b", "b-c"), STREAM, skr_bps=SKR_BPS) as running:
            await running.supplied()
            keys = Keys(running)
            await keys.load()
            async with echoing(running) as lines:
                echo = Echo(await keys.exchanges(), lines)
                rounds = await alternate(keys.load, echo.load, PAIRS)
    announce_ready(ready, {"rounds": json.dumps(rounds)})
    await stop.wait()


def run() -> list[Result]:
    """Measure."""
    with TemporaryDirectory() as directory, child(Path(directory), measure) as served:
        return median_pairs(json.loads(served.addresses["rounds"]), UNITS, "batch")
