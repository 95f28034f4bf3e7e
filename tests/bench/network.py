"""A whole network of the product's own processes, for measuring; and what its agents count."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc

from keyweave.cli.connection import Network
from keyweave.cli.up.layout import Layout
from keyweave.cli.up.supervisor import PROGRAM, Supervisor
from keyweave.v1 import admin_pb2, admin_pb2_grpc, emulator_pb2_grpc

SUPPLIED_SECONDS = 60.0
_POLL_SECONDS = 0.02
SCENARIOS = Path(__file__).parent / "scenarios"
_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'([a-z_]+)="([^"]*)"')

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(slots=True)
class Running:
    """A network that is up."""

    layout: Layout
    admin: "admin_pb2_grpc.AdminServiceAsyncStub"
    emulator: "emulator_pb2_grpc.EmulatorServiceAsyncStub"
    http: aiohttp.ClientSession = field(repr=False)

    async def samples(self, node: str) -> Samples:
        """Everything that a node's agent counts, now."""
        async with self.http.get(self.layout.endpoints.agent_metrics[node]) as answer:
            return parsed(await answer.text())

    async def supplied(self, within_seconds: float = SUPPLIED_SECONDS) -> admin_pb2.GetStatusResponse:
        """Wait until every agent has its policy and every stream has keys at both ends."""
        return await self.until(serving, within_seconds, "every agent in sync, every stream with keys")

    async def until(
        self, wanted: Callable[[admin_pb2.GetStatusResponse], bool], within_seconds: float, what: str
    ) -> admin_pb2.GetStatusResponse:
        """The first status that is as wanted."""
        deadline = time.monotonic() + within_seconds
        while (status := await self._status()) is None or not wanted(status):
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {within_seconds:g} s: {what}")
            await asyncio.sleep(_POLL_SECONDS)
        return status

    async def _status(self) -> admin_pb2.GetStatusResponse | None:
        """The status; None while fifty processes that start leave the controller no time to answer."""
        try:
            return await self.admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=10, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return None
            raise


def serving(status: admin_pb2.GetStatusResponse) -> bool:
    """Whether every agent has applied its policy and every stream has keys."""
    return all(
        node.connected and node.applied_policy.digest == node.desired_policy.digest for node in status.nodes
    ) and all(stream.buffered_keys > 0 for stream in status.streams)


def parsed(exposition: str) -> Samples:
    """The samples of a Prometheus text exposition."""
    return {
        (match["name"], frozenset(_LABEL.findall(match["labels"] or ""))): float(match["value"])
        for match in _SAMPLE.finditer(exposition)
    }


def of(samples: Samples, name: str, **labels: str) -> float:
    """One sample; 0 where it is not there (yet)."""
    return samples.get((name, frozenset(labels.items())), 0.0)


def buckets(samples: Samples, name: str, **labels: str) -> dict[float, float]:
    """A histogram: cumulative counts by upper bound."""
    found = {}
    for (sample, pairs), value in samples.items():
        if sample == f"{name}_bucket" and labels.items() <= dict(pairs).items():
            found[float(dict(pairs)["le"])] = value
    return found


@asynccontextmanager
async def up(
    scenario: Path,
    root: Path,
    *,
    program: Sequence[str] = PROGRAM,
    restart: bool = True,
    tell: Callable[[str], None] = lambda _line: None,
) -> AsyncIterator[Running]:
    """Bring a scenario up; nothing of it is left afterwards."""
    laid_out: asyncio.Future[Layout] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def when_up(layout: Layout) -> None:
        laid_out.set_result(layout)
        await stop.wait()

    supervisor = Supervisor(scenario, root, program=program, restart=restart, tell=tell)
    work = asyncio.create_task(supervisor.run(stop, when_up), name="network")
    try:
        either: set[asyncio.Future[Any]] = {work, laid_out}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        layout = laid_out.result()
        async with AsyncExitStack() as stack:
            network = Network(layout.state)
            yield Running(
                layout,
                await stack.enter_async_context(network.admin()),
                await stack.enter_async_context(network.emulator()),
                await stack.enter_async_context(aiohttp.ClientSession()),
            )
    finally:
        stop.set()
        await work
