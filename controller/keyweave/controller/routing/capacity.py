"""Where the next fibre helps most: links that could be added or widened, the promising ones planned in full.

Candidates are ordered by two estimates from the plan of the network as it is. *Price*: a full link costs the
mean of one over the rate of the streams on it, as dual values of a fair allocation do (Kelly, Maulloo and Tan
1998), any other next to nothing; what a candidate saves on the cheapest routes of all streams is what it is
worth. *Cover*: how many streams that a single failure cuts off it would keep together. The best by either are
planned from nothing, beside the network as it is, and ranked by what that gives.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain, combinations, zip_longest
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.routing.grants import in_use
from keyweave.controller.routing.network import OVERHEAD, RATE_TOLERANCE, Terrain, flows, link_load, terrain
from keyweave.controller.routing.plan import finder_of, plan_streams
from keyweave.controller.routing.pricing import Pricing, Seeker
from keyweave.controller.routing.trees import Trees, matrix_of
from keyweave.controller.routing.what_if import Added, with_changes
from keyweave.controller.topology import Plan, Snapshot, Stream

# Mean radius of the earth (IUGG).
_EARTH_KM = 6371.0088
# A link that is used so far has no room for a stream that wants more.
_FULL_RATIO = 0.95
# What crossing a link with room costs, against the mean of full ones.
_IDLE_PRICE = 1e-3
# What joining two nodes that nothing joins is worth: more than any saving.
_JOINS = 1e9
# More pairs of nodes are not looked at: the shortest first.
MAX_PAIRS = 20_000

Place = tuple[float, float]
Floats = NDArray[np.float64]


class Goal(StrEnum):
    """What counts first; the others decide between equals."""

    WORST_STREAM = "worst-stream"
    PROTECTED = "protected"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Option:
    """A link that could be added, or widened where `existing` names it."""

    link: Added
    existing: LinkName | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """What a network gives its streams; those of ML-KEM alone are left out of account."""

    without_path: int
    # Streams that some single failure of a link leaves without a quantum path, or that have none.
    unprotected: int
    # The least rate of a stream that could use more; empty where none could.
    worst_stream: StreamName | None
    worst_bps: float
    total_bps: float

    def merit(self, goal: Goal) -> tuple[float, ...]:
        """Greater is better. Rates count in three figures: the rest is the solver's."""
        worst = _three_figures(self.worst_bps) if self.worst_stream else math.inf
        worth = {
            Goal.WORST_STREAM: worst,
            Goal.PROTECTED: -float(self.unprotected),
            Goal.TOTAL: _three_figures(self.total_bps),
        }
        return (-float(self.without_path), worth.pop(goal), *worth.values())


