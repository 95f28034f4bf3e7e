"""Routing decisions one by one, on networks small enough to check by hand."""

from collections.abc import Sequence
from dataclasses import replace
from unittest.mock import patch

import pytest

from keyweave.common.errors import NotFoundError
from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing import OVERHEAD, explain, plan_streams, repair
from keyweave.controller.routing import plan as planning
from keyweave.controller.routing.disjoint import Finder, bottleneck_of_disjointness
from keyweave.controller.routing.network import scope, terrain
from keyweave.controller.topology import Condition, OnExhaustion, Plan, Snapshot, StreamPlan
from tests.unit.networks import LinkRow, grid, ring, snapshot, stream

SQUARE: list[LinkRow] = [
    ("ab", "a", "b", 1000.0),
    ("bd", "b", "d", 1000.0),
    ("ac", "a", "c", 600.0),
    ("cd", "c", "d", 600.0),
]


def plan_one(network: Snapshot, previous: Plan | None = None) -> StreamPlan:
    """The plan of the only stream, or of stream `s`."""
    plan = plan_streams(network, previous, 1)
    return plan.streams[StreamName("s")]


def ways(planned: StreamPlan, *, rank: int = 0) -> list[list[str]]:
    """Node sequences of each set of a rank, as strings."""
    return [["-".join(path.nodes) for path in one.paths] for one in planned.path_sets if one.rank == rank]


def lines(network: Snapshot, plan: Plan | None = None) -> str:
    return "\n".join(explain(network, plan or plan_streams(network, None, 1), StreamName("s")))


def test_who_can_see_a_key_names_the_vendors_domains_whose_hops_nobody_knows() -> None:
    network = snapshot([("ab", "a", "b", 5000.0), ("bc", "b", "c", 5000.0)], [stream("s", "a", "c")])
    plan = plan_streams(network, None, 1)
    vendors = {LinkName("ab"): "acme-metro", LinkName("elsewhere"): "globex"}
    told = "\n".join(explain(network, plan, StreamName("s"), vendors))
    assert "seen by b or vendor domain acme-metro, each alone" in told
    assert "link ab leads through vendor domain acme-metro: hops unknown" in told
    assert "globex" not in told
    direct = snapshot([("ab", "a", "b", 5000.0)], [stream("s", "a", "b", max_trusted_nodes=0)])
    told = "\n".join(explain(direct, plan_streams(direct, None, 1), StreamName("s"), vendors))
    assert "seen by nobody" not in told
    assert "no QKD key over ab: the stream limits who may relay" in told


def test_tags_cost_one_key_of_32_bytes_in_every_message_of_32() -> None:
    planned = plan_one(snapshot([("ab", "a", "b", 1031.25)], [stream("s", "a", "b")]))
    assert planned.rate_bps == pytest.approx(1000.0, rel=1e-4)
    assert pytest.approx(1.03125) == OVERHEAD


def test_directly_linked_ends_have_a_path_of_one_hop_without_trusted_nodes() -> None:
    planned = plan_one(snapshot([("ab", "a", "b", 500.0)], [stream("s", "a", "b")]))
    (only,) = planned.path_sets
    assert only.paths[0].links == ("ab",)
    assert only.paths[0].trusted_nodes == ()
    assert only.paths[0].path_id.startswith("s:")


def test_without_a_limit_a_stream_is_split_over_all_that_the_network_has() -> None:
    planned = plan_one(snapshot(SQUARE, [stream("s", "a", "d")]))
    assert ways(planned) == [["a-b-d"], ["a-c-d"]]
    assert [one.rate_bps for one in planned.path_sets] == pytest.approx(
        [1000 / OVERHEAD, 600 / OVERHEAD], rel=1e-4
    )


