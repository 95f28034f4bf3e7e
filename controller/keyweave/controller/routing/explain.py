"""What a plan means for one stream, in lines for people."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from keyweave.common.errors import NotFoundError
from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing import reasons
from keyweave.controller.routing.alternatives import alternatives
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import OVERHEAD, candidate, link_load, scope, terrain
from keyweave.controller.topology import OnExhaustion, Path, PathSet, Plan, Snapshot, Stream

_MAX_RUNNERS_UP = 2


def explain(
    snapshot: Snapshot,
    plan: Plan,
    stream: StreamName,
    vendor_domains: Mapping[LinkName, str] = MappingProxyType({}),
) -> tuple[str, ...]:
    """Paths, who can see the keys, what limits the rate, runners-up, and what a single failure would do.

    `vendor_domains` has the links whose keys come through a vendor's domain, and which.
    """
    if stream not in snapshot.streams:
        raise NotFoundError(f"stream {stream!r} does not exist; `keyweave stream list` shows those that do")
    intent = snapshot.streams[stream]
    planned = plan.streams.get(stream)
    if planned is None:
        return (f"stream {stream} is newer than plan {plan.version}: the next plan will hold it",)
    lines = [_path_line(snapshot, path_set) for path_set in planned.path_sets]
    in_use = [path_set for path_set in planned.path_sets if path_set.rank == 0]
    if in_use:
        lines += _who_can_see(in_use, vendor_domains)
        lines += _through_vendors(intent, in_use, vendor_domains)
        lines += _limits(snapshot, plan, intent, in_use)
    lines.append(f"why: {planned.reason}")
    if stream in snapshot.pin.streams:
        pin = snapshot.pin
        lines.append(f"pinned to its paths of plan {pin.version} by '{pin.pinned_by}': keyweave plan unpin")
    if in_use:
        lines += _runners_up(snapshot, plan, intent, in_use)
    if planned.unmet and planned.unmet != planned.reason:
        lines.append(f"unmet: {planned.unmet}")
    lines.append(
        f"fresh ML-KEM after {intent.refresh_seconds} s at the latest (from the {intent.refresh_from}); "
        f"undelivered keys live {intent.key_ttl_seconds} s (from the {intent.key_ttl_from})"
    )
    if intent.pqc_only:
        return (
            *lines,
            "seen by nobody but the ends: no node relays its keys",
            "if any link fails: nothing changes",
        )
    if not in_use:
        return (*lines, f"now: {_without_quantum(intent)}")
    return (*lines, *_failures(planned.path_sets, intent))


def _path_line(snapshot: Snapshot, path_set: PathSet) -> str:
    views = {link: snapshot.links.get(link) for path in path_set.paths for link in path.links}
    failed = [
        f"{link} is {v.condition if v else 'gone'}" for link, v in views.items() if not (v and v.keeps_paths)
    ]
    since = f"; since then {', '.join(failed)}: not used before the next plan" if failed else ""
    role = f"in use at {reasons.bps(path_set.rate_bps)}" if path_set.rank == 0 else f"backup {path_set.rank}"
    links = " with ".join(", ".join(path.links) for path in path_set.paths)
    return f"{role}: {_way(path_set)} (links {links}); {path_set.reason}{since}"


def _way(path_set: PathSet) -> str:
    return reasons.nodes(path.hops for path in path_set.paths)


def _who_can_see(in_use: list[PathSet], vendor_domains: Mapping[LinkName, str]) -> list[str]:
    lines = []
    for path_set in in_use:
        way = _way(path_set)
        groups = [
            (*path.trusted_nodes, *(f"vendor domain {name}" for name in _domains_of(path, vendor_domains)))
            for path in path_set.paths
        ]
        if not all(groups):
            # A share that crosses no trusted node is seen by nobody, and without it the rest tell nothing.
            lines.append(f"seen by nobody but the ends: {way} has a direct link")
        elif len(groups) == 1:
            alone = "alone: trusted node" if len(groups[0]) == 1 else "each alone: trusted nodes"
            lines.append(f"seen by {' or '.join(groups[0])}, {alone} of {way}")
        else:
            together = " together with ".join(
                members[0] if len(members) == 1 else f"one of {', '.join(members)}" for members in groups
            )
            lines.append(f"seen only by {together}: trusted nodes of {way}")
    return lines


def _domains_of(path: Path, vendor_domains: Mapping[LinkName, str]) -> list[str]:
    """The vendors' domains that a path crosses. Its links there are trusted nodes nobody can name."""
    return sorted({vendor_domains[link] for link in path.links if link in vendor_domains})


