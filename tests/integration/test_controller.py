"""The controller as a whole: real store, real sockets, mutual TLS; agents are a few lines each."""

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from keyweave.agent.policy import Policy, next_policy
from keyweave.common.errors import FencedError
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.common.pki import Authority, serial_of
from keyweave.common.tls import TlsFiles, secure_channel
from keyweave.controller.app import serve
from keyweave.controller.config import ControllerConfig
from keyweave.controller.store import Store
from keyweave.v1 import admin_pb2, admin_pb2_grpc, agent_pb2, agent_pb2_grpc, types_pb2
from tests.guards import open_guard
from tests.waiting import eventually

CONTROLLER = Identity(Plane.CONTROL, Role.CONTROLLER, "controller")
OPERATOR = Identity(Plane.CONTROL, Role.OPERATOR, "olga")
LINKS = (("a-m", "a", "m"), ("b-m", "b", "m"), ("a-n", "a", "n"), ("b-n", "b", "n"))
STREAM = types_pb2.Stream(
    name="s", source_node="a", target_node="b", source_sae="x", target_sae="y",
    max_rate_bps=1000, require_qkd=True,
)  # fmt: skip
ROWS = 5
INTERVAL_SECONDS = 0.1


@dataclass
class Agent:
    """Keeps its policy, across connections, and measures its links while connected."""

    name: str
    links: tuple[str, ...]
    policy: Policy = field(default_factory=Policy)
    # What it was sent, heartbeats included.
    received: list[str] = field(default_factory=list)
    dark: set[str] = field(default_factory=set)
    sequence: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, address: str, tls: TlsFiles) -> None:
        """One connection: both streams, until it breaks or the task is cancelled."""
        async with secure_channel(address, tls, CONTROLLER) as channel:
            stub: agent_pb2_grpc.AgentServiceAsyncStub = agent_pb2_grpc.AgentServiceStub(channel)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._obey(stub))
                group.create_task(self._measure(stub))

    async def _obey(self, stub: "agent_pb2_grpc.AgentServiceAsyncStub") -> None:
        call = stub.Policy()  # type: ignore[call-arg]  # written to, not iterated over
        hello = agent_pb2.PolicyHello(
            node=self.name,
            incarnation=b"i" * 16,
            have=self.policy.as_version(),
            highest_epoch=self.policy.epoch,
        )
        await call.write(agent_pb2.PolicyRequest(hello=hello))
        async for push in call:
            guard = open_guard(self.name, "abmn")
            self.policy = next_policy(NodeName(self.name), self.policy, self.policy.epoch, push, guard)
            kind = push.WhichOneof("kind")
            self.received.append(str(kind))
            if kind != "heartbeat":
                ack = agent_pb2.PolicyAck(nonce=push.nonce, version=self.policy.as_version())
                await call.write(agent_pb2.PolicyRequest(ack=ack))
            self.changed.set()

    async def _measure(self, stub: "agent_pb2_grpc.AgentServiceAsyncStub") -> None:
        call = stub.Telemetry()  # type: ignore[call-arg]  # written to, not iterated over
        hello = agent_pb2.TelemetryHello(node=self.name, incarnation=b"i" * 16)
        await call.write(agent_pb2.TelemetryRequest(hello=hello))
        async for _ in call:  # each acknowledgement, the first one included, lets it send once more
            self.sequence += 1
            batch = agent_pb2.TelemetryBatch(links=[self._samples(link) for link in self.links])
            await call.write(agent_pb2.TelemetryRequest(sequence=self.sequence, batch=batch))
            await asyncio.sleep(INTERVAL_SECONDS)  # the pace of the device, not a synchronisation

    def _samples(self, link: str) -> agent_pb2.LinkSamples:
        dark = link in self.dark
        interval = INTERVAL_SECONDS / ROWS

        def column(value: float) -> bytes:
            return struct.pack(f"<{ROWS}f", *([value] * ROWS))

        return agent_pb2.LinkSamples(
            link=link,
            start_unix_nanos=time.time_ns() - int(INTERVAL_SECONDS * 1e9),
            interval_micros=round(interval * 1e6),
            rows=ROWS,
            qber_ratio=column(0.5 if dark else 0.02),
            skr_bps=column(0.0 if dark else 5000.0),
            sifted_rate_bps=column(50_000.0),
            loss_db=column(10.0),
            status=types_pb2.LINK_STATUS_OFF if dark else types_pb2.LINK_STATUS_ACTIVE,
        )

    def stream(self) -> agent_pb2.StreamRule:
        return (
            self.policy.rules["stream/s"].stream
            if "stream/s" in self.policy.rules
            else agent_pb2.StreamRule()
        )

    def first_hops(self) -> set[str]:
        """Transit nodes of the paths that may be used first."""
        return {p.hops[0].to_node for s in self.stream().path_sets if s.rank == 0 for p in s.paths}

    async def until(self, holds: "Callable[[Agent], bool]") -> None:
        """Wait for the policy that fits."""
        async with asyncio.timeout(20):
            while not holds(self):
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Site:
    """Certificates and a state directory for one controller after the other."""

    directory: Path
    authority: Authority

    def files(self, identity: Identity) -> TlsFiles:
        stem = self.directory / identity.uri.replace("/", "_")
        files = TlsFiles(
            certificate=stem.with_suffix(".pem"),
            private_key=stem.with_suffix(".key"),
            trust_anchor=self.directory / "ca.pem",
            revocation_list=self.directory / "crl.pem",
        )
        if not files.certificate.exists():
            self.authority.issue(identity).write(files.certificate, files.private_key)
        return files

    def revoke(self, *identities: Identity) -> None:
        """Put certificates on the revocation list, and take all others off."""
        serials = [serial_of(self.files(each).certificate.read_bytes()) for each in identities]
        (self.directory / "crl.pem").write_bytes(self.authority.revoke(serials, number=1))

    @asynccontextmanager
    async def controller(self, **settings: Any) -> AsyncIterator["Running"]:
        """A controller on this site's store, with these settings; stopped in order at the end."""
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        config = ControllerConfig(
            state_dir=self.directory / "state",
            tls=self.files(CONTROLLER),
            ready_file=ready,
            lease_seconds=0.9,
            warmup_seconds=60.0,
            **settings,
        )
        stop = asyncio.Event()
        task = asyncio.create_task(serve(config, stop))
        while not ready.exists():  # what another process would look for as well
            done, _ = await asyncio.wait({task}, timeout=0.02)
            assert not done, task.exception()
        addresses = json.loads(ready.read_text())
        channel = secure_channel(addresses["admin"], self.files(OPERATOR), CONTROLLER)
        try:
            yield Running(self, addresses["admin"], addresses["metrics"], channel, task)
        finally:
            await channel.close(None)
            stop.set()
            if not task.done():
                await task


