"""When to plan, and what becomes of a plan: repairs at once, everything in the background. Pure.

Two speeds. A *repair* moves the streams that a broken link leaves with nothing, within the stimulus that told
of it; those that their agents carry on over backups they hold are left to them until everything is planned.
The *optimiser* plans all streams elsewhere, for as long as it takes, on the network as it was when it
began; what it answers is adopted stream by stream, as far as it still holds, a slice at a time, so that
neither its work nor its result ever holds up a repair.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.estimate.estimate import LinkLimits
from keyweave.controller.instructions import Optimise
from keyweave.controller.reconcile.homes import Homes
from keyweave.controller.reconcile.plan_changes import (
    is_as_planned,
    moved_streams,
    rate_moved,
    still_holds,
)
from keyweave.controller.topology import Held, LinkView, Plan, Snapshot

# Streams that are adopted from the optimiser's plan before other stimuli have their turn.
SLICE_STREAMS = 200


class Planner(Protocol):
    """Step 4 as far as it runs in the core; see `routing`. Optimising is an instruction."""

    def repair(
        self,
        snapshot: Snapshot,
        previous: Plan,
        changed_links: frozenset[LinkName],
        version: int,
        *,
        held: Held,
    ) -> Plan:
        """Route anew what a change of these links touched and agents cannot carry on with what they hold."""
        ...


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """Times that the core keeps."""

    warmup_seconds: float = 20.0
    # How long changes are gathered before they are planned together.
    gather_seconds: float = 0.1
    # After a repair, how long until everything is planned with the links that are left.
    rebalance_seconds: float = 1.0
    # Least time between plans for the sake of rates that drift.
    drift_seconds: float = 5.0
    links: LinkLimits = field(default_factory=LinkLimits)


@dataclass(slots=True)
class _Optimising:
    """A plan of everything: what it was asked on, and, once it is there, what is still to be adopted."""

    asked: Optimise
    plan: Plan | None = None
    waiting: deque[StreamName] = field(default_factory=deque)
    # Links that broke since it was asked for: repairs know better.
    broken: set[LinkName] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Step:
    """A plan to adopt now, and the streams in which it differs from the one before."""

    plan: Plan
    changed: tuple[StreamName, ...]


class Planning:
    """What is planned on, what is broken, and what is under way."""

    def __init__(self, settings: CoreSettings, planner: Planner, plan_version: int) -> None:
        self._settings = settings
        self._planner = planner
        self._version = plan_version
        self._plan_at: float | None = None
        self._broken: set[LinkName] = set()
        # Links as the plan in force took them to be.
        self._planned_on: dict[LinkName, LinkView] = {}
        # Links as a repair takes them to be: as planned on, where they are still near enough to it, so that
        # estimates that breathe make no link look overbooked.
        self._ground: dict[LinkName, LinkView] = {}
        self._optimising: _Optimising | None = None
        self.homes = Homes()
        self._number = 0

    # ---- when ------------------------------------------------------------------------------------

    def plan_by(self, time: float) -> None:
        """Everything is to be planned at this time or before."""
        self._plan_at = time if self._plan_at is None else min(time, self._plan_at)

    def intent_changed(self, now: float) -> None:
        """Operators want something else."""
        self.plan_by(now + self._settings.gather_seconds)

    def judged(self, view: LinkView, now: float) -> None:
        """A link was looked at."""
        name = view.link.name
        planned = self._planned_on.get(name)
        if planned is None or planned.takes_paths != view.takes_paths:
            self.plan_by(now + self._settings.gather_seconds)
        elif view.takes_paths and rate_moved(view, planned):
            # A link without a rate carries nothing: its first one is worth more than a drifting one.
            drifts = planned.usable_rate_bps > 0
            self.plan_by(now + (self._settings.drift_seconds if drifts else self._settings.gather_seconds))
        if not view.keeps_paths and (planned is None or planned.keeps_paths):
            self._broken.add(name)
        is_near = planned is not None and is_as_planned(view, planned)
        self._ground[name] = planned if planned is not None and is_near else view

    def removed(self, name: LinkName) -> None:
        """A link is gone; streams that ran over it have been pruned."""
        self._broken.discard(name)
        for links in (self._planned_on, self._ground):
            links.pop(name, None)

    @property
    def deadline(self) -> float | None:
        """When there is something to do though nothing happens; None while the optimiser is at it."""
        if self._optimising is None:
            return self._plan_at
        return 0.0 if self._optimising.waiting else None

    def is_due(self, now: float) -> bool:
        """Whether there is a plan to adopt or to ask for; without it no snapshot need be made."""
        if self._optimising is not None:
            return self._optimising.plan is not None
        return self._plan_at is not None and self._plan_at <= now

    # ---- repairs ---------------------------------------------------------------------------------

    @property
    def needs_repair(self) -> bool:
        """Whether links broke whose streams have not been moved."""
        return bool(self._broken)

    @property
    def ground(self) -> Mapping[LinkName, LinkView]:
        """Links as a repair takes them to be."""
        return self._ground

    def repair(self, ground: Snapshot, plan: Plan, now: float, held: Held) -> Plan:
        """Move what broken links leave with nothing, and have everything planned with those that are left."""
        broken = frozenset(self._broken)
        self._broken.clear()
        for name in broken:
            self._planned_on[name] = ground.links[name]
        if self._optimising is not None:
            self._optimising.broken |= broken
        self.plan_by(now + self._settings.rebalance_seconds)
        return self._planner.repair(ground, plan, broken, self._next_version(plan), held=held)

    # ---- the optimiser ---------------------------------------------------------------------------

    def optimise_if_due(self, snapshot: Snapshot, plan: Plan, now: float) -> Optimise | None:
        """Ask for a plan of everything, if it is time and none is under way."""
        if self._plan_at is None or self._plan_at > now or self._optimising is not None:
            return None
        self._plan_at = None
        self._number += 1
        self.homes.give_up(now)
        asked = Optimise(self._number, snapshot, plan, self.homes.ready(snapshot))
        self._optimising = _Optimising(asked)
        return asked

    def optimised(self, number: int, plan: Plan, snapshot: Snapshot) -> tuple[StreamName, ...]:
        """The plan is there; the streams it moves, links being as `snapshot` has them."""
        under_way = self._optimising
        if under_way is None or under_way.asked.number != number or under_way.plan is not None:
            return ()
        under_way.plan = plan
        for stream in under_way.asked.home:
            self.homes.forget(stream)
        moved = moved_streams(under_way.asked.previous, plan)
        under_way.waiting.extend(moved)
        for name, view in under_way.asked.snapshot.links.items():
            present = snapshot.links.get(name)
            if present is not None and name not in under_way.broken:
                self._planned_on[name] = view
                self._ground[name] = view if is_as_planned(present, view) else present
        return moved

    def next_step(self, snapshot: Snapshot, current: Plan) -> Step | None:
        """Adopt the next streams of an optimised plan that still hold; None if there is nothing to adopt."""
        under_way = self._optimising
        if under_way is None or under_way.plan is None:
            return None
        asked, fresh = under_way.asked, under_way.plan
        changed: dict[StreamName, None] = {}
        streams = dict(current.streams)
        while under_way.waiting and len(changed) < SLICE_STREAMS:
            name = under_way.waiting.popleft()
            planned = fresh.streams.get(name)
            # Whatever it does not hold for has a plan of everything coming: the change that undid it asked.
            if planned is not None and still_holds(
                name, planned, asked.snapshot, asked.previous, snapshot, current
            ):
                streams[name] = planned
                changed[name] = None
        if not under_way.waiting:
            self._optimising = None
        if not changed:
            return None
        if len(streams) > len(current.streams):
            streams = dict(sorted(streams.items()))
        return Step(Plan(self._next_version(current), asked.snapshot.version, streams), tuple(changed))

    def _next_version(self, plan: Plan) -> int:
        self._version = max(self._version, plan.version) + 1
        return self._version
