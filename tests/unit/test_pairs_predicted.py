"""What nodes deliver by the rules of a plan is what the planner has predicted: rate and fidelity."""

import math
from statistics import fmean

import pytest

from keyweave.common.entanglement.bell import Bell
from keyweave.common.names import StreamName
from keyweave.controller.pairs.rules import steps_of
from keyweave.controller.routing.entanglement.chain import predict
from keyweave.controller.routing.entanglement.repeaters import (
    Lane,
    PairLink,
    PairNode,
    balanced,
    network_of,
)
from keyweave.emulator.memories.specs import MemoriesSpec
from keyweave.v1 import pairs_pb2
from tests.unit.pair_lab import Lab, put_in_force

RATE_HZ = 40.0
VISIBILITY = 0.96
S = StreamName("s")


def ran(lane: Lane, spec: MemoriesSpec, seconds: float) -> tuple[float, float]:
    """Pairs a second, and their mean fidelity as the source uses them."""
    lab = Lab(len(lane.nodes), memories=spec, visibility=VISIBILITY, rate_hz=RATE_HZ, seed=7)
    assert lab.links == lane.links
    steps, width = steps_of(lane), lane.width
    put_in_force(
        lab,
        {
            node: pairs_pb2.PairRule(
                stream=S,
                path_id="s:1",
                nodes=lane.nodes,
                links=lane.links,
                position=position,
                left_memories=width[position - 1] if position else 0,
                right_memories=width[position] if position < len(width) else 0,
                steps=steps[position],
                kind=pairs_pb2.PAIR_KIND_MEASURE_DIRECTLY,
                rate_hz=1e6,
            )
            for position, node in enumerate(lane.nodes)
        },
    )
    lab.run(seconds)
    return lab.engines[lane.nodes[0]].counts.delivered_total(S) / seconds, fmean(
        max(state) for state in lab.used
    )


@pytest.mark.parametrize(
    ("hops", "rounds", "cutoff_seconds", "seconds"),
    [(1, 0, math.inf, 15.0), (3, 0, 0.2, 40.0), (5, 0, 0.3, 40.0), (3, 1, 0.4, 40.0)],
    ids=["one hop", "three hops", "five hops", "three purified hops"],
)
def test_rate_and_fidelity_of_a_chain_are_as_predicted(
    hops: int, rounds: int, cutoff_seconds: float, seconds: float
) -> None:
    spec = MemoriesSpec(count=16, t2_seconds=1.0, swap_success_ratio=0.9, swap_fidelity=0.99)
    lab = Lab(hops + 1)
    lane = Lane(
        lab.nodes,
        lab.links,
        rounds=(rounds,) * hops,
        cutoff_seconds=(cutoff_seconds,) * hops,
        channels=(1,) * hops,
        swap_order=balanced(lab.nodes),
    )
    state = Bell((1 + VISIBILITY) / 2, (1 - VISIBILITY) / 2, 0.0, 0.0)
    nodes = [PairNode(n, 16, t2_seconds=1.0, swap_success_ratio=0.9, gate_fidelity=0.99) for n in lab.nodes]
    links = [
        PairLink(name, a, b, RATE_HZ, state, delay_seconds=lab.network_delay)
        for name, a, b in zip(lab.links, lab.nodes, lab.nodes[1:], strict=False)
    ]
    predicted = predict(network_of(nodes, links), lane)
    assert predicted is not None
    rate, fidelity = ran(lane, spec, seconds)
    assert abs(rate / predicted.rate_hz - 1.0) < 0.15
    assert abs(fidelity - predicted.state.fidelity) < 0.02
