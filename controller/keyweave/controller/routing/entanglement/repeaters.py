"""Nodes with quantum memories, links that make pairs between them, and who wants pairs of what fidelity.

How a path is run, which is what `chain.py` predicts and agents do:

- A path has some lanes, which know nothing of each other. A lane has on every hop as many slots as its rounds
  of purification need pairs, 2^rounds, and a slot has `channels` memories at each end. While a slot is empty
  all of its channels try; the first that succeeds fills it, and the others rest.
- Pairs of a hop are purified two by two (DEJMPS), as soon as two of the same round are there. Both ends tell
  each other what they measured; where that differs, both pairs are gone and their slots try anew.
- A node swaps when the segments to its left and to its right, as the swap order has them, are there. It tells
  both outer ends, with the Pauli frame. Where a swap fails both segments are gone, and their slots try anew.
- Who waits longer than the hop's cut-off for the next step (a second pair, or the other segment) is given up.
- A pair from end to end is purified `end_rounds` times more, with those of the lane's other copies.
- A slot that has given its pair to a longer one waits until that one is gone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Literal

from keyweave.common.entanglement.bell import Bell, checked
from keyweave.common.entanglement.memory import Memory
from keyweave.common.names import LinkName, NodeName, StreamName

# Create and keep, measure directly, network layer (Dahlberg et al., SIGCOMM 2019, section 4.1).
PairKind = Literal["nl", "ck", "md"]
Levels = tuple[tuple[NodeName, ...], ...]


@dataclass(frozen=True, slots=True)
class PairNode:
    """A node's memories, alike, and how well it operates on them."""

    name: NodeName
    memories: int
    t1_seconds: float = inf
    t2_seconds: float = inf
    swap_success_ratio: float = 1.0
    # With what is missing from 1 an operation on two memories leaves a fully mixed pair.
    gate_fidelity: float = 1.0

    def __post_init__(self) -> None:
        """ValueError for what no node has."""
        if self.memories < 0:
            raise ValueError(f"node {self.name!r}: memories {self.memories} is below 0")
        for name in ("swap_success_ratio", "gate_fidelity"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(
                    f"node {self.name!r}: {name} {getattr(self, name):g} is not in 0..1, above 0"
                )
        Memory(self.t1_seconds, self.t2_seconds)

    @property
    def memory(self) -> Memory:
        """One of them."""
        return Memory(self.t1_seconds, self.t2_seconds)


@dataclass(frozen=True, slots=True)
class PairLink:
    """What makes pairs between two neighbours."""

    name: LinkName
    a: NodeName
    b: NodeName
    # Of one memory at each end, while both try.
    pair_rate_hz: float
    # When it is heralded.
    state: Bell
    # Of a message from one end to the other.
    delay_seconds: float = 0.0

    def __post_init__(self) -> None:
        """ValueError for what no link does."""
        if not (self.pair_rate_hz >= 0.0 and self.delay_seconds >= 0.0):
            raise ValueError(f"link {self.name!r}: pair_rate_hz and delay_seconds must be at least 0")
        checked(self.state)

    def other(self, node: NodeName) -> NodeName:
        """The other end."""
        return self.b if node == self.a else self.a


@dataclass(frozen=True, slots=True)
class PairDemand:
    """Who wants pairs, how many, and of what fidelity."""

    name: StreamName
    source: NodeName
    target: NodeName
    min_fidelity: float
    rate_hz: float
    # The greater goes first.
    priority: int = 0
    kind: PairKind = "nl"
    # Of purification, on any hop and from end to end.
    max_rounds: int = 3
    # Nodes that its paths must not cross.
    avoid: frozenset[NodeName] = frozenset()

    def __post_init__(self) -> None:
        """ValueError for what nobody can ask."""
        if self.source == self.target:
            raise ValueError(f"pair stream {self.name!r}: source and target are both {self.source!r}")
        if not 0.25 <= self.min_fidelity < 1.0:
            raise ValueError(
                f"pair stream {self.name!r}: min_fidelity {self.min_fidelity:g} is not in 0.25..1"
            )
        if not 0.0 < self.rate_hz < inf:
            raise ValueError(f"pair stream {self.name!r}: rate_hz {self.rate_hz:g} is not above 0")
        if self.max_rounds < 0:
            raise ValueError(f"pair stream {self.name!r}: max_rounds {self.max_rounds} is below 0")


@dataclass(frozen=True)
class RepeaterNetwork:
    """All nodes and links; two nodes may have several links."""

    nodes: dict[NodeName, PairNode]
    links: dict[LinkName, PairLink]
    at: dict[NodeName, tuple[LinkName, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Which links a node has; ValueError where a link ends nowhere."""
        found: dict[NodeName, list[LinkName]] = {name: [] for name in self.nodes}
        for link in self.links.values():
            for end in (link.a, link.b):
                if end not in found:
                    raise ValueError(f"link {link.name!r} ends at {end!r}, which is no node with memories")
                found[end].append(link.name)
        object.__setattr__(self, "at", {name: tuple(sorted(links)) for name, links in found.items()})


def network_of(nodes: Iterable[PairNode], links: Iterable[PairLink]) -> RepeaterNetwork:
    """A network of these."""
    return RepeaterNetwork({node.name: node for node in nodes}, {link.name: link for link in links})


@dataclass(frozen=True, slots=True)
class Lane:
    """How one lane of a path is run."""

    nodes: tuple[NodeName, ...]
    # One per hop; so are the following three.
    links: tuple[LinkName, ...]
    rounds: tuple[int, ...]
    cutoff_seconds: tuple[float, ...]
    # Memories of a slot at each end.
    channels: tuple[int, ...]
    # The inner nodes, level by level: those of one level need not wait for each other.
    swap_order: Levels
    end_rounds: int = 0

    @property
    def width(self) -> tuple[int, ...]:
        """Memories at either end of each hop."""
        copies = 2**self.end_rounds
        return tuple(
            copies * 2**rounds * channels for rounds, channels in zip(self.rounds, self.channels, strict=True)
        )


def plain_lane(nodes: tuple[NodeName, ...], links: tuple[LinkName, ...]) -> Lane:
    """No purification, no cut-off, one channel a hop, swaps in balanced order."""
    hops = len(links)
    return Lane(nodes, links, (0,) * hops, (inf,) * hops, (1,) * hops, balanced(nodes))


def balanced(nodes: tuple[NodeName, ...]) -> Levels:
    """Halves of the path first, the node in its middle last."""
    levels: list[list[NodeName]] = []

    def placed(first: int, last: int) -> int:
        """The level of the segment between two nodes: 0 for a hop."""
        if last - first == 1:
            return 0
        middle = (first + last) // 2
        level = max(placed(first, middle), placed(middle, last)) + 1
        levels.extend([] for _ in range(level - len(levels)))
        levels[level - 1].append(nodes[middle])
        return level

    placed(0, len(nodes) - 1)
    return tuple(tuple(level) for level in levels)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What comes out at both ends."""

    rate_hz: float
    state: Bell


@dataclass(frozen=True, slots=True)
class PairPath:
    """A path in use by one stream: some lanes that are alike, and what they give together."""

    lane: Lane
    lanes: int
    predicted_rate_hz: float
    predicted_state: Bell

    @property
    def nodes(self) -> tuple[NodeName, ...]:
        """From source to target."""
        return self.lane.nodes

    @property
    def links(self) -> tuple[LinkName, ...]:
        """One per hop."""
        return self.lane.links

    @property
    def width(self) -> tuple[int, ...]:
        """Memories at either end of each hop that are this path's."""
        return tuple(self.lanes * memories for memories in self.lane.width)

    @property
    def rounds(self) -> tuple[int, ...]:
        """Of purification, by hop."""
        return self.lane.rounds

    @property
    def end_rounds(self) -> int:
        """Of purification from end to end."""
        return self.lane.end_rounds

    @property
    def swap_order(self) -> Levels:
        """The inner nodes, level by level."""
        return self.lane.swap_order

    @property
    def cutoff_seconds(self) -> tuple[float, ...]:
        """By hop: who waits longer for the next step is given up."""
        return self.lane.cutoff_seconds

    @property
    def predicted_fidelity(self) -> float:
        """Of the pairs that are delivered."""
        return self.predicted_state.fidelity

    def memories(self) -> dict[NodeName, int]:
        """Memories in use, by node."""
        return used_memories(self.lane, self.lanes)


def used_memories(lane: Lane, lanes: int = 1) -> dict[NodeName, int]:
    """Memories that so many lanes take, by node."""
    used = dict.fromkeys(lane.nodes, 0)
    for (a, b), width in zip(pairwise(lane.nodes), lane.width, strict=True):
        used[a] += lanes * width
        used[b] += lanes * width
    return used
