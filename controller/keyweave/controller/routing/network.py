"""What a stream may be routed over: usable links as adjacency, capacities, and each stream's limits.

Capacities and rates inside the planner are bit/s of *delivered* key, so that one bit of a stream costs one
bit on every link it crosses; `OVERHEAD` converts to and from the bit/s that a link produces.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations
from operator import attrgetter

from keyweave.common.names import LinkName, NodeName, PathId, StreamName
from keyweave.controller.topology import Hop, LinkView, Path, PathSet, Plan, Snapshot, Stream

# Bits of link key spent per delivered bit and hop: one bit of one-time pad, and 32 bytes of one-time
# Poly1305 key (RFC 8439, section 2.5) for every relay message, which carries at least 32 keys of 32 bytes.
OVERHEAD = 1 + 32 / (32 * 32)

# Length only breaks ties between routes of as many hops: no route is 100,000 km long (the proto's limit).
TIE_PER_KM = 1e-6

# Rates come from a solver: within this they count as what was asked for.
RATE_TOLERANCE = 1e-4

Route = tuple[Hop, ...]

# The same of every hop of a route, without a loop in Python: routes of large networks have tens of hops.
_link_of = attrgetter("link")
_end_of = attrgetter("to_node")


@dataclass(frozen=True, slots=True)
class Terrain:
    """The links that may take new paths, as seen from each node, and what they carry."""

    # Every node, those without links too.
    hops: Mapping[NodeName, tuple[Hop, ...]]
    # Delivered bit/s, both directions together.
    capacity: Mapping[LinkName, float]
    # Cost of a link where only hops count (and length breaks ties).
    length_cost: Mapping[LinkName, float]
    # Of links that have any.
    risk_groups: Mapping[LinkName, frozenset[str]]
    # Nodes in maintenance relay nothing.
    resting: frozenset[NodeName]
    domains: Mapping[str, frozenset[NodeName]]


@dataclass(frozen=True, slots=True)
class Scope:
    """Where one stream may go: its ends, the nodes that may not relay for it, and how far."""

    source: NodeName
    target: NodeName
    barred: frozenset[NodeName]
    max_hops: int
    # Whether `max_hops` can bind at all: no simple path has more hops than there are other nodes.
    limited: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """Routes that a stream could use together."""

    routes: tuple[Route, ...]
    links: tuple[LinkName, ...]
    # Most it may carry: finite for a set that runs over a link which keeps paths but takes nothing new.
    bound_bps: float = float("inf")
    # What it carries by the previous plan.
    present_bps: float = 0.0
    # As paths of the stream by the previous plan, if it has them.
    present_paths: tuple[Path, ...] = field(default=(), repr=False, compare=False)

    @property
    def trusted_nodes(self) -> Iterator[NodeName]:
        """The nodes between the ends."""
        return nodes_between(self.routes)

    def paths(self, stream: StreamName) -> tuple[Path, ...]:
        """The routes as the paths of a stream."""
        if self.present_paths:
            return self.present_paths
        if len(self.routes) == 1:
            return (Path(path_id(stream, self.links), self.routes[0]),)
        return tuple([Path(path_id(stream, map(_link_of, route)), route) for route in self.routes])


def link_capacity(view: LinkView) -> float:
    """Delivered bit/s that may newly be placed on a link."""
    placeable = view.takes_paths and not view.link.maintenance and not view.link.disabled
    return max(0.0, view.usable_rate_bps) / OVERHEAD if placeable else 0.0


def flows(view: LinkView) -> bool:
    """Whether key flows over a link, as far as is known."""
    return view.keeps_paths and (view.usable_rate_bps > 0 or not view.takes_paths)


def link_load(plan: Plan) -> dict[LinkName, float]:
    """Bit/s of link key (tags included) that a plan takes from every link it uses."""
    load: dict[LinkName, float] = {}
    for stream_plan in plan.streams.values():
        for path_set in stream_plan.path_sets:
            for path in path_set.paths:
                for link in path.links:
                    load[link] = load.get(link, 0.0) + path_set.rate_bps * OVERHEAD
    return load


def terrain(snapshot: Snapshot) -> Terrain:
    """The links of a snapshot that may take paths; the wider of parallel ones first."""
    hops: dict[NodeName, list[Hop]] = {node: [] for node in sorted(snapshot.nodes)}
    views = {name: view for name, view in sorted(snapshot.links.items()) if link_capacity(view) > 0}
    for name, view in sorted(views.items(), key=lambda item: (-item[1].usable_rate_bps, item[0])):
        a, b = view.link.a, view.link.b
        if a != b and a in hops and b in hops:
            hops[a].append(Hop(name, a, b))
            hops[b].append(Hop(name, b, a))
    domains: dict[str, set[NodeName]] = {}
    for node in snapshot.nodes.values():
        domains.setdefault(node.trust_domain, set()).add(node.name)
    return Terrain(
        hops={node: tuple(outward) for node, outward in hops.items()},
        capacity={name: link_capacity(view) for name, view in views.items()},
        length_cost={name: 1 + view.link.length_km * TIE_PER_KM for name, view in views.items()},
        risk_groups={name: view.link.risk_groups for name, view in views.items() if view.link.risk_groups},
        resting=frozenset(name for name, node in snapshot.nodes.items() if node.maintenance),
        domains={domain: frozenset(members) for domain, members in domains.items()},
    )


def terrain_after(before: Snapshot, former: Terrain, snapshot: Snapshot) -> Terrain | None:
    """The same as `terrain(snapshot)`, from that of `before`, at the cost of the links that differ.

    None where nodes or links have come, gone or been described anew, or links take paths that took none.
    """
    if snapshot.nodes is not before.nodes or snapshot.links.keys() != before.links.keys():
        return None
    changed = [view for name, view in snapshot.links.items() if view is not before.links[name]]
    lost: set[LinkName] = set()
    for view in changed:
        name = view.link.name
        if view.link is not before.links[name].link or (link_capacity(view) > 0) > (name in former.capacity):
            return None
        if name in former.capacity and link_capacity(view) <= 0:
            lost.add(name)
    hops = dict(former.hops)
    for node in {end for view in changed for end in (view.link.a, view.link.b)} & hops.keys():
        left = (hop for hop in hops[node] if hop.link not in lost)
        hops[node] = tuple(
            sorted(left, key=lambda hop: (-snapshot.links[hop.link].usable_rate_bps, hop.link))
        )
    capacity = dict(former.capacity)
    capacity.update(
        (view.link.name, link_capacity(view)) for view in changed if view.link.name in former.capacity
    )
    length_cost, risk_groups = dict(former.length_cost), dict(former.risk_groups)
    for name in lost:
        for known in (capacity, length_cost, risk_groups):
            known.pop(name, None)
    return replace(former, hops=hops, capacity=capacity, length_cost=length_cost, risk_groups=risk_groups)


def scope(ground: Terrain, stream: Stream) -> Scope:
    """The limits of one stream. Its ends are exempt from what is asked of the nodes between them."""
    barred = ground.resting | stream.avoid_nodes
    if stream.allowed_trust_domains:
        foreign = (members for d, members in ground.domains.items() if d not in stream.allowed_trust_domains)
        barred = barred.union(*foreign)
    barred = (barred & ground.hops.keys()) - {stream.source, stream.target} if barred else barred
    longest = max(1, len(ground.hops) - len(barred) - 1)
    max_hops = longest
    if stream.max_hops is not None:
        max_hops = min(max_hops, stream.max_hops)
    if stream.max_trusted_nodes is not None:
        # Every node between the ends is a trusted one.
        max_hops = min(max_hops, stream.max_trusted_nodes + 1)
    return Scope(stream.source, stream.target, frozenset(barred), max_hops, limited=max_hops < longest)


def candidate(
    routes: Iterable[Route],
    bound_bps: float = float("inf"),
    present_bps: float = 0.0,
    present_paths: tuple[Path, ...] = (),
) -> Candidate:
    """Routes as a set, in an order that depends on nothing else."""
    ordered = tuple(routes)
    if len(ordered) > 1:
        ordered = tuple(sorted(ordered, key=lambda route: (len(route), [hop.link for hop in route])))
        present_paths = tuple(sorted(present_paths, key=lambda path: ordered.index(path.hops)))
    return Candidate(ordered, tuple(links_of(ordered)), bound_bps, present_bps, present_paths)


def links_of(routes: Iterable[Route]) -> Iterator[LinkName]:
    """The links of routes, in their order."""
    return map(_link_of, chain.from_iterable(routes))


def nodes_between(routes: Iterable[Route]) -> Iterator[NodeName]:
    """The nodes that relay on routes, in their order."""
    return map(_end_of, chain.from_iterable([route[:-1] for route in routes]))


def path_id(stream: StreamName, links: Iterable[LinkName]) -> PathId:
    """The name of a path: the same for as long as stream and links are."""
    digest = hashlib.sha256("\n".join(links).encode())
    return PathId(f"{stream}:{digest.hexdigest()[:8]}")


def shared_risk_groups(
    routes: Iterable[Route], risk_groups: Mapping[LinkName, frozenset[str]]
) -> frozenset[str]:
    """The risk groups that two or more of the routes have in common."""
    if not risk_groups:
        return frozenset()
    groups = [
        frozenset().union(*(risk_groups.get(hop.link, frozenset()) for hop in route)) for route in routes
    ]
    return frozenset().union(*(one & other for one, other in combinations(groups, 2)))


def risk_groups_of(ground: Terrain, links: Iterable[LinkName]) -> frozenset[str]:
    """Every risk group that one of the links belongs to."""
    if not ground.risk_groups:
        return frozenset()
    return frozenset().union(*(ground.risk_groups[link] for link in links if link in ground.risk_groups))


def surviving(
    snapshot: Snapshot, ground: Terrain, limits: Scope, path_set: PathSet, sizes: range
) -> Candidate | None:
    """A set of an earlier plan as a candidate, if the network and the stream's limits still allow it."""
    routes = [path.hops for path in path_set.paths]
    if len(routes) not in sizes or (len(routes) > 1 and not are_disjoint(routes)):
        return None
    bound = float("inf")
    views, capacity = snapshot.links, ground.capacity
    for path in path_set.paths:
        if not _is_within(ground, limits, path.nodes):
            return None
        for hop in path.hops:
            view = views.get(hop.link)
            if view is None:
                return None
            link, start, end = view.link, hop.from_node, hop.to_node
            if not (link.a == start and link.b == end) and not (link.a == end and link.b == start):
                return None
            if hop.link in capacity:
                continue
            if link.maintenance or link.disabled or view.takes_paths or not view.keeps_paths:
                return None
            # Nothing is known of the link's rate now: what runs may run on, and not grow.
            bound = min(bound, path_set.rate_bps)
    return candidate(routes, bound, path_set.rate_bps, path_set.paths) if bound > 0 else None


def are_disjoint(routes: Iterable[Route]) -> bool:
    """Whether no two routes have a link or a node between the ends in common."""
    links: set[LinkName] = set()
    nodes: set[NodeName] = set()
    for route in routes:
        own_links, own_nodes = set(links_of([route])), set(nodes_between([route]))
        if not links.isdisjoint(own_links) or not nodes.isdisjoint(own_nodes):
            return False
        links |= own_links
        nodes |= own_nodes
    return True


def _is_within(ground: Terrain, limits: Scope, nodes: Sequence[NodeName]) -> bool:
    return (
        (nodes[0], nodes[-1]) == (limits.source, limits.target)
        and len(nodes) - 1 <= limits.max_hops
        and limits.barred.isdisjoint(nodes[1:-1])
        and all(map(ground.hops.__contains__, nodes))
    )
