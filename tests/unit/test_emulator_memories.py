"""Emulated memories and links: rates and counts as theory has them, and no command that breaks them."""

import math
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from keyweave.common.entanglement.bell import Bell
from keyweave.common.names import LinkName, NodeName
from keyweave.emulator.memories.attempts import Attempts, disturbed
from keyweave.emulator.memories.bank import Memories
from keyweave.emulator.memories.pairs import Half
from keyweave.emulator.memories.specs import MemoriesSpec, PairLinkSpec
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance
from keyweave.v1 import emulator_pb2 as pb

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
AB, BC = LinkName("ab"), LinkName("bc")
ORIGIN = 1_700_000_000_000_000_000


def link(name: str, a: str, b: str, **other: Any) -> PairLinkSpec:
    heralding = {"kind": "single-click", "bright_state_ratio": 0.05}
    given = {"length_km": 20.0, "heralding": heralding, "other_loss_db": 10.0} | other
    return PairLinkSpec.model_validate({"name": name, "a": a, "b": b} | given)


def memories(links: Iterable[PairLinkSpec], **bank: Any) -> Memories:
    spec = MemoriesSpec.model_validate({"count": 3} | bank)
    return Memories(
        {A: spec, B: spec, C: spec}, tuple(links), seed=7, outcomes=Random(8), origin_unix_nanos=ORIGIN
    )


def attempt(memory: int, link: LinkName, tag: str = "t") -> pb.MemoryCommand:
    return pb.MemoryCommand(attempt=pb.MemoryAttempt(memory=memory, link=link, tag=tag))


def measure(memory: int, angle: float = 0.0) -> pb.MemoryCommand:
    return pb.MemoryCommand(measure=pb.MemoryMeasure(memory=memory, angle_radians=angle))


def correct(memory: int, x: bool, z: bool) -> pb.MemoryCommand:
    return pb.MemoryCommand(correct=pb.MemoryCorrect(memory=memory, x=x, z=z))


def do(
    bench: Memories, node: NodeName, *commands: pb.MemoryCommand, now: float = 0.0
) -> list[pb.MemoryEvent]:
    return [event for command in commands for event in bench.handle(node, command, now)]


# ---- heralding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "heralding", [{"kind": "single-click", "bright_state_ratio": 0.05}, {"kind": "double-click"}]
)
def test_pairs_come_at_the_rate_and_with_the_chance_per_attempt_that_the_scheme_has(
    heralding: dict[str, Any],
) -> None:
    spec = link("ab", "a", "b", heralding=heralding, other_loss_db=4.0)
    attempts, count, now = Attempts(spec, Random(1), 1), 4000, 0.0
    for end in (0, 1):
        attempts.begin(end, 0, "t", 0.0)
    z = 0
    for number in range(1, count + 1):
        now = attempts.next_due()
        (herald,) = attempts.heralds(now)
        assert (herald.number, herald.memories, herald.tag) == (number, (0, 0), "t")
        z += herald.z
        for end in (0, 1):
            attempts.begin(end, 0, "t", now)
    counts = attempts.counts(now)
    # As many attempts as the negative binomial distribution has for so many successes.
    success = spec.attempt(0.0).success_ratio
    sigma = math.sqrt(count * (1.0 - success)) / success
    assert counts.attempts == pytest.approx(count / success, abs=4.0 * sigma)
    assert counts.attempts == pytest.approx(now * spec.attempts_hz)
    assert counts.heralds == count
    assert counts.attempting_seconds == pytest.approx(now)
    assert count / now == pytest.approx(spec.undisturbed_hz, rel=4.0 / math.sqrt(count))
    assert abs(z - count / 2) < 4.0 * math.sqrt(count) / 2.0


