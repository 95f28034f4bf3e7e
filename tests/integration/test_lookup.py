"""What an agent answers when the controller looks its ledger up, over a real stream."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from keyweave.agent.keyplane.keys.keystore import Outcome
from keyweave.agent.ledger import search
from keyweave.agent.ledger.ledger import Ledger
from keyweave.agent.lookup import Lookup
from keyweave.agent.pairs.plane import PairPlane
from keyweave.cli.connection import CONTROLLER
from keyweave.common.errors import UnavailableError
from keyweave.common.identity import Role
from keyweave.common.names import NodeName
from keyweave.common.tls import secure_channel
from keyweave.v1 import agent_pb2, agent_pb2_grpc, types_pb2
from tests.integration.admin_server import AdminServer, serving
from tests.unit.test_ledger import a_key
from tests.waiting import eventually

NODE = NodeName("a")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdminServer]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "ledger", NODE, keep=timedelta(days=1))
    for number in range(2500):
        made.deliver([a_key(number, stream="s" if number % 2 else "t")], is_master=True)
    return made


@asynccontextmanager
async def answering(server: AdminServer, ledger: Ledger) -> AsyncIterator[None]:
    hello = agent_pb2.TelemetryHello(node=NODE, incarnation=bytes(16))
    async with secure_channel(server.address, server.files(Role.AGENT, name=NODE), CONTROLLER) as channel:
        stub: agent_pb2_grpc.AgentServiceAsyncStub = agent_pb2_grpc.AgentServiceStub(channel)
        pairs = PairPlane(NODE, {}, on_event=lambda _event: None)
        running = asyncio.create_task(Lookup(ledger, hello, pairs.bell_test).run(stub))
        yield
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def ask(server: AdminServer, query: agent_pb2.LedgerQuery) -> list[agent_pb2.LedgerPage]:
    pages: list[agent_pb2.LedgerPage] = []

    async def answered() -> bool:
        try:
            with server.controller.inspection.ledger(NODE, query) as answer:
                pages.extend([page async for page in answer])
        except UnavailableError:
            return False
        return True

    await eventually(answered, 10, "the agent connects and answers")
    return pages


def numbers(pages: list[agent_pb2.LedgerPage]) -> list[int]:
    return [uuid.UUID(entry.key_id).int for page in pages for entry in page.entries]


async def test_the_newest_lines_of_a_stream_come_oldest_first_in_pages(
    server: AdminServer, ledger: Ledger
) -> None:
    async with answering(server, ledger):
        everything = await ask(server, agent_pb2.LedgerQuery(stream="s", limit=1_000_000))
        assert numbers(everything) == list(range(1, 2500, 2))
        assert max(len(page.entries) for page in everything) == 1000
        assert [page.last for page in everything] == [False] * (len(everything) - 1) + [True]
        newest = await ask(server, agent_pb2.LedgerQuery(stream="t", limit=3))
        assert numbers(newest) == [2494, 2496, 2498]
        assert numbers(await ask(server, agent_pb2.LedgerQuery(stream="nobody", limit=3))) == []


async def test_only_lines_of_the_time_asked_for_come(server: AdminServer, ledger: Ledger) -> None:
    (*_, earlier, later) = (e for page in search.pages(ledger.directory, NODE, query()) for e in page.entries)
    async with answering(server, ledger):
        asked = query(earlier.time_unix_nanos, later.time_unix_nanos)
        assert [e.key_id for page in await ask(server, asked) for e in page.entries] == [earlier.key_id]
        assert numbers(await ask(server, query(later.time_unix_nanos + 1))) == []


def query(from_nanos: int = 0, to_nanos: int = 0) -> agent_pb2.LedgerQuery:
    return agent_pb2.LedgerQuery(
        stream="s", from_unix_nanos=from_nanos, to_unix_nanos=to_nanos, limit=1_000_000
    )


async def test_a_broken_chain_is_told_with_every_answer_and_nothing_is_held_back(
    server: AdminServer, ledger: Ledger
) -> None:
    ledger.record([a_key(9999)], Outcome.EXPIRED, is_master=False)
    ledger.close()
    (path,) = ledger.directory.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"sae-a"', b'"sae-x"', 1))
    again = Ledger(ledger.directory, NODE, keep=timedelta(days=1))
    async with answering(server, again):
        pages = await ask(server, query())
    assert all("does not follow" in page.problem for page in pages)
    last = [entry for page in pages for entry in page.entries][-1]
    assert (last.outcome, last.is_master) == (types_pb2.LEDGER_OUTCOME_EXPIRED, False)


async def test_a_query_that_is_cancelled_ends_and_others_are_still_answered(
    server: AdminServer, ledger: Ledger
) -> None:
    async with answering(server, ledger):
        await ask(server, query())
        with server.controller.inspection.ledger(NODE, query()):
            pass
        assert len(numbers(await ask(server, query()))) == 1250
