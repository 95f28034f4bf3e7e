"""What the controller knows now, as immutable values for those who ask: admin API and metrics."""

from dataclasses import dataclass

from keyweave.common.names import NodeName, PathId
from keyweave.controller.orders import Order
from keyweave.controller.samples import Contact
from keyweave.controller.topology import LinkView, Node, Status, Stream, StreamPlan
from keyweave.v1 import agent_pb2, types_pb2


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """Which policy of a node: (epoch, version) orders them, the digest says what they hold."""

    epoch: int
    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node and what is known of its agent. Times are unix seconds, 0 for never."""

    node: Node
    connected: bool = False
    connected_since: float = 0.0
    software_version: str = ""
    kme_url: str = ""
    desired: PolicyRef | None = None
    applied: PolicyRef | None = None
    # When the agent was last known to have what is desired of it, and whether it has it now.
    in_sync: bool = False
    in_sync_since: float = 0.0
    # Since when it has not had it; 0 while it has.
    behind_since: float = 0.0
    nacked_rules: tuple[agent_pb2.RuleStatus, ...] = ()
    dropped_samples_total: int = 0
    # SHA-256 of the guard that the node's owner wrote, as its agent reports it.
    guard_digest: bytes = b""
    # What of the applied policy that guard forbids since, so that the agent does not run by it.
    withheld_rules: tuple[agent_pb2.RuleStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkStateView:
    """A link with what telemetry says and what the plan takes of it."""

    view: LinkView
    # PENDING while neither end has told: as far as anybody knows, the link is starting.
    status: Status
    loss_db: float
    condition_since: float
    emulated: bool
    planned_bps: float
    # Held in quarantine, the lower of what the ends report.
    held_bits: int = 0
    # What both ends agree that their pools took in, bit/s; 0 while it is not known.
    intake_bps: float = 0.0
    # What its measurements read as, empty where they say nothing, and what shows it.
    diagnosis: str = ""
    evidence: tuple[str, ...] = ()
    next_contact: Contact | None = None
    # The vendor's domain that its keys come through, whose hops are unknown; empty where there is none.
    vendor_domain: str = ""


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream, its plan, and what its ends report."""

    stream: Stream
    plan: StreamPlan | None
    # Of the keys being made now: the weaker of what both ends report.
    protection: types_pb2.Protection = types_pb2.PROTECTION_UNSPECIFIED
    path_ids: tuple[PathId, ...] = ()
    # Confirmed key bits a second, both ends as master together.
    delivered_bps: float = 0.0
    delivered_bits_total: int = 0
    # The fewer of what is ready at either end.
    buffered_keys: int = 0
    served_qkd_total: int = 0
    served_hybrid_total: int = 0
    served_pqc_total: int = 0
    failovers_total: int = 0
    last_failover_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order, and who has neither acknowledged nor refused it."""

    order: Order
    waiting_for: tuple[NodeName, ...]
