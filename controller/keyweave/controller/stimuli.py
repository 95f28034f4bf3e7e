"""Everything that can happen to the controller, as plain values.

The core (`reconcile`) is a function of these and of the times at which they are handled, so a recorded
list of them replays to the same plans and policies. Protobuf messages inside are never changed once
they are here.
"""

from dataclasses import dataclass

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.calendar import Schedule, Window
from keyweave.controller.events import Event
from keyweave.controller.orders import Order
from keyweave.controller.pairs.streams import PairStream
from keyweave.controller.routing.entanglement.serve import PairPlan
from keyweave.controller.samples import EndSamples
from keyweave.controller.topology import Link, Node, Pin, Plan, Stream
from keyweave.v1 import agent_pb2, pairs_pb2

# ---- what operators want: stored before it gets here ----------------------------------------------


@dataclass(frozen=True, slots=True)
class NodePut:
    """A node was created or changed."""

    node: Node


@dataclass(frozen=True, slots=True)
class NodeDeleted:
    """A node is gone."""

    name: NodeName


@dataclass(frozen=True, slots=True)
class LinkPut:
    """A link was created or changed."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkDeleted:
    """A link is gone."""

    name: LinkName


@dataclass(frozen=True, slots=True)
class StreamPut:
    """A stream was created or changed; what the network as it is built cannot give it, in words."""

    stream: Stream
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamDeleted:
    """A stream is gone."""

    name: StreamName


@dataclass(frozen=True, slots=True)
class PairStreamPut:
    """A pair stream was created or changed, and the link that its keys feed, if they do and it is new."""

    stream: PairStream
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class PairStreamDeleted:
    """A pair stream is gone, and the link that its keys fed."""

    name: StreamName
    link: LinkName | None = None


@dataclass(frozen=True, slots=True)
class WindowPut:
    """A maintenance window was planned or changed."""

    window: Window


@dataclass(frozen=True, slots=True)
class WindowDeleted:
    """A maintenance window is gone."""

    name: str


@dataclass(frozen=True, slots=True)
class SchedulePut:
    """A refresh schedule was made or changed."""

    schedule: Schedule


@dataclass(frozen=True, slots=True)
class ScheduleDeleted:
    """A refresh schedule is gone."""

    name: str


@dataclass(frozen=True, slots=True)
class PlanPinned:
    """Streams are to keep to the paths of an earlier plan; `NO_PIN` ends that."""

    pin: Pin


@dataclass(frozen=True, slots=True)
class OrderPut:
    """An operator ordered something to be done once."""

    order: Order


PairIntent = PairStreamPut | PairStreamDeleted
TimedStimulus = WindowPut | WindowDeleted | SchedulePut | ScheduleDeleted
IntentStimulus = (
    NodePut
    | NodeDeleted
    | LinkPut
    | LinkDeleted
    | StreamPut
    | StreamDeleted
    | PairIntent
    | TimedStimulus
    | PlanPinned
)

# ---- what agents tell: telemetry -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgentHello:
    """An agent opened its telemetry stream."""

    node: NodeName
    hello: agent_pb2.TelemetryHello


@dataclass(frozen=True, slots=True)
class LinkObserved:
    """One end of a link measured something (validated)."""

    samples: EndSamples


@dataclass(frozen=True, slots=True)
class PoolsReported:
    """The fill of the link pools at one node."""

    node: NodeName
    pools: tuple[agent_pb2.PoolLevel, ...]


@dataclass(frozen=True, slots=True)
class StreamsReported:
    """How the streams that end at one node stand there."""

    node: NodeName
    states: tuple[agent_pb2.StreamState, ...]


@dataclass(frozen=True, slots=True)
class PairsReported:
    """What a node has counted of pairs, and how its memories are (None where it has none)."""

    node: NodeName
    links: tuple[pairs_pb2.PairLinkCounts, ...]
    streams: tuple[pairs_pb2.PairStreamCounts, ...]
    memories: pairs_pb2.MemoryState | None


@dataclass(frozen=True, slots=True)
class AgentReported:
    """Something happened at an agent."""

    node: NodeName
    event: agent_pb2.AgentEvent


@dataclass(frozen=True, slots=True)
class SamplesRefused:
    """An agent sent samples of a link that cannot be true; the reason names the field."""

    node: NodeName
    link: LinkName
    reason: str


@dataclass(frozen=True, slots=True)
class SamplesDropped:
    """An agent thinned out its ring: samples it has dropped since it started."""

    node: NodeName
    total: int


@dataclass(frozen=True, slots=True)
class TelemetryLost:
    """An agent's telemetry stream ended."""

    node: NodeName


TelemetryStimulus = (
    AgentHello
    | LinkObserved
    | PoolsReported
    | StreamsReported
    | PairsReported
    | AgentReported
    | SamplesRefused
    | SamplesDropped
    | TelemetryLost
)


@dataclass(frozen=True, slots=True)
class Batch:
    """One telemetry message's worth, handled and acknowledged as a whole.

    `incarnation` and `sequence` say which message; hello and loss of a stream carry sequence 0.
    """

    node: NodeName
    incarnation: bytes
    sequence: int
    items: tuple[TelemetryStimulus, ...]


# ---- what agents tell: policy ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PolicyConnected:
    """An agent opened its policy stream and says what it runs by."""

    node: NodeName
    have: agent_pb2.PolicyVersion
    highest_epoch: int


@dataclass(frozen=True, slots=True)
class PolicyDisconnected:
    """An agent's policy stream ended."""

    node: NodeName


@dataclass(frozen=True, slots=True)
class PolicyAcked:
    """An agent has applied and persisted the policy with this digest."""

    node: NodeName
    digest: bytes


@dataclass(frozen=True, slots=True)
class PolicyNacked:
    """An agent refused the policy with this digest and keeps what it had."""

    node: NodeName
    digest: bytes
    rules: tuple[agent_pb2.RuleStatus, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A time that the core asked to be woken at has come."""


@dataclass(frozen=True, slots=True)
class Noted:
    """Something happened around the core that those who watch are to be told of."""

    event: Event


@dataclass(frozen=True, slots=True)
class Optimised:
    """The plan that an `Optimise` asked for."""

    number: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class PairsPlanned:
    """The plan that a `PlanPairs` asked for."""

    number: int
    plan: PairPlan


PolicyStimulus = PolicyConnected | PolicyDisconnected | PolicyAcked | PolicyNacked
Stimulus = (
    IntentStimulus
    | OrderPut
    | Batch
    | TelemetryStimulus
    | PolicyStimulus
    | Tick
    | Noted
    | Optimised
    | PairsPlanned
)
