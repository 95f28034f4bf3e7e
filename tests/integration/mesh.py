"""Several agents and an emulator in one process, over real sockets and mutual TLS, on policy written by hand.

No controller: the agents run by the policy on their disks, as they do while it is away.
"""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import structlog

from keyweave.agent import app
from keyweave.agent.app import Agent
from keyweave.agent.config import AgentConfig
from keyweave.agent.drivers.emulator import EMULATOR
from keyweave.agent.guard.model import Guard
from keyweave.agent.observer import Observer, PadUse
from keyweave.agent.policy import Policy, PolicyStore
from keyweave.cli.up.ports import Held, free
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority, serial_of
from keyweave.common.policy_digest import policy_digest
from keyweave.common.tls import SigningFiles, TlsFiles, secure_channel
from keyweave.emulator import app as emulator_app
from keyweave.emulator.config import EmulatorConfig
from keyweave.v1 import agent_pb2, emulator_pb2, emulator_pb2_grpc
from tests import guards
from tests.integration.mesh_policy import MeshStream, relay_rule, sae, stream_rule
from tests.integration.wire_between import Wire

POLL_SECONDS = 0.02
START_SECONDS = 60.0
HOST = "127.0.0.1"
CONTROLLER = "controller"
# The authority of the agents' signing keys, beside those of the planes.
SIGNING = "key-signing"


async def wait_until(condition: Callable[[], object], deadline_seconds: float, what: str) -> None:
    """Return once `condition` holds; AssertionError that names `what` after the deadline."""
    ends = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"not within {deadline_seconds:g} s: {what}")
        await asyncio.sleep(POLL_SECONDS)


# ---- what a mesh is made of --------------------------------------------------------------------


