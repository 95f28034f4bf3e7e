"""Whether a driver of quantum memories keeps its contract: pairs are made and measured at both ends."""

import asyncio
import math
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field

from keyweave.agent.drivers.base import DriverUnavailableError
from keyweave.agent.drivers.memories import (
    Attempt,
    Command,
    Correct,
    HasMemories,
    Heralded,
    Measure,
    Measured,
    MemoryBankInfo,
    MemoryId,
    MemorySession,
    PairLinkInfo,
    Refused,
    Release,
)
from keyweave.common.names import NAME_RULE, LinkName, NodeName, is_name

MAX_MEMORIES = 4096
# Of every choice of axes.
PAIRS = 80
_MEMORIES_AT_WORK = 8
_TAG = "conformance"
# What the near end and the far end measure along.
_TURNED = math.pi / 3
_AXES: Mapping[str, tuple[tuple[float, bool], tuple[float, bool]]] = {
    "Z": ((0.0, False), (0.0, False)),
    "X": ((math.pi / 2, False), (math.pi / 2, False)),
    "Y": ((0.0, True), (0.0, True)),
    "turned": ((_TURNED, False), (0.0, False)),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """One check; `wrong` is None where it cannot be made, for the reason in `said`."""

    check: str
    wrong: Sequence[str] | None
    said: str


@dataclass(slots=True)
class _End:
    """One end at work, and what it saw of each pair."""

    session: MemorySession
    link: LinkName
    near: bool
    memories: int
    heralds: dict[int, Heralded] = field(default_factory=dict)
    outcomes: dict[int, bool] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


async def judge(
    driver: object, node: NodeName, peer: object, peer_node: NodeName | None, seconds: float
) -> list[Judged]:
    """All checks of a driver's memories; none where it has no memories."""
    if not isinstance(driver, HasMemories):
        return []
    bank, again = await driver.memory_bank(), await driver.memory_bank()
    if bank is None:
        return []
    wrong = bank_wrong(bank, node) + ([] if bank == again else ["it is described otherwise the second time"])
    found = [Judged("memory-bank", wrong, f"{bank.memories} memories, {len(bank.links)} pair links")]
    found.append(await _commands(driver, bank, seconds))
    shared = [link for link in bank.links if link.peer_node == peer_node]
    if not isinstance(peer, HasMemories) or not shared:
        reason = (
            "pairs have two ends: give the settings of one that has memories, over a pair link, as `peer`"
        )
        return [*found, *(Judged(check, None, reason) for check in ("pair-numbers", "pair-outcomes"))]
    theirs = await peer.memory_bank()
    mirrored = [link for link in theirs.links if link.link == shared[0].link] if theirs else []
    if [link.peer_node for link in mirrored] != [node]:
        wrong = [f"the other end does not say that link '{shared[0].link}' leads to '{node}'"]
        return [*found, Judged("pair-numbers", wrong, "")]
    async with driver.open_memories() as near, peer.open_memories() as far:
        count = min(bank.memories, theirs.memories if theirs else 0, shared[0].memories or _MEMORIES_AT_WORK)
        ends = [
            _End(session, shared[0].link, is_near, min(count, _MEMORIES_AT_WORK))
            for session, is_near in ((near, True), (far, False))
        ]
        await _work_both(ends, seconds)
    numbers = numbers_wrong(ends[0].heralds, ends[1].heralds, in_flight=2 * count)
    both = ends[0].outcomes.keys() & ends[1].outcomes.keys()
    measured = {number: (ends[0].outcomes[number], ends[1].outcomes[number]) for number in both}
    broken, said = outcomes_wrong(measured)
    return [
        *found,
        Judged(
            "pair-numbers", [*ends[0].wrong, *ends[1].wrong, *numbers], f"{len(both)} pairs, at both ends"
        ),
        Judged("pair-outcomes", broken, said),
    ]


def bank_wrong(bank: MemoryBankInfo, node: NodeName) -> list[str]:
    """What no bank of memories can be."""
    wrong = []
    if not 1 <= bank.memories <= MAX_MEMORIES:
        wrong.append(f"memories is {bank.memories}; 1 to {MAX_MEMORIES} are taken")
    if not (bank.t1_seconds > 0 and 0 < bank.t2_seconds <= 2 * bank.t1_seconds):
        wrong.append(
            f"T1 {bank.t1_seconds:g} s and T2 {bank.t2_seconds:g} s cannot be: T2 is at most twice T1"
        )
    for name, least in (("swap_success_ratio", 0.0), ("swap_fidelity", 0.0), ("readout_fidelity", 0.5)):
        value = getattr(bank, name)
        if not least <= value <= 1:
            wrong.append(f"{name} is {value:g}; possible is {least:g} to 1")
    names = [link.link for link in bank.links]
    if len(set(names)) < len(names):
        wrong.append("a pair link is told twice")
    return wrong + [words for link in bank.links for words in _link_wrong(link, node)]


def _link_wrong(link: PairLinkInfo, node: NodeName) -> list[str]:
    wrong = [f"'{name}' is no name: {NAME_RULE}" for name in (link.link, link.peer_node) if not is_name(name)]
    if link.peer_node == node:
        wrong.append(f"pair link '{link.link}' leads from node '{node}' to itself")
    if not 0 < link.attempt_rate_hz < math.inf:
        wrong.append(f"attempt_rate_hz of pair link '{link.link}' is {link.attempt_rate_hz:g}; it is above 0")
    return wrong


async def _commands(driver: HasMemories, bank: MemoryBankInfo, seconds: float) -> Judged:
    """Commands that do not fit are told of, and a memory that was released is free."""
    check, memory = "memory-commands", MemoryId(0)
    tries: list[tuple[str, list[Command]]] = [("a free memory was measured", [Measure(memory)])]
    if bank.links:
        attempt = Attempt(memory, bank.links[0].link, _TAG)
        tries.append(
            ("a memory was measured that had been released", [attempt, Release(memory), Measure(memory)])
        )
    wrong = []
    async with driver.open_memories() as session:
        for what, commands in tries:
            await session.send(commands)
            if not await _in_time(_refused(session, memory), seconds):
                wrong.append(f"{what}, and no Refused came")
    return Judged(check, wrong, "what does not fit is refused, and a released memory is free")


async def _refused(session: MemorySession, memory: MemoryId) -> None:
    while not any(isinstance(event, Refused) and event.memory == memory for event in await session.receive()):
        pass


async def _in_time(waited_for: Awaitable[object], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await waited_for
    except TimeoutError:
        return False
    return True


async def _work_both(ends: Sequence[_End], seconds: float) -> None:
    """Make and measure pairs until there are enough or time is up."""
    enough = asyncio.Event()

    async def work(end: _End) -> None:
        try:
            await _work(end, ends, enough)
        except DriverUnavailableError as error:
            end.wrong.append(f"the session ended: {error}")
            enough.set()

    tasks = [asyncio.create_task(work(end), name="driver-conformance-memories") for end in ends]
    await _in_time(enough.wait(), seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _work(end: _End, ends: Sequence[_End], enough: asyncio.Event) -> None:
    held: dict[MemoryId, int] = {}
    memories = [MemoryId(number) for number in range(end.memories)]
    await end.session.send([Attempt(memory, end.link, _TAG) for memory in memories])
    while True:
        commands: list[Command] = []
        for event in await end.session.receive():
            match event:
                case Heralded(memory, number=number):
                    if number in end.heralds:
                        end.wrong.append(f"number {number} was heralded twice at one end")
                    held[memory], end.heralds[number] = number, event
                    angle, along_y = _AXES[axes_of(number)][0 if end.near else 1]
                    commands += [Correct(memory, event.x, event.z)] if end.near else []
                    commands.append(Measure(memory, angle, along_y))
                case Measured(memory, outcome) if memory in held:
                    end.outcomes[held.pop(memory)] = outcome
                    commands.append(Attempt(memory, end.link, _TAG))
                case Refused(memory, reason):
                    end.wrong.append(f"a command that fits was refused for memory {memory}: {reason}")
        if commands:
            await end.session.send(commands)
        if min(len(each.outcomes) for each in ends) >= PAIRS * len(_AXES):
            enough.set()


def axes_of(number: int) -> str:
    """What both ends do with a pair: they choose by its number, which tells them nothing of each other."""
    return tuple(_AXES)[number % len(_AXES)]


def numbers_wrong(near: Mapping[int, Heralded], far: Mapping[int, Heralded], *, in_flight: int) -> list[str]:
    """Where the two ends do not speak of the same pairs."""
    wrong = [] if near.keys() & far.keys() else ["no pair of one number was heralded at both ends"]
    alone = near.keys() ^ far.keys()
    if len(alone) > in_flight:
        wrong.append(f"{len(alone)} numbers were heralded at one end only, such as {min(alone)}")
    for number in near.keys() & far.keys():
        here, there = near[number], far[number]
        if (here.link, here.tag, here.x, here.z) != (there.link, there.tag, there.x, there.z):
            wrong.append(f"the ends were told different things of pair {number}")
        if here.tag != _TAG:
            wrong.append(f"pair {number} has tag '{here.tag}'; attempted was '{_TAG}'")
    return wrong


def outcomes_wrong(measured: Mapping[int, tuple[bool, bool]]) -> tuple[list[str], str]:
    """Where outcomes are not those of entangled pairs; and what fidelity they have."""
    count = dict.fromkeys(_AXES, 0)
    equal = dict.fromkeys(_AXES, 0)
    for number, (near, far) in measured.items():
        axes = axes_of(number)
        count[axes] += 1
        equal[axes] += near == far
    if min(count.values()) < PAIRS // 4:
        return [f"too few pairs came in time: {sum(count.values())}; wanted were {PAIRS * len(_AXES)}"], ""
    tied = {axes: 2.0 * equal[axes] / count[axes] - 1.0 for axes in _AXES}
    # Of a correlation; one that is perfect so far is uncertain by about one pair.
    spread = {axes: math.sqrt(max(1.0 - tied[axes] ** 2, 1.0 / count[axes]) / count[axes]) for axes in _AXES}
    fidelity = (1.0 + tied["X"] - tied["Y"] + tied["Z"]) / 4.0
    sigma = math.hypot(spread["X"], spread["Y"], spread["Z"]) / 4.0
    wrong = []
    if fidelity + 4.0 * sigma < 0.5:
        wrong.append(
            f"corrected pairs have fidelity {fidelity:.2f} with Phi+: <XX> {tied['X']:.2f}, "
            f"<YY> {tied['Y']:.2f}, <ZZ> {tied['Z']:.2f}; corrections or axes are not what they should be"
        )
    expected = math.cos(_TURNED) * tied["Z"]
    if abs(tied["turned"] - expected) > 4.0 * math.hypot(spread["turned"], spread["Z"]):
        wrong.append(
            f"with one end turned by {math.degrees(_TURNED):.0f} degrees outcomes have correlation "
            f"{tied['turned']:.2f}, not {expected:.2f}: `angle_radians` is not heeded"
        )
    return wrong, f"fidelity {fidelity:.2f} +- {2.0 * sigma:.2f}, and what follows from it at other angles"
