"""What would become of the streams if links were cut, nodes went down or links were added.

The network with the changes is planned as the controller would plan it, from the plan in force, and compared
with the plan that the network would get as it is: what telemetry has changed meanwhile is not counted.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations

from keyweave.common.errors import InvalidInputError, Violation
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.common.near import instead_of
from keyweave.controller.routing.grants import in_use
from keyweave.controller.routing.network import RATE_TOLERANCE, flows, link_load, terrain
from keyweave.controller.routing.plan import plan_streams
from keyweave.controller.routing.trees import Trees
from keyweave.controller.topology import (
    Condition,
    Link,
    LinkView,
    OnExhaustion,
    Plan,
    Snapshot,
    Stream,
    StreamPlan,
)

# A rate that moves by less is told as the same, as where plans are adopted (reconcile/plan_changes.py).
SAME_RATE_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class Cut:
    """A link fails."""

    link: LinkName


@dataclass(frozen=True, slots=True)
class NodeDown:
    """A node fails, and all its links with it."""

    node: NodeName


@dataclass(frozen=True, slots=True)
class Added:
    """A link comes to be, or a second one beside it."""

    a: NodeName
    b: NodeName
    rate_bps: float
    length_km: float = 0.0


Change = Cut | NodeDown | Added


class Effect(StrEnum):
    """What becomes of one stream; the worst first."""

    # One of its own ends is down.
    ENDS = "ends"
    # No quantum path, and it asks for one: no keys once those that are ready are used.
    FAILS_CLOSED = "fails-closed"
    # No quantum path: goes on with ML-KEM alone.
    PQC_ONLY = "pqc-only"
    BELOW_MINIMUM = "below-minimum"
    FEWER_PATHS = "fewer-paths"
    SLOWER = "slower"
    # Other paths, and hardly another rate.
    MOVED = "moved"
    FASTER = "faster"
    # It had no quantum path, or less than its minimum rate.
    RECOVERS = "recovers"


_ORDER: Mapping[Effect, int] = {effect: place for place, effect in enumerate(Effect)}
_HARMFUL = tuple(Effect)[:5]


@dataclass(frozen=True, slots=True)
class StreamOutcome:
    """One stream before and after, and in words what happens at once and then."""

    stream: StreamName
    effect: Effect
    before_bps: float
    after_bps: float
    # Disjoint paths that each key is split over; 0 without a quantum path.
    before_k: int
    after_k: int
    at_once: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """All streams that the changes do something to, the worst first."""

    changes: tuple[Change, ...]
    # What the changes have in common, such as a risk group.
    label: str
    streams: tuple[StreamOutcome, ...]

    @property
    def lost_bps(self) -> float:
        """What streams lose together."""
        return sum(max(0.0, one.before_bps - one.after_bps) for one in self.streams)

    @property
    def harm(self) -> tuple[float, ...]:
        """Greater is worse: streams without keys, with ML-KEM alone, short, with fewer paths; then rates."""
        count = Counter(one.effect for one in self.streams)
        return (
            count[Effect.ENDS] + count[Effect.FAILS_CLOSED],
            *(count[effect] for effect in _HARMFUL[2:]),
            self.lost_bps,
        )


@dataclass(frozen=True, slots=True)
class Case:
    """Changes that are looked at together."""

    changes: tuple[Change, ...]
    label: str = ""


class WhatIf:
    """One network and its plan, asked about again and again."""

    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        self._snapshot = snapshot
        self._plan = plan
        self._present = plan_streams(snapshot, plan, plan.version + 1)

    def outcome(self, case: Case) -> Outcome:
        """What `case` does to the streams; InvalidInputError where it names what there is not."""
        changed = with_changes(self._snapshot, case.changes)
        after = plan_streams(changed, self._present, self._present.version + 1)
        down = {change.node for change in case.changes if isinstance(change, NodeDown)}
        lost = {name for name, view in changed.links.items() if not flows(view)}
        found = [
            one
            for name, stream in self._snapshot.streams.items()
            if (one := self._stream(stream, after.streams[name], lost, down)) is not None
        ]
        found.sort(key=lambda one: (_ORDER[one.effect], one.after_bps - one.before_bps, one.stream))
        return Outcome(case.changes, case.label, tuple(found))

    def by_expected_harm(self, cases: Iterable[Case]) -> list[Case]:
        """The cases that cut most streams off first, then those whose links carry most.

        A matter of reachability and of the plan's sums only, so thousands of cases cost seconds.
        """
        ground = terrain(self._snapshot)
        trees = Trees(ground)
        load = link_load(self._present)
        ends = Counter((stream.source, stream.target) for stream in self._snapshot.streams.values())

        def expected(case: Case) -> tuple[float, float]:
            gone = links_lost(self._snapshot, case.changes)
            island_of = trees.islands(ground.capacity.keys() - gone)
            apart = sum(count for (a, b), count in ends.items() if island_of[a] != island_of[b])
            return -apart, -sum(load.get(link, 0.0) for link in gone)

        return sorted(cases, key=expected)

    def _stream(
        self, stream: Stream, after: StreamPlan, lost: set[LinkName], down: set[NodeName]
    ) -> StreamOutcome | None:
        before = self._present.streams[stream.name]
        effect = _effect(stream, before, after, down)
        if effect is None:
            return None
        return StreamOutcome(
            stream=stream.name,
            effect=effect,
            before_bps=before.rate_bps,
            after_bps=0.0 if effect is Effect.ENDS else after.rate_bps,
            before_k=_k(before),
            after_k=0 if effect is Effect.ENDS else _k(after),
            at_once=_at_once(self._plan.streams.get(stream.name, before), lost),
            reason=_reason(stream, after, effect, down),
        )


def singles(snapshot: Snapshot) -> Iterator[Case]:
    """Every single failure: of a link that carries something, of a risk group, of a node with links."""
    links = _working(snapshot)
    groups: dict[str, list[LinkName]] = {}
    for name in links:
        yield Case((Cut(name),))
        for group in snapshot.links[name].link.risk_groups:
            groups.setdefault(group, []).append(name)
    for group, members in sorted(groups.items()):
        if len(members) > 1:
            yield Case(tuple(map(Cut, members)), f"risk group {group}")
    joined = {end for name in links for end in (snapshot.links[name].link.a, snapshot.links[name].link.b)}
    for node in sorted(joined):
        yield Case((NodeDown(node),))


def doubles(snapshot: Snapshot) -> Iterator[Case]:
    """Every pair of links that carry something."""
    for pair in combinations(_working(snapshot), 2):
        yield Case(tuple(map(Cut, pair)))


def with_changes(snapshot: Snapshot, changes: Sequence[Change]) -> Snapshot:
    """The network after the changes, in their order; all that cannot be is told together."""
    _check(snapshot, changes)
    links = dict(snapshot.links)
    for change in changes:
        if isinstance(change, Added):
            view = _added(change, links.keys())
            links[view.link.name] = view
        for name in links_lost(replace(snapshot, links=links), [change]):
            links[name] = _dead(links[name])
    return replace(snapshot, version=snapshot.version + 1, links=links)


def links_lost(snapshot: Snapshot, changes: Iterable[Change]) -> set[LinkName]:
    """The links that the changes take out of use."""
    lost: set[LinkName] = set()
    for change in changes:
        if isinstance(change, Cut):
            lost.add(change.link)
        elif isinstance(change, NodeDown):
            lost |= {n for n, v in snapshot.links.items() if change.node in (v.link.a, v.link.b)}
    return lost


def _check(snapshot: Snapshot, changes: Sequence[Change]) -> None:
    wrong: list[Violation] = []
    for index, change in enumerate(changes):
        field = f"changes[{index}]"
        if isinstance(change, Cut) and change.link not in snapshot.links:
            wrong.append(Violation(f"{field}.cut_link", _no("link", change.link, snapshot.links)))
        if isinstance(change, NodeDown) and change.node not in snapshot.nodes:
            wrong.append(Violation(f"{field}.down_node", _no("node", change.node, snapshot.nodes)))
        if isinstance(change, Added):
            ends = (("a_node", change.a), ("b_node", change.b))
            wrong += [
                Violation(f"{field}.add_link.{end}", _no("node", node, snapshot.nodes))
                for end, node in ends
                if node not in snapshot.nodes
            ]
            if change.a == change.b:
                wrong.append(Violation(f"{field}.add_link.b_node", "a link joins two different nodes"))
    if wrong:
        raise InvalidInputError(wrong)


def _no(kind: str, name: str, known: Iterable[str]) -> str:
    return f"there is no {kind} '{name}'; {instead_of(name, known)}"


def _working(snapshot: Snapshot) -> list[LinkName]:
    return [name for name, view in sorted(snapshot.links.items()) if flows(view)]


def _dead(view: LinkView) -> LinkView:
    return replace(
        view,
        condition=Condition.DOWN,
        reason="supposed to have failed",
        usable_rate_bps=0.0,
        keeps_paths=False,
        takes_paths=False,
    )


def _added(change: Added, taken: Collection[str]) -> LinkView:
    name = base = f"new-{change.a}-{change.b}"
    number = 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return LinkView(
        link=Link(LinkName(name), change.a, change.b, length_km=change.length_km),
        condition=Condition.OK,
        reason="supposed to be there",
        qber_ratio=0.0,
        skr_bps=change.rate_bps,
        usable_rate_bps=change.rate_bps,
        pool_bits=0,
        keeps_paths=True,
        takes_paths=True,
    )


def _effect(stream: Stream, before: StreamPlan, after: StreamPlan, down: set[NodeName]) -> Effect | None:  # noqa: PLR0911  # a table
    if down & {stream.source, stream.target}:
        return Effect.ENDS
    had, has = _k(before), _k(after)
    least = stream.min_rate_bps * (1 - RATE_TOLERANCE)
    if had and not has:
        return Effect.FAILS_CLOSED if _fails_closed(stream) else Effect.PQC_ONLY
    if before.rate_bps >= least > after.rate_bps:
        return Effect.BELOW_MINIMUM
    if (has and not had) or before.rate_bps < least <= after.rate_bps:
        return Effect.RECOVERS
    if has < had:
        return Effect.FEWER_PATHS
    if after.rate_bps < before.rate_bps * (1 - SAME_RATE_RATIO):
        return Effect.SLOWER
    if after.rate_bps > before.rate_bps * (1 + SAME_RATE_RATIO):
        return Effect.FASTER
    return Effect.MOVED if _routes(before) != _routes(after) else None


def _fails_closed(stream: Stream) -> bool:
    return stream.require_qkd or stream.on_exhaustion is not OnExhaustion.PQC


def _k(plan: StreamPlan) -> int:
    return min((len(one.paths) for one in in_use(plan)), default=0)


def _routes(plan: StreamPlan) -> set[tuple[LinkName, ...]]:
    return {path.links for one in in_use(plan) for path in one.paths}


def _at_once(plan: StreamPlan, lost: set[LinkName]) -> str:
    """What the agents do until there is a new plan: they hold the sets of the plan in force."""
    used = in_use(plan)
    standing = [one for one in used if not one.crosses(lost)]
    if len(standing) == len(used):
        return ""
    if standing:
        return "goes on over what is left of its paths"
    spare = [one for one in plan.path_sets if one.rank > 0 and not one.crosses(lost)]
    return f"moves to backup {min(one.rank for one in spare)}" if spare else "no backup stands"


def _reason(stream: Stream, after: StreamPlan, effect: Effect, down: set[NodeName]) -> str:
    if effect is Effect.ENDS:
        return f"its end {' and '.join(sorted(down & {stream.source, stream.target}))} is down"
    if effect is Effect.PQC_ONLY:
        return f"{after.reason}; goes on with ML-KEM alone"
    if effect is Effect.FAILS_CLOSED:
        served = "refuses at once" if stream.on_exhaustion is OnExhaustion.REFUSE else "serves what is ready"
        return f"{after.unmet or after.reason}; {served}, then 503"
    return after.unmet or after.reason
