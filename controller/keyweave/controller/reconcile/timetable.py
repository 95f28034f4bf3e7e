"""What operators want, and what time makes of it: maintenance windows and refresh schedules. Pure.

Operators describe nodes, links and streams; what the rest of the core sees of them is what holds now. Owned
by the core, which hands in the time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.calendar import Phase, Schedule, Window, by_schedule
from keyweave.controller.estimate.diagnosis import moment
from keyweave.controller.event_kinds import KINDS
from keyweave.controller.events import Event, Severity
from keyweave.controller.stimuli import (
    ScheduleDeleted,
    SchedulePut,
    TimedStimulus,
    WindowDeleted,
    WindowPut,
)
from keyweave.controller.topology import Link, Node, Stream

_PHASE_NEWS: Mapping[Phase, str] = {
    Phase.LEAVING: "streams leave",
    Phase.UNDER_WAY: "has begun",
    Phase.OVER: "is over",
}


@dataclass(frozen=True, slots=True)
class Turned:
    """What holds otherwise than before, and what is told of it."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    streams: tuple[Stream, ...]
    news: tuple[Event, ...]
    # Windows that from now on keep what they name out of use.
    leaving: tuple[Window, ...]


class Timetable:
    """Everything that operators described, as it holds now."""

    def __init__(self) -> None:
        # As operators described it, and as it was last handed on.
        self._nodes: dict[NodeName, tuple[Node, Node]] = {}
        self._links: dict[LinkName, tuple[Link, Link]] = {}
        self._streams: dict[StreamName, tuple[Stream, Stream]] = {}
        self._windows: dict[str, tuple[Window, Phase]] = {}
        # Taken back while they were at work, and not yet told of.
        self._dropped: list[Window] = []
        self._schedules: dict[str, Schedule] = {}
        self._resting: tuple[Window, ...] = ()
        self._in_force: tuple[Schedule, ...] = ()
        # When something holds otherwise; the past while that is not known.
        self._next: float | None = None

    def resume(self, windows: Iterable[Window], schedules: Iterable[Schedule], now: float) -> None:
        """Begin with what the store holds; how far windows are is no news."""
        self._windows = {window.name: (window, window.phase(now)) for window in windows}
        self._schedules = {schedule.name: schedule for schedule in schedules}
        self._next = float("-inf")

    # ---- what operators describe -----------------------------------------------------------------

    def node(self, node: Node) -> Node:
        """A node was described; as it holds now."""
        held = self._node(node)
        self._nodes[node.name] = (node, held)
        return held

    def link(self, link: Link) -> Link:
        """A link was described; as it holds now."""
        held = self._link(link)
        self._links[link.name] = (link, held)
        return held

    def stream(self, stream: Stream) -> Stream:
        """A stream was described; as it holds now."""
        held = by_schedule(stream, self._in_force)
        self._streams[stream.name] = (stream, held)
        return held

    def forget(self, name: str, kind: type[Node] | type[Link] | type[Stream]) -> None:
        """It is gone."""
        if kind is Node:
            self._nodes.pop(NodeName(name), None)
        elif kind is Link:
            self._links.pop(LinkName(name), None)
        else:
            self._streams.pop(StreamName(name), None)

    def change(self, stimulus: TimedStimulus) -> None:
        """A maintenance window or a schedule was put or is gone; `turn` makes that hold."""
        match stimulus:
            case WindowPut(window):
                _, phase = self._windows.get(window.name, (window, Phase.PLANNED))
                self._windows[window.name] = (window, phase)
            case WindowDeleted(name):
                gone = self._windows.pop(name, None)
                if gone is not None and gone[1] in {Phase.LEAVING, Phase.UNDER_WAY}:
                    self._dropped.append(gone[0])
            case SchedulePut(schedule):
                self._schedules[schedule.name] = schedule
            case ScheduleDeleted(name):
                self._schedules.pop(name, None)
        self._next = float("-inf")

    # ---- what time makes of it -------------------------------------------------------------------

    @property
    def next_change(self) -> float | None:
        """When something holds otherwise though nobody changes anything."""
        return self._next

    def turn(self, now: float) -> Turned | None:
        """What holds otherwise than when it was last asked for; None if nothing does."""
        if self._next is None or now < self._next:
            return None
        news = [_told(window, Phase.OVER, now) for window in self._dropped]
        news += [
            _told(window, window.phase(now), now)
            for window, before in self._windows.values()
            if window.phase(now) not in (before, Phase.PLANNED)
        ]
        self._dropped.clear()
        windows = [window for window, _ in self._windows.values()]
        self._windows = {window.name: (window, window.phase(now)) for window in windows}
        former, self._resting = self._resting, tuple(window for window in windows if window.rests(now))
        schedules = sorted(self._schedules.values(), key=lambda one: one.rank)
        self._in_force = tuple(one for one in schedules if one.holds(now))
        moments = [one.next_change(now) for one in windows] + [one.next_change(now) for one in schedules]
        self._next = min((one for one in moments if one is not None), default=None)
        nodes = [one for one, held in self._nodes.values() if self._node(one) != held]
        links = [one for one, held in self._links.values() if self._link(one) != held]
        streams = [one for one, held in self._streams.values() if by_schedule(one, self._in_force) != held]
        return Turned(
            nodes=tuple(map(self.node, nodes)),
            links=tuple(map(self.link, links)),
            streams=tuple(map(self.stream, streams)),
            news=tuple(news),
            leaving=tuple(window for window in self._resting if window not in former),
        )

    def marked(self, event: Event) -> Event:
        """The event, marked with the window in which it was to be expected, if there is one."""
        if not self._resting or "maintenance" not in KINDS[event.kind].fields:
            return event
        for window in self._resting:
            if event.node in window.nodes or event.link in window.links or self._ends_in(event.link, window):
                return replace(event, fields={**event.fields, "maintenance": window.name})
        return event

    def _ends_in(self, link: str, window: Window) -> bool:
        known = self._links.get(LinkName(link))
        return known is not None and not window.nodes.isdisjoint((known[0].a, known[0].b))

    def _node(self, node: Node) -> Node:
        resting = any(node.name in window.nodes for window in self._resting)
        return replace(node, maintenance=True) if resting and not node.maintenance else node

    def _link(self, link: Link) -> Link:
        windows = [window for window in self._resting if link.name in window.links]
        if link.maintenance or not windows:
            return link
        last = max(windows, key=lambda window: (window.end, window.name))
        why = f"maintenance window '{last.name}' until {moment(last.end)}"
        return replace(
            link, maintenance=True, maintenance_reason=f"{why}: {last.reason}" if last.reason else why
        )


def _told(window: Window, phase: Phase, now: float) -> Event:
    about = ", ".join(
        [f"link {name}" for name in sorted(window.links)] + [f"node {name}" for name in sorted(window.nodes)]
    )
    until = "" if phase is Phase.OVER else f", until {moment(window.end)}"
    message = f"maintenance window '{window.name}' ({about}) {_PHASE_NEWS[phase]}{until}"
    fields = {
        "maintenance": window.name,
        "phase": phase.value,
        "links": ",".join(sorted(window.links)),
        "nodes": ",".join(sorted(window.nodes)),
        "reason": window.reason,
    }
    return Event("maintenance_changed", Severity.INFO, message, now, fields=fields)
