"""A scenario file: a network as the papers describe it, and the streams to run over it.

The emulator takes its links from it, `keyweave up` the nodes, ports and streams. The fields mean what
their namesakes in proto/keyweave/v1/types.proto mean. Every figure of a link should say in `source` where
it is from, or that it is assumed.
"""

import math
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from keyweave.common import settings
from keyweave.common.names import LinkName, NodeName
from keyweave.emulator.faults import unfit
from keyweave.emulator.hardware import (
    CalibrationSpec,
    DetectorSpec,
    DriftSpec,
    Name,
    Part,
    ProtocolSpec,
    check_choice,
)
from keyweave.emulator.memories import specs as pair_specs
from keyweave.emulator.memories.specs import MemoriesSpec, PairLinkSpec, PairStreamSpec
from keyweave.emulator.physics.anchored import AnchoredPoint, OperatingPoint
from keyweave.emulator.physics.channel import Channel
from keyweave.emulator.physics.link import Devices
from keyweave.emulator.physics.satellite import Downlink
from keyweave.emulator.satellites import SatelliteSpec, SkySpec, check_way
from keyweave.emulator.timeline import TimelineEntry, misfits
from keyweave.v1 import emulator_pb2, types_pb2

Port = Annotated[int, Field(ge=1, le=65535)]
Technology = Literal["DV-QKD", "DV-QKD-COW", "DV-QKD-2Ws", "CV-QKD"]

# Shor-Preskill bound of BB84: no secret key above it.
DEVICE_ABORT_QBER_RATIO = 0.11

_TECHNOLOGIES: dict[Technology, types_pb2.LinkTechnology] = {
    "DV-QKD": types_pb2.LINK_TECHNOLOGY_DV_QKD,
    "DV-QKD-COW": types_pb2.LINK_TECHNOLOGY_DV_QKD_COW,
    "DV-QKD-2Ws": types_pb2.LINK_TECHNOLOGY_DV_QKD_2WS,
    "CV-QKD": types_pb2.LINK_TECHNOLOGY_CV_QKD,
}
_ON_EXHAUSTION: dict[str | None, types_pb2.OnExhaustion] = {
    None: types_pb2.ON_EXHAUSTION_UNSPECIFIED,
    "wait": types_pb2.ON_EXHAUSTION_WAIT,
    "pqc": types_pb2.ON_EXHAUSTION_PQC,
    "refuse": types_pb2.ON_EXHAUSTION_REFUSE,
}
# (where, what is wrong) of a check that spans several fields.
_Finding = tuple[tuple[str | int, ...], str]


class NodePorts(Part):
    """Fixed ports of one agent; those left out are chosen at start."""

    key_plane: Port | None = None
    kme: Port | None = None
    metrics: Port | None = None


class NodeSpec(Part):
    """A site with an agent."""

    name: Name
    trust_domain: Annotated[str, Field(max_length=63, pattern=r"^([a-z0-9][a-z0-9-]*)?$")] = ""
    owner: Annotated[str, Field(max_length=200)] = ""
    location: Annotated[str, Field(max_length=200)] = ""
    latitude_degrees: Annotated[float, Field(ge=-90, le=90)] = 0.0
    longitude_degrees: Annotated[float, Field(ge=-180, le=180)] = 0.0
    memories: MemoriesSpec | None = None
    ports: NodePorts = NodePorts()

    @property
    def has_coordinates(self) -> bool:
        """Whether the scenario says where it is."""
        return {"latitude_degrees", "longitude_degrees"} <= self.model_fields_set

    def to_proto(self, key_plane_address: str) -> types_pb2.Node:
        """The node as an operator creates it."""
        return types_pb2.Node(
            key_plane_address=key_plane_address, **self.model_dump(exclude={"ports", "memories"}, mode="json")
        )


