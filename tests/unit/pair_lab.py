"""Engines of several nodes with emulated memories and a network between, in virtual time and one process.

Everything takes a way of its own: the device's word, commands to it, and messages to each peer, each in order
and each with its delay. So what is told of a pair overtakes the pair.
"""

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from random import Random

from keyweave.agent.drivers.emulator_memories import command_message, described, event_of
from keyweave.agent.pairs.deliver import BeginKeyRun
from keyweave.agent.pairs.engine import Engine
from keyweave.agent.pairs.outbox import Instructions
from keyweave.agent.pairs.pair import Moment
from keyweave.agent.pairs.steps import PathRule
from keyweave.common.entanglement.bell import Bell
from keyweave.common.names import LinkName, NodeName
from keyweave.emulator.memories import pairs
from keyweave.emulator.memories.bank import Memories
from keyweave.emulator.memories.pairs import Half
from keyweave.emulator.memories.specs import DoubleClickSpec, MemoriesSpec, PairLinkSpec
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance
from keyweave.v1 import agent_pb2, emulator_pb2, pairs_pb2

NAMES = tuple(map(NodeName, ("amber", "birch", "cedar", "delta", "elder", "fir")))
KINDS = {
    "nl": pairs_pb2.PAIR_KIND_NETWORK_LAYER,
    "ck": pairs_pb2.PAIR_KIND_CREATE_KEEP,
    "md": pairs_pb2.PAIR_KIND_MEASURE_DIRECTLY,
}
ORIGIN_NANOS = 1_800_000_000 * 10**9
# Of an attempt by double click with a tenth of the light of each arm left.
SUCCESS_RATIO = 0.005
# No pair need come at the same moment for many turns.
MOST_TURNS = 2_000_000