class Capacity:
    """One network, and what could be built in it."""

    def __init__(self, snapshot: Snapshot) -> None:
        streams = {name: one for name, one in snapshot.streams.items() if not one.pqc_only}
        self._snapshot = replace(snapshot, streams=streams)
        self._plan = plan_streams(self._snapshot, None, 1)
        self._cutting = cutting_links(self._snapshot)
        self.present = _score(self._snapshot, self._plan, len(self._cutting))

    def score(self, option: Option) -> Score:
        """What the network would give with `option` in it."""
        changed = _with(self._snapshot, option)
        return _score(changed, plan_streams(changed, None, 1), len(cutting_links(changed)))

    def by_promise(self, options: Sequence[Option]) -> list[Option]:
        """The options that save most and those that cover most, in turn."""
        if not options:
            return []
        worth, cover = self._estimates(options)
        by_worth = sorted(range(len(options)), key=lambda i: (-worth[i], -cover[i]))
        by_cover = sorted(range(len(options)), key=lambda i: (-cover[i], -worth[i]))
        in_turn = chain.from_iterable(zip_longest(by_worth, by_cover))
        return [options[i] for i in dict.fromkeys(i for i in in_turn if i is not None)]

    def _estimates(self, options: Sequence[Option]) -> tuple[Floats, Floats]:
        ground = terrain(self._snapshot)
        trees = Trees(ground)
        numbers = trees.arcs.nodes
        pairs = Counter((numbers[one.source], numbers[one.target]) for one in self._snapshot.streams.values())
        source, target = np.array(list(pairs), dtype=np.int64).reshape(-1, 2).T
        weight = np.array(list(pairs.values()), dtype=np.float64)
        prices = _prices(ground, self._plan)
        far = _distances(trees, prices)
        reached = np.isfinite(far[source, target])
        present = np.where(reached, far[source, target], 0.0)
        worth, cover = np.zeros(len(options)), np.zeros(len(options))
        islands = self._islands(trees, ground)
        for i, option in enumerate(options):
            a, b = numbers[option.link.a], numbers[option.link.b]
            over = np.minimum(far[source, a] + far[b, target], far[source, b] + far[a, target])
            saved = np.where(reached, np.maximum(0.0, present - over), np.isfinite(over) * _JOINS)
            if option.existing is not None:
                # A widened link is as cheap as one with room.
                spared = prices.get(option.existing, 0.0)
                saved = np.where(saved > 0, np.minimum(saved, spared), 0.0)
            else:
                cover[i] = sum(
                    all({side[a], side[b]} == {side[s], side[t]} for side in sides) for s, t, sides in islands
                )
            worth[i] = float(saved @ weight)
        return worth, cover

    def _islands(self, trees: Trees, ground: Terrain) -> list[tuple[int, int, list[Mapping[int, int]]]]:
        """For each stream that a single failure cuts off: on which side of each such cut every node is."""
        sides: dict[LinkName, Mapping[int, int]] = {}
        found = []
        for name, links in self._cutting.items():
            if not links:
                continue  # it has no path at all, which its distance tells
            for link in links - sides.keys():
                islands = trees.islands(ground.capacity.keys() - {link})
                sides[link] = {trees.arcs.nodes[node]: island for node, island in islands.items()}
            stream = self._snapshot.streams[name]
            ends = (trees.arcs.nodes[stream.source], trees.arcs.nodes[stream.target])
            found.append((*ends, [sides[link] for link in sorted(links)]))
        return found


def options(
    snapshot: Snapshot, places: Mapping[NodeName, Place], rate_bps: float = 0.0, max_length_km: float = 0.0
) -> list[Option]:
    """Every working link, widened, and every pair of nodes without a link, joined.

    Without `rate_bps`, a link carries what present links of its length do. Where both nodes have a place, a
    new link is as long as a present one would be there, and not longer than `max_length_km` or the longest.
    """
    working = [view for view in snapshot.links.values() if flows(view) and view.usable_rate_bps > 0]
    if not working:
        return []
    rate_of = _rate_by_length([(one.link.length_km, one.usable_rate_bps) for one in working])
    found = [
        Option(
            Added(one.link.a, one.link.b, rate_bps or one.usable_rate_bps, one.link.length_km), one.link.name
        )
        for one in working
    ]
    longest = max_length_km or max((view.link.length_km for view in snapshot.links.values()), default=0.0)
    detour = _detour(snapshot, places)
    joined = {frozenset((view.link.a, view.link.b)) for view in snapshot.links.values()}
    new: list[Added] = []
    for a, b in combinations(sorted(snapshot.nodes), 2):
        if frozenset((a, b)) in joined:
            continue
        length = detour * great_circle_km(places[a], places[b]) if a in places and b in places else 0.0
        if not longest or length <= longest:
            new.append(Added(a, b, rate_bps or rate_of(length), length))
    new.sort(key=lambda one: one.length_km)
    return [*found, *map(Option, new[:MAX_PAIRS])]


def cutting_links(snapshot: Snapshot) -> dict[StreamName, frozenset[LinkName]]:
    """Streams that one of these links, failing, leaves without a quantum path; no link: it has none now."""
    ground = terrain(snapshot)
    trees = Trees(ground)
    seekers = {name: _seeker(trees, ground, one) for name, one in snapshot.streams.items()}
    standing = Pricing(trees, ground.length_cost, seekers.values()).cheapest(ground.length_cost)
    found: dict[StreamName, set[LinkName]] = {name: set() for name in seekers if name not in standing}
    users: dict[LinkName, list[StreamName]] = {}
    for name, one in standing.items():
        for link in set(one.links):
            users.setdefault(link, []).append(name)
    for link, names in users.items():
        rest = {other: cost for other, cost in ground.length_cost.items() if other != link}
        left = Pricing(trees, ground.length_cost, [seekers[name] for name in names]).cheapest(rest)
        for name in names:
            if name not in left:
                found.setdefault(name, set()).add(link)
    return {name: frozenset(links) for name, links in found.items()}