class LinkSpec(Part):
    """A quantum channel: with a published operating point, or the protocol and hardware that make one."""

    name: Name
    a: Name
    b: Name
    technology: Technology
    # Of a satellite's link both follow from the orbit.
    length_km: Annotated[float, Field(ge=0, le=100_000)] | None = None
    loss_db: Annotated[float, Field(ge=0, le=100)] | None = None
    satellite: SatelliteSpec | None = None
    qber_ratio: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    skr_bps: Annotated[float, Field(gt=0, le=1e12)] | None = None
    protocol: ProtocolSpec | None = None
    # Whether clouds can come between its ends.
    medium: Literal["fibre", "free-space"] = "fibre"
    risk_groups: Annotated[tuple[Name, ...], Field(max_length=32)] = ()
    # QBER at which the device stops by itself, and the operator's threshold. Left out: the default of
    # the technology.
    abort_qber_ratio: Annotated[float, Field(gt=0, le=0.5)] | None = None
    model: Annotated[str, Field(max_length=128)] = ""
    # Share of detections that survive sifting: 1/2 in BB84, 1 in COW and DPS.
    sifting_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    detector: DetectorSpec = DetectorSpec()
    drift: DriftSpec = DriftSpec()
    calibration: CalibrationSpec = CalibrationSpec()
    block_bytes: Annotated[int, Field(ge=64, le=16_384, multiple_of=2)] = 256
    # Where each figure comes from: any text or mapping.
    source: Any = None

    @property
    def ends(self) -> tuple[NodeName, NodeName]:
        """The nodes at end a and end b."""
        return NodeName(self.a), NodeName(self.b)

    def unfit(self, kind: emulator_pb2.FaultKind) -> str:
        """Why the link cannot have a kind of fault; empty where it can."""
        return unfit(kind, counts_photons=self.technology != "CV-QKD", free_space=self.is_free_space)

    @property
    def is_free_space(self) -> bool:
        """Whether its light goes through the air."""
        return self.medium == "free-space" or self.satellite is not None

    @property
    def least_km(self) -> float:
        """Its length; with the satellite straight above, where there is one."""
        return self.satellite.nearest_km if self.satellite else self.length_km or 0.0

    @property
    def least_loss_db(self) -> float:
        """Its loss, undisturbed; with the satellite straight above, where there is one."""
        return self.satellite.least_loss_db if self.satellite else self.loss_db or 0.0

    @model_validator(mode="after")
    def _figures_agree(self) -> Self:
        """What is given must be possible together."""
        check_choice(self.model_fields_set, self.protocol, self.technology, self.detector)
        check_way(self.model_fields_set, self.satellite, self.protocol, self.medium)
        expected = self.devices.protocol.expected(Channel(self.least_loss_db))
        aborted = expected.counts_errors and expected.noise >= self._device_abort_qber_ratio
        if aborted or not expected.secret_bps > 0:
            noise = "QBER" if expected.counts_errors else "excess noise"
            raise ValueError(
                f"this hardware makes no secret key over {self.least_loss_db:g} dB: its {noise} is "
                f"{expected.noise:.3g}; lower the loss, or change protocol or detector"
            )
        return self

    @cached_property
    def devices(self) -> Devices:
        """The link as physics knows it."""
        detector = self.detector
        return Devices(
            protocol=self.protocol.protocol(detector, loss_db=self.least_loss_db)
            if self.protocol
            else AnchoredPoint(self._operating_point()),
            loss_db=self.least_loss_db,
            abort_qber_ratio=self._device_abort_qber_ratio,
            detectors=None if self.technology == "CV-QKD" else detector.detectors(),
            drift=self.drift.drift(),
            calibration=self.calibration.calibration(),
        )

    @property
    def undisturbed_skr_bps(self) -> float:
        """The secret key rate, as published or as follows from the hardware, while nothing is amiss."""
        return self.skr_bps or self.devices.protocol.expected(Channel(self.least_loss_db)).secret_bps

    @property
    def _device_abort_qber_ratio(self) -> float:
        return self.abort_qber_ratio or DEVICE_ABORT_QBER_RATIO

    def _operating_point(self) -> OperatingPoint:
        detector = self.detector
        assert self.qber_ratio is not None
        assert self.skr_bps is not None
        return OperatingPoint(
            loss_db=self.least_loss_db,
            qber_ratio=self.qber_ratio,
            skr_bps=self.skr_bps,
            abort_qber_ratio=self._device_abort_qber_ratio,
            pulse_rate_hz=detector.pulse_rate_hz,
            mean_photon_number=detector.mean_photon_number,
            gate_seconds=detector.gate_seconds,
            sifting_ratio=self.sifting_ratio,
            detectors=None if self.technology == "CV-QKD" else detector.detectors(),
        )

    def to_proto(self) -> types_pb2.Link:
        """The link as an operator creates it."""
        link = types_pb2.Link(
            name=self.name,
            a_node=self.a,
            b_node=self.b,
            technology=_TECHNOLOGIES[self.technology],
            length_km=self.least_km,
            risk_groups=self.risk_groups,
            abort_qber_ratio=self.abort_qber_ratio or 0.0,
        )
        if self.technology != "CV-QKD":
            for field, limit in self.detector.limits().items():
                setattr(link, field, limit)
        return link


