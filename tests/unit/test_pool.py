"""Link pools: whatever two ends do, and whatever gets lost between them, no byte of key is used twice."""

import hashlib
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keyweave.agent.keyplane.links.pool import MAX_GRANTED_BYTES, Lane, Pool, PoolError, Range, User

HALF = 8
BLOCK = 2 * HALF
POOL_ID = b"pool-identifier-"
STOCK = 6  # blocks that both ends hold when a pool begins
ENDS = st.sampled_from([True, False])  # whether it is the end whose name sorts first
LOST = st.sampled_from([False, False, False, True])


def device_block(number: int) -> bytearray:
    """What the device gives both ends under a number; no byte of it is 0, so that erased ones show."""
    digest = hashlib.sha256(number.to_bytes(8, "big")).digest()[:BLOCK]
    return bytearray(byte or 1 for byte in digest)


def device_bytes(first_block: int, span: Range | tuple[bool, int, int]) -> bytes:
    """What the devices gave for a range of a lane of a pool that begins at `first_block`."""
    first_lane, start, end = (
        (span.first_lane, span.offset, span.offset + len(span.data)) if isinstance(span, Range) else span
    )
    out = bytearray()
    for offset in range(start, end):
        index, within = divmod(offset, HALF)
        out.append(device_block(first_block + index)[within if first_lane else HALF + within])
    return bytes(out)


def filled_pool(*, owns_first_lane: bool, blocks: int, peer_has: int | None = None) -> Pool:
    pool = Pool(POOL_ID, 1, BLOCK, owns_first_lane=owns_first_lane)
    for number in range(1, blocks + 1):
        pool.append(number, device_block(number), produced_unix_nanos=number * 1000)
    pool.peer_next_block = 1 + (blocks if peer_has is None else peer_has)
    return pool


def filled_pair(blocks: int) -> tuple[Pool, Pool]:
    return filled_pool(owns_first_lane=True, blocks=blocks), filled_pool(owns_first_lane=False, blocks=blocks)


# ---- two ends and an ordered session that loses ------------------------------------------------


@dataclass(frozen=True)
class Intake:
    next_block: int


@dataclass(frozen=True)
class Sent:
    first_lane: bool
    offset: int
    data: bytes


@dataclass(frozen=True)
class Grant:
    start: int
    end: int


@dataclass(frozen=True)
class Burn:
    below: int


@dataclass(frozen=True)
class Truncate:
    from_block: int


Message = Intake | Sent | Grant | Burn | Truncate


@dataclass
class End:
    """One end: its books, its device's progress, and what is on its way to it."""

    pool: Pool
    taken: int = 0  # highest block taken from the device
    inbox: deque[Message] = field(default_factory=deque)
    truncated: bool = False


