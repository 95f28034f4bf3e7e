"""Telemetry into the controller beside a bare bidirectional stream of the same bytes.

Ours is the whole controller process: mutual TLS, intake, bounded queue, the core's estimation and
judgement, acknowledgement. The bare server takes the messages as bytes, unparsed, and gives the same credit
and cumulative acknowledgements. One client drives both: a hundred agents, each with its own connection and
certificate, each as far ahead as its credit allows. Messages hold 100 rows of 4 columns. Both servers share
one core, the client has another; they are measured in turn.

A Python client costs about as much per message as the bare server, so the bare rate is as much the client's
as the server's; CPU per message is the server's alone.

At such rates a link gets dozens of messages a second, and the controller folds those of a second together. At
the rate of real agents, one message in 0.2 s with all links of a node, there is less to fold together.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import numpy as np

from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.process import announce_ready
from keyweave.common.tls import SERVER_OPTIONS, TlsFiles, secure_channel, server_credentials
from keyweave.controller import app
from keyweave.controller.config import ControllerConfig, LinkConfig
from keyweave.controller.ingest import DEFAULT_WINDOW
from keyweave.controller.store import Store
from keyweave.v1 import agent_pb2, agent_pb2_grpc, types_pb2
from tests.bench.measure import Served, alternate, child, load_core, median_pairs
from tests.bench.pki import HOST, Pki
from tests.bench.report import Result

PAIRS = 5
SECONDS = 1.0
AGENTS = 100
ROWS = 100
# Short, because agents here send as fast as they can and measured time should not run far ahead.
INTERVAL_MICROS = 50
UNITS = {"rows_per_second": "1/s", "cpu_seconds_per_message": "s"}
CONTROLLER = Identity(Plane.CONTROL, Role.CONTROLLER, "controller")
METHOD, SERVICE = "Telemetry", "keyweave.v1.AgentService"


def node(number: int) -> str:
    """An agent's name."""
    return f"n{number % AGENTS}"


def link(number: int) -> str:
    """The link from an agent to the next in the ring."""
    return f"l{number % AGENTS}"


# ---- the two servers -----------------------------------------------------------------------------


async def serve_controller(ready: Path, stop: asyncio.Event, files: TlsFiles) -> None:
    """A controller that knows a ring of nodes, so that every link has two ends that report."""
    config = ControllerConfig(
        state_dir=ready.parent,
        tls=files,
        ready_file=ready,
        # While the other server is measured, nobody reports here.
        links=LinkConfig(stale_after_seconds=600),
    )
    store = await Store.open(config.store_url)
    await store.claim_epoch("benchmark")
    for i in range(AGENTS):
        await store.put(types_pb2.Node(name=node(i), key_plane_address=f"{node(i)}:7000"))
    for i in range(AGENTS):
        await store.put(
            types_pb2.Link(
                name=link(i),
                a_node=node(i),
                b_node=node(i + 1),
                technology=types_pb2.LINK_TECHNOLOGY_DV_QKD,
                length_km=10,
            )
        )
    await store.close()
    await app.serve(config, stop)


