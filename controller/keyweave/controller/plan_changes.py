"""From one plan to the next: what a change of intent leaves of it, and whether anything moved. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from keyweave.common.names import PathId, StreamName
from keyweave.controller.topology import (
    Hop,
    LinkView,
    Node,
    Path,
    PathSet,
    Plan,
    Snapshot,
    Stream,
    StreamPlan,
)

# A link whose usable rate moved by less than this share of what was planned on is not planned anew.
RATE_CHANGE_RATIO = 0.2
# Rates in two plans that differ by less than this share are the same: estimates are no better.
SAME_RATE_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class PlannedOn:
    """What a plan took a link to be."""

    takes_paths: bool
    keeps_paths: bool
    usable_rate_bps: float

    @classmethod
    def of(cls, view: LinkView) -> "PlannedOn":
        """From the link as it is now."""
        return cls(view.takes_paths, view.keeps_paths, view.usable_rate_bps)

    def rate_moved(self, view: LinkView) -> bool:
        """Whether the usable rate is too far from what was planned on."""
        return abs(view.usable_rate_bps - self.usable_rate_bps) > RATE_CHANGE_RATIO * self.usable_rate_bps


def pruned(plan: Plan, snapshot: Snapshot) -> Plan:
    """`plan` without what operators have removed or forbidden since it was made."""
    permitted = permits(snapshot)
    return replace(
        plan,
        streams={
            name: replace(
                plan.streams[name],
                path_sets=tuple(s for s in plan.streams[name].path_sets if permitted(name, s)),
            )
            for name in sorted(plan.streams.keys() & snapshot.streams.keys())
        },
    )


def permits(snapshot: Snapshot) -> Callable[[StreamName, PathSet], bool]:
    """Whether a stream may use a path set as far as operators are concerned.

    A node or link in maintenance is no reason to stop at once: paths leave it when better ones are
    established. A link that is disabled is, and so is a node that a stream must avoid.
    """

    def decide(name: StreamName, path_set: PathSet) -> bool:
        stream = snapshot.streams.get(name)
        return (
            stream is not None
            and len(path_set.paths) >= stream.min_k
            and all(_may_use(stream, path, snapshot) for path in path_set.paths)
        )

    return decide


def _may_use(stream: Stream, path: Path, snapshot: Snapshot) -> bool:
    hops, relays = len(path.hops), len(path.trusted_nodes)
    return (
        (path.nodes[0], path.nodes[-1]) == (stream.source, stream.target)
        and (stream.max_hops is None or hops <= stream.max_hops)
        and (stream.max_trusted_nodes is None or relays <= stream.max_trusted_nodes)
        and all(_may_relay(stream, snapshot.nodes.get(node)) for node in path.trusted_nodes)
        and all(_may_cross(hop, snapshot) for hop in path.hops)
    )


def _may_relay(stream: Stream, node: Node | None) -> bool:
    return (
        node is not None
        and node.name not in stream.avoid_nodes
        and (not stream.allowed_trust_domains or node.trust_domain in stream.allowed_trust_domains)
    )


def _may_cross(hop: Hop, snapshot: Snapshot) -> bool:
    view = snapshot.links.get(hop.link)
    return (
        view is not None
        and not view.link.disabled
        and {hop.from_node, hop.to_node} == {view.link.a, view.link.b}
    )


def moved_streams(before: Plan, after: Plan) -> tuple[StreamName, ...]:
    """The streams whose paths or shortcomings differ, or whose rates do by more than is worth a push."""
    return tuple(
        name
        for name in sorted(before.streams.keys() | after.streams.keys())
        if _has_moved(before.streams.get(name), after.streams.get(name))
    )


def _has_moved(before: StreamPlan | None, after: StreamPlan | None) -> bool:
    if before is None or after is None:
        return before is not after
    return (
        bool(before.unmet) != bool(after.unmet)
        or _rate_differs(before.rate_bps, after.rate_bps)
        or [(s.rank, _path_ids(s)) for s in before.path_sets]
        != [(s.rank, _path_ids(s)) for s in after.path_sets]
        or any(
            _rate_differs(old.rate_bps, new.rate_bps)
            for old, new in zip(before.path_sets, after.path_sets, strict=True)
        )
    )


def _rate_differs(before: float, after: float) -> bool:
    return abs(after - before) > SAME_RATE_RATIO * max(before, after)


def _path_ids(path_set: PathSet) -> tuple[PathId, ...]:
    return tuple(path.path_id for path in path_set.paths)
