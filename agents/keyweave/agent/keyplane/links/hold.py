"""Blocks that a device gave while its link was under suspicion: kept apart and never used, until decided.

An operator's order releases or destroys them, or time does. What was destroyed when the alarm came, the
blocks since the onset, is not here and does not come back. Sans-IO.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from keyweave.agent import memory
from keyweave.agent.drivers.base import DeviceBlock

# For one link; where more come, the oldest are destroyed and counted.
MAX_HELD_BLOCKS = 4096


@dataclass(slots=True)
class _Held:
    block: DeviceBlock = field(repr=False)
    since: float
    released: bool = False


class Hold:
    """What is held of one link, in the order of the blocks' numbers."""

    def __init__(self) -> None:
        self.overflowed_blocks_total = 0
        # Numbers only rise: blocks come in order.
        self._held: dict[int, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, block: DeviceBlock, now: float) -> None:
        """Hold one more block, taken at `now` (seconds since the Unix epoch)."""
        memory.lock(block.key)
        self._held[block.number] = _Held(block, now)
        if len(self._held) > MAX_HELD_BLOCKS:
            self._destroy(next(iter(self._held)))
            self.overflowed_blocks_total += 1

    def release(self) -> int:
        """All that is held now may be used, once the other end says so too; how many blocks."""
        for held in self._held.values():
            held.released = True
        return len(self._held)

    def released_run(self, first: int = 0, end: int | None = None) -> tuple[int, int] | None:
        """The first run [from, to) of consecutive released blocks within [first, end)."""
        numbers = self._released(first, end)
        if not numbers:
            return None
        to = next((n + 1 for n, after in pairwise(numbers) if after != n + 1), None)
        return numbers[0], to or numbers[-1] + 1

    def first_released_since(self, unix_nanos: int) -> int | None:
        """The first released block that was produced at or after a moment; None where there is none."""
        return next(
            (
                number
                for number, held in self._held.items()
                if held.released and held.block.produced_unix_nanos >= unix_nanos
            ),
            None,
        )

    def undecided(self, first: int, end: int) -> bool:
        """Whether any block within [first, end) is held and not released."""
        return any(first <= number < end and not held.released for number, held in self._held.items())

    def take(self, first: int, end: int) -> tuple[DeviceBlock, ...]:
        """Take the released blocks [first, end) out, all of which must be there (KeyError)."""
        return tuple(self._held.pop(number).block for number in range(first, end))

    def destroy_released(self, first: int, end: int | None) -> None:
        """Destroy the released blocks within [first, end); without an end all from `first` on."""
        for number in self._released(first, end):
            self._destroy(number)

    def expire(self, before: float) -> int:
        """Destroy what has been held since before a moment; how many blocks."""
        old = [number for number, held in self._held.items() if held.since < before]
        for number in old:
            self._destroy(number)
        return len(old)

    def destroy(self) -> int:
        """Destroy everything; how many blocks that was."""
        count = len(self._held)
        for number in list(self._held):
            self._destroy(number)
        return count

    def _released(self, first: int, end: int | None) -> list[int]:
        return [
            number
            for number, held in self._held.items()
            if held.released and first <= number and (end is None or number < end)
        ]

    def _destroy(self, number: int) -> None:
        memory.wipe(self._held.pop(number).block.key)
