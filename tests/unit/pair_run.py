"""A core in simulated time whose agents have quantum memories, as hand-made telemetry."""

import math
from dataclasses import dataclass, field

from keyweave.common.entanglement.bell import Bell, werner
from keyweave.common.names import NodeName, StreamName
from keyweave.controller import routing
from keyweave.controller.events import Event
from keyweave.controller.instructions import Emit, Instruction, PersistPairs, PlanPairs, Push, WakeAt
from keyweave.controller.pairs.served import PairStreamView
from keyweave.controller.pairs.streams import PairRecord, PairStream
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.rollout import Rollout
from keyweave.controller.routing.entanglement.serve import plan_pairs
from keyweave.controller.stimuli import (
    AgentHello,
    Batch,
    PairsPlanned,
    PairsReported,
    PairStreamPut,
    PolicyAcked,
    PolicyConnected,
    Stimulus,
    TelemetryStimulus,
    Tick,
)
from keyweave.controller.topology import Node
from keyweave.v1 import agent_pb2, pairs_pb2, types_pb2

START = 1_000_000.0
STEP = 0.25
CHAIN = (("ab", "a", "b"), ("bc", "b", "c"), ("cd", "c", "d"))


@dataclass
class Optics:
    """What one link does."""

    a: str
    b: str
    rate_hz: float = 100.0
    state: Bell = field(default_factory=lambda: werner(0.96))
    status: int = types_pb2.LINK_STATUS_ACTIVE
    tests_hz: float = 200.0
    # As counted so far.
    seconds: float = 0.0
    heralds: float = 0.0
    tests: list[float] = field(default_factory=lambda: [0.0] * 6)

    def go_on(self, seconds: float) -> None:
        self.seconds += seconds
        self.heralds += self.rate_hz * seconds
        p, q, r, _ = self.state
        agree = (p + r, q + r, p + q)  # in X, Y and Z
        if self.rate_hz:
            for axis, share in enumerate(agree):
                self.tests[axis] += self.tests_hz * seconds / 3
                self.tests[3 + axis] += self.tests_hz * seconds / 3 * share

    def counts(self, name: str, *, tester: bool) -> pairs_pb2.PairLinkCounts:
        x, y, z, xe, ye, ze = (round(each) for each in self.tests)
        tests = pairs_pb2.PairTests(
            x_total=x, y_total=y, z_total=z, x_equal_total=xe, y_equal_total=ye, z_equal_total=ze
        )
        return pairs_pb2.PairLinkCounts(
            link=name,
            attempts_total=round(self.seconds * 10_000),
            heralds_total=round(self.heralds),
            attempting_seconds_total=self.seconds,
            tests=tests if tester else None,
            status=self.status,  # type: ignore[arg-type]  # an enum's number
        )


