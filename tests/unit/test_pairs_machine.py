"""Chains of nodes that work pairs while everything goes wrong: sessions break, nodes and devices restart,
memories fail, paths change, messages of different ways overtake each other.

What must hold: no memory is in two pairs, each half begins and ends once, and what both ends call
one pair is one pair.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keyweave.agent.pairs.deliver import Outcome
from keyweave.agent.pairs.memories import State
from keyweave.agent.pairs.pair import Doing
from keyweave.agent.pairs.steps import PathRule
from keyweave.common.names import NodeName, StreamName
from keyweave.emulator.memories.pairs import Half
from keyweave.emulator.memories.specs import MemoriesSpec
from keyweave.emulator.physics.model import Disturbance
from keyweave.v1 import pairs_pb2
from tests.unit.pair_lab import NAMES, Lab, path_rules, put_in_force

KINDS = st.sampled_from(("nl", "ck", "md"))
# So that no example takes long.
MOST_SECONDS = 5.0
PLACES = st.integers(0, 3)


class Chain(RuleBasedStateMachine):
    """Four nodes, two streams over parts of the chain."""

    @initialize(
        seed=st.integers(0, 1000),
        jitter=st.sampled_from((1.0, 3.0, 40.0)),
        kind=KINDS,
        rounds=st.integers(0, 1),
        end_rounds=st.integers(0, 1),
    )
    def the_nodes_start(self, seed: int, jitter: float, kind: str, rounds: int, end_rounds: int) -> None:
        self.lab = Lab(4, memories=MemoriesSpec(count=6), rate_hz=100.0, seed=seed)
        self.lab.jitter = jitter
        self.lab.network_delay = 0.004
        self.version = 0
        self.numbers: dict[tuple[NodeName, str], int] = {}
        self.outcomes: dict[tuple[str, bytes], dict[NodeName, Outcome]] = {}
        self.paths: dict[str, dict[NodeName, pairs_pb2.PairRule]] = {}
        self.plan("s", 0, 3, kind, 2, rounds, end_rounds)
        self.in_force_everywhere()

    # ---- policy -------------------------------------------------------------------------------

    @rule(
        stream=st.sampled_from(("s", "t")),
        first=st.integers(0, 2),
        length=st.integers(1, 3),
        kind=KINDS,
        width=st.integers(1, 3),
        rounds=st.integers(0, 1),
        end_rounds=st.integers(0, 1),
    )
    def plan(
        self, stream: str, first: int, length: int, kind: str, width: int, rounds: int, end_rounds: int
    ) -> None:
        self.version += 1
        self.paths[stream] = path_rules(
            NAMES[first : min(4, first + length + 1)],
            stream=stream,
            path_id=f"{stream}:{self.version}",
            kind=kind,
            width=width * 2 ** max(rounds, end_rounds),
            rounds=rounds,
            end_rounds=end_rounds,
            cutoff_seconds=0.3,
            test_ratio=0.2,
        )

    @rule(place=PLACES)
    def in_force_at(self, place: int) -> None:
        node = NAMES[place]
        self.lab.apply(node, [PathRule.of(rules[node]) for rules in self.paths.values() if node in rules])

    @rule()
    def in_force_everywhere(self) -> None:
        put_in_force(self.lab, *self.paths.values())

    @rule(stream=st.sampled_from(("s", "t")))
    def no_more(self, stream: str) -> None:
        self.paths.pop(stream, None)

    # ---- what goes wrong ----------------------------------------------------------------------

    @rule(a=PLACES, b=PLACES)
    def a_session_breaks(self, a: int, b: int) -> None:
        if a != b:
            self.lab.cut(NAMES[a], NAMES[b])

    @rule(a=PLACES, b=PLACES)
    def a_session_begins(self, a: int, b: int) -> None:
        if a != b:
            self.lab.connect(NAMES[a], NAMES[b])

    @rule(place=PLACES)
    def an_agent_restarts(self, place: int) -> None:
        self.lab.restart(NAMES[place])

    @rule(place=PLACES)
    def a_device_restarts(self, place: int) -> None:
        self.lab.device_restarts(NAMES[place])

    @rule(place=PLACES, failed=st.integers(0, 6))
    def memories_fail(self, place: int, failed: int) -> None:
        self.lab.weaken(NAMES[place], Disturbance(failed_memories=failed))

    @rule(place=st.integers(0, 2), cut=st.booleans())
    def a_fibre_breaks_or_is_mended(self, place: int, cut: bool) -> None:
        self.lab.disturb(self.lab.links[place], Disturbance(cut=cut))

    @rule(seconds=st.sampled_from((0.003, 0.02, 0.1, 0.3)))
    def time_passes(self, seconds: float) -> None:
        self.lab.run(seconds)

    @precondition(lambda self: self.lab.now < MOST_SECONDS)
    @invariant()
    def time_goes_on(self) -> None:
        """Between any two steps: now a moment, now long enough for pairs to come to both ends."""
        self.lab.run(self.lab.chance.choice((0.0, 0.001, 0.05, 0.2)))

    # ---- what holds ---------------------------------------------------------------------------

    @invariant()
    def each_half_begins_and_ends_once(self) -> None:
        for engine in self.lab.engines.values():
            stock = engine.stock
            assert stock.heralded_total == len(stock.pairs) + sum(stock.endings.values())

    @invariant()
    def no_memory_is_in_two_pairs(self) -> None:
        for engine in self.lab.engines.values():
            memories = [pair.memory for pair in engine.stock.pairs.values()]
            assert len(set(memories)) == len(memories)
            register = engine.stock.register
            assert register is not None
            for pair in engine.stock.pairs.values():
                assert register.state(pair.memory) is State.HOLDING
                assert engine.stock.in_memory(pair.memory) is pair

    @invariant()
    def no_side_uses_more_memories_than_it_was_given(self) -> None:
        for engine in self.lab.engines.values():
            for side in engine.sides():
                assert len(side.used) <= side.wanted

    @invariant()
    def a_pair_that_both_ends_keep_is_one_pair(self) -> None:
        kept: dict[bytes, list[NodeName]] = {}
        for node, engine in self.lab.engines.items():
            for pair in engine.stock.pairs.values():
                if pair.doing is Doing.KEPT:
                    kept.setdefault(pair.pair_id, []).append(node)
        for pair_id, nodes in kept.items():
            assert len(nodes) <= 2
            if len(nodes) == 2:
                self._are_one(pair_id, *nodes)

    def _are_one(self, pair_id: bytes, one: NodeName, other: NodeName) -> None:
        here, there = (self.lab.engines[node].stock.pairs[pair_id] for node in (one, other))
        assert (here.partner, there.partner) == (other, one)
        assert here.use is not None
        assert there.use is not None
        assert here.use.number == there.use.number
        halves = [
            self.lab.memories.banks[node].slots[pair.memory] for node, pair in ((one, here), (other, there))
        ]
        first, second = halves
        # Unless a restart or a failure has just taken one, of which the other end has not heard.
        if isinstance(first, Half) and isinstance(second, Half) and first.pair is second.pair:
            assert first.pair.state.fidelity > 1.0 - 1e-9, "perfect pairs, frames corrected"

    @invariant()
    def outcomes_of_one_pair_agree(self) -> None:
        for node, engine in self.lab.engines.items():
            for stream in ("s", "t"):
                for outcome in engine.shelf.take_outcomes(StreamName(stream), 10_000):
                    ends = self.outcomes.setdefault((stream, outcome.pair_id), {})
                    assert node not in ends, "an outcome was handed out twice"
                    ends[node] = outcome
                    assert len(ends) <= 2
                    if len(ends) == 2:
                        first, second = ends.values()
                        assert first.number == second.number
                        assert first.basis != second.basis or first.bit == second.bit

    def teardown(self) -> None:
        """Once all is mended, pairs come again, and nothing that was left over holds a memory for ever."""
        for place, node in enumerate(NAMES[:4]):
            self.memories_fail(place, 0)
            for other in NAMES[:place]:
                self.lab.connect(node, other)
        for place in range(3):
            self.a_fibre_breaks_or_is_mended(place, False)
        self.no_more("t")
        self.plan("s", 0, 3, "md", 1, 0, 0)
        self.in_force_everywhere()
        before = self.lab.engines[NAMES[3]].counts.delivered_total(StreamName("s"))
        self.lab.run(
            20.0,
            until=lambda: self.lab.engines[NAMES[3]].counts.delivered_total(StreamName("s")) >= before + 3,
        )
        assert self.lab.engines[NAMES[3]].counts.delivered_total(StreamName("s")) >= before + 3
        put_in_force(self.lab)
        self.lab.run(1.0)
        for engine in self.lab.engines.values():
            assert not engine.stock.pairs
            assert not any(side.used for side in engine.sides())


TestChain = Chain.TestCase
TestChain.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
