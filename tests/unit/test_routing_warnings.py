"""What a stream is told at its creation that the network as it is built cannot give it."""

from dataclasses import replace

import networkx as nx
import pytest

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing import explain, plan_streams
from keyweave.controller.routing.warnings import warnings_for
from keyweave.controller.topology import Condition, Snapshot
from tests.bench.networks import vtlwavenet2011
from tests.unit.networks import LinkRow, ring, snapshot, stream

LINE: list[LinkRow] = [("ab", "a", "b", 1000.0), ("bc", "b", "c", 400.0)]


def test_a_stream_that_can_have_all_it_asks_is_told_nothing() -> None:
    network = snapshot(ring(6), [])
    assert warnings_for(network, stream("s", "n0", "n3", k=2, min_rate_bps=900.0)) == ()


def test_links_that_are_down_or_have_not_told_a_rate_yet_count_as_built() -> None:
    conditions = {"l0": Condition.DOWN, "l1": Condition.STALE, "l2": Condition.SUSPECT}
    network = snapshot(ring(6), [], conditions=conditions)
    assert warnings_for(network, stream("s", "n0", "n3", k=2, min_rate_bps=900.0)) == ()


def test_a_node_in_maintenance_relays_nothing_and_is_named() -> None:
    network = snapshot(LINE, [], maintenance=["b"])
    (told,) = warnings_for(network, stream("s", "a", "c"))
    assert "no usable links connect a and c" in told
    assert "node b (maintenance)" in told


def test_a_disabled_link_counts_as_not_there() -> None:
    network = snapshot(ring(4), [])
    view = network.links[LinkName("l0")]
    off = replace(view, link=replace(view.link, disabled=True))
    cut = replace(network, links={**network.links, LinkName("l0"): off})
    (told,) = warnings_for(cut, stream("s", "n0", "n1", k=2, min_k=1))
    assert "link l1 is a bridge" in told
    assert "link l0" not in told
    # Neither is it planned over.
    plan = plan_streams(replace(cut, streams={StreamName("s"): stream("s", "n0", "n1")}), None, 1)
    (used,) = plan.streams[StreamName("s")].path_sets
    assert used.paths[0].links == ("l3", "l2", "l1")


def test_an_end_that_does_not_exist_is_named() -> None:
    (told,) = warnings_for(snapshot(LINE, []), stream("s", "a", "z"))
    assert told == "node z does not exist: create it or change the stream's ends"


def test_a_limit_that_leaves_no_path_is_named_even_while_links_are_down() -> None:
    network = snapshot(LINE, [], conditions={"ab": Condition.DOWN})
    (told,) = warnings_for(network, stream("s", "a", "c", max_trusted_nodes=0))
    assert told == "no path keeps to max_trusted_nodes; without it there is a→b→c"


def test_a_minimum_rate_beyond_what_the_paths_carry_names_both_figures() -> None:
    (told,) = warnings_for(snapshot(LINE, []), stream("s", "a", "c", min_rate_bps=500.0))
    assert told == "min_rate_bps 500 exceeds the 388 bit/s that its paths can carry; lower it"


def test_a_minimum_rate_is_not_doubted_where_a_link_has_not_told_its_rate() -> None:
    network = snapshot(LINE, [], conditions={"bc": Condition.STALE})
    assert warnings_for(network, stream("s", "a", "c", min_rate_bps=900.0)) == ()


@pytest.mark.parametrize(
    ("min_k", "then"),
    [(2, "below min_k=2, so no quantum path will serve it"), (1, "goes on with 1, which min_k=1 allows")],
)
def test_k_that_cannot_be_met_names_the_cut_and_what_follows(min_k: int, then: str) -> None:
    (told,) = warnings_for(snapshot(LINE, []), stream("s", "a", "c", k=2, min_k=min_k))
    assert told == (
        "k=2 needs 2 node-disjoint paths; only 1 exists: link ab is a bridge, node b is a cut node,"
        f" link bc is a bridge; {then}"
    )


# ---- a real network that is nearly a tree ---------------------------------------------------------


def graph(network: Snapshot) -> "nx.Graph[str]":
    """Parallel links fall together: VtlWavenet2011 has none."""
    built: nx.Graph[str] = nx.Graph()
    for name, view in network.links.items():
        built.add_edge(view.link.a, view.link.b, link=name)
    return built


def between(built: "nx.Graph[str]", source: str, target: str) -> set[str]:
    """Every bridge and cut node between two nodes, found by taking each away."""
    found = set()
    for a, b in nx.bridges(built):
        rest = built.copy()
        rest.remove_edge(a, b)
        if not nx.has_path(rest, source, target):
            found.add(f"link {built.edges[a, b]['link']} is a bridge")
    for node in nx.articulation_points(built):
        rest = built.copy()
        rest.remove_node(node)
        if node not in (source, target) and not nx.has_path(rest, source, target):
            found.add(f"node {node} is a cut node")
    return found


def test_on_vtlwavenet2011_45_of_93_links_are_bridges() -> None:
    built = graph(vtlwavenet2011(0))
    assert built.number_of_edges() == 93
    assert len(list(nx.bridges(built))) == 45


def test_on_vtlwavenet2011_two_shares_are_told_every_bridge_and_cut_node_between_their_ends() -> None:
    network = vtlwavenet2011(60)
    built = graph(network)
    told = 0
    for one in network.streams.values():
        wanted = stream(one.name, one.source, one.target, k=2)
        expected = between(built, one.source, one.target)
        words = warnings_for(network, wanted)
        if not expected:
            assert words == ()
            continue
        told += 1
        (text,) = words
        named = text.removeprefix("k=2 needs 2 node-disjoint paths; only 1 exists: ").partition(";")[0]
        assert set(named.split(", ")) == expected
        assert len(named.split(", ")) == len(expected)
    assert told > 30


def test_the_plan_and_its_explanation_name_the_same_bridges() -> None:
    network = vtlwavenet2011(60)
    built = graph(network)
    one = next(s for s in network.streams.values() if len(between(built, s.source, s.target)) > 8)
    name = StreamName("s")
    alone = snapshot([], [stream("s", one.source, one.target, k=2)])
    alone = Snapshot(1, network.nodes, network.links, alone.streams)
    plan = plan_streams(alone, None, 1)
    text = "\n".join(explain(alone, plan, name))
    for cut in between(built, one.source, one.target):
        assert cut in plan.streams[name].unmet
        assert cut in text
