"""The register of a node's memories: which are free, which attempt for what, which hold a half."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from keyweave.agent.drivers.memories import MemoryBankInfo, MemoryId, PairLinkInfo
from keyweave.common.names import LinkName, NodeName

# A memory that was taken back while it attempted rests: what it heralded just before is on its way still.
SETTLING_SECONDS = 0.5


class State(Enum):
    """Of one memory."""

    FREE = "free"
    ATTEMPTING = "attempting"
    # It holds a half, or the device has been asked to do something with it.
    HOLDING = "holding"
    SETTLING = "settling"
    BROKEN = "broken"


@dataclass(slots=True, eq=False)
class Side:
    """Memories of one path towards one neighbour."""

    tag: str
    link: LinkName
    peer: NodeName
    wanted: int
    # For tests of a link, which give way to streams.
    gives_way: bool = False
    # For the network layer, which goes before all other use.
    goes_first: bool = False
    used: set[MemoryId] = field(default_factory=set)


class Register:
    """All memories while one session with their device lasts."""

    def __init__(self, bank: MemoryBankInfo) -> None:
        self.bank = bank
        self.links: dict[LinkName, PairLinkInfo] = {link.link: link for link in bank.links}
        self._states = [State.FREE] * bank.memories
        self._sides: dict[MemoryId, Side] = {}
        self._free = deque(MemoryId(i) for i in range(bank.memories))
        self._settling: deque[tuple[float, MemoryId]] = deque()
        self._on_link: dict[LinkName, int] = dict.fromkeys(self.links, 0)

    def state(self, memory: MemoryId) -> State:
        """What it does; of one that is not there, BROKEN."""
        return self._states[memory] if 0 <= memory < len(self._states) else State.BROKEN

    def side(self, memory: MemoryId) -> Side | None:
        """What it is used for."""
        return self._sides.get(memory)

    def count(self, *states: State) -> int:
        """How many are in one of these states."""
        return sum(state in states for state in self._states)

    @property
    def working(self) -> int:
        """How many are not broken."""
        return len(self._states) - self.count(State.BROKEN)

    @property
    def any_free(self) -> bool:
        """Whether one may be taken."""
        return bool(self._free)

    def take(self, side: Side) -> MemoryId | None:
        """One to attempt with for a side; None where there is none."""
        link = self.links.get(side.link)
        if link is None or not self._free:
            return None
        if link.memories and self._on_link[side.link] >= link.memories:
            return None
        memory = self._free.popleft()
        self._states[memory] = State.ATTEMPTING
        self._sides[memory] = side
        self._on_link[side.link] += 1
        side.used.add(memory)
        return memory

    def hold(self, memory: MemoryId) -> None:
        """It was attempting, and holds a half now."""
        self._states[memory] = State.HOLDING

    def attempting(self, side: Side) -> tuple[MemoryId, ...]:
        """Those of a side that attempt."""
        return tuple(m for m in sorted(side.used) if self._states[m] is State.ATTEMPTING)

    def free(self, memory: MemoryId) -> None:
        """Nothing that the device still has to say of it is about what it did."""
        if self._let_go(memory):
            self._states[memory] = State.FREE
            self._free.append(memory)

    def settle(self, memory: MemoryId, now: float) -> None:
        """It was attempting and was taken back."""
        if self._let_go(memory):
            self._states[memory] = State.SETTLING
            self._settling.append((now + SETTLING_SECONDS, memory))

    def settled(self, now: float) -> None:
        """Free those that have rested."""
        while self._settling and self._settling[0][0] <= now:
            _, memory = self._settling.popleft()
            if self._states[memory] is State.SETTLING:
                self._states[memory] = State.FREE
                self._free.append(memory)

    @property
    def settles_at(self) -> float | None:
        """When the next one has rested."""
        return self._settling[0][0] if self._settling else None

    def broke(self, memory: MemoryId) -> None:
        """It works no more."""
        if self.state(memory) is State.FREE:
            self._free.remove(memory)
        self._let_go(memory)
        if 0 <= memory < len(self._states):
            self._states[memory] = State.BROKEN

    def mended(self, memory: MemoryId) -> None:
        """It works again."""
        if 0 <= memory < len(self._states) and self._states[memory] is State.BROKEN:
            self._states[memory] = State.FREE
            self._free.append(memory)

    def _let_go(self, memory: MemoryId) -> bool:
        side = self._sides.pop(memory, None)
        if side is None:
            return False
        side.used.discard(memory)
        self._on_link[side.link] -= 1
        return True


def in_order(sides: Iterable[Side]) -> list[Side]:
    """The network layer's before other streams', and those before tests of links."""
    return sorted(sides, key=lambda side: (side.gives_way, not side.goes_first))
