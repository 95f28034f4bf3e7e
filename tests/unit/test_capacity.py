"""Where the next fibre helps most: figures against networkx and exact allocation, the best come first."""

import math

import networkx as nx
import pytest

from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.routing import OVERHEAD
from keyweave.controller.routing.capacity import (
    Capacity,
    Goal,
    Option,
    Score,
    cutting_links,
    great_circle_km,
    options,
)
from keyweave.controller.routing.what_if import Added, with_changes
from keyweave.controller.topology import Snapshot
from tests.unit.exact_max_min import ExactMaxMin
from tests.unit.networks import random_network, random_streams, ring, snapshot, stream


def added(a: str, b: str, rate_bps: float = 1000.0) -> Option:
    return Option(Added(NodeName(a), NodeName(b), rate_bps))


def graph_of(network: Snapshot, without: LinkName | None = None) -> "nx.MultiGraph[str]":
    graph: nx.MultiGraph[str] = nx.MultiGraph()
    graph.add_nodes_from(network.nodes)
    graph.add_edges_from((v.link.a, v.link.b) for name, v in network.links.items() if name != without)
    return graph


def cut_off_by_one(network: Snapshot) -> dict[StreamName, frozenset[LinkName]]:
    """By trying every link."""
    found: dict[StreamName, frozenset[LinkName]] = {}
    whole = graph_of(network)
    for name, one in network.streams.items():
        cutting = frozenset(
            link for link in network.links if not nx.has_path(graph_of(network, link), one.source, one.target)
        )
        there = nx.has_path(whole, one.source, one.target)
        if cutting or not there:
            found[name] = cutting if there else frozenset()
    return found


@pytest.mark.parametrize("seed", range(3))
def test_what_a_new_link_gives_is_what_trying_everything_gives(seed: int) -> None:
    network = snapshot(random_network(seed, 6, 7), random_streams(seed, 6, 5))
    capacity = Capacity(network)
    new = [option for option in options(network, {}, 2000.0) if option.existing is None]
    assert len(new) == 15 - len({frozenset((v.link.a, v.link.b)) for v in network.links.values()})
    found: dict[Option, Score] = {}
    for option in new:
        changed = with_changes(network, [option.link])
        found[option] = score = capacity.score(option)
        exact = ExactMaxMin(changed).rates()
        assert score.worst_bps == pytest.approx(min(exact.values()), rel=1e-3)
        assert score.unprotected == len(cut_off_by_one(changed))
        assert score.without_path == 0
    for goal in (Goal.WORST_STREAM, Goal.PROTECTED):
        best = max(score.merit(goal)[:2] for score in found.values())
        first = capacity.by_promise(options(network, {}, 2000.0))[:12]
        assert best in [found[option].merit(goal)[:2] for option in first if option in found]


def test_who_is_cut_off_by_which_link_is_what_trying_every_link_tells() -> None:
    for seed in range(8):
        network = snapshot(random_network(seed, 8, 9), random_streams(seed, 8, 6))
        assert cutting_links(network) == cut_off_by_one(network)


def test_two_islands_are_joined_before_anything_else() -> None:
    rows = [*ring(3), ("x", "far-a", "far-b", 1000.0)]
    network = snapshot(rows, [stream("s", "n0", "far-a"), stream("t", "n0", "n1")])
    capacity = Capacity(network)
    assert (capacity.present.without_path, capacity.present.unprotected) == (1, 1)
    first = capacity.by_promise(options(network, {}))[0]
    assert {first.link.a[0], first.link.b[0]} == {"n", "f"}
    joined = capacity.score(added("n0", "far-a"))
    assert (joined.without_path, joined.unprotected) == (0, 1)
    assert joined.merit(Goal.TOTAL) > capacity.present.merit(Goal.TOTAL)


def test_the_narrow_link_is_worth_widening_and_a_wide_one_is_not() -> None:
    rows = [("wide", "a", "b", 9000.0), ("narrow", "b", "c", 100.0)]
    network = snapshot(rows, [stream("s", "a", "c")])
    capacity = Capacity(network)
    widened = {one.existing: capacity.score(one) for one in options(network, {}, 50.0) if one.existing}
    assert widened[LinkName("narrow")].worst_bps == pytest.approx(150 / OVERHEAD, rel=1e-4)
    assert widened[LinkName("wide")].worst_bps == pytest.approx(100 / OVERHEAD, rel=1e-4)
    (first, *_) = [one for one in capacity.by_promise(options(network, {}, 50.0)) if one.existing]
    assert first.existing == "narrow"


def test_a_stream_that_has_all_it_may_use_or_wants_no_quantum_path_is_not_the_worst() -> None:
    streams = [
        stream("sated", "a", "b", max_rate_bps=1.0),
        stream("shadow", "a", "z", pqc_only=True),
        stream("wants", "a", "b"),
    ]
    present = Capacity(snapshot([("ab", "a", "b", 1000.0)], streams, nodes=["z"])).present
    assert (present.worst_stream, present.without_path) == ("wants", 0)
    assert present.worst_bps > 900


def test_links_are_as_long_as_the_way_and_the_detours_of_present_ones_and_carry_what_such_links_do() -> None:
    places = {NodeName("n0"): (52.0, 4.0), NodeName("n1"): (52.0, 5.0), NodeName("n2"): (52.0, 6.0)}
    rows = [("l0", "n0", "n1", 1000.0), ("l1", "n1", "n2", 1000.0)]
    (new,) = [one.link for one in options(snapshot(rows), places, max_length_km=1000.0) if not one.existing]
    # The links of these networks say 10 km, less than the way: no detour.
    assert new.length_km == pytest.approx(great_circle_km(places[NodeName("n0")], places[NodeName("n2")]))
    assert new.rate_bps == pytest.approx(1000.0)
    assert [one.link for one in options(snapshot(rows), places) if not one.existing] == []
    (unlocated,) = [one.link for one in options(snapshot(rows), {}) if not one.existing]
    assert [unlocated.length_km, unlocated.rate_bps] == pytest.approx([0.0, 1000.0])


def test_a_degree_of_latitude_is_a_ninetieth_of_a_quarter_of_the_earth() -> None:
    assert great_circle_km((0.0, 0.0), (1.0, 0.0)) == pytest.approx(math.pi / 180 * 6371.0088)
    # Along a parallel the way is shorter than a degree of longitude at the equator.
    assert great_circle_km((60.0, 0.0), (60.0, 1.0)) == pytest.approx(55.6, abs=0.1)


def test_a_network_without_a_working_link_has_nothing_to_build_on() -> None:
    network = snapshot([], [stream("s", "a", "b")], nodes=["a", "b"])
    assert options(network, {}) == []
    assert Capacity(network).by_promise([]) == []
