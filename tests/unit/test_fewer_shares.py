"""A stream that may go on with fewer shares does so when a path fails, not while key is merely short."""

from dataclasses import replace
from unittest import mock

import pytest

from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys.keystore import KeyStore, StoredKey
from keyweave.agent.keyplane.streams.near import NearEnd
from keyweave.agent.keyplane.terms import PathSetTerms, RelayPath, StreamTerms
from keyweave.common.names import LinkName, NodeName, PathId
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.stream_ends import finished_keys

RULE = agent_pb2.StreamRule(
    stream="s", is_source=True, peer_node="b", local_sae="x", peer_sae="y", key_size_bits=256, k=2, min_k=1,
    buffer_keys=64, on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT,
)  # fmt: skip


def path(name: str) -> RelayPath:
    link = LinkName(f"link-{name}")
    return RelayPath(PathId(name), link, NodeName("n"), frozenset({link}), (), b"")


ONE, OTHER = path("one"), path("other")
PAIR = PathSetTerms(0, 1000.0, (ONE, OTHER))
PARTS = PathSetTerms(1, 0.0, (ONE,)), PathSetTerms(2, 0.0, (OTHER,))


class Stream:
    """A near end whose other path fails as told; its keys go into a real store."""

    def __init__(self) -> None:
        self.failure: pb.FailureCode | None = None
        self.made: list[tuple[PathId, ...]] = []
        self.store = KeyStore()
        terms = replace(
            StreamTerms.of(RULE),
            path_sets=(PAIR, *PARTS),
            accepted={one.path_id: one for one in (ONE, OTHER)},
        )
        self.near = NearEnd(NodeName("a"), terms, mock.Mock(), mock.Mock(), self.store, mock.Mock())
        self.near._maker = mock.Mock(make=self._make, terms=terms)

    async def _make(self, path_set: PathSetTerms, count: int) -> tuple[StoredKey, ...]:
        if self.failure is not None and OTHER in path_set.paths:
            raise KeyPlaneError(self.failure, "as told")
        self.made.append(path_set.key)
        return finished_keys(path_set, count)


@pytest.mark.parametrize(
    "short", [pb.FAILURE_CODE_POOL_EXHAUSTED, pb.FAILURE_CODE_OVER_BUDGET], ids=["pool", "budget"]
)
async def test_while_key_is_short_buffered_keys_of_all_shares_are_used_up_first(
    short: pb.FailureCode,
) -> None:
    stream = Stream()
    await stream.near._make_quantum_batch(1)
    stream.failure = short
    assert (await stream.near._make_quantum_batch(1)).short
    assert stream.made == [PAIR.key]


async def test_when_the_buffer_is_empty_fewer_shares_are_better_than_no_key() -> None:
    stream = Stream()
    stream.failure = pb.FAILURE_CODE_POOL_EXHAUSTED
    await stream.near._make_quantum_batch(1)
    assert stream.made == [PARTS[0].key]


async def test_when_a_path_fails_the_stream_goes_on_with_what_is_left_at_once() -> None:
    stream = Stream()
    await stream.near._make_quantum_batch(1)
    stream.failure = pb.FAILURE_CODE_LINK_UNUSABLE
    await stream.near._make_quantum_batch(1)
    assert stream.made == [PAIR.key, PARTS[0].key]
