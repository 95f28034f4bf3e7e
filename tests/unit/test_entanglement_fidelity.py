"""Pair streams get pairs as good as they asked for, from memories that are there, or hear what could be."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.common.entanglement.bell import werner
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.routing.entanglement.chain import predict
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


def test_who_asks_for_far_too_many_is_not_told_that_the_fidelity_is_out_of_reach() -> None:
    answer = admit(a_ring(), [], asks("a", "n0", "n3", rate_hz=1e6))
    assert not answer.accepted
    assert answer.words.startswith("1e+06 pairs/s are far out of reach: with all memories ")


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


@st.composite
def plannings(draw: st.DrawFn) -> tuple[RepeaterNetwork, list[PairDemand]]:
    network = a_ring(
        nodes=draw(st.integers(3, 6)),
        memories=draw(st.integers(1, 12)),
        fidelity=draw(st.floats(0.55, 0.99)),
        t2_seconds=draw(st.sampled_from([inf, 1.0, 0.1])),
        swap=draw(st.floats(0.3, 1.0)),
    )
    names = list(network.nodes)
    ends = [draw(st.permutations(names)) for _ in range(draw(st.integers(1, 3)))]
    demands = [
        PairDemand(
            StreamName(f"s{number}"),
            source=source,
            target=target,
            min_fidelity=draw(st.floats(0.55, 0.95)),
            rate_hz=draw(st.floats(0.1, 20.0)),
            priority=draw(st.integers(0, 1)),
            max_rounds=draw(st.integers(0, 2)),
        )
        for number, (source, target, *_) in enumerate(ends)
    ]
    return network, demands


@given(plannings())
@settings(max_examples=15, deadline=None)
def test_no_plan_breaks_a_floor_takes_a_memory_twice_or_purifies_in_vain(
    drawn: tuple[RepeaterNetwork, list[PairDemand]],
) -> None:
    network, demands = drawn
    plan = plan_pairs(network, demands)
    used = dict.fromkeys(network.nodes, 0)
    for demand in demands:
        answer = plan.answers[demand.name]
        for path in answer.paths if isinstance(answer, Served) else ():
            assert demand.min_fidelity <= path.predicted_fidelity <= 1.0
            assert max((*path.rounds, path.end_rounds)) <= demand.max_rounds
            assert path.nodes[0] == demand.source
            assert path.nodes[-1] == demand.target
            for name, count in path.memories().items():
                used[name] += count
            for hop, rounds in enumerate(path.rounds):
                if rounds:
                    fewer = (*path.rounds[:hop], rounds - 1, *path.rounds[hop + 1 :])
                    without = predict(network, replace(path.lane, rounds=fewer))
                    assert without is None or without.state.fidelity < path.predicted_fidelity
    assert all(0 <= plan.free[name] == node.memories - used[name] for name, node in network.nodes.items())


def test_a_path_stays_when_another_is_a_little_better() -> None:
    network, demand = a_ring(), asks("a", "n0", "n3")
    before = plan_pairs(network, [demand])
    answer = before.answers[demand.name]
    assert isinstance(answer, Served)
    on_the_way = answer.paths[0].links
    # The way around is now a little quicker.
    links = [
        link if link.name in on_the_way else replace(link, pair_rate_hz=1.05 * link.pair_rate_hz)
        for link in network.links.values()
    ]
    after = plan_pairs(network_of(network.nodes.values(), links), [demand], before).answers[demand.name]
    assert isinstance(after, Served)
    assert after.paths[0].links == on_the_way
    fresh = plan_pairs(network_of(network.nodes.values(), links), [demand]).answers[demand.name]
    assert isinstance(fresh, Served)
    assert fresh.paths[0].links != on_the_way


def test_a_path_is_left_when_a_link_of_it_makes_no_more_pairs() -> None:
    network, demand = a_ring(), asks("a", "n0", "n3")
    before = plan_pairs(network, [demand])
    answer = before.answers[demand.name]
    assert isinstance(answer, Served)
    gone = answer.paths[0].links[0]
    links = [
        replace(link, pair_rate_hz=0.0) if link.name == gone else link for link in network.links.values()
    ]
    after = plan_pairs(network_of(network.nodes.values(), links), [demand], before).answers[demand.name]
    assert isinstance(after, Served)
    assert gone not in after.paths[0].links


def test_a_newcomer_takes_nothing_from_those_who_are_served() -> None:
    network = a_ring(memories=4, swap=1.0)
    first = asks("a", "n0", "n3", rate_hz=40.0)
    before = plan_pairs(network, [first])
    assert isinstance(before.answers[first.name], Served)
    answer = admit(network, [first], asks("b", "n0", "n3", rate_hz=5.0), before)
    assert not answer.accepted
    assert "memories are left at" in answer.words or "taken from a" in answer.words


def test_who_could_have_it_slower_or_worse_is_told_both() -> None:
    answer = admit(a_ring(t2_seconds=1.0), [], asks("a", "n0", "n3", floor=0.85, rate_hz=5.0))
    assert not answer.accepted
    assert answer.words.startswith("5 pairs/s of fidelity 0.85 are not to be had: best ")
    assert "could be had at that rate" in answer.words
