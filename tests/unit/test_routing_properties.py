"""What holds of every plan, whatever the network, the streams, and what happened before."""

import re
from dataclasses import replace
from itertools import pairwise
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing import KEEP_RATIO, Planner, explain, link_load, plan_streams, repair
from keyweave.controller.routing import plan as planning
from keyweave.controller.routing.allocate import MAX_SETS, MIN_SHARE
from keyweave.controller.routing.network import are_disjoint, terrain, terrain_after
from keyweave.controller.topology import Condition, Path, Plan, Snapshot, Stream
from tests.unit.networks import random_network, snapshot, stream

DOMAINS = ("north", "south")
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def networks(draw: st.DrawFn) -> Snapshot:
    """Networks of up to 9 nodes with every kind of limit on streams, links and nodes."""
    size = draw(st.integers(3, 9))
    names = [f"n{i}" for i in range(size)]
    links = random_network(draw(st.integers(0, 100_000)), size, size - 1 + draw(st.integers(0, 7)))
    link_names = [name for name, *_ in links]
    some_links = st.lists(st.sampled_from(link_names), max_size=2, unique=True)
    conditions = dict.fromkeys(draw(some_links), Condition.DOWN)
    ducts = {name: [draw(st.sampled_from(["duct-1", "duct-2"]))] for name in draw(some_links)}
    return snapshot(
        links,
        [draw(streams(f"s{i}", names)) for i in range(draw(st.integers(1, 7)))],
        conditions=conditions,
        risk_groups=ducts,
        trust_domains={name: draw(st.sampled_from(DOMAINS)) for name in names},
        maintenance=draw(st.lists(st.sampled_from(names), max_size=1)),
    )


@st.composite
def streams(draw: st.DrawFn, name: str, nodes: list[str]) -> Stream:
    source, target = draw(st.permutations(nodes))[:2]
    k = draw(st.sampled_from([1, 1, 1, 2, 2, 3]))
    minimum = draw(st.sampled_from([0.0, 0.0, 100.0, 5000.0]))
    return stream(
        name,
        source,
        target,
        k=k,
        min_k=draw(st.integers(1, k)),
        priority=draw(st.integers(0, 2)),
        min_rate_bps=minimum,
        max_rate_bps=minimum + draw(st.sampled_from([float("inf"), 50.0, 1000.0])),
        max_hops=draw(st.sampled_from([None, None, 1, 2, 3])),
        max_trusted_nodes=draw(st.sampled_from([None, None, 0, 1, 2])),
        avoid_nodes=draw(st.lists(st.sampled_from(nodes), max_size=2)),
        allowed_trust_domains=draw(st.sampled_from([(), (), ("north",), DOMAINS])),
        require_qkd=draw(st.booleans()),
    )


def change(network: Snapshot, link: LinkName, condition: Condition, factor: float = 1.0) -> Snapshot:
    """The network after one link changed."""
    view = network.links[link]
    takes = condition in (Condition.OK, Condition.DEGRADED)
    changed = replace(
        view,
        condition=condition,
        usable_rate_bps=view.skr_bps * factor if takes else 0.0,
        takes_paths=takes,
        keeps_paths=takes or condition is Condition.STALE,
    )
    return replace(network, version=network.version + 1, links={**network.links, link: changed})


def path_ids(plan: Plan) -> dict[StreamName, set[tuple[bool, str]]]:
    """Each stream's paths, and whether they are in use or backup."""
    return {
        name: {(one.rank == 0, path.path_id) for one in planned.path_sets for path in one.paths}
        for name, planned in plan.streams.items()
    }


def links_in_use(plan: Plan, name: StreamName) -> set[LinkName]:
    sets = (one for one in plan.streams[name].path_sets if one.rank == 0)
    return {link for one in sets for path in one.paths for link in path.links}


def room_for(network: Snapshot, plan: Plan, name: StreamName) -> float:
    """How much more the sets that a stream uses could carry, bit/s of link key."""
    loads = link_load(plan)
    sets = (one for one in plan.streams[name].path_sets if one.rank == 0)
    return max(
        min(network.links[link].usable_rate_bps - loads[link] for path in one.paths for link in path.links)
        for one in sets
    )


