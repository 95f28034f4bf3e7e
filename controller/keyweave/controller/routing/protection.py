"""Backups: path sets to move to when rank 0 fails, as far from it as the network allows."""

from collections.abc import Mapping, Sequence

from keyweave.common.names import LinkName
from keyweave.controller.routing import reasons
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import (
    Candidate,
    Scope,
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


def backups(
    snapshot: Snapshot,
    terrain: Terrain,
    scope: Scope,
    stream: Stream,
    primary: Sequence[Candidate],
    in_force: Sequence[PathSet],
) -> tuple[PathSet, ...]:
    """Up to MAX_BACKUPS sets, best first, each of use after some failure that takes those before it away.

    Those in force stay while there are as many and none has more in common with the primary than a new one.
    """
    chosen = _choose(terrain, scope, stream, primary)
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


def _choose(terrain: Terrain, scope: Scope, stream: Stream, primary: Sequence[Candidate]) -> list[Candidate]:
    size = len(primary[0].routes)
    last_size = min(size, stream.min_k)
    finders = {k: Finder(terrain, scope, k) for k in (size, last_size)}
    chosen: list[Candidate] = []
    for attempt in (size, last_size, last_size):
        if len(chosen) == MAX_BACKUPS:
            break
        routes = finders[attempt].cheapest(_weights(terrain, (*primary, *chosen)))
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
    elements = frozenset().union(*(used.elements for used in primary))
    groups = risk_groups_of(terrain, {link for used in primary for link in used.links})
    return len(one.elements & elements), len(risk_groups_of(terrain, one.links) & groups)


def _weights(terrain: Terrain, avoid: Sequence[Candidate]) -> Mapping[LinkName, float]:
    """Link costs that lead away from what sets use, the further the more sets use it."""
    weights = dict(terrain.length_cost)
    for one in avoid:
        groups = risk_groups_of(terrain, one.links)
        for link in weights:
            weights[link] += _SHARED_RISK_GROUP * len(terrain.risk_groups[link] & groups)
        for link in one.links:
            if link in weights:
                weights[link] += _SHARED_LINK
        for node in one.trusted_nodes:
            # Half on the way in and half on the way out.
            for hop in terrain.hops.get(node, ()):
                weights[hop.link] += _SHARED_NODE / 2
    return weights