def _through_vendors(
    stream: Stream, in_use: list[PathSet], vendor_domains: Mapping[LinkName, str]
) -> Iterator[str]:
    paths = [path for path_set in in_use for path in path_set.paths]
    for link in sorted({link for path in paths for link in path.links} & vendor_domains.keys()):
        yield f"link {link} leads through vendor domain {vendor_domains[link]}: hops unknown"
        if stream.restricts_relays:
            yield f"no QKD key over {link}: the stream limits who may relay, and who does there is unknown"


def _runners_up(snapshot: Snapshot, plan: Plan, stream: Stream, in_use: list[PathSet]) -> list[str]:
    """Sets that go another way, and why they are not used."""
    ground = terrain(snapshot)
    loads = link_load(plan)
    left = {link: max(0.0, full - loads.get(link, 0.0) / OVERHEAD) for link, full in ground.capacity.items()}
    used = [candidate(path.hops for path in one.paths) for one in in_use]
    finder = Finder(ground, scope(ground, stream), len(in_use[0].paths))
    known = {one.links for one in used}
    others = [one for one in alternatives(finder) if one.links not in known]
    rate = sum(one.rate_bps for one in in_use)
    return [reasons.runner_up(one, used, rate, ground.capacity, left) for one in others[:_MAX_RUNNERS_UP]]


def _limits(snapshot: Snapshot, plan: Plan, stream: Stream, in_use: list[PathSet]) -> list[str]:
    total = sum(path_set.rate_bps for path_set in in_use)
    if total >= stream.max_rate_bps * (1 - 1e-3):
        return [f"limit: its own max_rate_bps {stream.max_rate_bps:.0f}"]
    loads = link_load(plan)
    lines: list[str] = []
    for path_set in in_use:
        links = [link for path in path_set.paths for link in path.links if link in snapshot.links]
        full = [link for link in links if _left_ratio(snapshot, loads, link) <= reasons.FULL_RATIO]
        described = "; ".join(_link_load(snapshot, plan, stream, loads, link) for link in full)
        way = _way(path_set)
        if full:
            lines.append(
                f"bottleneck of {way}: {described}; more key on {' and '.join(full)} would raise the rate, by"
                f" 1 bit/s for every {OVERHEAD:.3f} bit/s until another link is full"
            )
        else:
            lines.append(f"bottleneck of {way}: none now, its links have room that the next plan may use")
    return lines


def _link_load(
    snapshot: Snapshot, plan: Plan, stream: Stream, loads: dict[LinkName, float], link: LinkName
) -> str:
    others = [
        name
        for name, other in plan.streams.items()
        if name != stream.name
        and any(one.rank == 0 and link in path.links for one in other.path_sets for path in one.paths)
    ]
    shared = f", shared with {reasons.listing(others)}" if others else ""
    usable = snapshot.links[link].usable_rate_bps
    return f"link {link} ({reasons.bps(loads.get(link, 0.0))} of {reasons.bps(usable)} taken{shared})"


def _left_ratio(snapshot: Snapshot, loads: dict[LinkName, float], link: LinkName) -> float:
    usable = snapshot.links[link].usable_rate_bps
    return 1 - loads.get(link, 0.0) / usable if usable > 0 else 0.0


def _failures(sets: tuple[PathSet, ...], stream: Stream) -> list[str]:
    links = sorted({link for one in sets if one.rank == 0 for path in one.paths for link in path.links})
    outcomes: dict[str, list[str]] = {}
    for link in links:
        outcomes.setdefault(_outcome(sets, link, stream), []).append(link)
    return [f"if link {' or '.join(named)} fails: {outcome}" for outcome, named in outcomes.items()]


def _outcome(sets: tuple[PathSet, ...], failed: LinkName, stream: Stream) -> str:
    alive = [one for one in sets if all(failed not in path.links for path in one.paths)]
    remaining = [one for one in alive if one.rank == 0]
    if remaining:
        rate = reasons.bps(sum(one.rate_bps for one in remaining))
        return f"{' and '.join(_way(one) for one in remaining)} goes on at {rate}"
    if alive:
        first = min(alive, key=lambda one: one.rank)
        return f"moves to backup {first.rank}, {_way(first)}"
    return _without_quantum(stream)


def _without_quantum(stream: Stream) -> str:
    """What the agents do when no path set is left."""
    if stream.on_exhaustion is OnExhaustion.REFUSE:
        return "no quantum path: refuses at once (503), buffered keys are destroyed"
    if stream.require_qkd or stream.on_exhaustion is OnExhaustion.WAIT:
        return f"no quantum path: serves up to {stream.buffer_keys} buffered keys, then 503 until one is back"
    return "no quantum path: goes on with ML-KEM alone"
