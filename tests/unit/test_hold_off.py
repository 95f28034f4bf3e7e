"""A way in use that waits for its pools is helped out by another: no failover, unless it lasts."""

import time
from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import pytest

from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys.keystore import KeyStore, StoredKey
from keyweave.agent.keyplane.streams.near import HOLD_OFF_SECONDS, NearEnd
from keyweave.agent.keyplane.terms import PathSetTerms, RelayPath, StreamTerms
from keyweave.common.names import LinkName, NodeName, PathId
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.stream_ends import finished_keys


def way(rank: int, name: str, *relays: str) -> PathSetTerms:
    link = LinkName(f"link-{name}")
    nodes = tuple(NodeName(node) for node in relays)
    path = RelayPath(PathId(name), link, NodeName("n"), frozenset({link}), nodes, b"")
    return PathSetTerms(rank, 1000.0, (path,))


FAILOVER = agent_pb2.AGENT_EVENT_KIND_FAILOVER
STARVED, SUPPLIED = agent_pb2.AGENT_EVENT_KIND_STREAM_STARVED, agent_pb2.AGENT_EVENT_KIND_STREAM_SUPPLIED
HYBRID = types_pb2.PROTECTION_HYBRID
PRIMARY, BACKUP = way(0, "primary"), way(1, "backup", "p", "q")
RULE = agent_pb2.StreamRule(
    stream="s", is_source=True, peer_node="b", local_sae="x", peer_sae="y", key_size_bits=256, k=1, min_k=1,
    buffer_keys=64, on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT,
)  # fmt: skip


class Stream:
    """A near end with a primary and a backup that fail as told."""

    def __init__(self) -> None:
        self.failures: dict[PathId, pb.FailureCode] = {}
        self.events: list[agent_pb2.AgentEvent] = []
        self.now = time.monotonic()
        accepted = {path.path_id: path for way in (PRIMARY, BACKUP) for path in way.paths}
        terms = replace(StreamTerms.of(RULE), path_sets=(PRIMARY, BACKUP), accepted=accepted)
        self.near = NearEnd(NodeName("a"), terms, mock.Mock(), mock.Mock(), KeyStore(), self.events.append)
        self.near._maker = mock.Mock(make=self._make, terms=terms)

    async def _make(self, path_set: PathSetTerms, count: int) -> tuple[StoredKey, ...]:
        (path_id,) = path_set.key
        if path_id in self.failures:
            raise KeyPlaneError(self.failures[path_id], "as told")
        return finished_keys(path_set, count)

    async def batch(self) -> str:
        """Make one; returns the way that policy and operators are told is in use."""
        self.near.path_back()
        await self.near._make_quantum_batch(1)
        return str(self.near.path_ids[0])

    @property
    def failovers(self) -> list[str]:
        return [e.reason for e in self.events if e.kind == agent_pb2.AGENT_EVENT_KIND_FAILOVER]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    one = Stream()
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: one.now)
        yield one


async def test_a_batch_over_the_backup_while_pools_of_the_primary_fill_is_no_failover(stream: Stream) -> None:
    for _ in range(3):
        stream.now += HOLD_OFF_SECONDS  # with a full buffer there is nothing to make meanwhile
        assert await stream.batch() == "primary"
        stream.failures = {PathId("primary"): pb.FAILURE_CODE_POOL_EXHAUSTED}
        assert await stream.batch() == "primary"
        stream.failures = {}
    assert stream.near.counters.failovers == 0
    assert stream.failovers == []
    assert stream.near.counters.confirmed_bits == 6 * 256


async def test_one_whose_pools_stay_empty_for_the_hold_off_time_is(stream: Stream) -> None:
    await stream.batch()
    stream.failures = {PathId("primary"): pb.FAILURE_CODE_POOL_EXHAUSTED}
    assert await stream.batch() == "primary"
    stream.now += HOLD_OFF_SECONDS
    assert await stream.batch() == "backup"
    assert stream.failovers == ["moved without interruption: hybrid over a→p→q→b"]


async def test_a_way_that_fails_is_left_at_once(stream: Stream) -> None:
    await stream.batch()
    stream.failures = {PathId("primary"): pb.FAILURE_CODE_UNREACHABLE}
    assert await stream.batch() == "backup"
    assert stream.failovers == ["the way in use failed: hybrid over a→p→q→b"]


async def test_one_that_ran_dry_before_it_found_another_way_has_failed_over_too(stream: Stream) -> None:
    await stream.batch()
    stream.near._store.destroy(lambda _: True, "drawn by an application")
    stream.failures = dict.fromkeys(map(PathId, ("primary", "backup")), pb.FAILURE_CODE_UNREACHABLE)
    stream.near.path_back()
    assert not await stream.near._make_batch(1)
    assert [e.kind for e in stream.events] == [SUPPLIED, STARVED]
    stream.now += 8.0
    stream.failures = {PathId("primary"): pb.FAILURE_CODE_UNREACHABLE}
    assert await stream.batch() == "backup"
    assert [e.kind for e in stream.events[2:]] == [FAILOVER, SUPPLIED]
    failover = stream.events[2]
    assert (failover.protection_before, failover.protection_after) == (HYBRID, HYBRID)
    assert (list(failover.path_ids_before), list(failover.path_ids_after)) == (["primary"], ["backup"])
    assert failover.duration_seconds == 8.0


async def test_one_that_ran_dry_and_goes_on_as_before_has_not(stream: Stream) -> None:
    await stream.batch()
    stream.near._store.destroy(lambda _: True, "drawn by an application")
    stream.failures = dict.fromkeys(map(PathId, ("primary", "backup")), pb.FAILURE_CODE_UNREACHABLE)
    stream.near.path_back()
    assert not await stream.near._make_batch(1)
    stream.failures = {}
    assert await stream.batch() == "primary"
    assert [e.kind for e in stream.events] == [SUPPLIED, STARVED, SUPPLIED]
