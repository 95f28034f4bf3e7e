"""What a link end must remember across a crash: how far it has gone, as numbers, never key bytes.

Two high-water marks, made durable *before* what they cover happens:
 * the highest device block ever taken in, so that no later pool starts below it;
 * per lane, an offset of the present pool that sending stays below until it is moved again.
"""

import asyncio
import json
from pathlib import Path

from keyweave.common.process import write_atomically

# One fsync covers this many bytes of sending. The pool dies with the process, so what is reserved and
# not used costs nothing.
RESERVE_BYTES = 256 * 1024


class Journal:
    """The durable numbers of one link end. Not for use by two tasks at once without its own lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self.highest_block = 0
        self._pool_id = ""
        self._reserved: dict[bool, int] = {True: 0, False: 0}
        if path.exists():
            self.highest_block = int(json.loads(path.read_text(encoding="utf-8"))["highest_block"])

    async def taken(self, block: int) -> None:
        """Make durable that blocks up to `block` have been taken from the device."""
        async with self._lock:
            if block > self.highest_block:
                self.highest_block = block
                await self._write()

    def covers(self, pool_id: bytes, offsets: dict[bool, int]) -> bool:
        """Whether sending up to these lane offsets of this pool is already covered."""
        return pool_id.hex() == self._pool_id and all(self._reserved[k] >= v for k, v in offsets.items())

    async def reserve(self, pool_id: bytes, offsets: dict[bool, int]) -> None:
        """Make durable, with room ahead, that sending may reach these lane offsets of this pool."""
        async with self._lock:
            if self.covers(pool_id, offsets):
                return
            if pool_id.hex() != self._pool_id:
                self._pool_id, self._reserved = pool_id.hex(), {True: 0, False: 0}
            for lane, end in offsets.items():
                self._reserved[lane] = max(self._reserved[lane], end + RESERVE_BYTES)
            await self._write()

    async def _write(self) -> None:
        state = {
            "highest_block": self.highest_block,
            "pool_id": self._pool_id,
            "reserved_first_lane": self._reserved[True],
            "reserved_second_lane": self._reserved[False],
        }
        await asyncio.to_thread(write_atomically, self._path, json.dumps(state))
