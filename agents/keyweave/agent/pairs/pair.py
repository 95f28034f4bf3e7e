"""One half of a pair, as the node knows it that holds it."""

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from keyweave.agent.drivers.memories import MemoryId
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import pairs_pb2 as pb

if TYPE_CHECKING:
    from keyweave.agent.pairs.memories import Side
    from keyweave.agent.pairs.steps import PathRule

PAIR_ID_BYTES = 16


class Moment(NamedTuple):
    """Now: by this node's monotonic clock, which ages go by, and by its wall clock."""

    seconds: float
    unix_nanos: int


class Doing(Enum):
    """What is under way with a half."""

    # Nothing: it waits for a step.
    WAITING = "waiting"
    # The device has been asked, and has not answered.
    SWAPPING = "swapping"
    MEASURING = "measuring"
    # Our half of a round is done, or asked for; kept until both outcomes are known.
    PURIFYING = "purifying"
    # Measured by a round that is under way.
    SPENT = "spent"
    # For an application, whose other end has not said yet that it has it too.
    OFFERED = "offered"
    KEPT = "kept"


@dataclass(slots=True, eq=False)
class Pair:
    """A half in a memory."""

    pair_id: bytes
    path: "PathRule"
    side: "Side"
    memory: MemoryId
    partner: NodeName
    rounds: int
    # When its oldest part was heralded, by our clock.
    born: float
    doing: Doing = Doing.WAITING
    # The other one of a swap or of a round.
    mate: "Pair | None" = None
    # Of a round of purification: what this end measured; None until it is known.
    outcome: bool | None = None
    # Begun by this end, which tells; else it answers.
    begins: bool = False
    # What the source said, or this end as the source, is to become of it.
    use: pb.PairUse | None = None
    # How it is measured, where the use leaves that to each end: basis, or setting of a Bell test.
    choice: int = 0

    @property
    def key(self) -> tuple[NodeName, int]:
        """What steps go by."""
        return self.partner, self.rounds


def link_pair_id(link: LinkName, number: int) -> bytes:
    """The ID of a link's own pair: both ends know it without a word."""
    return hashlib.sha256(f"{link}/{number}".encode()).digest()[:PAIR_ID_BYTES]
