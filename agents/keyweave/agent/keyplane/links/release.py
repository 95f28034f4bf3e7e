"""Releasing held blocks for use: both ends have the order, and open closed pools of what both still hold.

The end whose name sorts first proposes its released runs, lowest first; the other answers with the part that
it has released too, and keeps silent while it has no order. What only one end has is destroyed.
"""

import os
import time

from keyweave.agent.drivers.base import LinkEndInfo
from keyweave.agent.keyplane.links.hold import Hold
from keyweave.agent.keyplane.links.linkpools import LinkPools
from keyweave.v1 import keyplane_pb2 as pb

# Once the opener has begun to ask, it asks for all it has: what it did not want after this long goes.
LEFT_OVER_SECONDS = 60.0


class Release:
    """The part of one link end in opening what was released."""

    def __init__(self, info: LinkEndInfo, hold: Hold, pools: LinkPools) -> None:
        self._info = info
        self._hold = hold
        self._pools = pools
        # Kept while it is the same run: asked again with the same ID, the peer gives the same answer.
        self._asked: pb.PoolOpen | None = None
        self._answered: float | None = None

    def request(self) -> pb.PoolOpen | None:
        """What the opener proposes next; None where nothing is released."""
        run = self._hold.released_run()
        if run is None:
            return None
        asked = self._asked
        if asked is None or (asked.first_block, asked.end_block) != run:
            asked = pb.PoolOpen(
                link=self._info.link,
                pool_id=os.urandom(16),
                first_block=run[0],
                end_block=run[1],
                block_bytes=self._info.block_bytes,
            )
            self._asked = asked
        return asked

    def answer(self, request: pb.PoolOpen) -> pb.PoolOpened | None:
        """Open what both ends have released of the run proposed; None while there is no order here."""
        first, end = request.first_block, request.end_block
        nothing = pb.PoolOpened(link=self._info.link, pool_id=request.pool_id, first_block=end, end_block=end)
        known = self._pools.find(request.pool_id)
        if known is not None:  # the answer got lost
            nothing.first_block, nothing.end_block = known.first_block, known.next_block
            return nothing
        run = self._hold.released_run(first, end)
        if run is None:
            return None if self._hold.undecided(first, end) else nothing
        self._answered = time.monotonic()
        # The opener goes through its runs upwards: what lies below it does not have.
        self._hold.destroy_released(0, run[0])
        self._pools.begin_released(request.pool_id, run[0], self._hold.take(*run))
        return pb.PoolOpened(
            link=self._info.link, pool_id=request.pool_id, first_block=run[0], end_block=run[1]
        )

    def opened(self, opened: pb.PoolOpened) -> None:
        """The peer's answer to what was proposed last."""
        asked, self._asked = self._asked, None
        if asked is None or asked.pool_id != opened.pool_id:
            return
        first, end = opened.first_block, opened.end_block
        if not asked.first_block <= first <= end <= asked.end_block:
            self._pools.post_destroy(opened.pool_id, "that is not what was proposed")
            first = end = asked.end_block
        if first == end:
            self._hold.destroy_released(asked.first_block, asked.end_block)
        elif self._hold.released_run(first, end) != (first, end):
            self._pools.post_destroy(opened.pool_id, "the blocks are no longer held here")
        else:
            self._pools.begin_released(opened.pool_id, first, self._hold.take(first, end))
            self._hold.destroy_released(asked.first_block, first)

    def drop_left_over(self, now: float) -> None:
        """Destroy what the opener did not ask for though it began to (`now` as of time.monotonic)."""
        if self._answered is not None and now - self._answered > LEFT_OVER_SECONDS:
            self._answered = None
            self._hold.destroy_released(0, None)
