"""All links as telemetry shows them now, and when that can next change by itself. Pure; owned by the core."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from keyweave.common.names import LinkName, NodeName
from keyweave.common.quantities import MAX_DETECTORS
from keyweave.controller.estimate import estimate
from keyweave.controller.estimate.estimate import EndEvent, LinkEstimate, LinkLimits, LinkTrack
from keyweave.controller.samples import DetectorColumns, EndSamples, joined
from keyweave.controller.topology import Link, LinkView
from keyweave.v1 import agent_pb2

# A link is judged at once when what came in may change its condition, else with the next message after so
# long. What comes in meanwhile waits, and its rows are folded together: the more there is, the less each
# message costs. What shows only over many rows is seen so much later at most; agents report every 0.2 s, and
# rates are planned on every 5 s.
JUDGE_SECONDS = 1.0
# Batches of one end that wait at most.
MOST_WAITING = 64


@dataclass(slots=True)
class Waiting:
    """Batches of one end that follow each other, and when the last one came."""

    batches: list[EndSamples]
    seen_at: float


@dataclass(slots=True)
class LinkEntry:
    """One link: intent, what was measured, what is made of it."""

    link: Link
    limits: LinkLimits
    track: LinkTrack
    estimate: LinkEstimate
    deadline: float | None
    # Whether an end has been heard of since the controller started.
    reported: bool = False
    # When the book will look at the deadline; in the past if it will not.
    alarm: float = -math.inf

    # What the ends sent since the link was judged.
    waiting: dict[NodeName, Waiting] = field(default_factory=dict)
    # What each end's detectors last told, by their names.
    detectors: dict[NodeName, dict[str, DetectorColumns]] = field(default_factory=dict)

    @property
    def view(self) -> LinkView:
        """As planning sees it."""
        return self.estimate.view(self.link)

    def is_due(self, now: float) -> bool:
        """Whether the link was not judged for so long that the next message is reason enough."""
        # A controller that has just started waits for every link's first figures.
        return now >= self.track.assessed_at + JUDGE_SECONDS or not self.estimate.settled

    def is_urgent(self, samples: EndSamples) -> bool:
        """Whether these samples may change the link's condition, so that it must be judged at once."""
        end = self.track.end(samples.node)
        return samples.status is not end.status or (
            samples.highest_qber_ratio >= self.limits.degraded_qber_ratio
        )

    def note_detectors(self, samples: EndSamples) -> None:
        """Keep what an end's detectors told last; names beyond as many as an end may have are passed over."""
        known = self.detectors.setdefault(samples.node, {})
        for detector in samples.detectors:
            if detector.detector in known or len(known) < MAX_DETECTORS:
                known[detector.detector] = detector

    def fold(self) -> None:
        """Put what waits into the track."""
        for waiting in self.waiting.values():
            samples = joined(waiting.batches)
            self.track = estimate.observe(self.track, samples, self.limits, waiting.seen_at)
        self.waiting.clear()


@dataclass(frozen=True, slots=True)
class LinkChange:
    """What a fresh assessment made of a link, and what was made of it before."""

    link: Link
    before: LinkEstimate
    after: LinkEstimate


