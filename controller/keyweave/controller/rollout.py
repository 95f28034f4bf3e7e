"""A plan and how far the network has followed it: the rules of make-before-break. Pure.

Level-triggered: what an end may use follows from what nodes have acknowledged, never from the order of
past messages.

* A path is *established* once every node on it has acknowledged a policy that carries it. An end may
  draw keys over a path set only if all its paths are established.
* A set that left the plan is *retiring*. It is held, that is, the ends go on using it, until all sets
  that the plan wants used first (rank 0) are established: otherwise a stream would be without a path
  for a moment, or for as long as one node refuses its new policy. It is not held if the stream's own
  constraints now forbid it, or if the plan has no path for the stream at all.
* The nodes on a retiring path keep carrying it until neither end can be using it any more.
"""

from dataclasses import dataclass

from keyweave.common.names import PathId, StreamName
from keyweave.controller.topology import Path, PathSet, Plan


@dataclass(frozen=True, slots=True)
class RoutedPath:
    """A path and the stream it belongs to."""

    stream: StreamName
    path: Path


@dataclass(frozen=True, slots=True)
class RetiringSet:
    """A path set that left the plan, and whether the ends may go on using it for now."""

    stream: StreamName
    path_set: PathSet
    may_be_held: bool = True


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the store keeps across restarts."""

    plan: Plan
    retiring: tuple[RetiringSet, ...] = ()
    # Planned or retiring paths that every node on them carries.
    established: frozenset[PathId] = frozenset()
    # Epoch of the controller that wrote this down.
    epoch: int = 0

    def paths(self) -> tuple[RoutedPath, ...]:
        """All paths, planned first, each once, in a fixed order."""
        found: dict[PathId, RoutedPath] = {}
        for stream, path_set in (
            *((name, s) for name in sorted(self.plan.streams) for s in self.plan.streams[name].path_sets),
            *((retiring.stream, retiring.path_set) for retiring in self.retiring),
        ):
            for path in path_set.paths:
                found.setdefault(path.path_id, RoutedPath(stream, path))
        return tuple(found.values())

    def usable_sets(self, stream: StreamName) -> tuple[PathSet, ...]:
        """What the stream's ends may draw keys over, best first."""
        plan = self.plan.streams.get(stream)
        planned = plan.path_sets if plan else ()
        usable = [path_set for path_set in planned if self.is_established(path_set)]
        usable += [retiring.path_set for retiring in self.retiring if self.is_held(retiring, stream)]
        return tuple(sorted(usable, key=lambda path_set: path_set.rank))

    def is_held(self, retiring: RetiringSet, stream: StreamName) -> bool:
        """Whether the ends of `stream` go on using this set because better is not there yet."""
        plan = self.plan.streams.get(stream)
        return (
            retiring.stream == stream
            and retiring.may_be_held
            and plan is not None
            and self.is_established(retiring.path_set)
            and any(s.rank == 0 and not self.is_established(s) for s in plan.path_sets)
        )

    def is_established(self, path_set: PathSet) -> bool:
        """Whether every node on every path of the set carries it."""
        return all(path.path_id in self.established for path in path_set.paths)


def set_key(path_set: PathSet) -> frozenset[PathId]:
    """What makes two path sets the same whatever their rank and rate."""
    return frozenset(path.path_id for path in path_set.paths)
