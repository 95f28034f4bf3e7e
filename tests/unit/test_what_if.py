"""What-if answers are those of the network with the change; references share nothing with the planner."""

from itertools import combinations

import networkx as nx
import pytest

from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing import OVERHEAD, plan_streams
from keyweave.controller.routing.what_if import (
    Added,
    Case,
    Change,
    Cut,
    Effect,
    NodeDown,
    Outcome,
    WhatIf,
    doubles,
    singles,
    with_changes,
)
from keyweave.controller.topology import Condition, OnExhaustion, Snapshot, Stream
from tests.unit.networks import random_network, random_streams, ring, snapshot, stream


def asked(network: Snapshot, *changes: Change) -> Outcome:
    return WhatIf(network, plan_streams(network, None, 1)).outcome(Case(changes))


def cut(*links: str) -> tuple[Cut, ...]:
    return tuple(Cut(LinkName(link)) for link in links)


def effects(outcome: Outcome) -> dict[str, Effect]:
    return {one.stream: one.effect for one in outcome.streams}


def has_paths(network: Snapshot, one: Stream, gone: frozenset[str]) -> bool:
    """Whether there are min_k node-disjoint paths, by networkx; parallel links make one edge."""
    graph = nx.Graph()
    graph.add_nodes_from(network.nodes)
    graph.add_edges_from((v.link.a, v.link.b) for name, v in network.links.items() if name not in gone)
    if one.min_k <= 1:
        return bool(nx.has_path(graph, one.source, one.target))
    # A direct link is a path of its own, and there may be several side by side.
    ends = {one.source, one.target}
    direct = sum({v.link.a, v.link.b} == ends for n, v in network.links.items() if n not in gone)
    if direct:
        graph.remove_edge(one.source, one.target)
    return bool(direct + nx.node_connectivity(graph, one.source, one.target) >= one.min_k)


@pytest.mark.parametrize("seed", range(2))
def test_who_loses_quantum_protection_is_who_has_no_paths_left(seed: int) -> None:
    rows = random_network(seed, 7, 10)
    streams = [*random_streams(seed, 7, 5), stream("k2", "n0", "n6", k=2)]
    network = snapshot(rows, streams)
    what_if = WhatIf(network, plan_streams(network, None, 1))
    cases = [*doubles(network), *(Case(cut(name)) for name, *_ in rows)]
    assert len(cases) == 45 + 10
    lost = 0
    for case in cases:
        gone = frozenset(change.link for change in case.changes if isinstance(change, Cut))
        found = effects(what_if.outcome(case))
        for one in streams:
            before = has_paths(network, one, frozenset())
            expected = before and not has_paths(network, one, gone)
            assert (found.get(one.name) is Effect.PQC_ONLY) == expected, (case, one.name)
            lost += expected
    assert lost > 0


def test_a_stream_whose_backup_stands_is_said_to_move_to_it_at_once_and_no_rate_is_lost() -> None:
    outcome = asked(snapshot(ring(4), [stream("s", "n0", "n1", max_rate_bps=100.0)]), *cut("l0"))
    (one,) = outcome.streams
    assert (one.effect, one.at_once) == (Effect.MOVED, "moves to backup 1")
    assert [one.before_bps, one.after_bps] == pytest.approx([100.0, 100.0], rel=1e-4)
    assert outcome.lost_bps == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(
    ("fields", "effect"),
    [
        ({}, Effect.PQC_ONLY),
        ({"require_qkd": True, "on_exhaustion": OnExhaustion.WAIT}, Effect.FAILS_CLOSED),
        ({"on_exhaustion": OnExhaustion.WAIT}, Effect.FAILS_CLOSED),
        ({"on_exhaustion": OnExhaustion.REFUSE}, Effect.FAILS_CLOSED),
    ],
)
def test_without_a_path_a_stream_falls_back_or_fails_closed_as_it_asks(
    fields: dict[str, object], effect: Effect
) -> None:
    network = snapshot(
        [("ab", "a", "b", 1000.0), ("bc", "b", "c", 1000.0)], [stream("s", "a", "c", **fields)]
    )
    (one,) = asked(network, *cut("bc")).streams
    assert (one.effect, one.at_once, one.after_k) == (effect, "no backup stands", 0)
    assert one.reason


def test_fewer_paths_less_than_the_minimum_and_a_slower_rate_are_told_apart() -> None:
    rows = [("direct", "a", "b", 9000.0), ("ac", "a", "c", 900.0), ("cb", "c", "b", 900.0)]
    streams = [
        stream("split", "a", "b", k=2, min_k=1, max_rate_bps=100.0, priority=2),
        stream("short", "a", "b", min_rate_bps=4000.0, max_rate_bps=4000.0, priority=1, max_hops=2),
        stream("slow", "a", "b"),
    ]
    assert effects(asked(snapshot(rows, streams), *cut("direct"))) == {
        "short": Effect.BELOW_MINIMUM,
        "split": Effect.FEWER_PATHS,
        "slow": Effect.PQC_ONLY,
    }
    slower = asked(snapshot(rows, [stream("slow", "a", "b")]), *cut("direct"))
    assert effects(slower) == {"slow": Effect.SLOWER}
    assert slower.lost_bps == pytest.approx(9000 / OVERHEAD, rel=1e-4)


