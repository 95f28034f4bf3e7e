"""Key blocks: identical at both ends, each given once, erased after, bits never from a seed."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.common.errors import ConflictError, InvalidInputError, UnavailableError
from keyweave.common.names import NodeName
from keyweave.emulator.blocks import HIGHEST_BLOCK, BlockSource
from keyweave.emulator.faults import Fault
from keyweave.emulator.links import EmulatedLink
from keyweave.emulator.physics.link import ProtocolLink
from keyweave.emulator.physics.model import Disturbance
from keyweave.emulator.scenario import LinkSpec
from keyweave.v1 import emulator_pb2 as pb
from keyweave.v1 import types_pb2

BLOCK = 256
EVERYTHING = 1 << 30
SPEC = LinkSpec(
    name="a-b",
    a="a",
    b="b",
    technology="DV-QKD",
    length_km=45,
    loss_db=14.5,
    qber_ratio=0.027,
    skr_bps=300_000,
)


class Tick:
    """Advances a link one report at a time."""

    def __init__(self, link: EmulatedLink) -> None:
        self.link = link
        self.now = 1_000_000_000

    def __call__(self, times: int = 1) -> None:
        for _ in range(times):
            self.link.advance(self.now)
            self.now += 100_000_000


def make_link(seed: int = 1) -> tuple[EmulatedLink, Tick]:
    model = ProtocolLink(SPEC.devices, link=SPEC.name, seed=seed)
    link = EmulatedLink(SPEC, model, interval_seconds=0.1, rows=1)
    return link, Tick(link)


async def settle() -> None:
    """Let every task run until it waits for something that this test has yet to do."""
    for _ in range(10):
        await asyncio.sleep(0)


def keys(response: pb.TakeBlocksResponse) -> dict[int, bytes]:
    return {block.number: block.key for block in response.blocks}


def test_both_ends_get_the_same_blocks_numbered_from_one() -> None:
    source = BlockSource(BLOCK)
    source.produce(10 * BLOCK * 8, 7)
    a, b = (end.take(EVERYTHING) for end in source.ends)
    assert a == b
    assert [number for number, _key, _produced in a] == list(range(1, 11))
    assert len({key for _number, key, _produced in a}) == 10


def test_each_end_gets_a_block_once() -> None:
    source = BlockSource(BLOCK)
    source.produce(3 * BLOCK * 8, 7)
    assert len(source.ends[0].take(EVERYTHING)) == 3
    assert source.ends[0].take(EVERYTHING) == ()
    assert len(source.ends[1].take(EVERYTHING)) == 3


def test_a_block_is_erased_as_soon_as_both_ends_have_taken_it() -> None:
    source = BlockSource(BLOCK)
    source.produce(BLOCK * 8, 7)
    held = source.ends[0]._blocks[0].key
    source.ends[0].take(EVERYTHING)
    assert any(held)
    source.ends[1].take(EVERYTHING)
    assert not any(held)


def test_a_full_buffer_overwrites_the_oldest_and_shows_a_gap() -> None:
    source = BlockSource(BLOCK, capacity=4)
    source.produce(3 * BLOCK * 8, 7)
    source.ends[0].take(EVERYTHING)
    source.produce(3 * BLOCK * 8, 8)
    assert [number for number, *_ in source.ends[0].take(EVERYTHING)] == [4, 5, 6]
    assert [number for number, *_ in source.ends[1].take(EVERYTHING)] == [3, 4, 5, 6]
    assert source.ends[1].lost_blocks == 2


def test_more_than_fits_at_once_keeps_the_newest_numbers() -> None:
    source = BlockSource(BLOCK, capacity=4)
    assert source.produce(10 * BLOCK * 8, 7) == 10
    assert [number for number, *_ in source.ends[0].take(EVERYTHING)] == [7, 8, 9, 10]


@given(st.lists(st.floats(0, 20_000), max_size=30))
def test_no_bit_of_rate_is_lost_or_invented(parts: list[float]) -> None:
    source = BlockSource(BLOCK)
    completed = sum(source.produce(bits, 7) for bits in parts)
    assert completed * BLOCK * 8 <= sum(parts) + 1e-6
    assert sum(parts) < (completed + 1) * BLOCK * 8 + 1e-6


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("produce"), st.integers(0, 6)),
            st.tuples(st.sampled_from(["take-a", "take-b"]), st.integers(1, 5)),
            st.tuples(st.sampled_from(["skip-a", "skip-b"]), st.integers(1, 40)),
        ),
        max_size=40,
    )
)
def test_whatever_happens_one_number_means_one_key_and_numbers_rise(
    steps: list[tuple[str, int]],
) -> None:
    source = BlockSource(BLOCK, capacity=5)
    given_out: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})
    for step, amount in steps:
        end = 1 if step.endswith("b") else 0
        if step == "produce":
            source.produce(amount * BLOCK * 8, 7)
        elif step.startswith("skip"):
            source.ends[end].drop_below(amount)
            source.begin_at(amount)
        else:
            for number, key, _produced in source.ends[end].take(amount * BLOCK):
                assert number > max(given_out[end], default=0)
                given_out[end][number] = key
    for number in given_out[0].keys() & given_out[1].keys():
        assert given_out[0][number] == given_out[1][number]


def test_equal_seeds_make_different_keys() -> None:
    streams = []
    for _ in range(2):
        link, tick = make_link(seed=42)
        tick(20)
        streams.append(b"".join(key for _number, key, _produced in link._blocks.ends[0].take(EVERYTHING)))
    assert len(streams[0]) == len(streams[1]) > 10_000
    assert streams[0] != streams[1]


def test_every_key_byte_comes_from_the_source_of_random_bytes_it_is_given() -> None:
    drawn: list[bytes] = []

    def draw(size: int) -> bytes:
        drawn.append(bytes([len(drawn) + 1]) * size)
        return drawn[-1]

    source = BlockSource(BLOCK, random_bytes=draw)
    source.produce(5 * BLOCK * 8, 7)
    assert [key for _number, key, _produced in source.ends[1].take(EVERYTHING)] == drawn


async def test_the_link_delivers_its_secret_key_rate() -> None:
    link, tick = make_link()
    tick(100)
    blocks = link._blocks.next_number - 1
    assert blocks == int(10 * SPEC.undisturbed_skr_bps // (8 * SPEC.block_bytes))


async def test_a_link_is_warm_with_some_seconds_of_key_but_no_more_than_64_kib() -> None:
    for seconds, expected in ((0.1, 30_000 // (8 * BLOCK)), (5.0, 64 * 1024 // BLOCK)):
        link, _tick = make_link()
        link.warm_up(seconds, 7)
        assert link._blocks.next_number - 1 == expected


async def test_blocks_stream_to_a_taker_as_they_are_made() -> None:
    link, tick = make_link()
    a, b = link.take_blocks(0, 1), link.take_blocks(1, 1)
    tick(2)
    first = keys(await anext(a))
    tick(2)
    second = keys(await anext(a))
    assert min(second) == max(first) + 1
    assert keys(await anext(b)) == first | second
    await a.aclose()
    await b.aclose()


async def test_a_newer_taker_displaces_the_older_one() -> None:
    link, tick = make_link()
    older = link.take_blocks(0, 1)
    tick(2)
    await anext(older)
    newer = link.take_blocks(0, 1)
    tick(2)
    await anext(newer)
    with pytest.raises(ConflictError, match="one at a time"):
        await anext(older)
    await newer.aclose()


async def test_after_a_fresh_start_numbers_go_on_above_what_either_end_ever_took() -> None:
    link, tick = make_link()
    link.warm_up(1.0, 7)
    behind, ahead = link.take_blocks(0, 4_000), link.take_blocks(1, 5_000)
    waiting = asyncio.create_task(anext(behind))
    await settle()
    tick(2)
    await settle()
    # It is not known yet what the other end holds: 4,000 might be a block of before to it.
    assert not waiting.done()
    at_b = keys(await anext(ahead))
    at_a = keys(await waiting)
    assert min(at_a) == min(at_b) == 5_000
    assert all(at_a[number] == at_b[number] for number in at_a.keys() & at_b.keys())
    await behind.aclose()
    await ahead.aclose()


async def test_an_eavesdropped_link_does_not_warm_up_again() -> None:
    link, _tick = make_link()
    link.warm_up(1.0, 7)
    link.faults.inject(Fault(pb.FAULT_KIND_EAVESDROP, 1.0, 0.0), 7)
    a = link.take_blocks(0, 5_000)
    waiting = asyncio.create_task(anext(a))
    await settle()
    assert link._blocks.next_number == 5_000
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_absurd_first_block_is_refused() -> None:
    link, _tick = make_link()
    with pytest.raises(InvalidInputError, match="first_block"):
        await anext(link.take_blocks(0, HIGHEST_BLOCK + 1))


async def test_closing_a_link_ends_its_streams_and_erases_its_keys() -> None:
    link, tick = make_link()
    tick(5)
    held = [block.key for block in link._blocks.ends[0]._blocks]
    blocks, reports = link.take_blocks(0, 1), link.watch(0)
    waiting = asyncio.create_task(anext(reports))
    await settle()
    link.close()
    for pending in (waiting, asyncio.ensure_future(anext(blocks))):
        with pytest.raises(UnavailableError, match="shutting down"):
            await pending
    assert held
    assert not any(any(key) for key in held)


async def test_a_cut_shows_at_both_ends_in_the_next_report_and_stops_the_blocks() -> None:
    link, tick = make_link()
    reports = [link.watch(end) for end in (0, 1)]
    waiting = [asyncio.create_task(anext(report)) for report in reports]
    await settle()
    link.faults.inject(Fault(pb.FAULT_KIND_CUT, 1.0, 0.0), 7)
    assert link.disturbance == Disturbance(cut=True)
    tick()
    assert [(await task).samples.status for task in waiting] == [types_pb2.LINK_STATUS_OFF] * 2
    tick(20)
    assert link._blocks.next_number == 1
    for report in reports:
        await report.aclose()


async def test_a_report_carries_the_columns_of_its_rows_and_never_a_key() -> None:
    model = ProtocolLink(SPEC.devices, link=SPEC.name, seed=1)
    link = EmulatedLink(SPEC, model, interval_seconds=0.02, rows=5)
    receiver = link.watch(1)
    waiting = asyncio.create_task(anext(receiver))
    await settle()
    link.advance(1_000)
    samples = (await waiting).samples
    assert (samples.rows, samples.interval_micros, samples.start_unix_nanos) == (5, 20_000, 1_000)
    for column in (samples.qber_ratio, samples.skr_bps, samples.sifted_rate_bps, samples.loss_db):
        assert len(struct.unpack("<5f", column)) == 5
    assert struct.unpack("<5f", samples.qber_ratio)[0] == pytest.approx(SPEC.qber_ratio, rel=0.2)
    assert [len(detector.bias_volts) for detector in samples.detectors] == [20, 20]
    await receiver.aclose()


def test_ends_are_known_by_their_node() -> None:
    link, _tick = make_link()
    assert [link.end_of(NodeName(node)) for node in ("a", "b", "c")] == [0, 1, None]
