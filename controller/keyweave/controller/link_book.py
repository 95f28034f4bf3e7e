"""All links as telemetry shows them now, and when that can next change by itself. Pure; owned by the core."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from keyweave.common.names import LinkName, NodeName
from keyweave.controller import estimate
from keyweave.controller.estimate import EndEvent, LinkEstimate, LinkLimits, LinkTrack
from keyweave.controller.samples import EndSamples
from keyweave.controller.topology import Link, LinkView
from keyweave.v1 import agent_pb2


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

    @property
    def view(self) -> LinkView:
        """As planning sees it."""
        return self.estimate.view(self.link)


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

    def __iter__(self) -> Iterator[LinkName]:
        return iter(sorted(self._entries))

    def __contains__(self, name: LinkName) -> bool:
        return name in self._entries

    def __getitem__(self, name: LinkName) -> LinkEntry:
        return self._entries[name]

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
        self._entries[link.name] = LinkEntry(link, limits, track, first, deadline, reported)

    def remove(self, name: LinkName) -> None:
        """The link is gone."""
        self._entries.pop(name, None)

    def ends_at(self, name: LinkName, node: NodeName) -> bool:
        """Whether there is such a link and it ends at `node`."""
        entry = self._entries.get(name)
        return entry is not None and node in (entry.link.a, entry.link.b)

    def observe(self, samples: EndSamples, now: float) -> None:
        """An end measured something."""
        self._update(samples.link, lambda e: estimate.observe(e.track, samples, e.limits, now))

    def report(self, name: LinkName, kind: EndEvent, node: NodeName, reason: str, now: float) -> None:
        """An end reported that something happened to the link."""
        self._update(name, lambda e: estimate.report(e.track, kind, node, reason, e.limits, now))

    def pool(self, node: NodeName, level: agent_pb2.PoolLevel, now: float) -> None:
        """An end reported how full its pool is."""
        bits = level.send_bits + level.receive_bits
        name = LinkName(level.link)
        entry = self._entries[name]
        entry.track = estimate.agree_intake(entry.track, node, level.intake_bits_total, bits, now)

    def _update(self, name: LinkName, change: Callable[[LinkEntry], LinkTrack]) -> None:
        entry = self._entries[name]
        entry.track = change(entry)
        entry.reported = True

    def assess(self, name: LinkName, now: float) -> LinkChange:
        """Judge the link by all that is known of it now."""
        entry = self._entries[name]
        before = entry.estimate
        entry.track, entry.estimate = estimate.assess(entry.track, entry.limits, now)
        entry.deadline = estimate.next_deadline(entry.track, entry.limits)
        return LinkChange(entry.link, before, entry.estimate)

    def due(self, now: float) -> list[LinkName]:
        """Links whose condition may have changed because time went by."""
        return [name for name in self if (d := self._entries[name].deadline) is not None and d <= now]

    def next_deadline(self) -> float | None:
        """When a link's condition can next change because time went by."""
        return min((e.deadline for e in self._entries.values() if e.deadline is not None), default=None)

    def all_reported(self) -> bool:
        """Whether every link has been heard of since the controller started, enough to plan by."""
        return all(
            entry.link.disabled or (entry.reported and entry.estimate.settled)
            for entry in self._entries.values()
        )

    def views(self) -> dict[LinkName, LinkView]:
        """All links as planning sees them."""
        return {name: self._entries[name].view for name in self}
