"""The policy of a mesh, written by hand: what a controller would have compiled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from keyweave.v1 import agent_pb2, types_pb2

Nodes = tuple[str, ...]


@dataclass(frozen=True)
class MeshStream:
    """A stream from the first to the last node of its paths.

    Every entry of `path_sets` is one path set, best first: the nodes of each of its disjoint paths.
    """

    path_sets: tuple[tuple[Nodes, ...], ...]
    name: str = "s"
    k: int = 1
    min_k: int = 1
    require_qkd: bool = False
    require_pqc: bool = False
    on_exhaustion: types_pb2.OnExhaustion = types_pb2.ON_EXHAUSTION_PQC
    rate_bps: int = 20_000
    buffer_keys: int = 16
    key_size_bits: int = 256
    budget_bps: int = 1_000_000
    restricts_relays: bool = False
    # Transit nodes whose policy does not name the stream.
    forgotten_by: frozenset[str] = frozenset()
    # What nodes are told of paths in place of the truth: (node, path) -> the way it is to believe in.
    told: Mapping[tuple[str, Nodes], Nodes] = field(default_factory=dict)

    @property
    def ends(self) -> tuple[str, str]:
        """Source and target."""
        path = self.path_sets[0][0]
        return path[0], path[-1]

    @property
    def paths(self) -> dict[str, Nodes]:
        """All paths by their IDs."""
        return {self.path_id(path): path for path_set in self.path_sets for path in path_set}

    def path_id(self, path: Nodes) -> str:
        """The name of a path."""
        return f"{self.name}:{'-'.join(path)}"


def sae(node: str) -> str:
    """The SAE at a node."""
    return f"sae-{node}"


def link_between(one: str, other: str) -> str:
    """The link that joins two nodes."""
    return "-".join(sorted((one, other)))


def hops_of(path: Nodes) -> list[types_pb2.Hop]:
    """A path, hop by hop."""
    return [types_pb2.Hop(link=link_between(a, b), from_node=a, to_node=b) for a, b in pairwise(path)]


def stream_rule(stream: MeshStream, node: str) -> agent_pb2.StreamRule:
    """A stream as the policy of one of its ends has it."""
    source, target = stream.ends
    peer = target if node == source else source
    messages = {
        path_id: types_pb2.Path(
            path_id=path_id,
            hops=hops_of(stream.told.get((node, path), path)),
        )
        for path_id, path in stream.paths.items()
    }
    return agent_pb2.StreamRule(
        stream=stream.name,
        is_source=node == source,
        peer_node=peer,
        local_sae=sae(node),
        peer_sae=sae(peer),
        key_size_bits=stream.key_size_bits,
        require_qkd=stream.require_qkd,
        require_pqc=stream.require_pqc,
        k=stream.k,
        min_k=stream.min_k,
        on_exhaustion=stream.on_exhaustion,
        refresh_seconds=60,
        key_ttl_seconds=600,
        buffer_keys=stream.buffer_keys,
        rate_bps=stream.rate_bps,
        path_sets=[
            types_pb2.PathSet(
                rank=rank,
                rate_bps=stream.rate_bps if rank == 0 else 0,
                paths=[messages[stream.path_id(path)] for path in path_set],
            )
            for rank, path_set in enumerate(stream.path_sets)
        ],
        accepted_paths=messages.values(),
        restricts_relays=stream.restricts_relays,
    )


def relay_rule(stream: MeshStream, path_id: str, path: Nodes, node: str) -> agent_pb2.RelayRule:
    """A path as the policy of a node that it crosses has it."""
    path = stream.told.get((node, path), path)
    return agent_pb2.RelayRule(
        stream=stream.name,
        path_id=path_id,
        hops=hops_of(path),
        budget_bps=stream.budget_bps,
        burst_bits=stream.budget_bps,
    )