def test_a_stream_that_fits_on_one_path_is_not_split_and_has_the_other_as_backup() -> None:
    planned = plan_one(snapshot(SQUARE, [stream("s", "a", "d", max_rate_bps=400.0)]))
    assert len(ways(planned)) == 1
    (backup,) = [one for one in planned.path_sets if one.rank == 1]
    assert backup.rate_bps == 0
    assert backup.reason == "shares no link, node or risk group with the primary"


def test_of_parallel_links_the_wider_is_used() -> None:
    network = snapshot(
        [("thin", "a", "b", 100.0), ("wide", "a", "b", 900.0)], [stream("s", "a", "b", max_rate_bps=90.0)]
    )
    assert plan_one(network).path_sets[0].paths[0].links == ("wide",)


def test_path_ids_depend_on_stream_and_links_only() -> None:
    before = plan_one(snapshot(SQUARE, [stream("s", "a", "d", max_rate_bps=400.0)]))
    after = plan_one(snapshot([*SQUARE, ("de", "d", "e", 5.0)], [stream("s", "a", "d", max_rate_bps=300.0)]))
    assert before.path_sets[0].paths[0] == after.path_sets[0].paths[0]


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"avoid_nodes": ["b"]}, "avoid_nodes"),
        ({"max_hops": 1}, "max_hops"),
        ({"max_trusted_nodes": 0}, "max_trusted_nodes"),
        ({"allowed_trust_domains": ["north"]}, "allowed_trust_domains"),
    ],
)
def test_a_limit_that_leaves_no_path_is_named_with_the_path_it_excludes(
    limits: dict[str, object], field: str
) -> None:
    network = snapshot(
        [("ab", "a", "b", 500.0), ("bc", "b", "c", 500.0)],
        [stream("s", "a", "c", require_qkd=True, **limits)],
        trust_domains={"b": "south"},
    )
    planned = plan_one(network)
    assert planned.path_sets == ()
    assert planned.unmet == f"no path keeps to {field}; without it there is a→b→c"


def test_the_ends_are_exempt_from_trust_domains_and_maintenance() -> None:
    network = snapshot(
        [("ab", "a", "b", 500.0), ("bc", "b", "c", 500.0)],
        [stream("s", "a", "c", allowed_trust_domains=["north"])],
        trust_domains={"a": "south", "b": "north", "c": "south"},
        maintenance=["a"],
    )
    assert ways(plan_one(network)) == [["a-b-c"]]


def test_a_node_in_maintenance_relays_nothing() -> None:
    network = snapshot(SQUARE, [stream("s", "a", "d")], maintenance=["b"])
    assert ways(plan_one(network)) == [["a-c-d"]]


def test_a_link_that_is_down_is_named_where_it_cuts_the_stream_off() -> None:
    network = snapshot([("ab", "a", "b", 500.0)], [stream("s", "a", "b")], conditions={"ab": Condition.DOWN})
    planned = plan_one(network)
    assert planned.path_sets == ()
    assert (
        planned.reason
        == "no usable links connect a and b; what could reconnect them: link ab (down, 0 bit/s)"
    )
    assert planned.unmet == ""


def test_a_full_pool_does_not_make_up_for_a_link_without_rate() -> None:
    network = snapshot([("ab", "a", "b", 0.0)], [stream("s", "a", "b")])
    assert network.links[LinkName("ab")].pool_bits > 0
    assert plan_one(network).path_sets == ()


def test_an_impossible_minimum_rate_says_what_is_possible() -> None:
    network = snapshot(
        [("ab", "a", "b", 8662.5)], [stream("s", "a", "b", min_rate_bps=20_000.0, avoid_nodes=["c"])]
    )
    planned = plan_one(network)
    assert planned.unmet == (
        "min_rate_bps 20000 exceeds the 8400 bit/s that its paths can carry; lower it or relax avoid_nodes"
    )
    assert planned.rate_bps == pytest.approx(8400, rel=1e-4)