def test_a_node_that_goes_down_ends_its_own_streams_and_moves_the_others() -> None:
    streams = [stream("ends", "n0", "n1"), stream("crosses", "n0", "n2", max_rate_bps=10.0)]
    found = effects(asked(snapshot(ring(4), streams), NodeDown(NodeName("n1"))))
    assert found["ends"] is Effect.ENDS
    assert found.get("crosses") in (None, Effect.MOVED)


def test_a_new_link_gives_a_stream_without_a_path_one() -> None:
    network = snapshot([("ab", "a", "b", 1000.0)], [stream("s", "a", "z")], nodes=["z"])
    outcome = asked(network, Added(NodeName("b"), NodeName("z"), 5000.0))
    (one,) = outcome.streams
    assert (one.effect, one.before_k, one.after_k) == (Effect.RECOVERS, 0, 1)
    assert one.after_bps == pytest.approx(1000 / OVERHEAD, rel=1e-4)
    assert outcome.harm == (0, 0, 0, 0, 0.0)


def test_a_cut_that_nobody_uses_changes_nothing() -> None:
    rows = [*ring(3), ("spur", "n0", "far", 1000.0)]
    assert asked(snapshot(rows, [stream("s", "n0", "n1", max_rate_bps=1.0)]), *cut("spur")).streams == ()


def test_single_failures_are_every_working_link_every_shared_risk_and_every_node() -> None:
    network = snapshot(
        [("ab", "a", "b", 1.0), ("bc", "b", "c", 1.0), ("ca", "c", "a", 1.0), ("dead", "a", "d", 1.0)],
        conditions={"dead": Condition.DOWN},
        risk_groups={"ab": ["duct"], "bc": ["duct"], "ca": ["alone"]},
    )
    found = [(case.label, case.changes) for case in singles(network)]
    assert [changes for label, changes in found if not label] == [
        *(cut(name) for name in ("ab", "bc", "ca")),
        *((NodeDown(NodeName(node)),) for node in "abc"),
    ]
    assert [(label, changes) for label, changes in found if label] == [("risk group duct", cut("ab", "bc"))]
    pairs = {frozenset(case.changes) for case in doubles(network)}
    assert pairs == {frozenset(cut(*pair)) for pair in combinations(("ab", "bc", "ca"), 2)}


def test_what_is_expected_to_do_most_harm_comes_first() -> None:
    # n0 hangs on one bridge; the rest is a ring.
    rows = [
        *((f"r{i}", a, b, rate) for i, (_, a, b, rate) in enumerate(ring(4))),
        ("bridge", "n0", "leaf", 1000.0),
    ]
    streams = [stream("s", "leaf", "n2"), stream("t", "n1", "n2", max_rate_bps=1.0)]
    network = snapshot(rows, streams)
    what_if = WhatIf(network, plan_streams(network, None, 1))
    ordered = what_if.by_expected_harm(singles(network))
    assert {frozenset(case.changes) for case in ordered[:2]} <= {
        frozenset(cut("bridge")),
        frozenset([NodeDown(NodeName("n0"))]),
        frozenset([NodeDown(NodeName("n2"))]),
        frozenset([NodeDown(NodeName("leaf"))]),
    }
    harms = [what_if.outcome(case).harm for case in ordered]
    assert harms.index(max(harms)) < 4


def test_everything_that_cannot_be_is_told_at_once_by_field() -> None:
    network = snapshot(ring(3))
    changes: list[Change] = [
        *cut("l9"),
        NodeDown(NodeName("x")),
        Added(NodeName("n0"), NodeName("y"), 1.0),
        Added(NodeName("n0"), NodeName("n0"), 1.0),
    ]
    with pytest.raises(InvalidInputError) as refused:
        with_changes(network, changes)
    assert [violation.field for violation in refused.value.violations] == [
        "changes[0].cut_link",
        "changes[1].down_node",
        "changes[2].add_link.b_node",
        "changes[3].add_link.b_node",
    ]


def test_the_network_itself_is_left_as_it_is() -> None:
    network = snapshot(ring(3), [stream("s", "n0", "n1")])
    before = snapshot(ring(3), [stream("s", "n0", "n1")])
    asked(network, *cut("l0"))
    assert network == before


def test_links_added_twice_have_names_of_their_own() -> None:
    once = Added(NodeName("n0"), NodeName("n1"), 1.0)
    assert {*with_changes(snapshot(ring(3)), [once, once]).links} == {
        *("l0", "l1", "l2"),
        *("new-n0-n1", "new-n0-n1-2"),
    }
