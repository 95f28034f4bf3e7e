"""Batches of a stream begin in rounds, and no more of them than the buffer has room for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from unittest import mock

from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys.keystore import KeyStore, StoredKey
from keyweave.agent.keyplane.streams.near import BATCHES_A_ROUND, BATCHES_AT_ONCE, MAX_BATCH_KEYS, NearEnd
from keyweave.agent.keyplane.terms import PathSetTerms, StreamTerms
from keyweave.common.names import NodeName, StreamName
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.stream_ends import finished_keys, path

DEADLINE_SECONDS = 30.0
BATCHES = 20
WAY = PathSetTerms(0, 1000.0, (path("p"),))
RULE = agent_pb2.StreamRule(
    stream="s", is_source=True, peer_node="d", local_sae="x", peer_sae="y", key_size_bits=256, k=1, min_k=1,
    buffer_keys=BATCHES * MAX_BATCH_KEYS, on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT,
)  # fmt: skip


class Stream:
    """A near end whose batches end when, and as, the test says."""

    def __init__(self) -> None:
        self.store = KeyStore()
        self.begun: list[asyncio.Future[bool]] = []
        self._changed = asyncio.Event()
        terms = replace(StreamTerms.of(RULE), path_sets=(WAY,), accepted={p.path_id: p for p in WAY.paths})
        self.near = NearEnd(NodeName("a"), terms, mock.Mock(), mock.Mock(), self.store, lambda _event: None)
        self.near._maker = mock.Mock(make=self._make, terms=terms)

    async def _make(self, path_set: PathSetTerms, count: int) -> tuple[StoredKey, ...]:
        ending: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.begun.append(ending)
        self._changed.set()
        if not await ending:
            raise KeyPlaneError(pb.FAILURE_CODE_UNREACHABLE, "as told")
        return finished_keys(path_set, count)

    async def until_begun(self, number: int) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(self.begun) < number:
                self._changed.clear()
                await self._changed.wait()

    async def settle(self) -> None:
        """Give everybody who can go on his turns."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def end(self, *numbers: int) -> None:
        for number in numbers:
            self.begun[number].set_result(True)
        await self.settle()


@asynccontextmanager
async def flowing() -> AsyncIterator[Stream]:
    """A stream whose first batch came about, so that rounds are under way."""
    stream = Stream()
    task = asyncio.create_task(stream.near.run())
    await stream.until_begun(1)
    await stream.end(0)
    await stream.until_begun(1 + BATCHES_AT_ONCE)
    await stream.settle()
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_round_begins_when_all_of_the_one_before_are_there() -> None:
    async with flowing() as stream:
        assert len(stream.begun) == 1 + BATCHES_AT_ONCE
        first = range(1, 1 + BATCHES_A_ROUND)
        await stream.end(*first[:-1])
        assert len(stream.begun) == 1 + BATCHES_AT_ONCE
        await stream.end(first[-1])
        assert len(stream.begun) == 1 + BATCHES_AT_ONCE + BATCHES_A_ROUND


async def test_rounds_fill_the_buffer_and_make_no_key_beyond() -> None:
    async with flowing() as stream:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while waiting := [number for number, ending in enumerate(stream.begun) if not ending.done()]:
                await stream.end(*waiting)
        assert stream.store.ready(StreamName("s")) == BATCHES * MAX_BATCH_KEYS
        assert len(stream.begun) == BATCHES


async def test_a_way_that_fails_is_left_by_all_rounds() -> None:
    async with flowing() as stream:
        for ending in stream.begun[1:]:
            ending.set_result(False)
        await stream.settle()
        assert len(stream.begun) == 1 + BATCHES_AT_ONCE