class StreamSpec(Part):
    """A key stream to create; see keyweave.v1.Stream. The controller checks it further."""

    name: Name
    source_node: Name
    target_node: Name
    source_sae: Annotated[str, Field(min_length=1, max_length=128)]
    target_sae: Annotated[str, Field(min_length=1, max_length=128)]
    min_rate_bps: Annotated[int, Field(ge=0, le=10**12)] = 0
    max_rate_bps: Annotated[int, Field(ge=0, le=10**12)] = 0
    priority: Annotated[int, Field(ge=0, le=255)] = 0
    key_size_bits: Annotated[int, Field(ge=0, le=8192, multiple_of=8)] = 0
    k: Annotated[int, Field(ge=0, le=8)] = 0
    min_k: Annotated[int, Field(ge=0, le=8)] = 0
    require_qkd: bool = False
    require_pqc: bool = False
    accept_strongest_available: bool = False
    max_hops: Annotated[int, Field(ge=0, le=64)] = 0
    max_trusted_nodes: Annotated[int, Field(ge=0, le=64)] | None = None
    avoid_nodes: Annotated[tuple[Name, ...], Field(max_length=256)] = ()
    allowed_trust_domains: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    tenant: Annotated[str, Field(max_length=128)] = ""
    application_class: Annotated[str, Field(max_length=128)] = ""
    refresh_seconds: Annotated[int, Field(ge=0, le=60)] = 0
    key_ttl_seconds: Annotated[int, Field(ge=0, le=604_800)] = 0
    on_exhaustion: Literal["wait", "pqc", "refuse"] | None = None
    buffer_keys: Annotated[int, Field(ge=0, le=100_000)] = 0
    pqc_only: bool = False

    def to_proto(self) -> types_pb2.Stream:
        """The stream as an operator creates it."""
        return types_pb2.Stream(
            on_exhaustion=_ON_EXHAUSTION[self.on_exhaustion],
            **self.model_dump(exclude={"on_exhaustion"}, exclude_none=True),
        )


class ScenarioPorts(Part):
    """Fixed ports of controller and emulator; those left out are chosen at start."""

    admin: Port | None = None
    metrics: Port | None = None
    emulator: Port | None = None
    page: Port | None = None