def test_minimum_rates_come_before_equal_shares() -> None:
    network = snapshot(
        [("ab", "a", "b", 1000 * OVERHEAD)],
        [stream("s", "a", "b"), stream("t", "a", "b", min_rate_bps=800.0)],
    )
    rates = {name: one.rate_bps for name, one in plan_streams(network, None, 1).streams.items()}
    assert rates == pytest.approx({"s": 200.0, "t": 800.0}, rel=1e-3)


def test_minimum_rates_that_do_not_all_fit_are_granted_in_order() -> None:
    wanting = [stream(name, "a", "b", min_rate_bps=400.0) for name in ("s1", "s2", "s3", "s4")]
    plan = plan_streams(snapshot([("ab", "a", "b", 1000 * OVERHEAD)], wanting), None, 1)
    assert [one.rate_bps for one in plan.streams.values()] == pytest.approx(
        [400, 400, 200, 0], rel=1e-3, abs=0.1
    )
    assert [bool(one.unmet) for one in plan.streams.values()] == [False, False, True, True]
    assert "other streams leave it" in plan.streams[StreamName("s3")].unmet


def test_a_higher_priority_takes_all_it_can_use_and_the_lower_is_told() -> None:
    network = snapshot(
        [("ab", "a", "b", 1000.0)],
        [stream("s", "a", "b", require_qkd=True), stream("t", "a", "b", priority=1)],
    )
    planned = plan_one(network)
    assert planned.path_sets == ()
    assert "nothing is left for it (priority 0)" in planned.unmet


def test_a_starved_stream_is_told_which_link_is_full_not_which_is_narrow() -> None:
    network = snapshot(
        [("ab", "a", "b", 383.0), ("bc", "b", "c", 238.0)],
        [stream("first", "a", "b", priority=9), stream("last", "a", "c")],
    )
    planned = plan_streams(network, None, 1).streams[StreamName("last")]
    assert "link ab" in planned.reason
    assert "link bc" not in planned.reason


def test_a_minimum_that_cannot_be_met_does_not_starve_one_that_can() -> None:
    network = snapshot(
        [("ab", "a", "b", 383.0), ("bc", "b", "c", 238.0)],
        [stream("big", "a", "b", min_rate_bps=512.0), stream("small", "a", "c", min_rate_bps=64.0)],
    )
    plan = plan_streams(network, None, 1).streams
    assert plan[StreamName("small")].rate_bps >= 64
    assert not plan[StreamName("small")].unmet
    assert plan[StreamName("big")].rate_bps == pytest.approx(383.0 / OVERHEAD - 64.0, rel=0.01)
    assert "512" in plan[StreamName("big")].unmet


def test_a_stream_of_two_shares_takes_node_disjoint_paths_and_pays_for_both() -> None:
    network = snapshot(SQUARE, [stream("s", "a", "d", k=2)])
    plan = plan_streams(network, None, 1)
    planned = plan.streams[StreamName("s")]
    assert sorted(ways(planned)[0]) == ["a-b-d", "a-c-d"]
    assert planned.rate_bps == pytest.approx(600 / OVERHEAD, rel=1e-4)
    assert "seen only by" in lines(network, plan)


def test_disjoint_paths_are_found_where_the_shortest_path_would_block_them() -> None:
    # The shortest path a-b-c-d leaves no second one: the pair needs flow to be undone.
    trap: list[LinkRow] = [
        (f"{x}{y}", x, y, 100.0) for x, y in ("ab", "bc", "cd", "ae", "ef", "fc", "bg", "gh", "hd")
    ]
    planned = plan_one(snapshot(trap, [stream("s", "a", "d", k=2)]))
    assert sorted(ways(planned)[0]) == ["a-b-g-h-d", "a-e-f-c-d"]


