"""From one plan to the next: what a change of intent leaves of it, and whether anything moved. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import replace

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

# Whether a stream may use a path set; without one, whether it is wanted at all.
MayUse = Callable[[StreamName, PathSet | None], bool]


def is_as_planned(view: LinkView, planned: LinkView) -> bool:
    """Whether a link is still near enough to what a plan took it to be."""
    return (
        view.takes_paths == planned.takes_paths
        and view.keeps_paths == planned.keeps_paths
        and view.link == planned.link
        and not rate_moved(view, planned)
    )


def rate_moved(view: LinkView, planned: LinkView) -> bool:
    """Whether the usable rate is too far from what was planned on."""
    return abs(view.usable_rate_bps - planned.usable_rate_bps) > RATE_CHANGE_RATIO * planned.usable_rate_bps


def pruned(plan: Plan, names: Iterable[StreamName], permitted: MayUse) -> Plan:
    """`plan` without what operators have removed or forbidden these streams since it was made."""
    streams = dict(plan.streams)
    for name in names:
        before = streams.pop(name, None)
        if before is None or not permitted(name, None):
            continue
        path_sets = tuple(s for s in before.path_sets if permitted(name, s))
        same = len(path_sets) == len(before.path_sets)
        streams[name] = before if same else replace(before, path_sets=path_sets)
    return replace(plan, streams=dict(sorted(streams.items())))


def permits(snapshot: Snapshot) -> MayUse:
    """Whether a stream is wanted at all and may use a path set, as far as operators are concerned.

    A node or link in maintenance is no reason to stop at once: paths leave it when better ones are
    established. A link that is disabled is, and so is a node that a stream must avoid.
    """

    def decide(name: StreamName, path_set: PathSet | None) -> bool:
        stream = snapshot.streams.get(name)
        return stream is not None and (
            path_set is None
            or (
                not stream.pqc_only
                and len(path_set.paths) >= stream.min_k
                and all(_may_use(stream, path, snapshot) for path in path_set.paths)
            )
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


def still_holds(
    name: StreamName, planned: StreamPlan, basis: Snapshot, previous: Plan, snapshot: Snapshot, current: Plan
) -> bool:
    """Whether what was planned for a stream on an older snapshot may still be adopted.

    Not if the operator changed the stream, or a repair moved it meanwhile: they know better. Nor if a link
    has been forbidden or taken into maintenance, or one has failed that it would run over; a backup may as
    well be broken as another.
    """
    permitted = permits(snapshot)
    return (
        snapshot.streams.get(name) is basis.streams.get(name)
        and current.streams.get(name) is previous.streams.get(name)
        and all(permitted(name, path_set) for path_set in planned.path_sets)
        and not any(_rests(path, snapshot) for path_set in planned.path_sets for path in path_set.paths)
        and all(
            snapshot.links[link].keeps_paths
            for path_set in planned.path_sets
            if path_set.rank == 0
            for path in path_set.paths
            for link in path.links
        )
    )


def _rests(path: Path, snapshot: Snapshot) -> bool:
    """Whether maintenance has come since over what the path crosses; nothing is placed there any more."""
    return any(snapshot.links[link].link.maintenance for link in path.links) or any(
        snapshot.nodes[node].maintenance for node in path.trusted_nodes
    )


def changed_streams(before: Plan, after: Plan) -> list[StreamName]:
    """The streams of which the plans do not hold the very same, in order: a repair hands on the others."""
    former = before.streams
    changed = [name for name, plan in after.streams.items() if former.get(name) is not plan]
    if len(former) + len(changed) > len(after.streams):
        changed += [name for name in former if name not in after.streams]
    return sorted(changed)


def moved_streams(before: Plan, after: Plan) -> tuple[StreamName, ...]:
    """The streams whose paths or shortcomings differ, or whose rates do by more than is worth a push."""
    return tuple(
        name
        for name in changed_streams(before, after)
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