def test_attempts_wait_for_the_light_to_go_and_come() -> None:
    # 204,219 km/s in fibre, halfway and back.
    assert link("ab", "a", "b", length_km=100, attempt_rate_hz=1e6).attempts_hz == pytest.approx(2042, abs=1)
    assert link("ab", "a", "b", length_km=1, attempt_rate_hz=1e4).attempts_hz == 1e4


def test_memories_are_matched_by_tag_in_the_order_they_began() -> None:
    bench = memories([link("ab", "a", "b")])
    do(bench, A, attempt(0, AB, "x"), attempt(1, AB, "y"), attempt(2, AB, "y"))
    do(bench, B, attempt(2, AB, "y"))
    events = bench.advance(bench.next_due())
    assert [(node, event.heralded.memory, event.heralded.tag) for node, event in events] == [
        (A, 1, "y"),
        (B, 2, "y"),
    ]
    assert events[0][1].heralded.number == events[1][1].heralded.number
    assert bench.next_due() == math.inf


def test_a_partner_that_gives_up_leaves_the_other_to_wait_for_the_next() -> None:
    bench = memories([link("ab", "a", "b")])
    do(bench, A, attempt(0, AB))
    do(bench, B, attempt(0, AB), pb.MemoryCommand(release=pb.MemoryRelease(memory=0)))
    assert bench.next_due() == math.inf
    do(bench, B, attempt(1, AB))
    assert [event.heralded.memory for _, event in bench.advance(bench.next_due())] == [0, 1]


def test_numbers_are_not_used_again_by_an_emulator_that_starts_later() -> None:
    def first_number(origin: int) -> int:
        bench = Memories(
            {A: MemoriesSpec(count=1), B: MemoriesSpec(count=1)},
            [link("ab", "a", "b")],
            seed=1,
            outcomes=Random(1),
            origin_unix_nanos=origin,
        )
        for node in (A, B):
            do(bench, node, attempt(0, AB))
        return next(event.heralded.number for _, event in bench.advance(bench.next_due()))

    # A second later, in which at most a million pairs came.
    assert first_number(ORIGIN + 10**9) == first_number(ORIGIN) + 10**6


def test_a_link_uses_no_more_memories_at_a_time_than_it_can() -> None:
    bench = memories([link("ab", "a", "b", memories=1)])
    (refused,) = do(bench, A, attempt(0, AB), attempt(1, AB))
    assert refused.refused.memory == 1
    assert "can use 1 memories" in refused.refused.reason


# ---- faults ------------------------------------------------------------------------------------------


def rate(bench: Memories, until: float) -> float:
    """Pairs per second from now on, one pair of memories."""
    heralds, now = 0, 0.0
    for node in (A, B):
        do(bench, node, attempt(0, AB))
    while (now := bench.next_due()) <= until:
        heralds += 1
        for node, event in bench.advance(now):
            do(bench, node, measure(event.heralded.memory), attempt(event.heralded.memory, AB), now=now)
    return heralds / until


def test_loss_makes_pairs_rarer_and_a_cut_ends_them() -> None:
    usual = link("ab", "a", "b").undisturbed_hz
    for loss, factor in ((0.0, 1.0), (6.0, 10**-0.3)):
        bench = memories([link("ab", "a", "b")])
        bench.disturb(AB, Disturbance(added_loss_db=loss), 0.0)
        expected = usual * factor
        assert rate(bench, 60.0) == pytest.approx(expected, abs=4.0 * math.sqrt(expected / 60.0))
    for dark in (Disturbance(cut=True), Disturbance(clock_lost=True)):
        bench = memories([link("ab", "a", "b")])
        assert bench.disturb(AB, dark, 0.0)
        assert rate(bench, 60.0) == 0.0
        assert bench.links[AB].counts(60.0) == (0.0, 0, 0.0)
        assert bench.disturb(AB, UNDISTURBED, 60.0)
        assert bench.next_due() < math.inf


