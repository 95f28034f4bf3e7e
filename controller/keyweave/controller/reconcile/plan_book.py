"""Plans that were in force, and streams that are pinned to one of them. Pure; owned by the core."""

from collections.abc import Collection
from dataclasses import replace

from keyweave.common.names import PathId, StreamName
from keyweave.controller.events import Event, Severity
from keyweave.controller.plan_records import PlanRecord
from keyweave.controller.reconcile.plan_changes import MayUse
from keyweave.controller.topology import NO_PIN, Path, Pin, Plan, Snapshot, StreamPlan

# A plan that stands for so long is worth keeping; repairs, and slices of a larger one, are soon followed.
STANDS_SECONDS = 2.0


class PlanBook:
    """Which plan is to be kept when, and what is pinned."""

    def __init__(self) -> None:
        self.pin: Pin = NO_PIN
        # Paths as they were last kept; None before that.
        self._kept: dict[StreamName, frozenset[PathId]] | None = None
        self._keep_at: float | None = None

    # ---- what was in force -----------------------------------------------------------------------

    def adopted(self, plan: Plan, changed: Collection[StreamName], now: float) -> None:
        """A plan came into force in which these streams differ."""
        kept = self._kept
        if kept is None or any(_paths(plan.streams.get(name)) != kept.get(name) for name in changed):
            self._keep_at = now + STANDS_SECONDS

    @property
    def deadline(self) -> float | None:
        """When a plan has stood for long enough."""
        return self._keep_at

    def due(self, plan: Plan, now: float) -> PlanRecord | None:
        """The plan in force, if it has stood for long enough and its paths are others than were kept last."""
        if self._keep_at is None or now < self._keep_at:
            return None
        self._keep_at = None
        paths = {name: _paths(planned) for name, planned in plan.streams.items()}
        former, self._kept = self._kept or {}, paths
        moved = sorted(name for name in {*paths, *former} if paths.get(name) != former.get(name))
        return PlanRecord(plan, now, tuple(moved)) if moved else None

    # ---- what is pinned --------------------------------------------------------------------------

    def drop_infeasible(self, snapshot: Snapshot, permitted: MayUse, now: float) -> list[Event]:
        """Unpin streams whose pinned paths cannot be used now; they are told of."""
        if not self.pin.streams:
            return []
        why = {name: infeasible(plan, snapshot, permitted) for name, plan in self.pin.streams.items()}
        left = {name: plan for name, plan in self.pin.streams.items() if not why[name]}
        gone = [name for name in self.pin.streams if why[name]]
        version = self.pin.version
        if gone:
            self.pin = replace(self.pin, streams=left) if left else NO_PIN
        return [
            Event(
                "plan_pin_dropped",
                Severity.MINOR,
                f"stream '{name}' is no longer pinned to its paths of plan {version}: {why[name]}",
                now,
                stream=name,
                fields={"version": str(version), "reason": why[name]},
            )
            for name in gone
        ]


def infeasible(plan: StreamPlan, snapshot: Snapshot, permitted: MayUse) -> str:
    """Why a stream cannot use the paths that this plan has it use first; empty if it can."""
    sets = [path_set for path_set in plan.path_sets if path_set.rank == 0]
    if not permitted(plan.stream, None):
        return "there is no such stream any more"
    if not sets:
        return "it had no quantum path by that plan"
    for path in (path for path_set in sets for path in path_set.paths):
        if why := _closed(path, snapshot):
            return why
    if not all(permitted(plan.stream, path_set) for path_set in sets):
        return "what the stream allows, or the network, has changed since"
    return ""


def _closed(path: Path, snapshot: Snapshot) -> str:
    """What keeps a path from being used; empty if nothing does."""
    for link in path.links:
        view = snapshot.links.get(link)
        if view is None:
            return f"link '{link}' is gone"
        if not view.keeps_paths or view.link.maintenance:
            return f"link '{link}' is {'in maintenance' if view.link.maintenance else view.condition}"
    for node in path.trusted_nodes:
        if node in snapshot.nodes and snapshot.nodes[node].maintenance:
            return f"node '{node}' is in maintenance"
    return ""


def _paths(plan: StreamPlan | None) -> frozenset[PathId]:
    if plan is None:
        return frozenset()
    return frozenset(
        path.path_id for path_set in plan.path_sets if path_set.rank == 0 for path in path_set.paths
    )


def same_paths(one: Plan, other: Plan) -> bool:
    """Whether streams use the same paths first by both plans."""
    names = one.streams.keys() | other.streams.keys()
    return all(_paths(one.streams.get(name)) == _paths(other.streams.get(name)) for name in names)
