"""The published algorithms do what their papers say in cases small enough to work out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.controller.routing.entanglement.slots import Edge, PairNetwork, edge
from tests.bench.entanglement import __main__ as bench
from tests.bench.entanglement import landing, sweep
from tests.bench.entanglement.compare import Algorithm, Effort, Point, asking, check, compare, jain, paired
from tests.bench.entanglement.greedy import Greedy
from tests.bench.entanglement.ours import Ours
from tests.bench.entanglement.qcast import QCast, QCastKeeping
from tests.bench.entanglement.qpass import QPass, QPassStopping
from tests.bench.entanglement.reps import Reps
from tests.bench.entanglement.slmp import Slmp
from tests.bench.entanglement.slotted import Slot, generate
from tests.bench.entanglement.turns import Turns

# 0 - 1 - 2 - 3, and a way around its middle by 4; every channel and every swap succeeds.
LINKS = {(0, 1): 2, (1, 2): 2, (2, 3): 2, (1, 4): 2, (2, 4): 2}


EVERYTHING = (*sweep.ALGORITHMS, *sweep.EXPLAINING)


def network(links: dict[Edge, int] = LINKS, memories: int = 8, success: float = 1.0) -> PairNetwork:
    count = 1 + max(node for link in links for node in link)
    return PairNetwork((memories,) * count, links, dict.fromkeys(links, success), 1.0)


def planned(
    kind: type[Algorithm], there: PairNetwork, pairs: Sequence[tuple[int, int]]
) -> tuple[Algorithm, dict[Edge, int]]:
    algorithm = kind(there)
    algorithm.prepare(pairs)
    algorithm.plan(pairs)
    return algorithm, dict(algorithm.channels(0))


@pytest.mark.parametrize("kind", EVERYTHING, ids=lambda kind: kind.name)
def test_where_nothing_fails_a_pair_gets_what_its_narrowest_edge_has(kind: type[Algorithm]) -> None:
    there = network()
    algorithm, channels = planned(kind, there, [(0, 3)])
    made = algorithm.connect(Slot(there, (1,)), channels)
    assert made == [(0, 3)] * (1 if kind is Slmp else 2)


@pytest.mark.parametrize("kind", [QCast, QPass, Reps, Ours], ids=lambda kind: kind.name)
def test_a_broken_middle_is_gone_around_by_all_that_recover(kind: type[Algorithm]) -> None:
    there = network()
    algorithm, channels = planned(kind, there, [(0, 3)])
    assert algorithm.connect(Slot(there, (1,)), channels | {(1, 2): 0}) == [(0, 3)] * 2


def test_greedy_does_not_recover() -> None:
    there = network()
    algorithm, channels = planned(Greedy, there, [(0, 3)])
    assert algorithm.connect(Slot(there, (1,)), channels | {(1, 2): 0}) == []


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    nodes=st.integers(15, 30),
    pairs=st.integers(1, 6),
    success=st.floats(0.2, 0.95),
    kind=st.sampled_from(EVERYTHING),
)
def test_all_keep_to_memories_and_channels_and_swap_no_pair_twice(
    seed: int, nodes: int, pairs: int, success: float, kind: type[Algorithm]
) -> None:
    there = generate(seed, nodes=nodes, degree=4.0, mean_success=success)
    asked = asking(seed, 0, Point(nodes=nodes, pairs=pairs))
    algorithm, channels = planned(kind, there, asked)
    check(there, channels)
    slot = Slot(there, (seed, 0))
    good = slot.outcomes(channels)
    had = Counter(good)
    made = Counter(algorithm.connect(slot, dict(good)))
    assert set(made) <= set(asked)
    # Each end of each connection is a pair of its own that was made there.
    for node in range(nodes):
        ends = sum(count for pair, count in made.items() if node in pair)
        assert ends <= sum(count for link, count in had.items() if node in link)


def test_qcast_takes_the_widest_path_though_a_narrower_one_gives_more() -> None:
    # One hop with a single channel, or three hops of two: wider comes first.
    links = {(0, 1): 1, (0, 2): 2, (2, 3): 2, (1, 3): 2}
    algorithm, _ = planned(QCast, network(links, memories=4, success=0.5), [(0, 1)])
    assert isinstance(algorithm, QCast)
    assert [(one.main.path, one.main.width) for one in algorithm.majors] == [((0, 2, 3, 1), 2), ((0, 1), 1)]


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000), pairs=st.integers(2, 6))
def test_keeping_paths_that_still_fit_chooses_what_searching_anew_would(seed: int, pairs: int) -> None:
    there = generate(seed, nodes=25)
    asked = asking(seed, 0, Point(nodes=25, pairs=pairs))
    anew, keeping = (planned(kind, there, asked)[0] for kind in (QCast, QCastKeeping))
    assert isinstance(anew, QCast)
    assert isinstance(keeping, QCast)
    assert keeping.majors == anew.majors


def test_qpass_takes_the_path_that_is_made_soonest_first() -> None:
    links = {(0, 1): 1, (0, 2): 2, (2, 3): 2, (1, 3): 2}
    algorithm, _ = planned(QPass, network(links, memories=4, success=0.5), [(0, 1)])
    assert isinstance(algorithm, QPass)
    assert [(one.path, one.width) for one in algorithm.lanes] == [((0, 1), 1), ((0, 2, 3, 1), 2)]


def test_qpass_stopping_leaves_other_pairs_the_widest_path_of_what_is_left() -> None:
    # Both pairs need the one channel between 1 and 2; the second has a way around it.
    links = {(0, 1): 1, (1, 2): 1, (2, 3): 1, (4, 1): 1, (2, 5): 1, (1, 6): 1, (6, 2): 1}
    links = {edge(*link): count for link, count in links.items()}
    for kind in (QPass, QPassStopping):
        algorithm, _ = planned(kind, network(links), [(0, 3), (4, 5)])
        assert isinstance(algorithm, QPass)
        assert [one.path for one in algorithm.lanes] == [(0, 1, 2, 3), (4, 1, 6, 2, 5)]


def test_qpass_replaces_only_the_segment_that_lacks_pairs() -> None:
    # A chain of six hops: the second half has a way around.
    links = {(n, n + 1): 1 for n in range(6)} | {(3, 7): 1, (6, 7): 1}
    algorithm, _ = planned(QPass, network(links), [(0, 6)])
    assert isinstance(algorithm, QPass)
    good = dict.fromkeys(links, 1) | {(4, 5): 0}
    assert algorithm.selected(good) == [(0, 1, 2, 3, 7, 6)]


def test_slmp_uses_one_channel_of_an_edge() -> None:
    _, channels = planned(Slmp, network(), [(0, 3)])
    assert set(channels.values()) == {1}


def test_reps_provisions_an_edge_that_fails_more_often_with_more_channels() -> None:
    there = PairNetwork((12, 12, 12), {(0, 1): 10, (1, 2): 10}, {(0, 1): 0.8, (1, 2): 0.4}, 0.9)
    _, channels = planned(Reps, there, [(0, 2)])
    assert channels == {(0, 1): 4, (1, 2): 8}


def test_reps_selects_as_many_paths_as_there_can_be() -> None:
    # Did the first pair take its shortest path, 0-7-1-3, nothing would be left for the second.
    links = dict.fromkeys([(0, 7), (1, 7), (1, 3), (4, 7), (4, 5), (3, 5), (1, 6)], 1)
    algorithm, _ = planned(Reps, network(links), [(0, 3), (6, 3)])
    assert isinstance(algorithm, Reps)
    assert sorted(algorithm.selected(dict.fromkeys(links, 1))) == [(0, 7, 4, 5, 3), (6, 1, 3)]


def test_in_turns_each_slot_belongs_to_one_pair() -> None:
    there = network()
    algorithm, _ = planned(Turns, there, [(0, 3), (1, 4)])
    for number, pair in ((0, (0, 3)), (1, (1, 4)), (2, (0, 3))):
        slot = Slot(there, (number,), number)
        assert set(algorithm.connect(slot, slot.outcomes(algorithm.channels(number)))) == {pair}


def test_every_algorithm_meets_the_same_draws() -> None:
    effort, point = Effort(topologies=2, demands=2, draws=2), Point(nodes=25, pairs=3)
    together = compare((QCast, Greedy, Ours), point, effort)
    for kind in (QCast, Greedy, Ours):
        assert compare((kind,), point, effort)[kind.name].throughput == together[kind.name].throughput


def test_who_asks_is_drawn_anew_for_every_slot_and_nobody_twice_in_one() -> None:
    demands = [asking(0, demand, Point()) for demand in range(5)]
    assert len({tuple(each) for each in demands}) == 5
    assert all(len({node for pair in each for node in pair}) == 20 for each in demands)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [({(0, 1): 3}, "3 channels in use on edge"), ({(0, 1): 2, (1, 2): 2, (1, 4): 2}, "more memories in use")],
)
def test_what_there_is_not_cannot_be_used(channels: dict[Edge, int], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        check(network(memories=5), channels)


def test_fairness_is_jains_index() -> None:
    assert jain([1, 1, 1, 1]) == 1.0
    assert jain([4, 0, 0, 0]) == 0.25
    assert jain([0, 0]) == 1.0


def test_differences_are_paired_and_their_interval_is_students() -> None:
    difference, half = paired([2.0, 3.0, 5.0], [1.0, 1.0, 2.0])
    assert difference == pytest.approx(2.0)
    assert half == pytest.approx(4.3027 / 3**0.5, rel=1e-4)


def test_nothing_is_compared_with_a_qcast_that_does_not_land(monkeypatch: pytest.MonkeyPatch) -> None:
    assert landing.Landing(15.5, 1.5).holds
    assert not landing.Landing(17.4, 1.5).holds
    monkeypatch.setattr(landing, "land", lambda: landing.Landing(17.4, 1.5))
    monkeypatch.setattr(sweep, "sweep", lambda: pytest.fail("compared"))
    with pytest.raises(SystemExit, match="nothing can be compared"):
        next(bench.throughput())


def test_a_point_is_named_by_what_differs() -> None:
    assert sweep.changed(sweep.REFERENCE) == "reference"
    assert sweep.changed(replace(sweep.REFERENCE, success=0.3)) == "success 0.3"