def test_paths_without_a_common_risk_group_are_preferred_over_shorter_ones() -> None:
    longer: list[LinkRow] = [("ae", "a", "e", 100.0), ("ef", "e", "f", 100.0), ("fd", "f", "d", 100.0)]
    network = snapshot(
        [*SQUARE, *longer],
        [stream("s", "a", "d", k=2, max_rate_bps=10.0)],
        risk_groups={"ab": ["duct"], "ac": ["duct"]},
    )
    for one in plan_one(network).path_sets[:1]:
        assert "a-e-f-d" in ["-".join(path.nodes) for path in one.paths]
        assert "risk group" not in one.reason


def test_a_shared_risk_group_is_accepted_and_named_where_nothing_else_exists() -> None:
    network = snapshot(SQUARE, [stream("s", "a", "d", k=2)], risk_groups={"ab": ["duct"], "ac": ["duct"]})
    planned = plan_one(network)
    assert planned.rate_bps > 0
    assert "its paths share risk group duct" in planned.path_sets[0].reason


@pytest.mark.parametrize(
    ("links", "cut"),
    [
        (
            [("ab", "a", "b", 9.0), ("bc", "b", "c", 9.0), ("bc2", "b", "c", 9.0)],
            "link ab is a bridge, node b is a cut node",
        ),
        (
            [("ab1", "a", "b", 9.0), ("ab2", "a", "b", 9.0), ("bc1", "b", "c", 9.0), ("bc2", "b", "c", 9.0)],
            "node b is a cut node",
        ),
    ],
    ids=["bridge", "cut node"],
)
def test_k_paths_that_do_not_exist_are_refused_naming_the_cut(links: Sequence[LinkRow], cut: str) -> None:
    planned = plan_one(snapshot(links, [stream("s", "a", "c", k=2)]))
    assert planned.path_sets == ()
    assert planned.unmet == f"k=2 needs 2 node-disjoint paths; only 1 exists: {cut}"


def test_k_paths_that_exist_only_beyond_the_hop_limit_are_refused_naming_it() -> None:
    links = [("ad", "a", "d", 100.0), *SQUARE]
    planned = plan_one(snapshot(links, [stream("s", "a", "d", k=2, max_hops=1)]))
    assert planned.path_sets == ()
    assert "not all within 1 hops: relax max_hops" in planned.unmet


def test_disjoint_paths_within_the_hop_limit_are_found_though_cheaper_ones_break_it() -> None:
    limited = stream("s", "n0-0", "n2-2", k=2, max_hops=4)
    network = snapshot(grid(3, 3), [limited])
    ground = terrain(network)
    finder = Finder(ground, scope(ground, limited), 2)
    # Make the ways round the edge dear, so that the cheapest pair would wind through the middle.
    weight = dict(finder.terrain.length_cost)
    weight[LinkName("h0-0")] = 1.0
    found = finder.cheapest(weight)
    assert found is not None
    assert all(len(route) <= 4 for route in found)


def test_fewer_shares_than_k_are_used_only_down_to_min_k_and_said() -> None:
    links: list[LinkRow] = [("ab", "a", "b", 100.0), ("bc", "b", "c", 100.0)]
    planned = plan_one(snapshot(links, [stream("s", "a", "c", k=2, min_k=1)]))
    assert ways(planned) == [["a-b-c"]]
    assert planned.unmet.endswith("link bc is a bridge; goes on with 1, which min_k=1 allows")


def test_a_stream_of_three_shares_goes_on_with_two_before_it_goes_on_with_one() -> None:
    links = [*SQUARE, ("ad", "a", "d", 500.0)]
    planned = plan_one(snapshot(links, [stream("s", "a", "d", k=3, min_k=1)]))
    sizes = [len(one.paths) for one in planned.path_sets]
    assert sizes == [3, 2, 2, 2, 1]


def test_with_a_lower_min_k_single_paths_stand_behind_the_pair() -> None:
    planned = plan_one(snapshot(SQUARE, [stream("s", "a", "d", k=2, min_k=1)]))
    assert len(ways(planned)[0]) == 2
    assert sorted(ways(planned, rank=1) + ways(planned, rank=2)) == [["a-b-d"], ["a-c-d"]]
    assert "1 instead of 2 paths, which min_k=1 allows" in planned.path_sets[1].reason


