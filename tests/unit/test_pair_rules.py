"""A path of pairs that cannot be worked is refused whole, by the field that is wrong."""

from collections.abc import Callable

import pytest

from keyweave.agent.pairs.steps import PathRule, SwapWith
from keyweave.agent.policy_checks import check_rules
from keyweave.common.names import NodeName
from keyweave.v1 import agent_pb2, pairs_pb2

HERE = NodeName("b")


def rule(change: Callable[[pairs_pb2.PairRule], object] = lambda _rule: None) -> agent_pb2.Rule:
    """The part of `b` in a-b-c."""
    pair = pairs_pb2.PairRule(
        stream="s",
        path_id="s:1",
        nodes=["a", "b", "c"],
        links=["a-b", "b-c"],
        position=1,
        left_memories=2,
        right_memories=2,
        kind=pairs_pb2.PAIR_KIND_MEASURE_DIRECTLY,
        min_fidelity=0.8,
        rate_hz=10,
    )
    pair.steps.add(partner="a").cutoff.seconds = 1
    pair.steps.add(partner="a").swap.with_partner = "c"
    change(pair)
    return agent_pb2.Rule(rule_id=f"pair/{pair.stream}/{pair.path_id}", pair=pair)


def peer(node: str) -> agent_pb2.Rule:
    return agent_pb2.Rule(
        rule_id=f"peer/{node}", peer=agent_pb2.PeerRule(node=node, key_plane_address="127.0.0.1:1")
    )


def problems(*rules: agent_pb2.Rule) -> str:
    """What is wrong with these, in one line."""
    found = check_rules(HERE, {rule.rule_id: rule for rule in rules})
    return "; ".join(status.status.message for status in found)


def test_a_path_with_sessions_to_all_its_nodes_is_taken() -> None:
    assert not problems(peer("a"), peer("c"), rule())


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("pair.nodes", lambda pair: pair.nodes.append("d")),
        ("pair.nodes", lambda pair: (pair.nodes.append("a"), pair.links.append("c-a"))),
        ("pair.position", lambda pair: setattr(pair, "position", 0)),
        ("pair.position", lambda pair: setattr(pair, "position", 7)),
        ("pair.steps[2].partner", lambda pair: pair.steps.add(partner="b").purify.SetInParent()),
        ("pair.steps[2].deliver", lambda pair: pair.steps.add(partner="a").deliver.SetInParent()),
        ("pair.steps[1].swap", lambda pair: setattr(pair.steps[1].swap, "with_partner", "a")),
        (
            "pair.key_link",
            lambda pair: pair.MergeFrom(
                pairs_pb2.PairRule(key_link="a-c", kind=pairs_pb2.PAIR_KIND_CREATE_KEEP)
            ),
        ),
        ("steps[0].action", lambda pair: pair.steps[0].ClearField("cutoff")),
    ],
)
def test_a_path_that_cannot_be_worked_is_refused_by_its_field(
    field: str, change: Callable[[pairs_pb2.PairRule], object]
) -> None:
    assert field in problems(peer("a"), peer("c"), rule(change))


def test_a_path_without_a_session_to_one_of_its_nodes_is_refused() -> None:
    assert "no peer rule" in problems(peer("a"), rule())


def test_a_rule_is_known_by_its_stream_and_path() -> None:
    wrong = rule()
    wrong.rule_id = "pair/s/other"
    assert "expected 'pair/s/s:1'" in problems(peer("a"), peer("c"), wrong)
    tests = agent_pb2.Rule(
        rule_id="pair-link/b-c", pair_link=pairs_pb2.PairLinkRule(link="a-b", peer_node="a")
    )
    assert "expected 'pair-link/a-b'" in problems(peer("a"), tests)


def test_either_half_of_a_swap_finds_the_other() -> None:
    path = PathRule.of(rule().pair)
    a, c = NodeName("a"), NodeName("c")
    assert path.steps == {(a, 0): (SwapWith((c, 0)),), (c, 0): (SwapWith((a, 0)),)}
    assert path.cutoff_seconds((a, 0)) == 1.0
