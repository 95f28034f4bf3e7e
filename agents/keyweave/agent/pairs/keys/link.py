"""A virtual link whose device is the pairs that reach both its ends: an ordinary driver of one link.

Its blocks of key are those of the discussion; its QBER and key rate are measured on the pairs themselves. So
pools, planning, provenance and failover are those of any link, but nobody between its ends ever has a key.
"""

import asyncio
import secrets
import struct
import time
from collections.abc import AsyncIterator, Callable

from google.protobuf.message import DecodeError

from keyweave.agent.drivers.base import (
    MAX_TWIN_MESSAGE_BYTES,
    DeviceBlock,
    DeviceReport,
    DriverUnavailableError,
    LinkEndInfo,
    Twin,
)
from keyweave.agent.pairs.deliver import Basis, KeyRun
from keyweave.agent.pairs.keys.discussion import End
from keyweave.agent.pairs.keys.follower import Follower
from keyweave.agent.pairs.keys.leader import Leader
from keyweave.agent.pairs.keys.settings import PairKeySettings
from keyweave.agent.pairs.keys.tally import Tally
from keyweave.common import log
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import pairkeys_pb2 as pb

MODEL = "BBM92 on distributed pairs"
POLL_SECONDS = 0.25
REPORT_SECONDS = 0.5
# Without a pair for so long the link has lost its signal.
SILENCE_SECONDS = 5.0
NANOS = 1_000_000_000


class PairKeyLink:
    """One end of a virtual link: a Driver of it, and MeetsTwin."""

    def __init__(
        self,
        link: LinkName,
        peer_node: NodeName,
        settings: PairKeySettings,
        *,
        leads: bool,
        emulated: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.link = link
        self.peer_node = peer_node
        self.leads = leads
        self._settings = settings
        self._emulated = emulated
        self._clock = clock
        self._end: End = (Leader if leads else Follower)(settings.terms, 1)
        self._random = secrets.SystemRandom()
        self._twin: Twin | None = None
        # Of each path that pairs come over now.
        self._runs: dict[str, _Run] = {}
        # Before anybody takes blocks it is not known which number is the next.
        self._taken = False
        self._blocks_ready = asyncio.Event()

    @property
    def tally(self) -> Tally:
        """Counts, for metrics."""
        return self._end.tally

    # ---- measured pairs -----------------------------------------------------------------------

    def begin(self, run: KeyRun) -> "_Run":
        """Pairs of another run come; those of the one before over this path have no counterpart any more."""
        self._end.new_run(run.path_id)
        begun = self._runs[run.path_id] = _Run(self, run.path_id)
        log.get().info("pair_key_run_began", link=self.link, stream=run.stream, path=run.path_id)
        return begun

    def draw_basis(self) -> Basis:
        """At random, biased to the basis that makes key."""
        return Basis.Z if self._random.random() < self._settings.key_basis_ratio else Basis.X

    def measured(self, run: "_Run", number: int, basis: Basis, bit: int) -> None:
        """An outcome."""
        if self._runs.get(run.path) is run:
            self._end.measured(run.path, number, basis, bit, self._clock())

    def ended(self, run: "_Run") -> None:
        """No more of this run."""
        if self._runs.get(run.path) is run:
            del self._runs[run.path]
            self._end.end_run(run.path)

    # ---- discussion ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Discuss with the other end until cancelled; then overwrite what is left."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(), name=f"pair-keys-listen-{self.link}")
                group.create_task(self._pace(), name=f"pair-keys-pace-{self.link}")
        finally:
            self._end.close()

    async def _listen(self) -> None:
        assert self._twin is not None
        while True:
            data = await self._twin.receive()
            try:
                message = pb.PairKeyMessage.FromString(data)
            except DecodeError:
                log.get().warning("pair_key_message_malformed", link=self.link)
                continue
            if self._taken:
                self._say(self._end.receive(message, self._clock()))

    async def _pace(self) -> None:
        # What is measured is compared in portions, a second's worth at a time: there is no event for that.
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self._taken:
                self._say(self._end.poll(self._clock()))

    def _say(self, message: pb.PairKeyMessage | None) -> None:
        if self._end.has_blocks:
            self._blocks_ready.set()
        if message is None or self._twin is None:
            return
        data = message.SerializeToString()
        if len(data) > MAX_TWIN_MESSAGE_BYTES:
            log.get().error("pair_key_message_too_long", link=self.link, size_bytes=len(data))
            return
        # What is lost is noticed: no answer comes.
        self._twin.send(data)

    # ---- Driver -------------------------------------------------------------------------------

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        """See Driver."""
        return (self.info,)

    @property
    def info(self) -> LinkEndInfo:
        """This end."""
        return LinkEndInfo(self.link, self.peer_node, MODEL, self._emulated, self._settings.terms.block_bytes)

    def meet(self, link: LinkName, twin: Twin) -> None:
        """See MeetsTwin."""
        assert link == self.link
        self._twin = twin

    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        """See Driver."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            yield DeviceReport(self._samples(link), "")

    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        """See Driver."""
        if link != self.link:
            raise DriverUnavailableError(f"this is link '{self.link}'")
        self._end.begin_from(first_block)
        self._taken = True
        while True:
            await self._blocks_ready.wait()
            self._blocks_ready.clear()
            now = time.time_ns()
            blocks = tuple(DeviceBlock(number, key, now) for number, key in self._end.blocks())
            if blocks:
                yield blocks

    async def close(self) -> None:
        """See Driver."""
        self._end.close()

    def _samples(self, link: LinkName) -> agent_pb2.LinkSamples:
        now, tally, terms = self._clock(), self._end.tally, self._settings.terms
        samples = agent_pb2.LinkSamples(
            link=link,
            start_unix_nanos=time.time_ns() - round(REPORT_SECONDS * NANOS),
            interval_micros=round(REPORT_SECONDS * 1e6),
            rows=1,
            skr_bps=_column(tally.secret_rate_bps(now, terms.block_bits, terms.block_seconds, terms.promise)),
            sifted_rate_bps=_column(tally.sifted_rate_bps(now)),
            status=self._status(now),
        )
        if tally.qber_ratio is not None:
            # More than a half is a half: bits that have nothing to do with each other.
            samples.qber_ratio = _column(min(0.5, tally.qber_ratio))
        return samples

    def _status(self, now: float) -> types_pb2.LinkStatus:
        silent = self._end.tally.silent_seconds(now)
        if silent is None:
            return types_pb2.LINK_STATUS_PENDING
        if silent > SILENCE_SECONDS:
            return types_pb2.LINK_STATUS_OFF
        return types_pb2.LINK_STATUS_ACTIVE


class _Run:
    """See PairOutcomes: one end of a run of a link."""

    def __init__(self, link: PairKeyLink, path: str) -> None:
        self._link = link
        self.path = path

    def basis(self, number: int) -> Basis:  # noqa: ARG002  # every pair's is drawn alone
        """How to measure a pair."""
        return self._link.draw_basis()

    def outcome(self, number: int, basis: Basis, bit: int) -> None:
        """What it gave."""
        self._link.measured(self, number, basis, bit)

    def end(self) -> None:
        """No more come."""
        self._link.ended(self)


def _column(value: float) -> bytes:
    return struct.pack("<f", value)
