"""Attempts over one pair link: who attempts with whom, when a pair is heralded, and what each end counts.

Memories at both ends that attempt with the same tag are matched in the order they began. A match succeeds
after a geometric number of attempts; when what the link does to photons changes, it is drawn afresh, which is
exact, as attempts have no memory.
"""

import heapq
import itertools
import math
from dataclasses import dataclass, replace
from random import Random
from typing import Final, NamedTuple

from keyweave.common.entanglement.bell import Bell
from keyweave.common.entanglement.heralding import Heralding
from keyweave.common.entanglement.memory import dephased
from keyweave.common.names import LinkName, NodeName
from keyweave.emulator.memories.specs import PairLinkSpec
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance

_Waiting = tuple[dict[int, None], dict[int, None]]


class Herald(NamedTuple):
    """A success: the memories at end a and end b, the pair's number, the state told and how good it is."""

    due: float
    memories: tuple[int, int]
    tag: str
    number: int
    z: bool
    state: Bell


# Both schemes herald by a click each in one of two detectors: Psi+ or Psi-, never Phi.
HERALDED_X = True


class Counts(NamedTuple):
    """What both ends of a link count together; they attempt together."""

    attempts: float
    heralds: int
    attempting_seconds: float


@dataclass(slots=True, eq=False)
class _Match:
    memories: tuple[int, int]
    tag: str
    over: bool = False


class Attempts:
    """One link. Seconds count from the emulator's start."""

    def __init__(self, spec: PairLinkSpec, chance: Random, first_number: int) -> None:
        self.spec: Final = spec
        self.name: Final = LinkName(spec.name)
        self.ends: Final = (NodeName(spec.a), NodeName(spec.b))
        self.has_signal = True
        self._chance = chance
        self._number = first_number
        self._outcome = spec.attempt(0.0)
        self._disturbance = UNDISTURBED
        self._waiting: dict[str, _Waiting] = {}
        # By end and memory: the tag it waits with, or the match it is in.
        self._busy: tuple[dict[int, str | _Match], dict[int, str | _Match]] = ({}, {})
        self._matches = 0
        self._due: list[tuple[float, int, _Match]] = []
        self._order = itertools.count()
        self._counts = Counts(0.0, 0, 0.0)
        self._counted_until = 0.0

    def end_of(self, node: NodeName) -> int | None:
        """0 for end a, 1 for end b, None where it does not end there."""
        return self.ends.index(node) if node in self.ends else None

    def has_room(self, end: int) -> bool:
        """Whether one more memory can be used at this end."""
        return not self.spec.memories or len(self._busy[end]) < self.spec.memories

    def begin(self, end: int, memory: int, tag: str, now: float) -> None:
        """A free memory attempts from now on."""
        far = 1 - end
        waiting = self._waiting.setdefault(tag, ({}, {}))
        if not waiting[far]:
            waiting[end][memory] = None
            self._busy[end][memory] = tag
            return
        partner = next(iter(waiting[far]))
        del waiting[far][partner]
        self._tidy(tag)
        self._count(now)
        match = _Match((memory, partner) if end == 0 else (partner, memory), tag)
        self._busy[end][memory] = self._busy[far][partner] = match
        self._matches += 1
        self._draw(match, now)

    def stop(self, end: int, memory: int, now: float) -> None:
        """A memory attempts no more; its partner waits for another one."""
        doing = self._busy[end].pop(memory)
        if isinstance(doing, str):
            del self._waiting[doing][end][memory]
            self._tidy(doing)
            return
        self._part(doing, now)
        far = 1 - end
        partner = doing.memories[far]
        del self._busy[far][partner]
        self.begin(far, partner, doing.tag, now)

    def disturb(self, disturbance: Disturbance, now: float) -> None:
        """From now on photons suffer this."""
        if disturbance == self._disturbance:
            return
        self._count(now)
        self._disturbance = disturbance
        self.has_signal = not (disturbance.cut or disturbance.clock_lost)
        self._outcome = disturbed(self.spec, disturbance)
        matches = [match for _, _, match in self._due if not match.over]
        self._due.clear()
        for match in matches:
            self._draw(match, now)

    def next_due(self) -> float:
        """When the next pair will be heralded as things stand; infinite if never."""
        while self._due and self._due[0][2].over:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else math.inf

    def heralds(self, now: float) -> list[Herald]:
        """Pairs that have come until now, oldest first."""
        told = []
        while (due := self.next_due()) <= now:
            _, _, match = heapq.heappop(self._due)
            self._part(match, due)
            for end in (0, 1):
                del self._busy[end][match.memories[end]]
            self._counts = self._counts._replace(heralds=self._counts.heralds + 1)
            number, self._number = self._number, self._number + 1
            z = self._chance.random() < 0.5
            told.append(Herald(due, match.memories, match.tag, number, z, self._outcome.state))
        return told

    def counts(self, now: float) -> Counts:
        """Since the emulator started."""
        self._count(now)
        return self._counts

    def _draw(self, match: _Match, now: float) -> None:
        success = self._outcome.success_ratio
        if not self.has_signal or success <= 0.0:
            due = math.inf
        elif success >= 1.0:
            due = now + 1.0 / self.spec.attempts_hz
        else:
            # Of the first success: the least k with 1 - (1 - p)^k above what was drawn.
            attempts = 1 + math.floor(math.log1p(-self._chance.random()) / math.log1p(-success))
            due = now + attempts / self.spec.attempts_hz
        heapq.heappush(self._due, (due, next(self._order), match))

    def _part(self, match: _Match, now: float) -> None:
        self._count(now)
        match.over = True
        self._matches -= 1

    def _count(self, now: float) -> None:
        seconds, self._counted_until = max(0.0, now - self._counted_until), max(now, self._counted_until)
        if self.has_signal and self._matches:
            spent = seconds * self._matches
            attempts, heralds, attempting = self._counts
            self._counts = Counts(attempts + spent * self.spec.attempts_hz, heralds, attempting + spent)

    def _tidy(self, tag: str) -> None:
        if not any(self._waiting[tag]):
            del self._waiting[tag]


def disturbed(spec: PairLinkSpec, disturbance: Disturbance) -> Heralding:
    """One attempt while faults are in force.

    Loss makes pairs rarer. A drift of the laser turns signs. Whoever intercepts photons and sends on what was
    measured, in one basis or the other at random, leaves half of the pairs with no phase and half with no
    bit: where all are intercepted, a quarter of the outcomes differ in either basis.
    """
    outcome = spec.attempt(disturbance.loss_db)
    state = dephased(outcome.state, disturbance.misalignment_ratio)
    taken = disturbance.intercepted_ratio
    if taken:
        a, b, c, d = state
        sign, bit = dephased(state, 0.5), Bell((a + c) / 2, (b + d) / 2, (a + c) / 2, (b + d) / 2)
        read = (((1.0 - taken) * s) + taken * (p + q) / 2 for s, p, q in zip(state, sign, bit, strict=True))
        state = Bell(*read)
    return replace(outcome, state=state)
