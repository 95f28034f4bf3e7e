"""A test of the Bell inequality of Clauser, Horne, Shimony and Holt (Phys. Rev. Lett. 23, 880 (1969)).

Each end chooses one of two axes at random for every pair. S = E00 + E01 + E10 - E11 is at most 2 for whatever
was agreed beforehand, and 2 sqrt(2) for Phi+ along these axes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from keyweave.agent.drivers.memories import Measure, MemoryId

# From Z towards X.
SOURCE_ANGLES = (0.0, math.pi / 2)
TARGET_ANGLES = (math.pi / 4, -math.pi / 4)


def measure(memory: MemoryId, setting: int, *, is_source: bool) -> Measure:
    """The command that measures so."""
    return Measure(memory, (SOURCE_ANGLES if is_source else TARGET_ANGLES)[setting])


@dataclass(slots=True)
class BellTest:
    """One test under way at the source, or over."""

    wanted: int
    pairs: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    equal: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    # Called once, with the last pair wanted.
    on_finished: Callable[[], None] = lambda: None

    def count(self, source_setting: int, target_setting: int, *, equal: bool) -> None:
        """One pair more; what comes after the last one wanted is left out."""
        if self.finished:
            return
        place = 2 * source_setting + target_setting
        self.pairs[place] += 1
        self.equal[place] += equal
        if sum(self.pairs) == self.wanted:
            self.on_finished()

    @property
    def finished(self) -> bool:
        """Whether there were as many as wanted."""
        return sum(self.pairs) >= self.wanted

    @property
    def s(self) -> float | None:
        """The sum of correlations; None until each choice of axes was made."""
        if not all(self.pairs):
            return None
        e = [2.0 * equal / pairs - 1.0 for equal, pairs in zip(self.equal, self.pairs, strict=True)]
        return e[0] + e[1] + e[2] - e[3]
