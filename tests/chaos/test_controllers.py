"""Three controllers on one PostgreSQL, real processes: whatever happens to one, keys and intent go on."""

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import grpc
import pytest
import pytest_asyncio

from keyweave.cli.connection import CONTROLLER, Network
from keyweave.common import log
from keyweave.common.tls import secure_channel
from keyweave.v1 import admin_pb2, admin_pb2_grpc, types_pb2
from tests.chaos.live import running
from tests.chaos.trio import SCENARIO, Trio
from tests.postgresql import PostgresServer
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]
PACE = {"quantum": 0.3, "anyhow": 0.3}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trio(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgresServer) -> AsyncIterator[Trio]:
    """Three nodes and three controllers for all tests of this file; the invariants must have held."""
    database = await postgresql.new_database()
    root = tmp_path_factory.mktemp("trio")
    async with running(SCENARIO, root, controllers=3, database=database) as live:
        yield Trio(live)
        assert live.violations() == []


@asynccontextmanager
async def no_key_fails(trio: Trio) -> AsyncIterator[None]:
    """Applications fetch at both ends meanwhile; each request is answered, at least some after the end."""
    async with trio.live.traffic(PACE) as results:
        yield
        seen = len(results)

        async def more() -> bool:
            return len(results) > seen + 4

        await eventually(more, 60, "keys afterwards")
    assert [r for r in results if not r.ok] == []


async def test_any_controller_leads_an_operator_to_the_one_that_leads(trio: Trio) -> None:
    leader = await trio.leader()
    for process, address in trio.addresses.items():
        assert trio.metric(process, "keyweave_controller_leads") == (process == leader)
        async with Network(trio.live.state, address).admin() as admin:
            assert (await admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=5)).epoch >= 1


async def test_the_leader_is_killed_no_key_fails_and_what_was_acknowledged_is_there(trio: Trio) -> None:
    await trio.settled()
    async with no_key_fails(trio):
        leader, epoch = await trio.leader(), (await trio.status()).epoch
        await trio.create("before")
        began = time.monotonic()
        trio.live.kill(leader)
        await trio.create("after")
        log.get().info("takeover", seconds=time.monotonic() - began)
        assert (await trio.status()).epoch == epoch + 1
        await trio.settled()
    assert {"before", "after"} <= await trio.streams()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that is stopped where it stands, and goes on afterwards as if nothing had been."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_leader_that_stops_and_goes_on_later_changes_nothing_any_more(trio: Trio) -> None:
    await trio.settled()
    old = await trio.leader()
    epoch = (await trio.status()).epoch
    pid = trio.live.pid(old)
    async with no_key_fails(trio):
        tls = trio.live.state.operator_tls()
        async with secure_channel(trio.addresses[old], tls, CONTROLLER) as channel:
            late: admin_pb2_grpc.AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)
            await late.ListNodes(admin_pb2.ListNodesRequest(), timeout=10)
            with stopped(pid):
                # Sent to the one that leads no more, and read by it only when it goes on.
                node = types_pb2.Node(name="too-late")
                write = late.CreateNode(admin_pb2.CreateNodeRequest(node=node), timeout=60)
                await trio.create("meanwhile")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await write
            assert refused.value.code() in {
                grpc.StatusCode.FAILED_PRECONDITION,
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.CANCELLED,
            }
        await trio.live.wait_restarted(old, pid)
        await trio.settled()
    assert await trio.leader() != old
    status = await trio.status()
    assert status.epoch == epoch + 1
    assert "too-late" not in {one.node.name for one in status.nodes}
    assert "meanwhile" in await trio.streams()


async def test_a_leader_that_is_told_to_stop_hands_over_at_once(trio: Trio) -> None:
    await trio.settled()
    old = await trio.leader()
    async with no_key_fails(trio):
        began = time.monotonic()
        os.kill(trio.live.pid(old), signal.SIGTERM)
        await trio.create("handed-over")
        log.get().info("handover", seconds=time.monotonic() - began)
        await trio.settled()
    assert "handed-over" in await trio.streams()


async def test_without_the_database_keys_go_on_and_no_change_is_acknowledged(
    trio: Trio, postgresql: PostgresServer
) -> None:
    await trio.settled()
    leader = await trio.leader()
    epoch = (await trio.status()).epoch
    tls = trio.live.state.operator_tls()
    async with no_key_fails(trio), secure_channel(trio.addresses[leader], tls, CONTROLLER) as channel:
        admin: admin_pb2_grpc.AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)
        postgresql.stop(mode="immediate")
        try:

            async def told() -> str:
                answer = await admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=10)
                return answer.database_problem

            await eventually(told, 60, "the status tells that the database is lost")
            assert trio.metric(leader, "keyweave_controller_database_reachable") == 0
            node = types_pb2.Node(name="unheard")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await admin.CreateNode(admin_pb2.CreateNodeRequest(node=node), timeout=60)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "database" in str(refused.value.details()) or "lease" in str(refused.value.details())
        finally:
            postgresql.start()

        async def writable() -> bool:
            try:
                await trio.create("afterwards")
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.ALREADY_EXISTS
            return True

        await eventually(writable, 90, "a change is taken again")
    status = await trio.status()
    assert "unheard" not in {one.node.name for one in status.nodes}
    assert "afterwards" in await trio.streams()
    outages = await _outages(trio)
    if status.epoch == epoch:
        assert outages[-2:] == ["major", "info"], "the same one leads on, and has told both"


async def _outages(trio: Trio) -> list[str]:
    request = admin_pb2.WatchEventsRequest(past=1000, past_only=True)
    async with trio.admin() as admin:
        events = [answer.event async for answer in admin.WatchEvents(request)]
    return [
        admin_pb2.EventSeverity.Name(event.severity).removeprefix("EVENT_SEVERITY_").lower()
        for event in events
        if event.kind == "database_outage"
    ]
