"""Pairs of routes found in batches, against the search for one stream at a time."""

from dataclasses import replace
from itertools import pairwise
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyweave.common.names import NodeName
from keyweave.controller.routing.disjoint import min_cost_disjoint
from keyweave.controller.routing.network import are_disjoint, scope, terrain
from keyweave.controller.routing.trees import Trees
from tests.unit.networks import random_network, random_streams, snapshot


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000), nodes=st.integers(3, 12), extra_links=st.integers(0, 12))
def test_a_pair_found_in_a_batch_is_disjoint_and_costs_as_little_as_can_be(
    seed: int, nodes: int, extra_links: int
) -> None:
    draw = Random(seed)
    network = snapshot(
        random_network(seed, nodes, nodes - 1 + extra_links), random_streams(seed, nodes, count=20)
    )
    ground = terrain(network)
    weight = {link: draw.uniform(0.1, 5.0) for link in ground.capacity}
    scopes = [scope(ground, one) for one in network.streams.values()]
    barred = frozenset([NodeName("n0")])
    scopes = [
        replace(one, barred=barred - {one.source, one.target}) if i % 3 == 0 else one
        for i, one in enumerate(scopes)
    ]
    for one, pair in zip(scopes, Trees(ground).under(weight).pairs(scopes), strict=True):
        known = min_cost_disjoint(ground, one, 2, weight)
        assert (pair is not None) == (len(known) == 2)
        if pair is None:
            continue
        assert are_disjoint(pair)
        for route in pair:
            assert (route[0].from_node, route[-1].to_node) == (one.source, one.target)
            assert all(a.to_node == b.from_node for a, b in pairwise(route))
            assert one.barred.isdisjoint(hop.to_node for hop in route)
        costs = [sum(weight[hop.link] for route in routes for hop in route) for routes in (pair, known)]
        assert abs(costs[0] - costs[1]) < 1e-9
