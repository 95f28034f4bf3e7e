"""Ledgers of both ends of a stream by the admin API; the test plays the agents, over real mutual TLS."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from keyweave.cli.connection import CONTROLLER
from keyweave.common.errors import UnavailableError
from keyweave.common.identity import Role
from keyweave.common.names import NodeName
from keyweave.common.tls import secure_channel
from keyweave.controller import inspection
from keyweave.v1 import admin_pb2 as pb
from keyweave.v1 import agent_pb2, agent_pb2_grpc, types_pb2
from tests.integration.admin_server import AdminServer, serving
from tests.integration.test_admin import violations
from tests.waiting import eventually

if TYPE_CHECKING:  # generic in grpc's stubs only
    Call = grpc.aio.StreamStreamCall[agent_pb2.InspectRequest, agent_pb2.InspectResponse]

ASK = pb.ShowLedgerRequest(stream="s")


def lines(node: str, times: Iterable[int], stream: str = "s") -> list[types_pb2.LedgerEntry]:
    return [types_pb2.LedgerEntry(node=node, stream=stream, time_unix_nanos=time) for time in times]


class PlayedAgent:
    """The agent's side of one inspection stream."""

    def __init__(self, call: "Call") -> None:
        self.call = call

    async def hello(self, node: str) -> None:
        hello = agent_pb2.InspectHello(node=node, incarnation=b"i" * 16)
        await self.call.write(agent_pb2.InspectRequest(hello=hello))

    async def asked(self) -> agent_pb2.InspectResponse:
        async with asyncio.timeout(10):
            response = await self.call.read()
        assert isinstance(response, agent_pb2.InspectResponse), "the stream has ended"
        return response

    async def page(
        self, query_id: int, entries: list[types_pb2.LedgerEntry], *, last: bool = False, problem: str = ""
    ) -> None:
        page = agent_pb2.LedgerPage(query_id=query_id, entries=entries, last=last, problem=problem)
        await self.call.write(agent_pb2.InspectRequest(ledger=page))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


@asynccontextmanager
async def dialled(server: AdminServer, name: str, role: Role = Role.AGENT) -> AsyncIterator[PlayedAgent]:
    """An inspection stream with a certificate of that name, before its hello."""
    async with secure_channel(server.address, server.files(role, name=name), CONTROLLER) as channel:
        call: Call = agent_pb2_grpc.AgentServiceStub(channel).Inspect()  # type: ignore[call-arg]
        yield PlayedAgent(call)
        call.cancel()


@asynccontextmanager
async def agent(server: AdminServer, name: str) -> AsyncIterator[PlayedAgent]:
    """A connected agent: one that has been asked something and was heard."""
    async with dialled(server, name) as played:
        await played.hello(name)
        query = agent_pb2.LedgerQuery(stream="s", limit=1)

        async def heard() -> bool:
            try:
                with server.controller.inspection.ledger(NodeName(name), query):
                    return True
            except UnavailableError:
                return False

        await eventually(heard, 10, f"{name} is connected")
        assert (await played.asked()).HasField("ledger")
        assert (await played.asked()).HasField("cancel")
        yield played


async def answers(server: AdminServer, request: pb.ShowLedgerRequest = ASK) -> list[pb.ShowLedgerResponse]:
    async with server.stub() as stub:
        return [answer async for answer in stub.ShowLedger(request, timeout=20)]


def times(found: list[pb.ShowLedgerResponse]) -> list[tuple[str, int]]:
    return [(entry.node, entry.time_unix_nanos) for answer in found for entry in answer.entries]


def problems(found: list[pb.ShowLedgerResponse]) -> dict[str, str]:
    return {answer.node: answer.problem for answer in found if answer.problem}


async def test_the_lines_of_both_ends_come_merged_by_time_page_after_page(server: AdminServer) -> None:
    async with agent(server, "a") as a, agent(server, "c") as c:
        request = pb.ShowLedgerRequest(stream="s", from_unix_nanos=5, to_unix_nanos=2000, limit=700)
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(answers(server, request))
            query = await a.asked()
            assert query.ledger == agent_pb2.LedgerQuery(
                stream="s", from_unix_nanos=5, to_unix_nanos=2000, limit=700
            )
            await a.page(query.query_id, lines("a", range(10, 500, 2)))
            await a.page(query.query_id, [])
            await a.page(query.query_id, lines("a", range(500, 1000, 2)), last=True)
            await c.page((await c.asked()).query_id, lines("c", range(11, 600, 2)), last=True)
    found = asking.result()
    assert problems(found) == {}
    expected = [("a", t) for t in range(10, 1000, 2)] + [("c", t) for t in range(11, 600, 2)]
    assert times(found) == sorted(expected, key=lambda line: line[1])
    assert max(len(answer.entries) for answer in found) <= 200


async def test_an_end_that_is_away_is_named_and_the_rest_comes_all_the_same(server: AdminServer) -> None:
    async with agent(server, "c") as c, asyncio.TaskGroup() as group:
        asking = group.create_task(answers(server))
        await c.page((await c.asked()).query_id, lines("c", [1, 2]), last=True)
    assert times(asking.result()) == [("c", 1), ("c", 2)]
    assert problems(asking.result()) == {"a": "its agent is not connected"}


