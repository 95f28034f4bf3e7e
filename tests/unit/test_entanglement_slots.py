"""Plans of a slot keep to what there is, and lanes are mended with pairs that were made, each used once."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.controller.routing.entanglement.mending import LINK_STATE_HOPS, mended
from keyweave.controller.routing.entanglement.plan import plan_slot
from keyweave.controller.routing.entanglement.search import best_path
from keyweave.controller.routing.entanglement.slots import (
    Edge,
    Lanes,
    PairNetwork,
    Path,
    Spare,
    edge,
    edges_of,
    expected_pairs,
)
from tests.bench.entanglement.compare import check
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


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), nodes=st.integers(20, 50), pairs=st.integers(1, 8))
def test_a_plan_uses_no_more_than_there_is_and_serves_only_who_asked(
    seed: int, nodes: int, pairs: int
) -> None:
    network = generate(seed, nodes=nodes)
    asked = [(2 * i, 2 * i + 1) for i in range(pairs)]
    plan = plan_slot(network, asked)
    check(network, plan.channels)
    assert {(one.path[0], one.path[-1]) for one in plan.lanes} <= set(asked)
    needed = Counter[Edge]()
    for one in plan.lanes:
        assert one.width > 0
        assert len(set(one.path)) == len(one.path)
        needed.update(dict.fromkeys(edges_of(one.path), one.width))
    assert all(plan.channels[link] >= count for link, count in needed.items())
    assert plan_slot(network, asked) == plan, "the same question has the same answer"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_every_pair_that_was_made_is_used_at_most_once_and_paths_lead_where_their_lane_does(
    seed: int, data: st.DataObject
) -> None:
    network = generate(seed, nodes=25)
    plan = plan_slot(network, [(0, 1), (2, 3), (4, 5)])
    made = {link: data.draw(st.integers(0, count), label=str(link)) for link, count in plan.channels.items()}
    paths = list(mended(network, plan.lanes, made))
    used = Counter[Edge]()
    for path in paths:
        assert len(set(path)) == len(path)
        used.update(edges_of(path))
    assert all(count <= made[link] for link, count in used.items())
    lanes = Counter[tuple[int, int]]()
    for one in plan.lanes:
        lanes[one.path[0], one.path[-1]] += one.width
    assert all(count <= lanes[ends] for ends, count in Counter((path[0], path[-1]) for path in paths).items())


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
