"""A core in simulated time, with agents that answer and an optimiser that may take its time."""

from dataclasses import dataclass, field, replace

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller import routing
from keyweave.controller.events import Event
from keyweave.controller.instructions import Emit, Instruction, Optimise, Push, WakeAt
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import (
    AgentReported,
    Batch,
    LinkObserved,
    Optimised,
    PolicyAcked,
    PolicyConnected,
    Stimulus,
    Tick,
)
from keyweave.controller.topology import OnExhaustion, Snapshot
from keyweave.v1 import agent_pb2
from tests.unit.measurements import samples
from tests.unit.networks import snapshot, stream

A, B, P, Q = NodeName("a"), NodeName("b"), NodeName("p"), NodeName("q")
S = StreamName("s")
# Over p is better until a-p or b-p fails.
LINKS = [("a-p", "a", "p", 1.0), ("b-p", "b", "p", 1.0), ("a-q", "a", "q", 1.0), ("b-q", "b", "q", 1.0)]
NETWORK = snapshot(
    LINKS,
    [stream("s", "a", "b", max_rate_bps=1000.0, require_qkd=True, on_exhaustion=OnExhaustion.WAIT)],
)
START = 1_000_000.0


@dataclass
class Run:
    """A core in simulated time that is woken when it asks to be, and agents that answer if told to."""

    network: Snapshot = NETWORK
    stored: Rollout = field(default_factory=Rollout)
    epoch: int = 1
    now: float = START
    journal: list[tuple[float, Stimulus]] = field(default_factory=list)
    done: list[Instruction] = field(default_factory=list)
    answering: bool = True
    # Whether the optimiser answers at once, and what it has been asked and not answered.
    optimising: bool = True
    asked: Optimise | None = None
    has: dict[NodeName, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.core = Core(settings=CoreSettings(), planner=routing, epoch=self.epoch, stored=self.stored)
        self._wake: float | None = None
        links = {name: view.link for name, view in self.network.links.items()}
        self._follow(self.core.start(self.network.nodes, links, self.network.streams, self.now))

    def handle(self, stimulus: Stimulus) -> list[Instruction]:
        """Have the core handle it; what that led to, the agents' answers included."""
        self.journal.append((self.now, stimulus))
        out = self.core.handle(stimulus, self.now)
        return out + self._follow(out)

    def _follow(self, out: list[Instruction]) -> list[Instruction]:
        self.done += out
        led_to: list[Instruction] = []
        for instruction in out:
            match instruction:
                case WakeAt(when):
                    self._wake = when
                case Optimise():
                    self.asked = instruction
                    if self.optimising:
                        led_to += self.optimise()
                case Push(node, target, _) if self.answering:
                    self.has[node] = target.policy.digest
                    led_to += self.handle(PolicyAcked(node, target.policy.digest))
        return led_to

    def optimise(self) -> list[Instruction]:
        """The optimiser answers what it was last asked."""
        asked, self.asked = self.asked, None
        assert asked is not None
        plan = routing.plan_streams(asked.snapshot, asked.basis, asked.previous.version + 1)
        return self.handle(Optimised(asked.number, plan))

    def advance(self, seconds: float) -> list[Instruction]:
        """Time goes by, and the core is woken as it asked."""
        until = self.now + seconds
        out: list[Instruction] = []
        while self._wake is not None and self._wake <= until:
            self.now, self._wake = max(self.now, self._wake), None
            out += self.handle(Tick())
        self.now = until
        return out

    def measure(
        self, seconds: float, skr: dict[str, float], *, without: tuple[str, ...] = ()
    ) -> list[Instruction]:
        """Both ends of every link report, ten times a second."""
        out: list[Instruction] = []
        for _ in range(round(seconds * 5)):
            for name, view in self.network.links.items():
                if name not in without:
                    for node in (view.link.a, view.link.b):
                        out += self.handle(observed(name, node, self.now, skr.get(name, 1000.0)))
            out += self.advance(0.2)
        return out

    def connect(self, *, epoch: int = 0, highest_epoch: int = 0) -> list[Instruction]:
        """Every agent connects with what it has."""
        out: list[Instruction] = []
        for node in sorted(self.network.nodes):
            have = agent_pb2.PolicyVersion(epoch=epoch, version=1, digest=self.has.get(node, b""))
            out += self.handle(PolicyConnected(node, have, highest_epoch))
        return out

    def first_path(self) -> tuple[NodeName, ...]:
        """The nodes of the path that the stream uses first."""
        sets = self.core.plan.streams[S].path_sets
        return sets[0].paths[0].nodes if sets else ()


RATES = {"a-p": 5000.0, "b-p": 5000.0, "a-q": 4000.0, "b-q": 4000.0}


def observed(link: str, node: NodeName, now: float, skr: float) -> Batch:
    one = replace(samples(node, start=now - 0.2, skr=skr), link=LinkName(link))
    return Batch(node, b"i" * 16, 1, (LinkObserved(one),))


def reported(node: NodeName, kind: agent_pb2.AgentEventKind, **fields: object) -> Batch:
    event = agent_pb2.AgentEvent(kind=kind, **fields)  # type: ignore[arg-type]  # fields by name
    return Batch(node, b"i" * 16, 1, (AgentReported(node, event),))


def events(instructions: list[Instruction], kind: str) -> list[Event]:
    return [i.event for i in instructions if isinstance(i, Emit) and i.event.kind == kind]


def pushes(instructions: list[Instruction]) -> list[Push]:
    return [i for i in instructions if isinstance(i, Push)]
