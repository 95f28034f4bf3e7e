"""A link's maintenance costs no key: what its pools had before it is used up after it."""

from pathlib import Path

import pytest

from keyweave.v1 import agent_pb2
from tests.unit.link_pair import BLOCK, Pair

HALF = BLOCK // 2


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Two ends with ten blocks in a pool."""
    made = Pair(tmp_path)
    made.settle()
    for _ in range(10):
        for end in made.ends.values():
            end.take_block()
    made.settle()
    return made


def maintain(pair: Pair, *nodes: str, on: bool) -> None:
    for node in nodes:
        pair.ends[node].bind(maintenance=on)


def taken(pair: Pair, *nodes: str, count: int = 1) -> None:
    for _ in range(count):
        for node in nodes:
            pair.ends[node].take_block()


def used_up(pair: Pair) -> dict[str, int]:
    """Bytes that each end can send, taken and compared at the other end one by one."""
    sent = dict.fromkeys(pair.ends, 0)
    for node, end in pair.ends.items():
        while end.send(1) is not None:
            sent[node] += 1
            assert pair.deliver(node)
    return sent


def destroyed(pair: Pair) -> list[str]:
    return [
        event.reason
        for end in pair.ends.values()
        for event in end.events
        if event.kind == agent_pb2.AGENT_EVENT_KIND_POOL_DESTROYED
    ]


@pytest.mark.parametrize("first", ["a", "b"])
def test_pools_outlive_maintenance_whichever_end_hears_of_its_beginning_and_end_first(
    pair: Pair, first: str
) -> None:
    second = pair.other(first)
    maintain(pair, first, on=True)
    taken(pair, "a", "b", count=3)  # the other end takes three more that it shares with nobody
    maintain(pair, second, on=True)
    taken(pair, "a", "b", count=5)  # the device goes on; nobody takes them
    maintain(pair, first, on=False)
    taken(pair, "a", "b", count=2)
    pair.settle()
    maintain(pair, second, on=False)
    taken(pair, "a", "b", count=4)
    pair.settle()
    pools = {
        node: [(pool.first_block, pool.next_block) for pool in end.link.pools]
        for node, end in pair.ends.items()
    }
    assert pools["a"] == pools["b"]
    assert pools["a"][0] == (1, 11), "what both had before"
    assert destroyed(pair) == []
    after = sum(end - start for start, end in pools["a"][1:])
    assert after >= 4
    assert used_up(pair) == dict.fromkeys("ab", (10 + after) * HALF)


def test_pools_that_are_used_during_maintenance_are_used_up_after_it(pair: Pair) -> None:
    maintain(pair, "a", "b", on=True)
    assert pair.ends["a"].send(100) is not None
    assert pair.ends["b"].send(20) is not None
    taken(pair, "a", "b")
    maintain(pair, "a", "b", on=False)
    pair.settle()
    pair.reconnect()
    taken(pair, "a", "b")
    pair.settle()
    assert destroyed(pair) == []
    assert used_up(pair) == {"a": 10 * HALF - 100 + HALF, "b": 10 * HALF - 20 + HALF}
    taken(pair, "a", "b")
    pair.settle()
    assert [pool.first_block for pool in pair.ends["a"].link.pools] == [12], "the old one is used up and gone"


def test_an_end_that_never_heard_of_the_maintenance_begins_afresh(pair: Pair) -> None:
    maintain(pair, "a", on=True)
    taken(pair, "a", "b")
    maintain(pair, "a", on=False)
    taken(pair, "a", "b")
    pair.settle()
    assert "the peer begins afresh" in destroyed(pair)
    old = pair.ends["a"].send(8)
    assert old is not None
    pair.settle()
    assert pair.ends["a"].link.pools.find(old.pool_id) is None, "the other end does not know it any more"
    taken(pair, "a", "b")
    pair.settle()
    assert used_up(pair)["a"] > 0


def test_windows_one_after_the_other_leave_a_pool_each_and_no_byte_twice(pair: Pair) -> None:
    for _ in range(3):
        maintain(pair, "a", "b", on=True)
        taken(pair, "a", "b")
        maintain(pair, "a", "b", on=False)
        taken(pair, "a", "b", count=2)
        pair.settle()
    assert [pool.next_block - pool.first_block for pool in pair.ends["b"].link.pools] == [10, 2, 2, 2]
    assert used_up(pair) == dict.fromkeys("ab", 16 * HALF)
    assert destroyed(pair) == []
