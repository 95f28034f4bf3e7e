"""The halves this node holds. Each begins once, by a herald, and ends once.

What was told of a half may be here before the half is: the device's word and a peer's take different ways. So
messages about unknown pairs wait a little, and who said that a half is gone is remembered.
"""

import heapq
import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from enum import Enum

from keyweave.agent.drivers.memories import MemoryId, Release
from keyweave.agent.pairs.memories import Register
from keyweave.agent.pairs.outbox import Outbox, gone
from keyweave.agent.pairs.pair import PAIR_ID_BYTES, Doing, Pair
from keyweave.agent.pairs.steps import PathRule
from keyweave.common.names import NodeName
from keyweave.v1 import pairs_pb2 as pb

# How long a message may be here before the half that it is about.
EARLY_SECONDS = 1.0
EARLY_MESSAGES = 8192
REMEMBERED = 16384


class Ending(Enum):
    """What became of a half."""

    # Too old.
    EXPIRED = "expired"
    # The other end has given up its own.
    GONE = "gone"
    # Not wanted any more: the path is gone, or nobody takes it.
    WITHDRAWN = "withdrawn"
    SWAPPED = "swapped"
    SWAP_FAILED = "swap_failed"
    # Measured, so that another one got better.
    SPENT = "spent"
    PURIFICATION_FAILED = "purification_failed"
    MEASURED = "measured"
    # By the device, or with the session that its other end is reached by.
    LOST = "lost"


Waiting = dict[bytes, Pair]
_Early = tuple[NodeName, PathRule, pb.PairMessage]


