"""Step 1: telemetry on the wire, from agents to validated batches for the core.

One bounded queue leads to the core. A message is acknowledged once the core has handled it, and an agent
may be `window` messages ahead of that; so when the core falls behind, no acknowledgement goes out, no
credit is given, and agents thin out samples at their end. Nothing is thrown away here.

A message that breaks the protocol ends its stream. A measurement that cannot be true does not: it is
refused alone, counted, and the rest of its message counts, because an agent would only send it again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import Message

from keyweave.common import log
from keyweave.common.errors import (
    ConflictError,
    InvalidInputError,
    PreconditionError,
    UnavailableError,
)
from keyweave.common.names import LinkName, NodeName, is_name
from keyweave.common.validation import check, violations
from keyweave.controller.agent_stream import ending, hello_of, node_of
from keyweave.controller.samples import decode
from keyweave.controller.stimuli import (
    AgentHello,
    AgentReported,
    Batch,
    LinkObserved,
    PairsReported,
    PoolsReported,
    SamplesDropped,
    SamplesRefused,
    StreamsReported,
    TelemetryLost,
    TelemetryStimulus,
)
from keyweave.v1 import agent_pb2, types_pb2

DEFAULT_WINDOW = 64
_POOL_ID_BYTES = (0, 16)

if TYPE_CHECKING:  # grpc's classes are generic in its stubs only
    Stream = grpc.aio.ServicerContext[agent_pb2.TelemetryRequest, agent_pb2.TelemetryResponse]
Submit = Callable[[Batch], Awaitable[None]]


@dataclass(slots=True)
class IngestCounters:
    """What came in since the process started."""

    streams_total: int = 0
    replaced_streams_total: int = 0
    messages_total: int = 0
    duplicate_messages_total: int = 0
    events_total: int = 0
    # Rows of link samples taken, and items of any kind that could not be true.
    sample_rows_total: int = 0
    refused_items_total: int = 0
    acks_sent_total: int = 0


@dataclass(slots=True)
class _Progress:
    """How far one agent process has been heard. Outlives its streams."""

    incarnation: bytes
    # Highest sequence given to the core, and highest that the core has handled. None until the first
    # message: after a restart of the controller an agent goes on where it was.
    received: int | None = None
    acked: int = 0
    dropped_samples: int = 0

    @property
    def in_flight(self) -> int:
        """Messages that wait for the core."""
        return 0 if self.received is None else max(0, self.received - self.acked)


class _Session:
    """One telemetry stream, from its hello until it ends or a newer one replaces it."""

    def __init__(self, node: NodeName, progress: _Progress) -> None:
        self.node = node
        self.progress = progress
        self.changed = asyncio.Event()
        self.closing = asyncio.Event()
        self.replaced = False
        self.ended = asyncio.Event()


class TelemetryIntake:
    """All agents' telemetry streams."""

    def __init__(
        self, *, known_node: Callable[[NodeName], bool], submit: Submit, window: int = DEFAULT_WINDOW
    ) -> None:
        """`submit` puts a batch on the bounded queue to the core and waits while that is full."""
        self._known_node = known_node
        self._submit = submit
        self._window = window
        self._progress: dict[NodeName, _Progress] = {}
        self._sessions: dict[NodeName, _Session] = {}
        self._stopped = False
        self.counters = IngestCounters()

    @property
    def connected(self) -> tuple[NodeName, ...]:
        """Nodes whose telemetry stream is open, by name."""
        return tuple(sorted(self._sessions))

    @property
    def in_flight(self) -> int:
        """Messages given to the core that it has not handled yet."""
        return sum(progress.in_flight for progress in self._progress.values())

    def processed(self, batch: Batch) -> None:
        """The core has handled `batch` (in the order of submission): acknowledge it."""
        progress = self._progress.get(batch.node)
        if progress is None or progress.incarnation != batch.incarnation or batch.sequence <= progress.acked:
            return
        progress.acked = batch.sequence
        session = self._sessions.get(batch.node)
        if session is not None:
            session.changed.set()

    def stop(self) -> None:
        """Take in nothing more: the process is shutting down. Agents keep what is not acknowledged."""
        self._stopped = True
        for session in self._sessions.values():
            session.closing.set()

    async def telemetry(self, requests: AsyncIterator[agent_pb2.TelemetryRequest], context: "Stream") -> None:
        """Serve one agent's telemetry stream until either side ends it."""
        node = node_of(context)
        first = await hello_of(requests, "a telemetry", node, self._known_node)
        if first.sequence:
            raise InvalidInputError.of("sequence", f"{first.sequence} in a hello; it must be 0")
        hello = first.hello
        session = await self._open(node, hello.incarnation)
        try:
            await self._submit(Batch(node, hello.incarnation, 0, (AgentHello(node, hello),)))
            await self._converse(session, requests, context)
            self._explain_end(session)
        finally:
            session.ended.set()
            if self._sessions.get(node) is session:
                del self._sessions[node]
                await self._submit(Batch(node, hello.incarnation, 0, (TelemetryLost(node),)))

    def _explain_end(self, session: _Session) -> None:
        """An error for an agent that would have gone on; nothing for one that was done."""
        if session.replaced:
            raise ConflictError(f"agent '{session.node}' has opened a newer telemetry stream")
        if self._stopped:
            raise UnavailableError("this controller is shutting down; dial again")

    async def _open(self, node: NodeName, incarnation: bytes) -> _Session:
        """Make this the node's stream. The older one has put its last message when this returns."""
        while (older := self._sessions.get(node)) is not None:
            self.counters.replaced_streams_total += 1
            del self._sessions[node]
            older.replaced = True
            older.closing.set()
            await older.ended.wait()
        if self._stopped:
            raise UnavailableError("this controller is shutting down; dial again")
        progress = self._progress.get(node)
        if progress is None or progress.incarnation != incarnation:
            progress = self._progress[node] = _Progress(incarnation)
        session = self._sessions[node] = _Session(node, progress)
        self.counters.streams_total += 1
        return session

    async def _converse(
        self, session: _Session, requests: AsyncIterator[agent_pb2.TelemetryRequest], context: "Stream"
    ) -> None:
        """Read and acknowledge until the agent is done or the session is to close."""
        name = f"telemetry:{session.node}"
        reader = asyncio.create_task(self._read(session, requests), name=f"{name}:read")
        writer = asyncio.create_task(self._acknowledge(session, context), name=f"{name}:write")
        closing = asyncio.create_task(session.closing.wait(), name=f"{name}:closing")
        async with ending(reader, writer, closing) as tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # A write must end by itself: gRPC cannot send a status while a message is on its way.
            session.closing.set()
            session.changed.set()
            await asyncio.wait((writer,))

    async def _acknowledge(self, session: _Session, context: "Stream") -> None:
        """Tell how far the agent may forget and go; changes during a write make one response together."""
        while not session.closing.is_set():
            session.changed.clear()
            acked = session.progress.acked
            await context.write(
                agent_pb2.TelemetryResponse(acked_sequence=acked, credit_sequence=acked + self._window)
            )
            self.counters.acks_sent_total += 1
            await session.changed.wait()

    async def _read(self, session: _Session, requests: AsyncIterator[agent_pb2.TelemetryRequest]) -> None:
        async for request in requests:
            if self._is_new(session, request):
                items = self._items(session, request)
                incarnation, sequence = session.progress.incarnation, request.sequence
                await self._submit(Batch(session.node, incarnation, sequence, items))
                session.progress.received = sequence
                self.counters.messages_total += 1

    def _is_new(self, session: _Session, request: agent_pb2.TelemetryRequest) -> bool:
        """Whether to take this message; False if it was taken before. Out of order is an error.

        The first message of an agent process that is new here needs no credit: it tells where to go on.
        """
        progress, sequence = session.progress, request.sequence
        if request.WhichOneof("kind") not in {"batch", "event"}:
            raise InvalidInputError.of("kind", "after the hello, a message holds a batch or an event")
        if sequence == 0:
            raise InvalidInputError.of("sequence", "0 is for the hello; messages count from 1")
        if progress.received is None:
            # What came before was acknowledged by this controller's earlier process.
            progress.received = progress.acked = sequence - 1
            if progress.acked:
                session.changed.set()
        if sequence <= progress.received:
            self.counters.duplicate_messages_total += 1
            return False
        if sequence > progress.received + 1:
            raise InvalidInputError.of(
                "sequence", f"{sequence} came where {progress.received + 1} was expected; send from there"
            )
        if sequence > progress.acked + self._window:
            raise PreconditionError(
                f"sequence {sequence} is beyond the credit of {progress.acked + self._window}; wait for more"
            )
        return True

    def _items(self, session: _Session, request: agent_pb2.TelemetryRequest) -> tuple[TelemetryStimulus, ...]:
        """What a message says, without what cannot be true."""
        node = session.node
        if request.WhichOneof("kind") == "event":
            return self._event(node, request.event)
        batch = request.batch
        items: list[TelemetryStimulus] = [
            self._samples(node, message, index) for index, message in enumerate(batch.links)
        ]
        if batch.pools and (pools := tuple(p for p in batch.pools if self._holds(node, _pool_fault(p)))):
            items.append(PoolsReported(node, pools))
        if batch.streams and (
            streams := tuple(s for s in batch.streams if self._holds(node, _stream_fault(s)))
        ):
            items.append(StreamsReported(node, streams))
        if batch.pair_links or batch.pair_streams or batch.HasField("memories"):
            items.append(self._pairs(node, batch))
        if batch.dropped_samples_total != session.progress.dropped_samples:
            session.progress.dropped_samples = batch.dropped_samples_total
            items.append(SamplesDropped(node, batch.dropped_samples_total))
        return tuple(items)

    def _pairs(self, node: NodeName, batch: agent_pb2.TelemetryBatch) -> PairsReported:
        """What can be true of what is said about pairs."""

        def fault(message: Message) -> str:
            found = violations(message)
            return f"{message.DESCRIPTOR.name}: {found[0]}" if found else ""

        has_memories = batch.HasField("memories") and self._holds(node, fault(batch.memories))
        return PairsReported(
            node,
            tuple(one for one in batch.pair_links if self._holds(node, fault(one))),
            tuple(one for one in batch.pair_streams if self._holds(node, fault(one))),
            batch.memories if has_memories else None,
        )

    def _event(self, node: NodeName, event: agent_pb2.AgentEvent) -> tuple[TelemetryStimulus, ...]:
        try:
            check(event)
        except InvalidInputError as error:
            self._holds(node, f"event: {error}")
            return ()
        self.counters.events_total += 1
        return (AgentReported(node, event),)

    def _samples(self, node: NodeName, message: agent_pb2.LinkSamples, index: int) -> TelemetryStimulus:
        try:
            samples = decode(message, node, f"links[{index}]")
        except InvalidInputError as error:
            self.counters.refused_items_total += 1
            return SamplesRefused(node, LinkName(message.link), str(error))
        self.counters.sample_rows_total += samples.rows
        return LinkObserved(samples)

    def _holds(self, node: NodeName, fault: str) -> bool:
        """Whether an item may be taken; counts and logs it if not."""
        if fault:
            self.counters.refused_items_total += 1
            log.get().warning("telemetry_item_refused", node=node, reason=fault)
        return not fault


def _pool_fault(pool: agent_pb2.PoolLevel) -> str:
    if not is_name(pool.link):
        return f"pools.link: '{pool.link}' is not a name"
    if len(pool.pool_id) not in _POOL_ID_BYTES:
        return f"pools.pool_id: {len(pool.pool_id)} bytes for link '{pool.link}'; expected 16, or none"
    return ""


def _stream_fault(state: agent_pb2.StreamState) -> str:
    if not is_name(state.stream):
        return f"streams.stream: '{state.stream}' is not a name"
    if state.protection not in types_pb2.Protection.values():
        return f"streams.protection: {state.protection} of stream '{state.stream}' is not a known protection"
    return ""
