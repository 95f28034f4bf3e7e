"""A plan and how far the network has followed it: the rules of make-before-break. Pure.

Level-triggered: what an end may use follows from what nodes have acknowledged, never from the order of
past messages. Streams are independent of each other here, so one that changes costs what it alone costs.

* A path is *established* once every node on it has acknowledged a policy that carries it. An end may
  draw keys over a path set only if all its paths are established.
* A set that left the plan is *retiring*. It is held, that is, the ends go on using it, until all sets
  that the plan wants used first (rank 0) are established: otherwise a stream would be without a path
  for a moment, or for as long as one node refuses its new policy. It is not held if the stream's own
  constraints now forbid it, or if the plan has no path for the stream at all.
* The nodes on a retiring path keep carrying it until neither end can be using it any more.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from keyweave.common.names import NodeName, PathId, StreamName
from keyweave.controller.topology import Path, PathSet, Plan, StreamPlan


@dataclass(frozen=True, slots=True)
class RetiringSet:
    """A path set that left the plan, and whether the ends may go on using it for now."""

    path_set: PathSet
    may_be_held: bool = True


@dataclass(frozen=True, slots=True)
class StreamRollout:
    """One stream's plan, None where it has none any more, and how far it is followed."""

    stream: StreamName
    plan: StreamPlan | None = None
    retiring: tuple[RetiringSet, ...] = ()
    # Planned or retiring paths that every node on them carries.
    established: frozenset[PathId] = frozenset()

    @property
    def planned_sets(self) -> tuple[PathSet, ...]:
        """The path sets of the plan, best first."""
        return self.plan.path_sets if self.plan else ()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to say of the stream."""
        return self.plan is None and not self.retiring

    def has_rules_of(self, other: "StreamRollout") -> bool:
        """Whether nothing differs but what is said of the plan."""
        if self.plan is None or other.plan is None:
            return self == other
        return other == replace(
            self, plan=replace(self.plan, reason=other.plan.reason, unmet=other.plan.unmet)
        )

    def paths(self) -> tuple[Path, ...]:
        """All paths, planned first, each once, in a fixed order."""
        found: dict[PathId, Path] = {}
        for path_set in self.planned_sets:
            for path in path_set.paths:
                found.setdefault(path.path_id, path)
        for retiring in self.retiring:
            for path in retiring.path_set.paths:
                found.setdefault(path.path_id, path)
        return tuple(found.values())

    def ends(self) -> frozenset[NodeName]:
        """The nodes that may draw keys over the paths."""
        return frozenset(node for path in self.paths() for node in (path.nodes[0], path.nodes[-1]))

    def usable_sets(self) -> tuple[PathSet, ...]:
        """What the stream's ends may draw keys over, best first."""
        usable = [path_set for path_set in self.planned_sets if self.is_established(path_set)]
        usable += [retiring.path_set for retiring in self.retiring if self.is_held(retiring)]
        return tuple(sorted(usable, key=lambda path_set: path_set.rank))

    def is_held(self, retiring: RetiringSet) -> bool:
        """Whether the ends go on using this set because better is not there yet."""
        return (
            retiring.may_be_held
            and self.is_established(retiring.path_set)
            and any(s.rank == 0 and not self.is_established(s) for s in self.planned_sets)
        )

    def is_established(self, path_set: PathSet) -> bool:
        """Whether every node on every path of the set carries it."""
        return all(path.path_id in self.established for path in path_set.paths)

    def following(
        self, plan: StreamPlan | None, may_be_held: Callable[[StreamName, PathSet], bool]
    ) -> "StreamRollout":
        """This, from now on by `plan`; sets that it does not have begin to retire.

        `may_be_held` says whether the stream may still use a set until its new paths are established.
        """
        seen = {set_key(path_set) for path_set in (plan.path_sets if plan else ())}
        retiring: list[RetiringSet] = []
        for path_set in (*self.planned_sets, *(former.path_set for former in self.retiring)):
            if set_key(path_set) not in seen:
                seen.add(set_key(path_set))
                retiring.append(RetiringSet(path_set, may_be_held(self.stream, path_set)))
        return replace(self, plan=plan, retiring=tuple(retiring))

    def caught_up(
        self,
        is_carried: Callable[[Path], bool],
        is_used: Callable[[Path], bool],
        looked_at: Collection[PathId] | None = None,
    ) -> "StreamRollout":
        """This, brought up to what agents have acknowledged; itself if nothing has changed.

        `is_carried`: every node on the path carries it. `is_used`: an end may be drawing keys over it. Only
        paths `looked_at` (all without it) may have begun or ceased to be carried.
        """
        known, before = looked_at, self.established
        established = frozenset(
            path.path_id
            for path in self.paths()
            if (is_carried(path) if known is None or path.path_id in known else path.path_id in before)
        )
        current = self if established == self.established else replace(self, established=established)
        if not self.retiring:
            return current
        planned = {path.path_id for path_set in self.planned_sets for path in path_set.paths}
        retiring = tuple(
            former
            for former in self.retiring
            if current.is_held(former)
            or any(path.path_id not in planned and is_used(path) for path in former.path_set.paths)
        )
        if len(retiring) == len(self.retiring):
            return current
        current = replace(current, retiring=retiring)
        left = {path.path_id for path in current.paths()}
        return replace(current, established=established & left)


@dataclass(frozen=True, slots=True)
class RolloutChange:
    """What the store must learn: the streams that changed, None for those that are over."""

    version: int
    snapshot_version: int
    epoch: int
    streams: Mapping[StreamName, StreamRollout | None]


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the store keeps across restarts."""

    # Of the plan.
    version: int = 0
    snapshot_version: int = 0
    # Epoch of the controller that wrote this down.
    epoch: int = 0
    streams: Mapping[StreamName, StreamRollout] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """The plan that it follows."""
        streams = {name: one.plan for name, one in self.streams.items() if one.plan is not None}
        return Plan(self.version, self.snapshot_version, streams)

    def after(self, change: RolloutChange) -> "Rollout":
        """This with a change written down."""
        streams = {**self.streams, **change.streams}
        return Rollout(
            change.version,
            change.snapshot_version,
            change.epoch,
            {name: one for name, one in sorted(streams.items()) if one is not None},
        )


def set_key(path_set: PathSet) -> frozenset[PathId]:
    """What makes two path sets the same whatever their rank and rate."""
    return frozenset(path.path_id for path in path_set.paths)