class Stock:
    """Halves by ID, by memory and by what steps go by."""

    def __init__(self, out: Outbox) -> None:
        self.out = out
        self.register: Register | None = None
        self.pairs: dict[bytes, Pair] = {}
        self.heralded_total = 0
        self.endings: Counter[Ending] = Counter()
        # Told of every end of a half.
        self.on_end: Callable[[Pair, Ending], None] = lambda _pair, _ending: None
        # What has come to be since these were last looked at.
        self.ready: OrderedDict[tuple[str, NodeName, int], None] = OrderedDict()
        self.arrived: list[Pair] = []
        self._by_memory: dict[MemoryId, Pair] = {}
        self._waiting: dict[tuple[str, NodeName, int], Waiting] = {}
        self._ended: OrderedDict[bytes, None] = OrderedDict()
        self._gone_at: OrderedDict[tuple[bytes, NodeName], None] = OrderedDict()
        self._early: dict[bytes, list[_Early]] = {}
        self._early_count = 0
        self._timers: list[tuple[float, int, Callable[[float], None]]] = []
        self._sequence = itertools.count()

    # ---- looking ------------------------------------------------------------------------------

    def in_memory(self, memory: MemoryId) -> Pair | None:
        """The half that a memory holds."""
        return self._by_memory.get(memory)

    def holds(self, pair: Pair) -> bool:
        """Whether it is still one of these."""
        return self.pairs.get(pair.pair_id) is pair

    def waiting(self, tag: str, partner: NodeName, rounds: int) -> tuple[Pair, ...]:
        """Halves that wait for a step, who came first first."""
        return tuple(self._waiting.get((tag, partner, rounds), {}).values())

    def ended(self, pair_id: bytes) -> bool:
        """Whether such a half was here, or was said to be gone; nobody need wait for it."""
        return pair_id in self._ended

    # ---- beginning, changing, ending ----------------------------------------------------------

    def add(self, pair: Pair) -> None:
        """A half was heralded."""
        self.heralded_total += 1
        self._by_memory[pair.memory] = pair
        self._enter(pair)

    def becomes(self, pair: Pair, pair_id: bytes, partner: NodeName, rounds: int) -> None:
        """A half is another pair's now: the other end has swapped, or a round has succeeded."""
        self._leave(pair)
        if pair_id != pair.pair_id:
            self._remember(pair.pair_id)
        pair.pair_id, pair.partner, pair.rounds = pair_id, partner, rounds
        pair.mate, pair.outcome, pair.begins, pair.use = None, None, False, None
        self._enter(pair)

    def busy(self, pair: Pair, doing: Doing) -> None:
        """It waits for no step any more."""
        self._waiting.get((pair.path.tag, *pair.key), {}).pop(pair.pair_id, None)
        pair.doing = doing

    def consumed(self, pair: Pair, ending: Ending) -> None:
        """The device has freed its memory by what it was asked to do."""
        if self.register is not None:
            self.register.free(pair.memory)
        self._end(pair, ending)

    def give_up(self, pair: Pair, ending: Ending, reason: str, *, tell: bool = True) -> None:
        """Free its memory, and tell the other end."""
        self.out.command(Release(pair.memory))
        self.consumed(pair, ending)
        if tell:
            self.out.post(pair.partner, pair.path, gone(pair.pair_id, reason))

    def vanished(self, pair: Pair, reason: str) -> None:
        """The device has lost it."""
        self.consumed(pair, Ending.LOST)
        self.out.post(pair.partner, pair.path, gone(pair.pair_id, reason))

    def is_new(self, pair_id: bytes) -> bool:
        """Whether this may be the ID of a pair that comes to be: well formed, and nobody else's."""
        return len(pair_id) == PAIR_ID_BYTES and pair_id not in self.pairs

    def never_was(self, pair_id: bytes) -> None:
        """What is said of it from now on is answered at once."""
        self._remember(pair_id)

    def _enter(self, pair: Pair) -> None:
        self.pairs[pair.pair_id] = pair
        if (pair.pair_id, pair.partner) in self._gone_at:
            del self._gone_at[pair.pair_id, pair.partner]
            self.give_up(pair, Ending.GONE, "", tell=False)
            return
        pair.doing = Doing.WAITING
        bucket = pair.path.tag, *pair.key
        self._waiting.setdefault(bucket, {})[pair.pair_id] = pair
        self.ready[bucket] = None
        self.arrived.append(pair)
        pair_id, key = pair.pair_id, pair.key
        self.at(pair.born + pair.path.cutoff_seconds(key), lambda at: self._expire(pair, pair_id, key, at))

    def _expire(self, pair: Pair, pair_id: bytes, key: tuple[NodeName, int], _now: float) -> None:
        if self.pairs.get(pair_id) is not pair or pair.key != key:
            return
        if pair.doing in (Doing.SWAPPING, Doing.MEASURING, Doing.SPENT):
            return  # the device answers for it any moment
        self.give_up(pair, Ending.EXPIRED, "too old")

    def _leave(self, pair: Pair) -> None:
        self._waiting.get((pair.path.tag, *pair.key), {}).pop(pair.pair_id, None)
        self.pairs.pop(pair.pair_id, None)

    def _end(self, pair: Pair, ending: Ending) -> None:
        self._leave(pair)
        self._by_memory.pop(pair.memory, None)
        self._remember(pair.pair_id)
        self.endings[ending] += 1
        self.on_end(pair, ending)

    def _remember(self, pair_id: bytes) -> None:
        self._ended[pair_id] = None
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    def forget(self, tag: str) -> None:
        """No half of this path waits any more."""
        self._waiting = {bucket: pairs for bucket, pairs in self._waiting.items() if bucket[0] != tag}

    # ---- what is told before its time ---------------------------------------------------------

    def gone_at(self, pair_id: bytes, peer: NodeName) -> None:
        """A peer has given up the other half of one that is not here yet."""
        if self.ended(pair_id):
            return
        self._gone_at[pair_id, peer] = None
        if len(self._gone_at) > REMEMBERED:
            self._gone_at.popitem(last=False)

    def keep_early(
        self,
        pair_id: bytes,
        told: _Early,
        now: float,
        too_late: Callable[[NodeName, PathRule, pb.PairMessage], None],
    ) -> None:
        """Keep a message until its half is here; if it does not come, `too_late` answers it."""
        if self.ended(pair_id) or self._early_count >= EARLY_MESSAGES:
            too_late(*told)
            return
        self._early_count += 1
        self._early.setdefault(pair_id, []).append(told)

        def overdue(_now: float) -> None:
            for each in self.early(pair_id):
                too_late(*each)

        if len(self._early[pair_id]) == 1:
            self.at(now + EARLY_SECONDS, overdue)

    def early(self, pair_id: bytes) -> Iterable[_Early]:
        """What was told of it; forgets it."""
        told = self._early.pop(pair_id, [])
        self._early_count -= len(told)
        return told

    # ---- time ---------------------------------------------------------------------------------

    def at(self, due: float, what: Callable[[float], None]) -> None:
        """Do something once it is due, if it still makes sense then."""
        heapq.heappush(self._timers, (due, next(self._sequence), what))

    @property
    def due(self) -> float | None:
        """When something is to be done next."""
        return self._timers[0][0] if self._timers else None

    def run_due(self, now: float) -> None:
        """Do all that is due."""
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2](now)
