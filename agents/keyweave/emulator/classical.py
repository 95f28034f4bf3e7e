"""The classical network between processes, as far as it is emulated: a proxy that each agent dials through.

`keyweave up` gives every agent a proxy of its own (gRPC's `grpc_proxy`, HTTP CONNECT), so it is known who
dials whom, and what the faults of the two say is done to the bytes. They stay TLS between the two ends:
nothing is read here. Who is dialled without a proxy, as SAEs do, is not touched.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from keyweave.common import log
from keyweave.common.names import NodeName
from keyweave.emulator.fault_book import FaultBook
from keyweave.emulator.faults import Fault
from keyweave.emulator.links import Signal
from keyweave.emulator.timeline import CONTROLLER
from keyweave.v1 import emulator_pb2 as pb

_Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
HostPort = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$", description="host:port")]
CHUNK_BYTES = 64 * 1024
# On the way in one direction; who sends more waits, as for a TCP window.
CHUNKS_UNDER_WAY = 64
# The least time after which Linux sends a lost packet again, doubled with each loss (RFC 6298 has 1 s).
RETRANSMIT_SECONDS = 0.2
# Data bytes of a packet over Ethernet.
PACKET_BYTES = 1448
HEAD_SECONDS = 10.0


class NetworkConfig(BaseModel):
    """Where agents dial through, and whom they may dial."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Node to the proxy that its agent uses.
    proxies: dict[str, HostPort]
    # Node to the address of its agent's key plane.
    key_planes: dict[str, HostPort]
    controllers: Annotated[tuple[HostPort, ...], Field(min_length=1)]
    # Reached by agents through the proxy like all else, but part of no network: it is their devices.
    emulator: HostPort


@dataclass(frozen=True, slots=True)
class Impairment:
    """What two ends of the network suffer in each direction."""

    delay_seconds: float = 0.0
    lost_ratio: float = 0.0
    parted: bool = False


def impairment(faults: Iterable[Fault], elapsed: float) -> Impairment:
    """What several faults between the same two ends add up to."""
    delay, through, parted = 0.0, 1.0, False
    for fault in faults:
        magnitude = fault.magnitude_at(elapsed)
        if fault.kind == pb.FAULT_KIND_NETWORK_DELAY:
            delay += magnitude / 1000
        elif fault.kind == pb.FAULT_KIND_NETWORK_LOSS:
            through *= 1 - magnitude
        elif fault.kind == pb.FAULT_KIND_PARTITION:
            parted = True
    return Impairment(delay, 1 - through, parted)


class ClassicalNetwork:
    """Carries connections of agents, as the faults of their nodes let them through."""

    def __init__(
        self, config: NetworkConfig, books: Mapping[NodeName, FaultBook], ticked: Signal, *, seed: int
    ) -> None:
        self._config = config
        self._books = books
        # Given whenever faults may have changed.
        self._ticked = ticked
        self._chance = random.Random(seed)  # noqa: S311  # packet loss, no secret
        self._targets = {address: node for node, address in config.key_planes.items()}
        self._targets |= dict.fromkeys(config.controllers, CONTROLLER) | {config.emulator: ""}
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Listen and carry until cancelled."""
        servers = []
        try:
            async with asyncio.TaskGroup() as connections:
                for node, address in self._config.proxies.items():
                    host, _, port = address.rpartition(":")
                    servers.append(await asyncio.start_server(self._accepting(node, connections), host, port))
                self.listening.set()
                await asyncio.Event().wait()
        finally:
            for server in servers:
                server.close()

    def between(self, node: str, peer: str) -> Impairment:
        """What is between a node and a peer now; nothing between it and its devices (no peer)."""
        if not peer:
            return Impairment()
        found: list[Fault] = []
        elapsed = 0.0
        for here, there in ((node, peer), (peer, node)):
            book = self._books.get(NodeName(here))
            if book is not None:
                elapsed = book.elapsed_seconds
                found += [b.fault for b in book.in_force() if b.fault.peer in ("", there)]
        return impairment(found, elapsed)

    def _accepting(self, node: str, connections: asyncio.TaskGroup) -> _Accept:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.create_task(self._serve(node, reader, writer), name=f"network-{node}")

        return accept

    async def _serve(self, node: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a node's agent, from its CONNECT to its end."""
        far: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            verb, target = [*head.decode("latin-1").split(), "", ""][:2]
            if verb != "CONNECT" or target not in self._targets:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            peer = self._targets[target]
            await self._until_together(node, peer)
            host, _, port = target.rpartition(":")
            far_reader, far = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._carry(reader, far, node, peer))
                directions.create_task(self._carry(far_reader, writer, node, peer))
        except* (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.get().debug("network_connection_ended", node=node, reason=str(error.exceptions[0]))
        finally:
            writer.close()
            if far is not None:
                far.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, node: str, peer: str
    ) -> None:
        """One direction, in order, until it ends; then the other end is told so."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_UNDER_WAY)

        async def take() -> None:
            data = b" "
            while data:
                data = await reader.read(CHUNK_BYTES)
                await under_way.put((loop.time() + self.between(node, peer).delay_seconds, data))

        async with asyncio.TaskGroup() as both:
            both.create_task(take())
            while True:
                due, data = await under_way.get()
                stalled = self._stall_seconds(len(data), self.between(node, peer).lost_ratio)
                await asyncio.sleep(max(0.0, due - loop.time()) + stalled)
                await self._until_together(node, peer)
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _until_together(self, node: str, peer: str) -> None:
        while self.between(node, peer).parted:
            await self._ticked.wait()

    def _stall_seconds(self, size: int, lost_ratio: float) -> float:
        """How long what is behind a lost packet waits, until it has come through at last."""
        if not lost_ratio:
            return 0.0
        packets = -(-size // PACKET_BYTES) or 1
        stalled, again = 0.0, RETRANSMIT_SECONDS
        chance = 1 - (1 - lost_ratio) ** packets
        while self._chance.random() < chance:
            stalled, again, chance = stalled + again, 2 * again, lost_ratio
        return stalled
