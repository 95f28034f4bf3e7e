"""What a driver offers whose node has quantum memories: commands in, heralds and outcomes out.

A driver that is a `HasMemories` too may serve them; the agent's `pairs/` works them by the rules of its
policy. Memories are numbered from 0. States are told in the Bell basis; `x` and `z` are the Pauli corrections
that bring a pair to Phi+. A device keeps no account of what a pair is for: `tag` only makes both ends of a
link use their memories for the same.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NewType, Protocol, runtime_checkable

from keyweave.common.names import LinkName, NodeName

MemoryId = NewType("MemoryId", int)


@dataclass(frozen=True, slots=True)
class PairLinkInfo:
    """One end of a link over which neighbouring memories come to share pairs."""

    link: LinkName
    peer_node: NodeName
    model: str
    # Attempts a second of one pair of memories.
    attempt_rate_hz: float
    # Memories at this end that it can use; 0: any.
    memories: int
    length_km: float


@dataclass(frozen=True, slots=True)
class MemoryBankInfo:
    """The memories of a node, as their device describes them."""

    model: str
    memories: int
    # Infinite where they do not fade.
    t1_seconds: float
    t2_seconds: float
    swap_success_ratio: float
    swap_fidelity: float
    readout_fidelity: float
    emulated: bool
    links: tuple[PairLinkInfo, ...]


# ---- commands --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempt:
    """Attempt with a free memory over a link until a pair is heralded."""

    memory: MemoryId
    link: LinkName
    tag: str


@dataclass(frozen=True, slots=True)
class Release:
    """Stop attempting, or give up what it holds."""

    memory: MemoryId


@dataclass(frozen=True, slots=True)
class Swap:
    """Bell measurement on two memories; answered by `Swapped`. Both are free afterwards."""

    first: MemoryId
    second: MemoryId


@dataclass(frozen=True, slots=True)
class Purify:
    """This end's half of a round of DEJMPS; answered by `Measured` of the measured one, then free."""

    kept: MemoryId
    measured: MemoryId


@dataclass(frozen=True, slots=True)
class Measure:
    """Along (cos angle) Z + (sin angle) X, or along Y; answered by `Measured`. Free afterwards."""

    memory: MemoryId
    angle_radians: float = 0.0
    along_y: bool = False


@dataclass(frozen=True, slots=True)
class Correct:
    """Apply Pauli X and/or Z."""

    memory: MemoryId
    x: bool
    z: bool


Command = Attempt | Release | Swap | Purify | Measure | Correct


# ---- events ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heralded:
    """The memory shares a pair with one at the link's other end."""

    memory: MemoryId
    link: LinkName
    tag: str
    # The same at both ends, never used again on this link.
    number: int
    x: bool
    z: bool
    time_unix_nanos: int


@dataclass(frozen=True, slots=True)
class Swapped:
    """What a Bell measurement gave."""

    first: MemoryId
    second: MemoryId
    succeeded: bool
    x: bool
    z: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcome of a memory that was measured."""

    memory: MemoryId
    outcome: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that could not be carried out; the memory is free."""

    memory: MemoryId
    reason: str


@dataclass(frozen=True, slots=True)
class Works:
    """A memory stopped working (what it held is lost), or works again."""

    memory: MemoryId
    works: bool


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """What the device has counted at this end of a link since the session began; told every second or so."""

    link: LinkName
    attempts_total: int
    heralds_total: int
    attempting_seconds_total: float
    has_signal: bool


@dataclass(frozen=True, slots=True)
class Coherence:
    """Coherence of the node's memories as it is now."""

    t1_seconds: float
    t2_seconds: float


Event = Heralded | Swapped | Measured | Refused | Works | LinkCounts | Coherence


class MemorySession(Protocol):
    """The memories in hand. All are free when it begins, and are released when it ends."""

    async def send(self, commands: Sequence[Command]) -> None:
        """Carried out in order. DriverUnavailableError where the device cannot be reached."""
        ...

    async def receive(self) -> tuple[Event, ...]:
        """What happened, in order; waits for it. DriverUnavailableError where the session is over."""
        ...


@runtime_checkable
class HasMemories(Protocol):
    """A driver of quantum memories."""

    async def memory_bank(self) -> MemoryBankInfo | None:
        """What there is; None where the node has no memories. DriverUnavailableError."""
        ...

    def open_memories(self) -> AbstractAsyncContextManager[MemorySession]:
        """Take the memories in hand; one session at a time."""
        ...
