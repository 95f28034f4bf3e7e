"""A controller that stands by: who is told where the leader is, and how a command gets there."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from keyweave.cli.connection import CONTROLLER, Network
from keyweave.cli.exits import UnreachableError
from keyweave.cli.state_dir import StateDir
from keyweave.common.errors import NotLeaderError, leader_named_by
from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.identity import Role
from keyweave.common.tls import TlsFiles, secure_channel
from keyweave.controller.redirect import RedirectInterceptor
from keyweave.controller.rpc_server import ADMIN, AGENT, RpcServer
from keyweave.controller.security import ROLES
from keyweave.v1 import admin_pb2, admin_pb2_grpc, agent_pb2, agent_pb2_grpc
from tests.integration.admin_server import AdminServer, serving


class Standby:
    """One that stands by beside an admin server that leads."""

    def __init__(self, leading: AdminServer) -> None:
        self.leading = leading
        # Where it says that the leader is.
        self.leader = leading.address
        directory = leading.directory
        self.server = RpcServer(
            "127.0.0.1:0",
            TlsFiles(
                certificate=directory / "server.pem",
                private_key=directory / "server.key",
                trust_anchor=directory / "control-ca.pem",
            ),
            (ErrorInterceptor(), RedirectInterceptor(frozenset({ADMIN, AGENT}), self._refusal)),
            agent_pb2_grpc.AgentServiceServicer(),  # type: ignore[abstract]  # nothing of theirs is called
            admin_pb2_grpc.AdminServiceServicer(),  # type: ignore[abstract]
        )

    def _refusal(self) -> NotLeaderError:
        return NotLeaderError("this controller stands by", self.leader)

    def network(self, *addresses: str, seconds: float = 30.0) -> Network:
        """What a command makes of `--address`."""
        tls = self.leading.files(Role.OPERATOR)
        return Network(StateDir(Path("nowhere")), ",".join(addresses), tls, seconds)


@pytest.fixture
async def standby(tmp_path: Path) -> AsyncIterator[Standby]:
    async with serving(tmp_path) as leading:
        one = Standby(leading)
        await one.server.start(leads=False)
        yield one
        await one.server.stop(0)


async def _answer(channel: grpc.aio.Channel, service: str, rpc: str) -> grpc.aio.AioRpcError:
    """What a call with no content is answered, whatever its shape."""
    call = channel.unary_unary(f"/{service}/{rpc}", request_serializer=bytes, response_deserializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"", timeout=30)
    return refused.value


def _leader(error: grpc.aio.AioRpcError) -> str | None:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # has all that a call has
    return leader_named_by(status) if status is not None else None


def _calls() -> Iterator[tuple[str, str]]:
    agents = agent_pb2.DESCRIPTOR.services_by_name["AgentService"].methods_by_name
    for rpc in ROLES:
        yield (AGENT if rpc in agents else ADMIN), rpc


async def test_every_call_is_answered_with_the_leader_to_those_who_may_make_it_and_to_nobody_else(
    standby: Standby,
) -> None:
    told = grpc.StatusCode.UNAVAILABLE, standby.leader
    for role in (Role.OPERATOR, Role.VIEWER, Role.AGENT, Role.EMULATOR):
        files = standby.leading.files(role)
        async with secure_channel(standby.server.address, files, CONTROLLER) as channel:
            for service, rpc in _calls():
                error = await _answer(channel, service, rpc)
                expected = told if role in ROLES[rpc] else (grpc.StatusCode.PERMISSION_DENIED, None)
                assert (error.code(), _leader(error)) == expected, (role, rpc)


async def test_a_command_goes_where_it_is_sent_also_to_an_address_that_it_was_not_given(
    standby: Standby,
) -> None:
    assert await _nodes(standby, standby.server.address) == ["a", "b", "c"]


async def test_a_command_passes_by_a_controller_that_is_dead(standby: Standby) -> None:
    assert await _nodes(standby, "127.0.0.1:9", standby.server.address) == ["a", "b", "c"]


async def test_a_command_passes_by_a_controller_that_hangs(standby: Standby) -> None:
    # As a process does that is stopped: the kernel takes the connection, and that is all.
    with socket.create_server(("127.0.0.1", 0)) as hung:
        standby.leader = "{}:{}".format(*hung.getsockname())
        asking = asyncio.create_task(_nodes(standby, standby.leader, standby.server.address))
        await asyncio.sleep(0)
        standby.leader = standby.leading.address
        assert await asking == ["a", "b", "c"]


async def _nodes(standby: Standby, *addresses: str) -> list[str]:
    async with standby.network(*addresses).admin() as admin:
        answer = await admin.ListNodes(admin_pb2.ListNodesRequest(), timeout=30)
    return [status.node.name for status in answer.nodes]


async def test_a_command_waits_for_a_leader_and_says_in_the_end_that_there_is_none(standby: Standby) -> None:
    standby.leader = ""
    with pytest.raises(UnreachableError, match="this controller stands by"):
        async with standby.network(standby.server.address, seconds=0.5).admin():
            pass

    async def elected() -> None:
        await asyncio.sleep(0)
        standby.leader = standby.leading.address

    electing = asyncio.create_task(elected())
    assert await _nodes(standby, standby.server.address) == ["a", "b", "c"]
    await electing


async def test_health_checking_tells_who_leads_before_anything_is_asked(standby: Standby) -> None:
    files = standby.leading.files(Role.VIEWER)
    async with secure_channel(standby.server.address, files, CONTROLLER) as channel:
        stub: health_pb2_grpc.HealthStub = health_pb2_grpc.HealthStub(channel)
        found = [
            (await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)).status
            for service in ("", ADMIN, AGENT)
        ]
    status = health_pb2.HealthCheckResponse
    assert found == [status.SERVING, status.NOT_SERVING, status.NOT_SERVING]
