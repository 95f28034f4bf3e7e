"""Where a device block goes: into the pool that grows, to wait for one, on hold, or nowhere."""

import time
from collections import deque

from keyweave.agent import memory
from keyweave.agent.drivers.base import DeviceBlock
from keyweave.agent.keyplane.links.hold import Hold
from keyweave.agent.keyplane.links.linkpools import LinkPools

MAX_PENDING_BLOCKS = 2048


class Intake:
    """The blocks of one link end on their way to where they belong."""

    def __init__(self, next_block: int, pools: LinkPools) -> None:
        self.hold = Hold()
        self.pooled_blocks_total = 0
        self._pools = pools
        self._pending: deque[DeviceBlock] = deque()
        # Not from the journal, which is ahead while blocks wait for the disk.
        self._next_block = next_block

    @property
    def first_available(self) -> int:
        """The first block that a new pool could begin with."""
        return self._pending[0].number if self._pending else self._next_block

    @property
    def next_block(self) -> int:
        """One above the highest block that ever came."""
        return self._next_block

    def take_in(self, block: DeviceBlock, *, distrusted: bool, unused: bool) -> None:
        """Take one block in: on hold while the link is `distrusted`, nowhere while it is `unused`."""
        self._next_block = max(self._next_block, block.number + 1)
        pool = self._pools.growing
        if unused:
            memory.wipe(block.key)
        elif distrusted:
            self.hold.add(block, time.time())
        elif pool is None or self._pools.stopped:
            self._wait(block)
        elif block.number < pool.next_block:
            memory.wipe(block.key)
        elif self._pools.append(block):
            self.pooled_blocks_total += 1
        else:
            self._wait(block)

    def _wait(self, block: DeviceBlock) -> None:
        if self._pending and self._pending[-1].number + 1 != block.number:
            self.forget_pending()
        self._pending.append(block)
        if len(self._pending) > MAX_PENDING_BLOCKS:
            memory.wipe(self._pending.popleft().key)

    def fill(self) -> None:
        """A pool has begun: what waited for it goes in."""
        waiting = list(self._pending)
        self._pending.clear()
        for block in waiting:
            self.take_in(block, distrusted=False, unused=False)

    def forget_pending(self) -> None:
        """Destroy what waits for a pool."""
        for block in self._pending:
            memory.wipe(block.key)
        self._pending.clear()
