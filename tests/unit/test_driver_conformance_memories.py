"""The conformance suite passes a sound driver of memories, and names what another one breaks."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from keyweave.agent.drivers import conformance_memories
from keyweave.agent.drivers.conformance_memories import Judged, bank_wrong, judge
from keyweave.agent.drivers.emulator_memories import command_message, event_of
from keyweave.agent.drivers.memories import (
    Command,
    Event,
    Heralded,
    Measure,
    MemoryBankInfo,
    MemorySession,
    PairLinkInfo,
    Refused,
    Release,
)
from keyweave.common.names import LinkName, NodeName
from keyweave.emulator.memories.bank import Memories
from keyweave.emulator.memories.specs import MemoriesSpec, PairLinkSpec

A, B = NodeName("a"), NodeName("b")
SECONDS = 20.0
LINK = PairLinkInfo(LinkName("ab"), B, "m", 1000.0, 0, 1.0)
BANK = MemoryBankInfo("m", 4, 1.0, 1.0, 1.0, 1.0, 1.0, emulated=True, links=(LINK,))


class Laboratory:
    """Two nodes with memories. Time goes on to the next herald whenever nobody has anything to do."""

    def __init__(self) -> None:
        spec = MemoriesSpec(count=4)
        heralding = {"kind": "single-click", "bright_state_ratio": 0.05}
        link = PairLinkSpec.model_validate(
            {"name": "ab", "a": "a", "b": "b", "length_km": 1, "heralding": heralding}
        )
        self.memories = Memories(
            {A: spec, B: spec}, [link], seed=1, outcomes=Random(1), origin_unix_nanos=10**18
        )
        self.now = 0.0
        self.told: defaultdict[NodeName, deque[Event]] = defaultdict(deque)
        self.changed = asyncio.Event()

    def advance(self) -> None:
        self.now = max(self.now, self.memories.next_due())
        for node, message in self.memories.advance(self.now):
            if (event := event_of(message)) is not None:
                self.told[node].append(event)


class Sound:
    """A driver that keeps the contract."""

    def __init__(self, laboratory: Laboratory, node: NodeName) -> None:
        self.laboratory, self.node = laboratory, node

    async def memory_bank(self) -> MemoryBankInfo | None:
        return replace(BANK, links=(replace(LINK, peer_node=A if self.node == B else B),))

    @asynccontextmanager
    async def open_memories(self) -> AsyncIterator[MemorySession]:
        self.laboratory.memories.release_all(self.node, self.laboratory.now)
        self.laboratory.told[self.node].clear()
        yield self

    async def send(self, commands: Sequence[Command]) -> None:
        for command in commands:
            message = command_message(self.carried_out(command))
            for answer in self.laboratory.memories.handle(self.node, message, self.laboratory.now):
                event = event_of(answer)
                assert event is not None
                self.laboratory.told[self.node].append(event)
        self.laboratory.changed.set()

    async def receive(self) -> tuple[Event, ...]:
        told = self.laboratory.told[self.node]
        while not told:
            if self.laboratory.memories.next_due() < float("inf"):
                self.laboratory.advance()
                self.laboratory.changed.set()
            else:
                self.laboratory.changed.clear()
                await self.laboratory.changed.wait()
        await asyncio.sleep(0)
        events = tuple(event for one in told if (event := self.heard(one)) is not None)
        told.clear()
        return events

    def carried_out(self, command: Command) -> Command:
        return command

    def heard(self, event: Event) -> Event | None:
        return event


class NumbersForItself(Sound):
    def heard(self, event: Event) -> Event | None:
        return replace(event, number=event.number + 10**9) if isinstance(event, Heralded) else event


class ToldOtherCorrections(Sound):
    def heard(self, event: Event) -> Event | None:
        return replace(event, x=not event.x) if isinstance(event, Heralded) else event


class SameNumberTwice(Sound):
    def heard(self, event: Event) -> Event | None:
        return replace(event, number=event.number // 8 * 8) if isinstance(event, Heralded) else event


class HeedsNoAngle(Sound):
    def carried_out(self, command: Command) -> Command:
        return replace(command, angle_radians=0.0) if isinstance(command, Measure) else command


class SaysNothingOfWhatItRefuses(Sound):
    def heard(self, event: Event) -> Event | None:
        return None if isinstance(event, Refused) else event


class KeepsWhatIsReleased(Sound):
    def heard(self, event: Event) -> Event | None:
        return None if isinstance(event, Refused) and self.released else event

    released = False

    def carried_out(self, command: Command) -> Command:
        self.released |= isinstance(command, Release)
        return command


class TellsEachTimeOtherwise(Sound):
    asked = 0

    async def memory_bank(self) -> MemoryBankInfo | None:
        self.asked += 1
        return replace(BANK, model=f"{self.asked}")


class HasNone(Sound):
    async def memory_bank(self) -> MemoryBankInfo | None:
        return None


async def judged(
    ours: type[Sound], theirs: type[Sound] | None = Sound, seconds: float = SECONDS
) -> dict[str, Judged]:
    laboratory = Laboratory()
    peer = theirs(laboratory, B) if theirs else None
    found = await judge(ours(laboratory, A), A, peer, B if theirs else None, seconds)
    return {each.check: each for each in found}


async def test_a_sound_driver_passes_and_the_fidelity_of_its_pairs_is_told() -> None:
    found = await judged(Sound)
    assert list(found) == ["memory-bank", "memory-commands", "pair-numbers", "pair-outcomes"]
    assert [list(each.wrong or ()) for each in found.values()] == [[], [], [], []]
    assert found["pair-outcomes"].said.startswith("fidelity 0.9")


@pytest.mark.parametrize(
    ("ours", "theirs", "check", "said"),
    [
        (NumbersForItself, Sound, "pair-numbers", "no pair of one number"),
        (ToldOtherCorrections, Sound, "pair-numbers", "told different things of pair"),
        (ToldOtherCorrections, ToldOtherCorrections, "pair-outcomes", "corrections or axes"),
        (SameNumberTwice, SameNumberTwice, "pair-numbers", "heralded twice"),
        (HeedsNoAngle, HeedsNoAngle, "pair-outcomes", "`angle_radians` is not heeded"),
        (TellsEachTimeOtherwise, Sound, "memory-bank", "otherwise the second time"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_each_defect_is_found_by_its_own_check(
    ours: type[Sound], theirs: type[Sound], check: str, said: str
) -> None:
    # One that uses numbers again never has enough of them.
    found = await judged(ours, theirs, seconds=3.0)
    assert said in "; ".join(found[check].wrong or ())


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (SaysNothingOfWhatItRefuses, "a free memory was measured, and no Refused came"),
        (KeepsWhatIsReleased, "a memory was measured that had been released"),
    ],
)
async def test_commands_that_do_not_fit_must_be_told_of(ours: type[Sound], said: str) -> None:
    found = await judged(ours, None, seconds=0.5)
    assert any(said in words for words in found["memory-commands"].wrong or ())


def test_pairs_that_are_not_entangled_are_told_from_those_that_are() -> None:
    mixed = {number: (bool(number >> 2 & 1), bool(number >> 3 & 1)) for number in range(640)}
    wrong, _ = conformance_memories.outcomes_wrong(mixed)
    assert "fidelity 0.25 with Phi+" in wrong[0]
    assert conformance_memories.outcomes_wrong({})[0] == ["too few pairs came in time: 0; wanted were 320"]


async def test_without_memories_nothing_is_checked_and_without_a_peer_no_pairs_are() -> None:
    assert await judged(HasNone) == {}
    assert await judge(object(), A, None, None, SECONDS) == []
    found = await judged(Sound, None)
    assert [check for check, each in found.items() if each.wrong is None] == ["pair-numbers", "pair-outcomes"]


@pytest.mark.parametrize(
    ("bank", "said"),
    [
        (replace(BANK, memories=0), "memories is 0"),
        (replace(BANK, t2_seconds=2.5), "T2 is at most twice T1"),
        (replace(BANK, readout_fidelity=0.4), "readout_fidelity is 0.4; possible is 0.5 to 1"),
        (replace(BANK, swap_success_ratio=1.5), "swap_success_ratio is 1.5"),
        (replace(BANK, links=(LINK, LINK)), "told twice"),
        (replace(BANK, links=(replace(LINK, peer_node=A),)), "to itself"),
        (replace(BANK, links=(replace(LINK, attempt_rate_hz=0.0),)), "attempt_rate_hz"),
        (replace(BANK, links=(replace(LINK, link=LinkName("A B")),)), "is no name"),
    ],
)
def test_what_no_bank_can_be_is_named(bank: MemoryBankInfo, said: str) -> None:
    assert said in "; ".join(bank_wrong(bank, A))
    assert bank_wrong(BANK, A) == []
