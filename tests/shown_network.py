"""A network as the live page sees it, without processes: planned by the real planner, told what to be."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from keyweave.common.file_watch import FileWatch
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import LinkName
from keyweave.common.pki import Authority
from keyweave.common.revocation import Trust
from keyweave.common.tls import TlsFiles
from keyweave.controller import routing
from keyweave.controller.admin.event_hub import EventHub
from keyweave.controller.config import ControllerConfig, PageConfig
from keyweave.controller.event_kinds import KindName
from keyweave.controller.events import Event, Severity
from keyweave.controller.intent import Intent
from keyweave.controller.page.face import Page
from keyweave.controller.page.scene import Observer
from keyweave.controller.pairs.supply import PairSupply
from keyweave.controller.topology import Condition, Plan, Snapshot, Status, Stream
from keyweave.controller.views import LinkStateView, NodeView, OrderView, StreamView
from keyweave.v1 import types_pb2
from tests.unit.networks import LinkRow, snapshot

SINCE = 1_799_999_000.0
REASONS = {
    Condition.OK: "both ends report",
    Condition.DOWN: "a and b lost the signal",
    Condition.SUSPECT: "QBER rose from 2 % to 6 % at once; loss and detectors are as before",
}


@dataclass
class ShownNetwork:
    """What `Observer` watches, and what it wants. Everything can be changed while it is shown."""

    rows: tuple[LinkRow, ...]
    streams_wanted: tuple[Stream, ...] = ()
    locations: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    owner: str = "a carrier"
    epoch: int = 3
    read_only: bool = False
    warming_up: bool = False
    planned_at: float = 1000.0
    events: EventHub = field(default_factory=EventHub)
    conditions: dict[str, Condition] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    now: float = 1_800_000_000.0
    qber_ratio: float = 0.021
    # What is known of entangled pairs; nothing unless a test brings it.
    pairs_known: PairSupply = field(default_factory=lambda: PairSupply({}, 0.0))
    # How often somebody looked.
    looks: int = 0

    def __post_init__(self) -> None:
        self._plan: Plan | None = None
        self.change()

    @property
    def overview(self) -> "ShownNetwork":
        """This one shows itself."""
        return self

    @property
    def intent(self) -> Intent:
        """As operators wrote it."""
        return self._intent

    def change(self) -> None:
        """Plan again, as things are now."""
        self._snapshot = snapshot(
            self.rows,
            self.streams_wanted,
            conditions=self.conditions,
            nodes=self.locations,
        )
        version = self._plan.version + 1 if self._plan else 1
        self._plan = routing.plan_streams(self._snapshot, self._plan, version)
        self._intent = Intent(
            nodes={
                name: _node(name, self.owner, self.locations.get(name, (0.0, 0.0)))
                for name in self._snapshot.nodes
            },
            links={
                LinkName(name): types_pb2.Link(name=name, a_node=a, b_node=b) for name, a, b, _ in self.rows
            },
            streams={
                one.name: types_pb2.Stream(name=one.name, tenant="a bank") for one in self.streams_wanted
            },
        )

    def put(self, link: str, condition: Condition) -> None:
        """Let a link be in another condition, streams planned anew, and say so."""
        old = self.conditions.get(link, Condition.OK)
        self.conditions[link] = condition
        self.change()
        severity = Severity.INFO if condition is Condition.OK else Severity.MAJOR
        self.say(
            "link_condition_changed", f"link '{link}' went from {old} to {condition}", severity, link=link
        )

    def say(
        self,
        kind: KindName,
        message: str,
        severity: Severity = Severity.INFO,
        *,
        link: str = "",
        stream: str = "",
    ) -> Event:
        """Publish an event."""
        event = self.events.number(Event(kind, severity, message, self.now, link=link, stream=stream))
        self.events.publish(event)
        return event

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def plan(self) -> Plan:
        assert self._plan is not None
        return self._plan

    def orders(self) -> tuple[OrderView, ...]:
        return ()

    def vendor_domains(self) -> Mapping[LinkName, str]:
        return {}

    def pairs(self) -> PairSupply:
        return self.pairs_known

    def nodes(self) -> tuple[NodeView, ...]:
        self.looks += 1
        return tuple(
            NodeView(
                node,
                connected=name not in self.away,
                connected_since=SINCE,
                software_version="0.1.0",
                in_sync=True,
            )
            for name, node in self._snapshot.nodes.items()
        )

    def links(self) -> tuple[LinkStateView, ...]:
        return tuple(self._link(name) for name in self._snapshot.links)

    def streams(self) -> tuple[StreamView, ...]:
        return tuple(self._stream(stream) for stream in self.streams_wanted)

    def _link(self, name: LinkName) -> LinkStateView:
        view = self._snapshot.links[name]
        suspect = view.condition is Condition.SUSPECT
        return LinkStateView(
            view=replace(view, reason=REASONS.get(view.condition, view.reason), qber_ratio=self.qber_ratio),
            status=Status.ACTIVE,
            loss_db=9.5,
            condition_since=SINCE,
            emulated=True,
            planned_bps=view.usable_rate_bps / 3,
            diagnosis="interception" if suspect else "",
            evidence=("QBER +4.0 points since 12:00:03", "loss unchanged") if suspect else (),
        )

    def _stream(self, stream: Stream) -> StreamView:
        plan = self.plan().streams.get(stream.name)
        first = [one for one in plan.path_sets if one.rank == 0] if plan else []
        protection = types_pb2.PROTECTION_HYBRID if first else types_pb2.PROTECTION_PQC
        return StreamView(
            stream,
            plan,
            protection=protection,
            path_ids=tuple(path.path_id for one in first for path in one.paths),
            delivered_bps=0.9 * plan.rate_bps if plan else 0.0,
            buffered_keys=12,
            served_hybrid_total=1234,
        )


def _node(name: str, owner: str, location: tuple[float, float]) -> types_pb2.Node:
    latitude, longitude = location
    return types_pb2.Node(
        name=name,
        owner=owner,
        location=name.title(),
        latitude_degrees=latitude,
        longitude_degrees=longitude,
    )


def control_plane(directory: Path) -> tuple[TlsFiles, Authority]:
    """A controller's certificate, and the authority that issues others of its plane."""
    authority = Authority.create(Plane.CONTROL)
    tls = TlsFiles(
        certificate=directory / "controller.pem",
        private_key=directory / "controller.key",
        trust_anchor=directory / "control-ca.pem",
    )
    tls.trust_anchor.write_bytes(authority.credential.certificate)
    identity = Identity(Plane.CONTROL, Role.CONTROLLER, "controller")
    authority.issue(identity).write(tls.certificate, tls.private_key)
    return tls, authority


@asynccontextmanager
async def shown(
    network: ShownNetwork, tls: TlsFiles, config: PageConfig | None = None, trust: Trust | None = None
) -> AsyncIterator[Page]:
    """The page of a network, as it listens."""
    observer = Observer(network, lambda: network.intent)
    controller = ControllerConfig(state_dir=tls.certificate.parent, tls=tls, page=config or PageConfig())
    page = Page(controller, observer, trust or Trust("control", tls), lambda: network.now)
    async with asyncio.TaskGroup() as tasks:
        await page.start(FileWatch(), tasks)
        try:
            yield page
        finally:
            await page.close()