class TwoEnds(RuleBasedStateMachine):
    """Both ends of one link, over as many pools as it takes."""

    @initialize()
    def link_comes_up(self) -> None:
        # (device block, lane, byte within the half block) of every byte anybody ever sent with.
        self.sent_with: set[tuple[int, bool, int]] = set()
        self.ends = {lane: End(Pool(POOL_ID, 1, BLOCK, owns_first_lane=lane)) for lane in (True, False)}
        self._both_take(STOCK)

    @rule(end=ENDS, count=st.integers(1, 6))
    def take_device_blocks(self, end: bool, count: int) -> None:
        here = self.ends[end]
        for _ in range(count):
            here.taken += 1
            if here.taken < here.pool.next_block:
                continue
            block = device_block(here.taken)
            if here.truncated:
                with pytest.raises(PoolError, match="grows no more"):
                    here.pool.append(here.taken, block, 0)
            else:
                here.pool.append(here.taken, block, 0)
                assert not any(block), "a device block is overwritten once it is taken in"

    @rule(end=ENDS, lost=LOST)
    def announce(self, end: bool, lost: bool) -> None:
        self._tell(end, Intake(self.ends[end].pool.next_block), lost=lost)

    @rule(end=ENDS, size=st.integers(1, 3 * HALF), lost=LOST)
    def send(self, end: bool, size: int, lost: bool) -> None:
        pool = self.ends[end].pool
        promised = pool.next_offsets(size)
        before = pool.send_bytes()
        taken = pool.allocate(size)
        if taken is None:
            assert promised == {}
            return
        assert promised == {taken.first_lane: taken.offset + size}, "what is made durable covers what is used"
        assert len(taken.data) == size
        assert bytes(taken.data) == device_bytes(pool.first_block, taken)
        assert pool.send_bytes() <= before - size
        last_block = pool.first_block + (taken.offset + size - 1) // HALF
        assert last_block <= self.ends[not end].taken, "the other end has every byte that is sent with"
        for offset in range(taken.offset, taken.offset + size):
            place = (pool.first_block + offset // HALF, taken.first_lane, offset % HALF)
            assert place not in self.sent_with, f"{place} is given out a second time"
            self.sent_with.add(place)
        self._tell(end, Sent(taken.first_lane, taken.offset, bytes(taken.data)), lost=lost)

    @rule(end=ENDS, wanted=st.integers(1, 4 * HALF), lost=LOST)
    def grant(self, end: bool, wanted: int, lost: bool) -> None:
        pool = self.ends[end].pool
        before = pool.send_bytes()
        given = pool.grant(wanted)
        if given is not None:
            size = given[1] - given[0]
            assert 0 < size <= min(wanted, before // 2), (
                "never more than wanted, nor than half of what is left"
            )
            self._tell(end, Grant(*given), lost=lost)

    @rule(end=ENDS, keep=st.integers(0, 6 * HALF), lost=LOST)
    def burn_oldest(self, end: bool, keep: int, lost: bool) -> None:
        below = self.ends[end].pool.burn_oldest(keep)
        if below is not None:
            self._tell(end, Burn(below), lost=lost)

    @rule(end=ENDS, back=st.integers(0, 6), lost=LOST)
    def truncate(self, end: bool, back: int, lost: bool) -> None:
        here = self.ends[end]
        from_block = max(here.pool.first_block, here.pool.next_block - back)
        here.pool.truncate(from_block)
        here.truncated = True
        self._tell(end, Truncate(from_block), lost=lost)

    @precondition(lambda self: any(end.inbox for end in self.ends.values()))
    @rule(end=ENDS, count=st.integers(1, 4))
    def deliver(self, end: bool, count: int) -> None:
        here = self.ends[end]
        for _ in range(min(count, len(here.inbox))):
            try:
                self._handle(here, here.inbox.popleft())
            except PoolError:
                # The other end used what this one had truncated. Nothing else may bring them apart.
                assert any(each.truncated for each in self.ends.values())
                self.begin_afresh()
                return

    @rule()
    def begin_afresh(self) -> None:
        """Both ends destroy the pool and open another above all blocks that either has ever taken."""
        first = 1 + max(end.taken for end in self.ends.values())
        for lane, end in self.ends.items():
            end.pool.destroy()
            assert end.pool.kept_bytes == end.pool.send_bytes() == end.pool.receive_bytes() == 0
            end.pool = Pool(POOL_ID, first, BLOCK, owns_first_lane=lane)
            end.truncated = False
            end.inbox.clear()  # what is still on its way names the old pool
            end.taken = first - 1
        self._both_take(STOCK)

    @invariant()
    def no_byte_is_both_ends_to_send_with(self) -> None:
        for lane in (True, False):
            owners = _offsets(self.ends[lane].pool, lane, User.OWNER)
            grantees = _offsets(self.ends[not lane].pool, lane, User.GRANTEE)
            assert not owners & grantees

    @invariant()
    def only_half_blocks_with_unused_bytes_are_kept_and_used_bytes_are_erased(self) -> None:
        for end in self.ends.values():
            for lane_name, lane in end.pool._lanes.items():
                unused = _offsets(end.pool, lane_name, User.OWNER) | _offsets(
                    end.pool, lane_name, User.GRANTEE
                )
                assert set(lane._blocks) == {offset // HALF for offset in unused}
                for index, block in lane._blocks.items():
                    left = {within for within, byte in enumerate(block.data) if byte}
                    assert left == {offset % HALF for offset in unused if offset // HALF == index}

    def _both_take(self, count: int) -> None:
        """Both devices give as many blocks, and both ends learn that the other has them."""
        for end in self.ends.values():
            for _ in range(count):
                end.taken += 1
                end.pool.append(end.taken, device_block(end.taken), 0)
            end.pool.peer_next_block = end.pool.next_block

    def _tell(self, sender: bool, message: Message, *, lost: bool) -> None:
        if not lost:
            self.ends[not sender].inbox.append(message)

    def _handle(self, here: End, message: Message) -> None:
        pool = here.pool
        match message:
            case Intake(next_block):
                pool.peer_next_block = max(pool.peer_next_block, next_block)
            case Grant(start, end):
                pool.accept_grant(start, end)
            case Burn(below):
                pool.peer_burnt(below)
            case Truncate(from_block):
                pool.truncate(from_block)
                here.truncated = True
            case Sent(first_lane, offset, data):
                received = pool.receive(first_lane=first_lane, offset=offset, size=len(data))
                assert bytes(received) == data
                books = (pool.send_bytes(), pool.receive_bytes())
                with pytest.raises(PoolError):
                    pool.receive(first_lane=first_lane, offset=offset, size=len(data))
                assert (pool.send_bytes(), pool.receive_bytes()) == books


def _offsets(pool: Pool, first_lane: bool, user: User) -> set[int]:
    return {offset for span in pool._lanes[first_lane]._spans[user] for offset in range(span.start, span.end)}


TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# ---- single rules, by name ---------------------------------------------------------------------


def test_what_one_end_sends_with_the_other_finds_by_lane_and_offset() -> None:
    near, far = filled_pair(4)
    for size in (5, HALF, 3):
        taken = near.allocate(size)
        assert taken is not None
        assert far.receive(first_lane=taken.first_lane, offset=taken.offset, size=size) == taken.data


def test_bytes_may_be_used_only_once_both_ends_hold_them() -> None:
    pool = filled_pool(owns_first_lane=True, blocks=4, peer_has=1)
    assert pool.send_bytes() == HALF
    assert pool.allocate(HALF + 1) is None
    assert pool.allocate(HALF) is not None
    assert not pool.next_offsets(1)


def test_a_byte_that_was_received_cannot_be_received_again() -> None:
    _, far = filled_pair(2)
    far.receive(first_lane=True, offset=0, size=4)
    with pytest.raises(PoolError):
        far.receive(first_lane=True, offset=0, size=4)
    with pytest.raises(PoolError):
        far.receive(first_lane=True, offset=3, size=4)


def test_what_a_lost_message_skipped_is_burnt() -> None:
    near, far = filled_pair(4)
    near.allocate(10)
    second = near.allocate(4)
    assert second is not None
    assert far.receive(first_lane=True, offset=second.offset, size=4) == second.data
    with pytest.raises(PoolError):
        far.receive(first_lane=True, offset=0, size=4)


@pytest.mark.parametrize(("first_lane", "offset", "size"), [(True, 30, 4), (True, 0, 0), (False, 0, 4)])
def test_a_peer_gets_no_bytes_beyond_intake_none_for_nothing_and_none_of_this_ends_lane(
    first_lane: bool, offset: int, size: int
) -> None:
    _, far = filled_pair(4)
    with pytest.raises(PoolError):
        far.receive(first_lane=first_lane, offset=offset, size=size)


def test_a_grant_moves_bytes_from_one_end_to_the_other_and_is_used_first() -> None:
    near, far = filled_pair(8)
    given = near.grant(12)
    assert given is not None
    far.accept_grant(*given)
    assert far.send_bytes() == 8 * HALF + 12
    assert near.send_bytes() == 8 * HALF - 12
    taken = far.allocate(12)
    assert taken is not None
    assert (taken.first_lane, taken.offset) == (True, given[0])
    assert near.receive(first_lane=True, offset=given[0], size=12) == taken.data


def test_a_grant_that_was_never_given_is_refused() -> None:
    near, far = filled_pair(4)
    near.allocate(4)
    far.accept_grant(4, 8)
    with pytest.raises(PoolError):
        far.accept_grant(4, 8)
    with pytest.raises(PoolError):
        far.accept_grant(8, 4 * HALF + 1)


def test_a_grant_that_is_never_used_does_not_keep_later_blocks_in_memory() -> None:
    near, far = filled_pair(4)
    given = near.grant(4)
    assert given is not None
    far.accept_grant(*given)
    for number in range(5, 500):
        for pool in (near, far):
            pool.append(number, device_block(number), 0)
            pool.peer_next_block = number + 1
        below = near.burn_oldest(4 * HALF)
        if below is not None:
            far.peer_burnt(below)
        below = far.burn_oldest(4 * HALF)
        if below is not None:
            near.peer_burnt(below)
        for pool in (near, far):
            assert pool.kept_bytes <= 2 * 4 * HALF + 2 * 2 * HALF


def test_a_peer_that_asks_and_never_uses_is_not_granted_more_than_a_bound() -> None:
    block = 64 * 1024
    pool = Pool(POOL_ID, 1, block, owns_first_lane=True)
    granted = 0
    for number in range(1, 200):
        pool.append(number, bytearray(block), 0)
        pool.peer_next_block = number + 1
        given = pool.grant(16 * 1024)
        granted += given[1] - given[0] if given else 0
    assert granted == MAX_GRANTED_BYTES


def test_a_truncated_pool_serves_what_is_left_and_never_grows() -> None:
    pool = filled_pool(owns_first_lane=True, blocks=6)
    pool.allocate(4 * HALF)
    pool.truncate(3)
    assert pool.send_bytes() == 0
    assert pool.receive_bytes() == 2 * HALF
    with pytest.raises(PoolError, match="grows no more"):
        pool.append(3, device_block(3), 0)


def test_quarantine_finds_the_first_block_made_since_a_moment() -> None:
    pool = filled_pool(owns_first_lane=True, blocks=5)
    assert pool.first_block_since(3000) == 3
    assert pool.first_block_since(0) == 1
    assert pool.first_block_since(9000) == 6


@pytest.mark.parametrize("number", [0, 1, 2, 4, 100])
def test_only_the_next_device_block_is_taken_in(number: int) -> None:
    pool = filled_pool(owns_first_lane=True, blocks=2)
    with pytest.raises(PoolError, match="3 was due"):
        pool.append(number, bytearray(BLOCK), 0)


@pytest.mark.parametrize("size", [0, 1, 7])
def test_blocks_that_cannot_be_halved_are_refused(size: int) -> None:
    with pytest.raises(PoolError, match="halved"):
        Pool(POOL_ID, 1, size, owns_first_lane=True)


@given(sizes=st.lists(st.integers(1, 5 * HALF), max_size=30))
def test_offsets_of_a_lane_only_rise(sizes: list[int]) -> None:
    lane = Lane(HALF)
    for number in range(12):
        lane.append(device_block(number)[:HALF])
    last_end = 0
    for size in sizes:
        start = lane.next_run(User.OWNER, size, lane.end)
        if start is None:
            continue
        assert start >= last_end
        lane.use(User.OWNER, start, size)
        last_end = start + size