class Scenario(Part):
    """A whole scenario file."""

    name: Name
    description: str = ""
    nodes: Annotated[tuple[NodeSpec, ...], Field(min_length=1)]
    links: tuple[LinkSpec, ...] = ()
    streams: tuple[StreamSpec, ...] = ()
    # Over which memories of neighbouring nodes come to share entangled pairs, and who wants them.
    pair_links: tuple[PairLinkSpec, ...] = ()
    pair_streams: tuple[PairStreamSpec, ...] = ()
    sky: SkySpec = SkySpec()
    # What breaks by itself, and when.
    timeline: Annotated[tuple[TimelineEntry, ...], Field(max_length=10_000)] = ()
    ports: ScenarioPorts = ScenarioPorts()
    # Drives the physics (noise) only, never key bits.
    seed: Annotated[int, Field(ge=0)] = 0
    sample_interval_seconds: Annotated[float, Field(ge=0.001, le=10)] = 0.1

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        """Checks that span parts; each finding names its own field, so that its line can be shown."""
        findings = [
            *self._duplicates(),
            *self._link_findings(),
            *self._stream_findings(),
            *self._sky_findings(),
            *pair_specs.misfits(
                self.nodes, [link.name for link in self.links], self.pair_links, self.pair_streams
            ),
            *misfits(self.timeline, self.nodes, (*self.links, *self.pair_links)),
        ]
        if findings:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError("scenario", "{text}", {"text": text}), loc=where, input=None
                    )
                    for where, text in findings
                ],
            )
        return self

    def _duplicates(self) -> Iterator[_Finding]:
        parts: tuple[tuple[str, Iterable[NodeSpec | LinkSpec | StreamSpec | PairStreamSpec]], ...] = (
            ("nodes", self.nodes),
            ("links", self.links),
            ("streams", self.streams),
            ("pair_streams", self.pair_streams),
        )
        for kind, specs in parts:
            first: dict[str, int] = {}
            for index, spec in enumerate(specs):
                before = first.setdefault(spec.name, index)
                if before != index:
                    text = f"'{spec.name}' is already the name of {kind}[{before}]; choose another"
                    yield (kind, index, "name"), text

    def _link_findings(self) -> Iterator[_Finding]:
        for index, link in enumerate(self.links):
            yield from self._unknown(("links", index), {"a": link.a, "b": link.b})
            if link.a == link.b:
                yield ("links", index, "b"), f"a link joins two different nodes, but both ends are '{link.a}'"

    @property
    def downlinks(self) -> dict[LinkName, Downlink]:
        """The links to satellites, of which the ground stations are known."""
        stations = {node.name: node for node in self.nodes if node.has_coordinates}
        return {
            LinkName(link.name): link.satellite.downlink(
                latitude_degrees=station.latitude_degrees, longitude_degrees=station.longitude_degrees
            )
            for link in self.links
            if link.satellite and (station := stations.get(link.b))
        }

    def _sky_findings(self) -> Iterator[_Finding]:
        located = {node.name for node in self.nodes if node.has_coordinates}
        for index, link in enumerate(self.links):
            if link.satellite and link.b not in located:
                text = (
                    f"a satellite's ground station needs latitude_degrees and longitude_degrees: '{link.b}'"
                )
                yield ("links", index, "b"), text
        if "sky" in self.model_fields_set and not any(link.satellite for link in self.links):
            yield ("sky",), "has no effect without links to satellites; leave it out"
        downlinks = self.downlinks
        if downlinks and self.sky.starts_at is not None:
            try:
                self.sky.begins(downlinks.values(), now=math.nan)
            except ValueError as error:
                yield ("sky",), str(error)

    def _stream_findings(self) -> Iterator[_Finding]:
        for index, stream in enumerate(self.streams):
            ends = {"source_node": stream.source_node, "target_node": stream.target_node}
            yield from self._unknown(("streams", index), ends)
            if stream.source_node == stream.target_node:
                text = f"a stream joins two different nodes, but both ends are '{stream.source_node}'"
                yield ("streams", index, "target_node"), text
            if stream.source_sae == stream.target_sae:
                text = f"a stream joins two different SAEs, but both are '{stream.source_sae}'"
                yield ("streams", index, "target_sae"), text
            for position, node in enumerate(stream.avoid_nodes):
                yield from self._unknown(("streams", index, "avoid_nodes"), {position: node})

    def _unknown(self, where: tuple[str | int, ...], named: dict[Any, str]) -> Iterator[_Finding]:
        known = [node.name for node in self.nodes]
        for field, name in named.items():
            if name not in known:
                yield (*where, field), f"there is no node '{name}'; nodes are {', '.join(known)}"


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file; InvalidInputError names every wrong field with its line."""
    return settings.load(path, Scenario)