class Lab:
    """A chain of nodes; time moves when `run` is called."""

    def __init__(
        self,
        nodes: int,
        *,
        memories: MemoriesSpec | None = None,
        visibility: float = 1.0,
        rate_hz: float = 50.0,
        seed: int = 1,
        begin_keys: Mapping[str, BeginKeyRun] | None = None,
    ) -> None:
        self.nodes = NAMES[:nodes]
        self.links = tuple(LinkName(f"{a}-{b}") for a, b in itertools.pairwise(self.nodes))
        spec = memories or MemoriesSpec(count=8)
        heralding = DoubleClickSpec(kind="double-click", visibility_ratio=visibility)
        self.memories = Memories(
            dict.fromkeys(self.nodes, spec),
            [
                PairLinkSpec(
                    name=name,
                    a=a,
                    b=b,
                    length_km=0.0,
                    heralding=heralding,
                    other_loss_db=10.0,
                    attempt_rate_hz=rate_hz / SUCCESS_RATIO,
                )
                for name, (a, b) in zip(self.links, itertools.pairwise(self.nodes), strict=True)
            ],
            seed=seed,
            outcomes=Random(seed),
            origin_unix_nanos=ORIGIN_NANOS,
        )
        self.now = 0.0
        self.chance = Random(f"delays {seed}")
        # Of the wall clock of a node, against true time.
        self.clock_error: defaultdict[NodeName, float] = defaultdict(float)
        self.network_delay = 0.001
        self.device_delay = 0.0002
        # What a delay may be multiplied by, at random.
        self.jitter = 1.0
        self.events: list[tuple[NodeName, agent_pb2.AgentEvent]] = []
        self.begin_keys = begin_keys or {}
        self.engines: dict[NodeName, Engine] = {}
        self.rules: dict[NodeName, tuple[PathRule, ...]] = dict.fromkeys(self.nodes, ())
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        # True states of pairs as their first half is measured; their frames may not be corrected yet.
        self.used: list[Bell] = []
        # When each node has something to do by itself.
        self._due: dict[NodeName, float] = {}
        # When what was last sent over a way arrives; and which connection it was sent over.
        self._last: dict[tuple[str, str], float] = {}
        self._session: defaultdict[frozenset[str], int] = defaultdict(int)
        self._down: set[frozenset[str]] = set()
        self._device_session: defaultdict[NodeName, int] = defaultdict(int)
        for node in self.nodes:
            self._start(node)
        for a, b in itertools.combinations(self.nodes, 2):
            self.connect(a, b)

    # ---- time ---------------------------------------------------------------------------------

    def moment(self, node: NodeName) -> Moment:
        """Now, by the clocks of a node; monotonic ones have nothing to do with each other."""
        own = self.now + 1000.0 * (1 + self.nodes.index(node))
        return Moment(own, ORIGIN_NANOS + int((self.now + self.clock_error[node]) * 1e9))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let so much time pass, or less if `until` holds earlier."""
        end = self.now + seconds
        for _ in range(MOST_TURNS):
            if until():
                return
            due, step = self._next()
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            step()
        raise AssertionError("it never comes to rest")

    def _next(self) -> tuple[float, Callable[[], None]]:
        choices: list[tuple[float, Callable[[], None]]] = [(self.memories.next_due(), self._herald)]
        if self._queue:
            choices.append((self._queue[0][0], self._arrive))
        node = min(self._due, key=self._due.__getitem__)
        choices.append((self._due[node], partial(self._tick, node)))
        return min(choices, key=lambda choice: choice[0])

    def _tick(self, node: NodeName) -> None:
        self.engines[node].tick(self.moment(node))
        self.flush(node)

    def _herald(self) -> None:
        for node, event in self.memories.advance(self.now):
            self._tell(node, event)

    def _arrive(self) -> None:
        heapq.heappop(self._queue)[2]()

    def _send(self, way: tuple[str, str], delay: float, what: Callable[[], None]) -> None:
        at = self.now + delay * self.chance.uniform(1.0, self.jitter)
        at = self._last[way] = max(at, self._last.get(way, 0.0))
        heapq.heappush(self._queue, (at, next(self._order), what))

    # ---- devices ------------------------------------------------------------------------------

    def _tell(self, node: NodeName, message: emulator_pb2.MemoryEvent) -> None:
        event, session = event_of(message), self._device_session[node]
        assert event is not None

        def told() -> None:
            if self._device_session[node] == session and node in self.engines:
                self.engines[node].device_told([event], self.moment(node))
                self.flush(node)

        self._send((f"device {node}", node), self.device_delay, told)

    def flush(self, node: NodeName) -> None:
        """Carry out what the engine wants."""
        moment = self.moment(node)
        instructions, due = self.engines[node].take(), self.engines[node].due(moment)
        self._due[node] = math.inf if due is None else self.now + max(0.0, due - moment.seconds) + 1e-9
        session = self._device_session[node]
        for command in instructions.commands:
            message = command_message(command)

            def commanded(message: emulator_pb2.MemoryCommand = message) -> None:
                if self._device_session[node] != session:
                    return
                self._herald()
                self._look(node, message)
                for event in self.memories.handle(node, message, self.now):
                    self._tell(node, event)

            self._send((node, f"device {node}"), self.device_delay, commanded)
        self._post(node, instructions)
        self.events += [(node, event) for event in instructions.events]

    def _look(self, node: NodeName, message: emulator_pb2.MemoryCommand) -> None:
        if message.WhichOneof("kind") != "measure":
            return
        half = self.memories.banks[node].slots[message.measure.memory]
        if isinstance(half, Half) and half.other is not None:
            pairs.settle(half, self.now)
            pairs.settle(half.other, self.now)
            self.used.append(half.pair.state)

    def device_restarts(self, node: NodeName) -> None:
        """The session with a node's device breaks, and another begins."""
        self._device_session[node] += 1
        self.memories.release_all(node, self.now)
        self.engines[node].device_lost("it restarted", self.moment(node))
        self.flush(node)
        self._take_in_hand(node)

    def disturb(self, link: LinkName, disturbance: Disturbance = UNDISTURBED) -> None:
        """From now on."""
        self._herald()
        self.memories.disturb(link, disturbance, self.now)

    def weaken(self, node: NodeName, disturbance: Disturbance = UNDISTURBED) -> None:
        """From now on."""
        self._herald()
        for event in self.memories.weaken(node, disturbance, self.now):
            self._tell(node, event)

    # ---- nodes --------------------------------------------------------------------------------

    def _start(self, node: NodeName) -> None:
        self.engines[node] = Engine(node, self.begin_keys.get(node))
        self._take_in_hand(node)

    def _take_in_hand(self, node: NodeName) -> None:
        answer = emulator_pb2.DescribeMemoriesResponse(bank=self.memories.banks[node].described())
        for link in self.memories.links.values():
            end = link.end_of(node)
            if end is not None:
                answer.link_ends.add(
                    link=link.name, peer_node=link.ends[1 - end], attempt_rate_hz=link.spec.attempts_hz
                )
        bank = described(answer)
        assert bank is not None
        self.engines[node].device_began(bank, self.moment(node))
        self.flush(node)

    def restart(self, node: NodeName) -> None:
        """The agent is another process now; peers learn of it."""
        self._device_session[node] += 1
        self.memories.release_all(node, self.now)
        others = [each for each in self.nodes if each != node]
        for other in others:
            self._session[frozenset((node, other))] += 1
        self._start(node)
        self.engines[node].apply(self.rules[node], self.moment(node))
        self.flush(node)
        for other in others:
            self.engines[other].peer_lost(node, self.moment(other))
            self.engines[other].peer_up(node, self.moment(other), restarted=True)
            self.flush(other)
            self.engines[node].peer_up(other, self.moment(node))
            self.flush(node)

    def apply(self, node: NodeName, rules: Iterable[PathRule]) -> None:
        """Policy for one node."""
        self.rules[node] = tuple(rules)
        self.engines[node].apply(self.rules[node], self.moment(node))
        self.flush(node)

    # ---- the network --------------------------------------------------------------------------

    def _post(self, node: NodeName, instructions: Instructions) -> None:
        for to, messages in instructions.messages:
            ends = frozenset((node, to))
            if ends not in self._down:
                arrived = partial(self._arrived, node, to, self._session[ends], messages)
                self._send((node, to), self.network_delay, arrived)

    def _arrived(self, node: NodeName, to: NodeName, session: int, messages: pairs_pb2.PairMessages) -> None:
        ends = frozenset((node, to))
        if self._session[ends] == session and ends not in self._down:
            self.engines[to].peer_told(node, messages, self.moment(to))
            self.flush(to)

    def cut(self, a: NodeName, b: NodeName) -> None:
        """Their session breaks: what is on its way is lost. The ends hear of it each in its time."""
        ways = frozenset((a, b))
        self._down.add(ways)
        self._session[ways] += 1
        for node, other in ((a, b), (b, a)):
            self._later(node, partial(self._hear_lost, node, other))

    def connect(self, a: NodeName, b: NodeName) -> None:
        """They have a session again; both know at once that the one before is gone."""
        self._down.discard(frozenset((a, b)))
        for node, other in ((a, b), (b, a)):
            self.engines[node].peer_lost(other, self.moment(node))
            self.engines[node].peer_up(other, self.moment(node))
            self.flush(node)

    def _hear_lost(self, node: NodeName, other: NodeName) -> None:
        if frozenset((node, other)) in self._down:
            self.engines[node].peer_lost(other, self.moment(node))
            self.flush(node)

    def _later(self, node: NodeName, what: Callable[[], None]) -> None:
        self._send((f"network {node}", node), 10 * self.network_delay, what)


