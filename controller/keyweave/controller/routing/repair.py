"""Repair: what a failed link's streams get at once, until everything is planned anew.

Only streams that a changed link takes from are looked at; the others keep their plan to the letter, and their
share of links whatever their priority: taking from them is left to `plan_streams`. Those whose agents hold a
set that still stands are left to them (`healing`). Of the rest, a stream goes to what it has left of its sets
and to its backups; others are searched only for those that have nothing so or miss their minimum rate. New
backups wait for the next plan, and so does withdrawing what runs over the failed link: it may come back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing import reasons
from keyweave.controller.routing.allocate import without_crumbs
from keyweave.controller.routing.book import NO_BOOK, Book
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.filling import Filling
from keyweave.controller.routing.healing import Room, holding_nothing, left_to_agents
from keyweave.controller.routing.network import (
    RATE_TOLERANCE,
    Candidate,
    Terrain,
    flows,
    scope,
    surviving,
    terrain,
    terrain_after,
)
from keyweave.controller.routing.plan import finder_of, plan_streams
from keyweave.controller.routing.pricing import Pricing, Seeker
from keyweave.controller.routing.program import Demand, width
from keyweave.controller.routing.trees import Trees
from keyweave.controller.topology import Held, OnExhaustion, PathSet, Plan, Snapshot, Stream, StreamPlan

# A stream that its foremost sets give this share of what it had needs no others until the next plan.
ENOUGH_RATIO = 0.8
# Less than this share of a link is no room for a path.
_DUST_RATIO = 1e-3
_FILLING_PASSES = 3


@dataclass(frozen=True, slots=True)
class Memory:
    """What was read of a plan and of a network, so that repairs need only read what differs."""

    book: Book
    seen: tuple[Snapshot, Terrain, Trees] | None = None

    def following(self, plan: Plan) -> "Memory":
        """With the book of `plan`."""
        return replace(self, book=self.book.following(plan))

    def ground(self, snapshot: Snapshot) -> tuple[Terrain, Trees]:
        """The terrain of `snapshot`, and trees that may know links which it no longer has."""
        if self.seen is not None:
            before, former, trees = self.seen
            ground = terrain_after(before, former, snapshot)
            if ground is not None:
                # Of parallel links trees take the wider: as long as rates are the same, they are right.
                same = all(former.capacity[link] == value for link, value in ground.capacity.items())
                return ground, trees if same else Trees(ground)
        ground = terrain(snapshot)
        return ground, Trees(ground)


NO_MEMORY = Memory(NO_BOOK)


@dataclass(frozen=True, slots=True)
class _Case:
    """A stream whose link failed, and the sets that it may use: of one size, what agents hold first."""

    stream: Stream
    before: StreamPlan
    options: tuple[tuple[PathSet, Candidate], ...]
    # Sets that stand, in use or not before; whether anything is left on them or not.
    standing: tuple[PathSet, ...]

    @property
    def size(self) -> int:
        """How many disjoint paths each option has."""
        return len(self.options[0][0].paths) if self.options else self.stream.k


def repair(
    snapshot: Snapshot,
    previous: Plan,
    changed_links: frozenset[LinkName],
    version: int,
    *,
    held: Held = holding_nothing,
    memory: Memory = NO_MEMORY,
) -> Plan:
    """Route again only the streams that a link of `changed_links` takes from, around everything else.

    `held` tells what agents can carry on with alone. The answer does not depend on `memory`; one that has
    followed earlier plans saves reading all of this one.
    """
    memory = memory.following(previous)
    gone = {name for name, view in snapshot.links.items() if not flows(view)}
    affected = list(_affected(snapshot, memory.book, changed_links, gone))
    room = Room(snapshot.links, memory.book, [stream.name for stream in affected])
    healed = left_to_agents(gone, room, affected, held)
    touched = sorted(
        (stream for stream in affected if stream.name not in healed),
        key=lambda stream: (-stream.priority, stream.name),
    )
    plans = dict(previous.streams)
    if plans.keys() != snapshot.streams.keys():
        plans = {name: one for name, one in plans.items() if name in snapshot.streams}
    if touched:
        ground, trees = memory.ground(snapshot)
        island_of = trees.islands(ground.length_cost)
        left = _left(ground, room)
        why = f"link {reasons.listing(changed_links)} changed"
        for _, members in groupby(touched, key=lambda stream: stream.priority):
            cases: list[_Case] = []
            for stream in members:
                before = previous.streams[stream.name]
                cut_off = island_of.get(stream.source) != island_of.get(stream.target)
                if cut_off and all(one.crosses(gone) for one in before.path_sets):
                    plans[stream.name] = _with_nothing(stream, before, why)
                else:
                    cases.append(_case(snapshot, ground, stream, before, left))
            for planned in _place(ground, trees, cases, left, why):
                plans[planned.stream] = planned
    return Plan(version, snapshot.version, plans)


def _affected(
    snapshot: Snapshot, book: Book, changed_links: frozenset[LinkName], gone: set[LinkName]
) -> Iterator[Stream]:
    """Streams that use a changed link, or had been left a backup over it when another failed."""
    nobody: frozenset[StreamName] = frozenset()
    using = nobody.union(*(book.users.get(link, nobody) for link in changed_links))
    holding = nobody.union(*(book.holders.get(link, nobody) for link in changed_links))
    left_before = nobody.union(*(book.users.get(link, nobody) for link in gone))
    for name in using | (holding & left_before):
        if name in snapshot.streams:
            yield snapshot.streams[name]


def _left(ground: Terrain, room: Room) -> dict[LinkName, float]:
    left: dict[LinkName, float] = {}
    for link, capacity in ground.capacity.items():
        rest = room.left(link)
        left[link] = rest if rest > capacity * _DUST_RATIO else 0.0
    return left


def _case(
    snapshot: Snapshot, ground: Terrain, stream: Stream, before: StreamPlan, left: Mapping[LinkName, float]
) -> _Case:
    standing: list[tuple[PathSet, Candidate]] = []
    for path_set in before.path_sets:
        if len(path_set.paths) >= stream.min_k:
            one = _standing(snapshot, ground, stream, path_set)
            if one is not None:
                standing.append((path_set, one))
    open_sets = [(path_set, one) for path_set, one in standing if width(one, left) > 0]
    size = max((len(path_set.paths) for path_set, _ in open_sets), default=0)
    return _Case(
        stream,
        before,
        tuple(option for option in open_sets if len(option[0].paths) == size),
        tuple(path_set for path_set, _ in standing),
    )


def _standing(snapshot: Snapshot, ground: Terrain, stream: Stream, path_set: PathSet) -> Candidate | None:
    stale = False
    for path in path_set.paths:
        for hop in path.hops:
            if hop.link not in ground.capacity:
                view = snapshot.links.get(hop.link)
                if view is None or not view.keeps_paths:
                    return None
                stale = True
    if stale:
        sizes = range(len(path_set.paths), len(path_set.paths) + 1)
        return surviving(snapshot, ground, scope(ground, stream), path_set, sizes)
    # The plan was made for this stream's limits: what they allowed then they allow now.
    routes = tuple(path.hops for path in path_set.paths)
    links = tuple([hop.link for route in routes for hop in route])
    return Candidate(routes, links, present_bps=path_set.rate_bps)


def _place(
    ground: Terrain, trees: Trees, cases: list[_Case], left: dict[LinkName, float], why: str
) -> list[StreamPlan]:
    """Plans of streams of one priority; takes what they use from `left`."""
    narrow = [replace(case, options=_foremost(case.options)) for case in cases]
    rates = _rates(narrow, left)
    cases = [
        few if sum(found) >= ENOUGH_RATIO * min(case.before.rate_bps, case.stream.max_rate_bps) else case
        for case, few, found in zip(cases, narrow, rates, strict=True)
    ]
    if any(len(case.options) > len(few.options) for case, few in zip(cases, narrow, strict=True)):
        rates = _rates(cases, left)
    lacking = [
        case.stream.name
        for case, found in zip(cases, rates, strict=True)
        if not case.options or sum(found) < case.stream.min_rate_bps * (1 - RATE_TOLERANCE)
    ]
    short = frozenset(case.stream.name for case in cases if case.options).intersection(lacking)
    if short:
        # First over links that these streams do not fill already.
        rest = dict(left)
        _take(ground, rest, cases, rates)
        cases = _with_searches(ground, trees, cases, short, rest)
    if lacking:
        cases = _with_searches(ground, trees, cases, frozenset(lacking), left)
        rates = _rates(cases, left)
    _take(ground, left, cases, rates)
    return [_plan(case, found, why) for case, found in zip(cases, rates, strict=True)]


def _take(
    ground: Terrain, left: dict[LinkName, float], cases: list[_Case], rates: list[tuple[float, ...]]
) -> None:
    """Take what streams are given from what links have left."""
    for case, found in zip(cases, rates, strict=True):
        for (_, one), rate in zip(case.options, found, strict=True):
            for link in one.links:
                if rate and link in left:
                    rest = left[link] - rate
                    left[link] = rest if rest > ground.capacity[link] * _DUST_RATIO else 0.0


def _foremost(options: tuple[tuple[PathSet, Candidate], ...]) -> tuple[tuple[PathSet, Candidate], ...]:
    """The sets in use, or else the first backup."""
    return tuple(option for option in options if option[0].rank == 0) or options[:1]


def _rates(cases: list[_Case], left: Mapping[LinkName, float]) -> list[tuple[float, ...]]:
    demands = [
        Demand(c.stream.name, c.stream.min_rate_bps, c.stream.max_rate_bps, [one for _, one in c.options])
        for c in cases
        if c.options
    ]
    filled = Filling(demands, left).fill(_FILLING_PASSES).rates if demands else {}
    return [without_crumbs(filled.get(case.stream.name, ())) for case in cases]


def _with_searches(
    ground: Terrain,
    trees: Trees,
    cases: list[_Case],
    lacking: frozenset[StreamName],
    left: Mapping[LinkName, float],
) -> list[_Case]:
    """The cases, with the shortest way over what is left as one more option for those that lack."""
    weight = {link: cost for link, cost in ground.length_cost.items() if left[link] > 0}
    searching = {
        case.stream.name: (case, finder_of(trees, ground, case.stream, case.size))
        for case in cases
        if case.stream.name in lacking
    }
    found: dict[StreamName, _Case] = {}
    while searching:
        seekers = [Seeker(name, finder) for name, (_, finder) in searching.items()]
        cheapest = Pricing(trees, ground.length_cost, seekers).cheapest(weight)
        smaller: dict[StreamName, tuple[_Case, Finder]] = {}
        for name, (case, finder) in searching.items():
            if name in cheapest:
                found[name] = _with_option(case, cheapest[name])
            elif not case.options and finder.k > max(1, case.stream.min_k):
                smaller[name] = case, finder_of(trees, ground, case.stream, finder.k - 1)
        searching = smaller
    return [found.get(case.stream.name, case) for case in cases]


def _with_option(case: _Case, one: Candidate) -> _Case:
    if any(one.links == known.links for _, known in case.options):
        return case
    path_set = PathSet(0, 0.0, one.paths(case.stream.name), "")
    return replace(case, options=(*case.options, (path_set, one)))


def _plan(case: _Case, rates: tuple[float, ...], why: str) -> StreamPlan:
    stream, total = case.stream, sum(rates)
    if not total and not case.standing:
        return _with_nothing(stream, case.before, why)
    chosen = sorted(
        ((rate, path_set) for rate, (path_set, _) in zip(rates, case.options, strict=True) if rate > 0),
        key=lambda item: (-item[0], item[1].paths[0].path_id),
    )
    used = tuple(PathSet(0, rate, path_set.paths, f"{why}; {_origin(path_set)}") for rate, path_set in chosen)
    # Where nothing is left for it, a stream keeps what stands: its agents share what the pools hold.
    idle = [path_set for path_set in case.standing if all(path_set is not one for _, one in chosen)]
    spare = tuple(
        PathSet(rank, 0.0, path_set.paths, "stood before the change; the next plan looks for better ones")
        for rank, path_set in enumerate(idle, start=1)
    )
    ways = " and ".join(
        f"{reasons.nodes(path.hops for path in one.paths)} at {reasons.bps(one.rate_bps)}" for one in used
    )
    reason = f"{why}: {f'uses {ways}' if used else 'nothing is left for it'} until the next plan"
    return StreamPlan(stream.name, total, (*used, *spare), reason, _unmet(stream, total, used, why))


def _with_nothing(stream: Stream, before: StreamPlan, why: str) -> StreamPlan:
    """As before: what ran over the failed link resumes there if that comes back before a better plan does.

    Where keys are to be refused once no path is left, that is now.
    """
    unmet = _unmet(stream, 0.0, (), why)
    if stream.on_exhaustion is OnExhaustion.REFUSE:
        return StreamPlan(stream.name, 0.0, (), f"{why}: nothing is left for it until the next plan", unmet)
    return before if unmet == before.unmet else replace(before, unmet=unmet)


def _origin(path_set: PathSet) -> str:
    if path_set.rank > 0:
        return f"was backup {path_set.rank}"
    return "was in use" if path_set.rate_bps > 0 else "found over what other streams left"


def _unmet(stream: Stream, rate: float, used: tuple[PathSet, ...], why: str) -> str:
    if not used:
        asks = stream.require_qkd or stream.k > 1 or stream.min_rate_bps > 0
        return (
            f"{why}, and other streams leave nothing on any path: the next plan shares anew" if asks else ""
        )
    parts: list[str] = []
    size = len(used[0].paths)
    if size < stream.k:
        parts.append(f"{why}: goes on with {size} of k={stream.k} paths, which min_k={stream.min_k} allows")
    if rate < stream.min_rate_bps * (1 - RATE_TOLERANCE):
        parts.append(
            f"min_rate_bps {stream.min_rate_bps:.0f} exceeds the {reasons.bps(rate)} left after {why}"
        )
    return "; ".join(parts)


class Planner:
    """Both speeds; remembers the last plan, so that a repair need not read all of it."""

    def __init__(self) -> None:
        self._memory = NO_MEMORY
        # Read by the optimiser's thread ahead of the first repair of its plan, while nothing is urgent.
        self._ahead: Memory | None = None

    def plan_streams(self, snapshot: Snapshot, previous: Plan | None, version: int) -> Plan:
        """Route all streams; may run in another thread while repairs go on."""
        plan = plan_streams(snapshot, previous, version)
        ground = terrain(snapshot)
        self._ahead = Memory(self._memory.book.following(plan), (snapshot, ground, Trees(ground)))
        return plan

    def repair(
        self,
        snapshot: Snapshot,
        previous: Plan,
        changed_links: frozenset[LinkName],
        version: int,
        *,
        held: Held = holding_nothing,
    ) -> Plan:
        """Route anew what a change of these links touched."""
        memory, self._ahead = self._ahead or self._memory, None
        self._memory = memory.following(previous)
        return repair(snapshot, previous, changed_links, version, held=held, memory=self._memory)
