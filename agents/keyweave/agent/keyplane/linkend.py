"""One end of a link: device blocks in, pad bytes out, in step with the other end.

All pool frames are notifications that are handled in the order they arrive, so that both ends' books move
the same way. Whatever does not fit destroys the pool at both ends and a new one is begun: resynchronising
can burn key, never recover it.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from keyweave.agent import memory
from keyweave.agent.drivers.base import (
    DeviceBlock,
    DeviceReport,
    Driver,
    DriverUnavailableError,
    LinkEndInfo,
)
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.journal import Journal
from keyweave.agent.keyplane.linkwatch import LinkHealth, LinkWatch, Verdict
from keyweave.agent.keyplane.pool import Pool, PoolError, Range
from keyweave.agent.keyplane.session import Peer
from keyweave.agent.observer import Observer, PadUse
from keyweave.common import log
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2
from keyweave.v1 import keyplane_pb2 as pb

OPEN_RETRY_SECONDS = 0.5
OPEN_PACE_SECONDS = 0.05
GRANT_WAIT_SECONDS = 0.1
GRANT_RETRY_SECONDS = 0.25
GRANT_BYTES = 16 * 1024
MAX_LANE_BYTES = 2 * 1024 * 1024
# Both lanes, with what is granted and not used: only a peer that neither uses nor burns its lane gets there.
MAX_POOL_BYTES = 8 * MAX_LANE_BYTES
MAX_PENDING_BLOCKS = 2048


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """What policy says of a link."""

    peer_node: NodeName
    abort_qber_ratio: float
    maintenance: bool


class LinkEnd:
    """Everything this node knows and holds of one of its links."""

    def __init__(
        self,
        node: NodeName,
        info: LinkEndInfo,
        driver: Driver,
        journal: Journal,
        observer: Observer,
        *,
        on_report: Callable[[DeviceReport], None],
        on_verdict: Callable[["LinkEnd", Verdict, Verdict], None],
        on_event: Callable[[agent_pb2.AgentEvent], None],
        on_supply: Callable[[], None],
    ) -> None:
        self.node = node
        self.name = LinkName(info.link)
        self.peer_node = NodeName(info.peer_node)
        self.info = info
        self.watch = LinkWatch()
        self.pool: Pool | None = None
        self.policy: LinkPolicy | None = None
        self.intake_bytes_total = 0
        self._driver = driver
        self._journal = journal
        self._observer = observer
        self._on_report = on_report
        self._on_verdict = on_verdict
        self._on_event = on_event
        self._on_supply = on_supply
        self._peer: Peer | None = None
        self._pending: deque[DeviceBlock] = deque()
        # Not from the journal, which is ahead while blocks wait for the disk.
        self._next_block = journal.highest_block + 1
        self._opening: bytes | None = None
        self._wake = asyncio.Event()
        self._grown = asyncio.Event()
        self._grant_asked = 0.0
        self._open_after = 0.0
        self._truncated_from: int | None = None
        self._peer_aborted = False

    @property
    def owns_first_lane(self) -> bool:
        """Whether this end's name sorts first; it also opens the pools."""
        return self.node < self.peer_node

    @property
    def aborted(self) -> bool:
        """Whether either end has stopped using the link for its error rate."""
        return self.watch.verdict.health is LinkHealth.ABORTED or self._peer_aborted

    # ---- policy and session -------------------------------------------------------------------

    def bind(self, peer: Peer | None, policy: LinkPolicy | None) -> None:
        """Take in what policy says now; without a policy for it the link is not used."""
        if policy is None and self.pool is not None:
            # The peer must hear it: an end that does not open pools would wait for a new one for ever.
            self._post_destroy(self.pool.pool_id, "no policy for the link")
            self.destroy_pool("no policy for the link")
        self._peer, self.policy = peer, policy
        self._wake.set()

    def session_up(self, *, restarted: bool) -> None:
        """The peer's session is up: pools survive a broken connection, not a restart."""
        self._peer_aborted = False
        if restarted:
            self.destroy_pool("the peer has restarted")
        elif self.pool is not None:
            self._announce_intake()
            if self._truncated_from is not None and self.watch.verdict.health is LinkHealth.ABORTED:
                # The notice may have been lost with the connection before.
                self._post_truncate(self.pool, self._truncated_from, self.watch.verdict.reason)
        self._wake.set()

    async def keep_open(self) -> None:
        """Open a pool whenever both ends can have one (the end whose name sorts first does)."""
        while True:
            self._wake.clear()
            if not (self.owns_first_lane and self.pool is None and self._can_open()):
                await self._wake.wait()
                continue
            # Paced: with a peer whose pools break as soon as they are open this would spin.
            await asyncio.sleep(self._open_after - time.monotonic())
            if self.pool is not None or not self._can_open():
                continue
            self._open_after = time.monotonic() + OPEN_PACE_SECONDS
            self._opening = os.urandom(16)
            request = pb.PoolOpen(
                link=self.name,
                pool_id=self._opening,
                first_block=self._first_available(),
                block_bytes=self.info.block_bytes,
            )
            self._post(pb.Frame(pool_open=request))
            await self._opened_or(OPEN_RETRY_SECONDS)

    async def _opened_or(self, timeout_seconds: float) -> None:
        """Return when the request is answered or void; a peer that cannot yet is asked again later."""
        asked = self._opening
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._opening == asked:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return

    # ---- the device ---------------------------------------------------------------------------

    async def take_blocks(self) -> None:
        """Follow the device's key blocks; returns or raises when the device goes away."""
        async for blocks in self._driver.take_blocks(self.name, self._journal.highest_block + 1):
            # Durable first: a block that may be used must never be taken again after a crash.
            if not blocks:
                continue
            await self._journal.taken(blocks[-1].number)
            for block in blocks:
                self._observer.block_taken(link=self.name, node=self.node, number=block.number)
                self._take_in(block)
            self._announce_intake()
            self._bound()
            self._grow()

    async def watch_device(self) -> None:
        """Follow the device's measurements and judge them; returns or raises when the device goes away."""
        async for report in self._driver.watch(self.name):
            self._on_report(report)
            before = self.watch.verdict
            threshold = self.policy.abort_qber_ratio if self.policy else 0.11
            try:
                after = self.watch.observe(report.samples, report.device_fault, threshold)
            except ValueError as error:
                raise DriverUnavailableError(f"the device's measurements do not parse: {error}") from None
            if after.health is not before.health:
                self._verdict_changed(before, after)

    def device_lost(self, reason: str) -> None:
        """The device cannot be reached."""
        before = self.watch.verdict
        if before.health is not LinkHealth.FAULT:
            self.watch.verdict = Verdict(LinkHealth.FAULT, reason, time.time())
            self._verdict_changed(before, self.watch.verdict)

    def _verdict_changed(self, before: Verdict, after: Verdict) -> None:
        log.get().info(
            "link_health_changed", link=self.name, old=before.health, new=after.health, reason=after.reason
        )
        if after.health is LinkHealth.ABORTED:
            from_block = self.pool.first_block_since(int(after.since * 1e9)) if self.pool else 0
            self._truncate(from_block)
            self._truncated_from = from_block
            if self.pool is not None:
                self._post_truncate(self.pool, from_block, after.reason)
        if before.health is LinkHealth.ABORTED:
            # The blocks between were discarded, so the old pool has a hole: begin afresh. The peer must
            # hear it even while it is aborted itself, or each end would wait for the other.
            self.destroy_pool("the link is clear again")
            self._post_destroy(b"", "the link is clear again")
        self._wake.set()
        self._on_verdict(self, before, after)

    def _take_in(self, block: DeviceBlock) -> None:
        self._next_block = max(self._next_block, block.number + 1)
        if self.aborted or (self.policy is not None and self.policy.maintenance):
            memory.wipe(block.key)
            return
        if self.pool is not None:
            if block.number < self.pool.next_block:
                memory.wipe(block.key)
                return
            try:
                self.pool.append(block.number, block.key, block.produced_unix_nanos)
            except PoolError as error:
                pool_id = self.pool.pool_id
                self.destroy_pool(str(error))
                self._post_destroy(pool_id, str(error))
            else:
                self.intake_bytes_total += self.info.block_bytes
                return
        if self._pending and self._pending[-1].number + 1 != block.number:
            self._forget_pending()
        self._pending.append(block)
        if len(self._pending) > MAX_PENDING_BLOCKS:
            memory.wipe(self._pending.popleft().key)
        self._wake.set()

    def _forget_pending(self) -> None:
        for block in self._pending:
            memory.wipe(block.key)
        self._pending.clear()

    # ---- using the pool -----------------------------------------------------------------------

    async def acquire(self, size: int) -> Range:
        """`size` bytes to send with, durably marked as used. The caller queues its frame at once.

        KeyPlaneError where the pool has too few and the peer grants none in time.
        """
        deadline = time.monotonic() + GRANT_WAIT_SECONDS
        while True:
            pool = self.pool
            if pool is None:
                raise self._failure(self._empty_code(), "there is no pool yet")
            offsets = pool.next_offsets(size)
            if not offsets:
                self._ask_for_grant(pool, size)
                if not await self._growth(deadline):
                    raise self._failure(
                        self._empty_code(), f"{pool.send_bytes()} bytes left to send with, {size} needed"
                    )
            elif self._journal.covers(pool.pool_id, offsets):
                taken = pool.allocate(size)
                assert taken is not None
                self._note_use(pool, taken.first_lane, taken.offset, size, PadUse.SEND)
                if pool.send_bytes() < GRANT_BYTES // 4:
                    self._ask_for_grant(pool, GRANT_BYTES)
                return taken
            else:
                await self._journal.reserve(pool.pool_id, offsets)

    def receive(self, relay: pb.Relay, size: int) -> bytearray:
        """The bytes that the peer sent `relay` with. A disagreement destroys the pool at both ends."""
        pool = self.pool
        if pool is None or pool.pool_id != relay.pool_id:
            self._post_destroy(relay.pool_id, "the pool is not known here")
            raise self._failure(pb.FAILURE_CODE_POOL_MISMATCH, "the pool is not known here")
        try:
            taken = pool.receive(first_lane=relay.first_lane, offset=relay.offset, size=size)
        except PoolError as error:
            self.destroy_pool(str(error))
            self._post_destroy(relay.pool_id, str(error))
            raise self._failure(pb.FAILURE_CODE_POOL_MISMATCH, str(error)) from None
        self._note_use(pool, relay.first_lane, relay.offset, size, PadUse.RECEIVE)
        return taken

    def destroy_pool(self, reason: str) -> None:
        """Destroy this end's pool."""
        self._opening = None
        if self.pool is None:
            return
        pool, self.pool = self.pool, None
        self._truncated_from = None
        pool.destroy()
        log.get().info("pool_destroyed", link=self.name, pool=pool.pool_id.hex()[:8], reason=reason)
        self._on_event(
            agent_pb2.AgentEvent(
                kind=agent_pb2.AGENT_EVENT_KIND_POOL_DESTROYED,
                link=self.name,
                peer_node=self.peer_node,
                reason=reason,
            )
        )
        self._grow()
        self._wake.set()

    # ---- the peer's frames --------------------------------------------------------------------

    def on_frame(self, frame: pb.Frame) -> None:
        """A pool notification from the other end, in order."""
        match frame.WhichOneof("body"):
            case "pool_open":
                self._answer_open(frame.pool_open)
            case "pool_opened":
                opened = frame.pool_opened
                # A pool from further back than this end can go would break with its first block.
                if opened.pool_id == self._opening and opened.first_block >= self._first_available():
                    self._begin(opened.pool_id, opened.first_block)
            case "pool_destroy":
                if self.pool is not None and frame.pool_destroy.pool_id in (b"", self.pool.pool_id):
                    self.destroy_pool(f"the peer: {frame.pool_destroy.reason}"[:300])
                self._peer_aborted = self._peer_aborted and bool(frame.pool_destroy.pool_id)
                self._wake.set()
            case "pool_truncate":
                self._peer_truncated(frame.pool_truncate)
            case kind:
                self._on_running_pool(kind, frame)

    def _peer_truncated(self, message: pb.PoolTruncate) -> None:
        """The peer aborted: what it no longer trusts goes here too, and what was built on that."""
        produced = self.pool.produced_unix_nanos(message.from_block) if self.pool is not None else None
        since = time.time() if produced is None else produced / 1e9
        again, self._peer_aborted = self._peer_aborted, True
        self._truncate(message.from_block)
        if not (again and produced is None):
            verdict = Verdict(LinkHealth.ABORTED, f"the peer: {message.reason}", since)
            self._on_verdict(self, self.watch.verdict, verdict)

    def _on_running_pool(self, kind: str | None, frame: pb.Frame) -> None:
        pool = self.pool
        message = getattr(frame, kind) if kind else None
        if pool is None or message is None or message.pool_id != pool.pool_id:
            if message is not None and kind == "pool_intake":
                # Word of its end got lost; the peer would go on counting on it.
                self._post_destroy(message.pool_id, "the pool is not known here")
            return
        try:
            match kind:
                case "pool_intake":
                    before = pool.agreed_end
                    pool.peer_next_block = max(pool.peer_next_block, message.next_block)
                    if pool.agreed_end > before:
                        self._grow()
                case "pool_grant":
                    pool.accept_grant(message.start_offset, message.end_offset)
                    self._grow()
                case "pool_burn":
                    pool.peer_burnt(message.below_offset)
        except PoolError as error:
            self.destroy_pool(str(error))
            self._post_destroy(pool.pool_id, str(error))

    async def grant(self, request: pb.PoolGrantRequest) -> None:
        """The peer runs short: durably give up a part of what this end has not used."""
        pool = self.pool
        if pool is None or pool.pool_id != request.pool_id:
            return
        wanted = min(request.wanted_bytes, GRANT_BYTES)
        own = pool.owns_first_lane
        end = (pool.next_block - pool.first_block) * self.info.block_bytes
        await self._journal.reserve(pool.pool_id, {own: end})
        if self.pool is not pool:
            return
        given = pool.grant(wanted)
        if given is not None:
            self._post(
                pb.Frame(
                    pool_grant=pb.PoolGrant(
                        link=self.name, pool_id=pool.pool_id, start_offset=given[0], end_offset=given[1]
                    )
                )
            )

    def _answer_open(self, request: pb.PoolOpen) -> None:
        if not self._can_open() or request.block_bytes != self.info.block_bytes or len(request.pool_id) != 16:
            return  # the opener tries again
        self.destroy_pool("the peer begins afresh")
        first = max(request.first_block, self._first_available())
        opened = pb.PoolOpened(link=self.name, pool_id=request.pool_id, first_block=first)
        self._post(pb.Frame(pool_opened=opened))
        self._begin(request.pool_id, first)

    def _begin(self, pool_id: bytes, first_block: int) -> None:
        self._opening = None
        self.pool = Pool(pool_id, first_block, self.info.block_bytes, owns_first_lane=self.owns_first_lane)
        log.get().info("pool_opened", link=self.name, pool=pool_id.hex()[:8], first_block=first_block)
        waiting = list(self._pending)
        self._pending.clear()
        for block in waiting:
            self._take_in(block)
        self._announce_intake()
        self._wake.set()

    def _truncate(self, from_block: int) -> None:
        self._forget_pending()
        if self.pool is not None:
            self.pool.truncate(from_block)

    # ---- small things -------------------------------------------------------------------------

    def _can_open(self) -> bool:
        return (
            self._peer is not None
            and self._peer.connected
            and self.policy is not None
            and not self.policy.maintenance
            and not self.aborted
        )

    def _first_available(self) -> int:
        return self._pending[0].number if self._pending else self._next_block

    def _announce_intake(self) -> None:
        if self.pool is not None:
            self._post(
                pb.Frame(
                    pool_intake=pb.PoolIntake(
                        link=self.name, pool_id=self.pool.pool_id, next_block=self.pool.next_block
                    )
                )
            )

    def _bound(self) -> None:
        below = self.pool.burn_oldest(MAX_LANE_BYTES) if self.pool else None
        if below is not None and self.pool is not None:
            self._post(
                pb.Frame(pool_burn=pb.PoolBurn(link=self.name, pool_id=self.pool.pool_id, below_offset=below))
            )
        if self.pool is not None and self.pool.kept_bytes > MAX_POOL_BYTES:
            reason = f"more than {MAX_POOL_BYTES} bytes wait: the peer does not burn what it leaves unused"
            self._post_destroy(self.pool.pool_id, reason)
            self.destroy_pool(reason)

    def _ask_for_grant(self, pool: Pool, wanted: int) -> None:
        now = time.monotonic()
        if now - self._grant_asked > GRANT_RETRY_SECONDS and pool.receive_bytes() > wanted:
            self._grant_asked = now
            self._post(
                pb.Frame(
                    pool_grant_request=pb.PoolGrantRequest(
                        link=self.name, pool_id=pool.pool_id, wanted_bytes=max(wanted, GRANT_BYTES)
                    )
                )
            )

    async def _growth(self, deadline: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._grown.wait()
        except TimeoutError:
            return False
        return True

    def _grow(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()
        self._on_supply()

    def _empty_code(self) -> pb.FailureCode:
        producing = self.watch.verdict.health in (LinkHealth.OK, LinkHealth.UNKNOWN) and not self.aborted
        return pb.FAILURE_CODE_POOL_EXHAUSTED if producing else pb.FAILURE_CODE_LINK_UNUSABLE

    def _failure(self, code: pb.FailureCode, reason: str) -> KeyPlaneError:
        return KeyPlaneError(code, reason, node=self.node, link=self.name)

    def _post(self, frame: pb.Frame) -> None:
        if self._peer is not None:
            self._peer.post(frame)

    def _post_truncate(self, pool: Pool, from_block: int, reason: str) -> None:
        truncate = pb.PoolTruncate(link=self.name, pool_id=pool.pool_id, from_block=from_block)
        truncate.reason = reason[:300]
        self._post(pb.Frame(pool_truncate=truncate))

    def _post_destroy(self, pool_id: bytes, reason: str) -> None:
        self._post(pb.Frame(pool_destroy=pb.PoolDestroy(link=self.name, pool_id=pool_id, reason=reason)))

    def _note_use(self, pool: Pool, first_lane: bool, offset: int, size: int, use: PadUse) -> None:
        self._observer.pad_used(
            link=self.name,
            pool_id=pool.pool_id,
            first_lane=first_lane,
            node=self.node,
            start=offset,
            end=offset + size,
            use=use,
            first_block=pool.first_block,
            block_bytes=self.info.block_bytes,
        )
