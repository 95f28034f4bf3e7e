"""Link pools: who may use which byte of the key that two ends share, and that nobody uses one twice.

A pool is a run of consecutive device blocks. The first half of every block is one *lane*, owned by the
end whose name sorts first; the second half is the other end's. The owner of a lane sends with it, from
low offsets up, and may *grant* a part of what it has not used to the other end. Both ends keep the same
books; a byte leaves them when it is used, burnt or granted, so it cannot be taken twice.

Sans-IO: durability and messages are `linkend`'s business.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from keyweave.agent import memory

# What one end has granted and the other has not used stays below this: a peer that asks and never uses
# cannot make this end hold ever more.
MAX_GRANTED_BYTES = 1024 * 1024
# Runs of granted bytes that are not used yet; a peer that asks for or gives crumbs cannot make more.
MAX_GRANTED_RUNS = 1024
# Production times of this many blocks are remembered, for quarantine.
MAX_PRODUCED_TIMES = 100_000


class PoolError(Exception):
    """The ends' books disagree, or a byte was asked for a second time: the pool must be destroyed."""


class User(Enum):
    """Who sends with a byte: the owner of its lane, or the other end by grant."""

    OWNER = "owner"
    GRANTEE = "grantee"


@dataclass(slots=True)
class _Span:
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(slots=True)
class _HalfBlock:
    data: bytearray = field(repr=False)
    # Bytes that nobody has used, burnt or lost yet.
    left: int