# ---- rules -----------------------------------------------------------------------------------------------


def path_rules(
    nodes: Sequence[NodeName],
    *,
    stream: str = "s",
    path_id: str = "s:1",
    kind: str = "md",
    rate_hz: float = 1000.0,
    width: int = 2,
    rounds: int = 0,
    end_rounds: int = 0,
    cutoff_seconds: float = 2.0,
    test_ratio: float = 0.0,
    key_link: str = "",
    pair_count: int = 0,
    deadline_unix_nanos: int = 0,
) -> dict[NodeName, pairs_pb2.PairRule]:
    """A path over these nodes, which swap one after the other from the left."""
    links = [f"{a}-{b}" for a, b in itertools.pairwise(nodes)]
    found = {}
    for position, node in enumerate(nodes):
        rule = found[node] = pairs_pb2.PairRule(
            stream=stream,
            path_id=path_id,
            nodes=nodes,
            links=links,
            position=position,
            left_memories=width if position else 0,
            right_memories=width if position < len(links) else 0,
            kind=KINDS[kind],
            min_fidelity=0.6,
            rate_hz=rate_hz,
            test_ratio=test_ratio,
            key_link=key_link,
            pair_count=pair_count,
            deadline_unix_nanos=deadline_unix_nanos,
        )
        # Who shares halves with this node, until what rounds: neighbours, and the source or target.
        left, right = nodes[position - 1] if position else None, nodes[position + 1 :][:1]
        partners: dict[NodeName, int] = {}
        if left is not None:
            partners[left] = rounds
        if right:
            partners[right[0]] = rounds
        if len(nodes) > 2:
            # Of swapped pairs, only those from end to end are purified further.
            if position == 0:
                partners |= dict.fromkeys(nodes[2:-1], 0) | {nodes[-1]: end_rounds}
            elif position > 1:
                partners[nodes[0]] = end_rounds if position == len(nodes) - 1 else 0
        for partner, most in partners.items():
            for done in range(most + 1):
                rule.steps.add(partner=partner, rounds=done).cutoff.seconds = cutoff_seconds
                if done < most:
                    rule.steps.add(partner=partner, rounds=done).purify.SetInParent()
        if 0 < position < len(links):
            assert left is not None
            before = left if position == 1 else nodes[0]
            step = rule.steps.add(partner=before, rounds=partners[before])
            step.swap.with_partner, step.swap.with_rounds = right[0], rounds
        far = {0: nodes[-1], len(links): nodes[0]}.get(position)
        if far is not None:
            rule.steps.add(partner=far, rounds=partners[far]).deliver.SetInParent()
    return found


def put_in_force(lab: Lab, *paths: Mapping[NodeName, pairs_pb2.PairRule]) -> None:
    """At all nodes at once."""
    for node in lab.nodes:
        lab.apply(node, [PathRule.of(rules[node]) for rules in paths if node in rules])
