"""Plans of a slot keep to what there is, and lanes are mended with pairs that were made, each used once."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from keyweave.controller.routing.entanglement.mending import LINK_STATE_HOPS, mended
from keyweave.controller.routing.entanglement.plan import SlotPlanner
from keyweave.controller.routing.entanglement.pricing import Arcs, Pricing
from keyweave.controller.routing.entanglement.sharing import Sharing
from keyweave.controller.routing.entanglement.slots import (
    Edge,
    Lanes,
    PairNetwork,
    Path,
    Spare,
    edge,
    edges_of,
)
from tests.bench.entanglement.compare import check
from tests.bench.entanglement.extended import best_path, expected_pairs
from tests.bench.entanglement.slotted import generate


def chain(hops: int, success: float, swap: float, channels: int = 7) -> PairNetwork:
    links = {(node, node + 1): channels for node in range(hops)}
    return PairNetwork((14,) * (hops + 1), links, dict.fromkeys(links, success), swap)


@pytest.mark.parametrize(
    ("hops", "width", "success", "swap", "expected"),
    [
        (3, 1, 0.6, 0.9, 0.17496),
        (3, 2, 0.6, 0.9, 0.517882),
        (3, 3, 0.6, 0.9, 0.892783),
        (5, 3, 0.6, 0.9, 0.546627),
        (3, 3, 0.3, 0.9, 0.23789),
    ],
)
def test_expected_pairs_as_published(
    hops: int, width: int, success: float, swap: float, expected: float
) -> None:
    network = chain(hops, success, swap)
    assert expected_pairs(network, tuple(range(hops + 1)), width) == pytest.approx(expected, abs=5e-6)


def test_the_best_path_is_the_best_of_all_where_nothing_costs() -> None:
    network = generate(3, nodes=14, degree=4.0)
    spare = Spare(network)

    def walks(path: Path) -> list[Path]:
        if path[-1] == 13:
            return [path]
        onward = [node for node in network.neighbours[path[-1]] if node not in path]
        return [each for node in onward for each in walks((*path, node))] if len(path) < 7 else []

    found = best_path(network, spare, (0, 13), 2)
    assert found is not None
    best = max(expected_pairs(network, path, 2) for path in walks((0,)))
    assert found[1] == pytest.approx(best)
    assert expected_pairs(network, found[0], 2) == pytest.approx(best)


def every_path(network: PairNetwork, source: int, target: int) -> list[Path]:
    def onward(path: Path) -> list[Path]:
        if path[-1] == target:
            return [path]
        return [
            each
            for node in network.neighbours[path[-1]]
            if node not in path
            for each in onward((*path, node))
        ]

    return onward((source,))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), prices=st.lists(st.floats(0.0, 0.5), min_size=40, max_size=40))
def test_no_path_is_worth_more_above_its_price_than_the_one_offered(seed: int, prices: list[float]) -> None:
    network = generate(seed, nodes=9, degree=3.0)
    row = {link: i for i, link in enumerate(network.channels)}
    price = np.array(prices[: len(row)] + [0.1] * (len(row) - 40))

    def worth(path: Path) -> float:
        return 0.9 ** (len(path) - 2) - sum(float(price[row[link]]) for link in edges_of(path))

    offered = list(Pricing(Arcs(network), [(0, 8), (3, 5)], 0.9).best(price, above=0.05))
    for source, target in ((0, 8), (3, 5)):
        best = max(worth(path) for path in every_path(network, source, target))
        ours = [worth(path) for path in offered if (path[0], path[-1]) == (source, target)]
        assert all(len(set(path)) == len(path) for path in offered)
        assert ours == [] if best <= 0.05 else max(ours) == pytest.approx(best)


def test_shares_are_the_optimum_over_all_paths() -> None:
    network = generate(5, nodes=8, degree=3.0)
    pairs = [(0, 7), (1, 6)]
    success = np.array([network.success_ratio[link] for link in network.channels])
    mean = np.array(list(network.channels.values())) * success
    flows = Sharing(network, Arcs(network), pairs, 0.9).solve(mean, 1 / success)
    paths = [path for pair in pairs for path in every_path(network, *pair)]
    edges = list(network.channels)
    takes = np.zeros((len(edges) + 8, len(paths)))
    for column, path in enumerate(paths):
        for link in edges_of(path):
            takes[edges.index(link), column] = 1.0
            for node in link:
                takes[len(edges) + node, column] += 1 / network.success_ratio[link]
    worth = np.array([0.9 ** (len(path) - 2) for path in paths])
    exact = linprog(-worth, A_ub=takes, b_ub=np.append(mean, network.memories))
    assert sum(flow * 0.9 ** (len(path) - 2) for path, flow in flows) == pytest.approx(-exact.fun)
    amounts = np.array([dict(flows).get(path, 0.0) for path in paths])
    assert (takes @ amounts <= np.append(mean, network.memories) + 1e-6).all()


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    nodes=st.integers(20, 50),
    pairs=st.integers(1, 8),
    success=st.sampled_from((0.1, 0.6)),
)
def test_a_plan_uses_no_more_than_there_is_and_serves_only_who_asked(
    seed: int, nodes: int, pairs: int, success: float
) -> None:
    network = generate(seed, nodes=nodes, mean_success=success)
    asked = [(2 * i, 2 * i + 1) for i in range(pairs)]
    plan = SlotPlanner(network).plan(asked)
    check(network, plan.channels)
    assert {(one.path[0], one.path[-1]) for one in plan.lanes} <= set(asked)
    for one in plan.lanes:
        assert one.width > 0
        assert len(set(one.path)) == len(one.path)
    assert SlotPlanner(network).plan(asked) == plan, "the same question has the same answer"


def test_an_edge_that_fails_often_gets_more_channels_for_the_same_lanes() -> None:
    # Two hops, memories enough for both: four pairs are asked of each, one succeeds half as often.
    network = PairNetwork((20, 20, 20), {(0, 1): 16, (1, 2): 16}, {(0, 1): 0.8, (1, 2): 0.4}, 1.0)
    used = SlotPlanner(network).plan([(0, 2)]).channels
    assert used[0, 1] + used[1, 2] == 20
    assert used[1, 2] > used[0, 1]
    assert used[1, 2] * 0.4 == pytest.approx(used[0, 1] * 0.8, abs=1.2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_every_pair_that_was_made_is_used_at_most_once_and_paths_lead_where_their_lane_does(
    seed: int, data: st.DataObject
) -> None:
    network = generate(seed, nodes=25)
    plan = SlotPlanner(network).plan([(0, 1), (2, 3), (4, 5)])
    made = {link: data.draw(st.integers(0, count), label=str(link)) for link, count in plan.channels.items()}
    paths = list(mended(network, plan.lanes, made))
    used = Counter[Edge]()
    for path in paths:
        assert len(set(path)) == len(path)
        used.update(edges_of(path))
    assert all(count <= made[link] for link, count in used.items())
    assert {(path[0], path[-1]) for path in paths} <= {(0, 1), (2, 3), (4, 5)}


def test_a_hop_without_a_pair_is_gone_around() -> None:
    links = {(0, 1): 1, (1, 2): 1, (2, 3): 1, (1, 4): 1, (2, 4): 1}
    network = PairNetwork((4,) * 5, links, dict.fromkeys(links, 0.5), 1.0)
    lanes = (Lanes((0, 1, 2, 3), 1),)
    assert list(mended(network, lanes, links)) == [(0, 1, 2, 3)]
    assert list(mended(network, lanes, links | {(1, 2): 0})) == [(0, 1, 4, 2, 3)]
    assert list(mended(network, lanes, links | {(1, 2): 0, (1, 4): 0})) == []


def test_a_detour_is_no_longer_than_nodes_can_see_in_a_slot() -> None:
    # A ring: the broken hop (0, 1) could only be gone around over all the others.
    count = LINK_STATE_HOPS + 4
    links = {edge(node, (node + 1) % count): 1 for node in range(count)}
    network = PairNetwork((4,) * count, links, dict.fromkeys(links, 0.5), 1.0)
    lanes = (Lanes((0, 1, 2), 1),)
    assert list(mended(network, lanes, links | {(0, 1): 0})) == []


def test_more_than_there_is_cannot_be_taken() -> None:
    with pytest.raises(ValueError, match="no 8 channels"):
        Spare(chain(1, 0.5, 1.0)).take((0, 1), 8)


def test_lanes_that_have_all_they_need_come_before_detours_for_others() -> None:
    # The lane of 0 lacks its own edge and could take the pair that 4 to 2 needs.
    links = {(0, 3): 1, (0, 1): 1, (1, 3): 1, (1, 4): 1}
    network = PairNetwork((4,) * 5, links, dict.fromkeys(links, 0.5), 1.0)
    lanes = (Lanes((0, 3), 1), Lanes((4, 1, 3), 1))
    assert list(mended(network, lanes, links)) == [(0, 3), (4, 1, 3)]
    assert list(mended(network, lanes, links | {(0, 3): 0})) == [(4, 1, 3)]


def test_pairs_beyond_what_was_expected_are_used_too() -> None:
    network = chain(2, 0.5, 1.0)
    assert list(mended(network, (Lanes((0, 1, 2), 1),), {(0, 1): 3, (1, 2): 2})) == [(0, 1, 2)] * 2
