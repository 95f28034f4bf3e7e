"""Who takes the pairs that have reached both ends of a stream."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from keyweave.common.names import LinkName, NodeName, StreamName


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


# Called when a rule with a `key_link` comes into force, and again for every run after it.
BeginKeyRun = Callable[[KeyRun], PairOutcomes]
