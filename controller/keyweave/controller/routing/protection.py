"""Backups: path sets to move to when rank 0 fails, as far from it as the network allows."""

from collections.abc import Mapping, Sequence

from keyweave.common.names import LinkName
from keyweave.controller.routing import reasons
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import (
    Candidate,
    Terrain,
    candidate,
    risk_groups_of,
    surviving,
)
from keyweave.controller.topology import PathSet, Snapshot, Stream

MAX_BACKUPS = 2

# What sharing costs, in hops: first avoid the same links, then the same nodes, then the same risk groups.
# The steps are wide enough that no saving further down outweighs one thing shared further up on paths of up
# to some tens of hops.
_SHARED_LINK = 10_000.0
_SHARED_NODE = 1_000.0
_SHARED_RISK_GROUP = 100.0
# What is left of these costs where a search has to stay close by.
_CLOSE_BY = 1e-3


def backups(
    snapshot: Snapshot,
    finder: Finder,
    stream: Stream,
    primary: Sequence[Candidate],
    in_force: Sequence[PathSet],
    known: Sequence[Candidate] | None = None,
) -> tuple[PathSet, ...]:
    """Up to MAX_BACKUPS sets, best first, each of use after some failure that takes those before it away.

    Those in force stay while there are as many and none has more in common with the primary than a new one.
    Of a class too large to search far for each, other sets are `known`: the best of those are taken, and
    if none is of use the search stays close by, at the price of sharing something that could be avoided.
    """
    terrain, scope = finder.terrain, finder.scope
    share = 1.0 if known is None else _CLOSE_BY
    chosen = _best_of(terrain, primary, known or ()) or _choose(finder, stream, primary, share)
    sizes = range(stream.min_k, stream.k + 1)
    standing = [surviving(snapshot, terrain, scope, path_set, sizes) for path_set in in_force]
    held = [one for one in standing if one is not None and _adds_to(primary, one)]
    if len(held) == len(chosen) and all(
        len(old.routes) == len(new.routes)
        and _overlap(terrain, primary, old) <= _overlap(terrain, primary, new)
        for old, new in zip(held, chosen, strict=True)
    ):
        chosen = held
    return tuple(
        PathSet(rank, 0.0, one.paths(stream.name), reasons.backup(terrain, stream, primary, one))
        for rank, one in enumerate(chosen, start=1)
    )


def _best_of(terrain: Terrain, primary: Sequence[Candidate], known: Sequence[Candidate]) -> list[Candidate]:
    used = {one.links for one in primary}
    spare = [one for one in known if one.links not in used]
    chosen: list[Candidate] = []
    for one in sorted(spare, key=lambda one: (_overlap(terrain, primary, one), len(one.links), one.links)):
        if len(chosen) < MAX_BACKUPS and _adds_to((*primary, *chosen), one):
            chosen.append(one)
    return chosen


def _choose(finder: Finder, stream: Stream, primary: Sequence[Candidate], share: float) -> list[Candidate]:
    terrain = finder.terrain
    size = len(primary[0].routes)
    last_size = min(size, stream.min_k)
    finders = {k: Finder(terrain, finder.scope, k, finder.hops_left) for k in (size, last_size)}
    chosen: list[Candidate] = []
    for attempt in (size, last_size, last_size):
        if len(chosen) == MAX_BACKUPS:
            break
        routes = finders[attempt].cheapest(_weights(terrain, (*primary, *chosen), share))
        if routes is None:
            continue
        found = candidate(routes)
        if _adds_to((*primary, *chosen), found):
            chosen.append(found)
    return chosen


def _adds_to(sets: Sequence[Candidate], found: Candidate) -> bool:
    # A set that holds all of another's links and nodes fails whenever that one does.
    return not any(found.elements >= one.elements for one in sets)


def _overlap(terrain: Terrain, primary: Sequence[Candidate], one: Candidate) -> tuple[int, int]:
    """How much a set has in common with the primary: links and nodes first, then risk groups."""
    links = {link for used in primary for link in used.links}
    nodes = {node for used in primary for node in used.trusted_nodes}
    shared = len(links.intersection(one.links)) + len(nodes.intersection(one.trusted_nodes))
    groups = risk_groups_of(terrain, links)
    return shared, len(risk_groups_of(terrain, one.links) & groups) if groups else 0


def _weights(terrain: Terrain, avoid: Sequence[Candidate], share: float) -> Mapping[LinkName, float]:
    """Link costs that lead away from what sets use, the further the more sets use it."""
    shared_link, shared_node, shared_group = (
        cost * share for cost in (_SHARED_LINK, _SHARED_NODE, _SHARED_RISK_GROUP)
    )
    weights = dict(terrain.length_cost)
    for one in avoid:
        groups = risk_groups_of(terrain, one.links)
        for link in weights if groups else ():
            weights[link] += shared_group * len(terrain.risk_groups[link] & groups)
        for link in one.links:
            if link in weights:
                weights[link] += shared_link
        for node in one.trusted_nodes:
            # Half on the way in and half on the way out.
            for hop in terrain.hops.get(node, ()):
                weights[hop.link] += shared_node / 2
    return weights