async def serve_bare(ready: Path, stop: asyncio.Event, files: TlsFiles) -> None:
    """The same method, credit and acknowledgements, and nothing done with the bytes."""

    async def telemetry(requests: AsyncIterator[bytes], context: Any) -> None:
        received, changed = 0, asyncio.Event()

        async def acknowledge() -> None:
            while True:
                changed.clear()
                acked = received
                response = agent_pb2.TelemetryResponse(
                    acked_sequence=acked, credit_sequence=acked + DEFAULT_WINDOW
                )
                await context.write(response.SerializeToString())
                await changed.wait()

        writer = asyncio.create_task(acknowledge())
        try:
            await anext(requests)
            async for _ in requests:
                received += 1
                changed.set()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    server = grpc.aio.server(options=SERVER_OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(telemetry)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    port = server.add_secure_port(f"{HOST}:0", server_credentials(files))
    await server.start()
    announce_ready(ready, {"admin": f"{HOST}:{port}"})
    await stop.wait()
    await server.stop(0)


# ---- the client ----------------------------------------------------------------------------------


def measured(number: int, seed: int) -> list[agent_pb2.LinkSamples]:
    """What the agent of this number sends in turn: the two link ends that it has."""
    random = np.random.default_rng(seed)

    def column(mean: float, spread: float) -> bytes:
        return random.normal(mean, spread, ROWS).astype("<f4").tobytes()

    return [
        agent_pb2.LinkSamples(
            link=link(end),
            start_unix_nanos=time.time_ns(),
            interval_micros=INTERVAL_MICROS,
            rows=ROWS,
            qber_ratio=column(0.03, 0.001),
            skr_bps=column(5000.0, 50.0),
            sifted_rate_bps=column(50_000.0, 200.0),
            loss_db=column(10.0, 0.05),
            status=types_pb2.LINK_STATUS_ACTIVE,
        )
        for end in (number, number - 1)
    ]


class Agent:
    """One agent's telemetry stream."""

    def __init__(self, number: int, call: Any) -> None:
        self._node = node(number)
        self._call = call
        self._samples = measured(number, seed=number)
        self._sequence = self._acked = self._credit = 0
        self._changed = asyncio.Event()

    async def listen(self) -> None:
        """Say hello, then take in acknowledgements until cancelled."""
        hello = agent_pb2.TelemetryHello(node=self._node, incarnation=os.urandom(16))
        await self._call.write(agent_pb2.TelemetryRequest(hello=hello))
        async for response in self._call:
            self._acked, self._credit = response.acked_sequence, response.credit_sequence
            self._changed.set()
        raise RuntimeError(f"the stream of {self._node} ended: {await self._call.details()}")

    async def send(self, until: float) -> int:
        """Send as credit allows until then; how many messages, all acknowledged."""
        first = self._sequence
        while time.perf_counter() < until:
            while self._sequence < self._credit:
                self._sequence += 1
                await self._call.write(self._message())
                if time.perf_counter() >= until:
                    break
            else:
                await self._change()
        while self._acked < self._sequence:
            await self._change()
        return self._sequence - first

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _message(self) -> agent_pb2.TelemetryRequest:
        samples = self._samples[self._sequence % len(self._samples)]
        # A device measures without a pause: rows go on where the last ones ended.
        samples.start_unix_nanos += ROWS * INTERVAL_MICROS * 1000
        return agent_pb2.TelemetryRequest(
            sequence=self._sequence, batch=agent_pb2.TelemetryBatch(links=[samples])
        )


class Client:
    """All agents on one server."""

    def __init__(self, served: Served, agents: Sequence[Agent]) -> None:
        self._served = served
        self._agents = agents

    async def load(self) -> dict[str, float]:
        """Send for a while."""
        used, begun = self._served.cpu_seconds(), time.perf_counter()
        sent = sum(await asyncio.gather(*(agent.send(begun + SECONDS) for agent in self._agents)))
        elapsed, used = time.perf_counter() - begun, self._served.cpu_seconds() - used
        return {"rows_per_second": sent * ROWS / elapsed, "cpu_seconds_per_message": used / sent}


async def _measure(
    served: Sequence[Served], files: Sequence[TlsFiles]
) -> list[tuple[dict[str, float], dict[str, float]]]:
    async with AsyncExitStack() as stack:
        listening: list[asyncio.Task[None]] = []
        clients = []
        for one in served:
            agents = []
            for number, certificate in enumerate(files):
                channel = await stack.enter_async_context(
                    secure_channel(one.addresses["admin"], certificate, CONTROLLER)
                )
                # One at a time: a hundred handshakes at once would outlast gRPC's patience.
                await channel.channel_ready()
                call: Any = agent_pb2_grpc.AgentServiceStub(channel).Telemetry()  # type: ignore[call-arg]
                agents.append(Agent(number, call))
                listening.append(asyncio.create_task(agents[-1].listen(), name=f"agent-{number}"))
            clients.append(Client(one, agents))
        measuring = asyncio.create_task(alternate(clients[0].load, clients[1].load, PAIRS))
        # An agent whose stream ends would leave the measurement waiting for ever.
        done, _ = await asyncio.wait((measuring, *listening), return_when=asyncio.FIRST_COMPLETED)
        for task in (measuring, *listening):
            task.cancel()
        await asyncio.gather(measuring, *listening, return_exceptions=True)
        for task in done - {measuring}:
            task.result()
        return measuring.result()


def run() -> list[Result]:
    """Measure."""
    os.sched_setaffinity(0, {load_core()})
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        pki = Pki(directory, Plane.CONTROL)
        controller = pki.files(CONTROLLER)
        agents = [pki.files(Identity(Plane.CONTROL, Role.AGENT, node(i))) for i in range(AGENTS)]
        served = [
            stack.enter_context(child(directory, serve, controller))
            for serve in (serve_controller, serve_bare)
        ]
        rounds = asyncio.run(_measure(served, agents))
    return median_pairs(rounds, UNITS, "ingest")
