"""What a link end must remember across a crash: how far it has gone, as numbers, never key bytes.

Two kinds of high-water marks, made durable *before* what they cover happens:
 * the highest device block ever taken in, so that no later pool starts below it;
 * for each pool and lane, an offset that sending stays below until it is moved again.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from keyweave.common.one_writer import OneWriter

# One fsync covers this many bytes of sending. The pool dies with the process, so what is reserved and
# not used costs nothing.
RESERVE_BYTES = 256 * 1024

# By pool ID in hexadecimal digits, then by lane: whether it is the first.
_Reserved = Mapping[str, Mapping[bool, int]]


class Journal:
    """The durable numbers of one link end. Not for use by two tasks at once without its own lock."""

    def __init__(self, path: Path) -> None:
        self._file = OneWriter(path)
        self._lock = asyncio.Lock()
        self.highest_block = 0
        self._reserved: _Reserved = {}
        # Pools of which half is used up, and how far they have been asked for.
        self._running_low: dict[str, Mapping[bool, int]] = {}
        self._low = asyncio.Event()
        if path.exists():
            self.highest_block = int(json.loads(path.read_text(encoding="utf-8"))["highest_block"])

    async def taken(self, block: int) -> None:
        """Make durable that blocks up to `block` have been taken from the device."""
        async with self._lock:
            if block > self.highest_block:
                await self._write(block, self._reserved)
                self.highest_block = block

    def covers(self, pool_id: bytes, offsets: dict[bool, int]) -> bool:
        """Whether sending up to these lane offsets of this pool is already covered."""
        lanes = self._reserved.get(pool_id.hex())
        return lanes is not None and all(lanes[lane] >= end for lane, end in offsets.items())

    async def reserve(self, pool_id: bytes, offsets: dict[bool, int]) -> None:
        """Make durable, with room ahead, that sending may reach these lane offsets of this pool."""
        async with self._lock:
            if not self.covers(pool_id, offsets):
                await self._extend(pool_id.hex(), offsets)

    def reserve_ahead(self, pool_id: bytes, offsets: Mapping[bool, int]) -> None:
        """Have `keep_ahead` reserve more where half is used up.

        Where that fails, `reserve` will say so to whoever needs it.
        """
        if self._is_low(pool_id.hex(), offsets):
            self._running_low[pool_id.hex()] = offsets
            self._low.set()

    async def keep_ahead(self) -> None:
        """Reserve more before anybody has to wait for the disk, until cancelled."""
        while True:
            await self._low.wait()
            await self.catch_up()

    async def catch_up(self) -> None:
        """Reserve more for the pools that run low."""
        self._low.clear()
        running_low, self._running_low = self._running_low, {}
        for pool, offsets in running_low.items():
            async with self._lock:
                if self._is_low(pool, offsets):
                    with suppress(OSError):
                        await self._extend(pool, offsets)

    def _is_low(self, pool: str, offsets: Mapping[bool, int]) -> bool:
        lanes = self._reserved.get(pool)
        return lanes is not None and any(
            lanes[lane] - end <= RESERVE_BYTES // 2 for lane, end in offsets.items()
        )

    async def _extend(self, pool: str, offsets: Mapping[bool, int]) -> None:
        known = pool in self._reserved
        lanes = dict(self._reserved.get(pool, {True: 0, False: 0}))
        for lane, end in offsets.items():
            lanes[lane] = max(lanes[lane], end + RESERVE_BYTES)
        # In force only once it is durable: `covers` does not wait for the lock.
        await self._write(self.highest_block, {**self._reserved, pool: lanes})
        if pool in self._reserved or not known:  # else it was forgotten meanwhile
            self._reserved = {**self._reserved, pool: lanes}

    def forget(self, pool_id: bytes) -> None:
        """The pool is destroyed: nobody will ever send with it again."""
        self._reserved = {name: lanes for name, lanes in self._reserved.items() if name != pool_id.hex()}

    async def _write(self, highest_block: int, reserved: _Reserved) -> None:
        state = {
            "highest_block": highest_block,
            "reserved": {name: [lanes[True], lanes[False]] for name, lanes in reserved.items()},
        }
        await self._file.write(json.dumps(state))
