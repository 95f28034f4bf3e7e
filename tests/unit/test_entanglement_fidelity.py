"""Pair streams get pairs as good as they asked for, from memories that are there, or hear what could be."""

from math import inf

import pytest

from keyweave.common.entanglement.bell import werner
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.routing.entanglement.repeaters import (
    PairDemand,
    PairLink,
    PairNode,
    RepeaterNetwork,
    network_of,
)
from keyweave.controller.routing.entanglement.serve import Refused, Served, admit, plan_pairs


def a_ring(
    nodes: int = 6,
    memories: int = 8,
    rate_hz: float = 20.0,
    fidelity: float = 0.93,
    t2_seconds: float = inf,
    swap: float = 0.8,
) -> RepeaterNetwork:
    names = [NodeName(f"n{i}") for i in range(nodes)]
    links = [
        PairLink(LinkName(f"l{i}"), names[i], names[(i + 1) % nodes], rate_hz, werner(fidelity))
        for i in range(nodes)
    ]
    return network_of([PairNode(name, memories, inf, t2_seconds, swap) for name in names], links)


def asks(
    name: str, source: str, target: str, floor: float = 0.8, rate_hz: float = 2.0, priority: int = 0
) -> PairDemand:
    return PairDemand(StreamName(name), NodeName(source), NodeName(target), floor, rate_hz, priority)


def test_a_demand_that_can_be_met_is_met_with_pairs_above_its_floor() -> None:
    answer = plan_pairs(a_ring(), [asks("a", "n0", "n3")]).answers[StreamName("a")]
    assert isinstance(answer, Served)
    assert answer.met
    assert answer.rate_hz >= 2.0
    assert all(path.predicted_fidelity >= 0.8 for path in answer.paths)


def test_who_asks_too_much_is_told_the_best_there_is() -> None:
    answer = admit(a_ring(), [], asks("a", "n0", "n3", floor=0.999))
    assert not answer.accepted
    assert isinstance(answer.answer, Refused)
    assert answer.words.startswith("0.999 is not reachable: best ")
    assert answer.answer.alternatives[0].fidelity < 0.999


def test_memories_in_use_and_memories_left_are_all_there_are() -> None:
    network = a_ring()
    plan = plan_pairs(network, [asks("a", "n0", "n3", rate_hz=50.0), asks("b", "n1", "n4", rate_hz=50.0)])
    used = dict.fromkeys(network.nodes, 0)
    for answer in plan.answers.values():
        assert isinstance(answer, Served)
        for path in answer.paths:
            for name, count in path.memories().items():
                used[name] += count
    assert {name: used[name] + plan.free[name] for name in used} == {
        name: node.memories for name, node in network.nodes.items()
    }


def test_higher_priority_goes_first() -> None:
    network = a_ring(memories=4)
    plan = plan_pairs(
        network, [asks("low", "n0", "n3", rate_hz=50.0), asks("top", "n0", "n3", rate_hz=50.0, priority=1)]
    )
    assert isinstance(plan.answers[StreamName("top")], Served)
    assert isinstance(plan.answers[StreamName("low")], Refused)


def test_a_link_with_three_of_four_probabilities_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="are not four probabilities"):
        PairLink(LinkName("l"), NodeName("a"), NodeName("b"), 1.0, werner(0.9)._replace(psi_minus=0.9))
