"""Whatever the other end of a link sends about its pools: no byte is used twice, and books stay small."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from keyweave.agent.drivers.base import DeviceBlock, LinkEndInfo
from keyweave.agent.keyplane.links.journal import Journal
from keyweave.agent.keyplane.links.linkend import LinkEnd
from keyweave.agent.keyplane.links.linkwatch import Verdict
from keyweave.agent.keyplane.links.pool import MAX_GRANTED_RUNS, Lane, Pool, PoolError, User
from keyweave.agent.keyplane.terms import LinkPolicy
from keyweave.agent.observer import Observer
from keyweave.common import one_writer
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.stream_ends import POOL


def test_grants_that_follow_on_one_another_are_one_run() -> None:
    lane = Lane(64)
    lane.append(bytearray(64))
    lane.grant(0, 8)
    lane.grant(8, 40)
    assert lane.next_run(User.GRANTEE, 40, 64) == 0


def test_a_peer_that_gives_crumbs_cannot_make_the_books_grow() -> None:
    lane = Lane(4 * MAX_GRANTED_RUNS)
    lane.append(bytearray(4 * MAX_GRANTED_RUNS))
    for number in range(MAX_GRANTED_RUNS):
        lane.grant(2 * number, 2 * number + 1)
    with pytest.raises(PoolError, match="runs of granted bytes"):
        lane.grant(2 * MAX_GRANTED_RUNS, 2 * MAX_GRANTED_RUNS + 1)


def test_a_peer_that_asks_for_crumbs_gets_no_more_when_the_books_are_full() -> None:
    pool = Pool(POOL, 1, 16 * MAX_GRANTED_RUNS, owns_first_lane=True)
    pool.append(1, bytearray(16 * MAX_GRANTED_RUNS), 0)
    pool.peer_next_block = 2
    given = 0
    while pool.grant(1) is not None:
        given += 1
        pool.allocate(1)
    assert given == MAX_GRANTED_RUNS


async def test_offsets_are_not_covered_before_the_disk_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, disk = threading.Event(), threading.Event()

    def slow_write(_path: Path, _text: str) -> None:
        begun.set()
        assert disk.wait(10)

    monkeypatch.setattr(one_writer, "write_atomically", slow_write)
    journal = Journal(tmp_path / "l.json")
    reserving = asyncio.create_task(journal.reserve(POOL, {True: 100}))
    taking = asyncio.create_task(journal.taken(7))
    await asyncio.to_thread(begun.wait, 10)
    assert not journal.covers(POOL, {True: 1})
    assert journal.highest_block == 0
    disk.set()
    await asyncio.gather(reserving, taking)
    assert journal.covers(POOL, {True: 100})
    assert journal.highest_block == 7


# ---- a link end ---------------------------------------------------------------------------------


class Wire:
    """A session that keeps what is posted."""

    def __init__(self) -> None:
        self.connected = True
        self.posted: list[pb.Frame] = []

    def post(self, frame: pb.Frame) -> bool:
        self.posted.append(frame)
        return self.connected

    def sent(self, kind: str) -> list[Any]:
        return [getattr(frame, kind) for frame in self.posted if frame.WhichOneof("body") == kind]


class LinkRig:
    """One end of a link whose pool is open and holds four blocks."""

    def __init__(self, directory: Path, *, node: str = "b", peer: str = "a") -> None:
        self.wire = Wire()
        self.verdicts: list[Verdict] = []
        info = LinkEndInfo(LinkName("a-b"), NodeName(peer), "model", emulated=True, block_bytes=64)
        self.link = LinkEnd(
            NodeName(node),
            info,
            mock.Mock(),
            Journal(directory / "l.json"),
            Observer(),
            on_report=mock.Mock(),
            on_verdict=lambda _link, _before, after: self.verdicts.append(after),
            on_event=mock.Mock(),
            on_supply=mock.Mock(),
        )
        self.bind(LinkPolicy(NodeName(peer), 0.11, maintenance=False))

    def bind(self, policy: LinkPolicy | None) -> None:
        self.link.bind(self.wire, policy)  # type: ignore[arg-type]

    def open(self, blocks: int = 4) -> Pool:
        self.link.on_frame(
            pb.Frame(pool_open=pb.PoolOpen(link="a-b", pool_id=POOL, first_block=1, block_bytes=64))
        )
        pool = self.link.pool
        assert pool is not None
        for number in range(1, blocks + 1):
            pool.append(number, bytearray(64), produced_unix_nanos=number * 10**9)
        return pool


@pytest.mark.parametrize("block_bytes", [0, 1, 63, 65, 2**32 - 1])
@pytest.mark.parametrize("pool_id", [b"", POOL])
def test_a_pool_of_another_shape_is_not_opened(tmp_path: Path, block_bytes: int, pool_id: bytes) -> None:
    rig = LinkRig(tmp_path)
    wrong = pb.PoolOpen(link="a-b", pool_id=pool_id, first_block=2**64 - 1, block_bytes=block_bytes)
    rig.link.on_frame(pb.Frame(pool_open=wrong))
    assert rig.link.pool is None


def test_a_pool_that_policy_takes_away_at_one_end_goes_at_the_other_too(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    rig.open()
    rig.bind(None)
    assert [destroy.pool_id for destroy in rig.wire.sent("pool_destroy")] == [POOL]


def test_a_peer_that_counts_on_a_pool_which_is_gone_is_told_so(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    rig.link.on_frame(pb.Frame(pool_intake=pb.PoolIntake(link="a-b", pool_id=POOL, next_block=9)))
    assert [destroy.pool_id for destroy in rig.wire.sent("pool_destroy")] == [POOL]


def test_what_the_peer_no_longer_trusts_is_dated_by_when_it_was_produced(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    rig.open()
    truncate = pb.Frame(pool_truncate=pb.PoolTruncate(link="a-b", pool_id=POOL, from_block=3))
    rig.link.on_frame(truncate)
    assert [verdict.since for verdict in rig.verdicts] == [3.0], "keys made since then are not trusted"


@pytest.mark.parametrize(
    "frame",
    [
        pb.Frame(pool_grant=pb.PoolGrant(link="a-b", pool_id=POOL, start_offset=2**64 - 1, end_offset=0)),
        pb.Frame(pool_grant=pb.PoolGrant(link="a-b", pool_id=POOL, start_offset=0, end_offset=2**64 - 1)),
        pb.Frame(pool_burn=pb.PoolBurn(link="a-b", pool_id=POOL, below_offset=2**64 - 1)),
        pb.Frame(pool_intake=pb.PoolIntake(link="a-b", pool_id=POOL, next_block=2**64 - 1)),
        pb.Frame(pool_truncate=pb.PoolTruncate(link="a-b", pool_id=POOL, from_block=2**64 - 1)),
        pb.Frame(pool_truncate=pb.PoolTruncate(link="a-b", pool_id=POOL, from_block=0)),
        pb.Frame(pool_destroy=pb.PoolDestroy(link="a-b")),
        pb.Frame(pool_opened=pb.PoolOpened(link="a-b")),
        pb.Frame(pool_opened=pb.PoolOpened(link="a-b", pool_id=POOL, end_block=2**64 - 1)),
        pb.Frame(
            pool_open=pb.PoolOpen(
                link="a-b", pool_id=b"released-pool-id", first_block=1, end_block=2**64 - 1, block_bytes=64
            )
        ),
        pb.Frame(pool_open=pb.PoolOpen(link="a-b", pool_id=POOL, first_block=9, end_block=1, block_bytes=64)),
    ],
)
def test_any_two_pool_frames_leave_the_link_end_standing(tmp_path: Path, frame: pb.Frame) -> None:
    rig = LinkRig(tmp_path)
    rig.open()
    rig.link.on_frame(frame)
    rig.link.on_frame(frame)
    rig.link.on_frame(pb.Frame(pool_destroy=pb.PoolDestroy(link="a-b")))
    assert rig.open() is rig.link.pool, "a new pool can be opened"


def test_blocks_that_come_while_no_policy_bounds_the_error_rate_are_not_used_later(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    policy = rig.link.policy
    rig.bind(None)
    blocks = [DeviceBlock(number, bytearray(b"x" * 64), number) for number in (1, 2)]
    rig.link._take_in(blocks[0])
    assert not any(blocks[0].key)
    rig.bind(policy)
    pool = rig.open(blocks=0)
    assert (pool.first_block, pool.kept_bytes) == (2, 0)
    rig.link._take_in(blocks[1])
    assert pool.kept_bytes == 64


async def test_a_block_that_a_device_gives_again_is_not_used_again(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    pool = rig.open(blocks=0)

    async def given(*numbers: int) -> None:
        async def blocks(*_: object) -> AsyncIterator[tuple[DeviceBlock, ...]]:
            yield tuple(DeviceBlock(number, bytearray(b"x" * 64), number) for number in numbers)

        rig.link._driver = mock.Mock(take_blocks=blocks)
        await rig.link.take_blocks()

    await given(1, 2)
    await given(2, 1, 3, 3)
    assert rig.link.pool is pool, "which a block twice would have destroyed"
    assert (pool.next_block, rig.link.intake_bytes_total) == (4, 3 * 64)
    rig.bind(None)
    rig.bind(LinkPolicy(NodeName("a"), 0.11, maintenance=False))
    await given(1, 2, 3)
    assert rig.open(blocks=0).first_block == 4, "nor may a new pool begin below what was used"


def test_two_pools_cannot_have_one_id(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    for number in (1, 2):
        rig.link.hold.add(DeviceBlock(number, bytearray(64), number), 0.0)
    rig.link.release_held()
    ask = pb.PoolOpen(link="a-b", pool_id=POOL, first_block=1, end_block=3, block_bytes=64)
    rig.link.on_frame(pb.Frame(pool_open=ask))
    ask.end_block = 0
    rig.link.on_frame(pb.Frame(pool_open=ask))
    assert [pool.first_block for pool in rig.link.pools] == [1]