@dataclass(frozen=True)
class PadUsed:
    """A range of pad that an agent took."""

    node: str
    link: str
    pool_id: bytes
    first_lane: bool
    start: int
    end: int
    use: PadUse
    first_block: int
    block_bytes: int

    def blocks(self) -> Iterator[int]:
        """The device blocks that it lies in."""
        half = self.block_bytes // 2
        yield from range(self.first_block + self.start // half, self.first_block + (self.end - 1) // half + 1)


class Recording(Observer):
    """Remembers what all agents of a mesh irrevocably did, and whether their disks knew of it before."""

    def __init__(self, directory: Path) -> None:
        self.pads: list[PadUsed] = []
        self.blocks: list[tuple[str, str, int]] = []
        # What was done that a crash at that moment would have forgotten.
        self.not_durable: list[str] = []
        self._directory = directory

    def pad_used(self, **used: Any) -> None:
        """See Observer."""
        pad = PadUsed(**used)
        self.pads.append(pad)
        if pad.use is PadUse.SEND:
            journal = self._journal(pad.node, pad.link)
            reserved = journal["reserved"].get(pad.pool_id.hex(), [-1, -1])[0 if pad.first_lane else 1]
            if reserved < pad.end:
                self.not_durable.append(f"{pad}: {journal}")

    def block_taken(self, **taken: Any) -> None:
        """See Observer."""
        node, link, number = taken["node"], taken["link"], taken["number"]
        self.blocks.append((node, link, number))
        if self._journal(node, link)["highest_block"] < number:
            self.not_durable.append(f"block {number} of {link} at {node}")

    def _journal(self, node: str, link: str) -> dict[str, Any]:
        path = self._directory / node / "links" / f"{link}.json"
        nothing = {"highest_block": 0, "reserved": {}}
        journal: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else nothing
        return journal


@dataclass
class Running:
    """One agent that runs."""

    agent: Agent
    task: asyncio.Task[None]
    stop: asyncio.Event
    kme: str


@dataclass
class Mesh:
    """A running mesh. `agents` holds those that run, by node."""

    directory: Path
    links: tuple[str, ...]
    streams: tuple[MeshStream, ...]
    authorities: Mapping[Plane, Authority]
    # Of the agents' signing keys.
    signing: Authority
    ports: Mapping[str, int]
    wires: Mapping[tuple[str, str], Wire]
    recording: Recording
    agents: dict[str, Running] = field(default_factory=dict)
    # What each node's owner allows: everything, unless a test says otherwise before a start.
    guards: dict[str, Guard] = field(default_factory=dict)
    # Everything that the agents reported, by node, also before a restart.
    events: dict[str, list[agent_pb2.AgentEvent]] = field(default_factory=dict)
    # By node, another driver that measures its links; the emulator's then only gives their key.
    meters: dict[str, dict[str, Any]] = field(default_factory=dict)
    # By node, a driver of links that the emulator does not stand in for.
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    # What the scenario has besides its links, and the policy of each node besides what follows from streams.
    scenario: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, list[agent_pb2.Rule]] = field(default_factory=dict)
    emulator: str = ""
    _made: dict[str, Agent] = field(default_factory=dict)

    @property
    def nodes(self) -> list[str]:
        """All nodes."""
        return sorted({node for link in self.links for node in link.split("-")})

    @property
    def emulated(self) -> list[str]:
        """The links that the emulator stands in for."""
        others = {link for source in self.sources.values() for link in source["settings"]["links"]}
        return [link for link in self.links if link not in others]

    # ---- certificates -------------------------------------------------------------------------

    def files(self, identity: Identity, *, issuer: Authority | None = None) -> TlsFiles:
        """A certificate for `identity`, of its plane's authority unless told, on disk."""
        issuer = issuer or self.authorities[identity.plane]
        stem = self.directory / "pki" / f"{id(issuer)}-{identity.uri.replace('/', '_')}"
        files = TlsFiles(
            certificate=stem.with_suffix(".pem"),
            private_key=stem.with_suffix(".key"),
            trust_anchor=self.trust_anchor(identity.plane),
            revocation_list=self.revocation_list(identity.plane),
        )
        issuer.issue(identity, hosts=(HOST,)).write(files.certificate, files.private_key)
        return files

    def trust_anchor(self, plane: str) -> Path:
        """The certificate of a plane's authority."""
        return self.directory / "pki" / f"{plane}-ca.pem"

    def signing_files(self, node: str) -> SigningFiles:
        """A fresh enrolment of a node's agent, on disk."""
        stem = self.directory / "pki" / f"signing-{node}"
        files = SigningFiles(
            certificate=stem.with_suffix(".pem"),
            private_key=stem.with_suffix(".key"),
            trust_anchor=self.trust_anchor(SIGNING),
            revocation_list=self.revocation_list(SIGNING),
        )
        credential = self.signing.issue(Identity(Plane.KEY, Role.AGENT, node))
        credential.write(files.certificate, files.private_key)
        return files

    def revocation_list(self, plane: str) -> Path:
        """The revocation list of a plane's authority, or of the signing one."""
        return self.directory / "pki" / f"{plane}-crl.pem"

    def revoke(self, plane: str, *certificates: bytes) -> None:
        """Revoke certificates (PEM), and all that were revoked before no longer."""
        authority = self.signing if plane == SIGNING else self.authorities[Plane(plane)]
        serials = [serial_of(certificate) for certificate in certificates]
        self.revocation_list(plane).write_bytes(authority.revoke(serials, number=1))

    # ---- agents -------------------------------------------------------------------------------

    async def start(self, node: str) -> Agent:
        """Start an agent, on the state that it has on disk."""
        ready = self.directory / f"{node}-ready.json"
        ready.unlink(missing_ok=True)
        stop = asyncio.Event()
        task = asyncio.create_task(
            app.serve(self._config(node, ready), stop, self.recording), name=f"agent-{node}"
        )
        await wait_until(lambda: ready.exists() or task.done(), START_SECONDS, f"agent {node} is ready")
        if task.done():
            await task
        agent = self._made[node]
        self.agents[node] = Running(agent, task, stop, json.loads(ready.read_text("utf-8"))["kme"])
        return agent

    async def stop(self, node: str) -> None:
        """Stop an agent in order."""
        running = self.agents.pop(node)
        running.stop.set()
        await running.task

    def make_agent(self, config: AgentConfig, observer: Observer) -> Agent:
        """What `app.serve` makes its agent with here: the same, but the mesh can look at it."""
        agent = self._made[config.node] = Agent(config, observer)
        seen = self.events.setdefault(config.node, [])
        add_event = agent.uplink.ring.add_event

        def add(event: agent_pb2.AgentEvent) -> None:
            seen.append(event)
            add_event(event)

        agent.uplink.ring.add_event = add  # type: ignore[method-assign]
        return agent

    def _config(self, node: str, ready: Path) -> AgentConfig:
        control = self.files(Identity(Plane.CONTROL, Role.AGENT, node))
        return AgentConfig.model_validate(
            {
                "node": node,
                "state_dir": self.directory / node,
                # Nobody listens there: the controller is away.
                "controller": {"address": f"{HOST}:{self.ports[CONTROLLER]}"},
                "control_tls": control,
                "key_plane": {
                    "listen": f"{HOST}:{self.ports[node]}",
                    "tls": self.files(Identity(Plane.KEY, Role.AGENT, node)),
                    "signing": self.signing_files(node),
                },
                "kme": {"listen": f"{HOST}:0", "tls": self.files(Identity(Plane.SAE, Role.KME, node))},
                "drivers": self._drivers(node, control),
                "guard": guards.write(self.guards[node], self.directory / node / "guard.yaml"),
                "ready_file": ready,
                "log_level": "error",
            }
        )

    def _drivers(self, node: str, tls: TlsFiles) -> list[dict[str, Any]]:
        others = [self.sources[node]] if node in self.sources else []
        if not any(node in link.split("-") for link in self.emulated):
            return others
        settings = {"address": self.emulator, "tls": tls.model_dump(mode="json")}
        if node not in self.meters:
            return [{"driver": "emulator", "settings": settings}, *others]
        return [{"driver": "emulator", "only": "key", "settings": settings}, self.meters[node], *others]

    # ---- what a test looks at -----------------------------------------------------------------

    def plane(self, node: str) -> Any:
        """The key plane of a running agent."""
        return self.agents[node].agent.plane

    def ready_keys(self, node: str, stream: str = "s") -> int:
        """Keys that the SAE at a node could draw."""
        count: int = self.plane(node).store.ready(stream)
        return count

    def events_of(
        self, kind: agent_pb2.AgentEventKind, node: str | None = None
    ) -> list[agent_pb2.AgentEvent]:
        """What was reported of a kind, by one node or all."""
        nodes = self.nodes if node is None else [node]
        return [event for name in nodes for event in self.events.get(name, ()) if event.kind == kind]

    async def supplied(self, stream: str = "s", deadline_seconds: float = 60.0) -> None:
        """Both ends of a stream have keys ready."""
        ends = next(each for each in self.streams if each.name == stream).ends
        await wait_until(
            lambda: all(self.ready_keys(node, stream) >= 4 for node in ends),
            deadline_seconds,
            f"both ends of stream {stream} have keys",
        )

    # ---- SAEs ---------------------------------------------------------------------------------

    async def enc_keys(self, node: str, peer: str, number: int = 1) -> httpx.Response:
        """What the SAE at `node` gets as master for the one at `peer`."""
        return await self._ask(node, f"{sae(peer)}/enc_keys", {"number": number})

    async def dec_keys(self, node: str, peer: str, key_ids: Iterable[str]) -> httpx.Response:
        """What the SAE at `node` gets as slave of the one at `peer`."""
        wanted = [{"key_ID": key_id} for key_id in key_ids]
        return await self._ask(node, f"{sae(peer)}/dec_keys", {"key_IDs": wanted})

    async def pairs(self, node: str, stream: str, measure: dict[str, Any] | None = None) -> httpx.Response:
        """What the SAE at `node` gets of a pair stream, or of measuring a half that is kept."""
        async with self._client(node) as client:
            url = f"{self.agents[node].kme}/api/keyweave/v1/pairs/{stream}"
            return await (client.post(f"{url}/measure", json=measure) if measure else client.get(url))

    async def _ask(self, node: str, path: str, body: dict[str, Any]) -> httpx.Response:
        async with self._client(node) as client:
            return await client.post(f"{self.agents[node].kme}/api/v1/keys/{path}", json=body)

    def _client(self, node: str) -> httpx.AsyncClient:
        files = self.files(Identity(Plane.SAE, Role.SAE, sae(node)))
        context = ssl.create_default_context(cafile=str(files.trust_anchor))
        context.load_cert_chain(files.certificate, files.private_key)
        return httpx.AsyncClient(verify=context, trust_env=False, timeout=30)

    # ---- the optical plane --------------------------------------------------------------------

    async def fault(self, link: str, kind: emulator_pb2.FaultKind) -> None:
        """Bring a fault about."""
        fault = emulator_pb2.Fault(link=link, kind=kind)
        async with self._operating() as stub:
            await stub.InjectFault(emulator_pb2.InjectFaultRequest(fault=fault))

    async def restore(self, link: str) -> None:
        """End all faults of a link."""
        async with self._operating() as stub:
            await stub.RestoreLink(emulator_pb2.RestoreLinkRequest(link=link))

    @asynccontextmanager
    async def _operating(self) -> AsyncIterator[Any]:
        operator = self.files(Identity(Plane.CONTROL, Role.OPERATOR, "operator"))
        async with secure_channel(self.emulator, operator, EMULATOR) as channel:
            yield emulator_pb2_grpc.EmulatorServiceStub(channel)

    # ---- policy -------------------------------------------------------------------------------

    async def write_policy(self, node: str, version: int = 1) -> None:
        """Put a node's policy on its disk."""
        rules = list(self._rules(node))
        policy = Policy(1, version, policy_digest(rules), {rule.rule_id: rule for rule in rules})
        await PolicyStore(self.directory / node / "policy.json").save(policy)

    def _rules(self, node: str) -> Iterator[agent_pb2.Rule]:
        for peer in self.nodes:
            if peer != node:
                wire = self.wires.get((node, peer))
                address = wire.address if wire else f"{HOST}:{self.ports[peer]}"
                rule = agent_pb2.PeerRule(node=peer, key_plane_address=address)
                yield agent_pb2.Rule(rule_id=f"peer/{peer}", peer=rule)
        for link in self.links:
            if node in link.split("-"):
                (peer,) = set(link.split("-")) - {node}
                link_rule = agent_pb2.LinkRule(link=link, peer_node=peer, abort_qber_ratio=0.11)
                yield agent_pb2.Rule(rule_id=f"link/{link}", link=link_rule)
        for stream in self.streams:
            if node in stream.ends:
                rule_id = f"stream/{stream.name}"
                yield agent_pb2.Rule(rule_id=rule_id, stream=stream_rule(stream, node))
            for path_id, path in stream.paths.items():
                if node in path[1:-1] and node not in stream.forgotten_by:
                    rule_id = f"relay/{stream.name}/{path_id}"
                    yield agent_pb2.Rule(rule_id=rule_id, relay=relay_rule(stream, path_id, path, node))
        yield from self.rules.get(node, ())