@dataclass
class PairRun:
    """A core that is woken when it asks to be, agents that answer, links that make pairs."""

    links: dict[str, Optics] = field(default_factory=lambda: {n: Optics(a, b) for n, a, b in CHAIN})
    memories: dict[str, int] = field(default_factory=lambda: dict.fromkeys("abcd", 8))
    t2_seconds: float = 10.0
    streams: tuple[PairStream, ...] = ()
    records: dict[StreamName, PairRecord] = field(default_factory=dict)
    now: float = START
    planning: bool = True
    silent: set[str] = field(default_factory=set)
    done: list[Instruction] = field(default_factory=list)
    rules: dict[NodeName, dict[str, agent_pb2.Rule]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.core = Core(settings=CoreSettings(), planner=routing, epoch=1, stored=Rollout())
        self._wake: float | None = None
        nodes = {NodeName(n): Node(NodeName(n), key_plane_address=f"{n}:1") for n in self.memories}
        self._follow(self.core.start(nodes, {}, {}, self.now, pairs=(self.streams, self.records)))
        for name in sorted(nodes):
            self.handle(PolicyConnected(name, agent_pb2.PolicyVersion(), 0))

    def hello(self) -> None:
        """Every agent introduces itself."""
        for node in sorted(self.memories):
            ends = [
                pairs_pb2.PairLinkEnd(
                    link=name, peer_node=one.b if node == one.a else one.a, attempt_rate_hz=10_000.0
                )
                for name, one in self.links.items()
                if node in (one.a, one.b)
            ]
            bank = pairs_pb2.MemoryBank(
                memories=self.memories[node],
                t2_seconds=self.t2_seconds,
                t1_seconds=0.0,
                swap_success_ratio=1.0,
                swap_fidelity=1.0,
                readout_fidelity=1.0,
            )
            hello = agent_pb2.TelemetryHello(memory_bank=bank, pair_link_ends=ends)
            self._tell(node, AgentHello(NodeName(node), hello))

    def run(self, seconds: float) -> list[Instruction]:
        """Links go on, agents report."""
        before = len(self.done)
        for _ in range(round(seconds / STEP)):
            for one in self.links.values():
                one.go_on(STEP)
            for node in sorted(set(self.memories) - self.silent):
                counts = tuple(
                    one.counts(name, tester=node == min(one.a, one.b))
                    for name, one in self.links.items()
                    if node in (one.a, one.b)
                )
                state = pairs_pb2.MemoryState(working=self.memories[node], t2_seconds=self.t2_seconds)
                self._tell(node, PairsReported(NodeName(node), counts, (), state))
            self.advance(STEP)
        return self.done[before:]

    def report(self, node: str, **counts: object) -> None:
        """One node's counts of a stream."""
        told = pairs_pb2.PairStreamCounts(**counts)  # type: ignore[arg-type]  # fields by name
        self._tell(node, PairsReported(NodeName(node), (), (told,), None))

    def want(self, stream: PairStream) -> None:
        """An operator asks for pairs."""
        self.handle(PairStreamPut(stream))

    def view(self, name: str = "s") -> PairStreamView:
        return self.core.pairs.view(StreamName(name))

    def handle(self, stimulus: Stimulus) -> None:
        self._follow(self.core.handle(stimulus, self.now))

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._wake is not None and self._wake <= until:
            self.now, self._wake = max(self.now, self._wake), None
            self.handle(Tick())
        self.now = until

    def _tell(self, node: str, item: TelemetryStimulus) -> None:
        self.handle(Batch(NodeName(node), b"i" * 16, 1, (item,)))

    def _follow(self, out: list[Instruction]) -> None:
        self.done += out
        for instruction in out:
            match instruction:
                case WakeAt(when):
                    self._wake = when
                case PlanPairs(number, network, demands, previous) if self.planning:
                    self.handle(PairsPlanned(number, plan_pairs(network, demands, previous)))
                case PersistPairs(records):
                    for name, record in records.items():
                        if record is None:
                            self.records.pop(name, None)
                        else:
                            self.records[name] = record
                case Push(node, target, _):
                    self.rules[node] = {
                        rule_id: agent_pb2.Rule.FromString(data)
                        for rule_id, data in target.policy.rules.items()
                    }
                    self.handle(PolicyAcked(node, target.policy.digest))

    def pair_rules(self, node: str) -> list[pairs_pb2.PairRule]:
        return [rule.pair for rule in self.rules.get(NodeName(node), {}).values() if rule.HasField("pair")]


def wanted(name: str = "s", **given: object) -> PairStream:
    """A stream from a to d."""
    settings: dict[str, object] = {
        "source": "a",
        "target": "d",
        "kind": "md",
        "min_fidelity": 0.8,
        "rate_hz": 5.0,
        "deadline": math.inf,
    }
    return PairStream(name=StreamName(name), **{**settings, **given})  # type: ignore[arg-type]  # by name


def told(instructions: list[Instruction], kind: str) -> list[Event]:
    return [i.event for i in instructions if isinstance(i, Emit) and i.event.kind == kind]
