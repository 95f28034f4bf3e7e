"""Answering what operators look up at this node: queries come down the controller's stream, pages go up.

A page is read when the one before has been written, so a slow reader costs no memory here.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import grpc

from keyweave.agent.ledger import search
from keyweave.agent.ledger.ledger import Ledger
from keyweave.common import log
from keyweave.common.cancellation import raise_if_cancelled
from keyweave.v1 import agent_pb2, agent_pb2_grpc

if TYPE_CHECKING:  # generic in grpc's stubs only
    _Call = grpc.aio.StreamStreamCall[agent_pb2.InspectRequest, agent_pb2.InspectResponse]

# Whoever has pairs to test a Bell inequality with.
TestsPairs = Callable[[agent_pb2.BellTestQuery], Awaitable[agent_pb2.BellTestResult]]

QUERIES_AT_ONCE = 8
RETRY_CAP_SECONDS = 5.0
# A controller that does not know the call is asked again after this long: it may be upgraded.
NOT_OFFERED_SECONDS = 60.0
_BROKEN = (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError)


class Lookup:
    """This node's side of inspection streams, one after the other."""

    def __init__(self, ledger: Ledger, hello: agent_pb2.TelemetryHello, bell_test: TestsPairs) -> None:
        self._ledger = ledger
        self._hello = hello
        self._bell_test = bell_test

    async def run(self, stub: "agent_pb2_grpc.AgentServiceAsyncStub") -> None:
        """Answer queries until cancelled. A stream that breaks disturbs nothing else on its connection."""
        failures = 0
        while True:
            pause, reason = RETRY_CAP_SECONDS, "the controller ended the stream"
            call = stub.Inspect()  # type: ignore[call-arg]  # written to, not iterated over
            hello = agent_pb2.InspectHello(node=self._hello.node, incarnation=self._hello.incarnation)
            try:
                await call.write(agent_pb2.InspectRequest(hello=hello))
                await self._answer(call)
            except grpc.aio.AioRpcError as error:
                reason = f"{error.code().name}: {error.details()}"
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    pause = NOT_OFFERED_SECONDS
            except _BROKEN as error:
                reason = str(error)
            # Cancelled in the moment in which the connection breaks, gRPC raises its own error alone.
            raise_if_cancelled()
            failures += 1
            log.get().debug("inspection_lost", reason=reason)
            await asyncio.sleep(random.uniform(0, min(pause, 0.1 * 2**failures)))  # noqa: S311

    async def _answer(self, call: "_Call") -> None:
        """Answer one stream's queries; those under way end with it."""
        answering: dict[int, asyncio.Task[None]] = {}
        writing = asyncio.Lock()
        try:
            async for request in call:
                answering = {number: task for number, task in answering.items() if not task.done()}
                if request is not None:  # for bytes that do not parse, whatever the types say
                    self._take(call, request, answering, writing)
        finally:
            for task in answering.values():
                task.cancel()
            await asyncio.gather(*answering.values(), return_exceptions=True)

    def _take(
        self,
        call: "_Call",
        request: agent_pb2.InspectResponse,
        answering: dict[int, asyncio.Task[None]],
        writing: asyncio.Lock,
    ) -> None:
        task = answering.get(request.query_id)
        if request.WhichOneof("kind") == "cancel" and task is not None:
            task.cancel()
        elif request.WhichOneof("kind") == "ledger" and task is None:
            found = self._pages(request.ledger) if len(answering) < QUERIES_AT_ONCE else _too_many()
            answering[request.query_id] = asyncio.create_task(
                _write_pages(call, writing, request.query_id, found), name=f"lookup-{request.query_id}"
            )
        elif request.WhichOneof("kind") == "bell_test" and task is None:
            asked = self._bell_test if len(answering) < QUERIES_AT_ONCE else _no_test
            answering[request.query_id] = asyncio.create_task(
                _write_result(call, writing, request.query_id, asked(request.bell_test)),
                name=f"lookup-{request.query_id}",
            )

    def _pages(self, query: agent_pb2.LedgerQuery) -> Iterator[agent_pb2.LedgerPage]:
        problem = "; ".join(self._ledger.problems)
        try:
            for page in search.pages(self._ledger.directory, self._ledger.node, query):
                page.problem = "; ".join(filter(None, (problem, page.problem)))[:1000]
                yield page
        except OSError as error:
            yield agent_pb2.LedgerPage(last=True, problem=f"the ledger cannot be read: {error.strerror}")


async def _no_test(_query: agent_pb2.BellTestQuery) -> agent_pb2.BellTestResult:
    return agent_pb2.BellTestResult(problem=f"{QUERIES_AT_ONCE} queries are being answered already")


async def _write_result(
    call: "_Call",
    writing: asyncio.Lock,
    query_id: int,
    asked: Awaitable[agent_pb2.BellTestResult],
) -> None:
    result = await asked
    result.query_id = query_id
    try:
        async with writing:
            await call.write(agent_pb2.InspectRequest(bell_test=result))
    except _BROKEN:
        return  # who reads the stream finds out by itself


def _too_many() -> Iterator[agent_pb2.LedgerPage]:
    yield agent_pb2.LedgerPage(last=True, problem=f"{QUERIES_AT_ONCE} queries are being answered already")


async def _write_pages(
    call: "_Call", writing: asyncio.Lock, query_id: int, found: Iterator[agent_pb2.LedgerPage]
) -> None:
    try:
        while (page := await asyncio.to_thread(next, found, None)) is not None:
            page.query_id = query_id
            async with writing:
                await call.write(agent_pb2.InspectRequest(ledger=page))
    except _BROKEN:
        return  # who reads the stream finds out by itself
