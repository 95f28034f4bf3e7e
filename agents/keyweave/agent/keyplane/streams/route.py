"""A path as the nodes on it see it, and the digest by which they know that all mean the same one."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from keyweave.common.names import LinkName, NodeName, PathId, StreamName
from keyweave.v1 import agent_pb2, types_pb2


def path_digest(stream: str, path_id: str, hops: Sequence[types_pb2.Hop]) -> bytes:
    """SHA-256 over a stream's path, unambiguously: every name carries its 16-bit length, big-endian."""
    names = [stream, path_id, *(name for hop in hops for name in (hop.link, hop.from_node, hop.to_node))]
    digest = hashlib.sha256(b"keyweave path 1")
    for name in names:
        text = name.encode()
        digest.update(struct.pack(">H", len(text)) + text)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Side:
    """A transit node's way towards one end of a path."""

    link: LinkName
    node: NodeName


@dataclass(frozen=True, slots=True)
class Transit:
    """A path that crosses this node."""

    stream: StreamName
    path_id: PathId
    digest: bytes
    towards_source: Side
    towards_target: Side
    budget_bps: int
    burst_bits: int

    @classmethod
    def of(cls, rule: agent_pb2.RelayRule, node: NodeName) -> "Transit":
        """From a rule that has been checked: `node` lies within its path."""
        before, after = next(
            (before, after) for before, after in pairwise(rule.hops) if before.to_node == node
        )
        return cls(
            stream=StreamName(rule.stream),
            path_id=PathId(rule.path_id),
            digest=path_digest(rule.stream, rule.path_id, rule.hops),
            towards_source=Side(LinkName(before.link), NodeName(before.from_node)),
            towards_target=Side(LinkName(after.link), NodeName(after.to_node)),
            budget_bps=rule.budget_bps,
            burst_bits=rule.burst_bits,
        )
