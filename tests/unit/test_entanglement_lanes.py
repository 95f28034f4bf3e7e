"""Plans of a slot without a linear program: for a pair that asks alone, and where pairs are rare."""

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.controller.routing.entanglement.meeting import likeliest_first
from keyweave.controller.routing.entanglement.nearest import nearest_first
from keyweave.controller.routing.entanglement.plan import SlotPlanner
from keyweave.controller.routing.entanglement.pricing import Arcs
from keyweave.controller.routing.entanglement.sharing import Sharing
from keyweave.controller.routing.entanglement.slots import Edge, Lanes, PairNetwork, Path, edges_of
from tests.bench.entanglement.slotted import generate
from tests.unit.test_entanglement_slots import every_path


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), pairs=st.integers(1, 8), success=st.sampled_from((0.1, 0.3, 0.6, 0.9)))
def test_flows_to_the_nearest_need_no_more_than_an_average_slot_gives(
    seed: int, pairs: int, success: float
) -> None:
    network = generate(seed, nodes=25, mean_success=success)
    asked = [(2 * n, 2 * n + 1) for n in range(pairs)]
    flows = nearest_first(network, asked)
    carried: dict[Edge, float] = defaultdict(float)
    memories = [0.0] * 25
    for path, flow in flows:
        assert (path[0], path[-1]) in asked
        assert flow > 0
        for link in edges_of(path):
            carried[link] += flow
            for node in link:
                memories[node] += flow / network.success_ratio[link]
    assert all(
        flow <= network.channels[link] * network.success_ratio[link] + 1e-9 for link, flow in carried.items()
    )
    assert all(used <= there + 1e-9 for used, there in zip(memories, network.memories, strict=True))


def test_one_pair_gets_near_what_the_program_would_give_it() -> None:
    ratios = []
    for seed in range(20):
        network = generate(seed)
        near = sum(flow * 0.9 ** (len(path) - 2) for path, flow in nearest_first(network, [(0, 1)]))
        mean = np.array([network.channels[link] * network.success_ratio[link] for link in network.channels])
        need = np.array([1 / network.success_ratio[link] for link in network.channels])
        best = Sharing(network, Arcs(network), [(0, 1)], 0.9).solve(mean, need)
        ratios.append(near / sum(flow * 0.9 ** (len(path) - 2) for path, flow in best))
    assert max(ratios) <= 1 + 1e-9
    assert sum(ratios) / len(ratios) > 0.85


def chance(network: PairNetwork, path: Path, channels: dict[Edge, int]) -> float:
    """That every edge has a pair and every swap succeeds."""
    made = (1 - (1 - network.success_ratio[link]) ** channels[link] for link in edges_of(path))
    return network.swap_ratio ** (len(path) - 2) * math.prod(made)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_where_pairs_are_rare_the_first_lane_is_the_likeliest_way_of_all(seed: int) -> None:
    network = generate(seed, nodes=9, mean_success=0.1)
    # Memories in plenty: then every edge has all its channels, whatever the way.
    network = replace(network, memories=(1000,) * 9)
    lanes, _ = likeliest_first(network, [(0, 1)])
    channels = dict(network.channels)
    best = max(chance(network, path, channels) for path in every_path(network, 0, 1))
    assert chance(network, lanes[0].path, channels) >= best - 1e-12


def test_where_pairs_are_rare_lanes_are_wide_and_who_is_likeliest_comes_first() -> None:
    links = {(0, 1): 6, (1, 2): 6, (3, 4): 6, (0, 3): 6}
    network = PairNetwork((12,) * 5, links, {**dict.fromkeys(links, 0.1), (3, 4): 0.15}, 0.9)
    plan = SlotPlanner(network).plan([(0, 2), (3, 4)])
    assert plan.lanes == (Lanes((3, 4), 6), Lanes((0, 1, 2), 6))
    assert plan.channels == links, "what no lane takes serves for going around"
