"""Step 4 for key relay: every stream gets its path sets, rates and backups, with the reasons.

Classes of priority are served in turn, highest first, each from what those before it have left; so nothing
that a lower class asks for can change what a higher one gets.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from math import inf

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing import reasons
from keyweave.controller.routing.allocate import share as share_exactly
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.grants import (
    Grant,
    Request,
    demand_of,
    granted,
    in_use,
    stream_plan,
    take,
)
from keyweave.controller.routing.network import RATE_TOLERANCE, Candidate, Terrain, scope, surviving, terrain
from keyweave.controller.routing.pricing import Pricing, Seeker
from keyweave.controller.routing.protection import Protected, backups
from keyweave.controller.routing.reasons import InUse
from keyweave.controller.routing.rough import RoughShares
from keyweave.controller.routing.trees import Trees
from keyweave.controller.topology import PathSet, Plan, Snapshot, Stream, StreamPlan

# A stream stays where it is unless moving would give it a quarter more: less is not worth the disturbance.
KEEP_RATIO = 0.8
# So many streams of a class, or this share of them, move for gain alone in one plan; those that gain most.
# Streams without a path or short of their minimum rate are not counted.
LEAST_MOVERS = 20
MOVERS_RATIO = 0.1
_MAX_KEEPING_PASSES = 8
# Keys a second for a stream of ML-KEM alone that names no rate: as agents top buffers up with.
FLOOR_KEYS_PER_SECOND = 8
# Classes of up to so many streams are shared exactly.
EXACT_STREAMS = 1000
# What the link with the least left costs on top of its hop: on no route do these add up to a hop.
_NARROWEST_HOPS = 1e-3


def plan_streams(snapshot: Snapshot, previous: Plan | None, version: int) -> Plan:
    """Route all streams. A function of its arguments alone; `previous` only decides what need not move."""
    ground = terrain(snapshot)
    trees = Trees(ground)
    earlier = previous.streams if previous is not None else {}
    left = dict(ground.capacity)
    found: list[Grant] = []
    known: dict[StreamName, tuple[Candidate, ...]] = {}
    routed = [stream for stream in snapshot.streams.values() if not stream.pqc_only]
    ordered = sorted(routed, key=lambda stream: (-stream.priority, stream.name))
    for _, members in groupby(ordered, key=lambda stream: stream.priority):
        requests = _requests(snapshot, ground, trees, members, earlier, left)
        served = _serve_class(ground, trees, requests, left, known)
        take(ground, left, served)
        found += served
    spare = _backups(snapshot, trees, found, earlier, known)
    words = InUse(snapshot, ground, left)
    plans = {
        grant.request.stream.name: stream_plan(
            snapshot, ground, left, grant, spare.get(grant.request.stream.name, ()), words
        )
        for grant in found
    }
    plans |= {stream.name: without_paths(stream) for stream in snapshot.streams.values() if stream.pqc_only}
    return Plan(version, snapshot.version, {name: plans[name] for name in sorted(plans)})


def without_paths(stream: Stream) -> StreamPlan:
    """The plan of a stream of ML-KEM alone: what it asks for, which takes nothing of any link."""
    least = max(stream.min_rate_bps, float(FLOOR_KEYS_PER_SECOND * stream.key_size_bits))
    rate = least if stream.max_rate_bps == inf else stream.max_rate_bps
    return StreamPlan(stream.name, rate, (), f"ML-KEM alone at {reasons.bps(rate)}, as pqc_only asks")


def _backups(
    snapshot: Snapshot,
    trees: Trees,
    grants: Iterable[Grant],
    earlier: Mapping[StreamName, StreamPlan],
    known: Mapping[StreamName, tuple[Candidate, ...]],
) -> dict[StreamName, tuple[PathSet, ...]]:
    """The backups of all streams that are given something."""
    protected = [
        Protected(
            grant.request.stream,
            grant.request.finder,
            tuple(one for one, _ in grant.sets),
            tuple(p for p in earlier[name].path_sets if p.rank > 0) if name in earlier else (),
            known.get(name, ()),
        )
        for grant in grants
        if grant.sets and (name := grant.request.stream.name)
    ]
    found = backups(snapshot, trees, protected)
    return {one.stream.name: sets for one, sets in zip(protected, found, strict=True)}


def _requests(
    snapshot: Snapshot,
    ground: Terrain,
    trees: Trees,
    streams: Iterable[Stream],
    earlier: Mapping[StreamName, StreamPlan],
    left: Mapping[LinkName, float],
) -> list[Request]:
    """What each stream can have: the most disjoint paths that there are, never fewer than min_k."""
    # Of routes with as many hops the one over wider links.
    least = min((room for room in left.values() if room > 0), default=0.0)
    weight = {
        link: cost + _NARROWEST_HOPS * least / left[link]
        for link, cost in ground.length_cost.items()
        if left[link] > 0
    }
    ordered = {stream.name: stream for stream in streams}
    found: dict[StreamName, Request] = {}
    spent = {link for link, room in left.items() if room <= 0}
    pins = snapshot.pin.streams
    searching = {name: finder_of(trees, ground, stream, stream.k) for name, stream in ordered.items()}
    while searching:
        standing = {
            name: _standing(snapshot, ground, finder, pins.get(name))
            or _standing(snapshot, ground, finder, earlier.get(name))
            for name, finder in searching.items()
        }
        options = {
            name: {one.links: one for one in sets if spent.isdisjoint(one.links)}
            for name, sets in standing.items()
        }
        pinned = {name for name in searching if name in pins and options[name]}
        # Of a class that is shared roughly, a stream that stands well gets other sets by rising prices only.
        seekers = [
            Seeker(name, finder)
            for name, finder in searching.items()
            if name not in pinned
            and (len(ordered) <= EXACT_STREAMS or not _is_well_placed(finder, options[name].values()))
        ]
        cheapest = Pricing(trees, ground.length_cost, seekers).cheapest(weight) if seekers else {}
        smaller: dict[StreamName, Finder] = {}
        for name, finder in searching.items():
            stream = ordered[name]
            if name in cheapest:
                options[name].setdefault(cheapest[name].links, cheapest[name])
            if options[name] or finder.k <= max(1, stream.min_k):
                chosen = tuple(options[name].values())
                found[name] = Request(stream, finder, chosen, standing[name], is_pinned=name in pinned)
            else:
                smaller[name] = Finder(ground, finder.scope, finder.k - 1, finder.hops_to)
        searching = smaller
    return [found[name] for name in ordered]


def _standing(
    snapshot: Snapshot, ground: Terrain, finder: Finder, before: StreamPlan | None
) -> tuple[Candidate, ...]:
    """The sets of the finder's size that a stream uses now and may go on with."""
    sizes = range(finder.k, finder.k + 1)
    sets = in_use(before) if before is not None else []
    survivors = [surviving(snapshot, ground, finder.scope, one, sizes) for one in sets]
    return tuple([one for one in survivors if one is not None])


