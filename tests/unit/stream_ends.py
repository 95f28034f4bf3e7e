"""One stream from node b to node a, and what its near end sends."""

import time
import uuid
from typing import Any

from keyweave.agent.keyplane.keys.keystore import Origin, Protection, Provenance, StoredKey
from keyweave.agent.keyplane.terms import PathSetTerms, RelayPath, StreamTerms
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName
from keyweave.v1 import keyplane_pb2 as pb

HERE, PEER = NodeName("a"), NodeName("b")
STREAM = StreamName("s")
BATCH = b"batch-identifier"
POOL = b"pool-identifier-"


def path(path_id: str, first_node: str = "b") -> RelayPath:
    link = LinkName(f"a-{first_node}")
    return RelayPath(PathId(path_id), link, NodeName(first_node), frozenset({link}), (), bytes(32))


TERMS = StreamTerms(
    stream=STREAM,
    is_source=False,
    peer_node=PEER,
    local_sae=SaeId("sae-a"),
    peer_sae=SaeId("sae-b"),
    key_size_bits=256,
    require_qkd=False,
    require_pqc=False,
    k=1,
    min_k=1,
    pqc_when_exhausted=True,
    refuse_when_exhausted=False,
    refresh_seconds=60,
    key_ttl_seconds=60,
    buffer_keys=64,
    rate_bps=1000.0,
    path_sets=(),
    accepted={PathId("p"): path("p"), PathId("q"): path("q", "c")},
)


def share(batch_id: bytes, path_id: str = "p") -> pb.Relay:
    return pb.Relay(stream=STREAM, path_id=path_id, batch_id=batch_id, share=0, shares=1)


def offer(**changed: Any) -> pb.Offer:
    fields: dict[str, Any] = {
        "stream": STREAM,
        "batch_id": BATCH,
        "key_ids": [bytes(15) + b"1"],
        "key_size_bits": 256,
        "master_sae": "sae-b",
        "slave_sae": "sae-a",
        "path_ids": ["p"],
    }
    return pb.Offer(**fields | changed)


def key(number: int, stream: str = "s", link: str = "l", created: float = 100.0) -> StoredKey:
    provenance = Provenance(Protection.HYBRID, (PathId("p"),), frozenset({LinkName(link)}))
    ends = (SaeId("m"), SaeId("s"))
    origin = Origin(StreamName(stream), PEER, *ends, provenance, created, created + 60)
    return StoredKey(uuid.UUID(int=number).bytes, bytearray(b"k" * 32), origin)


def finished_keys(path_set: PathSetTerms, count: int) -> tuple[StoredKey, ...]:
    """Keys of stream s as they come out of a batch over a path set."""
    links = frozenset(link for path in path_set.paths for link in path.links)
    provenance = Provenance(Protection.HYBRID, path_set.key, links)
    now = time.time()
    origin = Origin(StreamName("s"), NodeName("b"), SaeId("x"), SaeId("y"), provenance, now, now + 60)
    return tuple(StoredKey(uuid.uuid4().bytes, bytearray(32), origin) for _ in range(count))
