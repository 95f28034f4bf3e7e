"""An admin API over real sockets and mutual TLS, with a controller that only remembers."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from keyweave.cli.connection import CONTROLLER
from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.common.pki import Authority
from keyweave.common.tls import SERVER_OPTIONS, TlsFiles, secure_channel, server_credentials
from keyweave.controller import routing
from keyweave.controller.admin.event_hub import EventHub
from keyweave.controller.admin.service import AdminService
from keyweave.controller.agent_service import AgentService
from keyweave.controller.audit.calls import AuditInterceptor
from keyweave.controller.history.recorder import Recorder
from keyweave.controller.ingest import TelemetryIntake
from keyweave.controller.inspection import Inspection
from keyweave.controller.pairs.supply import PairSupply
from keyweave.controller.push import PolicyPusher
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import IntentStimulus, OrderPut, PairStreamDeleted, PairStreamPut
from keyweave.controller.store import Store
from keyweave.controller.topology import Plan, Snapshot, Status
from keyweave.controller.views import LinkStateView, NodeView, OrderView, PolicyRef, StreamView
from keyweave.v1 import admin_pb2_grpc, agent_pb2, agent_pb2_grpc, types_pb2
from tests.unit.networks import snapshot, stream

APPLIED = PolicyRef(epoch=1, version=4, digest=b"d" * 32)


def live_network() -> Snapshot:
    """Three nodes in a row and one stream across, as telemetry would have it."""
    return snapshot([("ab", "a", "b", 9000.0), ("bc", "b", "c", 1000.0)], [stream("s", "a", "c")])


@dataclass
class RememberingController:
    """A ControllerView that plans once and notes what it was given."""

    network: Snapshot = field(default_factory=live_network)
    read_only: bool = False
    warming_up: bool = False
    database_problem: str = ""
    epoch: int = 1
    planned_at: float = 12.5
    events: EventHub = field(default_factory=EventHub)
    submitted: list[IntentStimulus | OrderPut] = field(default_factory=list)
    # While clear, the core is busy: nothing that is submitted is handled.
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    # Set once something was submitted, handled or not.
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    # Set once somebody wanted to know of a node.
    looked_at: asyncio.Event = field(default_factory=asyncio.Event)
    connected: frozenset[str] = frozenset({"a", "b", "c"})
    # Nobody ever carries out an order here.
    given: list[OrderView] = field(default_factory=list)
    # Of a core that nothing ever happens to; set once there is a store.
    core: Core = field(init=False)
    history: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.idle.set()
        self.inspection = Inspection(known_node=self.knows)
        self.planned = routing.plan_streams(self.network, None, 1)

    def knows(self, node: NodeName) -> bool:
        return node in self.network.nodes

    def snapshot(self) -> Snapshot:
        return self.network

    def plan(self) -> Plan:
        return self.planned

    def node(self, name: NodeName) -> NodeView | None:
        self.looked_at.set()
        node = self.network.nodes.get(name)
        if node is None:
            return None
        return NodeView(node, connected=name in self.connected, desired=APPLIED, applied=APPLIED)

    def desired_rules(self, name: NodeName) -> tuple[bytes, ...]:
        rule = agent_pb2.Rule(rule_id="link/ab", link=agent_pb2.LinkRule(link="ab", abort_qber_ratio=0.11))
        return (rule.SerializeToString(),) if name == "a" else ()

    def link(self, name: LinkName) -> LinkStateView | None:
        view = self.network.links.get(name)
        if view is None:
            return None
        return LinkStateView(view, Status.ACTIVE, 14.5, 3.0, emulated=True, planned_bps=500.0)

    def stream(self, name: StreamName) -> StreamView | None:
        known = self.network.streams.get(name)
        plan = self.planned.streams.get(name)
        if known is None:
            return None
        return StreamView(known, plan, protection=types_pb2.PROTECTION_HYBRID, buffered_keys=3)

    def vendor_domains(self) -> Mapping[LinkName, str]:
        return {}

    def pairs(self) -> PairSupply:
        return self.core.pairs

    def orders(self) -> tuple[OrderView, ...]:
        return tuple(self.given)

    async def submit(self, stimulus: IntentStimulus | OrderPut) -> None:
        self.asked.set()
        await self.idle.wait()
        if isinstance(stimulus, OrderPut):
            self.given.append(OrderView(stimulus.order, stimulus.order.nodes))
        if isinstance(stimulus, PairStreamPut | PairStreamDeleted):
            self.core.handle(stimulus, time.time())
        self.submitted.append(stimulus)


@dataclass(frozen=True)
class AdminServer:
    """A running admin API and certificates for it."""

    address: str
    store: Store
    controller: RememberingController
    authority: Authority
    directory: Path

    def files(
        self,
        role: Role,
        *,
        name: str = "somebody",
        issuer: Authority | None = None,
        plane: Plane = Plane.CONTROL,
    ) -> TlsFiles:
        """A certificate of `role`, from the control plane's authority unless told otherwise."""
        stem = self.directory / f"{plane}-{role}-{name}{'-stranger' if issuer else ''}"
        files = TlsFiles(
            certificate=stem.with_suffix(".pem"),
            private_key=stem.with_suffix(".key"),
            trust_anchor=self.directory / "control-ca.pem",
        )
        credential = (issuer or self.authority).issue(Identity(plane, role, name))
        credential.write(files.certificate, files.private_key)
        return files

    @asynccontextmanager
    async def stub(
        self, role: Role = Role.OPERATOR, *, name: str = "somebody"
    ) -> AsyncIterator["admin_pb2_grpc.AdminServiceAsyncStub"]:
        """The API as somebody with `role` sees it."""
        async with secure_channel(self.address, self.files(role, name=name), CONTROLLER) as channel:
            yield admin_pb2_grpc.AdminServiceStub(channel)


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[AdminServer]:
    """An admin API whose database holds what the live network consists of, or what an earlier one left."""
    store = await Store.open(f"sqlite+aiosqlite:///{directory}/controller.db")
    if await store.claim_epoch("test") == 1:
        await _fill(store)
    controller = RememberingController(epoch=store.epoch, events=EventHub(await store.last_event_id()))
    core = Core(settings=CoreSettings(), planner=routing, epoch=store.epoch, stored=Rollout())
    controller.core = core
    controller.history = Recorder(core, store.history, time.time)
    service = AdminService(store, await store.load_intent(), controller)
    authority = Authority.create(Plane.CONTROL)
    (directory / "control-ca.pem").write_bytes(authority.credential.certificate)
    tls = TlsFiles(
        certificate=directory / "server.pem",
        private_key=directory / "server.key",
        trust_anchor=directory / "control-ca.pem",
    )
    authority.issue(CONTROLLER).write(tls.certificate, tls.private_key)
    audit = AuditInterceptor(store.audit, time.time)
    server = grpc.aio.server(interceptors=(ErrorInterceptor(), audit), options=SERVER_OPTIONS)
    admin_pb2_grpc.add_AdminServiceServicer_to_server(service, server)
    agents = AgentService(
        TelemetryIntake(known_node=controller.knows, submit=_ignore),
        PolicyPusher(epoch=1, lease_seconds=5, known_node=controller.knows, submit=_ignore),
        controller.inspection,
    )
    agent_pb2_grpc.add_AgentServiceServicer_to_server(agents, server)
    port = server.add_secure_port("127.0.0.1:0", server_credentials(tls))
    await server.start()
    try:
        yield AdminServer(f"127.0.0.1:{port}", store, controller, authority, directory)
    finally:
        controller.idle.set()
        controller.events.close()
        controller.inspection.stop()
        await server.stop(0)
        await service.close()
        await store.close()


async def _ignore(_stimulus: object) -> None:
    """The agents of these tests say nothing that the core would hear."""


async def _fill(store: Store) -> None:
    for name in ("a", "b", "c"):
        await store.put(types_pb2.Node(name=name, key_plane_address=f"{name}:7000"))
    technology = types_pb2.LINK_TECHNOLOGY_DV_QKD
    for name in ("ab", "bc"):
        link = types_pb2.Link(name=name, a_node=name[0], b_node=name[1], technology=technology, length_km=10)
        await store.put(link)
    await store.put(
        types_pb2.Stream(
            name="s",
            source_node="a",
            target_node="c",
            source_sae="s-source",
            target_sae="s-target",
            accept_strongest_available=True,
        )
    )