def test_a_backup_avoids_the_primary_s_risk_group_before_it_saves_hops() -> None:
    longer: list[LinkRow] = [("ae", "a", "e", 100.0), ("ef", "e", "f", 100.0), ("fd", "f", "d", 100.0)]
    network = snapshot(
        [("ad", "a", "d", 1000.0), *SQUARE[2:], *longer],
        [stream("s", "a", "d", max_rate_bps=10.0)],
        risk_groups={"ad": ["duct"], "ac": ["duct"]},
    )
    planned = plan_one(network)
    assert ways(planned) == [["a-d"]]
    assert ways(planned, rank=1) == [["a-e-f-d"]]
    assert planned.path_sets[2].reason.startswith("shares risk group duct with the primary")


def test_a_stale_link_keeps_its_stream_at_its_rate_and_takes_no_other() -> None:
    links: list[LinkRow] = [("ab", "a", "b", 1000.0)]
    before = plan_streams(snapshot(links, [stream("s", "a", "b")]), None, 1)
    stale = snapshot(
        links, [stream("s", "a", "b"), stream("t", "a", "b")], conditions={"ab": Condition.STALE}
    )
    after = plan_streams(stale, before, 2)
    assert after.streams[StreamName("s")].rate_bps == pytest.approx(before.streams[StreamName("s")].rate_bps)
    assert after.streams[StreamName("t")].path_sets == ()


def test_a_stream_does_not_move_for_less_than_a_quarter_more() -> None:
    def network(ab: float, ac: float) -> Snapshot:
        links = [
            ("ab", "a", "b", ab),
            ("bd", "b", "d", 9000.0),
            ("ac", "a", "c", ac),
            ("cd", "c", "d", 9000.0),
        ]
        # Just above what either path gives, so that one path alone is nearly enough.
        return snapshot(links, [stream("s", "a", "d", max_rate_bps=900.0)])

    before = plan_streams(network(1000.0, 100.0), None, 1)
    assert ways(before.streams[StreamName("s")]) == [["a-b-d"]]
    assert ways(plan_one(network(800.0, 1000.0), before)) == [["a-b-d"]]
    assert ["a-c-d"] in ways(plan_one(network(300.0, 1000.0), before))


def test_of_many_that_would_gain_only_so_many_move_in_one_plan() -> None:
    wanted = [stream(f"s{i}", "a", "b") for i in range(8)]
    thin: list[LinkRow] = [("ab", "a", "b", 800.0)]
    wide: list[LinkRow] = [("ac", "a", "c", 80_000.0), ("cb", "c", "b", 80_000.0)]
    before = plan_streams(snapshot(thin, wanted), None, 1)

    def movers() -> int:
        plan = plan_streams(snapshot([*thin, *wide], wanted), before, 2)
        return sum(["a-c-b"] in ways(one) for one in plan.streams.values())

    assert movers() == 8
    with patch.object(planning, "LEAST_MOVERS", 3):
        assert movers() == 3


def test_splits_that_give_the_same_rates_do_not_shift_and_unsettle_lower_priorities() -> None:
    links: list[LinkRow] = [
        ("l0", "n1", "n0", 11344.3),
        ("l1", "n2", "n0", 9643.4),
        ("l2", "n2", "n1", 4715.2),
        ("l3", "n1", "n0", 1471.0),
        ("l4", "n0", "n2", 1468.8),
        ("l5", "n1", "n2", 9337.9),
    ]
    higher = [stream(name, "n0", "n1", priority=2) for name in ("s0", "s1", "s2")]
    network = snapshot(links, [*higher, stream("s", "n1", "n2")])
    before = plan_streams(network, None, 1)
    after = plan_streams(network, before, 2)
    for name, planned in before.streams.items():
        # Not just the paths: the share of each.
        now = {one.paths: one.rate_bps for one in after.streams[name].path_sets}
        assert now == pytest.approx({one.paths: one.rate_bps for one in planned.path_sets}, rel=1e-3)


