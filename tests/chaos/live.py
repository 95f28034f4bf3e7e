"""A running network for tests: `keyweave up`'s own supervisor over test builds that record history."""

import asyncio
import json
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from keyweave.cli.connection import Network
from keyweave.cli.state_dir import StateDir
from keyweave.cli.up.layout import Layout
from keyweave.cli.up.supervisor import Supervisor
from keyweave.emulator.scenario import StreamSpec
from keyweave.v1 import admin_pb2, admin_pb2_grpc, emulator_pb2, emulator_pb2_grpc, types_pb2
from tests.builds import PROGRAM
from tests.checker import history, invariants
from tests.waiting import eventually

CONDITION = types_pb2.LinkCondition


@dataclass(frozen=True, slots=True)
class Fetched:
    """One key as an application got it at both ends, or the refusal."""

    status: int
    at: float
    stream: str
    keys: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    slave_keys: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    error: str = ""

    @property
    def ok(self) -> bool:
        """Both ends answered 200 and have the same keys."""
        return self.status == 200 and [k["key"] for k in self.keys] == [k["key"] for k in self.slave_keys]

    @property
    def protection(self) -> str:
        """What protects the first key."""
        return str(self.keys[0]["key_extension"]["keyweave_protection"]) if self.keys else ""

    @property
    def links(self) -> tuple[str, ...]:
        """Links the first key was relayed over."""
        return tuple(self.keys[0]["key_extension"]["keyweave_links"]) if self.keys else ()


