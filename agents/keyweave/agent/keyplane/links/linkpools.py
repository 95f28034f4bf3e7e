"""The pools of one link end: the one that grows, and those that only serve what they have.

The latter are of blocks that were released from quarantine, or grew until the link's maintenance began.

All pool frames are notifications that are handled in the order they arrive, so that both ends' books move
the same way. Whatever does not fit destroys the pool at both ends and a new one is begun: resynchronising
can burn key, never recover it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator

from keyweave.agent.drivers.base import DeviceBlock, LinkEndInfo
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.links.journal import Journal
from keyweave.agent.keyplane.links.pool import Pool, PoolError, Range
from keyweave.agent.observer import Observer, PadUse
from keyweave.common import log
from keyweave.common.names import NodeName
from keyweave.v1 import keyplane_pb2 as pb

GRANT_WAIT_SECONDS = 0.1
GRANT_RETRY_SECONDS = 0.25
GRANT_BYTES = 16 * 1024
# Of blocks that wait at their source so much is taken ahead: for each end, a share of the greatest size
# (relay of 16 KiB) and another that is granted meanwhile.
READY_BYTES = 64 * 1024
# At 20 Mbit/s, shared evenly, a device makes so much for each end in 0.4 s.
PLENTY_BYTES = 512 * 1024
MAX_LANE_BYTES = 2 * 1024 * 1024
# Both lanes, with what is granted and not used: only a peer that neither uses nor burns its lane gets there.
MAX_POOL_BYTES = 8 * MAX_LANE_BYTES
# Pools of released blocks: of more than these the oldest, which hold crumbs, are destroyed.
MAX_RELEASED_POOLS = 16


class LinkPools:
    """All pools of one link at one end."""

    def __init__(
        self,
        node: NodeName,
        info: LinkEndInfo,
        journal: Journal,
        observer: Observer,
        *,
        post: Callable[[pb.Frame], object],
        empty_code: Callable[[], pb.FailureCode],
        on_destroyed: Callable[[str], None],
        on_supply: Callable[[], None],
    ) -> None:
        self.growing: Pool | None = None
        # One whose next block was not taken in: it serves what it has, and another grows after it.
        self._stopped: Pool | None = None
        self._released: dict[bytes, Pool] = {}
        self._node = node
        self._info = info
        self._journal = journal
        self._observer = observer
        self._post = post
        self._empty_code = empty_code
        self._on_destroyed = on_destroyed
        self._on_supply = on_supply
        self._grown = asyncio.Event()
        self._changed = asyncio.Event()
        self._grant_asked: dict[bytes, float] = {}

    def __iter__(self) -> Iterator[Pool]:
        """All of them, in the order in which they are used: what was released first."""
        yield from self._released.values()
        if self.growing is not None:
            yield self.growing

    @property
    def stopped(self) -> bool:
        """Whether the pool that grows has taken in its last block."""
        return self.growing is not None and self.growing is self._stopped

    def find(self, pool_id: bytes) -> Pool | None:
        """The pool of this ID."""
        return next((pool for pool in self if pool.pool_id == pool_id), None)

    @property
    def send_bytes(self) -> int:
        """Bytes this end may send with now."""
        return sum(pool.send_bytes() for pool in self)

    @property
    def receive_bytes(self) -> int:
        """Bytes the peer may send with now."""
        return sum(pool.receive_bytes() for pool in self)

    @property
    def run_low(self) -> bool:
        """Whether the pool that grows has less than is worth having ready."""
        return self.growing is not None and self.growing.kept_bytes < READY_BYTES

    @property
    def plentiful(self) -> bool:
        """Whether both ends have so much to send with that the next blocks are in no hurry."""
        pool = self.growing
        return pool is not None and min(pool.send_bytes(), pool.receive_bytes()) >= PLENTY_BYTES

    async def change(self, timeout_seconds: float) -> None:
        """Return once a pool has begun, been used or ended, or time is up."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    # ---- using them ---------------------------------------------------------------------------

    async def acquire(self, size: int) -> Range:
        """`size` bytes to send with, durably marked as used. The caller queues its frame at once.

        KeyPlaneError where the pools have too few and the peer grants none in time.
        """
        deadline = time.monotonic() + GRANT_WAIT_SECONDS
        while (taken := self.take(size)) is None:
            found = self._next(size)
            if found is None:
                await self._wait_for_grant(size, deadline)
            else:
                pool, offsets = found
                await self._journal.reserve(pool.pool_id, offsets)
        return taken

    def take(self, size: int) -> Range | None:
        """The same where nothing has to be waited for; None where it has."""
        found = self._next(size)
        if found is None or not self._journal.covers(found[0].pool_id, found[1]):
            return None
        pool, offsets = found
        taken = pool.allocate(size)
        assert taken is not None
        self._journal.reserve_ahead(pool.pool_id, offsets)
        self._note_use(pool, taken.first_lane, taken.offset, size, PadUse.SEND)
        if pool.send_bytes() < GRANT_BYTES // 4:
            self._ask_for_grant(pool, GRANT_BYTES)
        return taken

    def _next(self, size: int) -> tuple[Pool, dict[bool, int]] | None:
        """The first pool with so many bytes to send with, and its lanes' offsets after that."""
        return next(((pool, offsets) for pool in self if (offsets := pool.next_offsets(size))), None)

    async def _wait_for_grant(self, size: int, deadline: float) -> None:
        for pool in self:
            self._ask_for_grant(pool, size)
        if not any(True for _ in self):
            raise self._failure(self._empty_code(), "there is no pool yet")
        # Where neither the device nor a grant can bring any, waiting would only delay the next way.
        hopeful = self._empty_code() == pb.FAILURE_CODE_POOL_EXHAUSTED or any(
            pool.receive_bytes() > size for pool in self
        )
        if not (hopeful and await self._growth(deadline)):
            reason = f"{self.send_bytes} bytes left to send with, {size} needed"
            raise self._failure(self._empty_code(), reason)

    def receive(self, relay: pb.Relay, size: int) -> bytearray:
        """The bytes that the peer sent `relay` with. A disagreement destroys the pool at both ends."""
        pool = self.find(relay.pool_id)
        if pool is None:
            self.post_destroy(relay.pool_id, "the pool is not known here")
            raise self._failure(pb.FAILURE_CODE_POOL_MISMATCH, "the pool is not known here")
        try:
            taken = pool.receive(first_lane=relay.first_lane, offset=relay.offset, size=size)
        except PoolError as error:
            self.destroy(pool, str(error), tell=True)
            raise self._failure(pb.FAILURE_CODE_POOL_MISMATCH, str(error)) from None
        self._note_use(pool, relay.first_lane, relay.offset, size, PadUse.RECEIVE)
        return taken

    # ---- beginning and ending them ------------------------------------------------------------

    def begin(self, pool_id: bytes, first_block: int) -> None:
        """Begin the pool that grows; there must be none."""
        assert self.growing is None
        self.growing = self._new(pool_id, first_block)
        self._note_change()

    def begin_released(self, pool_id: bytes, first_block: int, blocks: Iterable[DeviceBlock]) -> None:
        """Begin a closed pool of blocks that both ends hold and both operators' orders released."""
        self._bound_released()
        pool = self._released[pool_id] = self._new(pool_id, first_block)
        for block in blocks:
            pool.append(block.number, block.key, block.produced_unix_nanos)
        pool.close()
        self.grow()

    def stop(self) -> None:
        """Blocks from here on are used for nothing: none fits the pool that grows any more."""
        self._stopped = self.growing

    def retire(self) -> None:
        """The other end has stopped too and both know where: what both have is kept, to be used up."""
        pool = self.growing
        if pool is None or not self.stopped:
            return
        self.growing = None
        pool.seal()
        if pool.kept_bytes:
            self._bound_released()
            self._released[pool.pool_id] = pool
        else:
            self._journal.forget(pool.pool_id)

    def _bound_released(self) -> None:
        while len(self._released) >= MAX_RELEASED_POOLS:
            self.destroy(next(iter(self._released.values())), "newer blocks came", tell=True)

    def _new(self, pool_id: bytes, first_block: int) -> Pool:
        first = self._node < self._info.peer_node
        log.get().info("pool_opened", link=self._info.link, pool=pool_id.hex()[:8], first_block=first_block)
        return Pool(pool_id, first_block, self._info.block_bytes, owns_first_lane=first)

    def destroy(self, pool: Pool, reason: str, *, tell: bool) -> None:
        """Destroy a pool at this end, and if told so at the other; nothing where it is gone already."""
        if self.find(pool.pool_id) is not pool:
            return
        if pool is self.growing:
            self.growing = None
        else:
            del self._released[pool.pool_id]
        pool.destroy()
        self._grant_asked.pop(pool.pool_id, None)
        self._journal.forget(pool.pool_id)
        log.get().info("pool_destroyed", link=self._info.link, pool=pool.pool_id.hex()[:8], reason=reason)
        if tell:
            self.post_destroy(pool.pool_id, reason)
        self._on_destroyed(reason)
        self.grow()

    def destroy_all(self, reason: str, *, tell: bool) -> None:
        """Destroy every pool."""
        for pool in list(self):
            self.destroy(pool, reason, tell=tell)

    def truncate(self, from_block: int) -> None:
        """Destroy block `from_block` and all later ones, whatever pool they are in."""
        for pool in self:
            pool.truncate(from_block)

    def first_block_since(self, unix_nanos: int) -> int | None:
        """The first block produced at or after a moment, else one past the last; None without pools."""
        past_the_last = None
        for pool in self:
            first = pool.first_block_since(unix_nanos)
            if first < pool.next_block:
                return first
            past_the_last = first
        return past_the_last

    def produced_unix_nanos(self, from_block: int) -> int | None:
        """When the first block at or after `from_block` was produced; None where there is none."""
        times = (pool.produced_unix_nanos(from_block) for pool in self)
        return next((produced for produced in times if produced is not None), None)

    def append(self, block: DeviceBlock) -> bool:
        """Put the device's next block into the pool that grows; False where it does not fit there."""
        pool = self.growing
        assert pool is not None
        try:
            pool.append(block.number, block.key, block.produced_unix_nanos)
        except PoolError as error:
            self.destroy(pool, str(error), tell=True)
            return False
        return True

    def bound(self) -> None:
        """Burn the oldest where the pool that grows has grown too large."""
        pool = self.growing
        if pool is None:
            return
        below = pool.burn_oldest(MAX_LANE_BYTES)
        if below is not None:
            burn = pb.PoolBurn(link=self._info.link, pool_id=pool.pool_id, below_offset=below)
            self._post(pb.Frame(pool_burn=burn))
        if pool.kept_bytes > MAX_POOL_BYTES:
            reason = f"more than {MAX_POOL_BYTES} bytes wait: the peer does not burn what it leaves unused"
            self.destroy(pool, reason, tell=True)

    # ---- the peer's frames --------------------------------------------------------------------

    def on_frame(self, kind: str, frame: pb.Frame) -> None:
        """What the peer says of a running pool."""
        message = getattr(frame, kind)
        pool = self.find(message.pool_id)
        if pool is None:
            if kind == "pool_intake":
                # Word of its end got lost; the peer would go on counting on it.
                self.post_destroy(message.pool_id, "the pool is not known here")
            return
        try:
            match kind:
                case "pool_intake":
                    if pool is self.growing:
                        before = pool.agreed_end
                        pool.peer_next_block = max(pool.peer_next_block, message.next_block)
                        if pool.agreed_end > before:
                            self.grow()
                case "pool_grant":
                    pool.accept_grant(message.start_offset, message.end_offset)
                    self.grow()
                case "pool_burn":
                    pool.peer_burnt(message.below_offset)
        except PoolError as error:
            self.destroy(pool, str(error), tell=True)

    async def grant(self, request: pb.PoolGrantRequest) -> None:
        """The peer runs short: durably give up a part of what this end has not used."""
        pool = self.find(request.pool_id)
        if pool is None:
            return
        own = pool.owns_first_lane
        end = (pool.next_block - pool.first_block) * self._info.block_bytes
        await self._journal.reserve(pool.pool_id, {own: end})
        if self.find(request.pool_id) is not pool:
            return
        given = pool.grant(min(request.wanted_bytes, GRANT_BYTES))
        if given is not None:
            grant = pb.PoolGrant(link=self._info.link, pool_id=pool.pool_id)
            grant.start_offset, grant.end_offset = given
            self._post(pb.Frame(pool_grant=grant))

    def announce_intake(self) -> None:
        """Tell the peer how far this end has come."""
        if self.growing is not None:
            intake = pb.PoolIntake(link=self._info.link, pool_id=self.growing.pool_id)
            intake.next_block = self.growing.next_block
            self._post(pb.Frame(pool_intake=intake))

    def post_destroy(self, pool_id: bytes, reason: str) -> None:
        """Have the peer destroy its pool of this ID; of none: the one that grows, its abort is over."""
        destroy = pb.PoolDestroy(link=self._info.link, pool_id=pool_id, reason=reason[:300])
        self._post(pb.Frame(pool_destroy=destroy))

    # ---- small things -------------------------------------------------------------------------

    def grow(self) -> None:
        """Something that somebody may wait for has changed."""
        self._grown.set()
        self._grown = asyncio.Event()
        self._on_supply()

    def _ask_for_grant(self, pool: Pool, wanted: int) -> None:
        now = time.monotonic()
        asked = self._grant_asked.get(pool.pool_id, 0.0)
        if now - asked > GRANT_RETRY_SECONDS and pool.receive_bytes() > wanted:
            self._grant_asked[pool.pool_id] = now
            request = pb.PoolGrantRequest(link=self._info.link, pool_id=pool.pool_id)
            request.wanted_bytes = max(wanted, GRANT_BYTES)
            self._post(pb.Frame(pool_grant_request=request))

    async def _growth(self, deadline: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._grown.wait()
        except TimeoutError:
            return False
        return True

    def _failure(self, code: pb.FailureCode, reason: str) -> KeyPlaneError:
        return KeyPlaneError(code, reason, node=self._node, link=self._info.link)

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _note_use(self, pool: Pool, first_lane: bool, offset: int, size: int, use: PadUse) -> None:
        self._observer.pad_used(
            link=self._info.link,
            pool_id=pool.pool_id,
            first_lane=first_lane,
            node=self._node,
            start=offset,
            end=offset + size,
            use=use,
            first_block=pool.first_block,
            block_bytes=self._info.block_bytes,
        )
        if self._info.keeps_blocks:
            self._note_change()
        if not pool.kept_bytes and self._released.get(pool.pool_id) is pool:
            # Used up; the other end sees the same. The one that grows may be empty and grow again.
            del self._released[pool.pool_id]
            self._journal.forget(pool.pool_id)