class LinkBook:
    """Tracks and estimates by link."""

    def __init__(self, limits: LinkLimits) -> None:
        self._limits = limits
        self._entries: dict[LinkName, LinkEntry] = {}
        # A heap of times at which to look at a link's deadline. Most are put off by every message, so a
        # time here may be too early (it is then set anew) or of a link that is gone.
        self._alarms: list[tuple[float, LinkName]] = []

    def __iter__(self) -> Iterator[LinkName]:
        return iter(sorted(self._entries))

    def __contains__(self, name: LinkName) -> bool:
        return name in self._entries

    def __getitem__(self, name: LinkName) -> LinkEntry:
        return self._entries[name]

    def find(self, name: LinkName) -> LinkEntry | None:
        """The link of this name, if there is one."""
        return self._entries.get(name)

    def put(self, link: Link, now: float) -> None:
        """A link is new or its description has changed; what was measured stays if its ends do."""
        limits = self._limits.of(link)
        former = self._entries.get(link.name)
        if former is not None and (former.link.a, former.link.b) == (link.a, link.b):
            track, reported = former.track, former.reported
        else:
            track, reported = estimate.fresh(link.name, link.a, link.b, now), False
        track, first = estimate.assess(track, limits, now)
        deadline = estimate.next_deadline(track, limits)
        entry = self._entries[link.name] = LinkEntry(link, limits, track, first, deadline, reported)
        self._set_alarm(entry)

    def remove(self, name: LinkName) -> None:
        """The link is gone."""
        self._entries.pop(name, None)

    def ends_at(self, name: LinkName, node: NodeName) -> bool:
        """Whether there is such a link and it ends at `node`."""
        entry = self._entries.get(name)
        return entry is not None and node in (entry.link.a, entry.link.b)

    def observe(self, samples: EndSamples, now: float) -> bool:
        """An end measured something. Whether the link should be judged now."""
        entry = self._entries[samples.link]
        entry.reported = True
        if samples.detectors:
            entry.note_detectors(samples)
        waiting = entry.waiting.get(samples.node)
        if waiting is None:
            waiting = entry.waiting[samples.node] = Waiting([], now)
        elif len(waiting.batches) >= MOST_WAITING or not waiting.batches[-1].is_continued_by(samples):
            entry.fold()
            waiting = entry.waiting[samples.node] = Waiting([], now)
        waiting.batches.append(samples)
        waiting.seen_at = now
        return entry.is_due(now) or entry.is_urgent(samples)

    def report(self, name: LinkName, kind: EndEvent, node: NodeName, reason: str, now: float) -> None:
        """An end reported that something happened to the link."""
        entry = self._entries[name]
        entry.fold()
        entry.track = estimate.report(entry.track, kind, node, reason, now)
        entry.reported = True

    def fault_at(self, name: LinkName, node: NodeName) -> EndEvent | None:
        """The fault that the agent at `node` reported of its end and that is not over."""
        return self._entries[name].track.end(node).fault

    def pool(self, node: NodeName, level: agent_pb2.PoolLevel, now: float) -> bool:
        """An end reported how full its pool is. Whether the link should be judged now."""
        entry = self._entries[LinkName(level.link)]
        waiting = entry.waiting.get(node)
        entry.track = estimate.pool_reported(
            entry.track,
            node,
            usable_bits=level.send_bits + level.receive_bits,
            intake_bits_total=level.intake_bits_total,
            latest=waiting.batches[-1] if waiting is not None else None,
        )
        return entry.is_due(now)

    def assess(self, name: LinkName, now: float) -> LinkChange:
        """Judge the link by all that is known of it now."""
        entry = self._entries[name]
        before = entry.estimate
        entry.fold()
        entry.track, entry.estimate = estimate.assess(entry.track, entry.limits, now)
        entry.deadline = estimate.next_deadline(entry.track, entry.limits)
        # A deadline that was put off is found out when the alarm goes; only an earlier one needs its own.
        if entry.deadline is not None and not now < entry.alarm <= entry.deadline:
            self._set_alarm(entry)
        return LinkChange(entry.link, before, entry.estimate)

    def due(self, now: float) -> list[LinkName]:
        """Links whose condition may have changed because time went by."""
        names = []
        while self._alarms and self._alarms[0][0] <= now:
            time, name = heapq.heappop(self._alarms)
            entry = self._entries.get(name)
            if entry is None or entry.deadline is None or entry.alarm != time:
                continue
            if entry.deadline <= now:
                names.append(name)
            else:
                # What came in meanwhile has put it off.
                self._set_alarm(entry)
        return names

    def next_deadline(self) -> float | None:
        """When to ask again what is due: at or before a link's condition can next change by itself."""
        return self._alarms[0][0] if self._alarms else None

    def _set_alarm(self, entry: LinkEntry) -> None:
        if entry.deadline is not None:
            entry.alarm = entry.deadline
            heapq.heappush(self._alarms, (entry.deadline, entry.link.name))

    def all_reported(self) -> bool:
        """Whether every link has been heard of since the controller started, enough to plan by."""
        return all(
            entry.link.disabled or (entry.reported and entry.estimate.settled)
            for entry in self._entries.values()
        )

    def views(self) -> dict[LinkName, LinkView]:
        """All links as planning sees them."""
        return {name: self._entries[name].view for name in self}
