"""The digest that stands for a path: whatever differs in it shows, whatever names are made of."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from keyweave.agent.keyplane.streams.route import Side, Transit, path_digest
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2, types_pb2

names = st.text(max_size=5)
hops = st.lists(st.tuples(names, names, names), max_size=4)


def messages(triples: list[tuple[str, str, str]]) -> list[types_pb2.Hop]:
    return [types_pb2.Hop(link=link, from_node=a, to_node=b) for link, a, b in triples]


@given(one=st.tuples(names, names, hops), other=st.tuples(names, names, hops))
def test_only_the_same_stream_path_and_hops_have_the_same_digest(
    one: tuple[str, str, list[tuple[str, str, str]]], other: tuple[str, str, list[tuple[str, str, str]]]
) -> None:
    def digest(what: tuple[str, str, list[tuple[str, str, str]]]) -> bytes:
        return path_digest(what[0], what[1], messages(what[2]))

    assert (digest(one) == digest(other)) == (one == other)


def test_a_name_cannot_grow_into_the_next() -> None:
    assert path_digest("ab", "c", []) != path_digest("a", "bc", [])
    assert path_digest("s", "p", messages([("l", "ab", "c")])) != path_digest(
        "s", "p", messages([("l", "a", "bc")])
    )


def test_the_digest_of_a_path_is_what_the_protocol_says() -> None:
    digest = path_digest("s", "s:1", messages([("a-b", "a", "b"), ("b-c", "b", "c")]))
    assert digest.hex() == "f0c61ad71ab21a038c7336c80d2581a5c887e356f3567ede0c7e4631330169ff"


def test_a_transit_node_finds_its_own_place_in_the_path() -> None:
    path = messages([(f"{a}-{b}", a, b) for a, b in pairwise("abcd")])
    rule = agent_pb2.RelayRule(stream="s", path_id="s:1", hops=path, budget_bps=2, burst_bits=1)
    here = Transit.of(rule, NodeName("c"))
    assert here.towards_source == Side(LinkName("b-c"), NodeName("b"))
    assert here.towards_target == Side(LinkName("c-d"), NodeName("d"))
    assert here.digest == Transit.of(rule, NodeName("b")).digest
