"""What agents say of themselves and of the streams that end at them. Pure; owned by the core."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from keyweave.common.names import LinkName, NodeName, PathId, StreamName
from keyweave.controller.stimuli import AgentHello, SamplesDropped, TelemetryLost
from keyweave.controller.topology import Stream, StreamPlan
from keyweave.controller.views import StreamView
from keyweave.v1 import agent_pb2, types_pb2

# Time constant over which a delivered rate is averaged.
DELIVERED_RATE_TAU_SECONDS = 5.0

_WEAKEST_FIRST = (
    types_pb2.PROTECTION_NONE,
    types_pb2.PROTECTION_PQC,
    types_pb2.PROTECTION_QKD,
    types_pb2.PROTECTION_HYBRID,
)


@dataclass(slots=True)
class AgentReport:
    """One agent, as it introduced itself."""

    software_version: str = ""
    kme_url: str = ""
    guard_digest: bytes = b""
    withheld_rules: tuple[agent_pb2.RuleStatus, ...] = ()
    telemetry: bool = False
    connected_since: float = 0.0
    in_sync_since: float = 0.0
    # Since when it has not had what is desired of it; 0 while it has.
    behind_since: float = 0.0
    dropped_samples_total: int = 0
    emulated_links: frozenset[LinkName] = frozenset()
    # The vendor's domain that a link's keys come through, where there is one.
    vendor_domains: Mapping[LinkName, str] = field(default_factory=dict)

    def take(self, item: AgentHello | TelemetryLost | SamplesDropped) -> None:
        """Take in what an agent says of itself, or that it is gone."""
        match item:
            case AgentHello(_, hello):
                self.software_version = hello.software_version
                self.kme_url = hello.kme_url
                self.guard_digest = hello.guard_digest
                self.withheld_rules = tuple(hello.withheld_rules)
                self.telemetry = True
                self.emulated_links = frozenset(LinkName(e.link) for e in hello.link_ends if e.emulated)
                self.vendor_domains = {
                    LinkName(e.link): e.vendor_domain for e in hello.link_ends if e.vendor_domain
                }
            case TelemetryLost():
                self.telemetry = False
            case SamplesDropped(_, total):
                self.dropped_samples_total = total


@dataclass(slots=True)
class StreamEnd:
    """One end of a stream, as its agent last reported it."""

    state: agent_pb2.StreamState
    time: float
    delivered_bps: float = 0.0
    # Bits confirmed by agent processes that have since restarted are part of the total.
    delivered_bits_before: int = 0

    def update(self, state: agent_pb2.StreamState, now: float) -> None:
        """Take in a newer report."""
        elapsed = now - self.time
        if elapsed <= 0:
            return
        confirmed = state.confirmed_bits_total - self.state.confirmed_bits_total
        if confirmed < 0:
            self.delivered_bits_before += self.state.confirmed_bits_total
            confirmed = state.confirmed_bits_total
        weight = 1 - math.exp(-elapsed / DELIVERED_RATE_TAU_SECONDS)
        self.delivered_bps += weight * (confirmed / elapsed - self.delivered_bps)
        self.state, self.time = state, now

    @property
    def delivered_bits_total(self) -> int:
        """Key bits confirmed at this end as master since the controller first heard of it."""
        return self.delivered_bits_before + self.state.confirmed_bits_total


@dataclass(slots=True)
class StreamReport:
    """Both ends of a stream."""

    ends: dict[NodeName, StreamEnd] = field(default_factory=dict)
    last_failover_seconds: float = 0.0

    def update(self, node: NodeName, state: agent_pb2.StreamState, now: float) -> None:
        """Take in what the agent at one end says."""
        if node in self.ends:
            self.ends[node].update(state, now)
        else:
            self.ends[node] = StreamEnd(state, now)

    def view(self, stream: Stream, plan: StreamPlan | None) -> StreamView:
        """The stream as those who ask see it."""
        ends = [self.ends[node] for node in (stream.source, stream.target) if node in self.ends]
        states = [end.state for end in ends]
        if not states:
            return StreamView(stream, plan, last_failover_seconds=self.last_failover_seconds)
        return StreamView(
            stream=stream,
            plan=plan,
            protection=_weaker(states),
            path_ids=tuple(PathId(path) for path in states[0].path_ids),
            delivered_bps=sum(end.delivered_bps for end in ends),
            delivered_bits_total=sum(end.delivered_bits_total for end in ends),
            buffered_keys=min(state.buffered_keys for state in states),
            served_qkd_total=sum(state.served_qkd_total for state in states),
            served_hybrid_total=sum(state.served_hybrid_total for state in states),
            served_pqc_total=sum(state.served_pqc_total for state in states),
            failovers_total=sum(state.failovers_total for state in states),
            last_failover_seconds=self.last_failover_seconds,
        )


def _weaker(states: list[agent_pb2.StreamState]) -> types_pb2.Protection:
    known = [state.protection for state in states if state.protection in _WEAKEST_FIRST]
    return min(known, key=_WEAKEST_FIRST.index, default=types_pb2.PROTECTION_UNSPECIFIED)


@dataclass(slots=True)
class Reports:
    """All that agents have said."""

    agents: dict[NodeName, AgentReport] = field(default_factory=dict)
    streams: dict[StreamName, StreamReport] = field(default_factory=dict)
    # What each end of a link holds in quarantine.
    held_bits: dict[LinkName, dict[NodeName, int]] = field(default_factory=dict)

    def agent(self, node: NodeName) -> AgentReport:
        """What `node`'s agent has said."""
        return self.agents.setdefault(node, AgentReport())

    def stream(self, name: StreamName) -> StreamReport:
        """What the ends of a stream have said."""
        return self.streams.setdefault(name, StreamReport())
