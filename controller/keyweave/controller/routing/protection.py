"""Backups: path sets to move to when rank 0 fails, as far from it as the network allows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keyweave.controller.routing import reasons
from keyweave.controller.routing.arcs import Arcs, Floats
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import (
    Candidate,
    Route,
    Terrain,
    candidate,
    risk_groups_of,
    surviving,
)
from keyweave.controller.routing.pairs import cheapest_pairs, cheapest_routes
from keyweave.controller.routing.trees import Trees
from keyweave.controller.topology import PathSet, Snapshot, Stream

MAX_BACKUPS = 2

# What sharing costs, in hops: first avoid the same links, then the same nodes, then the same risk groups.
# The steps are wide enough that no saving further down outweighs one thing shared further up on paths of up
# to some tens of hops.
_SHARED_LINK = 10_000.0
_SHARED_NODE = 1_000.0
_SHARED_RISK_GROUP = 100.0

# Links, nodes and risk groups.
_Shared = tuple[frozenset[str], frozenset[str], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Protected:
    """A stream in use that is to get backups."""

    stream: Stream
    finder: Finder
    primary: tuple[Candidate, ...]
    # Backups of the previous plan.
    in_force: tuple[PathSet, ...]
    # In a class too large to search for each of its streams: other sets that came up.
    known: tuple[Candidate, ...] = ()


def backups(snapshot: Snapshot, trees: Trees, streams: Sequence[Protected]) -> list[tuple[PathSet, ...]]:
    """Up to MAX_BACKUPS sets each, best first, of use after some failure that takes those before them away.

    Beside them there are the parts of the foremost set in use that the stream may go on with.
    Those in force stay while there are as many and none has more in common with the primary than a new one.
    Of sets that are known the best are taken; it is searched for streams that have none of use.
    """
    uses = [_InUse(one.finder.terrain, one.primary) for one in streams]
    found = [_best_of(one, used) for one, used in zip(streams, uses, strict=True)]
    without = [i for i, sets in enumerate(found) if not sets]
    for i, sets in zip(without, _choose(trees, [streams[i] for i in without]), strict=True):
        found[i] = sets
    return [
        _in_ranks(snapshot, one, used, sets) for one, used, sets in zip(streams, uses, found, strict=True)
    ]


def _in_ranks(
    snapshot: Snapshot, one: Protected, used: "_InUse", chosen: list[Candidate]
) -> tuple[PathSet, ...]:
    terrain, stream, primary = one.finder.terrain, one.stream, one.primary
    parts = _parts(one)
    if one.in_force:
        sizes = range(stream.min_k, stream.k + 1)
        standing = (surviving(snapshot, terrain, one.finder.scope, each, sizes) for each in one.in_force)
        own = {part.links for part in parts}
        held = [each for each in standing if each and each.links not in own and _adds_to(primary, each)]
        if len(held) == len(chosen) and all(
            old.links == new.links
            or (len(old.routes) == len(new.routes) and used.overlap(old) <= used.overlap(new))
            for old, new in zip(held, chosen, strict=True)
        ):
            chosen = held
    chosen = _with_parts(chosen, parts)
    return tuple(
        [
            PathSet(
                rank,
                0.0,
                each.paths(stream.name),
                reasons.backup(terrain, stream, each, used.shared_with(each)),
            )
            for rank, each in enumerate(chosen, start=1)
        ]
    )


def _parts(one: Protected) -> list[Candidate]:
    """What is left of the foremost set in use when one of its paths fails, if the stream may go on with it.

    Whatever single link or node fails, the agents hold one of these, or the whole set.
    """
    routes = one.primary[0].routes
    if len(routes) <= max(1, one.stream.min_k):
        return []
    return [candidate(routes[:i] + routes[i + 1 :]) for i in range(len(routes))]


def _with_parts(chosen: Sequence[Candidate], parts: Sequence[Candidate]) -> list[Candidate]:
    """Backups, then parts; last the backups within a part, which it can do nothing for once they fail."""
    known = {each.links for each in chosen}
    fresh = [part for part in parts if part.links not in known]
    within = [any(set(each.links).issubset(part.links) for part in fresh) for each in chosen]
    before = [each for each, last in zip(chosen, within, strict=True) if not last]
    return [*before, *fresh, *(each for each, last in zip(chosen, within, strict=True) if last)]


def _best_of(one: Protected, used: "_InUse") -> list[Candidate]:
    if not one.known:
        return []
    in_use = {each.links for each in one.primary}
    spare = [each for each in one.known if each.links not in in_use]
    chosen: list[Candidate] = []
    for each in sorted(spare, key=lambda c: (used.overlap(c), len(c.links), c.links)):
        if len(chosen) < MAX_BACKUPS and _adds_to((*one.primary, *chosen), each):
            chosen.append(each)
    return chosen


def _choose(trees: Trees, streams: Sequence[Protected]) -> list[list[Candidate]]:
    """Backups by search: with as many paths as the primary first, then with the fewest that will do."""
    found: list[list[Candidate]] = [[] for _ in streams]
    sizes = [len(one.primary[0].routes) for one in streams]
    least = [min(size, one.stream.min_k) for size, one in zip(sizes, streams, strict=True)]
    for attempt in (sizes, least, least):
        by_size: dict[int, list[int]] = {}
        for i, size in enumerate(attempt):
            if len(found[i]) < MAX_BACKUPS:
                by_size.setdefault(size, []).append(i)
        for size, members in by_size.items():
            asked = [(streams[i], (*streams[i].primary, *found[i])) for i in members]
            for i, routes in zip(members, _searched(trees, size, asked), strict=True):
                if routes is not None and _adds_to(
                    (*streams[i].primary, *found[i]), one := candidate(routes)
                ):
                    found[i].append(one)
    return found


def _adds_to(sets: Sequence[Candidate], found: Candidate) -> bool:
    # A set that holds all of another's links (and so its trusted nodes) fails whenever that one does.
    links, count = frozenset(found.links), len(found.links)
    return not any(len(one.links) <= count and links.issuperset(one.links) for one in sets)


class _InUse:
    """What the sets of a primary use, and what others have in common with it."""

    def __init__(self, terrain: Terrain, primary: Sequence[Candidate]) -> None:
        self._terrain = terrain
        self._links = frozenset[str]().union(*[used.links for used in primary])
        self._nodes = frozenset[str]().union(*[used.trusted_nodes for used in primary])
        self._groups = frozenset[str]().union(*[risk_groups_of(terrain, used.links) for used in primary])
        # By the set's identity: what is chosen is asked for again when it is put into words.
        self._known: dict[int, tuple[Candidate, _Shared]] = {}

    def overlap(self, one: Candidate) -> tuple[int, int]:
        """How much is shared: links and nodes first, then risk groups."""
        links, nodes, groups = self._shared(one)
        return len(links) + len(nodes), len(groups)

    def shared_with(self, one: Candidate) -> list[str]:
        """What is shared, by kind and name."""
        links, nodes, groups = self._shared(one)
        shared = [f"link {link}" for link in sorted(links)]
        shared += [f"node {node}" for node in sorted(nodes)]
        return shared + [f"risk group {group}" for group in sorted(groups)]

    def _shared(self, one: Candidate) -> _Shared:
        if id(one) not in self._known:
            groups = self._groups
            if groups:
                groups &= risk_groups_of(self._terrain, one.links)
            shared = self._links.intersection(one.links), self._nodes.intersection(one.trusted_nodes), groups
            self._known[id(one)] = one, shared
        return self._known[id(one)][1]


def _searched(
    trees: Trees, size: int, asked: Sequence[tuple[Protected, Sequence[Candidate]]]
) -> list[tuple[Route, ...] | None]:
    """For each stream the set of so many routes that has least in common with those to avoid."""
    finders = [Finder(one.finder.terrain, one.finder.scope, size, one.finder.hops_to) for one, _ in asked]
    plain = trees.arcs.costs(asked[0][0].finder.terrain.length_cost)
    if size > 2:
        return [
            finder.cheapest(trees.arcs.weights(_costs(trees.arcs, plain, finder.terrain, avoid)))
            for finder, (_, avoid) in zip(finders, asked, strict=True)
        ]
    searches = (
        (finder.scope, _costs(trees.arcs, plain, finder.terrain, avoid))
        for finder, (_, avoid) in zip(finders, asked, strict=True)
    )
    found = (cheapest_routes if size == 1 else cheapest_pairs)(trees.arcs, searches)
    return [
        routes
        if routes is None or finder.fits(routes)
        else finder.instead_of(routes, trees.arcs.weights(_costs(trees.arcs, plain, finder.terrain, avoid)))
        for finder, routes, (_, avoid) in zip(finders, found, asked, strict=True)
    ]


def _costs(arcs: Arcs, plain: Floats, terrain: Terrain, avoid: Sequence[Candidate]) -> Floats:
    """Costs of arcs that lead away from what sets use, the further the more sets use it."""
    costs = plain.copy()
    for one in avoid:
        groups = risk_groups_of(terrain, one.links)
        for link in terrain.risk_groups if groups else ():
            costs[arcs.of_links([link])] += _SHARED_RISK_GROUP * len(terrain.risk_groups[link] & groups)
        costs[arcs.of_links(one.links)] += _SHARED_LINK
        # Half on the way in and half on the way out.
        np.add.at(costs, arcs.at_nodes(one.trusted_nodes), _SHARED_NODE / 2)
    return costs