def assert_path_is_allowed(network: Snapshot, wanted: Stream, path: Path, *, newly: bool) -> None:
    assert (path.nodes[0], path.nodes[-1]) == (wanted.source, wanted.target)
    assert len(set(path.nodes)) == len(path.nodes)
    for first, second in pairwise(path.hops):
        assert first.to_node == second.from_node
    assert wanted.max_hops is None or len(path.hops) <= wanted.max_hops
    assert wanted.max_trusted_nodes is None or len(path.trusted_nodes) <= wanted.max_trusted_nodes
    for node in path.trusted_nodes:
        assert node not in wanted.avoid_nodes
        assert not network.nodes[node].maintenance
        assert (
            not wanted.allowed_trust_domains
            or network.nodes[node].trust_domain in wanted.allowed_trust_domains
        )
    for hop in path.hops:
        view = network.links[hop.link]
        assert {hop.from_node, hop.to_node} == {view.link.a, view.link.b}
        assert not view.link.maintenance
        assert view.takes_paths if newly else view.keeps_paths


def assert_sound(network: Snapshot, plan: Plan, stale: frozenset[LinkName] = frozenset()) -> None:
    """Everything that must hold of a plan on its own. Links in `stale` may only keep paths."""
    assert set(plan.streams) == set(network.streams)
    assert plan.snapshot_version == network.version
    for link, load in link_load(plan).items():
        assert link in stale or load <= network.links[link].usable_rate_bps * (1 + 1e-9)
    for name, planned in plan.streams.items():
        wanted = network.streams[name]
        in_use = [one for one in planned.path_sets if one.rank == 0]
        assert len(in_use) <= MAX_SETS
        assert abs(planned.rate_bps - sum(one.rate_bps for one in in_use)) < 1e-6
        assert planned.rate_bps <= wanted.max_rate_bps * (1 + 1e-6)
        assert [one.rank for one in planned.path_sets] == sorted(one.rank for one in planned.path_sets)
        assert len({frozenset(p.path_id for p in one.paths) for one in planned.path_sets}) == len(
            planned.path_sets
        )
        assert planned.reason
        for one in planned.path_sets:
            assert wanted.min_k <= len(one.paths) <= wanted.k
            assert are_disjoint([path.hops for path in one.paths])
            assert one.reason
            assert one.rate_bps >= MIN_SHARE * planned.rate_bps > 0 if one.rank == 0 else one.rate_bps == 0
            for path in one.paths:
                # A backup may be a part of a set that is in use.
                kept = any(path in used.paths for used in in_use)
                keeps = kept and not stale.isdisjoint(path.links)
                assert_path_is_allowed(network, wanted, path, newly=not keeps)
        if not in_use:
            assert planned.path_sets == ()
            assert planned.unmet or not (wanted.require_qkd or wanted.k > 1 or wanted.min_rate_bps)
        if planned.rate_bps < wanted.min_rate_bps * (1 - 1e-3):
            assert planned.unmet
        assert explain(network, plan, name)


@relaxed
@given(networks())
def test_a_plan_keeps_every_limit_of_links_nodes_and_streams(network: Snapshot) -> None:
    assert_sound(network, plan_streams(network, None, 1))


@relaxed
@given(networks(), st.data())
def test_a_class_that_is_shared_roughly_keeps_every_limit_too(network: Snapshot, data: st.DataObject) -> None:
    link = data.draw(st.sampled_from(sorted(network.links)))
    after = change(network, link, Condition.DOWN)
    with patch.object(planning, "EXACT_STREAMS", 0):
        before = plan_streams(network, None, 1)
        assert_sound(network, before)
        assert_sound(after, plan_streams(after, before, 2))


