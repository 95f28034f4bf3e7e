"""The emulator's quantum memories as an agent works them: its messages, and values of `memories.py`."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import grpc

from keyweave.agent.drivers.base import DriverUnavailableError
from keyweave.agent.drivers.memories import (
    Attempt,
    Coherence,
    Command,
    Correct,
    Event,
    Heralded,
    LinkCounts,
    Measure,
    Measured,
    MemoryBankInfo,
    MemoryId,
    PairLinkInfo,
    Purify,
    Refused,
    Release,
    Swap,
    Swapped,
    Works,
)
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import emulator_pb2 as pb
from keyweave.v1 import pairs_pb2, types_pb2

if TYPE_CHECKING:  # generic in grpc's stubs only
    _Call = grpc.aio.StreamStreamCall[pb.OperateMemoriesRequest, pb.OperateMemoriesResponse]
else:
    _Call = grpc.aio.StreamStreamCall


class EmulatedMemories:
    """A MemorySession over one call."""

    def __init__(self, call: _Call, who: str) -> None:
        self._call = call
        self._who = who

    async def send(self, commands: Sequence[Command]) -> None:
        """See MemorySession."""
        request = pb.OperateMemoriesRequest(commands=[command_message(command) for command in commands])
        try:
            await self._call.write(request)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            raise await self._over() from None

    async def receive(self) -> tuple[Event, ...]:
        """See MemorySession."""
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError:
            raise await self._over() from None
        if not isinstance(response, pb.OperateMemoriesResponse):
            raise await self._over()
        return tuple(event for message in response.events if (event := event_of(message)) is not None)

    async def _over(self) -> DriverUnavailableError:
        code, details = await self._call.code(), await self._call.details()
        return DriverUnavailableError(
            f"{self._who} ended the session of its memories: {code.name}: {details}"
        )


def described(answer: pb.DescribeMemoriesResponse) -> MemoryBankInfo | None:
    """What a node has; None where it has no memories."""
    if not answer.HasField("bank"):
        return None
    bank = answer.bank
    return MemoryBankInfo(
        model=bank.model,
        memories=bank.memories,
        t1_seconds=bank.t1_seconds or math.inf,
        t2_seconds=bank.t2_seconds or math.inf,
        swap_success_ratio=bank.swap_success_ratio,
        swap_fidelity=bank.swap_fidelity,
        readout_fidelity=bank.readout_fidelity,
        emulated=bank.emulated,
        links=tuple(
            PairLinkInfo(
                link=LinkName(end.link),
                peer_node=NodeName(end.peer_node),
                model=end.model,
                attempt_rate_hz=end.attempt_rate_hz,
                memories=end.memories,
                length_km=end.length_km,
            )
            for end in answer.link_ends
        ),
    )


def command_message(command: Command) -> pb.MemoryCommand:
    """A command as the emulator takes it."""
    match command:
        case Attempt(memory, link, tag):
            return pb.MemoryCommand(attempt=pb.MemoryAttempt(memory=memory, link=link, tag=tag))
        case Release(memory):
            return pb.MemoryCommand(release=pb.MemoryRelease(memory=memory))
        case Swap(first, second):
            return pb.MemoryCommand(swap=pb.MemorySwap(first=first, second=second))
        case Purify(kept, measured):
            return pb.MemoryCommand(purify=pb.MemoryPurify(kept=kept, measured=measured))
        case Measure(memory, angle, along_y):
            return pb.MemoryCommand(
                measure=pb.MemoryMeasure(memory=memory, angle_radians=angle, along_y=along_y)
            )
        case Correct(memory, x, z):
            return pb.MemoryCommand(correct=pb.MemoryCorrect(memory=memory, x=x, z=z))


def event_of(message: pb.MemoryEvent) -> Event | None:
    """An event as the agent takes it; None for kinds that are newer than this driver."""
    kind = message.WhichOneof("kind")
    return None if kind is None else _EVENTS[kind](getattr(message, kind))


def _heralded(told: pb.MemoryHeralded) -> Heralded:
    return Heralded(
        MemoryId(told.memory),
        LinkName(told.link),
        told.tag,
        told.number,
        told.x,
        told.z,
        told.time_unix_nanos,
    )


def _swapped(told: pb.MemorySwapped) -> Swapped:
    return Swapped(MemoryId(told.first), MemoryId(told.second), told.succeeded, told.x, told.z)


def _link(told: pairs_pb2.PairLinkCounts) -> LinkCounts:
    return LinkCounts(
        link=LinkName(told.link),
        attempts_total=told.attempts_total,
        heralds_total=told.heralds_total,
        attempting_seconds_total=told.attempting_seconds_total,
        has_signal=told.status != types_pb2.LINK_STATUS_OFF,
    )


_EVENTS: Mapping[str, Callable[[Any], Event]] = {
    "heralded": _heralded,
    "swapped": _swapped,
    "measured": lambda told: Measured(MemoryId(told.memory), told.outcome),
    "refused": lambda told: Refused(MemoryId(told.memory), told.reason),
    "works": lambda told: Works(MemoryId(told.memory), told.works),
    "link": _link,
    "bank": lambda told: Coherence(told.t1_seconds or math.inf, told.t2_seconds or math.inf),
}
