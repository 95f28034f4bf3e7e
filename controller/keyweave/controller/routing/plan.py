"""Step 4 for key relay: every stream gets its path sets, rates and backups, with the reasons.

Classes of priority are served in turn, highest first, each from what those before it have left; so nothing
that a lower class asks for can change what a higher one gets.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing import reasons
from keyweave.controller.routing.allocate import Rates, share
from keyweave.controller.routing.alone import rate_alone
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import (
    OVERHEAD,
    RATE_TOLERANCE,
    Candidate,
    Terrain,
    candidate,
    scope,
    surviving,
    terrain,
)
from keyweave.controller.routing.pricing import Pricing, Seeker
from keyweave.controller.routing.program import Demand, width
from keyweave.controller.routing.protection import backups
from keyweave.controller.routing.trees import Trees
from keyweave.controller.topology import PathSet, Plan, Snapshot, Stream, StreamPlan

# A stream stays where it is unless moving would give it a quarter more: less is not worth the disturbance.
KEEP_RATIO = 0.8
_MAX_KEEPING_PASSES = 8
# What the link with the least left costs on top of its hop: on no route do these add up to a hop.
_NARROWEST_HOPS = 1e-3
# Less than this share of a link's capacity is the arithmetic's dust, not room for a path.
_DUST_RATIO = 1e-3


@dataclass(frozen=True, slots=True)
class _Request:
    """A stream with what it can be given to begin with."""

    stream: Stream
    finder: Finder
    # The cheapest set over links that have something left, and the sets of the previous plan that stand.
    options: tuple[Candidate, ...]
    standing: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class _Grant:
    """What a stream is given: candidates with their rates, delivered bit/s, the largest first."""

    request: _Request
    sets: tuple[tuple[Candidate, float], ...]

    @property
    def rate_bps(self) -> float:
        return sum(rate for _, rate in self.sets)


def plan_streams(snapshot: Snapshot, previous: Plan | None, version: int) -> Plan:
    """Route all streams. A function of its arguments alone; `previous` only decides what need not move."""
    ground = terrain(snapshot)
    placed = _place(snapshot, ground, previous, snapshot.streams.values(), dict(ground.capacity))
    return Plan(version, snapshot.version, {name: placed[name] for name in sorted(placed)})


def repair(snapshot: Snapshot, previous: Plan, changed_links: frozenset[LinkName], version: int) -> Plan:
    """Route again only what a change of links touched, around everything else.

    Touched are streams whose rank-0 sets cross a changed link, no longer stand, or no longer fit, and those
    that have none. The others keep their plan to the letter, backups included, and their share of the
    links whatever their priority: taking from them is left to `plan_streams`.
    """
    ground = terrain(snapshot)
    kept = {
        name: previous.streams[name]
        for name, stream in sorted(snapshot.streams.items())
        if name in previous.streams
        and _stands(snapshot, ground, stream, previous.streams[name], changed_links)
    }
    overloaded = {
        link
        for link, load in _loads(kept.values()).items()
        if load > ground.capacity.get(link, load) * (1 + RATE_TOLERANCE)
    }
    kept = {name: plan for name, plan in kept.items() if overloaded.isdisjoint(_links(plan))}
    left = dict(ground.capacity)
    _take(ground, left, _loads(kept.values()))
    touched = [stream for name, stream in snapshot.streams.items() if name not in kept]
    placed = {**kept, **_place(snapshot, ground, previous, touched, left)}
    return Plan(version, snapshot.version, {name: placed[name] for name in sorted(placed)})


def _stands(
    snapshot: Snapshot, ground: Terrain, stream: Stream, plan: StreamPlan, changed: frozenset[LinkName]
) -> bool:
    sets = _in_use(plan)
    limits = scope(ground, stream)
    sizes = range(stream.min_k, stream.k + 1)
    return (
        bool(sets)
        and changed.isdisjoint(_links(plan))
        and plan.rate_bps <= stream.max_rate_bps * (1 + RATE_TOLERANCE)
        and all(surviving(snapshot, ground, limits, one, sizes) is not None for one in sets)
    )


def _in_use(plan: StreamPlan) -> list[PathSet]:
    return [path_set for path_set in plan.path_sets if path_set.rank == 0]


def _links(plan: StreamPlan) -> set[LinkName]:
    return {link for path_set in _in_use(plan) for path in path_set.paths for link in path.links}


def _loads(plans: Iterable[StreamPlan]) -> dict[LinkName, float]:
    """Delivered bit/s that cross each link."""
    loads: dict[LinkName, float] = {}
    for plan in plans:
        for path_set in _in_use(plan):
            for path in path_set.paths:
                for link in path.links:
                    loads[link] = loads.get(link, 0.0) + path_set.rate_bps
    return loads


def _take(ground: Terrain, left: dict[LinkName, float], loads: Mapping[LinkName, float]) -> None:
    for link, load in loads.items():
        if link in left:
            rest = left[link] - load
            left[link] = rest if rest > ground.capacity[link] * _DUST_RATIO else 0.0


def _place(
    snapshot: Snapshot,
    ground: Terrain,
    previous: Plan | None,
    streams: Iterable[Stream],
    left: dict[LinkName, float],
) -> dict[StreamName, StreamPlan]:
    """Plans of `streams` over what is left of the links; takes what they use from `left`."""
    earlier = previous.streams if previous is not None else {}
    trees = Trees(ground)
    grants: list[_Grant] = []
    ordered = sorted(streams, key=lambda stream: (-stream.priority, stream.name))
    for _, members in groupby(ordered, key=lambda stream: stream.priority):
        requests = _requests(snapshot, ground, trees, members, earlier, left)
        for grant in _serve_class(ground, trees, requests, left):
            _take(ground, left, _grant_loads(grant))
            grants.append(grant)
    return {
        grant.request.stream.name: _stream_plan(
            snapshot, ground, left, grant, earlier.get(grant.request.stream.name)
        )
        for grant in grants
    }


def _requests(
    snapshot: Snapshot,
    ground: Terrain,
    trees: Trees,
    streams: Iterable[Stream],
    earlier: Mapping[StreamName, StreamPlan],
    left: Mapping[LinkName, float],
) -> list[_Request]:
    """What each stream can have: the most disjoint paths that there are, never fewer than min_k."""
    # Of routes with as many hops the one over wider links.
    least = min((room for room in left.values() if room > 0), default=0.0)
    weight = {
        link: cost + _NARROWEST_HOPS * least / left[link]
        for link, cost in ground.length_cost.items()
        if left[link] > 0
    }
    ordered = {stream.name: stream for stream in streams}
    found: dict[StreamName, _Request] = {}
    searching = {name: Finder(ground, scope(ground, stream), stream.k) for name, stream in ordered.items()}
    while searching:
        pricing = Pricing(trees, ground.length_cost, [Seeker(n, finder) for n, finder in searching.items()])
        cheapest = pricing.cheapest(weight)
        smaller: dict[StreamName, Finder] = {}
        for name, finder in searching.items():
            stream, sets = ordered[name], _in_use(earlier[name]) if name in earlier else []
            sizes = range(finder.k, finder.k + 1)
            survivors = (surviving(snapshot, ground, finder.scope, one, sizes) for one in sets)
            standing = tuple(one for one in survivors if one is not None)
            options = {one.links: one for one in standing if width(one, left) > 0}
            if name in cheapest:
                options.setdefault(cheapest[name].links, cheapest[name])
            if options or finder.k <= max(1, stream.min_k):
                found[name] = _Request(stream, finder, tuple(options.values()), standing)
            else:
                smaller[name] = Finder(ground, finder.scope, finder.k - 1)
        searching = smaller
    return [found[name] for name in ordered]


def _serve_class(
    ground: Terrain, trees: Trees, requests: Sequence[_Request], left: Mapping[LinkName, float]
) -> list[_Grant]:
    """Share what is left within one class, moving only streams that gain by it."""
    pricing = Pricing(trees, ground.length_cost, [_seeker(request) for request in requests])
    demands = [_demand(request, request.options) for request in requests]
    fresh = _grants(requests, demands, share(demands, left, pricing))
    moving = {request.stream.name for request in requests if not request.standing}
    for _ in range(_MAX_KEEPING_PASSES):
        if len(moving) == len(requests):
            return fresh
        demands = [
            _demand(grant.request, [one for one, _ in grant.sets], use_all=True)
            if grant.request.stream.name in moving
            else _demand(grant.request, grant.request.standing, use_all=True)
            for grant in fresh
        ]
        mixed = _grants(requests, demands, share(demands, left))
        worse = {
            kept.request.stream.name
            for kept, new in zip(mixed, fresh, strict=True)
            if _is_worth_moving(kept, new)
        }
        if worse <= moving:
            return mixed
        moving |= worse
    return fresh


def _seeker(request: _Request) -> Seeker:
    finder = request.finder
    return Seeker(
        request.stream.name,
        finder,
        apart=finder.k > 1 and any(not finder.shares_risk(one.routes) for one in request.options),
    )


def _is_worth_moving(kept: _Grant, fresh: _Grant) -> bool:
    needed = fresh.request.stream.min_rate_bps * (1 - RATE_TOLERANCE)
    return kept.rate_bps < KEEP_RATIO * fresh.rate_bps or kept.rate_bps < needed <= fresh.rate_bps


def _demand(request: _Request, candidates: Iterable[Candidate], *, use_all: bool = False) -> Demand:
    stream = request.stream
    return Demand(stream.name, stream.min_rate_bps, stream.max_rate_bps, list(candidates), use_all)


def _grants(requests: Sequence[_Request], demands: Sequence[Demand], rates: Rates) -> list[_Grant]:
    return [
        _Grant(
            request,
            tuple(
                sorted(
                    (
                        (one, rate)
                        for one, rate in zip(demand.candidates, rates[demand.stream], strict=True)
                        if rate > 0
                    ),
                    key=lambda item: (-item[1], item[0].links),
                )
            ),
        )
        for request, demand in zip(requests, demands, strict=True)
    ]


def _grant_loads(grant: _Grant) -> dict[LinkName, float]:
    loads: dict[LinkName, float] = {}
    for one, rate in grant.sets:
        for link in one.links:
            loads[link] = loads.get(link, 0.0) + rate
    return loads


def _stream_plan(
    snapshot: Snapshot,
    ground: Terrain,
    left: Mapping[LinkName, float],
    grant: _Grant,
    earlier: StreamPlan | None,
) -> StreamPlan:
    request, stream = grant.request, grant.request.stream
    unmet = _unmet(snapshot, ground, left, grant)
    used = [one for one, _ in grant.sets]
    if not used:
        return StreamPlan(stream.name, 0.0, (), _why_nothing(snapshot, ground, left, request), unmet)
    kept = {one.links for one in used} <= {one.links for one in request.standing}
    sets = tuple(
        PathSet(0, rate, one.paths(stream.name), reasons.primary(snapshot, ground, one))
        for one, rate in grant.sets
    )
    in_force = [path_set for path_set in (earlier.path_sets if earlier else ()) if path_set.rank > 0]
    spare = backups(snapshot, ground, request.finder.scope, stream, used, in_force)
    reason = reasons.chosen(grant.sets, stream, ground.capacity, left, kept=kept)
    return StreamPlan(stream.name, grant.rate_bps, (*sets, *spare), reason, unmet)


def _why_nothing(
    snapshot: Snapshot, ground: Terrain, left: Mapping[LinkName, float], request: _Request
) -> str:
    stream, limits = request.stream, request.finder.scope
    for size in range(stream.k, max(1, stream.min_k) - 1, -1):
        routes = Finder(ground, limits, size).cheapest(ground.length_cost)
        if routes is not None:
            return reasons.starved(candidate(routes), stream, ground.capacity, left)
    if Finder(ground, limits, 1).cheapest(ground.length_cost) is None:
        return reasons.no_path(snapshot, ground, stream)
    return reasons.too_few_paths(ground, limits, max(1, stream.min_k))


def _unmet(snapshot: Snapshot, ground: Terrain, left: Mapping[LinkName, float], grant: _Grant) -> str:
    """The requirements that this grant leaves open, empty where it leaves none."""
    request, stream = grant.request, grant.request.stream
    parts: list[str] = []
    size = len(grant.sets[0][0].routes) if grant.sets else 0
    if not grant.sets and (stream.require_qkd or stream.k > 1 or stream.min_rate_bps > 0):
        parts.append(_why_nothing(snapshot, ground, left, request))
    elif 0 < size < stream.k:
        full = Finder(ground, request.finder.scope, stream.k)
        if full.cheapest(ground.length_cost) is None:
            why = reasons.too_few_paths(ground, request.finder.scope, stream.k)
        else:
            why = (
                f"k={stream.k}: there are {stream.k} disjoint paths, but other streams leave nothing on them"
            )
        parts.append(f"{why}; goes on with {size}, which min_k={stream.min_k} allows")
    if grant.sets and grant.rate_bps < stream.min_rate_bps * (1 - RATE_TOLERANCE):
        parts.append(reasons.min_rate(stream, grant.rate_bps, rate_alone(ground, stream, request.finder)))
    return "; ".join(parts)


__all__ = ["KEEP_RATIO", "OVERHEAD", "plan_streams", "repair"]