class Live:
    """A network that is up, as its users see it."""

    def __init__(
        self,
        layout: Layout,
        history_dir: Path,
        admin: "admin_pb2_grpc.AdminServiceAsyncStub",
        emulator: "emulator_pb2_grpc.EmulatorServiceAsyncStub",
        stack: AsyncExitStack,
    ) -> None:
        self.layout = layout
        self.state: StateDir = layout.state
        self.admin = admin
        self.emulator = emulator
        self.streams: dict[str, StreamSpec] = {s.name: s for s in layout.scenario.streams}
        self.fetched: list[Fetched] = []
        self._history_dir = history_dir
        self._stack = stack
        self._clients: dict[str, httpx.AsyncClient] = {}

    # ---- applications -------------------------------------------------------------------------

    async def client(self, sae: str) -> httpx.AsyncClient:
        """An HTTP client with this SAE's certificate."""
        if sae not in self._clients:
            context = ssl.create_default_context(cafile=str(self.state.pki / "ca.pem"))
            context.load_cert_chain(self.state.sae_certificate(sae), self.state.sae_key(sae))
            client = httpx.AsyncClient(verify=context, timeout=5.0)
            self._clients[sae] = await self._stack.enter_async_context(client)
        return self._clients[sae]

    def url(self, node: str, peer_sae: str, method: str) -> str:
        """Where an SAE at `node` calls a method about `peer_sae`."""
        return f"{self.layout.endpoints.kme[node]}/api/v1/keys/{peer_sae}/{method}"

    async def encrypt_keys(self, stream: str, number: int = 1) -> httpx.Response:
        """The master's request."""
        spec = self.streams[stream]
        client = await self.client(spec.source_sae)
        url = self.url(spec.source_node, spec.target_sae, "enc_keys")
        return await client.post(url, json={"number": number})

    async def decrypt_keys(self, stream: str, key_ids: Sequence[str]) -> httpx.Response:
        """The slave's request."""
        spec = self.streams[stream]
        client = await self.client(spec.target_sae)
        url = self.url(spec.target_node, spec.source_sae, "dec_keys")
        return await client.post(url, json={"key_IDs": [{"key_ID": key_id} for key_id in key_ids]})

    async def fetch(self, stream: str, number: int = 1) -> Fetched:
        """Fetch at the master, then the same keys by ID at the slave."""
        at = time.time()
        try:
            answer = await self.encrypt_keys(stream, number)
            if answer.status_code != 200:
                result = Fetched(answer.status_code, at, stream, error=answer.text)
            else:
                keys = tuple(answer.json()["keys"])
                slave = await self.decrypt_keys(stream, [key["key_ID"] for key in keys])
                slave_keys = tuple(slave.json().get("keys", ()))
                result = Fetched(
                    slave.status_code, at, stream, keys, slave_keys, "" if slave_keys else slave.text
                )
        except httpx.TransportError as error:
            result = Fetched(0, at, stream, error=repr(error))
        self.fetched.append(result)
        return result

    @asynccontextmanager
    async def traffic(self, every_seconds: dict[str, float]) -> AsyncIterator[list[Fetched]]:
        """Fetch keys of these streams all the while; yields what they get, as it comes."""
        results: list[Fetched] = []

        async def application(stream: str, seconds: float) -> None:
            while True:
                results.append(await self.fetch(stream))
                # The application's own pace, within the stream's admitted rate.
                await asyncio.sleep(seconds)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(application(s, seconds)) for s, seconds in every_seconds.items()]
            try:
                yield results
            finally:
                for task in tasks:
                    task.cancel()

    # ---- operators ----------------------------------------------------------------------------

    async def status(self) -> admin_pb2.GetStatusResponse:
        """The network at a glance."""
        return await self.admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=5)

    async def condition(self, link: str) -> str:
        """A link's condition, in lower case."""
        for state in (await self.status()).links:
            if state.link.name == link:
                return CONDITION.Name(state.condition).removeprefix("LINK_CONDITION_").lower()
        raise AssertionError(f"no link {link}")

    async def wait_condition(self, link: str, wanted: str, within_seconds: float) -> None:
        """Wait until a link has a condition."""

        async def look() -> bool:
            return await self.condition(link) == wanted

        await eventually(look, within_seconds, f"link {link} {wanted}")

    async def wait_ready(self, within_seconds: float = 120.0) -> None:
        """Wait until every agent has its policy and every stream has a confirmed key ready."""

        async def look() -> bool:
            try:
                status = await self.status()
            except Exception:  # noqa: BLE001  # a controller that is just being restarted
                return False
            agents = all(
                n.connected and n.applied_policy.digest == n.desired_policy.digest for n in status.nodes
            )
            return agents and all(stream.buffered_keys > 0 for stream in status.streams)

        await eventually(look, within_seconds, "every agent in sync, every stream with keys")

    async def events(self, kind: str) -> list[admin_pb2.Event]:
        """Past events of one kind, oldest first."""
        request = admin_pb2.WatchEventsRequest(past=1000, past_only=True)
        return [r.event async for r in self.admin.WatchEvents(request) if r.event.kind == kind]

    async def fault(self, link: str, kind: "emulator_pb2.FaultKind", magnitude: float = 0.0) -> None:
        """Break a link."""
        fault = emulator_pb2.Fault(link=link, kind=kind, magnitude=magnitude)
        await self.emulator.InjectFault(emulator_pb2.InjectFaultRequest(fault=fault), timeout=5)

    async def cut(self, link: str) -> None:
        """Cut a fibre."""
        await self.fault(link, emulator_pb2.FAULT_KIND_CUT)

    async def fault_memories(self, node: str, kind: "emulator_pb2.FaultKind", magnitude: float) -> None:
        """Break quantum memories of a node."""
        fault = emulator_pb2.Fault(node=node, kind=kind, magnitude=magnitude)
        await self.emulator.InjectFault(emulator_pb2.InjectFaultRequest(fault=fault), timeout=5)

    async def restore(self, link: str) -> None:
        """End all faults of a link."""
        await self.emulator.RestoreLink(emulator_pb2.RestoreLinkRequest(link=link), timeout=5)

    # ---- processes ----------------------------------------------------------------------------

    def pid(self, process: str) -> int:
        """The process ID of `controller`, `emulator` or `agent-<node>` now."""
        return int(json.loads(self.state.processes_file.read_text(encoding="utf-8"))[process])

    def kill(self, process: str) -> int:
        """kill -9; returns the process ID that is gone. The supervisor starts it again."""
        pid = self.pid(process)
        os.kill(pid, signal.SIGKILL)
        return pid

    async def kill_for_good(self, process: str) -> None:
        """kill -9 in a network that does not restart, and wait until it is gone."""
        pid = self.kill(process)

        async def gone() -> bool:
            return process not in json.loads(self.state.processes_file.read_text(encoding="utf-8"))

        await eventually(gone, 60, f"{process} ({pid}) gone")

    def stop(self, process: str) -> Callable[[], None]:
        """SIGSTOP; returns how to let it go on."""
        pid = self.pid(process)
        os.kill(pid, signal.SIGSTOP)
        return lambda: os.kill(pid, signal.SIGCONT)

    async def wait_restarted(self, process: str, old_pid: int, within_seconds: float = 90.0) -> None:
        """Wait until a killed process has a successor that listens."""

        async def look() -> bool:
            try:
                return self.pid(process) != old_pid and self.state.ready(process).exists()
            except (KeyError, FileNotFoundError):
                return False

        await eventually(look, within_seconds, f"{process} started again")

    # ---- history ------------------------------------------------------------------------------

    def history(self) -> history.History:
        """What the agents have recorded so far."""
        return history.read(sorted(self._history_dir.glob("*.jsonl")))

    def violations(self) -> list[str]:
        """What the checker finds in it; every kind of record must be there, or it proves nothing."""
        past = self.history()
        for kind in (history.PadUsed, history.BlockTaken, history.KeyDelivered, history.PolicyApplied):
            assert past.of(kind), f"the history has no {kind.__name__}"
        return [str(violation) for violation in invariants.check(past)]


@asynccontextmanager
async def running(
    scenario: Path,
    root: Path,
    *,
    breakage: str = "",
    restart: bool = True,
    controllers: int = 1,
    database: str = "",
) -> AsyncIterator[Live]:
    """Bring a scenario up as real processes; everything is gone afterwards."""
    history_dir = root / "history"
    history_dir.mkdir(parents=True)
    os.environ["KEYWEAVE_TEST_HISTORY"] = str(history_dir)
    os.environ["KEYWEAVE_TEST_KEY"] = os.urandom(32).hex()
    os.environ["KEYWEAVE_TEST_BREAK"] = breakage
    up: asyncio.Future[Layout] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def when_up(layout: Layout) -> None:
        up.set_result(layout)
        await stop.wait()

    supervisor = Supervisor(
        scenario,
        root / "state",
        program=PROGRAM,
        controllers=controllers,
        database=database,
        restart=restart,
        tell=lambda _: None,
    )
    work = asyncio.create_task(supervisor.run(stop, when_up), name="network")
    try:
        both: set[asyncio.Future[Any]] = {work, up}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        layout = up.result()
        async with AsyncExitStack() as stack:
            network = Network(layout.state)
            admin = await stack.enter_async_context(network.admin())
            emulator = await stack.enter_async_context(network.emulator())
            live = Live(layout, history_dir, admin, emulator, stack)
            await live.wait_ready()
            yield live
    finally:
        stop.set()
        await work