def _is_well_placed(finder: Finder, options: Iterable[Candidate]) -> bool:
    """Whether a set carries whatever there is room for, and shares no risk group."""
    return any(one.bound_bps == inf and not finder.shares_risk(one.routes) for one in options)


def finder_of(trees: Trees, ground: Terrain, stream: Stream, size: int) -> Finder:
    """Who looks for sets of so many routes for a stream."""
    return Finder(ground, scope(ground, stream), size, trees.hops_to)


def _serve_class(
    ground: Terrain,
    trees: Trees,
    requests: Sequence[Request],
    left: Mapping[LinkName, float],
    known: dict[StreamName, tuple[Candidate, ...]],
) -> list[Grant]:
    """Share what is left within one class, moving only streams that gain by it.

    Of a class that is too large to look for every backup, the sets that came up are put into `known`.
    """
    pricing = Pricing(trees, ground.length_cost, [_seeker(one) for one in requests if not one.is_pinned])
    share = share_exactly if len(requests) <= EXACT_STREAMS else RoughShares().share
    demands = [demand_of(request, request.options) for request in requests]
    fresh = granted(requests, demands, share(demands, left, pricing))
    if len(requests) > EXACT_STREAMS:
        known |= {demand.stream: tuple(demand.candidates) for demand in demands}
    moving = {request.stream.name for request in requests if not request.standing}
    movers = max(LEAST_MOVERS, int(MOVERS_RATIO * len(requests)))
    mixed = fresh
    for _ in range(_MAX_KEEPING_PASSES):
        if len(moving) == len(requests):
            return fresh
        demands = [
            demand_of(grant.request, [one for one, _ in grant.sets], use_all=True)
            if grant.request.stream.name in moving
            else demand_of(grant.request, grant.request.standing, use_all=True)
            for grant in fresh
        ]
        mixed = granted(requests, demands, share(demands, left))
        pairs = [(k, f) for k, f in zip(mixed, fresh, strict=True) if k.request.stream.name not in moving]
        needing = {kept.request.stream.name for kept, new in pairs if _is_needed(kept, new)}
        gaining = [
            (kept.rate_bps / new.rate_bps, kept.request.stream.name)
            for kept, new in pairs
            if kept.rate_bps < KEEP_RATIO * new.rate_bps and kept.request.stream.name not in needing
        ]
        chosen = sorted(gaining)[:movers]
        movers -= len(chosen)
        if not needing and not chosen:
            return mixed
        moving |= needing.union(name for _, name in chosen)
    return mixed


def _seeker(request: Request) -> Seeker:
    finder = request.finder
    return Seeker(
        request.stream.name,
        finder,
        apart=finder.k > 1 and any(not finder.shares_risk(one.routes) for one in request.options),
    )


def _is_needed(kept: Grant, fresh: Grant) -> bool:
    needed = fresh.request.stream.min_rate_bps * (1 - RATE_TOLERANCE)
    return kept.rate_bps < needed <= fresh.rate_bps or not kept.sets
