"""What operators have planned for certain times: maintenance windows and key refresh schedules. Pure.

Times are Unix seconds, handed in; times of day are UTC.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.topology import Stream

DAY_SECONDS = 86_400.0


class Phase(StrEnum):
    """How far a maintenance window is."""

    PLANNED = "planned"
    # Streams leave, and nothing new is placed on what will be out of use.
    LEAVING = "leaving"
    UNDER_WAY = "under way"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which links and nodes are out of use."""

    name: str
    links: frozenset[LinkName]
    nodes: frozenset[NodeName]
    start: float
    end: float
    lead_seconds: float = 0.0
    reason: str = ""

    @property
    def leaves_at(self) -> float:
        """When streams begin to leave."""
        return self.start - self.lead_seconds

    def phase(self, now: float) -> Phase:
        """How far it is."""
        if now >= self.end:
            return Phase.OVER
        if now >= self.start:
            return Phase.UNDER_WAY
        return Phase.LEAVING if now >= self.leaves_at else Phase.PLANNED

    def rests(self, now: float) -> bool:
        """Whether what it names is out of use: from when streams leave until the end."""
        return self.leaves_at <= now < self.end

    def overlaps(self, other: "Window") -> bool:
        """Whether there is a moment at which both keep something out of use."""
        return self.leaves_at < other.end and other.leaves_at < self.end

    def next_change(self, now: float) -> float | None:
        """When it enters its next phase; None once it is over."""
        return min(
            (moment for moment in (self.leaves_at, self.start, self.end) if moment > now), default=None
        )


def combinations(window: Window, others: Iterable[Window]) -> list[tuple[Window, ...]]:
    """Which of the others are at work together with `window` at some moment of it; each combination once."""
    near = sorted((one for one in others if one.overlaps(window)), key=lambda one: (one.leaves_at, one.name))
    moments = {window.leaves_at, *(one.leaves_at for one in near), *(one.end for one in near)}
    found = {
        tuple(one for one in near if one.rests(moment)): None
        for moment in sorted(moments)
        if window.rests(moment)
    }
    return list(found)


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """From one second of the day to another; over midnight where the end is not after the start."""

    start: int
    end: int

    def holds(self, now: float) -> bool:
        """Whether it is such a time."""
        second = now % DAY_SECONDS
        if self.start < self.end:
            return self.start <= second < self.end
        return second >= self.start or second < self.end

    def next_change(self, now: float) -> float:
        """When that changes."""
        midnight = now - now % DAY_SECONDS
        moments = (midnight + day * DAY_SECONDS + edge for day in (0, 1) for edge in (self.start, self.end))
        return min(moment for moment in moments if moment > now)

    def overlaps(self, other: "TimeOfDay") -> bool:
        """Whether some time of day is in both."""
        return self.holds(other.start) or other.holds(self.start)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often streams of a tenant and application class make fresh keys. 0 and empty leave it open."""

    name: str
    tenant: str = ""
    application_class: str = ""
    refresh_seconds: int = 0
    key_ttl_seconds: int = 0
    # Empty means always.
    times: tuple[TimeOfDay, ...] = ()

    def holds(self, now: float) -> bool:
        """Whether its time is now."""
        return not self.times or any(time.holds(now) for time in self.times)

    def next_change(self, now: float) -> float | None:
        """When it may next begin or cease to hold."""
        return min((time.next_change(now) for time in self.times), default=None)

    def covers(self, stream: Stream) -> bool:
        """Whether it is about this stream."""
        return self.tenant in ("", stream.tenant) and self.application_class in ("", stream.application_class)

    @property
    def rank(self) -> tuple[bool, bool, bool, str]:
        """Sorts the more specific first: by tenant, then by class, then with times of day."""
        return (not self.tenant, not self.application_class, not self.times, self.name)

    def rivals(self, other: "Schedule") -> bool:
        """Whether neither is more specific than the other, and there is a time at which both hold."""
        same = (self.tenant, self.application_class) == (other.tenant, other.application_class)
        if not same or bool(self.times) != bool(other.times):
            return False
        return not self.times or any(one.overlaps(two) for one in self.times for two in other.times)


def by_schedule(stream: Stream, in_force: Sequence[Schedule]) -> Stream:
    """`stream` as the operator described it, with what it leaves open from schedules, most specific first."""
    mine = [one for one in in_force if one.covers(stream)]
    if stream.refresh_from != "stream":
        chosen = next((one for one in mine if one.refresh_seconds), None)
        if chosen is not None:
            whence = f"schedule {chosen.name}"
            stream = replace(stream, refresh_seconds=chosen.refresh_seconds, refresh_from=whence)
    if stream.key_ttl_from != "stream":
        chosen = next((one for one in mine if one.key_ttl_seconds), None)
        if chosen is not None:
            whence = f"schedule {chosen.name}"
            stream = replace(stream, key_ttl_seconds=chosen.key_ttl_seconds, key_ttl_from=whence)
    return stream
