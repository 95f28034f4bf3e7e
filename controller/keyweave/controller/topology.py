"""Step 3: the network as an immutable value.

Intent (nodes, links, streams: what operators want) and link estimates (what telemetry says) become one
`Snapshot` with a version. Planning sees nothing else.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter

from keyweave.common.names import LinkName, NodeName, OrderId, PathId, SaeId, StreamName
from keyweave.controller.orders import Order

_end_of = attrgetter("to_node")


class Condition(StrEnum):
    """What is made of a link's measurements; see the proto's LinkCondition."""

    OK = "ok"
    DEGRADED = "degraded"
    SUSPECT = "suspect"
    DOWN = "down"
    STALE = "stale"
    MAINTENANCE = "maintenance"


class Status(StrEnum):
    """Operational state of a link (ETSI GS QKD 015 `qkdl_status`)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    PENDING = "pending"
    OFF = "off"


class OnExhaustion(StrEnum):
    """What a stream does once no quantum path can supply it."""

    WAIT = "wait"
    PQC = "pqc"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Node:
    """A site with an agent."""

    name: NodeName
    trust_domain: str = ""
    key_plane_address: str = ""
    maintenance: bool = False
    # Both 0 where the operator has not said where it is.
    latitude_degrees: float = 0.0
    longitude_degrees: float = 0.0


@dataclass(frozen=True, slots=True)
class DetectorLimits:
    """Between what a link's detectors are in order; None where the operator has said nothing."""

    max_count_rate_hz: float | None = None
    max_dark_count_rate_hz: float | None = None
    min_efficiency_ratio: float | None = None
    max_temperature_celsius: float | None = None
    min_bias_volts: float | None = None
    max_bias_volts: float | None = None


NO_LIMITS = DetectorLimits()


@dataclass(frozen=True, slots=True)
class Link:
    """A quantum channel between two nodes, as the operator describes it."""

    name: LinkName
    a: NodeName
    b: NodeName
    technology: str = "DV-QKD"
    length_km: float = 0.0
    risk_groups: frozenset[str] = frozenset()
    abort_qber_ratio: float = 0.11
    degraded_qber_ratio: float = 0.088
    maintenance: bool = False
    # Where a maintenance window has it out of use: which, and until when.
    maintenance_reason: str = ""
    # Out of use until further notice: no path may cross it, and both ends destroy its pools.
    disabled: bool = False
    # What detectors are held against by alert rules; planning does not look at it.
    detector_limits: DetectorLimits = NO_LIMITS

    def other(self, node: NodeName) -> NodeName:
        """The far end, seen from `node`."""
        return self.b if node == self.a else self.a


@dataclass(frozen=True, slots=True)
class Stream:
    """An end-to-end supply of keys, defaults filled in. Rates in bit/s of delivered key."""

    name: StreamName
    source: NodeName
    target: NodeName
    source_sae: SaeId
    target_sae: SaeId
    min_rate_bps: float = 0.0
    max_rate_bps: float = float("inf")
    priority: int = 0
    key_size_bits: int = 256
    k: int = 1
    min_k: int = 1
    require_qkd: bool = False
    require_pqc: bool = False
    max_hops: int | None = None
    max_trusted_nodes: int | None = None
    avoid_nodes: frozenset[NodeName] = frozenset()
    allowed_trust_domains: frozenset[str] = frozenset()
    tenant: str = ""
    application_class: str = ""
    refresh_seconds: int = 60
    key_ttl_seconds: int = 3600
    # Whence these are: `stream`, `default`, or `schedule NAME`.
    refresh_from: str = "default"
    key_ttl_from: str = "default"
    on_exhaustion: OnExhaustion = OnExhaustion.PQC
    buffer_keys: int = 64
    # Made with ML-KEM alone: planning gives it no path.
    pqc_only: bool = False
    revision: int = 1

    @property
    def restricts_relays(self) -> bool:
        """Whether not every node may relay its keys."""
        return bool(self.avoid_nodes or self.allowed_trust_domains or self.max_trusted_nodes is not None)


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link with what is known of it now."""

    link: Link
    condition: Condition
    reason: str
    qber_ratio: float
    skr_bps: float
    # Lower confidence bound of the secret key rate, 0 unless new streams may be placed on the link.
    usable_rate_bps: float
    pool_bits: int
    # A path that runs over the link may stay (OK, DEGRADED, STALE) even where nothing new is placed.
    keeps_paths: bool
    # A path may newly be placed on it (OK, DEGRADED).
    takes_paths: bool
    # While SUSPECT: since when (Unix seconds) its keys are in doubt, and why.
    suspect_since: float = 0.0
    suspect_reason: str = ""


@dataclass(frozen=True, slots=True)
class Pin:
    """Streams that an operator has keep to their paths of an earlier plan, as long as these are feasible."""

    # Of the plan; 0 where nothing is pinned.
    version: int = 0
    pinned_at: float = 0.0
    pinned_by: str = ""
    streams: Mapping[StreamName, "StreamPlan"] = field(default_factory=dict)


NO_PIN = Pin()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole network at one moment. Equal versions mean equal content."""

    version: int
    nodes: Mapping[NodeName, Node]
    links: Mapping[LinkName, LinkView]
    streams: Mapping[StreamName, Stream]
    # What operators have ordered and not all have done.
    orders: Mapping[OrderId, Order] = field(default_factory=dict)
    # Streams that keep to the paths of an earlier plan.
    pin: Pin = NO_PIN


@dataclass(frozen=True, slots=True)
class Hop:
    """One link of a path, in the direction source to target."""

    link: LinkName
    from_node: NodeName
    to_node: NodeName


@dataclass(frozen=True, slots=True)
class Path:
    """A relay path; `path_id` is a function of stream and hops, so equal paths keep their ID."""

    path_id: PathId
    hops: tuple[Hop, ...]
    # Every node on the way, the ends included; kept, since every acknowledgement on the way asks for it.
    nodes: tuple[NodeName, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        nodes = (self.hops[0].from_node, *map(_end_of, self.hops))
        object.__setattr__(self, "nodes", nodes)

    @property
    def trusted_nodes(self) -> tuple[NodeName, ...]:
        """The nodes between the ends: each sees what is relayed."""
        return self.nodes[1:-1]

    @property
    def links(self) -> tuple[LinkName, ...]:
        """The links on the way."""
        return tuple([hop.link for hop in self.hops])


@dataclass(frozen=True, slots=True)
class PathSet:
    """k disjoint paths that carry a key's k shares together; one path where k is 1.

    Sets of rank 0 are used together in proportion to `rate_bps`; later ranks are backups (rate 0).
    """

    rank: int
    rate_bps: float
    paths: tuple[Path, ...]
    reason: str

    def crosses(self, links: Collection[LinkName]) -> bool:
        """Whether a path of the set runs over one of the links."""
        # Loops, not any(): a failure asks this of every set of every stream that it may touch.
        for path in self.paths:
            for hop in path.hops:
                if hop.link in links:
                    return True
        return False


# The sets that both ends of a stream are known to hold, but for those over any of these links; best first.
Held = Callable[[StreamName, Collection[LinkName]], Iterable[PathSet]]


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What one stream is given, and why."""

    stream: StreamName
    rate_bps: float
    path_sets: tuple[PathSet, ...]
    reason: str
    # Why its requirements cannot be met; empty where they are.
    unmet: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The routing of all streams over one snapshot."""

    version: int
    snapshot_version: int
    streams: Mapping[StreamName, StreamPlan] = field(default_factory=dict)
