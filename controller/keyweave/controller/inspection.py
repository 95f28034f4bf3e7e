"""What operators look up at agents: queries down each agent's inspection stream, pages of answers up.

Bounds: a query has at most PAGES_WAITING pages here; while its asker takes none, the agent's stream is not
read, so gRPC holds the agent back too. An asker that takes nothing for ASKER_SECONDS loses its answer, so
that it cannot hold up others at the same agent for longer, and an agent that says nothing for AGENT_SECONDS
is given up.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc

from keyweave.common import log
from keyweave.common.errors import (
    ConflictError,
    InvalidInputError,
    UnavailableError,
)
from keyweave.common.names import NodeName
from keyweave.controller.agent_stream import ending, hello_of, node_of
from keyweave.v1 import agent_pb2

PAGES_WAITING = 2
QUERIES_PER_AGENT = 8
# As the protocol has it; checked by hand, because the whole page's rules would cost more than its work.
ENTRIES_PER_PAGE = 1000
AGENT_SECONDS = 20.0
ASKER_SECONDS = 60.0
BELL_TEST_SECONDS = 600.0

if TYPE_CHECKING:  # grpc's classes are generic in its stubs only
    Stream = grpc.aio.ServicerContext[agent_pb2.InspectRequest, agent_pb2.InspectResponse]


class Answer:
    """The pages that come for one query."""

    def __init__(self, node: NodeName, query: agent_pb2.LedgerQuery) -> None:
        self.node = node
        self.query = query
        self.finished = False
        self._pages: deque[agent_pb2.LedgerPage] = deque()
        self._failure = ""
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, page: agent_pb2.LedgerPage) -> bool:
        """Take in a page; waits while too many wait to be read. Whether the agent may go on."""
        try:
            async with asyncio.timeout(ASKER_SECONDS):
                await self._room.wait()
        except TimeoutError:
            self.fail(f"nobody read the answer for {ASKER_SECONDS:g} s, so it was broken off")
            return False
        if self.finished:
            return True  # its asker went meanwhile, and the agent has been told
        fault = self._fault(page)
        if fault:
            self.fail(fault)
            return False
        self._pages.append(page)
        self.finished = page.last
        if len(self._pages) >= PAGES_WAITING:
            self._room.clear()
        self._arrived.set()
        return True

    def fail(self, why: str) -> None:
        """No more pages come."""
        if not self.finished:
            self.finished = True
            self._failure = why
        self._arrived.set()
        self._room.set()

    def _fault(self, page: agent_pb2.LedgerPage) -> str:
        """An agent speaks for its own node, and of what it was asked."""
        if len(page.entries) > ENTRIES_PER_PAGE:
            return f"its agent sent a page of {len(page.entries)} lines; {ENTRIES_PER_PAGE} is the most"
        strange = next(
            (e for e in page.entries if e.node != self.node or e.stream != self.query.stream), None
        )
        if strange is not None:
            return f"its agent sent lines of stream '{strange.stream}' at '{strange.node}', unasked"
        return ""

    async def __aiter__(self) -> AsyncIterator[agent_pb2.LedgerPage]:
        """Every page; UnavailableError where the agent goes, stalls, or sends what it may not."""
        while True:
            while self._pages:
                page = self._pages.popleft()
                self._room.set()
                yield page
            if self.finished:
                if self._failure:
                    raise UnavailableError(self._failure)
                return
            self._arrived.clear()
            try:
                async with asyncio.timeout(AGENT_SECONDS):
                    await self._arrived.wait()
            except TimeoutError:
                raise UnavailableError(f"its agent said nothing for {AGENT_SECONDS:g} s") from None


class _Session:
    """One inspection stream, until it ends or a newer one replaces it."""

    def __init__(self, node: NodeName) -> None:
        self.node = node
        self.replaced = asyncio.Event()
        self._answers: dict[int, Answer] = {}
        self._bell_tests: dict[int, asyncio.Future[agent_pb2.BellTestResult]] = {}
        self._last_id = 0
        # At most a query and a cancellation for each of QUERIES_PER_AGENT and what a slow write leaves.
        self._outgoing: deque[agent_pb2.InspectResponse] = deque()
        self._changed = asyncio.Event()

    def ask(self, answer: Answer) -> int:
        """Send a query; its number."""
        query_id = self._next_id()
        self._answers[query_id] = answer
        self._send(agent_pb2.InspectResponse(query_id=query_id, ledger=answer.query))
        return query_id

    async def bell_test(self, query: agent_pb2.BellTestQuery) -> agent_pb2.BellTestResult:
        """Have pairs tested; returns once they are."""
        query_id = self._next_id()
        result: asyncio.Future[agent_pb2.BellTestResult] = asyncio.get_running_loop().create_future()
        self._bell_tests[query_id] = result
        self._send(agent_pb2.InspectResponse(query_id=query_id, bell_test=query))
        try:
            return await result
        finally:
            del self._bell_tests[query_id]
            if result.cancelled():
                self._cancel(query_id)

    def _next_id(self) -> int:
        waiting = len(self._answers) + len(self._bell_tests)
        if waiting >= QUERIES_PER_AGENT or len(self._outgoing) > QUERIES_PER_AGENT:
            raise UnavailableError(f"{QUERIES_PER_AGENT} queries wait at its agent already; try again later")
        self._last_id += 1
        return self._last_id

    def forget(self, query_id: int) -> None:
        """Nobody waits for this answer any more."""
        answer = self._answers.pop(query_id)
        if not answer.finished:
            answer.fail("nobody waits for it")
            self._cancel(query_id)

    def end(self, why: str) -> None:
        """Fail what still waits."""
        for answer in self._answers.values():
            answer.fail(why)
        for result in self._bell_tests.values():
            if not result.done():
                result.set_exception(UnavailableError(why))

    def _cancel(self, query_id: int) -> None:
        self._send(agent_pb2.InspectResponse(query_id=query_id, cancel=agent_pb2.CancelQuery()))

    def _send(self, response: agent_pb2.InspectResponse) -> None:
        self._outgoing.append(response)
        self._changed.set()

    async def read(self, requests: AsyncIterator[agent_pb2.InspectRequest]) -> None:
        """Hand pages to those who asked; late ones of forgotten queries go nowhere."""
        async for request in requests:
            if request.WhichOneof("kind") == "bell_test":
                result = self._bell_tests.get(request.bell_test.query_id)
                if result is not None and not result.done():
                    result.set_result(request.bell_test)
                continue
            if request.WhichOneof("kind") != "ledger":
                raise InvalidInputError.of("kind", "only the first message may be a hello")
            query_id = request.ledger.query_id
            answer = self._answers.get(query_id)
            if answer is not None and not answer.finished and not await answer.put(request.ledger):
                self._cancel(query_id)

    async def write(self, context: "Stream") -> None:
        """Send queries as they come."""
        while True:
            while self._outgoing:
                await context.write(self._outgoing.popleft())
            self._changed.clear()
            await self._changed.wait()


class Inspection:
    """All agents' inspection streams."""

    def __init__(self, *, known_node: Callable[[NodeName], bool]) -> None:
        self._known_node = known_node
        self._sessions: dict[NodeName, _Session] = {}
        self._stopped = False

    async def bell_test(
        self, node: NodeName, query: agent_pb2.BellTestQuery, seconds: float | None
    ) -> agent_pb2.BellTestResult:
        """Have `node`'s agent test pairs; UnavailableError while it is away, or where that takes too long."""
        session = self._sessions.get(node)
        if session is None:
            raise UnavailableError("its agent is not connected")
        most = min(BELL_TEST_SECONDS, seconds) if seconds is not None else BELL_TEST_SECONDS
        try:
            async with asyncio.timeout(most):
                return await session.bell_test(query)
        except TimeoutError:
            raise UnavailableError(
                f"no {query.pairs} pairs came within {most:.0f} s; ask for fewer"
            ) from None

    @contextmanager
    def ledger(self, node: NodeName, query: agent_pb2.LedgerQuery) -> Iterator[Answer]:
        """Ask `node`'s agent for lines of its ledger; UnavailableError while it is away."""
        session = self._sessions.get(node)
        if session is None:
            raise UnavailableError("its agent is not connected")
        answer = Answer(node, query)
        query_id = session.ask(answer)
        try:
            yield answer
        finally:
            session.forget(query_id)

    def stop(self) -> None:
        """End all streams: the process is shutting down."""
        self._stopped = True
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.replaced.set()

    async def inspect(self, requests: AsyncIterator[agent_pb2.InspectRequest], context: "Stream") -> None:
        """Serve one agent's inspection stream until either side ends it."""
        node = node_of(context)
        await hello_of(requests, "an inspection", node, self._known_node)
        log.get().debug("inspection_opened", node=node)
        if self._stopped:
            raise UnavailableError("this controller is shutting down; dial again")
        session = _Session(node)
        older = self._sessions.get(node)
        if older is not None:
            older.replaced.set()
        self._sessions[node] = session
        try:
            await _converse(session, requests, context)
        finally:
            session.end("its agent went away")
            if self._sessions.get(node) is session:
                del self._sessions[node]
        if self._stopped:
            raise UnavailableError("this controller is shutting down; dial again")
        if session.replaced.is_set():
            raise ConflictError(f"agent '{node}' has opened a newer inspection stream")


async def _converse(
    session: _Session, requests: AsyncIterator[agent_pb2.InspectRequest], context: "Stream"
) -> None:
    """Read and write until the agent is done or the session is to close."""
    name = f"inspect:{session.node}"
    async with ending(
        asyncio.create_task(session.read(requests), name=f"{name}:read"),
        asyncio.create_task(session.write(context), name=f"{name}:write"),
        asyncio.create_task(session.replaced.wait(), name=f"{name}:replaced"),
    ) as tasks:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