def test_a_drift_turns_signs_and_whoever_intercepts_all_makes_a_quarter_of_the_outcomes_differ() -> None:
    spec = link("ab", "a", "b", heralding={"kind": "double-click"})
    drifted = disturbed(spec, Disturbance(misalignment_ratio=0.1)).state
    assert drifted == pytest.approx(Bell(0.9, 0.1, 0.0, 0.0))
    read = disturbed(spec, Disturbance(intercepted_ratio=1.0)).state
    assert (read.qber_z, read.qber_x, read.fidelity) == pytest.approx((0.25, 0.25, 0.5))
    assert disturbed(spec, Disturbance(intercepted_ratio=0.4)).state.fidelity == pytest.approx(0.8)


def test_a_memory_that_fails_loses_its_pair_and_works_again_when_mended() -> None:
    bench = memories([link("ab", "a", "b")])
    for node in (A, B):
        do(bench, node, attempt(0, AB), attempt(1, AB))
    now = bench.next_due()
    bench.advance(now)
    told = bench.weaken(A, Disturbance(failed_memories=2.9), now)
    assert [(event.works.memory, event.works.works) for event in told] == [(0, False), (1, False)]
    assert bench.banks[A].slots == [None] * 3
    for memory in (0, 1):
        (refused,) = do(bench, A, attempt(memory, AB), now=now)
        assert "does not work" in refused.refused.reason
    assert do(bench, A, attempt(2, AB), now=now) == []
    told = bench.weaken(A, UNDISTURBED, now)
    assert [(event.works.memory, event.works.works) for event in told] == [(0, True), (1, True)]


def test_coherence_is_told_when_it_changes_and_pairs_that_are_held_fade_with_it() -> None:
    bench = memories([link("ab", "a", "b", heralding={"kind": "double-click"})], t2_seconds=10.0)
    for node in (A, B):
        do(bench, node, attempt(0, AB))
    due = bench.next_due()
    herald = next(event.heralded for _, event in bench.advance(due))
    do(bench, B, correct(0, herald.x, herald.z), now=due)
    for node in (A, B):
        (told,) = bench.weaken(node, Disturbance(memory_decay_factor=10.0), due)
        assert told.bank.t2_seconds == pytest.approx(1.0)
        assert not bench.weaken(node, Disturbance(memory_decay_factor=10.0), due)
    for node in (A, B):
        do(bench, node, correct(0, False, False), now=due + 1.0)
    held = bench.banks[A].slots[0]
    assert isinstance(held, Half)
    assert held.pair.state.fidelity == pytest.approx(0.56767, abs=5e-6)


# ---- memories ----------------------------------------------------------------------------------------


def test_a_device_that_misreads_one_outcome_in_ten_makes_ends_agree_less() -> None:
    bench = memories(
        [link("ab", "a", "b", heralding={"kind": "double-click"}, other_loss_db=0)], readout_fidelity=0.9
    )
    count, equal, now = 4000, 0, 0.0
    for _ in range(count):
        for node in (A, B):
            do(bench, node, attempt(0, AB), now=now)
        now = bench.next_due()
        herald = next(event.heralded for _, event in bench.advance(now))
        do(bench, B, correct(0, herald.x, herald.z), now=now)
        near, far = (do(bench, node, measure(0), now=now)[0].measured.outcome for node in (A, B))
        equal += near == far
    expected = 0.9**2 + 0.1**2
    assert equal / count == pytest.approx(expected, abs=4.0 * math.sqrt(expected * (1 - expected) / count))


