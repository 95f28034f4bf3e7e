"""Who takes the pairs that have reached both ends of a stream."""

from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from keyweave.common.names import LinkName, NodeName, StreamName

# Of one stream; then the oldest are let go, and counted.
OUTCOMES_KEPT = 4096


class Basis(IntEnum):
    """Along which axis an end measures its half. Of Phi+ both ends have the same bit if they choose alike."""

    Z = 0
    X = 1


@dataclass(frozen=True, slots=True)
class KeyRun:
    """Pairs of one stream over one path, measured for keys of a virtual link, as one end sees them.

    Another path, or a start of either end's agent, begins another run: numbers start afresh with each.
    """

    stream: StreamName
    path_id: str
    key_link: LinkName
    peer_node: NodeName
    is_source: bool


class PairOutcomes(Protocol):
    """One end of a run. Called within the event loop; neither call may wait.

    Numbers are the source's: the same pair has the same number at both ends. At either end they rise, each
    comes once, and some are missing: that pair was lost there. `outcome` follows `basis` for every number
    unless the device fails in between; several numbers may be asked for before the first outcome is there.
    """

    def basis(self, number: int) -> Basis:
        """How to measure this pair; drawn by the end itself, and told to nobody by who calls this."""
        ...

    def outcome(self, number: int, basis: Basis, bit: int) -> None:
        """What it gave, 0 or 1, the Pauli frame corrected."""
        ...

    def end(self) -> None:
        """No more come: the path or the stream is gone, or the other end has begun anew."""
        ...


# Called when a rule with a `key_link` comes into force, and again for every run after it. None: nobody makes
# keys of them.
BeginKeyRun = Callable[[KeyRun], PairOutcomes | None]


# ---- for applications ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeptPair:
    """A half in a memory that an application may take."""

    stream: StreamName
    pair_id: bytes
    number: int
    # By the node's monotonic clock, when its oldest part was heralded.
    born: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A half that was measured, at once or because an application asked."""

    stream: StreamName
    pair_id: bytes
    number: int
    basis: Basis
    bit: int
    # How old the pair was when it was measured.
    age_seconds: float


class Shelf:
    """What waits for applications: kept halves by ID, outcomes in order, the oldest of which are let go."""

    def __init__(self) -> None:
        self.kept: dict[bytes, KeptPair] = {}
        self.dropped_total = 0
        # Told of a kept half that an application had measured.
        self.on_measured: Callable[[Outcome], None] = lambda _outcome: None
        self._outcomes: dict[StreamName, deque[Outcome]] = {}

    def keep(self, pair: KeptPair) -> None:
        """Offer it."""
        self.kept[pair.pair_id] = pair

    def gone(self, pair_id: bytes) -> None:
        """It was taken, or is no more."""
        self.kept.pop(pair_id, None)

    def measured(self, outcome: Outcome) -> None:
        """An application asked for this."""
        self.on_measured(outcome)

    def kept_of(self, stream: StreamName) -> tuple[KeptPair, ...]:
        """Those of a stream, in order of number."""
        return tuple(pair for pair in self.kept.values() if pair.stream == stream)

    def kept_by_stream(self) -> Counter[StreamName]:
        """How many of each stream."""
        return Counter(pair.stream for pair in self.kept.values())

    def outcome(self, outcome: Outcome) -> None:
        """Put it to the others of its stream."""
        held = self._outcomes.setdefault(outcome.stream, deque(maxlen=OUTCOMES_KEPT))
        self.dropped_total += len(held) == OUTCOMES_KEPT
        held.append(outcome)

    def waiting(self, stream: StreamName) -> int:
        """Outcomes that nobody has taken."""
        return len(self._outcomes.get(stream, ()))

    def take_outcomes(self, stream: StreamName, most: int) -> tuple[Outcome, ...]:
        """The oldest, each once."""
        held = self._outcomes.get(stream, deque())
        return tuple(held.popleft() for _ in range(min(most, len(held))))

    def forget(self, streams: Collection[StreamName]) -> None:
        """Outcomes of streams that are no more."""
        for stream in streams:
            self._outcomes.pop(stream, None)
