"""What a node is told to do, in words: every kind of rule has some."""

import pytest

from keyweave.cli import policies
from keyweave.v1 import agent_pb2, types_pb2
from tests.protocol.golden import policy_rules


@pytest.mark.parametrize("rule", policy_rules(), ids=lambda rule: str(rule.WhichOneof("kind")))
def test_every_kind_of_rule_has_words_of_its_own(rule: agent_pb2.Rule) -> None:
    assert policies.in_words(rule) not in ("", policies.in_words(agent_pb2.Rule()))


def test_a_stream_says_what_its_keys_need_and_how_many_ways_there_are() -> None:
    rule = agent_pb2.Rule(
        stream=agent_pb2.StreamRule(
            local_sae="left",
            peer_sae="right",
            peer_node="b",
            require_qkd=True,
            require_pqc=True,
            key_size_bits=256,
            buffer_keys=32,
            rate_bps=8192,
            k=2,
            min_k=1,
            path_sets=[types_pb2.PathSet(rank=0), types_pb2.PathSet(rank=1), types_pb2.PathSet(rank=2)],
        )
    )
    assert policies.in_words(rule) == (
        "left to right at b; requires QKD and ML-KEM; 256 bit, 32 keys ready, 8.19 kbit/s;"
        " 1 path sets in use and 2 backups; 2 shares, never fewer than 1"
    )


def test_a_relay_says_the_whole_way_and_its_limit() -> None:
    hops = [
        types_pb2.Hop(link="ab", from_node="a", to_node="b"),
        types_pb2.Hop(link="bc", from_node="b", to_node="c"),
    ]
    rule = agent_pb2.Rule(relay=agent_pb2.RelayRule(budget_bps=2000, hops=hops))
    assert policies.in_words(rule) == "relays a→b→c, at most 2.00 kbit/s"


def test_a_node_without_a_policy_has_no_version() -> None:
    assert policies.version(agent_pb2.PolicyVersion(epoch=3, version=4)) == "-"
    assert policies.version(agent_pb2.PolicyVersion(epoch=3, version=4, digest=bytes(32))) == "3.4"
