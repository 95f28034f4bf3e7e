"""What a rule has a node do with the pairs of one path: by whom a half is shared, and how often purified.

Conditions name a partner and rounds, so actions are kept by those two. A node swaps pairs only with the
partners that its rule names, which is all that keeps the order of swaps along a path.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.v1 import pairs_pb2 as pb

# With whom a half is shared, and its rounds.
Key = tuple[NodeName, int]
# For halves that no cut-off is named for: they go, as what no rule takes.
DEFAULT_CUTOFF_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Purify:
    """Two such pairs become one of the next round."""


@dataclass(frozen=True, slots=True)
class SwapWith:
    """Bell measurement on it and one of this kind."""

    other: Key


@dataclass(frozen=True, slots=True)
class Deliver:
    """It goes from end to end."""


Step = Purify | SwapWith | Deliver


@dataclass(frozen=True, slots=True)
class PathRule:
    """A node's part in one path."""

    stream: StreamName
    path_id: str
    nodes: tuple[NodeName, ...]
    links: tuple[LinkName, ...]
    position: int
    left_memories: int
    right_memories: int
    kind: int
    rate_hz: float
    test_ratio: float
    key_link: LinkName | None
    deadline_unix_nanos: int
    pair_count: int
    cutoffs: Mapping[Key, float]
    steps: Mapping[Key, tuple[Step, ...]]

    @classmethod
    def of(cls, rule: pb.PairRule) -> "PathRule":
        """As policy has it; it was checked before."""
        cutoffs: dict[Key, float] = {}
        steps: dict[Key, tuple[Step, ...]] = {}

        def add(key: Key, step: Step) -> None:
            steps[key] = (*steps.get(key, ()), step)

        for each in rule.steps:
            key = NodeName(each.partner), each.rounds
            match each.WhichOneof("action"):
                case "cutoff":
                    cutoffs.setdefault(key, each.cutoff.seconds)
                case "purify":
                    add(key, Purify())
                case "swap":
                    other = NodeName(each.swap.with_partner), each.swap.with_rounds
                    add(key, SwapWith(other))
                    add(other, SwapWith(key))
                case "deliver":
                    add(key, Deliver())
        return cls(
            stream=StreamName(rule.stream),
            path_id=rule.path_id,
            nodes=tuple(map(NodeName, rule.nodes)),
            links=tuple(map(LinkName, rule.links)),
            position=rule.position,
            left_memories=rule.left_memories,
            right_memories=rule.right_memories,
            kind=rule.kind,
            rate_hz=rule.rate_hz,
            test_ratio=rule.test_ratio,
            key_link=LinkName(rule.key_link) if rule.key_link else None,
            deadline_unix_nanos=rule.deadline_unix_nanos,
            pair_count=rule.pair_count,
            cutoffs=cutoffs,
            steps=steps,
        )

    @classmethod
    def of_link_tests(cls, node: NodeName, rule: pb.PairLinkRule) -> "PathRule":
        """A path of one link, tested and nothing else. The end whose name sorts first is its source."""
        ends = tuple(sorted((node, NodeName(rule.peer_node))))
        position = ends.index(node)
        return cls(
            stream=StreamName(""),
            path_id=rule.link,
            nodes=ends,
            links=(LinkName(rule.link),),
            position=position,
            left_memories=int(position == 1),
            right_memories=int(position == 0),
            kind=pb.PAIR_KIND_MEASURE_DIRECTLY,
            rate_hz=rule.test_rate_hz,
            test_ratio=1.0,
            key_link=None,
            deadline_unix_nanos=0,
            pair_count=0,
            cutoffs={(ends[1 - position], 0): 1.0},
            steps={(ends[1 - position], 0): (Deliver(),)},
        )

    @property
    def tag(self) -> str:
        """What both ends of a link attempt for; streams have names, tests of links none."""
        return path_tag(self.stream, self.path_id)

    @property
    def is_link_test(self) -> bool:
        """Whether it serves no stream."""
        return not self.stream

    @property
    def is_source(self) -> bool:
        """Whether the path begins here."""
        return self.position == 0

    @property
    def is_end(self) -> bool:
        """Whether it begins or ends here."""
        return self.position in (0, len(self.nodes) - 1)

    @property
    def far_end(self) -> NodeName:
        """The other end, seen from one."""
        return self.nodes[-1] if self.is_source else self.nodes[0]

    def nearer_to_target(self, other: NodeName) -> bool:
        """Whether this node is, which then corrects frames; the other one begins rounds of purification."""
        return self.nodes.index(other) < self.position

    def cutoff_seconds(self, key: Key) -> float:
        """The age at which such a half is given up."""
        return self.cutoffs.get(key, DEFAULT_CUTOFF_SECONDS)


def path_tag(stream: str, path_id: str) -> str:
    """Of all paths of all streams."""
    return f"{stream}/{path_id}"
