"""The faults of one link or node as they come and go: those of the timeline, and those of operators."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from keyweave.emulator.faults import Fault, add_up
from keyweave.emulator.physics.model import UNDISTURBED


@dataclass(frozen=True, slots=True)
class Begun:
    """A fault in force."""

    fault: Fault
    since_unix_nanos: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What a step in time began and ended."""

    began: tuple[Fault, ...] = ()
    ended: tuple[Fault, ...] = ()


NO_CHANGES = Changes()


class FaultBook:
    """Moves on with the scenario's time. The faults in force add up in `disturbance`."""

    def __init__(self, planned: Iterable[Fault] = ()) -> None:
        self._waiting = deque(sorted(planned, key=lambda fault: fault.begins_seconds))
        self._begun: list[Begun] = []
        # Of the scenario, from its start.
        self.elapsed_seconds = 0.0
        self.disturbance = UNDISTURBED

    def advance(self, until: float, now_nanos: int) -> Changes:
        """Go on from where it stood to `until`, in seconds of the scenario."""
        since, self.elapsed_seconds = self.elapsed_seconds, until
        if not self._begun and not (self._waiting and self._waiting[0].begins_seconds < until):
            return NO_CHANGES
        ended = tuple(begun.fault for begun in self._begun if begun.fault.ends_seconds <= since)
        self._begun = [begun for begun in self._begun if begun.fault.ends_seconds > since]
        began = []
        while self._waiting and self._waiting[0].begins_seconds < until:
            fault = self._waiting.popleft()
            began.append(fault)
            self._begun.append(Begun(fault, now_nanos))
        self._sum_up()
        return Changes(tuple(began), ended)

    def inject(self, fault: Fault, now_nanos: int) -> None:
        """An operator brings a fault about; it takes the place of an operator's older one of its kind."""

        def stays(older: Fault) -> bool:
            return older.planned or (older.kind, older.peer) != (fault.kind, fault.peer)

        self._begun = [begun for begun in self._begun if stays(begun.fault)]
        self._begun.append(Begun(fault, now_nanos))
        self._sum_up()

    def end_all(self) -> tuple[Begun, ...]:
        """Mend everything that is in force, the timeline's faults too; returns what ended."""
        ended = self.in_force()
        self._begun.clear()
        self._sum_up()
        return ended

    def in_force(self) -> tuple[Begun, ...]:
        """The faults, oldest first."""
        return tuple(sorted(self._begun, key=lambda begun: begun.since_unix_nanos))

    def _sum_up(self) -> None:
        self.disturbance = add_up((begun.fault for begun in self._begun), self.elapsed_seconds)