def test_swaps_fail_as_often_as_the_bank_says_and_leave_nothing_then() -> None:
    bench = memories([link("ab", "a", "b"), link("bc", "b", "c")], swap_success_ratio=0.6)
    count, succeeded, now = 1500, 0, 0.0
    for _ in range(count):
        do(bench, A, attempt(0, AB), now=now)
        do(bench, B, attempt(0, AB), attempt(1, BC), now=now)
        do(bench, C, attempt(0, BC), now=now)
        while (due := bench.next_due()) < math.inf:
            now = due
            bench.advance(now)
        (event,) = do(bench, B, pb.MemoryCommand(swap=pb.MemorySwap(first=0, second=1)), now=now)
        assert bench.banks[B].slots[:2] == [None, None]
        held = bench.banks[A].slots[0]
        assert isinstance(held, Half)
        succeeded += event.swapped.succeeded
        assert (held.other is bench.banks[C].slots[0]) == event.swapped.succeeded
        do(bench, A, measure(0), now=now)
        do(bench, C, measure(0), now=now)
    assert succeeded / count == pytest.approx(0.6, abs=4.0 * math.sqrt(0.24 / count))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (attempt(3, AB), "there is no memory 3; they are numbered 0 to 2"),
        (attempt(0, BC), "there is no pair link 'bc' at 'a'; there are ab"),
        (attempt(0, LinkName("z")), "there is no pair link 'z' at 'a'; there are ab"),
        (attempt(1, AB), "memory 1 was not free"),
        (measure(0), "memory 0 held no pair"),
        (measure(1), "memory 1 held no pair"),
        (pb.MemoryCommand(swap=pb.MemorySwap(first=2, second=2)), "takes two memories"),
        (pb.MemoryCommand(purify=pb.MemoryPurify(kept=2, measured=0)), "memory 0 held no pair"),
        (pb.MemoryCommand(correct=pb.MemoryCorrect(memory=9)), "there is no memory 9"),
        (pb.MemoryCommand(release=pb.MemoryRelease(memory=9)), "there is no memory 9"),
    ],
)
def test_a_command_that_does_not_fit_says_why_and_frees_what_it_names(
    command: pb.MemoryCommand, said: str
) -> None:
    bench = memories([link("ab", "a", "b"), link("bc", "b", "c")])
    do(bench, A, attempt(2, AB))
    do(bench, B, attempt(0, AB))
    bench.advance(bench.next_due())
    do(bench, A, attempt(1, AB))
    events = do(bench, A, command)
    assert events
    for event in events:
        assert said in event.refused.reason
        if event.refused.memory < 3:
            assert bench.banks[A].slots[event.refused.memory] is None


# ---- whatever the commands -----------------------------------------------------------------------------