def test_a_repair_moves_the_cut_stream_and_leaves_the_other_to_the_letter() -> None:
    streams = [stream("s", "n0", "n1", max_rate_bps=100.0), stream("t", "n3", "n4", max_rate_bps=100.0)]
    healthy = snapshot(ring(6), streams)
    before = plan_streams(healthy, None, 1)
    cut = replace(snapshot(ring(6), streams, conditions={"l0": Condition.DOWN}), version=2)
    after = repair(cut, before, frozenset([LinkName("l0")]), 2)
    assert after.streams[StreamName("t")] == before.streams[StreamName("t")]
    assert ways(after.streams[StreamName("s")]) == [["n0-n5-n4-n3-n2-n1"]]
    assert (after.version, after.snapshot_version) == (2, 2)


def test_a_stream_left_to_its_agents_is_explained_by_the_link_that_failed_since() -> None:
    streams = [stream("s", "n0", "n1", max_rate_bps=100.0)]
    plan = plan_streams(snapshot(ring(6), streams), None, 1)
    cut = snapshot(ring(6), streams, conditions={"l0": Condition.DOWN})
    used, backup, *_ = explain(cut, plan, StreamName("s"))
    assert used.endswith("since then l0 is down: not used before the next plan")
    assert "since then" not in backup


def test_a_repair_fits_a_link_s_streams_into_what_it_has_left() -> None:
    streams = [stream("s", "a", "b"), stream("t", "a", "b")]
    before = plan_streams(snapshot([("ab", "a", "b", 1000.0)], streams), None, 1)
    after = repair(snapshot([("ab", "a", "b", 500.0)], streams), before, frozenset([LinkName("ab")]), 2)
    assert [one.rate_bps for one in after.streams.values()] == pytest.approx([250 / OVERHEAD] * 2, rel=1e-3)


def test_a_repair_goes_to_the_backup_that_the_agents_hold_without_looking_further() -> None:
    wider: list[LinkRow] = [("ae", "a", "e", 9000.0), ("ef", "e", "f", 9000.0), ("fd", "f", "d", 9000.0)]
    wanted = [stream("s", "a", "d", max_rate_bps=400.0)]
    before = plan_streams(snapshot([*SQUARE, *wider], wanted), None, 1)
    assert ways(before.streams[StreamName("s")]) == [["a-b-d"]]
    assert ways(before.streams[StreamName("s")], rank=1) == [["a-c-d"]]
    cut = snapshot([*SQUARE, *wider], wanted, conditions={"ab": Condition.DOWN})
    planned = repair(cut, before, frozenset([LinkName("ab")]), 2).streams[StreamName("s")]
    assert ways(planned) == [["a-c-d"]]
    assert ways(planned, rank=1) == [["a-e-f-d"]]
    assert planned.rate_bps == pytest.approx(400.0, rel=1e-3)


def test_a_repaired_stream_for_which_nothing_is_left_keeps_its_backups() -> None:
    greedy = stream("t", "a", "d", avoid_nodes=["b"])
    before = plan_streams(snapshot(SQUARE, [stream("s", "a", "d", avoid_nodes=["c"]), greedy]), None, 1)
    both = [stream("s", "a", "d"), greedy]
    before = plan_streams(snapshot(SQUARE, both), before, 2)
    assert ways(before.streams[StreamName("s")]) == [["a-b-d"]]
    cut = snapshot(SQUARE, both, conditions={"ab": Condition.DOWN})
    planned = repair(cut, before, frozenset([LinkName("ab")]), 3).streams[StreamName("s")]
    assert ways(planned) == []
    assert ways(planned, rank=1) == [["a-c-d"]]
    assert "nothing is left for it" in planned.reason


