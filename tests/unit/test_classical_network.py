"""The classical network that agents dial through: carried, delayed, lossy, parted, and closed to others."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from keyweave.cli.up.ports import free
from keyweave.common.names import NodeName
from keyweave.emulator.classical import ClassicalNetwork, Impairment, NetworkConfig, impairment
from keyweave.emulator.fault_book import FaultBook
from keyweave.emulator.faults import Fault
from keyweave.emulator.links import Signal
from keyweave.v1 import emulator_pb2 as pb

A, B = NodeName("a"), NodeName("b")
PARTED = Fault(pb.FAULT_KIND_PARTITION, 1.0, 0.0)


def test_what_is_between_two_ends_adds_up() -> None:
    faults = [
        Fault(pb.FAULT_KIND_NETWORK_DELAY, 80.0, 0.0),
        Fault(pb.FAULT_KIND_NETWORK_DELAY, 40.0, 0.0, ramp_seconds=10.0),
        Fault(pb.FAULT_KIND_NETWORK_LOSS, 0.5, 0.0),
        Fault(pb.FAULT_KIND_NETWORK_LOSS, 0.5, 0.0),
    ]
    assert impairment(faults, 5.0) == Impairment(0.1, 0.75, parted=False)
    assert impairment([PARTED], 5.0).parted
    assert impairment([Fault(pb.FAULT_KIND_CUT, 1.0, 0.0)], 5.0) == Impairment()


@dataclass
class Carried:
    """A network of two nodes whose key planes, and whose controller, echo."""

    network: ClassicalNetwork
    books: dict[NodeName, FaultBook]
    ticked: Signal
    config: NetworkConfig

    async def dial(self, node: str, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        """Through the node's proxy to a target; also the proxy's answer."""
        host, _, port = self.config.proxies[node].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        return reader, writer, await reader.readuntil(b"\r\n\r\n")

    def fault(self, node: NodeName, fault: Fault) -> None:
        self.books[node].inject(fault, 1)
        self.ticked.give()

    def restore(self, node: NodeName) -> None:
        self.books[node].end_all()
        self.ticked.give()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


@pytest.fixture
async def carried() -> AsyncIterator[Carried]:
    async with _echoing(3) as (at_a, at_b, controller):
        taken: list[int] = []
        for _ in range(2):
            taken.append(free(taken))
        proxies = {node: f"127.0.0.1:{port}" for node, port in zip("ab", taken, strict=True)}
        config = NetworkConfig(
            proxies=proxies,
            key_planes={"a": at_a, "b": at_b},
            controllers=(controller,),
            emulator="127.0.0.1:1",
        )
        books, ticked = {A: FaultBook(), B: FaultBook()}, Signal()
        network = ClassicalNetwork(config, books, ticked, seed=1)
        running = asyncio.create_task(network.run())
        await network.listening.wait()
        yield Carried(network, books, ticked, config)
        running.cancel()
        await asyncio.wait({running})


@asynccontextmanager
async def _echoing(count: int) -> AsyncIterator[Iterable[str]]:
    servers = [await asyncio.start_server(echo, "127.0.0.1", 0) for _ in range(count)]
    yield [f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()


async def test_bytes_are_carried_whole_and_in_order_both_ways_and_the_end_is_told(carried: Carried) -> None:
    reader, writer, answer = await carried.dial("a", carried.config.key_planes["b"])
    assert answer.startswith(b"HTTP/1.1 200")
    sent = bytes(range(256)) * 2000
    writer.write(sent)
    writer.write_eof()
    assert await reader.read() == sent
    writer.close()


async def test_a_delay_and_losses_change_no_byte(carried: Carried) -> None:
    carried.fault(A, Fault(pb.FAULT_KIND_NETWORK_DELAY, 20.0, 0.0))
    carried.fault(B, Fault(pb.FAULT_KIND_NETWORK_LOSS, 0.2, 0.0))
    reader, writer, _ = await carried.dial("a", carried.config.key_planes["b"])
    loop = asyncio.get_running_loop()
    begun = loop.time()
    writer.write(b"x" * 5000)
    assert await reader.readexactly(5000) == b"x" * 5000
    # There and back. No more is asserted of a busy machine than what is never less.
    assert loop.time() - begun >= 0.04
    writer.close()


async def test_nothing_passes_a_partition_and_all_of_it_after(carried: Carried) -> None:
    reader, writer, _ = await carried.dial("a", carried.config.key_planes["b"])
    carried.fault(B, PARTED)
    writer.write(b"held")
    dialling = asyncio.create_task(carried.dial("b", carried.config.controllers[0]))
    answer = asyncio.create_task(reader.readexactly(4))
    # The controller and `a` are not parted, which shows that time has passed for those that are.
    _, other, said = await carried.dial("a", carried.config.controllers[0])
    assert said.startswith(b"HTTP/1.1 200")
    assert not answer.done()
    assert not dialling.done()
    carried.restore(B)
    assert await answer == b"held"
    _, dialled, _ = await dialling
    for open_ in (writer, other, dialled):
        open_.close()


async def test_a_partition_from_one_peer_leaves_the_others(carried: Carried) -> None:
    carried.fault(A, Fault(pb.FAULT_KIND_PARTITION, 1.0, 0.0, peer="controller"))
    assert carried.network.between("a", "controller").parted
    assert not carried.network.between("a", "b").parted
    carried.fault(B, Fault(pb.FAULT_KIND_PARTITION, 1.0, 0.0, peer="a"))
    assert carried.network.between("a", "b").parted
    assert carried.network.between("b", "a").parted
    assert not carried.network.between("b", "controller").parted
    # A node's devices are beside it.
    assert not carried.network.between("a", "").parted


@pytest.mark.parametrize(
    "head", [b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"CONNECT\r\n\r\n"]
)
async def test_it_leads_nowhere_but_to_the_network(carried: Carried, head: bytes) -> None:
    host, _, port = carried.config.proxies["a"].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)
    assert (await reader.read()).startswith(b"HTTP/1.1 403")
    writer.close()


async def test_whoever_says_too_much_or_leaves_too_early_harms_nobody(carried: Carried) -> None:
    host, _, port = carried.config.proxies["a"].rpartition(":")
    for head in (b"x" * 200_000, b"CONNECT", b""):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head)
        writer.write_eof()
        # What was not read makes the end a reset.
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
    _, writer, answer = await carried.dial("a", carried.config.key_planes["b"])
    assert answer.startswith(b"HTTP/1.1 200")
    writer.close()


async def test_losses_stall_ever_longer_and_the_same_in_every_run(carried: Carried) -> None:
    def stalls(seed: int) -> list[float]:
        network = ClassicalNetwork(carried.config, carried.books, carried.ticked, seed=seed)
        return [network._stall_seconds(1000, 0.3) for _ in range(1000)]

    assert stalls(1) == stalls(1) != stalls(2)
    assert {round(stall, 1) for stall in stalls(1)} >= {0.0, 0.2, 0.6}
    assert sum(stall > 0 for stall in stalls(1)) == pytest.approx(300, abs=60)
    assert carried.network._stall_seconds(100_000, 0.0) == 0.0