@dataclass
class Running:
    """A controller that runs."""

    site: Site
    address: str
    metrics: str
    channel: grpc.aio.Channel
    task: "asyncio.Task[None]"

    @property
    def admin(self) -> "admin_pb2_grpc.AdminServiceAsyncStub":
        return admin_pb2_grpc.AdminServiceStub(self.channel)

    async def create_network(self) -> None:
        for name in "abmn":
            node = types_pb2.Node(name=name, key_plane_address=f"{name}.example:7000")
            await self.admin.CreateNode(admin_pb2.CreateNodeRequest(node=node))
        for name, a, b in LINKS:
            link = types_pb2.Link(
                name=name, a_node=a, b_node=b, technology=types_pb2.LINK_TECHNOLOGY_DV_QKD, length_km=10
            )
            await self.admin.CreateLink(admin_pb2.CreateLinkRequest(link=link))
        await self.admin.CreateStream(admin_pb2.CreateStreamRequest(stream=STREAM))

    @asynccontextmanager
    async def connected(self, agents: dict[str, Agent]) -> AsyncIterator[None]:
        """All agents dial; they hang up at the end."""
        tasks = [
            asyncio.create_task(
                agent.run(self.address, self.site.files(Identity(Plane.CONTROL, Role.AGENT, name)))
            )
            for name, agent in agents.items()
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def events(self) -> list[str]:
        request = admin_pb2.WatchEventsRequest(past=1000, past_only=True)
        return [response.event.kind async for response in self.admin.WatchEvents(request)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    authority = Authority.create(Plane.CONTROL)
    (tmp_path / "ca.pem").write_bytes(authority.credential.certificate)
    made = Site(tmp_path, authority)
    made.revoke()
    return made


@pytest.fixture
def agents() -> dict[str, Agent]:
    return {
        name: Agent(name, tuple(link for link, a, b in LINKS if name in (a, b)))
        for name in ("a", "b", "m", "n")
    }


async def test_telemetry_in_routes_out_policy_pushed_and_healed_when_a_link_dies(
    site: Site, agents: dict[str, Agent]
) -> None:
    async with site.controller() as controller:
        await controller.create_network()
        async with controller.connected(agents):
            await agents["a"].until(lambda agent: bool(agent.first_hops()))
            (over,) = agents["a"].first_hops()
            other = "n" if over == "m" else "m"
            for name in ("a", over):
                agents[name].dark.add(f"a-{over}")
            await agents["a"].until(lambda agent: agent.first_hops() == {other})
            await agents["b"].until(lambda agent: agent.first_hops() == {other})
            status = await controller.admin.GetStatus(admin_pb2.GetStatusRequest())
        conditions = {link.link.name: link.condition for link in status.links}
        assert conditions[f"a-{over}"] == types_pb2.LINK_CONDITION_DOWN
        assert {"agent_connected", "link_condition_changed", "plan_changed"} <= set(await controller.events())


async def test_a_restarted_controller_sends_heartbeats_only_and_knows_what_it_was_told(
    site: Site, agents: dict[str, Agent]
) -> None:
    async with site.controller() as controller:
        await controller.create_network()
        async with controller.connected(agents):
            for name in "ab":  # both ways: the one in use and the backup
                await agents[name].until(lambda agent: len(agent.stream().path_sets) == 2)
            stable = [agent.policy.digest for agent in agents.values()]
    for agent in agents.values():
        agent.received.clear()
    async with site.controller() as controller:
        status = await controller.admin.GetStatus(admin_pb2.GetStatusRequest())
        assert status.epoch == 2
        assert status.warming_up
        assert [stream.stream.name for stream in status.streams] == ["s"]
        silent = {name: agents[name] for name in ("a", "b", "m")}  # n is away: the stored plan stands
        async with controller.connected(silent):
            for agent in silent.values():
                await agent.until(lambda agent: agent.received.count("heartbeat") >= 3)
                assert set(agent.received) == {"heartbeat"}
                assert agent.policy.epoch == 2
        assert [agent.policy.digest for agent in agents.values()] == stable


async def test_an_older_controller_ends_once_a_newer_one_has_claimed_the_store(
    site: Site, agents: dict[str, Agent]
) -> None:
    async with site.controller() as controller:
        await controller.create_network()
        newer = await Store.open(f"sqlite+aiosqlite:///{site.directory / 'state' / 'controller.db'}")
        assert await newer.claim_epoch("newer") == 2
        await newer.close()
        # The first thing that must be written down ends it: here, that an agent has connected.
        async with controller.connected({"a": agents["a"]}):
            with pytest.raises(FencedError, match="newer"):
                await controller.task
        assert agents["a"].received == []


async def test_the_process_tells_that_it_is_healthy_and_what_it_measures(site: Site) -> None:
    async with site.controller() as controller:
        await controller.create_network()
        health: health_pb2_grpc.HealthStub = health_pb2_grpc.HealthStub(controller.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="keyweave.v1.AgentService"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        async with aiohttp.ClientSession() as session, session.get(controller.metrics) as response:
            page = await response.text()
    for line in (
        'keyweave_link_condition{condition="stale",link="a-m"} 1.0',
        'keyweave_link_usable_rate_bps{link="a-m"} 0.0',
        'keyweave_stream_planned_rate_bps{stream="s"}',
        'keyweave_stream_protection{protection="none",stream="s"}',
        'keyweave_agent_connected{node="a"} 0.0',
        'keyweave_queue_depth{queue="stimuli"}',
        "keyweave_controller_epoch 1.0",
        "keyweave_controller_read_only 0.0",
    ):
        assert line in page
    assert 'keyweave_link_qber_ratio{link="a-m"}' not in page, "nothing was measured"
    assert "example" not in page, "addresses are no labels"


async def test_a_revoked_agent_loses_both_streams_and_a_revoked_operator_every_call(
    site: Site, agents: dict[str, Agent]
) -> None:
    async with site.controller() as controller:
        await controller.create_network()
        async with controller.connected(agents):
            await agents["a"].until(lambda agent: bool(agent.first_hops()))
            await agents["b"].until(lambda agent: bool(agent.first_hops()))
            certificate = site.files(Identity(Plane.CONTROL, Role.AGENT, "c"))
            site.revoke(Identity(Plane.CONTROL, Role.AGENT, "m"), Identity(Plane.CONTROL, Role.AGENT, "c"))

            async def lost() -> bool:
                return "agent_lost" in await controller.events()

            await eventually(lost, 10, "m is lost")
            status = await controller.admin.GetStatus(admin_pb2.GetStatusRequest())
            assert {node.node.name for node in status.nodes if not node.connected} == {"m"}
            with pytest.raises(ExceptionGroup, match="unhandled"):
                await Agent("c", ()).run(controller.address, certificate)
            site.revoke(OPERATOR)

            async def refusal() -> grpc.aio.AioRpcError | None:
                try:
                    await controller.events()
                except grpc.aio.AioRpcError as error:
                    return error
                return None

            refused = await eventually(refusal, 10, "the operator is refused")
            assert refused is not None
            assert refused.code() is grpc.StatusCode.PERMISSION_DENIED
            assert "revoked" in str(refused.details())
