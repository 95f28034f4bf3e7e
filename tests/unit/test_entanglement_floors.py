"""Q-PATH, Q-LEAP and ours with a fidelity floor: small cases by hand; plans keep to what there is."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.entanglement.floors.compare import ALGORITHMS, Plan, Point, compare, expected
from tests.bench.entanglement.floors.live import LivePoint, compare_live
from tests.bench.entanglement.floors.model import (
    FloorNetwork,
    Product,
    Reckoning,
    Request,
    Route,
    Werner,
    delivered,
    requests,
    waxman,
)


def a_line(fidelity: float, hops: int = 2, capacity: int = 6) -> FloorNetwork:
    links = [(node, node + 1) for node in range(hops)]
    return FloorNetwork(hops + 1, dict.fromkeys(links, capacity), dict.fromkeys(links, fidelity))


def test_one_purification_by_hand() -> None:
    # 0.9 by 0.9: 0.81 / (0.81 + 0.01) at success 0.82.
    once = Product.table(0.9)[1]
    assert math.exp(once.log_factor) == pytest.approx(0.81 / 0.82)
    assert once.success_ratio == pytest.approx(0.82)
    # BBPSSW from 0.9: 0.92640 at success 0.87556; (4 F - 1) / 3 is what multiplies.
    werner = Werner.table(0.9)[1]
    assert math.exp(werner.log_factor) == pytest.approx((4 * 0.92640 - 1) / 3, abs=1e-5)
    assert werner.success_ratio == pytest.approx(0.87556, abs=1e-5)


@pytest.mark.parametrize("plan", ALGORITHMS.values(), ids=ALGORITHMS)
def test_good_links_are_used_as_they_are(plan: Plan) -> None:
    network, asked = a_line(0.95), [Request(0, 2, 0.9, 100)]
    assert delivered(network, Product(), asked, plan(network, Product(), asked), [0]) == [6]


@pytest.mark.parametrize("plan", ALGORITHMS.values(), ids=ALGORITHMS)
def test_poor_links_are_purified_once_and_half_as_many_pairs_come_of_it(plan: Plan) -> None:
    # 0.9^2 = 0.81; with both hops purified once (0.81 / 0.82)^2 = 0.976.
    network, asked = a_line(0.9), [Request(0, 2, 0.95, 100)]
    routes = plan(network, Product(), asked)
    assert [route.purifications for route in routes] == [(1, 1)]
    assert routes[0].groups == (3, 3)
    assert expected(network, Product(), asked, routes) == pytest.approx(3 * 0.82)


def test_q_leap_asks_the_same_of_every_hop_where_q_path_purifies_where_it_tells_most() -> None:
    # 0.94 x 0.88 is below 0.9. With the poor link purified, to 0.982, it is 0.923; but a hop's share of the
    # floor is its root, 0.949.
    network = FloorNetwork(3, {(0, 1): 6, (1, 2): 6}, {(0, 1): 0.94, (1, 2): 0.88})
    asked = [Request(0, 2, 0.9, 100)]
    assert [r.purifications for r in ALGORITHMS["Q-PATH"](network, Product(), asked)] == [(0, 1)]
    assert [r.purifications for r in ALGORITHMS["Q-LEAP"](network, Product(), asked)] == [(1, 1)]


def test_a_floor_out_of_reach_is_not_served() -> None:
    network, asked = a_line(0.6, hops=3), [Request(0, 3, 0.999, 10)]
    for plan in ALGORITHMS.values():
        assert plan(network, Werner(), asked) == []


def test_a_plan_below_its_floor_or_beyond_its_links_is_found_out() -> None:
    network, asked = a_line(0.9), [Request(0, 2, 0.95, 100)]
    with pytest.raises(ValueError, match="below its floor"):
        delivered(network, Product(), asked, [Route(0, (0, 1, 2), (0, 0), (1, 1))], [0])
    with pytest.raises(ValueError, match="has no 8 pairs"):
        delivered(network, Product(), asked, [Route(0, (0, 1, 2), (1, 1), (4, 4))], [0])


@given(
    st.integers(0, 1000),
    st.sampled_from([Product(), Werner()]),
    st.floats(0.55, 0.95),
    st.integers(1, 6),
)
@settings(max_examples=25, deadline=None)
def test_every_plan_keeps_to_floors_and_links(
    seed: int, reckoning: Reckoning, floor: float, count: int
) -> None:
    network = waxman(seed, nodes=16, links=26, capacity=12)
    asked = requests(seed, 16, count, floor, 10)
    for plan in ALGORITHMS.values():
        made = delivered(network, reckoning, asked, plan(network, reckoning, asked), (seed, 0))
        assert all(0 <= number <= 10 for number in made)


def test_ours_is_above_both_where_requests_compete() -> None:
    point = Point(capacity=20, requests=6, pairs=30, nodes=30, links=48)
    for reckoning in (Product(), Werner()):
        outcomes = compare(point, reckoning, topologies=6, slots=3)
        mean = {name: sum(outcome.throughput) for name, outcome in outcomes.items()}
        assert mean["ours"] > mean["Q-PATH"] > 0
        assert mean["ours"] > mean["Q-LEAP"] > 0


def test_the_planner_of_the_controller_gives_at_least_what_q_leap_does_with_the_same_memories() -> None:
    point = LivePoint(nodes=10, links=14, requests=3)
    outcomes = compare_live(point, topologies=2)
    assert sum(outcomes["ours"].throughput) >= sum(outcomes["Q-LEAP"].throughput) > 0
