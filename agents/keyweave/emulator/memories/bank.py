"""The memories of all nodes: commands in, events out, in step with a time that comes from outside.

A memory is free, attempts over a link, or holds half of a pair; nothing else, so no memory is in two pairs. A
command that does not fit frees the memories it names and says so.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Final

from keyweave.common.names import LinkName, NodeName
from keyweave.emulator.memories import pairs
from keyweave.emulator.memories.attempts import HERALDED_X, Attempts, Herald
from keyweave.emulator.memories.pairs import Half
from keyweave.emulator.memories.specs import MemoriesSpec, PairLinkSpec
from keyweave.emulator.physics.model import Disturbance
from keyweave.v1 import emulator_pb2 as pb
from keyweave.v1 import pairs_pb2

NANOS = 1_000_000_000


class _Refused(Exception):  # noqa: N818  # an answer, not an error
    """Why a command cannot be carried out."""


class Bank:
    """The memories of one node."""

    def __init__(self, node: NodeName, spec: MemoriesSpec) -> None:
        self.node: Final = node
        self.spec: Final = spec
        self.coherence = spec.coherence(1.0)
        # The lowest so many do not work.
        self.failed = 0
        self.slots: Final[list[Attempts | Half | None]] = [None] * spec.count

    def works(self, memory: int) -> bool:
        """Whether it can be used."""
        return memory >= self.failed

    def described(self) -> pairs_pb2.MemoryBank:
        """As it is now; a time that is infinite is told as 0."""
        spec, now = self.spec, self.coherence
        return pairs_pb2.MemoryBank(
            model=spec.model,
            memories=spec.count,
            t1_seconds=0.0 if math.isinf(now.t1_seconds) else now.t1_seconds,
            t2_seconds=0.0 if math.isinf(now.t2_seconds) else now.t2_seconds,
            swap_success_ratio=spec.swap_success_ratio,
            swap_fidelity=spec.swap_fidelity,
            readout_fidelity=spec.readout_fidelity,
            emulated=True,
        )


class Memories:
    """All banks and links. Seconds count from the emulator's start; they never run backwards."""

    def __init__(
        self,
        banks: Mapping[NodeName, MemoriesSpec],
        links: Sequence[PairLinkSpec],
        *,
        seed: int,
        outcomes: Random,
        origin_unix_nanos: int,
    ) -> None:
        """`outcomes` is what measurements are drawn from: keys may be made of them; `seed` is of heralds."""
        self.banks: Final = {node: Bank(node, spec) for node, spec in banks.items()}
        # Numbers go on where an emulator that ran before cannot have come to.
        first = origin_unix_nanos // 1000
        self.links: Final = {
            # Heralds are noise, not key; what is measured is drawn from `outcomes`.
            LinkName(spec.name): Attempts(spec, Random(f"{seed}/{spec.name}"), first)  # noqa: S311
            for spec in links
        }
        self._outcomes = outcomes
        self._origin_nanos = origin_unix_nanos

    # ---- in step with time -------------------------------------------------------------------------

    def next_due(self) -> float:
        """When the next pair is heralded unless something changes; infinite if never."""
        return min((link.next_due() for link in self.links.values()), default=math.inf)

    def advance(self, now: float) -> list[tuple[NodeName, pb.MemoryEvent]]:
        """What has been heralded until now, to both ends."""
        return [
            told
            for link in self.links.values()
            for herald in link.heralds(now)
            for told in self._heralded(link, herald)
        ]

    def disturb(self, link: LinkName, disturbance: Disturbance, now: float) -> bool:
        """From now on photons of a link suffer this; whether its signal came or went."""
        attempts = self.links[link]
        before = attempts.has_signal
        attempts.disturb(disturbance, now)
        return attempts.has_signal != before

    def weaken(self, node: NodeName, disturbance: Disturbance, now: float) -> list[pb.MemoryEvent]:
        """From now on the memories of a node suffer this."""
        bank, told = self.banks[node], []
        failed = min(bank.spec.count, int(disturbance.failed_memories))
        before, bank.failed = bank.failed, failed
        for memory in range(min(before, failed), max(before, failed)):
            if not bank.works(memory):
                self._free(bank, memory, now)
            told.append(pb.MemoryEvent(works=pb.MemoryWorks(memory=memory, works=bank.works(memory))))
        coherence = bank.spec.coherence(disturbance.memory_decay_factor)
        if coherence != bank.coherence:
            bank.coherence = coherence
            for held in bank.slots:
                if isinstance(held, Half):
                    pairs.fades(held, coherence, now)
            told.append(pb.MemoryEvent(bank=bank.described()))
        return told

    def release_all(self, node: NodeName, now: float) -> None:
        """Free every memory of a node."""
        bank = self.banks[node]
        for memory in range(bank.spec.count):
            self._free(bank, memory, now)

    # ---- commands ----------------------------------------------------------------------------------

    def handle(self, node: NodeName, command: pb.MemoryCommand, now: float) -> list[pb.MemoryEvent]:
        """Carry out a command of a node, once `advance` has brought what came before; what it gives."""
        bank = self.banks[node]
        try:
            match command.WhichOneof("kind"):
                case "attempt":
                    self._attempt(bank, command.attempt, now)
                case "release":
                    self._free(bank, self._index(bank, command.release.memory), now)
                case "swap":
                    return [self._swap(bank, command.swap, now)]
                case "purify":
                    return [self._purify(bank, command.purify, now)]
                case "measure":
                    return [self._measure(bank, command.measure, now)]
                case "correct":
                    half = self._held(bank, command.correct.memory)
                    pairs.correct(half, command.correct.x, command.correct.z, now)
        except _Refused as refusal:
            return [self._refused(bank, memory, str(refusal), now) for memory in _named(command)]
        return []

    def _refused(self, bank: Bank, memory: int, reason: str, now: float) -> pb.MemoryEvent:
        if memory < bank.spec.count:
            self._free(bank, memory, now)
        return pb.MemoryEvent(refused=pb.MemoryRefused(memory=memory, reason=reason))

    def _attempt(self, bank: Bank, asked: pb.MemoryAttempt, now: float) -> None:
        memory = self._index(bank, asked.memory)
        link = self.links.get(LinkName(asked.link))
        end = None if link is None else link.end_of(bank.node)
        if link is None or end is None:
            own = sorted(each.name for each in self.links.values() if each.end_of(bank.node) is not None)
            raise _Refused(
                f"there is no pair link '{asked.link}' at '{bank.node}'; there are {', '.join(own) or 'none'}"
            )
        if not bank.works(memory):
            raise _Refused(f"memory {memory} does not work")
        if bank.slots[memory] is not None:
            raise _Refused(f"memory {memory} was not free")
        if not link.has_room(end):
            raise _Refused(f"link '{link.name}' can use {link.spec.memories} memories at each end at a time")
        bank.slots[memory] = link
        link.begin(end, memory, asked.tag, now)

    def _swap(self, bank: Bank, asked: pb.MemorySwap, now: float) -> pb.MemoryEvent:
        first, second = self._two_held(bank, asked.first, asked.second)
        bank.slots[asked.first] = bank.slots[asked.second] = None
        answer = pb.MemorySwapped(first=asked.first, second=asked.second)
        if self._outcomes.random() >= bank.spec.swap_success_ratio:
            pairs.release(first)
            pairs.release(second)
            return pb.MemoryEvent(swapped=answer)
        answer.succeeded = True
        answer.x, answer.z = pairs.swap(first, second, bank.spec.swap_fidelity, now, self._outcomes)
        return pb.MemoryEvent(swapped=answer)

    def _purify(self, bank: Bank, asked: pb.MemoryPurify, now: float) -> pb.MemoryEvent:
        kept, measured = self._two_held(bank, asked.kept, asked.measured)
        bank.slots[asked.measured] = None
        done = pairs.purify(kept, measured, bank.spec.swap_fidelity, now, self._outcomes)
        outcome = self._read(bank, done)
        return pb.MemoryEvent(measured=pb.MemoryMeasured(memory=asked.measured, outcome=outcome))

    def _measure(self, bank: Bank, asked: pb.MemoryMeasure, now: float) -> pb.MemoryEvent:
        half = self._held(bank, asked.memory)
        bank.slots[asked.memory] = None
        along = pairs.direction(asked.angle_radians, along_y=asked.along_y)
        outcome = self._read(bank, pairs.measure(half, along, now, self._outcomes))
        return pb.MemoryEvent(measured=pb.MemoryMeasured(memory=asked.memory, outcome=outcome))

    def _read(self, bank: Bank, outcome: bool) -> bool:
        """An outcome as the device reads it."""
        return outcome == (self._outcomes.random() < bank.spec.readout_fidelity)

    # ---- what memories hold ------------------------------------------------------------------------

    def _heralded(self, link: Attempts, herald: Herald) -> Iterator[tuple[NodeName, pb.MemoryEvent]]:
        banks = [self.banks[node] for node in link.ends]
        a, b = (Half(bank.node, bank.coherence, herald.due) for bank in banks)
        pairs.heralded(herald.state, HERALDED_X, herald.z, a, b)
        for bank, memory, half in zip(banks, herald.memories, (a, b), strict=True):
            bank.slots[memory] = half
            told = pb.MemoryHeralded(
                memory=memory,
                link=link.name,
                tag=herald.tag,
                number=herald.number,
                x=HERALDED_X,
                z=herald.z,
                time_unix_nanos=self._origin_nanos + round(herald.due * NANOS),
            )
            yield bank.node, pb.MemoryEvent(heralded=told)

    def _free(self, bank: Bank, memory: int, now: float) -> None:
        held, bank.slots[memory] = bank.slots[memory], None
        if isinstance(held, Half):
            pairs.release(held)
        elif held is not None:
            end = held.end_of(bank.node)
            assert end is not None
            held.stop(end, memory, now)

    def _held(self, bank: Bank, memory: int) -> Half:
        held = bank.slots[self._index(bank, memory)]
        if not isinstance(held, Half):
            raise _Refused(f"memory {memory} held no pair")
        return held

    def _two_held(self, bank: Bank, first: int, second: int) -> tuple[Half, Half]:
        if first == second:
            raise _Refused("it takes two memories")
        return self._held(bank, first), self._held(bank, second)

    @staticmethod
    def _index(bank: Bank, memory: int) -> int:
        if memory >= bank.spec.count:
            raise _Refused(f"there is no memory {memory}; they are numbered 0 to {bank.spec.count - 1}")
        return memory


def _named(command: pb.MemoryCommand) -> tuple[int, ...]:
    """The memories that a command is about."""
    match command.WhichOneof("kind"):
        case "swap":
            return tuple({command.swap.first: None, command.swap.second: None})
        case "purify":
            return tuple({command.purify.kept: None, command.purify.measured: None})
        case None:
            return ()
        case kind:
            return (getattr(command, kind).memory,)
