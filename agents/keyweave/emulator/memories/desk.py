"""Who works the memories of a node: one session each, in step with the clock and with the faults in force."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from random import SystemRandom
from typing import Final

from keyweave.common import log
from keyweave.common.errors import ConflictError, KeyweaveError, PreconditionError, UnavailableError
from keyweave.common.names import LinkName, NodeName
from keyweave.common.validation import check
from keyweave.emulator.links import check_powered
from keyweave.emulator.memories.attempts import Counts
from keyweave.emulator.memories.bank import Memories
from keyweave.emulator.plane import OpticalPlane
from keyweave.emulator.scenario import Scenario
from keyweave.v1 import emulator_pb2 as pb
from keyweave.v1 import pairs_pb2, types_pb2

# How often faults are looked at, and what each end has counted is told.
LOOK_SECONDS = 0.1
TELL_SECONDS = 1.0
# No commands are taken while more answers than these wait to be read.
ANSWERS_WAITING = 4096
# Whoever leaves so much unread does not read at all.
EVENTS_WAITING = 65_536
_EVENTS_A_MESSAGE = 512
_STATUS = {True: types_pb2.LINK_STATUS_ACTIVE, False: types_pb2.LINK_STATUS_OFF}


class _Session:
    """What waits to be told to a node."""

    def __init__(self, node: NodeName, before: Mapping[LinkName, Counts]) -> None:
        self.node = node
        # What the links had counted when it began.
        self.before = before
        self.changed = asyncio.Event()
        self.read = asyncio.Event()
        self._events: deque[pb.MemoryEvent] = deque()
        # Of each link the latest only.
        self._counts: dict[str, pb.MemoryEvent] = {}
        self._over: KeyweaveError | None = None

    @property
    def is_behind(self) -> bool:
        """Whether its reader has too much to read."""
        return len(self._events) > ANSWERS_WAITING

    def tell(self, event: pb.MemoryEvent) -> None:
        """To be read."""
        if event.HasField("link"):
            self._counts[event.link.link] = event
        elif len(self._events) < EVENTS_WAITING:
            self._events.append(event)
        else:
            self.end(UnavailableError(f"{EVENTS_WAITING} events wait and nobody reads them"))
        self.changed.set()

    def end(self, why: KeyweaveError) -> None:
        """What waits is told nobody; the reader is told why."""
        self._over = why
        self.changed.set()
        self.read.set()

    def check_open(self) -> None:
        """Raise why it is over, where it is."""
        if self._over is not None:
            raise self._over

    def take(self) -> list[pb.MemoryEvent]:
        """The next events to be read."""
        taken = [*self._counts.values()]
        self._counts.clear()
        while self._events and len(taken) < _EVENTS_A_MESSAGE:
            taken.append(self._events.popleft())
        if not self._events:
            self.changed.clear()
        self.read.set()
        return taken


class MemoryDesk:
    """All memories of the emulator, and their sessions. Pairs live by the clock, whatever the speed."""

    def __init__(self, scenario: Scenario, plane: OpticalPlane) -> None:
        self._plane = plane
        self._begun = time.monotonic()
        self._memories: Final = Memories(
            {NodeName(node.name): node.memories for node in scenario.nodes if node.memories},
            scenario.pair_links,
            seed=scenario.seed,
            outcomes=SystemRandom(),
            origin_unix_nanos=time.time_ns(),
        )
        self._sessions: dict[NodeName, _Session] = {}
        self._kicked = asyncio.Event()
        self._look_due = self._tell_due = 0.0

    async def run(self) -> None:
        """Herald pairs when they come, until cancelled."""
        while True:
            self._kicked.clear()
            now = self._now()
            self._advance(now)
            if now >= self._look_due:
                self.look()
                self._look_due = now + LOOK_SECONDS
            if now >= self._tell_due:
                for session in self._sessions.values():
                    self._tell_counts(session, now)
                self._tell_due = now + TELL_SECONDS
            due = min(self._memories.next_due(), self._look_due)
            with suppress(TimeoutError):
                async with asyncio.timeout(due - self._now()):
                    await self._kicked.wait()

    def look(self) -> None:
        """Take the faults in force as they are now."""
        now = self._now()
        self._advance(now)
        for node, bank in self._memories.banks.items():
            book = self._plane.nodes[node]
            if book.disturbance.cut:
                self._end(node, UnavailableError(f"the devices at '{node}' are without power"))
            for event in self._memories.weaken(bank.node, book.disturbance, now):
                self._tell(node, event)
        for name, link in self._memories.links.items():
            if self._memories.disturb(name, self._plane.disturbance_of(link.spec), now):
                for node in link.ends:
                    if session := self._sessions.get(node):
                        session.tell(self._counted(session, name, now))
        self._kicked.set()

    def close(self) -> None:
        """End all sessions."""
        for node in tuple(self._sessions):
            self._end(node, UnavailableError("the emulator is shutting down; try again"))

    def has_memories(self, node: NodeName) -> bool:
        """Whether the scenario gives the node any."""
        return node in self._memories.banks

    def describe(self, node: NodeName) -> pb.DescribeMemoriesResponse:
        """The memories of a node, and the ends of links there."""
        bank = self._memories.banks.get(node)
        if bank is None:
            return pb.DescribeMemoriesResponse()
        check_powered(self._plane.nodes[node], node)
        return pb.DescribeMemoriesResponse(
            bank=bank.described(),
            link_ends=[
                pairs_pb2.PairLinkEnd(
                    link=link.name,
                    peer_node=link.ends[1 - end],
                    model=link.spec.model,
                    attempt_rate_hz=link.spec.attempts_hz,
                    memories=link.spec.memories,
                    length_km=link.spec.length_km,
                )
                for link in self._memories.links.values()
                if (end := link.end_of(node)) is not None
            ],
        )

    async def operate(
        self, node: NodeName, requests: AsyncIterator[pb.OperateMemoriesRequest]
    ) -> AsyncGenerator[pb.OperateMemoriesResponse, None]:
        """Commands of a node in, events out, until either side ends it; then its memories are free."""
        session = self._begin(node)
        reading = asyncio.create_task(self._read(session, requests), name=f"memories-{node}")
        try:
            while True:
                await session.changed.wait()
                session.check_open()
                events = session.take()
                if events:
                    yield pb.OperateMemoriesResponse(events=events)
                elif reading.done():
                    reading.result()
                    return
        finally:
            reading.cancel()
            if self._sessions.get(node) is session:
                self._end(node, UnavailableError("its reader has gone"))

    async def _read(self, session: _Session, requests: AsyncIterator[pb.OperateMemoriesRequest]) -> None:
        try:
            async for request in requests:
                check(request)
                self._carry_out(session, request)
                while session.is_behind:
                    session.read.clear()
                    await session.read.wait()
        except KeyweaveError as error:
            session.end(error)
        finally:
            session.changed.set()

    def _carry_out(self, session: _Session, request: pb.OperateMemoriesRequest) -> None:
        session.check_open()
        now = self._now()
        self._advance(now)
        for command in request.commands:
            for event in self._memories.handle(session.node, command, now):
                session.tell(event)
        self._kicked.set()

    def _begin(self, node: NodeName) -> _Session:
        if not self.has_memories(node):
            raise PreconditionError(f"node '{node}' has no quantum memories in this scenario")
        check_powered(self._plane.nodes[node], node)
        self._end(node, ConflictError(f"another session for the memories of '{node}' has begun"))
        now = self._now()
        before = {
            name: link.counts(now)
            for name, link in self._memories.links.items()
            if link.end_of(node) is not None
        }
        session = self._sessions[node] = _Session(node, before)
        for memory in range(self._memories.banks[node].failed):
            session.tell(pb.MemoryEvent(works=pb.MemoryWorks(memory=memory, works=False)))
        self._tell_counts(session, now)
        log.get().info("memory_session_began", node=node)
        return session

    def _end(self, node: NodeName, why: KeyweaveError) -> None:
        session = self._sessions.pop(node, None)
        if session is None:
            return
        session.end(why)
        self._memories.release_all(node, self._now())
        log.get().info("memory_session_ended", node=node, reason=str(why))

    def _advance(self, now: float) -> None:
        for node, event in self._memories.advance(now):
            self._tell(node, event)

    def _tell(self, node: NodeName, event: pb.MemoryEvent) -> None:
        if session := self._sessions.get(node):
            session.tell(event)

    def _tell_counts(self, session: _Session, now: float) -> None:
        for name in session.before:
            session.tell(self._counted(session, name, now))

    def _counted(self, session: _Session, name: LinkName, now: float) -> pb.MemoryEvent:
        link = self._memories.links[name]
        counts, before = link.counts(now), session.before[name]
        return pb.MemoryEvent(
            link=pairs_pb2.PairLinkCounts(
                link=name,
                attempts_total=int(counts.attempts - before.attempts),
                heralds_total=counts.heralds - before.heralds,
                attempting_seconds_total=counts.attempting_seconds - before.attempting_seconds,
                status=_STATUS[link.has_signal],
            )
        )

    def _now(self) -> float:
        return time.monotonic() - self._begun
