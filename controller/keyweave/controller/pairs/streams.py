"""Pair streams: as operators want them, and how each is served. Pure."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.routing.entanglement.repeaters import Lane, PairDemand, PairKind, PairPath
from keyweave.v1 import pairs_pb2

DEFAULT_TEST_RATIO = 0.1
DEFAULT_MAX_ROUNDS = 3
NANOS = 1_000_000_000
KINDS: Mapping[int, PairKind] = {
    pairs_pb2.PAIR_KIND_NETWORK_LAYER: "nl",
    pairs_pb2.PAIR_KIND_CREATE_KEEP: "ck",
    pairs_pb2.PAIR_KIND_MEASURE_DIRECTLY: "md",
}
# What a served stream may be predicted below its floor before it is planned anew: estimates breathe.
KEEP_SLACK = 0.005


@dataclass(frozen=True, slots=True)
class PairStream:
    """Pairs that somebody wants."""

    name: StreamName
    source: NodeName
    target: NodeName
    kind: PairKind
    min_fidelity: float
    rate_hz: float
    priority: int = 0
    # Unix seconds; infinite where it has none.
    deadline: float = math.inf
    # 0 where it has no end.
    pair_count: int = 0
    max_rounds: int = DEFAULT_MAX_ROUNDS
    test_ratio: float = DEFAULT_TEST_RATIO
    # The virtual link that its keys feed, if they do.
    key_link: LinkName | None = None
    avoid_nodes: frozenset[NodeName] = frozenset()
    tenant: str = ""
    revision: int = 0

    def demand(self, *, served: bool = False) -> PairDemand:
        """What is to be planned for it: tests come on top of what is asked for."""
        return PairDemand(
            name=self.name,
            source=self.source,
            target=self.target,
            min_fidelity=self.min_fidelity - (KEEP_SLACK if served else 0.0),
            rate_hz=self.rate_hz / (1 - self.test_ratio),
            priority=self.priority,
            kind=self.kind,
            max_rounds=self.max_rounds,
            avoid=self.avoid_nodes,
        )


def pair_stream_of(spec: pairs_pb2.PairStream) -> PairStream:
    """A pair stream as planning sees it, defaults filled in."""
    return PairStream(
        name=StreamName(spec.name),
        source=NodeName(spec.source_node),
        target=NodeName(spec.target_node),
        kind=KINDS[spec.kind],
        min_fidelity=spec.min_fidelity,
        rate_hz=spec.rate_hz,
        priority=spec.priority,
        deadline=spec.deadline_unix_nanos / NANOS if spec.deadline_unix_nanos else math.inf,
        pair_count=spec.pair_count,
        max_rounds=spec.max_rounds if spec.HasField("max_rounds") else DEFAULT_MAX_ROUNDS,
        test_ratio=spec.test_ratio or DEFAULT_TEST_RATIO,
        key_link=LinkName(spec.key_link) if spec.key_link else None,
        avoid_nodes=frozenset(NodeName(name) for name in spec.avoid_nodes),
        tenant=spec.tenant,
        revision=spec.revision,
    )


@dataclass(frozen=True, slots=True)
class PairWay:
    """A path in force."""

    path_id: str
    path: PairPath
    # Its share of what the stream asks for, tests left out.
    rate_hz: float
    # How long a pair that is handed on is worth keeping; infinite where it does not fade.
    keep_seconds: float = math.inf


def path_id_of(stream: StreamName, lane: Lane, lanes: int) -> str:
    """The same for the same settings: agents on either side of a restart mean the same path."""
    content = repr((stream, tuple(getattr(lane, name) for name in Lane.__slots__), lanes))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class PairRecord:
    """What the store keeps of how a stream is served."""

    ways: tuple[PairWay, ...] = ()
    met: bool = False
    # Why it is over; empty while it is not.
    ended: str = ""
    delivered_total: int = 0