@relaxed
@given(networks())
def test_more_of_the_links_that_an_explanation_names_raises_the_rate(network: Snapshot) -> None:
    plan = plan_streams(network, None, 1)
    for name in network.streams:
        for line in explain(network, plan, name):
            named = re.search(r"more key on (.*) would raise the rate", line)
            if named is None:
                continue
            links = dict(network.links)
            for link in map(LinkName, named.group(1).split(" and ")):
                more = links[link].usable_rate_bps * 1.5
                links[link] = replace(links[link], usable_rate_bps=more)
            alone = replace(network, links=links)
            # What the others have stays theirs: the stream takes the room that the named links now have.
            assert room_for(alone, plan, name) > 0


@relaxed
@given(networks())
def test_the_same_input_gives_the_same_plan(network: Snapshot) -> None:
    shuffled = replace(
        network,
        nodes=dict(reversed(list(network.nodes.items()))),
        links=dict(reversed(list(network.links.items()))),
        streams=dict(reversed(list(network.streams.items()))),
    )
    assert plan_streams(network, None, 1) == plan_streams(shuffled, None, 1)


@relaxed
@given(networks())
def test_planning_again_after_no_change_moves_nothing(network: Snapshot) -> None:
    first = plan_streams(network, None, 1)
    second = plan_streams(network, first, 2)
    assert path_ids(second) == path_ids(first)
    assert path_ids(plan_streams(network, second, 3)) == path_ids(first)


@relaxed
@given(networks())
def test_a_lower_priority_never_takes_from_a_higher_one(network: Snapshot) -> None:
    with_all = plan_streams(network, None, 1)
    for priority in {one.priority for one in network.streams.values()}:
        higher = {name: one for name, one in network.streams.items() if one.priority >= priority}
        alone = plan_streams(replace(network, streams=higher), None, 1)
        for name in higher:
            assert with_all.streams[name].rate_bps == alone.streams[name].rate_bps


@relaxed
@given(networks(), st.data())
def test_a_plan_after_a_change_is_sound_and_no_stream_falls_far_behind_a_fresh_choice(
    network: Snapshot, data: st.DataObject
) -> None:
    link = data.draw(st.sampled_from(sorted(network.links)))
    condition = data.draw(st.sampled_from([Condition.OK, Condition.DOWN, Condition.MAINTENANCE]))
    before = plan_streams(network, None, 1)
    after = change(network, link, condition, data.draw(st.sampled_from([0.5, 0.9, 1.1, 3.0])))
    plan = plan_streams(after, before, 2)
    assert_sound(after, plan)
    fresh = plan_streams(after, None, 2)
    top = max(one.priority for one in network.streams.values())
    for name, one in network.streams.items():
        # Below the top class a fresh choice also has other links left over.
        if one.priority == top:
            assert plan.streams[name].rate_bps >= KEEP_RATIO * fresh.streams[name].rate_bps * (1 - 1e-3)


@relaxed
@given(networks(), st.data())
def test_a_stale_link_keeps_at_most_what_it_had(network: Snapshot, data: st.DataObject) -> None:
    before = plan_streams(network, None, 1)
    loads = link_load(before)
    link = data.draw(st.sampled_from(sorted(network.links)))
    after = change(network, link, Condition.STALE)
    plan = plan_streams(after, before, 2)
    assert_sound(after, plan, stale=frozenset([link]))
    assert link_load(plan).get(link, 0.0) <= loads.get(link, 0.0) * (1 + 1e-9)
    for name, planned in plan.streams.items():
        crossing = {p.path_id for one in planned.path_sets for p in one.paths if link in p.links}
        assert crossing <= {
            p.path_id for one in before.streams[name].path_sets if one.rank == 0 for p in one.paths
        }


