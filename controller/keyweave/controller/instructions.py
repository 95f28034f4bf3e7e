"""What the core wants done, in the order in which it must be done.

In particular a `PersistRollout` comes before the pushes that rely on it: after a crash the controller
must not know less about the paths in use than the agents do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from keyweave.common.names import NodeName, OrderId, StreamName
from keyweave.controller.compile.policies import NodePolicy
from keyweave.controller.events import Event
from keyweave.controller.pairs.streams import PairRecord
from keyweave.controller.plan_records import PlanRecord
from keyweave.controller.rollout import RolloutChange
from keyweave.controller.routing.entanglement.repeaters import PairDemand, RepeaterNetwork
from keyweave.controller.routing.entanglement.serve import PairPlan
from keyweave.controller.topology import Pin, Plan, Snapshot, StreamPlan


@dataclass(frozen=True, slots=True)
class VersionedPolicy:
    """A node's policy with its place in the order of one epoch."""

    version: int
    policy: NodePolicy


@dataclass(frozen=True, slots=True)
class PersistRollout:
    """Store what changed of the plan and of how far it is in use."""

    change: RolloutChange


@dataclass(frozen=True, slots=True)
class Optimise:
    """Plan all streams in the background and answer with an `Optimised` of the same number."""

    number: int
    snapshot: Snapshot
    previous: Plan
    # Streams that are planned as if they were still where they were before maintenance.
    home: Mapping[StreamName, StreamPlan] = field(default_factory=dict)

    @property
    def basis(self) -> Plan:
        """What to plan on top of."""
        return replace(self.previous, streams={**self.previous.streams, **self.home})


@dataclass(frozen=True, slots=True)
class PlanPairs:
    """Plan all pair streams in the background and answer with a `PairsPlanned` of the same number."""

    number: int
    network: RepeaterNetwork
    demands: tuple[PairDemand, ...]
    previous: PairPlan


@dataclass(frozen=True, slots=True)
class PersistPairs:
    """Store how these pair streams are served; None for those that are gone."""

    records: Mapping[StreamName, PairRecord | None]


@dataclass(frozen=True, slots=True)
class KeepPlan:
    """Keep a plan that has stood for a while."""

    record: PlanRecord


@dataclass(frozen=True, slots=True)
class PersistPin:
    """Store which streams are still pinned."""

    pin: Pin


@dataclass(frozen=True, slots=True)
class ForgetOrder:
    """Delete an order that is over from the store; comes before the pushes that withdraw its rule."""

    order_id: OrderId


@dataclass(frozen=True, slots=True)
class Push:
    """Send `target` to the node's agent: as a delta if `base` is what the agent is known to have."""

    node: NodeName
    target: VersionedPolicy
    base: NodePolicy | None


@dataclass(frozen=True, slots=True)
class Confirm:
    """Tell the node's agent, at once and then at every heartbeat, that what it has is right."""

    node: NodeName
    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class FallSilent:
    """Send no agent anything from now on: a newer controller has led since our store was written."""

    seen_epoch: int


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an event and show it to those who watch."""

    event: Event


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Handle a `Tick` at this time (unix seconds); replaces what was asked for before."""

    time: float


Instruction = (
    PersistRollout
    | ForgetOrder
    | KeepPlan
    | PersistPin
    | Optimise
    | PlanPairs
    | PersistPairs
    | Push
    | Confirm
    | FallSilent
    | Emit
    | WakeAt
)
