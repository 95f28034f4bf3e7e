"""What a path amounts to in steps: every half of every pair has exactly one thing to be done with it."""

import math
from collections import Counter as Tally

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.common.entanglement.bell import werner
from keyweave.common.entanglement.memory import Memory, waited
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.pairs.rules import keep_seconds, steps_of
from keyweave.controller.routing.entanglement.repeaters import Lane, balanced
from keyweave.v1 import pairs_pb2


def lane(hops: int, **given: object) -> Lane:
    nodes = tuple(NodeName(chr(ord("a") + n)) for n in range(hops + 1))
    settings: dict[str, object] = {
        "rounds": (0,) * hops,
        "cutoff_seconds": (math.inf,) * hops,
        "channels": (1,) * hops,
        "swap_order": balanced(nodes),
        "end_rounds": 0,
    }
    links = tuple(LinkName(f"l{n}") for n in range(hops))
    return Lane(nodes=nodes, links=links, **{**settings, **given})  # type: ignore[arg-type]  # by name


def words(steps: list[pairs_pb2.PairStep]) -> list[str]:
    """`swap b/0 with d/1`, `deliver a/0`, `cutoff a/0 2`."""
    said = []
    for step in steps:
        kind = step.WhichOneof("action")
        text = f"{kind} {step.partner}/{step.rounds}"
        if kind == "swap":
            text += f" with {step.swap.with_partner}/{step.swap.with_rounds}"
        if kind == "cutoff":
            text += f" {step.cutoff.seconds:g}"
        said.append(text)
    return said


def test_two_neighbours_hand_their_pairs_on() -> None:
    assert [words(steps) for steps in steps_of(lane(1))] == [["deliver b/0"], ["deliver a/0"]]


def test_three_hops_swap_in_the_order_of_the_plan() -> None:
    assert [words(steps) for steps in steps_of(lane(3))] == [
        ["deliver d/0"],
        ["swap a/0 with d/0"],
        ["swap b/0 with d/0"],
        ["deliver a/0"],
    ]


def test_pairs_are_purified_where_the_plan_says_before_they_are_swapped() -> None:
    steps = steps_of(lane(2, rounds=(1, 0), end_rounds=1))
    assert [words(each) for each in steps] == [
        ["purify b/0", "purify c/0", "deliver c/1"],
        ["purify a/0", "swap a/1 with c/0"],
        ["purify a/0", "deliver a/1"],
    ]


def test_rounds_from_end_to_end_of_one_hop_come_after_its_own() -> None:
    steps = steps_of(lane(1, rounds=(1,), end_rounds=1))
    assert words(steps[0]) == ["purify b/0", "purify b/1", "deliver b/2"]


def test_each_wait_has_its_cut_off_and_ages_add_up() -> None:
    steps = steps_of(lane(3, cutoff_seconds=(2.0, 2.0, 2.0)))
    assert words(steps[1])[:2] == ["cutoff c/0 2", "cutoff d/0 4"] or "cutoff d/0 4" in words(steps[1])
    assert "cutoff a/0 2" in words(steps[1])
    assert "deliver d/0" in words(steps[0])
    assert not any(text.startswith("cutoff d") for text in words(steps[0]))


@given(
    st.integers(1, 6).flatmap(
        lambda hops: st.tuples(
            st.just(hops),
            st.tuples(*[st.integers(0, 2)] * hops),
            st.integers(0, 2),
            st.sampled_from([math.inf, 1.0]),
        )
    )
)
def test_every_half_has_one_thing_to_be_done_with_it(case: tuple[int, tuple[int, ...], int, float]) -> None:
    hops, rounds, end_rounds, cutoff = case
    steps = steps_of(lane(hops, rounds=rounds, end_rounds=end_rounds, cutoff_seconds=(cutoff,) * hops))
    swaps = 0
    for position, each in enumerate(steps):
        taken: Tally[tuple[str, int]] = Tally()
        for step in each:
            kind = step.WhichOneof("action")
            if kind == "cutoff":
                continue
            taken[step.partner, step.rounds] += 1
            if kind == "swap":
                swaps += 1
                taken[step.swap.with_partner, step.swap.with_rounds] += 1
        assert set(taken.values()) == {1}
        delivers = [step for step in each if step.WhichOneof("action") == "deliver"]
        assert len(delivers) == (position in (0, hops))
    assert swaps == hops - 1


def test_pairs_are_worth_keeping_until_half_way_to_no_entanglement() -> None:
    memory = Memory(t2_seconds=2.0)
    state = werner(0.9)
    seconds = keep_seconds(state, 0.8, memory, memory)
    left = waited(waited(state, seconds, memory), seconds, memory).fidelity
    assert left == pytest.approx(0.65, abs=0.01)
    assert keep_seconds(state, 0.8, Memory(), Memory()) == math.inf
