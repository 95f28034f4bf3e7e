"""One end of a link: device blocks in, pools opened with the other end, and what happens under attack.

While either end distrusts the link (its own measurements, or the controller's suspicion) the device's blocks
are held apart and no pool is opened. What pools there are is `linkpools`' business.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator

from keyweave.agent import memory
from keyweave.agent.drivers.base import (
    DeviceBlock,
    DeviceReport,
    Driver,
    DriverUnavailableError,
    LinkEndInfo,
)
from keyweave.agent.keyplane.links.calibration import Calibration
from keyweave.agent.keyplane.links.intake import Intake
from keyweave.agent.keyplane.links.journal import Journal
from keyweave.agent.keyplane.links.linkpools import LinkPools
from keyweave.agent.keyplane.links.linkwatch import ONSET_MARGIN_SECONDS, LinkHealth, LinkWatch, Verdict
from keyweave.agent.keyplane.links.pool import Pool
from keyweave.agent.keyplane.links.release import Release
from keyweave.agent.keyplane.links.twin import LinkTwin
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.terms import LinkPolicy
from keyweave.agent.observer import Observer
from keyweave.common import log
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2
from keyweave.v1 import keyplane_pb2 as pb

OPEN_RETRY_SECONDS = 0.5
# The peer may not have the order to release its blocks yet.
RELEASE_RETRY_SECONDS = 2.0
OPEN_PACE_SECONDS = 0.05
# How long the device's next blocks are left waiting while both ends have plenty.
UNHURRIED_SECONDS = 0.25
# Policy and the session change without telling who waits for more blocks to be of use.
NEED_RECHECK_SECONDS = 0.5


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
        self.pools = LinkPools(
            node,
            info,
            journal,
            observer,
            post=self._post,
            empty_code=self._empty_code,
            on_destroyed=self._pool_destroyed,
            on_supply=on_supply,
        )
        self.twin = LinkTwin(self.name, self._post)
        self.policy: LinkPolicy | None = None
        self._driver = driver
        self._journal = journal
        self._observer = observer
        self._on_report = on_report
        self._on_verdict = on_verdict
        self._on_event = on_event
        self.calibration = Calibration(info.link, info.peer_node, driver, on_event)
        self._peer: Peer | None = None
        self._intake = Intake(journal.highest_block + 1, self.pools)
        self.hold = self._intake.hold
        self._release = Release(info, self.hold, self.pools)
        self._opening: pb.PoolOpen | None = None
        self._wake = asyncio.Event()
        self._open_after = 0.0
        self._truncated_from = 0
        self._suspected: Verdict | None = None
        self._peer_aborted = False
        # Why no key comes, where it comes from a device that measures nothing, or from another one.
        self._key_lost = ""

    @property
    def pool(self) -> Pool | None:
        """The pool that grows."""
        return self.pools.growing

    @property
    def intake_bytes_total(self) -> int:
        """Bytes of device blocks that went into pools since the agent started."""
        return self._intake.pooled_blocks_total * self.info.block_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of device blocks that are held in quarantine."""
        return len(self.hold) * self.info.block_bytes

    @property
    def owns_first_lane(self) -> bool:
        """Whether this end's name sorts first; it also opens the pools."""
        return self.node < self.peer_node

    @property
    def aborted(self) -> bool:
        """Whether either end has stopped using the link: for its error rate, or under suspicion."""
        return self._distrusted or self._peer_aborted

    @property
    def _distrusted(self) -> bool:
        return self.watch.verdict.health is LinkHealth.ABORTED or self._suspected is not None

    # ---- policy and session -------------------------------------------------------------------

    def bind(self, peer: Peer | None, policy: LinkPolicy | None) -> None:
        """Take in what policy says now; without a policy for it the link is not used."""
        if policy is None:
            # The peer must hear it: an end that does not open pools would wait for a new one for ever.
            self.destroy_keys("no policy for the link", tell=True)
        elif policy.maintenance:
            self.pools.stop()
        self._peer, self.policy = peer, policy
        self._suspect(policy)
        self._wake.set()

    def _suspect(self, policy: LinkPolicy | None) -> None:
        """The controller suspects the link, from an earlier time than before, or no longer."""
        before, since = self._suspected, policy.suspect_since if policy else None
        if policy is not None and since is not None:
            since -= ONSET_MARGIN_SECONDS
            if before is None or since < before.since:
                reason = f"suspected by the controller: {policy.suspect_reason}"
                self._suspected = Verdict(LinkHealth.SUSPECT, reason, since)
                self._abort(self._suspected)
                self._on_verdict(self, before or self.watch.verdict, self._suspected)
        elif before is not None:
            self._suspected = None
            if not self._distrusted:
                self._clear()
                self._on_verdict(self, before, self.watch.verdict)

    def session_up(self, *, restarted: bool) -> None:
        """The peer's session is up: pools survive a broken connection, not a restart."""
        self._peer_aborted = False
        if restarted:
            self.destroy_keys("the peer has restarted", tell=False)
        else:
            self.pools.announce_intake()
        if self._distrusted:
            # The notice may have been lost with the connection before, or with the peer's memory.
            reason = self._suspected.reason if self._suspected else self.watch.verdict.reason
            self._post_truncate(self._truncated_from, reason)
        self._wake.set()

    # ---- opening pools ------------------------------------------------------------------------

    async def keep_ahead(self) -> None:
        """Have the journal reserve more before sending has to wait for the disk."""
        await self._journal.keep_ahead()

    async def keep_open(self) -> None:
        """Open a pool whenever both ends can have one (the end whose name sorts first does)."""
        while True:
            self._wake.clear()
            if self._request() is None:
                await self._wake.wait()
                continue
            # Paced: with a peer whose pools break as soon as they are open this would spin.
            await asyncio.sleep(self._open_after - time.monotonic())
            request = self._request()
            if request is None:
                continue
            self._open_after = time.monotonic() + OPEN_PACE_SECONDS
            self._opening = request
            self._post(pb.Frame(pool_open=request))
            await self._opened_or(RELEASE_RETRY_SECONDS if request.end_block else OPEN_RETRY_SECONDS)

    def _request(self) -> pb.PoolOpen | None:
        """What to ask the peer to open next: the pool that grows, then one for each released run."""
        if not (self.owns_first_lane and self._can_open()):
            return None
        if self.pool is None or self.pools.stopped:
            return pb.PoolOpen(
                link=self.name,
                pool_id=os.urandom(16),
                first_block=self._intake.first_available,
                block_bytes=self.info.block_bytes,
            )
        return self._release.request()

    async def _opened_or(self, timeout_seconds: float) -> None:
        """Return when the request is answered or void; a peer that cannot yet is asked again later."""
        asked = self._opening
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._opening is asked:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return

    def _answer_open(self, request: pb.PoolOpen) -> None:
        if not self._can_open() or request.block_bytes != self.info.block_bytes or len(request.pool_id) != 16:
            return  # the opener tries again
        if request.end_block:
            answer = self._release.answer(request)
            if answer is not None:
                self._post(pb.Frame(pool_opened=answer))
            return
        self.pools.retire()
        self._destroy_growing("the peer begins afresh")
        if self.pools.find(request.pool_id) is not None:
            return  # two pools of one ID could not be told apart
        first = max(request.first_block, self._intake.first_available)
        opened = pb.PoolOpened(link=self.name, pool_id=request.pool_id, first_block=first)
        self._post(pb.Frame(pool_opened=opened))
        self._begin(request.pool_id, first)

    def _opened(self, opened: pb.PoolOpened) -> None:
        asked = self._opening
        if asked is None or opened.pool_id != asked.pool_id:
            return
        if not asked.end_block:
            # A pool from further back than this end can go would break with its first block.
            free = self.pool is None or self.pools.stopped
            if free and opened.first_block >= self._intake.first_available:
                self.pools.retire()
                self._begin(opened.pool_id, opened.first_block)
            return
        self._opening = None
        self._release.opened(opened)
        self._wake.set()

    def _begin(self, pool_id: bytes, first_block: int) -> None:
        self._opening = None
        self.pools.begin(pool_id, first_block)
        self._intake.fill()
        self.pools.announce_intake()
        self._wake.set()

    def _can_open(self) -> bool:
        return (
            self.info.gives_key
            and self._peer is not None
            and self._peer.connected
            and self.policy is not None
            and not self.policy.maintenance
            and not self.aborted
        )

    # ---- the device ---------------------------------------------------------------------------

    async def take_blocks(self) -> None:
        """Follow the device's key blocks; returns or raises when the device goes away."""
        await self._needed()
        async for blocks in self._driver.take_blocks(self.name, self._journal.highest_block + 1):
            self._key_back()
            # Durable first: a block that may be used must never be taken again after a crash.
            if not blocks:
                continue
            used = self._journal.highest_block
            await self._journal.taken(max(block.number for block in blocks))
            for block in self._not_before(blocks, used):
                self._observer.block_taken(link=self.name, node=self.node, number=block.number)
                self._take_in(block)
            self.pools.announce_intake()
            self.pools.bound()
            self.pools.grow()
            self._wake.set()
            if self.pools.plentiful:
                # What the device makes meanwhile comes in one message and is made durable at once.
                await asyncio.sleep(UNHURRIED_SECONDS)
            await self._needed()

    async def _needed(self) -> None:
        """Return when more blocks are of use: what waits at its source is not taken to be burnt here.

        One that was away is asked at once: a link that is down for it would never come to need more.
        """
        while self.info.keeps_blocks and not (self._can_open() and (self.pools.run_low or self._key_lost)):
            await self.pools.change(NEED_RECHECK_SECONDS)

    def _not_before(self, blocks: Iterable[DeviceBlock], used: int) -> Iterator[DeviceBlock]:
        """Blocks above the highest used: where a device gives one again, it is not used a second time."""
        for block in blocks:
            if block.number > used:
                used = block.number
                yield block
            else:
                memory.wipe(block.key)
                log.get().error("block_came_again", link=self.name, number=block.number, highest=used)

    def _take_in(self, block: DeviceBlock) -> None:
        # Without a policy nobody says at which error rate the link stops: nothing is kept for later either.
        unused = self.policy is None or self.policy.maintenance
        self._intake.take_in(block, distrusted=self.aborted, unused=unused)

    async def watch_device(self) -> None:
        """Follow the device's measurements and judge them; returns or raises when the device goes away."""
        async for report in self._driver.watch(self.name):
            self._on_report(report)
            before = self.watch.verdict
            threshold = self.policy.abort_qber_ratio if self.policy else 0.11
            try:
                fault = report.device_fault or self._key_lost
                after = self.watch.observe(report.samples, fault, threshold)
            except ValueError as error:
                raise DriverUnavailableError(f"the device's measurements do not parse: {error}") from None
            if after.health is not before.health:
                self._verdict_changed(before, after)

    def device_lost(self, reason: str) -> None:
        """What measures the link cannot be reached. That ends no abort: only measurements can."""
        before = self.watch.verdict
        if before.health not in (LinkHealth.FAULT, LinkHealth.ABORTED):
            self.watch.verdict = Verdict(LinkHealth.FAULT, reason, time.time())
            self._verdict_changed(before, self.watch.verdict)

    def key_lost(self, reason: str) -> None:
        """What gives the link's key cannot be reached; measurements may come all the same."""
        self._key_lost = reason
        self.device_lost(reason)

    def _key_back(self) -> None:
        lost, self._key_lost = self._key_lost, ""
        if lost and not self.info.measures:
            before = self.watch.verdict
            self.watch.verdict = Verdict(LinkHealth.UNKNOWN, "key comes again", time.time())
            self._verdict_changed(before, self.watch.verdict)

    # ---- under attack -------------------------------------------------------------------------

    def _verdict_changed(self, before: Verdict, after: Verdict) -> None:
        log.get().info(
            "link_health_changed", link=self.name, old=before.health, new=after.health, reason=after.reason
        )
        if after.health is LinkHealth.ABORTED:
            self._abort(after)
        if before.health is LinkHealth.ABORTED and not self._distrusted:
            self._clear()
        self._wake.set()
        self._on_verdict(self, before, after)

    def _abort(self, verdict: Verdict) -> None:
        """Destroy what was made since the change-point, at both ends; what comes from now on is held."""
        since_nanos = int(verdict.since * 1e9)
        from_block = self.pools.first_block_since(since_nanos)
        if from_block is None:
            from_block = self._intake.next_block
        # What an operator released before this alarm and waits to be opened is trusted no more than pools.
        from_block = min(from_block, self.hold.first_released_since(since_nanos) or from_block)
        self._truncate(from_block)
        self._truncated_from = from_block
        self._post_truncate(from_block, verdict.reason)

    def _clear(self) -> None:
        # The blocks between are not in the pool, so it has a hole: begin afresh. The peer must hear it even
        # while it is aborted itself, or each end would wait for the other.
        self._destroy_growing("the link is clear again")
        self.pools.post_destroy(b"", "the link is clear again")

    def _truncate(self, from_block: int) -> None:
        self._intake.forget_pending()
        self.pools.truncate(from_block)
        self.hold.destroy_released(from_block, None)

    def _peer_truncated(self, message: pb.PoolTruncate) -> None:
        """The peer aborted: what it no longer trusts goes here too, and what was built on that."""
        produced = self.pools.produced_unix_nanos(message.from_block)
        since = time.time() if produced is None else produced / 1e9
        again, self._peer_aborted = self._peer_aborted, True
        self._truncate(message.from_block)
        if not (again and produced is None):
            verdict = Verdict(LinkHealth.ABORTED, f"the peer: {message.reason}", since)
            self._on_verdict(self, self.watch.verdict, verdict)

    # ---- after it: operators' orders, and time --------------------------------------------------

    def release_held(self) -> int:
        """Blocks that are held now may be used once the peer says so too; how many."""
        self._wake.set()
        return self.hold.release()

    def expire_held(self, before: float) -> None:
        """Destroy blocks held since before a moment (seconds since the Unix epoch)."""
        self._release.drop_left_over(time.monotonic())
        count = self.hold.expire(before)
        if count:
            self._on_event(
                agent_pb2.AgentEvent(
                    kind=agent_pb2.AGENT_EVENT_KIND_QUARANTINE_DESTROYED,
                    link=self.name,
                    peer_node=self.peer_node,
                    reason="nobody cleared the link in time",
                    count=count,
                )
            )

    def destroy_keys(self, reason: str, *, tell: bool) -> int:
        """Destroy all key of this link: pools, what waits for one, what is held; how much was held."""
        self._opening = None
        self._intake.forget_pending()
        self.pools.destroy_all(reason, tell=tell)
        self._wake.set()
        return self.hold.destroy()

    # ---- frames -------------------------------------------------------------------------------

    def on_frame(self, frame: pb.Frame) -> None:
        """A notification from the other end, in order."""
        match frame.WhichOneof("body"):
            case "pool_open":
                self._answer_open(frame.pool_open)
            case "pool_opened":
                self._opened(frame.pool_opened)
            case "pool_destroy":
                self._peer_destroyed(frame.pool_destroy)
            case "pool_truncate":
                self._peer_truncated(frame.pool_truncate)
            case "driver_message":
                self.twin.deliver(frame.driver_message.body)
            case str(kind):
                self.pools.on_frame(kind, frame)

    def _peer_destroyed(self, message: pb.PoolDestroy) -> None:
        pool = self.pools.find(message.pool_id) if message.pool_id else self.pool
        if pool is not None:
            self.pools.destroy(pool, f"the peer: {message.reason}"[:300], tell=False)
        self._peer_aborted = self._peer_aborted and bool(message.pool_id)
        self._wake.set()

    def _destroy_growing(self, reason: str) -> None:
        self._opening = None
        if self.pool is not None:
            self.pools.destroy(self.pool, reason, tell=False)

    def _pool_destroyed(self, reason: str) -> None:
        self._opening = None
        self._wake.set()
        self._on_event(
            agent_pb2.AgentEvent(
                kind=agent_pb2.AGENT_EVENT_KIND_POOL_DESTROYED,
                link=self.name,
                peer_node=self.peer_node,
                reason=reason,
            )
        )

    def _post_truncate(self, from_block: int, reason: str) -> None:
        pool_id = self.pool.pool_id if self.pool else b""
        truncate = pb.PoolTruncate(
            link=self.name, pool_id=pool_id, from_block=from_block, reason=reason[:300]
        )
        self._post(pb.Frame(pool_truncate=truncate))

    def _empty_code(self) -> pb.FailureCode:
        producing = self.watch.verdict.health in (LinkHealth.OK, LinkHealth.UNKNOWN) and not self.aborted
        return pb.FAILURE_CODE_POOL_EXHAUSTED if producing else pb.FAILURE_CODE_LINK_UNUSABLE

    def _post(self, frame: pb.Frame) -> bool:
        return self._peer is not None and self._peer.post(frame)