# ---- bringing it up ----------------------------------------------------------------------------


@asynccontextmanager
async def running(
    directory: Path,
    links: tuple[str, ...],
    *streams: MeshStream,
    skr_bps: int = 100_000,
    wired: tuple[tuple[str, str], ...] = (),
    guarded: Mapping[str, Guard] | None = None,
    meters: Mapping[str, dict[str, Any]] | None = None,
    sources: Mapping[str, dict[str, Any]] | None = None,
    scenario: Mapping[str, Any] | None = None,
    rules: Mapping[str, list[agent_pb2.Rule]] | None = None,
) -> AsyncIterator[Mesh]:
    """A mesh whose links are named after their ends ("a-b"), all agents up.

    The pairs (dialler, dialled) in `wired` reach one another over a `Wire` that the test can freeze.
    """
    (directory / "pki").mkdir()
    authorities = {plane: Authority.create(plane) for plane in Plane}
    async with AsyncExitStack() as stack:
        stack.callback(structlog.reset_defaults)
        ports = _free_ports({CONTROLLER, *(node for link in links for node in link.split("-"))})
        stack.enter_context(Held()).hold(ports.values())
        wires = {pair: await stack.enter_async_context(Wire.between(HOST, ports[pair[1]])) for pair in wired}
        signing = Authority.create(Plane.KEY, signing=True)
        recording = Recording(directory)
        mesh = Mesh(directory, links, streams, authorities, signing, ports, wires, recording)
        mesh.meters, mesh.sources = dict(meters or {}), dict(sources or {})
        mesh.scenario, mesh.rules = dict(scenario or {}), dict(rules or {})
        mesh.guards = {node: guards.open_guard(node, mesh.nodes) for node in mesh.nodes} | dict(guarded or {})
        stack.enter_context(mock.patch.object(app, "Agent", mesh.make_agent))
        for plane, authority in authorities.items():
            mesh.trust_anchor(plane).write_bytes(authority.credential.certificate)
            mesh.revoke(plane)
        mesh.trust_anchor(SIGNING).write_bytes(signing.credential.certificate)
        mesh.revoke(SIGNING)
        if mesh.emulated:
            mesh.emulator = await stack.enter_async_context(_emulator(mesh, skr_bps))
        for node in mesh.nodes:
            await mesh.write_policy(node)
        stack.push_async_callback(_stop_all, mesh)
        await asyncio.gather(*(mesh.start(node) for node in mesh.nodes))
        yield mesh


