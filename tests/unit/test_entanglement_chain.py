"""What a chain of repeaters is predicted to give: closed forms where there are some, and a run of it."""

from dataclasses import replace
from math import exp, inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.common.entanglement.bell import chain_fidelity, werner
from keyweave.common.entanglement.purification import rounds
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.entanglement.chain import predict
from keyweave.controller.routing.entanglement.repeaters import (
    Lane,
    PairLink,
    PairNode,
    RepeaterNetwork,
    balanced,
    network_of,
    plain_lane,
)
from keyweave.controller.routing.entanglement.waiting import BINS, heralded
from tests.bench.entanglement.chain_run import ChainRun


def a_chain(
    hops: int,
    rate_hz: float = 10.0,
    fidelity: float = 0.95,
    swap: float = 1.0,
    t2_seconds: float = inf,
    delay_seconds: float = 0.0,
) -> tuple[RepeaterNetwork, Lane]:
    names = [NodeName(f"n{i}") for i in range(hops + 1)]
    links = [
        PairLink(LinkName(f"l{i}"), names[i], names[i + 1], rate_hz, werner(fidelity), delay_seconds)
        for i in range(hops)
    ]
    nodes = [PairNode(name, 16, t2_seconds=t2_seconds, swap_success_ratio=swap) for name in names]
    return network_of(nodes, links), plain_lane(tuple(names), tuple(link.name for link in links))


@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5, 8])
def test_without_loss_the_last_hop_sets_the_rate_and_the_product_the_fidelity(hops: int) -> None:
    found = predict(*a_chain(hops))
    assert found is not None
    # The mean of the greatest of n exponentials is the n-th harmonic number of one's.
    harmonic = sum(1 / i for i in range(1, hops + 1))
    assert found.rate_hz == pytest.approx(10 / harmonic, rel=1e-3)
    assert found.state.fidelity == pytest.approx(chain_fidelity(0.95, hops), abs=1e-6)


def test_two_hops_with_failing_swaps_and_dephasing_are_as_worked_out_by_hand() -> None:
    found = predict(*a_chain(2, swap=0.5, t2_seconds=1.0))
    assert found is not None
    assert found.rate_hz == pytest.approx(0.5 * 10 / 1.5, rel=1e-3)
    correlation = (4 * 0.95 - 1) / 3
    # The first waits for the second an exponential time of mean 0.1 s, in two memories.
    waited = 10 / (10 + 2)
    assert found.state.fidelity == pytest.approx((1 + correlation**2 * (1 + 2 * waited)) / 4, abs=2e-4)


def test_a_purified_hop_gives_the_published_state_at_the_published_success() -> None:
    network, lane = a_chain(1, fidelity=0.8)
    found, made = predict(network, replace(lane, rounds=(1,))), rounds(werner(0.8), 1)
    assert found is not None
    assert found.state == pytest.approx(made.state, abs=1e-9)
    assert found.rate_hz == pytest.approx(made.success_ratio * 10 / 1.5, rel=1e-3)


def test_halves_swap_first() -> None:
    names = tuple(NodeName(each) for each in "abcdef")
    assert balanced(names) == (("b", "d"), ("e",), ("c",)) or balanced(names)[-1] == ("c",)
    assert sorted(name for level in balanced(names) for name in level) == list("bcde")


@pytest.mark.parametrize("cutoff_seconds", [0.05, 0.1, 0.3])
def test_a_cutoff_costs_rate_and_wins_fidelity_as_worked_out_by_hand(cutoff_seconds: float) -> None:
    network, lane = a_chain(2, t2_seconds=1.0)
    found = predict(network, replace(lane, cutoff_seconds=(cutoff_seconds,) * 2))
    assert found is not None
    # One of two comes after 1/20 s; the other within the cut-off with probability 1 - exp(-10 tau).
    caught = 1 - exp(-10 * cutoff_seconds)
    waited = (1 - exp(-12 * cutoff_seconds)) * 10 / 12 / caught
    each = 1 / 20 + caught / 10
    correlation = (4 * 0.95 - 1) / 3
    assert found.rate_hz == pytest.approx(caught / each, rel=0.02)
    assert found.state.fidelity == pytest.approx((1 + correlation**2 * (1 + 2 * waited)) / 4, abs=1e-3)


@pytest.mark.parametrize(
    ("hops", "changes"),
    [
        (3, {}),
        (3, {"cutoff_seconds": (0.05,) * 3}),
        (3, {"rounds": (1, 0, 2), "cutoff_seconds": (0.1, inf, 0.2)}),
        (3, {"end_rounds": 1, "channels": (2, 1, 1)}),
        (5, {}),
        (5, {"cutoff_seconds": (0.1,) * 5}),
        (5, {"rounds": (1, 0, 1, 0, 1)}),
    ],
)
def test_a_run_gives_what_was_predicted(hops: int, changes: dict[str, Any]) -> None:
    network, plain = a_chain(hops, rate_hz=20.0, swap=0.6, t2_seconds=1.0, delay_seconds=0.002)
    lane = replace(plain, **changes)
    found, run = predict(network, lane), ChainRun(network, lane, seed=1).run(1500)
    assert found is not None
    # With 1,500 pairs chance alone moves the rate by 3 %.
    assert found.rate_hz == pytest.approx(run.rate_hz, rel=0.12)
    assert found.state.fidelity == pytest.approx(run.state.fidelity, abs=0.015)


@given(
    st.integers(1, 5).flatmap(
        lambda hops: st.tuples(
            st.lists(st.integers(0, 2), min_size=hops, max_size=hops),
            st.lists(st.floats(0.005, 1.0), min_size=hops, max_size=hops),
            st.integers(0, 2),
            st.floats(0.5, 0.999),
            st.floats(0.05, 1.0),
            st.floats(0.01, 10.0),
        )
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_lane_what_it_gives_is_a_state_at_a_rate(
    drawn: tuple[list[int], list[float], int, float, float, float],
) -> None:
    rounds_each, cutoffs, end_rounds, fidelity, swap, t2_seconds = drawn
    network, plain = a_chain(len(cutoffs), 20.0, fidelity, swap, t2_seconds, 0.001)
    lane = replace(plain, rounds=tuple(rounds_each), cutoff_seconds=tuple(cutoffs), end_rounds=end_rounds)
    found = predict(network, lane)
    if found is not None:
        assert 0.0 < found.rate_hz < 20.0 + 1e-6
        assert min(found.state) > -1e-9
        assert sum(found.state) == pytest.approx(1.0)
        assert 0.25 - 1e-9 <= found.state.fidelity <= 1.0


@pytest.mark.parametrize("bins", [BINS - 1.0, BINS - 0.6, BINS - 0.5, BINS - 0.1, float(BINS), BINS + 1.0])
def test_a_cut_off_at_the_end_of_the_grid_gives_up_hardly_anything(bins: float) -> None:
    network, lane = a_chain(2, rate_hz=10.0, t2_seconds=1.0)
    free = predict(network, lane)
    assert free is not None
    seconds = bins * heralded(10.0, werner(0.95)).bin_seconds
    late = predict(network, replace(lane, cutoff_seconds=(seconds, seconds)))
    assert late is not None
    assert late.rate_hz == pytest.approx(free.rate_hz, rel=0.01)