class Lane:
    """One lane: its bytes and, for each user, the spans it has not used yet, in rising order."""

    def __init__(self, half_block_bytes: int) -> None:
        self._half = half_block_bytes
        # By index from the pool's beginning; a half block is forgotten with its last unused byte, so that
        # a grant that is never used does not keep everything that comes after it.
        self._blocks: dict[int, _HalfBlock] = {}
        self._end = 0
        self._spans: dict[User, deque[_Span]] = {user: deque() for user in User}

    @property
    def end(self) -> int:
        """One past the last byte taken in."""
        return self._end

    @property
    def kept_bytes(self) -> int:
        """Bytes of the half blocks that are still in memory."""
        return len(self._blocks) * self._half

    def append(self, half_block: bytearray) -> None:
        """Take in the next half block; its bytes are the owner's."""
        if len(half_block) != self._half:
            raise PoolError(f"half block of {len(half_block)} bytes, expected {self._half}")
        memory.lock(half_block)
        self._blocks[self._end // self._half] = _HalfBlock(half_block, self._half)
        start, self._end = self._end, self._end + self._half
        spans = self._spans[User.OWNER]
        if spans and spans[-1].end == start:
            spans[-1].end = self._end
        else:
            spans.append(_Span(start, self._end))

    def unused(self, user: User, limit: int) -> int:
        """Bytes below `limit` that `user` has left."""
        return sum(max(0, min(span.end, limit) - span.start) for span in self._spans[user])

    def next_run(self, user: User, size: int, limit: int) -> int | None:
        """Where `user` finds `size` consecutive bytes below `limit`; None where there are none."""
        for span in self._spans[user]:
            if min(span.end, limit) - span.start >= size:
                return span.start
        return None

    def use(self, user: User, start: int, size: int) -> bytearray:
        """Take `size` bytes from `start` out for `user`; what it skipped below is burnt.

        Offsets of one user only rise, so a byte at or below the last one used is never given again.
        """
        spans = self._spans[user]
        while spans and spans[0].end <= start:
            self._erase(spans.popleft())
        if size <= 0 or not spans or start < spans[0].start or start + size > spans[0].end:
            raise PoolError(f"bytes {start}..{start + size} are not the {user.value}'s to use")
        span = spans[0]
        if span.start < start:
            self._erase(_Span(span.start, start))
        taken = self._read(start, start + size)
        self._erase(_Span(start, start + size))
        span.start = start + size
        if not span.size:
            spans.popleft()
        return taken

    def burn(self, user: User, below: int) -> int:
        """Destroy `user`'s bytes below an offset; returns how many."""
        burnt = 0
        spans = self._spans[user]
        while spans and spans[0].start < below:
            cut = min(spans[0].end, below)
            burnt += cut - spans[0].start
            self._erase(_Span(spans[0].start, cut))
            spans[0].start = cut
            if not spans[0].size:
                spans.popleft()
        return burnt

    def grant(self, start: int, end: int) -> None:
        """Move [start, end) from the owner to the other end; the owner's bytes below are burnt."""
        spans, granted = self._spans[User.OWNER], self._spans[User.GRANTEE]
        if not self.may_grant():
            raise PoolError(f"{len(granted)} runs of granted bytes wait to be used; no more are kept")
        self.burn(User.OWNER, start)
        if start >= end or not spans or start < spans[0].start or end > spans[0].end:
            raise PoolError(f"bytes {start}..{end} are not the owner's to grant")
        spans[0].start = end
        if not spans[0].size:
            spans.popleft()
        if granted and granted[-1].end == start:
            granted[-1].end = end
        else:
            granted.append(_Span(start, end))

    def may_grant(self) -> bool:
        """Whether one more run of granted bytes can be kept."""
        return len(self._spans[User.GRANTEE]) < MAX_GRANTED_RUNS

    def truncate(self, end: int) -> None:
        """Destroy everything from `end`, the beginning of a block, on."""
        for spans in self._spans.values():
            while spans and spans[-1].end > end:
                spans[-1].end = max(spans[-1].start, end)
                if spans[-1].size:
                    break
                spans.pop()
        for index in [index for index in self._blocks if index * self._half >= end]:
            memory.wipe(self._blocks.pop(index).data)
        self._end = min(self._end, end)

    def destroy(self) -> None:
        """Overwrite and forget everything."""
        for block in self._blocks.values():
            memory.wipe(block.data)
        self._blocks.clear()
        for spans in self._spans.values():
            spans.clear()

    def _read(self, start: int, end: int) -> bytearray:
        out = bytearray()
        while start < end:
            index, offset = divmod(start, self._half)
            step = min(end - start, self._half - offset)
            out += memoryview(self._blocks[index].data)[offset : offset + step]
            start += step
        return out

    def _erase(self, span: _Span) -> None:
        """Overwrite bytes that were unused until now; a half block without any left is forgotten."""
        start = span.start
        while start < span.end:
            index, offset = divmod(start, self._half)
            step = min(span.end - start, self._half - offset)
            block = self._blocks[index]
            memory.wipe(memoryview(block.data)[offset : offset + step])
            block.left -= step
            if not block.left:
                del self._blocks[index]
            start += step


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes of a pool taken out for sending, and where the far end finds the same ones."""

    pool_id: bytes
    first_lane: bool
    offset: int
    data: bytearray = field(repr=False)


class Pool:
    """Both lanes of one link at one end."""

    def __init__(self, pool_id: bytes, first_block: int, block_bytes: int, *, owns_first_lane: bool) -> None:
        if block_bytes < 2 or block_bytes % 2:
            raise PoolError(f"blocks of {block_bytes} bytes cannot be halved")
        self.pool_id = pool_id
        self.first_block = first_block
        self.next_block = first_block
        self.peer_next_block = first_block
        self.owns_first_lane = owns_first_lane
        self._half = block_bytes // 2
        self._lanes = {True: Lane(self._half), False: Lane(self._half)}
        self._produced: deque[tuple[int, int]] = deque(maxlen=MAX_PRODUCED_TIMES)
        self._closed = False

    @property
    def agreed_end(self) -> int:
        """Offset below which both ends hold every byte."""
        return (min(self.next_block, self.peer_next_block) - self.first_block) * self._half

    def append(self, number: int, block: bytearray, produced_unix_nanos: int) -> None:
        """Take in a device block, which must be the next; it is overwritten.

        A closed pool takes in none: of a truncated one, offsets from there on may have been used already.
        """
        if self._closed:
            raise PoolError(f"device block {number} came for a pool that grows no more")
        if number != self.next_block or len(block) != 2 * self._half:
            raise PoolError(f"device block {number} ({len(block)} bytes) came; {self.next_block} was due")
        self._lanes[True].append(block[: self._half])
        self._lanes[False].append(block[self._half :])
        memory.wipe(block)
        self.next_block += 1
        self._produced.append((number, produced_unix_nanos))

    def close(self) -> None:
        """Both ends hold exactly what is in it now: it never grows."""
        self._closed = True
        self.peer_next_block = self.next_block

    def seal(self) -> None:
        """Both ends have told of their last block: what only one of them has goes, the rest never grows."""
        self.truncate(min(self.next_block, self.peer_next_block))
        self.close()

    @property
    def kept_bytes(self) -> int:
        """Bytes of key that this end holds in memory for the pool, used parts of half blocks included."""
        return sum(lane.kept_bytes for lane in self._lanes.values())

    def send_bytes(self) -> int:
        """Bytes this end may send with now."""
        own, other = self._lanes[self.owns_first_lane], self._lanes[not self.owns_first_lane]
        return own.unused(User.OWNER, self.agreed_end) + other.unused(User.GRANTEE, self.agreed_end)

    def receive_bytes(self) -> int:
        """Bytes the peer may send with now."""
        own, other = self._lanes[self.owns_first_lane], self._lanes[not self.owns_first_lane]
        return other.unused(User.OWNER, self.agreed_end) + own.unused(User.GRANTEE, self.agreed_end)

    def next_offsets(self, size: int) -> dict[bool, int]:
        """For each lane, where this end's use would end if it took `size` bytes next."""
        found = self._find(size)
        return {} if found is None else {found[0]: found[2] + size}

    def allocate(self, size: int) -> Range | None:
        """Take the next `size` bytes for sending; None where there are too few."""
        found = self._find(size)
        if found is None:
            return None
        first_lane, user, start = found
        return Range(self.pool_id, first_lane, start, self._lanes[first_lane].use(user, start, size))

    def receive(self, *, first_lane: bool, offset: int, size: int) -> bytearray:
        """Take the bytes the peer says it sent with; PoolError unless they are its to use."""
        user = User.GRANTEE if first_lane == self.owns_first_lane else User.OWNER
        if offset + size > (self.next_block - self.first_block) * self._half:
            raise PoolError(f"bytes up to {offset + size} are beyond this end's intake")
        return self._lanes[first_lane].use(user, offset, size)

    def grant(self, wanted: int) -> tuple[int, int] | None:
        """Give up to `wanted` of this end's own unused bytes to the peer, never more than half of them.

        The peer's unused grants together stay within MAX_GRANTED_BYTES.
        """
        lane = self._lanes[self.owns_first_lane]
        available = lane.unused(User.OWNER, self.agreed_end)
        room = MAX_GRANTED_BYTES - lane.unused(User.GRANTEE, lane.end)
        size = min(wanted, available // 2, room) if lane.may_grant() else 0
        start = lane.next_run(User.OWNER, size, self.agreed_end) if size > 0 else None
        if start is None:
            return None
        lane.grant(start, start + size)
        return start, start + size

    def accept_grant(self, start: int, end: int) -> None:
        """The peer gave bytes of its own lane to this end."""
        self._lanes[not self.owns_first_lane].grant(start, end)

    def burn_oldest(self, keep_bytes: int) -> int | None:
        """Where this end's own lane holds more than `keep_bytes`, burn the oldest; the new lowest offset."""
        lane = self._lanes[self.owns_first_lane]
        unused = lane.unused(User.OWNER, lane.end)
        if unused <= keep_bytes:
            return None
        below = lane.end - keep_bytes
        lane.burn(User.OWNER, below)
        return below

    def peer_burnt(self, below: int) -> None:
        """The peer burnt its own lane below an offset."""
        self._lanes[not self.owns_first_lane].burn(User.OWNER, below)

    def first_block_since(self, unix_nanos: int) -> int:
        """The first block produced at or after a moment; `next_block` where there is none."""
        return next(
            (number for number, produced in self._produced if produced >= unix_nanos), self.next_block
        )

    def produced_unix_nanos(self, from_block: int) -> int | None:
        """When the first block at or after `from_block` was produced; None where there is none."""
        return next((produced for number, produced in self._produced if number >= from_block), None)

    def truncate(self, from_block: int) -> None:
        """Destroy block `from_block` and all later ones; the pool serves what is left and never grows."""
        self._closed = True
        from_block = max(from_block, self.first_block)
        if from_block < self.next_block:
            end = (from_block - self.first_block) * self._half
            for lane in self._lanes.values():
                lane.truncate(end)
            self.next_block = from_block
        self.peer_next_block = min(self.peer_next_block, from_block)

    def destroy(self) -> None:
        """Overwrite everything."""
        for lane in self._lanes.values():
            lane.destroy()
        self.next_block = self.peer_next_block = self.first_block

    def _find(self, size: int) -> tuple[bool, User, int] | None:
        # Granted bytes first: they are of use to nobody else.
        for first_lane, user in (
            (not self.owns_first_lane, User.GRANTEE),
            (self.owns_first_lane, User.OWNER),
        ):
            start = self._lanes[first_lane].next_run(user, size, self.agreed_end)
            if start is not None:
                return first_lane, user, start
        return None
