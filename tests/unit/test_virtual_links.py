"""A virtual link is an ordinary link whose device is pairs; it comes and goes with the rules that feed it."""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from keyweave.agent.drivers.base import DeviceBlock, LinkEndInfo
from keyweave.agent.pairs.deliver import Basis, KeyRun, PairOutcomes
from keyweave.agent.pairs.keys.link import SILENCE_SECONDS, PairKeyLink
from keyweave.agent.pairs.keys.settings import PairKeySettings
from keyweave.agent.pairs.keys.virtual_links import VirtualLinks
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.v1 import agent_pb2, pairs_pb2, types_pb2
from tests.waiting import eventually

A, B, KEYS = NodeName("a"), NodeName("b"), LinkName("keys")
RUN = KeyRun(StreamName("pairs"), "p1", KEYS, B, is_source=True)
SETTINGS = PairKeySettings(block_bits=512)


class Wire:
    """A twin whose messages arrive at the other's."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.other: Wire = self
        self.up = True

    def send(self, message: bytes) -> bool:
        if self.up:
            self.other.inbox.put_nowait(message)
        return self.up

    async def receive(self) -> bytes:
        return await self.inbox.get()


def both_ends(clock: Callable[[], float]) -> tuple[PairKeyLink, PairKeyLink]:
    here, there = Wire(), Wire()
    here.other, there.other = there, here
    ends = (
        PairKeyLink(KEYS, B, SETTINGS, leads=True, emulated=True, clock=clock),
        PairKeyLink(KEYS, A, SETTINGS, leads=False, emulated=True, clock=clock),
    )
    for end, twin in zip(ends, (here, there), strict=True):
        end.meet(KEYS, twin)
    return ends


async def taken(end: PairKeyLink, into: list[DeviceBlock], first_block: int = 1) -> None:
    async for blocks in end.take_blocks(KEYS, first_block):
        into.extend(blocks)


async def measure(runs: tuple[PairOutcomes, PairOutcomes], count: int) -> None:
    """Perfect pairs: bits differ only where the bases do."""
    random = np.random.default_rng(5)
    for number in range(1, count + 1):
        mine, theirs = runs[0].basis(number), runs[1].basis(number)
        bit, other = (int(each) for each in random.integers(2, size=2))
        runs[0].outcome(number, mine, bit)
        runs[1].outcome(number, theirs, bit if mine is theirs else other)
        if number % 200 == 0:
            await asyncio.sleep(0)


async def test_both_ends_give_the_same_blocks_and_report_what_the_pairs_are_like() -> None:
    now = 0.0
    leader, follower = both_ends(lambda: now)
    mine: list[DeviceBlock] = []
    theirs: list[DeviceBlock] = []

    async def both_have_some() -> bool:
        return bool(mine and theirs)

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(each)
            for each in (leader.run(), follower.run(), taken(leader, mine, 7), taken(follower, theirs, 3))
        ]
        runs = leader.begin(RUN), follower.begin(RUN)
        await measure(runs, 3000)
        reports = leader.watch(KEYS)
        now = 2.0
        await eventually(both_have_some, 30, "blocks at both ends")
        report = await anext(reports)
        (qber,) = struct.unpack("<f", report.samples.qber_ratio)
        (sifted,) = struct.unpack("<f", report.samples.sifted_rate_bps)
        assert (qber, report.samples.status) == (0.0, types_pb2.LINK_STATUS_ACTIVE)
        assert sifted > 0
        now += SILENCE_SECONDS + 1
        assert (await anext(reports)).samples.status == types_pb2.LINK_STATUS_OFF
        for task in tasks:
            task.cancel()
    assert [(block.number, bytes(block.key)) for block in mine] == [
        (block.number, bytes(block.key)) for block in theirs
    ]
    # Both ends know that numbers below 7 are used up.
    assert mine[0].number == 7


async def test_a_run_that_is_over_takes_no_more_outcomes() -> None:
    leader, _ = both_ends(lambda: 0.0)
    first = leader.begin(RUN)
    second = leader.begin(RUN)
    first.outcome(1, Basis.Z, 1)
    assert leader.tally.measured_total == 0
    second.outcome(1, Basis.Z, 1)
    assert leader.tally.measured_total == 1
    second.end()
    second.outcome(2, Basis.Z, 1)
    assert leader.tally.measured_total == 1


async def test_pairs_that_come_over_another_path_besides_count_as_well() -> None:
    leader, _ = both_ends(lambda: 0.0)
    first, second = leader.begin(RUN), leader.begin(replace(RUN, path_id="p2"))
    first.outcome(1, Basis.Z, 1)
    second.outcome(1, Basis.Z, 0)
    assert leader.tally.measured_total == 2
    second.end()
    first.outcome(2, Basis.Z, 1)
    assert leader.tally.measured_total == 3


class Taker:
    """A key plane that knows one link already."""

    def __init__(self) -> None:
        self.links: dict[str, LinkEndInfo] = {}

    def take_up(self, driver: PairKeyLink) -> bool:
        if driver.link == "taken":
            return False
        self.links[driver.link] = driver.info
        return True

    def let_go(self, link: LinkName) -> None:
        del self.links[link]


def fed(key_link: str, *nodes: str) -> agent_pb2.Rule:
    return agent_pb2.Rule(
        rule_id="pair/s/p", pair=pairs_pb2.PairRule(stream="s", path_id="p", nodes=nodes, key_link=key_link)
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (fed("keys", "a", "r", "b"), {"keys": "b"}),
        (fed("keys", "b", "r", "a"), {"keys": "b"}),
        (fed("", "a", "b"), {}),
        (fed("keys", "b", "a", "c"), {}),
        (fed("taken", "a", "b"), {}),
    ],
    ids=["source", "target", "no keys", "between", "name taken"],
)
def test_a_link_comes_to_life_at_the_ends_of_what_feeds_it(
    rule: agent_pb2.Rule, expected: dict[str, str]
) -> None:
    taker = Taker()
    links = VirtualLinks(A, SETTINGS, taker, emulated=True)
    assert links.apply([rule]) is bool(expected)
    assert {name: info.peer_node for name, info in taker.links.items()} == expected
    # The same rules again change nothing; without them it is gone.
    assert not links.apply([rule])
    assert links.apply([]) is bool(expected)
    assert taker.links == {}


def test_a_path_that_changes_leaves_the_link_alone_and_another_end_begins_it_anew() -> None:
    taker = Taker()
    links = VirtualLinks(A, SETTINGS, taker, emulated=True)
    links.apply([fed("keys", "a", "r", "b")])
    assert not links.apply([fed("keys", "a", "s", "b")])
    assert links.apply([fed("keys", "a", "r", "c")])
    assert taker.links["keys"].peer_node == "c"


def test_outcomes_for_a_link_that_is_not_there_have_no_taker() -> None:
    assert VirtualLinks(A, SETTINGS, Taker(), emulated=True).begin(RUN) is None
