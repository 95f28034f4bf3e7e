"""What fidelity pairs have, by measuring some of them at both ends: never by looking at a state."""

import math
from dataclasses import dataclass, field
from enum import IntEnum

from keyweave.agent.drivers.memories import Measure, MemoryId
from keyweave.v1 import pairs_pb2 as pb


class Axis(IntEnum):
    """Along which a test measures; as PairUse numbers them."""

    X = 1
    Y = 2
    Z = 3


def along(axis: Axis, memory: MemoryId) -> Measure:
    """The command that measures so."""
    if axis is Axis.Y:
        return Measure(memory, along_y=True)
    return Measure(memory, angle_radians=math.pi / 2 if axis is Axis.X else 0.0)


@dataclass(slots=True)
class Tests:
    """Outcomes counted, since the agent started."""

    total: dict[Axis, int] = field(default_factory=lambda: dict.fromkeys(Axis, 0))
    equal: dict[Axis, int] = field(default_factory=lambda: dict.fromkeys(Axis, 0))

    def count(self, axis: Axis, *, equal: bool) -> None:
        """One test more."""
        self.total[axis] += 1
        self.equal[axis] += equal

    def next_axis(self) -> Axis:
        """The one tested least."""
        return min(Axis, key=lambda axis: self.total[axis])

    @property
    def fidelity(self) -> float | None:
        """F = (1 + <XX> - <YY> + <ZZ>) / 4, within 1/4..1; None until each axis was tested.

        Gühne and Tóth, Phys. Rep. 474, 1 (2009), section 6.2, for the Bell state Phi+.
        """
        if not all(self.total.values()):
            return None
        x, y, z = (2.0 * self.equal[axis] / self.total[axis] - 1.0 for axis in Axis)
        return min(1.0, max(0.25, (1.0 + x - y + z) / 4.0))

    def to_message(self) -> pb.PairTests:
        """For the wire."""
        return pb.PairTests(
            x_total=self.total[Axis.X],
            x_equal_total=self.equal[Axis.X],
            y_total=self.total[Axis.Y],
            y_equal_total=self.equal[Axis.Y],
            z_total=self.total[Axis.Z],
            z_equal_total=self.equal[Axis.Z],
        )
