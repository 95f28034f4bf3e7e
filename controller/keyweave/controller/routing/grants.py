"""What streams are given, and the plan of each stream with its reasons."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keyweave.common.names import LinkName
from keyweave.controller.routing import reasons
from keyweave.controller.routing.allocate import Rates
from keyweave.controller.routing.alone import rate_alone
from keyweave.controller.routing.crossings import crossings
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import RATE_TOLERANCE, Candidate, Terrain, candidate
from keyweave.controller.routing.program import Demand
from keyweave.controller.topology import PathSet, Snapshot, Stream, StreamPlan

# Less than this share of a link's capacity is the arithmetic's dust, not room for a path.
_DUST_RATIO = 1e-3


@dataclass(frozen=True, slots=True)
class Request:
    """A stream with what it can be given to begin with."""

    stream: Stream
    finder: Finder
    # The cheapest set over links that have something left, and the sets of the previous plan that stand.
    options: tuple[Candidate, ...]
    standing: tuple[Candidate, ...]
    # Whether it is to have no other sets than these.
    is_pinned: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What a stream is given: candidates with their rates, delivered bit/s, the largest first."""

    request: Request
    sets: tuple[tuple[Candidate, float], ...]

    @property
    def rate_bps(self) -> float:
        """All sets together."""
        return sum(rate for _, rate in self.sets)


def in_use(plan: StreamPlan) -> list[PathSet]:
    """The sets that a stream uses now."""
    return [path_set for path_set in plan.path_sets if path_set.rank == 0]


def take(ground: Terrain, left: dict[LinkName, float], grants: Iterable[Grant]) -> None:
    """Take what grants use from what links have left."""
    sets = [one for grant in grants for one, _ in grant.sets]
    rates = [rate for grant in grants for _, rate in grant.sets]
    numbers = {link: number for number, link in enumerate(left)}
    crossed = crossings(sets, numbers, len(left))
    # One after the other, as they come; bounds of sets of their own stand beyond the links.
    rest = np.array([*left.values(), *crossed.bounds], dtype=np.float64)
    np.subtract.at(rest, crossed.limits, np.repeat(rates, crossed.counts))
    for link, after in zip(left, rest.tolist(), strict=False):
        left[link] = after if after > ground.capacity[link] * _DUST_RATIO else 0.0


def granted(requests: Sequence[Request], demands: Sequence[Demand], rates: Rates) -> list[Grant]:
    """Rates of allocation as grants, in the order of the requests."""
    return [
        Grant(
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


def stream_plan(
    snapshot: Snapshot,
    ground: Terrain,
    left: Mapping[LinkName, float],
    grant: Grant,
    spare: tuple[PathSet, ...],
    words: reasons.InUse,
) -> StreamPlan:
    """The plan of one stream; `spare` are its backups, `words` say what is in use."""
    request, stream = grant.request, grant.request.stream
    unmet = _unmet(snapshot, ground, left, grant, words)
    used = [one for one, _ in grant.sets]
    if not used:
        return StreamPlan(stream.name, 0.0, spare, _why_nothing(snapshot, ground, left, request), unmet)
    kept = {one.links for one in used} <= {one.links for one in request.standing}
    sets = [PathSet(0, rate, one.paths(stream.name), words.reason(one)) for one, rate in grant.sets]
    reason = words.chosen(grant.sets, stream, kept=kept)
    return StreamPlan(stream.name, grant.rate_bps, (*sets, *spare), reason, unmet)


def _why_nothing(
    snapshot: Snapshot, ground: Terrain, left: Mapping[LinkName, float], request: Request
) -> str:
    stream, limits = request.stream, request.finder.scope
    for size in range(stream.k, max(1, stream.min_k) - 1, -1):
        routes = Finder(ground, limits, size).cheapest(ground.length_cost)
        if routes is not None:
            return reasons.starved(candidate(routes), stream, ground.capacity, left)
    if Finder(ground, limits, 1).cheapest(ground.length_cost) is None:
        return reasons.no_path(snapshot, ground, stream)
    return reasons.too_few_paths(ground, limits, max(1, stream.min_k))


def _unmet(
    snapshot: Snapshot, ground: Terrain, left: Mapping[LinkName, float], grant: Grant, words: reasons.InUse
) -> str:
    """The requirements that this grant leaves open, empty where it leaves none."""
    request, stream = grant.request, grant.request.stream
    parts: list[str] = []
    size = len(grant.sets[0][0].routes) if grant.sets else 0
    if not grant.sets and (stream.require_qkd or stream.k > 1 or stream.min_rate_bps > 0):
        parts.append(_why_nothing(snapshot, ground, left, request))
    elif 0 < size < stream.k:
        limits = request.finder.scope
        single = words.cuts.between(limits, grant.sets[0][0].routes[0])
        if single[0] == 1:
            why = reasons.too_few_paths(ground, limits, stream.k, single)
        elif Finder(ground, limits, stream.k).cheapest(ground.length_cost) is None:
            why = reasons.too_few_paths(ground, limits, stream.k)
        else:
            why = (
                f"k={stream.k}: there are {stream.k} disjoint paths, but other streams leave nothing on them"
            )
        parts.append(f"{why}; goes on with {size}, which min_k={stream.min_k} allows")
    if grant.sets and grant.rate_bps < stream.min_rate_bps * (1 - RATE_TOLERANCE):
        parts.append(reasons.min_rate(stream, grant.rate_bps, rate_alone(ground, stream, request.finder)))
    return "; ".join(parts)


def demand_of(request: Request, candidates: Iterable[Candidate], *, use_all: bool = False) -> Demand:
    """What a request asks of allocation, over these sets."""
    stream = request.stream
    return Demand(stream.name, stream.min_rate_bps, stream.max_rate_bps, list(candidates), use_all)
