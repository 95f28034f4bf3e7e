"""Quantum memories over real sockets and mutual TLS, through the agents' own driver."""

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Awaitable
from pathlib import Path

import grpc
import pytest

from keyweave.agent.drivers.base import DriverUnavailableError
from keyweave.agent.drivers.memories import (
    Attempt,
    Coherence,
    Correct,
    Event,
    HasMemories,
    Heralded,
    LinkCounts,
    Measure,
    Measured,
    MemoryId,
    MemorySession,
    Refused,
    Works,
)
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import LinkName
from keyweave.v1 import emulator_pb2 as pb
from keyweave.v1 import emulator_pb2_grpc
from tests.integration.emulated import Emulator, running

SCENARIO = """
name: three-memories
nodes:
  - {name: a, memories: &bank {count: 4, t1_seconds: 60, t2_seconds: 8, readout_fidelity: 0.99, model: ions}}
  - {name: b, memories: *bank}
  - {name: c, memories: *bank}
  - {name: d}
pair_links:
  - {name: ab, a: a, b: b, length_km: 10, heralding: {kind: single-click, bright_state_ratio: 0.1}}
  - {name: bc, a: b, b: c, length_km: 10, heralding: {kind: double-click}, memories: 1}
"""
AB, BC = LinkName("ab"), LinkName("bc")
ZERO = MemoryId(0)
DEADLINE = 60


@pytest.fixture
async def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    async with running(SCENARIO, tmp_path, monkeypatch) as emulator:
        yield emulator


class Bench:
    """One end at work: what has come, by kind."""

    def __init__(self, session: MemorySession) -> None:
        self.session = session
        self._waiting: list[Event] = []

    async def next(self, kind: type[Event]) -> Event:
        """The next event of a kind; others wait."""
        while True:
            for event in self._waiting:
                if isinstance(event, kind):
                    self._waiting.remove(event)
                    return event
            self._waiting += await self.session.receive()

    async def heralded(self) -> Heralded:
        """The next herald."""
        event = await self.next(Heralded)
        assert isinstance(event, Heralded)
        return event

    async def measured(self) -> Measured:
        """The next outcome."""
        event = await self.next(Measured)
        assert isinstance(event, Measured)
        return event

    async def counts(self, *, has_signal: bool) -> LinkCounts:
        """The next counts with, or without, a signal."""
        while True:
            event = await self.next(LinkCounts)
            if isinstance(event, LinkCounts) and event.link == AB and event.has_signal == has_signal:
                return event


async def test_a_node_is_told_of_its_own_memories_and_links(emulator: Emulator) -> None:
    driver = emulator.driver("b")
    assert isinstance(driver, HasMemories)
    bank = await driver.memory_bank()
    assert bank is not None
    assert (bank.memories, bank.t1_seconds, bank.t2_seconds, bank.emulated) == (4, 60.0, 8.0, True)
    assert {(link.link, link.peer_node, link.memories) for link in bank.links} == {
        ("ab", "a", 0),
        ("bc", "c", 1),
    }
    # The round trip through the middle of 10 km.
    assert bank.links[0].attempt_rate_hz == pytest.approx(20_422, rel=1e-3)
    await driver.close()
    without = emulator.driver("d")
    assert await without.memory_bank() is None
    with pytest.raises(DriverUnavailableError, match="'d' has no quantum memories"):
        async with without.open_memories() as session:
            await session.receive()
    await without.close()


async def test_pairs_come_at_both_ends_with_one_number_and_outcomes_agree_once_corrected(
    emulator: Emulator,
) -> None:
    at_a, at_b = emulator.driver("a"), emulator.driver("b")
    async with asyncio.timeout(DEADLINE), at_a.open_memories() as a, at_b.open_memories() as b:
        first, second = Bench(a), Bench(b)
        numbers, equal = [], 0
        for _ in range(40):
            for bench in (first, second):
                await bench.session.send([Attempt(ZERO, AB, "stream")])
            here, there = await first.heralded(), await second.heralded()
            assert here == there
            numbers.append(here.number)
            await first.session.send([Measure(ZERO, 0.0)])
            await second.session.send([Correct(ZERO, there.x, there.z), Measure(ZERO, 0.0)])
            equal += (await first.measured()).outcome == (await second.measured()).outcome
        assert numbers == sorted(set(numbers))
        # Fidelity 0.9: bit errors in one pair of ten. Fewer than 24 of 40 would be a chance of 1e-7.
        assert equal >= 24
        counts = await first.counts(has_signal=True)
        while counts.heralds_total < 40:
            counts = await first.counts(has_signal=True)
        assert counts.attempts_total > 0
        assert counts.attempting_seconds_total > 0
    await at_a.close()
    await at_b.close()


