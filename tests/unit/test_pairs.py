"""Nodes that work their memories by rules: pairs reach both ends of a path, as good as physics allows."""

from keyweave.agent.pairs.deliver import Outcome
from keyweave.common.names import StreamName
from tests.unit.pair_lab import NAMES, Lab, path_rules, put_in_force

S = StreamName("s")
A, B, C, D, E, F = NAMES


def outcomes(lab: Lab) -> tuple[dict[int, Outcome], dict[int, Outcome]]:
    """Of both ends, by number."""
    ends = (lab.nodes[0], lab.nodes[-1])
    first, second = (lab.engines[end].shelf.take_outcomes(S, 100_000) for end in ends)
    return {each.number: each for each in first}, {each.number: each for each in second}


def assert_outcomes_agree(lab: Lab, least: int) -> None:
    """All of them: pairs are perfect and frames corrected."""
    here, there = outcomes(lab)
    both = here.keys() & there.keys()
    assert len(both) >= least
    same = [n for n in both if here[n].basis == there[n].basis]
    assert len(same) > 0.25 * len(both)
    assert all(here[n].pair_id == there[n].pair_id for n in both)
    assert all(here[n].bit == there[n].bit for n in same)


def test_one_hop_gives_the_same_outcomes_at_both_ends() -> None:
    lab = Lab(2)
    put_in_force(lab, path_rules(lab.nodes))
    lab.run(4.0)
    assert_outcomes_agree(lab, 100)


def test_a_chain_gives_the_same_outcomes_at_both_ends() -> None:
    lab = Lab(4)
    put_in_force(lab, path_rules(lab.nodes, width=3))
    lab.run(4.0)
    assert_outcomes_agree(lab, 60)


def test_purified_pairs_have_their_frames_corrected_too() -> None:
    lab = Lab(3)
    put_in_force(lab, path_rules(lab.nodes, width=4, rounds=1, end_rounds=1))
    lab.run(4.0)
    assert_outcomes_agree(lab, 8)