@relaxed
@given(networks(), st.data())
def test_a_repair_leaves_what_the_change_did_not_touch_and_is_sound(
    network: Snapshot, data: st.DataObject
) -> None:
    before = plan_streams(network, None, 1)
    link = data.draw(st.sampled_from(sorted(network.links)))
    condition = data.draw(st.sampled_from([Condition.OK, Condition.DOWN]))
    after = change(network, link, condition, data.draw(st.sampled_from([0.3, 0.9, 1.5])))
    plan = repair(after, before, frozenset([link]), 2)
    for name, planned in plan.streams.items():
        if all(
            link not in p.links for one in before.streams[name].path_sets if one.rank == 0 for p in one.paths
        ):
            assert planned is before.streams[name]
    in_use = {
        name: replace(planned, path_sets=tuple(one for one in planned.path_sets if one.rank == 0))
        # What nothing is found for is left as it is: its link may come back.
        if planned.path_sets is not before.streams[name].path_sets
        or not any(one.crosses({link}) for one in planned.path_sets)
        else replace(planned, path_sets=(), rate_bps=0.0, unmet="nothing is left for it")
        for name, planned in plan.streams.items()
    }
    assert_sound(after, replace(plan, streams=in_use))


@relaxed
@given(networks(), st.data())
def test_the_terrain_after_a_change_is_that_of_the_whole_network(
    network: Snapshot, data: st.DataObject
) -> None:
    before, former = network, terrain(network)
    for _ in range(3):
        link = data.draw(st.sampled_from(sorted(network.links)))
        condition = data.draw(st.sampled_from([Condition.OK, Condition.DOWN, Condition.STALE]))
        network = change(network, link, condition, data.draw(st.sampled_from([0.3, 1.0, 1.5])))
        after = terrain_after(before, former, network)
        whole = terrain(network)
        if after is not None:
            assert after == whole
            assert list(after.capacity) == list(whole.capacity), "in the same order"
        before, former = network, whole


@relaxed
@given(networks(), st.data())
def test_a_planner_that_remembers_repairs_as_one_that_does_not(
    network: Snapshot, data: st.DataObject
) -> None:
    remembering = Planner()
    plan = remembering.plan_streams(network, None, 1)
    for version in range(2, 6):
        link = data.draw(st.sampled_from(sorted(network.links)))
        condition = data.draw(st.sampled_from([Condition.OK, Condition.DOWN, Condition.STALE]))
        network = change(network, link, condition)
        repaired = remembering.repair(network, plan, frozenset([link]), version)
        assert repaired == repair(network, plan, frozenset([link]), version)
        anew = data.draw(st.booleans())
        plan = remembering.plan_streams(network, repaired, version) if anew else repaired


@relaxed
@given(networks(), st.data())
def test_a_repair_gives_a_stream_something_where_anything_is_left(
    network: Snapshot, data: st.DataObject
) -> None:
    before = plan_streams(network, None, 1)
    link = data.draw(st.sampled_from(sorted(network.links)))
    after = change(network, link, Condition.DOWN)
    plan = repair(after, before, frozenset([link]), 2)
    loads = link_load(plan)
    room = {
        name: replace(view, usable_rate_bps=view.usable_rate_bps - loads.get(name, 0.0))
        for name, view in after.links.items()
    }
    room = {
        name: view
        if view.usable_rate_bps > 0.01 * after.links[name].usable_rate_bps
        else change(after, name, Condition.DOWN).links[name]
        for name, view in room.items()
    }
    for name, planned in plan.streams.items():
        hit = any(link in p.links for s in before.streams[name].path_sets if s.rank == 0 for p in s.paths)
        if hit and planned.rate_bps == 0:
            only = replace(
                after, links=room, streams={name: replace(network.streams[name], min_rate_bps=0.0)}
            )
            assert plan_streams(only, None, 1).streams[name].rate_bps < 1.0


@relaxed
@given(networks())
def test_a_backup_survives_something_that_takes_every_set_before_it(network: Snapshot) -> None:
    def elements(paths: tuple[Path, ...]) -> set[str]:
        return {element for path in paths for element in (*path.links, *path.trusted_nodes)}

    for planned in plan_streams(network, None, 1).streams.values():
        for later, backup in enumerate(planned.path_sets):
            if backup.rank > 0:
                for earlier in planned.path_sets[:later]:
                    assert elements(earlier.paths) - elements(backup.paths)