async def test_a_cut_link_heralds_nothing_and_both_ends_know(emulator: Emulator) -> None:
    at_a, at_b = emulator.driver("a"), emulator.driver("b")
    async with (
        asyncio.timeout(DEADLINE),
        emulator.operator() as channel,
        at_a.open_memories() as a,
        at_b.open_memories() as b,
    ):
        stub = emulator_pb2_grpc.EmulatorServiceStub(channel)
        first, second = Bench(a), Bench(b)
        cut = pb.Fault(link=AB, kind=pb.FAULT_KIND_CUT)
        await stub.InjectFault(pb.InjectFaultRequest(fault=cut))
        for bench in (first, second):
            await bench.session.send([Attempt(ZERO, AB, "stream")])
            await bench.counts(has_signal=False)
        listed = await stub.ListFaults(pb.ListFaultsRequest())
        assert [fault.link for fault in listed.faults] == [AB]
        await stub.RestoreLink(pb.RestoreLinkRequest(link=AB))
        assert await first.heralded() == await second.heralded()
    await at_a.close()
    await at_b.close()


async def test_a_memory_that_fails_says_so_and_coherence_that_changes_is_told(emulator: Emulator) -> None:
    at_a = emulator.driver("a")
    async with asyncio.timeout(DEADLINE), emulator.operator() as channel, at_a.open_memories() as a:
        stub = emulator_pb2_grpc.EmulatorServiceStub(channel)
        bench = Bench(a)
        for kind, magnitude in ((pb.FAULT_KIND_MEMORY_FAILURE, 2.0), (pb.FAULT_KIND_DECOHERENCE, 4.0)):
            fault = pb.Fault(node="a", kind=kind, magnitude=magnitude)
            await stub.InjectFault(pb.InjectFaultRequest(fault=fault))
        assert [await bench.next(Works) for _ in range(2)] == [
            Works(MemoryId(0), works=False),
            Works(MemoryId(1), works=False),
        ]
        assert await bench.next(Coherence) == Coherence(15.0, 2.0)
        await bench.session.send([Attempt(ZERO, AB, "stream")])
        refused = await bench.next(Refused)
        assert isinstance(refused, Refused)
        assert "does not work" in refused.reason
        await stub.RestoreNode(pb.RestoreNodeRequest(node="a"))
        assert await bench.next(Works) == Works(MemoryId(0), works=True)
        assert await bench.next(Coherence) == Coherence(60.0, 8.0)
        await stub.InjectFault(pb.InjectFaultRequest(fault=pb.Fault(node="a", kind=pb.FAULT_KIND_NODE_LOSS)))
        with pytest.raises(DriverUnavailableError, match="without power"):
            await bench.next(Refused)
        with pytest.raises(DriverUnavailableError, match="without power"):
            await at_a.memory_bank()
    await at_a.close()


async def test_a_new_session_of_a_node_ends_the_one_before_and_frees_its_memories(emulator: Emulator) -> None:
    at_a = emulator.driver("a")
    async with asyncio.timeout(DEADLINE), at_a.open_memories() as old:
        await old.send([Attempt(ZERO, AB, "stream")])
        await old.receive()
        async with at_a.open_memories() as new:
            await new.receive()
            with pytest.raises(DriverUnavailableError, match="another session"):
                await received_for_ever(old)
            with pytest.raises(DriverUnavailableError, match="another session"):
                await old.send([Attempt(ZERO, AB, "stream")])
            # Free: what is asked of it is refused only because it holds nothing.
            await new.send([Attempt(ZERO, AB, "stream"), Measure(ZERO, math.pi / 4)])
            refused = await Bench(new).next(Refused)
            assert isinstance(refused, Refused)
            assert refused.reason == "memory 0 held no pair"
    await at_a.close()


async def received_for_ever(session: MemorySession) -> None:
    while True:
        await session.receive()


async def last_of(answers: AsyncIterable[object]) -> None:
    async for _ in answers:
        pass


async def refusal(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_only_an_agent_works_memories_and_only_with_commands_in_order(emulator: Emulator) -> None:
    async with emulator.operator() as channel:
        stub = emulator_pb2_grpc.EmulatorServiceStub(channel)
        for answer in (
            stub.DescribeMemories(pb.DescribeMemoriesRequest()),
            stub.OperateMemories(iter(())).read(),
        ):
            assert (await refusal(answer)).code() is grpc.StatusCode.PERMISSION_DENIED
        for fault, code in (
            (pb.Fault(node="d", kind=pb.FAULT_KIND_DECOHERENCE), grpc.StatusCode.FAILED_PRECONDITION),
            (pb.Fault(link=AB, kind=pb.FAULT_KIND_BLIND), grpc.StatusCode.FAILED_PRECONDITION),
            (pb.Fault(link=AB, kind=pb.FAULT_KIND_DECOHERENCE), grpc.StatusCode.FAILED_PRECONDITION),
            (pb.Fault(link="z", kind=pb.FAULT_KIND_CUT), grpc.StatusCode.NOT_FOUND),
        ):
            error = await refusal(stub.InjectFault(pb.InjectFaultRequest(fault=fault)))
            assert error.code() is code
    agent = emulator.files(Identity(Plane.CONTROL, Role.AGENT, "a"))
    async with emulator.channel(agent) as channel:
        empty = pb.OperateMemoriesRequest(commands=[pb.MemoryCommand()])
        call = emulator_pb2_grpc.EmulatorServiceStub(channel).OperateMemories(iter([empty]))
        assert "commands[0].kind" in ((await refusal(last_of(call))).details() or "")