async def test_an_end_that_goes_or_whose_chain_is_broken_is_named_after_what_it_had_said(
    server: AdminServer,
) -> None:
    async with agent(server, "c") as c, asyncio.TaskGroup() as group:
        async with agent(server, "a") as a:
            asking = group.create_task(answers(server))
            await a.page((await a.asked()).query_id, lines("a", [1]))
            query = await c.asked()
        await c.page(query.query_id, lines("c", [2]), last=True, problem="the chain is broken at line 7")
    assert times(asking.result()) == [("a", 1), ("c", 2)]
    assert problems(asking.result()) == {
        "a": "its agent went away",
        "c": "the chain is broken at line 7",
    }


async def test_an_agent_that_says_nothing_is_given_up(
    server: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "AGENT_SECONDS", 0.1)
    async with agent(server, "a") as a, agent(server, "c") as c, asyncio.TaskGroup() as group:
        asking = group.create_task(answers(server))
        await c.page((await c.asked()).query_id, lines("c", [2]), last=True)
        query = await a.asked()
        cancelled = await a.asked()
        assert (cancelled.query_id, cancelled.WhichOneof("kind")) == (query.query_id, "cancel")
    assert problems(asking.result()) == {"a": "its agent said nothing for 0.1 s"}


@pytest.mark.parametrize("strange", [lines("b", [1]), lines("a", [1], "other")])
async def test_an_agent_speaks_only_for_its_own_node_and_of_what_it_was_asked(
    server: AdminServer, strange: list[types_pb2.LedgerEntry]
) -> None:
    async with agent(server, "a") as a, agent(server, "c") as c, asyncio.TaskGroup() as group:
        asking = group.create_task(answers(server))
        await c.page((await c.asked()).query_id, [], last=True)
        await a.page((await a.asked()).query_id, strange, last=True)
    assert times(asking.result()) == []
    assert "unasked" in problems(asking.result())["a"]


async def test_an_asker_who_goes_takes_the_query_back_from_both_ends(server: AdminServer) -> None:
    async with agent(server, "a") as a, agent(server, "c") as c, server.stub() as stub:
        call = stub.ShowLedger(ASK)
        query = await a.asked()
        await c.asked()
        await a.page(query.query_id, lines("a", [1]))
        call.cancel()
        for end in (a, c):
            assert (await end.asked()).HasField("cancel")


async def test_who_asks_and_reads_nothing_holds_two_pages_and_not_for_ever(
    server: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "ASKER_SECONDS", 0.1)
    query = agent_pb2.LedgerQuery(stream="s", limit=10)
    async with agent(server, "a") as a:
        with server.controller.inspection.ledger(NodeName("a"), query) as answer:
            query_id = (await a.asked()).query_id
            for time in range(3):
                await a.page(query_id, lines("a", [time]))
            cancel = await a.asked()
            assert (cancel.query_id, cancel.WhichOneof("kind")) == (query_id, "cancel")
            pages = aiter(answer)
            assert [(await anext(pages)).entries[0].time_unix_nanos for _ in range(2)] == [0, 1]
            with pytest.raises(UnavailableError, match="nobody read the answer"):
                await anext(pages)


async def test_a_stream_is_one_agents_own_and_its_newer_one_replaces_it(server: AdminServer) -> None:
    # A refusal may come before the write that it answers is done, which the write then tells of.
    async with dialled(server, "b") as b:
        with suppress(grpc.aio.AioRpcError):
            await b.hello("a")
        assert await b.call.code() is grpc.StatusCode.PERMISSION_DENIED
    async with dialled(server, "ann", Role.OPERATOR) as ann:
        with suppress(grpc.aio.AioRpcError):
            await ann.hello("ann")
        assert await ann.call.code() is grpc.StatusCode.PERMISSION_DENIED
    async with dialled(server, "b") as b:
        with suppress(grpc.aio.AioRpcError):
            await b.page(1, [])
        assert await b.call.code() is grpc.StatusCode.INVALID_ARGUMENT
    async with agent(server, "a") as older, dialled(server, "a") as newer:
        await newer.hello("a")
        assert await older.call.code() is grpc.StatusCode.ABORTED


async def test_wrong_questions_are_refused_before_any_agent_is_asked(server: AdminServer) -> None:
    async def refused(request: pb.ShowLedgerRequest, role: Role = Role.OPERATOR) -> Any:
        async with server.stub(role) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                [answer async for answer in stub.ShowLedger(request)]
        return caught.value

    assert (await refused(ASK, Role.VIEWER)).code() is grpc.StatusCode.PERMISSION_DENIED
    assert (await refused(pb.ShowLedgerRequest(stream="x"))).code() is grpc.StatusCode.NOT_FOUND
    backwards = pb.ShowLedgerRequest(stream="s", from_unix_nanos=2, to_unix_nanos=1)
    assert set(violations(await refused(backwards))) == {"to_unix_nanos"}
