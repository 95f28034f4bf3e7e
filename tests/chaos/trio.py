"""A running network with several controllers: which of them leads, by their own words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import grpc
from grpc_status import rpc_status

from keyweave.cli.connection import CONTROLLER, Network
from keyweave.common.errors import leader_named_by
from keyweave.common.tls import secure_channel
from keyweave.v1 import admin_pb2, admin_pb2_grpc, types_pb2
from tests.chaos.live import Live
from tests.waiting import eventually

SCENARIO = Path(__file__).with_name("triangle.yaml")
LEADS = "leads"
PROCESSES = ("controller", "controller-2", "controller-3")


class Trio:
    """A network with three controllers, and which of them does what."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.addresses = dict(zip(PROCESSES, live.layout.endpoints.controllers, strict=True))

    @asynccontextmanager
    async def admin(self) -> AsyncIterator["admin_pb2_grpc.AdminServiceAsyncStub"]:
        """The leader, as any command finds it."""
        async with Network(self.live.state).admin() as admin:
            yield admin

    async def status(self) -> admin_pb2.GetStatusResponse:
        async with self.admin() as admin:
            return await admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=5)

    async def said_by(self, process: str) -> str:
        """LEADS, where it says that the leader is, or empty where it tells neither."""
        tls = self.live.state.operator_tls()
        async with secure_channel(self.addresses[process], tls, CONTROLLER) as channel:
            stub: admin_pb2_grpc.AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)
            try:
                await stub.ListNodes(admin_pb2.ListNodesRequest(), timeout=5)
            except grpc.aio.AioRpcError as error:
                status = rpc_status.from_call(error)  # type: ignore[arg-type]  # has all that a call has
                return (leader_named_by(status) or "") if status is not None else ""
        return LEADS

    async def leader(self) -> str:
        """The process that leads, once one does and the others say that it does."""
        found = ""

        async def agreed() -> bool:
            nonlocal found
            said = {each: await self.said_by(each) for each in PROCESSES}
            found = next((each for each, answer in said.items() if answer == LEADS), "")
            return bool(found) and list(said.values()).count(self.addresses[found]) == len(PROCESSES) - 1

        await eventually(agreed, 90, "one leads, two stand by and name it")
        return found

    async def settled(self) -> None:
        """All agents follow the leader, and every stream has keys."""

        async def look() -> bool:
            status = await self.status()
            agents = all(
                node.connected and node.applied_policy.epoch == status.epoch for node in status.nodes
            )
            return agents and all(stream.buffered_keys for stream in status.streams)

        await eventually(look, 120, "every agent at the leader, every stream with keys")

    async def create(self, name: str) -> None:
        """A stream that is acknowledged when this returns."""
        stream = types_pb2.Stream(
            name=name,
            source_node="b",
            target_node="c",
            source_sae=f"{name}-b",
            target_sae=f"{name}-c",
            accept_strongest_available=True,
        )
        async with self.admin() as admin:
            await admin.CreateStream(admin_pb2.CreateStreamRequest(stream=stream), timeout=10)

    async def streams(self) -> set[str]:
        return {one.stream.name for one in (await self.status()).streams}

    def metric(self, process: str, name: str) -> float:
        urls = (self.live.layout.endpoints.metrics, *self.live.layout.endpoints.further_metrics)
        url = dict(zip(PROCESSES, urls, strict=True))[process]
        with urlopen(url, timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[1])
        raise AssertionError(f"{process} has no {name}")
