"""Decisions in words and figures, for `StreamPlan.reason`, `unmet` and `explain`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from keyweave.common.names import LinkName
from keyweave.controller.routing.cuts import Cuts
from keyweave.controller.routing.disjoint import Finder, bottleneck_of_disjointness
from keyweave.controller.routing.network import (
    OVERHEAD,
    Candidate,
    Route,
    Scope,
    Terrain,
    link_capacity,
    scope,
    shared_risk_groups,
)
from keyweave.controller.topology import LinkView, Snapshot, Stream

# A link counts as full when less than this share of it is left.
FULL_RATIO = 0.01
_MAX_NAMED = 6


def bps(rate: float) -> str:
    """A rate for people: a decimal where it matters."""
    return f"{rate:.0f} bit/s" if rate >= 10 or rate < 0.05 else f"{rate:.1f} bit/s"


def nodes(routes: Iterable[Route]) -> str:
    """Routes by their nodes; those that are used together joined by `with`."""
    return " with ".join(
        ["→".join((route[0].from_node, *[hop.to_node for hop in route])) for route in routes]
    )


def listing(names: Iterable[str]) -> str:
    """Names in order, not too many."""
    ordered = sorted(names)
    more = len(ordered) - _MAX_NAMED
    return ", ".join(ordered[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def narrowest(one: Candidate, capacity: Mapping[LinkName, float]) -> LinkName:
    """The link that limits a path set."""
    return min(one.links, key=lambda link: (capacity.get(link, 0.0), link))


class InUse:
    """What is said of sets in use once everybody has what he gets.

    What it says of a link is worked out once.
    """

    def __init__(self, snapshot: Snapshot, ground: Terrain, left: Mapping[LinkName, float]) -> None:
        self._snapshot, self._ground, self._left = snapshot, ground, left
        self.cuts = Cuts(ground)
        capacity = ground.capacity
        ratios = {link: left[link] / room for link, room in capacity.items() if room > 0}
        self._full = {link for link, ratio in ratios.items() if ratio < FULL_RATIO}
        # Places in these orders, so that the least of a path's links is found without a comparison in Python.
        fullest = sorted(ratios, key=lambda link: (ratios[link], link))
        self._fullness = {link: place for place, link in enumerate(fullest)}
        narrow = sorted(capacity, key=lambda link: (capacity[link], link))
        self._width = {link: place for place, link in enumerate(narrow)}
        self._narrowest: dict[LinkName, str] = {}
        self._figures: dict[LinkName, str] = {}

    def reason(self, one: Candidate) -> str:
        """Why a rank-0 set is what it is: its narrowest link, and what its paths still share."""
        if self._width.keys() >= set(one.links):
            link = min(one.links, key=self._width.__getitem__)
            if link not in self._narrowest:
                usable = bps(self._ground.capacity[link] * OVERHEAD)
                self._narrowest[link] = f"narrowest link {link}: {usable} usable"
            text = self._narrowest[link]
        else:
            stale = [name for name in one.links if name not in self._width]
            condition = self._snapshot.links[stale[0]].condition
            text = f"kept at its rate while link {listing(stale)} is {condition}"
        return text + _shared_within(self._ground, one)

    def chosen(self, sets: Sequence[tuple[Candidate, float]], stream: Stream, *, kept: bool) -> str:
        """What a stream was given, and what limits it."""
        total = sum(rate for _, rate in sets)
        parts = [
            ("keeps " if kept else "uses ")
            + " and ".join([f"{nodes(one.routes)} at {bps(rate)}" for one, rate in sets])
        ]
        if total >= stream.max_rate_bps * (1 - 1e-3):
            parts.append(f"which is all of max_rate_bps {stream.max_rate_bps:.0f}")
        else:
            parts += [f"limited by {self._limiting(one)}" for one, _ in sets]
        return "; ".join(parts)

    def _limiting(self, one: Candidate) -> str:
        """The full links of a set, or its fullest; capacities in bit/s of delivered key."""
        named = list(filter(self._full.__contains__, one.links))
        if not named:
            placed = list(filter(self._fullness.__contains__, one.links))
            if not placed:
                return "links that take nothing new"
            named = [min(placed, key=self._fullness.__getitem__)]
        return f"link {listing(map(self._figure, named))}"

    def _figure(self, link: LinkName) -> str:
        if link not in self._figures:
            room, rest = self._ground.capacity[link], self._left[link]
            self._figures[link] = f"{link} ({bps(room)} of key, {bps(rest)} left)"
        return self._figures[link]


def _shared_within(ground: Terrain, one: Candidate) -> str:
    shared = shared_risk_groups(one.routes, ground.risk_groups) if len(one.routes) > 1 else ()
    if not shared:
        return ""
    return f"; its paths share risk group {listing(shared)}: no set without was found"


def backup(ground: Terrain, stream: Stream, found: Candidate, shared: Sequence[str]) -> str:
    """Why a backup is what it is: what it shares with the sets in use, by kind and name."""
    text = (
        f"shares {', '.join(shared)} with the primary: nothing better was found"
        if shared
        else "shares no link, node or risk group with the primary"
    )
    if len(found.routes) < stream.k:
        text += f"; {len(found.routes)} instead of {stream.k} paths, which min_k={stream.min_k} allows"
    return text + _shared_within(ground, found)


def runner_up(
    one: Candidate,
    used: Sequence[Candidate],
    rate: float,
    capacity: Mapping[LinkName, float],
    left: Mapping[LinkName, float],
) -> str:
    """Why a set was not chosen by a stream that uses others for `rate` (delivered bit/s)."""
    link = narrowest(one, left)
    room = left.get(link, 0.0)
    text = f"not {nodes(one.routes)}: "
    if room < max(rate, 1.0) * 0.02:
        return text + f"link {link} has {bps(room)} left of {bps(capacity.get(link, 0.0))}"
    longer = len(one.links) - min(len(chosen.links) for chosen in used)
    if longer > 0:
        return text + f"{longer} more hop{'s' * (longer > 1)} of key spent for the same rate"
    return text + f"not needed ({bps(room)} left on its link {link})"


def starved(
    option: Candidate, stream: Stream, capacity: Mapping[LinkName, float], left: Mapping[LinkName, float]
) -> str:
    """A path exists, but nothing is left on it: its fullest link says why."""
    link = narrowest(option, left)
    return (
        f"nothing is left for it (priority {stream.priority}) on any path: streams served before it take all,"
        f" e.g. of {nodes(option.routes)} (link {link}, {bps(capacity[link])} of key)"
    )


def min_rate(stream: Stream, rate: float, alone: float) -> str:
    """Why a minimum rate is missed."""
    wanted = f"min_rate_bps {stream.min_rate_bps:.0f} exceeds the {bps(rate)}"
    if alone < stream.min_rate_bps:
        return f"{wanted} that its paths can carry; lower it{_relax(stream)}"
    return (
        f"{wanted} that other streams leave it ({bps(alone)} without them); lower it, raise its priority, or"
        f" limit the others by max_rate_bps"
    )


def _relax(stream: Stream) -> str:
    fields = [
        field
        for field, value in (
            ("avoid_nodes", stream.avoid_nodes),
            ("allowed_trust_domains", stream.allowed_trust_domains),
            ("max_hops", stream.max_hops is not None),
            ("max_trusted_nodes", stream.max_trusted_nodes is not None),
            ("k", stream.k > 1),
        )
        if value
    ]
    return f" or relax {' or '.join(fields)}" if fields else ""


def too_few_paths(
    terrain: Terrain, limits: Scope, k: int, known: tuple[int, tuple[str, ...]] | None = None
) -> str:
    """Why there are no k disjoint paths, where there is at least one; `known` if the bottleneck is."""
    exists, cut = known or bottleneck_of_disjointness(terrain, limits)
    count = f"k={k} needs {k} node-disjoint paths"
    if exists >= k:
        return f"{count}; they exist, but not all within {limits.max_hops} hops: relax max_hops"
    if exists == 1:
        # All of them, however many: doubling one and leaving the next gains nothing.
        kinds = (f"{one} is {'a bridge' if one.startswith('link ') else 'a cut node'}" for one in cut)
        return f"{count}; only 1 exists: {', '.join(kinds)}"
    return f"{count}; only {exists} exist: every path crosses one of {', '.join(cut)}"


def no_path(snapshot: Snapshot, terrain: Terrain, stream: Stream) -> str:
    """Why a stream has no quantum path at all: its own limits, or the network."""
    for end in (stream.source, stream.target):
        if end not in snapshot.nodes:
            return f"node {end} does not exist: create it or change the stream's ends"
    for field, relaxed in _relaxations(stream):
        routes = Finder(terrain, scope(terrain, relaxed), 1).cheapest(terrain.length_cost)
        if routes is not None:
            way = "→".join((stream.source, *(hop.to_node for hop in routes[0])))
            return f"no path keeps to {field}; without it there is {way}"
    resting = sorted(name for name, node in snapshot.nodes.items() if node.maintenance)
    out = _links_out_of_reach(snapshot, terrain, stream)
    causes = [f"link {listing(out)}"] if out else []
    causes += [f"node {listing(resting)} (maintenance)"] if resting else []
    back = f"; what could reconnect them: {'; '.join(causes)}" if causes else ""
    return f"no usable links connect {stream.source} and {stream.target}{back}"


def _relaxations(stream: Stream) -> list[tuple[str, Stream]]:
    single = {
        "avoid_nodes": replace(stream, avoid_nodes=frozenset()),
        "allowed_trust_domains": replace(stream, allowed_trust_domains=frozenset()),
        "max_hops": replace(stream, max_hops=None),
        "max_trusted_nodes": replace(stream, max_trusted_nodes=None),
    }
    relaxed = replace(
        stream,
        avoid_nodes=frozenset(),
        allowed_trust_domains=frozenset(),
        max_hops=None,
        max_trusted_nodes=None,
    )
    return [*single.items(), ("all its limits (avoid_nodes, allowed_trust_domains, max_hops)", relaxed)]


def _links_out_of_reach(snapshot: Snapshot, terrain: Terrain, stream: Stream) -> list[str]:
    """Unusable links that lead out of the part of the network that the source can reach."""
    reached = {stream.source}
    frontier = [stream.source]
    while frontier:
        for hop in terrain.hops.get(frontier.pop(), ()):
            if hop.to_node not in reached:
                reached.add(hop.to_node)
                frontier.append(hop.to_node)

    def state(view: LinkView) -> str:
        if view.link.disabled:
            return "disabled"
        return f"{'maintenance' if view.link.maintenance else view.condition}, {bps(view.usable_rate_bps)}"

    return [
        f"{name} ({state(view)})"
        for name, view in snapshot.links.items()
        if link_capacity(view) <= 0 and (view.link.a in reached) != (view.link.b in reached)
    ]