def great_circle_km(one: Place, other: Place) -> float:
    """The distance over ground, by the haversine formula; places are latitude and longitude in degrees."""
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, place)) for place in (one, other))
    half = math.sin((lat2 - lat1) / 2) ** 2
    half += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(math.sqrt(half))


def _three_figures(rate_bps: float) -> float:
    return float(f"{rate_bps:.3g}")


def _with(snapshot: Snapshot, option: Option) -> Snapshot:
    if option.existing is None:
        return with_changes(snapshot, [option.link])
    view = snapshot.links[option.existing]
    wider = replace(view, usable_rate_bps=view.usable_rate_bps + option.link.rate_bps)
    return replace(snapshot, links={**snapshot.links, option.existing: wider})


def _score(snapshot: Snapshot, plan: Plan, unprotected: int) -> Score:
    wanting = {
        name: plan.streams[name].rate_bps
        for name, one in snapshot.streams.items()
        if plan.streams[name].rate_bps < one.max_rate_bps * (1 - RATE_TOLERANCE)
    }
    rates = [one.rate_bps for one in plan.streams.values()]
    worst = min(wanting, key=lambda name: (wanting[name], name), default=None)
    return Score(
        without_path=sum(not in_use(one) for one in plan.streams.values()),
        unprotected=unprotected,
        worst_stream=worst,
        worst_bps=wanting[worst] if worst else min(rates, default=0.0),
        total_bps=sum(rates),
    )


def _seeker(trees: Trees, ground: Terrain, stream: Stream) -> Seeker:
    return Seeker(stream.name, finder_of(trees, ground, stream, max(1, stream.min_k)))


def _prices(ground: Terrain, plan: Plan) -> dict[LinkName, float]:
    load = link_load(plan)
    slow: dict[LinkName, list[float]] = {}
    for one in plan.streams.values():
        for link in {link for used in in_use(one) for path in used.paths for link in path.links}:
            slow.setdefault(link, []).append(1 / one.rate_bps)
    full = {
        link: sum(slow[link]) / len(slow[link])
        for link, capacity in ground.capacity.items()
        if load.get(link, 0.0) / OVERHEAD >= _FULL_RATIO * capacity
    }
    idle = _IDLE_PRICE * (sum(full.values()) / len(full) if full else 1.0)
    return {link: full.get(link, idle) for link in ground.capacity}


def _distances(trees: Trees, prices: Mapping[LinkName, float]) -> Floats:
    costs = trees.arcs.entry_costs(trees.arcs.costs(prices))
    return np.asarray(dijkstra(matrix_of(trees.arcs, costs), directed=True), dtype=np.float64)


def _rate_by_length(known: Sequence[tuple[float, float]]) -> "_Fit":
    """The logarithm of rates falls along a line with length, as fibre's loss has it (dB a km)."""
    rates = [rate for _, rate in known]
    lengths = np.array([length for length, _ in known])
    slope = 0.0
    level = math.log10(median(rates))
    if lengths.std() > 0:
        slope, level = (float(one) for one in np.polyfit(lengths, np.log10(rates), 1))
    if slope >= 0:
        slope, level = 0.0, math.log10(median(rates))
    return _Fit(slope, level, max(rates), math.log10(median(rates)))


@dataclass(frozen=True, slots=True)
class _Fit:
    slope: float
    level: float
    most: float
    unknown: float

    def __call__(self, length_km: float) -> float:
        exponent = self.level + self.slope * length_km if length_km else self.unknown
        return min(self.most, 10**exponent)


def _detour(snapshot: Snapshot, places: Mapping[NodeName, Place]) -> float:
    """How much longer links are than the way over ground: the median of those that there are."""
    located = [
        (view.link.length_km, great_circle_km(places[view.link.a], places[view.link.b]))
        for view in snapshot.links.values()
        if view.link.length_km and view.link.a in places and view.link.b in places
    ]
    return median([max(1.0, length / direct) for length, direct in located if direct] or [1.0])