def test_a_repair_leaves_alone_what_drifted_elsewhere() -> None:
    streams = [stream("s", "n0", "n1"), stream("t", "n3", "n4")]
    before = plan_streams(snapshot(ring(6), streams), None, 1)
    drifted = [(name, a, b, rate * 0.9) for name, a, b, rate in ring(6)]
    after = repair(
        snapshot(drifted, streams, conditions={"l0": Condition.DOWN}), before, frozenset([LinkName("l0")]), 2
    )
    assert after.streams[StreamName("t")] is before.streams[StreamName("t")]


def test_the_cut_between_two_corners_of_a_grid_is_as_wide_as_their_degree() -> None:
    wanted = stream("s", "n0-0", "n2-2")
    network = snapshot(grid(3, 3), [wanted])
    ground = terrain(network)
    count, cut = bottleneck_of_disjointness(ground, scope(ground, wanted))
    assert count == len(cut) == 2


def test_an_explanation_says_who_can_see_the_keys_and_what_limits_them() -> None:
    network = snapshot(
        [("ab", "a", "b", 1000.0), ("bc", "b", "c", 400.0)], [stream("s", "a", "c"), stream("t", "b", "c")]
    )
    text = lines(network)
    assert "seen by b, alone: trusted node of a→b→c" in text
    assert "link bc (400 bit/s of 400 bit/s taken, shared with t)" in text
    assert "more key on bc would raise the rate" in text


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({}, "goes on with ML-KEM alone"),
        ({"on_exhaustion": OnExhaustion.REFUSE}, "refuses at once (503)"),
        (
            {"require_qkd": True, "on_exhaustion": OnExhaustion.WAIT},
            "serves up to 64 buffered keys, then 503",
        ),
    ],
)
def test_an_explanation_says_what_a_failure_without_backup_would_do(
    fields: dict[str, object], outcome: str
) -> None:
    assert outcome in lines(snapshot([("ab", "a", "b", 100.0)], [stream("s", "a", "b", **fields)]))


def test_an_explanation_names_the_backup_that_a_failure_would_bring_in() -> None:
    text = lines(snapshot(SQUARE, [stream("s", "a", "d", max_rate_bps=100.0)]))
    assert "fails: moves to backup 1, a→" in text


def test_explaining_an_unknown_stream_says_how_to_find_the_known_ones() -> None:
    network = snapshot(SQUARE, [])
    with pytest.raises(NotFoundError, match="keyweave stream list"):
        explain(network, plan_streams(network, None, 1), StreamName("nobody"))


def test_a_stream_newer_than_the_plan_is_explained_as_such() -> None:
    old = plan_streams(snapshot(SQUARE, []), None, 7)
    assert "newer than plan 7" in lines(snapshot(SQUARE, [stream("s", "a", "d")]), old)


def test_a_stream_that_may_go_on_with_fewer_shares_has_what_any_single_failure_leaves_as_a_backup() -> None:
    """No third way is there: whichever path of the pair fails, agents hold the other one alone."""
    wanted = stream("s", "n0", "n3", k=2, min_k=1)
    planned = plan_streams(snapshot(ring(6), [wanted]), None, 1).streams[StreamName("s")]
    assert sorted(ways(planned)[0]) == ["n0-n1-n2-n3", "n0-n5-n4-n3"]
    alone = [one for one in planned.path_sets if one.rank > 0]
    assert sorted(path.nodes[1] for one in alone for path in one.paths) == ["n1", "n5"]
    assert all(len(one.paths) == 1 for one in alone)


def test_a_stream_that_needs_all_its_shares_has_no_part_of_them_as_a_backup() -> None:
    wanted = stream("s", "n0", "n3", k=2, min_k=2)
    planned = plan_streams(snapshot(ring(6), [wanted]), None, 1).streams[StreamName("s")]
    assert [len(one.paths) for one in planned.path_sets] == [2]