_COMMANDS = st.one_of(
    st.builds(attempt, st.integers(0, 4), st.sampled_from([AB, BC, LinkName("z")]), st.sampled_from("xy")),
    st.builds(attempt, st.integers(0, 2), st.sampled_from([AB, BC])),
    st.builds(measure, st.integers(0, 3), st.floats(-1e6, 1e6)),
    st.builds(correct, st.integers(0, 3), st.booleans(), st.booleans()),
    st.builds(lambda m: pb.MemoryCommand(release=pb.MemoryRelease(memory=m)), st.integers(0, 3)),
    st.builds(
        lambda f, s: pb.MemoryCommand(swap=pb.MemorySwap(first=f, second=s)),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    st.builds(
        lambda k, m: pb.MemoryCommand(purify=pb.MemoryPurify(kept=k, measured=m)),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    st.just(pb.MemoryCommand()),
)
_NODES = st.sampled_from([A, B, C])
_DISTURBANCES = st.sampled_from(
    [
        UNDISTURBED,
        Disturbance(cut=True),
        Disturbance(added_loss_db=10.0, misalignment_ratio=0.2, intercepted_ratio=0.5),
        Disturbance(failed_memories=1.5, memory_decay_factor=3.0),
        Disturbance(failed_memories=9.0),
    ]
)


class HostileCommands(RuleBasedStateMachine):
    """Three nodes in a row, whose commands need make no sense."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        spec = MemoriesSpec(
            count=3, t1_seconds=2.0, t2_seconds=1.0, swap_success_ratio=0.7, swap_fidelity=0.9
        )
        self.memories = Memories(
            {A: spec, B: spec, C: spec},
            [link("ab", "a", "b", memories=2), link("bc", "b", "c")],
            seed=seed,
            outcomes=Random(seed),
            origin_unix_nanos=ORIGIN,
        )
        self.now = 0.0
        self.numbers: dict[str, int] = {}

    @rule(node=_NODES, commands=st.lists(_COMMANDS, max_size=8))
    def commanded(self, node: NodeName, commands: list[pb.MemoryCommand]) -> None:
        for command in commands:
            for event in self.memories.handle(node, command, self.now):
                assert event.WhichOneof("kind") in {"swapped", "measured", "refused"}

    @rule(tag=st.sampled_from("xy"), near=st.integers(0, 2), far=st.integers(0, 2))
    def both_ends_attempt(self, tag: str, near: int, far: int) -> None:
        for node, memory, name in ((A, near, AB), (B, far, AB)):
            self.memories.handle(node, attempt(memory, name, tag), self.now)

    @rule(seconds=st.floats(0.0, 2.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        heralds = self.memories.advance(self.now)
        for (near_node, near), (far_node, far) in zip(heralds[::2], heralds[1::2], strict=True):
            one, other = near.heralded, far.heralded
            assert (one.link, one.number, one.tag) == (other.link, other.number, other.tag)
            assert one.number > self.numbers.get(one.link, 0)
            self.numbers[one.link] = one.number
            halves = [
                self.memories.banks[node].slots[told.memory]
                for node, told in ((near_node, one), (far_node, other))
            ]
            assert all(isinstance(half, Half) for half in halves)

    @rule(node=_NODES, disturbance=_DISTURBANCES)
    def weakened(self, node: NodeName, disturbance: Disturbance) -> None:
        self.memories.weaken(node, disturbance, self.now)

    @rule(name=st.sampled_from([AB, BC]), disturbance=_DISTURBANCES)
    def link_disturbed(self, name: LinkName, disturbance: Disturbance) -> None:
        self.memories.disturb(name, disturbance, self.now)

    @rule(node=_NODES)
    def session_ended(self, node: NodeName) -> None:
        self.memories.release_all(node, self.now)
        assert self.memories.banks[node].slots == [None] * 3

    @invariant()
    def no_memory_is_in_two_pairs_and_no_pair_in_three_memories(self) -> None:
        held = [
            (bank.node, slot)
            for bank in self.memories.banks.values()
            for slot in bank.slots
            if isinstance(slot, Half)
        ]
        assert len({id(half) for _, half in held}) == len(held)
        in_memories = {id(half) for _, half in held}
        for node, half in held:
            assert half.node == node
            assert half in half.pair.halves
            assert {id(each) for each in half.pair.halves} <= in_memories
            assert len(half.pair.halves) <= 2

    @invariant()
    def states_are_states(self) -> None:
        for bank in self.memories.banks.values():
            for slot in bank.slots:
                if not isinstance(slot, Half):
                    continue
                state, vector = slot.pair.state, slot.pair.vector
                assert min(state) >= -1e-12
                assert math.fsum(state) == pytest.approx(1.0)
                assert max(state) >= 0.25 - 1e-12
                assert vector is None or math.hypot(*vector) <= 1.0 + 1e-9
                assert (vector is None) == (len(slot.pair.halves) == 2 or slot.pair.round is not None)

    @invariant()
    def what_does_not_work_is_free_and_what_attempts_is_known_to_its_link(self) -> None:
        for bank in self.memories.banks.values():
            assert all(bank.works(memory) for memory, slot in enumerate(bank.slots) if slot is not None)
            for name, attempts in self.memories.links.items():
                end = attempts.end_of(bank.node)
                mine = {memory for memory, slot in enumerate(bank.slots) if slot is attempts}
                known = set() if end is None else set(attempts._busy[end])
                assert mine == known, name


TestHostileCommands = HostileCommands.TestCase
TestHostileCommands.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
