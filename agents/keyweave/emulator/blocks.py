"""Key blocks at the two ends of a link: identical, numbered, each given once per end, then erased."""

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

BUFFER_BYTES = 4 * 1024 * 1024
BUFFER_BLOCKS = 8192
# An end may ask for blocks far ahead (its peer device was replaced); beyond this it is a mistake.
HIGHEST_BLOCK = 2**62


@dataclass(slots=True)
class Block:
    """One block, shared by the ends that still hold it."""

    number: int
    key: bytearray = field(repr=False)
    produced_unix_nanos: int
    holders: int = 2

    def release(self) -> None:
        """One end holds it no longer; the last one erases it."""
        self.holders -= 1
        if self.holders == 0:
            self.key[:] = bytes(len(self.key))


class EndBuffer:
    """What one end's device still holds. When it is full the oldest block is overwritten."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._blocks: deque[Block] = deque()
        self.lost_blocks = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def put(self, block: Block) -> None:
        """Hold a new block."""
        if len(self._blocks) == self._capacity:
            self._blocks.popleft().release()
            self.lost_blocks += 1
        self._blocks.append(block)

    def drop_below(self, number: int) -> None:
        """Forget blocks that this end's owner says are gone."""
        while self._blocks and self._blocks[0].number < number:
            self._blocks.popleft().release()

    def take(self, most_bytes: int) -> tuple[tuple[int, bytes, int], ...]:
        """(number, key, produced) of the oldest blocks, at least one if there is one; they are gone then."""
        taken: list[tuple[int, bytes, int]] = []
        size = 0
        while self._blocks and (not taken or size + len(self._blocks[0].key) <= most_bytes):
            block = self._blocks.popleft()
            taken.append((block.number, bytes(block.key), block.produced_unix_nanos))
            size += len(block.key)
            block.release()
        return tuple(taken)


class BlockSource:
    """Makes blocks as fast as the link's secret key rate allows, for both ends at once.

    Key bits come from the operating system's random source. `random_bytes` is a parameter so that tests
    can show that; nothing else may set it.
    """

    def __init__(
        self,
        block_bytes: int,
        *,
        capacity: int | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.block_bytes = block_bytes
        self._capacity = capacity or max(1, min(BUFFER_BLOCKS, BUFFER_BYTES // block_bytes))
        self._random_bytes = random_bytes
        self.ends = (EndBuffer(self._capacity), EndBuffer(self._capacity))
        self.next_number = 1
        self._bits = 0.0

    def produce(self, bits: float, now_nanos: int) -> int:
        """Take `bits` more key bits in; returns how many blocks they completed."""
        self._bits += bits
        completed = int(self._bits // (8 * self.block_bytes))
        self._bits -= completed * 8 * self.block_bytes
        # More than fits is lost at both ends at once: its numbers are spent, its bits never drawn.
        self.next_number += max(0, completed - self._capacity)
        for _ in range(min(completed, self._capacity)):
            block = Block(self.next_number, bytearray(self._random_bytes(self.block_bytes)), now_nanos)
            self.next_number += 1
            for end in self.ends:
                end.put(block)
        return completed

    def begin_at(self, number: int) -> bool:
        """See that the next block is `number` or later; whether blocks had to be given up for that.

        A link's ends remember the highest block they ever took. After the emulator has started afresh they
        ask for blocks ahead of it, and no number may ever mean two different blocks.
        """
        if number <= self.next_number:
            return False
        self.erase()
        self.next_number = number
        return True

    def erase(self) -> None:
        """Forget all blocks at both ends."""
        for end in self.ends:
            end.drop_below(HIGHEST_BLOCK)