async def _stop_all(mesh: Mesh) -> None:
    for running_agent in mesh.agents.values():
        running_agent.stop.set()
    await asyncio.gather(*(each.task for each in mesh.agents.values()))


@asynccontextmanager
async def _emulator(mesh: Mesh, skr_bps: int) -> AsyncIterator[str]:
    scenario = {
        "name": "mesh",
        "nodes": [{"name": node} for node in mesh.nodes],
        "links": [
            {
                "name": link,
                "a": link.split("-")[0],
                "b": link.split("-")[1],
                "technology": "DV-QKD",
                "length_km": 10,
                "loss_db": 5,
                "qber_ratio": 0.02,
                "skr_bps": skr_bps,
            }
            for link in mesh.emulated
        ],
        **mesh.scenario,
    }
    path, ready, stop = mesh.directory / "mesh.yaml", mesh.directory / "emulator.json", asyncio.Event()
    path.write_text(json.dumps(scenario), "utf-8")  # JSON is YAML
    config = EmulatorConfig(
        scenario=path, listen=f"{HOST}:0", tls=mesh.files(EMULATOR), ready_file=ready, log_level="error"
    )
    task = asyncio.create_task(emulator_app.serve(config, stop), name="emulator")
    await wait_until(lambda: ready.exists() or task.done(), START_SECONDS, "the emulator is ready")
    try:
        if not task.done():
            yield json.loads(ready.read_text("utf-8"))["emulator"]
    finally:
        stop.set()
        await task


def _free_ports(names: Iterable[str]) -> dict[str, int]:
    """A free port for every name, none twice."""
    ports: dict[str, int] = {}
    for name in sorted(names):
        ports[name] = free(ports.values())
    return ports
