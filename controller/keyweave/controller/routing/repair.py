"""Repair: what a failed link's streams get at once, until everything is planned anew.

Only streams that use a changed link are looked at; the others keep their plan to the letter, and their share
of links whatever their priority: taking from them is left to `plan_streams`. A stream goes to what it has
left of its sets and to its backups, which its agents hold already; only where these give little is searched.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.allocate import share
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.grants import Grant, Request, demand_of, granted, in_use, stream_plan, take
from keyweave.controller.routing.network import Candidate, Terrain, scope, surviving, terrain
from keyweave.controller.routing.plan import plan_streams
from keyweave.controller.routing.pricing import Pricing, Seeker
from keyweave.controller.routing.program import width
from keyweave.controller.routing.protection import backups, standing
from keyweave.controller.routing.trees import Trees
from keyweave.controller.topology import Plan, Snapshot, Stream, StreamPlan

# A stream that its backups give less than this share of what it had looks for other ways.
ENOUGH_RATIO = 0.5
# Loads are counted in whole millionths of a bit/s, so that sums do not depend on their order.
_COUNTS_PER_BPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Book:
    """Who uses which link, and how much of it, by one plan. `following` another costs only what differs."""

    plans: Mapping[StreamName, StreamPlan]
    users: Mapping[LinkName, frozenset[StreamName]]
    counts: Mapping[LinkName, int]

    def following(self, plan: Plan) -> "Book":
        """The book of `plan`."""
        if plan.streams is self.plans:
            return self
        old = [one for name, one in self.plans.items() if plan.streams.get(name) is not one]
        new = [one for name, one in plan.streams.items() if self.plans.get(name) is not one]
        counts = dict(self.counts)
        members: dict[LinkName, set[StreamName]] = {}
        for sign, changed in ((-1, old), (1, new)):
            for one in changed:
                for path_set in in_use(one):
                    load = sign * round(path_set.rate_bps * _COUNTS_PER_BPS)
                    for link in (link for path in path_set.paths for link in path.links):
                        counts[link] = counts.get(link, 0) + load
                        on_link = members.setdefault(link, set(self.users.get(link, ())))
                        (on_link.add if sign > 0 else on_link.discard)(one.stream)
        users = {**self.users, **{link: frozenset(names) for link, names in members.items()}}
        return Book(plan.streams, users, counts)


NO_BOOK = Book({}, {}, {})


def repair(
    snapshot: Snapshot,
    previous: Plan,
    changed_links: frozenset[LinkName],
    version: int,
    *,
    book: Book = NO_BOOK,
) -> Plan:
    """Route again only the streams that use a link of `changed_links`, around everything else.

    The answer does not depend on `book`; one that has followed earlier plans saves reading all of this one.
    """
    book = book.following(previous)
    names = set().union(*(book.users.get(link, frozenset()) for link in changed_links))
    touched = sorted(
        (snapshot.streams[name] for name in names if name in snapshot.streams),
        key=lambda stream: (-stream.priority, stream.name),
    )
    plans = dict(previous.streams)
    if len(plans) != len(snapshot.streams):
        plans = {name: one for name, one in plans.items() if name in snapshot.streams}
    if touched:
        ground = terrain(snapshot)
        left = _left(ground, book, names)
        for _, members in groupby(touched, key=lambda stream: stream.priority):
            plans.update(_place(snapshot, ground, previous, list(members), left))
    return Plan(version, snapshot.version, plans)


def _left(ground: Terrain, book: Book, released: Iterable[StreamName]) -> dict[LinkName, float]:
    freed: dict[LinkName, int] = {}
    for name in released:
        for path_set in in_use(book.plans[name]):
            for link in (link for path in path_set.paths for link in path.links):
                freed[link] = freed.get(link, 0) + round(path_set.rate_bps * _COUNTS_PER_BPS)
    left: dict[LinkName, float] = {}
    for link, capacity in ground.capacity.items():
        rest = capacity - (book.counts.get(link, 0) - freed.get(link, 0)) / _COUNTS_PER_BPS
        left[link] = rest if rest > capacity * 1e-3 else 0.0
    return left


def _place(
    snapshot: Snapshot,
    ground: Terrain,
    previous: Plan,
    streams: list[Stream],
    left: dict[LinkName, float],
) -> dict[StreamName, StreamPlan]:
    """Plans of streams of one priority; takes what they use from `left`."""
    requests = [_request(snapshot, ground, stream, previous.streams[stream.name], left) for stream in streams]
    demands = [demand_of(request, request.options) for request in requests]
    found = granted(requests, demands, share(demands, left))
    poor = {
        grant.request.stream.name
        for grant in found
        if grant.rate_bps
        < min(
            ENOUGH_RATIO * previous.streams[grant.request.stream.name].rate_bps,
            grant.request.stream.max_rate_bps,
        )
        or grant.rate_bps < grant.request.stream.min_rate_bps
    }
    if poor:
        requests = _with_searches(ground, requests, poor, previous, left)
        demands = [demand_of(request, request.options) for request in requests]
        found = granted(requests, demands, share(demands, left))
    for grant in found:
        take(ground, left, grant)
    return {
        grant.request.stream.name: _plan(snapshot, ground, left, grant, previous.streams) for grant in found
    }


def _request(
    snapshot: Snapshot, ground: Terrain, stream: Stream, before: StreamPlan, left: Mapping[LinkName, float]
) -> Request:
    """The most disjoint of the sets that the agents hold already."""
    limits = scope(ground, stream)
    sizes = range(max(1, stream.min_k), stream.k + 1)
    known = [(one.rank, surviving(snapshot, ground, limits, one, sizes)) for one in before.path_sets]
    open_sets = [(rank, one) for rank, one in known if one is not None and width(one, left) > 0]
    size = max((len(one.routes) for _, one in open_sets), default=stream.k)
    options = tuple(one for _, one in open_sets if len(one.routes) == size)
    kept = tuple(one for rank, one in open_sets if rank == 0 and len(one.routes) == size)
    return Request(stream, Finder(ground, limits, size), options, kept)


def _with_searches(
    ground: Terrain,
    requests: list[Request],
    poor: set[StreamName],
    previous: Plan,
    left: Mapping[LinkName, float],
) -> list[Request]:
    """The requests, with the widest short way as one more option for those that are poor."""
    typical = sum(previous.streams[name].rate_bps for name in poor) / len(poor)
    weight = {
        link: cost * (1 + typical / left[link]) for link, cost in ground.length_cost.items() if left[link] > 0
    }
    trees = Trees(ground)
    searching = {request.stream.name: request for request in requests if request.stream.name in poor}
    found: dict[StreamName, Request] = {}
    while searching:
        seekers = [Seeker(name, request.finder) for name, request in searching.items()]
        cheapest = Pricing(trees, ground.length_cost, seekers).cheapest(weight)
        smaller: dict[StreamName, Request] = {}
        for name, request in searching.items():
            size = request.finder.k
            if name in cheapest:
                found[name] = _with_option(request, cheapest[name])
            elif not request.options and size > max(1, request.stream.min_k):
                finder = Finder(ground, request.finder.scope, size - 1)
                smaller[name] = replace(request, finder=finder)
        searching = smaller
    return [found.get(request.stream.name, request) for request in requests]


def _with_option(request: Request, one: Candidate) -> Request:
    if any(one.links == known.links for known in request.options):
        return request
    return replace(request, options=(*request.options, one))


def _plan(
    snapshot: Snapshot,
    ground: Terrain,
    left: Mapping[LinkName, float],
    grant: Grant,
    earlier: Mapping[StreamName, StreamPlan],
) -> StreamPlan:
    stream, limits = grant.request.stream, grant.request.finder.scope
    in_force = earlier[stream.name].path_sets
    used = [one for one, _ in grant.sets]
    # Where nothing is left for it, a stream keeps its backups: its agents share what the pools hold.
    spare = standing(snapshot, ground, limits, stream, used, in_force)
    if used and not spare:
        spare = backups(snapshot, ground, limits, stream, used, ())
    return stream_plan(snapshot, ground, left, grant, spare)


class Planner:
    """Both speeds; keeps the book of the last plan, so that a repair need not read all of it."""

    def __init__(self) -> None:
        self._book = NO_BOOK
        # Read by the optimiser's thread ahead of the first repair of its plan, while nothing is urgent.
        self._ahead: Book | None = None

    def plan_streams(self, snapshot: Snapshot, previous: Plan | None, version: int) -> Plan:
        """Route all streams; may run in another thread while repairs go on."""
        plan = plan_streams(snapshot, previous, version)
        self._ahead = self._book.following(plan)
        return plan

    def repair(
        self, snapshot: Snapshot, previous: Plan, changed_links: frozenset[LinkName], version: int
    ) -> Plan:
        """Route anew what a change of these links touched."""
        book, self._ahead = self._ahead or self._book, None
        self._book = book.following(previous)
        return repair(snapshot, previous, changed_links, version, book=self._book)
