"""Faults: how they grow, end and add up; what a timeline does to links, the same in every run."""

import asyncio
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.cli.fields import enum_word
from keyweave.common import settings
from keyweave.common.errors import UnavailableError
from keyweave.common.names import LinkName, NodeName
from keyweave.emulator.fault_book import FaultBook
from keyweave.emulator.faults import KINDS, OF_NODES, Fault, add_up, in_force, unfit
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance
from keyweave.emulator.plane import OpticalPlane
from keyweave.emulator.scenario import Scenario
from keyweave.v1 import emulator_pb2 as pb
from keyweave.v1 import types_pb2

CUT = Fault(pb.FAULT_KIND_CUT, 1.0, 10.0, duration_seconds=5.0)
BEND = Fault(pb.FAULT_KIND_BEND, 6.0, 10.0, ramp_seconds=30.0)
SCENARIO = """
name: two-links
seed: 5
nodes: [{name: a}, {name: b}, {name: c}]
links:
  - {name: ab, a: a, b: b, technology: DV-QKD, length_km: 10, loss_db: 3, qber_ratio: 0.02, skr_bps: 20000}
  - {name: bc, a: b, b: c, technology: DV-QKD, length_km: 10, loss_db: 3, qber_ratio: 0.02, skr_bps: 20000}
timeline:
  - {at_seconds: 20, fault: cut, link: ab, duration_seconds: 10}
  - {at_seconds: 50, fault: attenuate, link: bc, magnitude: 6, ramp_seconds: 20, duration_seconds: 40}
  - {at_seconds: 60, fault: node-loss, node: c, duration_seconds: 20}
"""
BEGINNING_NANOS = 1_000_000_000


def plane(speed: float = 1.0, text: str = SCENARIO) -> OpticalPlane:
    scenario = settings.parse(text, Scenario, source="s.yaml")
    return OpticalPlane(scenario, warm_blocks_seconds=0.0, speed=speed)


def advance(optical: OpticalPlane, reports: int) -> None:
    for report in range(reports):
        optical.advance(BEGINNING_NANOS + report * 100_000_000)


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    kind = draw(st.sampled_from(sorted(set(KINDS) - OF_NODES)))
    known = KINDS[kind]
    return Fault(
        kind=kind,
        magnitude=draw(st.floats(known.least, known.most)),
        begins_seconds=draw(st.floats(0, 100)),
        ramp_seconds=0.0 if known.is_switch else draw(st.floats(0, 50)),
        duration_seconds=draw(st.none() | st.floats(0.1, 100)),
        planned=True,
    )


def test_the_table_has_every_kind_of_the_protocol_by_its_own_word() -> None:
    assert set(KINDS) == set(pb.FaultKind.values()) - {pb.FAULT_KIND_UNSPECIFIED}
    assert {enum_word(pb.FaultKind.DESCRIPTOR, n): n for n in KINDS} == {k.word: n for n, k in KINDS.items()}


def test_a_default_is_a_magnitude_that_its_kind_may_have_and_does_something() -> None:
    for kind in KINDS.values():
        assert kind.is_switch or kind.objection(kind.default) == ""
        assert (kind.adds(UNDISTURBED, kind.default) != UNDISTURBED) != kind.is_of_network
        assert kind.is_switch or kind.adds(UNDISTURBED, kind.nothing) == UNDISTURBED


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pb.FAULT_KIND_CUT, Disturbance(cut=True)),
        (pb.FAULT_KIND_EAVESDROP, Disturbance(intercepted_ratio=0.5)),
        (pb.FAULT_KIND_ATTENUATE, Disturbance(added_loss_db=0.5)),
        (pb.FAULT_KIND_BEND, Disturbance(added_loss_db=0.5)),
        (pb.FAULT_KIND_CLOUD, Disturbance(cloud_db=0.5)),
        (pb.FAULT_KIND_DETECTOR, Disturbance(dark_count_factor=0.5)),
        (pb.FAULT_KIND_DARK_BURST, Disturbance(dark_count_burst_factor=0.5)),
        (pb.FAULT_KIND_TAP, Disturbance(tapped_ratio=0.5)),
        (pb.FAULT_KIND_LASER_DRIFT, Disturbance(misalignment_ratio=0.5)),
        (pb.FAULT_KIND_BLIND, Disturbance(blinded=True)),
        (pb.FAULT_KIND_CLOCK_LOSS, Disturbance(clock_lost=True)),
        (pb.FAULT_KIND_NODE_LOSS, Disturbance(cut=True)),
        (pb.FAULT_KIND_NETWORK_DELAY, UNDISTURBED),
        (pb.FAULT_KIND_NETWORK_LOSS, UNDISTURBED),
        (pb.FAULT_KIND_PARTITION, UNDISTURBED),
        (pb.FAULT_KIND_MEMORY_FAILURE, Disturbance(failed_memories=0.5)),
        (pb.FAULT_KIND_DECOHERENCE, Disturbance(memory_decay_factor=0.5)),
    ],
)
def test_each_kind_disturbs_what_it_is_named_for(kind: pb.FaultKind, expected: Disturbance) -> None:
    assert add_up([Fault(kind, 0.5, 0.0)], 1.0) == expected


def test_several_faults_of_a_link_add_up() -> None:
    total = add_up(
        [
            Fault(pb.FAULT_KIND_ATTENUATE, 3.0, 0.0),
            Fault(pb.FAULT_KIND_ATTENUATE, 4.0, 0.0),
            Fault(pb.FAULT_KIND_BEND, 2.0, 0.0),
            Fault(pb.FAULT_KIND_DETECTOR, 10.0, 0.0),
            Fault(pb.FAULT_KIND_DETECTOR, 3.0, 0.0),
            Fault(pb.FAULT_KIND_TAP, 0.5, 0.0),
            Fault(pb.FAULT_KIND_TAP, 0.5, 0.0),
            Fault(pb.FAULT_KIND_LASER_DRIFT, 0.1, 0.0),
            Fault(pb.FAULT_KIND_LASER_DRIFT, 0.1, 0.0),
        ],
        1.0,
    )
    assert total.added_loss_db == pytest.approx(9.0)
    assert total.dark_count_factor == pytest.approx(30.0)
    assert total.tapped_ratio == pytest.approx(0.75)
    # Two flips undo each other.
    assert total.misalignment_ratio == pytest.approx(0.18)


@given(st.lists(faults(), max_size=8), st.floats(0, 300))
def test_however_many_faults_a_link_has_their_sum_is_one_that_physics_knows(
    some: list[Fault], elapsed: float
) -> None:
    total = add_up(some, elapsed)
    assert 0 <= total.intercepted_ratio <= 1
    assert 0 <= total.tapped_ratio < 1
    assert 0 <= total.misalignment_ratio <= 0.5
    assert total.added_loss_db >= 0
    assert total.dark_count_factor * total.dark_count_burst_factor >= 1
    assert math.isfinite(total.loss_db)


def test_a_ramp_grows_evenly_and_then_stands() -> None:
    assert [BEND.magnitude_at(at) for at in (10.0, 25.0, 40.0, 4000.0)] == [0.0, 3.0, 6.0, 6.0]
    warm = Fault(pb.FAULT_KIND_DETECTOR, 101.0, 0.0, ramp_seconds=10.0)
    assert [warm.magnitude_at(at) for at in (0.0, 5.0, 10.0)] == [1.0, 51.0, 101.0]


def test_a_fault_is_in_force_from_its_beginning_to_its_end() -> None:
    spans = [(9.9, 10.0), (10.0, 10.1), (14.9, 15.0), (15.0, 15.1)]
    assert [bool(in_force([CUT], *span)) for span in spans] == [False, True, True, False]


def test_no_fault_is_too_short_to_be_seen_however_fast_time_passes() -> None:
    assert in_force([CUT], 0.0, 60.0) == (CUT,)
    book = FaultBook([CUT])
    assert book.advance(60.0, 7).began == (CUT,)
    assert book.disturbance.cut
    assert book.advance(120.0, 8).ended == (CUT,)
    assert book.disturbance == UNDISTURBED


@given(st.lists(faults(), max_size=6), st.lists(st.floats(0.01, 40), min_size=1, max_size=20))
def test_a_book_has_in_force_what_the_timeline_says_whatever_the_steps(
    planned: list[Fault], steps: list[float]
) -> None:
    book, since, until = FaultBook(planned), 0.0, 0.0
    began: list[Fault] = []
    for step in steps:
        since, until = until, until + step
        began += book.advance(until, 1).began
        expected = in_force(planned, since, until)
        assert sorted(map(str, expected)) == sorted(str(begun.fault) for begun in book.in_force())
        assert book.disturbance == pytest.approx(add_up([b.fault for b in book.in_force()], until))
    assert len(began) == sum(fault.begins_seconds < until for fault in planned)


def test_an_operators_fault_replaces_an_operators_older_one_of_its_kind_and_adds_to_the_timelines() -> None:
    book = FaultBook([Fault(pb.FAULT_KIND_ATTENUATE, 2.0, 0.0, planned=True)])
    book.advance(1.0, 6)
    book.inject(Fault(pb.FAULT_KIND_ATTENUATE, 3.0, 1.0), 7)
    book.inject(Fault(pb.FAULT_KIND_ATTENUATE, 10.0, 1.0), 8)
    assert book.disturbance == Disturbance(added_loss_db=12.0)
    assert [begun.since_unix_nanos for begun in book.in_force()] == [6, 8]


def test_what_is_restored_stays_mended_and_what_is_still_to_come_comes() -> None:
    book = FaultBook([CUT, Fault(pb.FAULT_KIND_CUT, 1.0, 30.0, planned=True)])
    book.advance(11.0, 7)
    assert [begun.fault for begun in book.end_all()] == [CUT]
    book.advance(12.0, 8)
    assert not book.disturbance.cut
    assert len(book.advance(31.0, 9).began) == 1


@pytest.mark.parametrize(
    ("kind", "magnitude", "said"),
    [
        (pb.FAULT_KIND_EAVESDROP, 1.5, "outside 0 to 1"),
        (pb.FAULT_KIND_ATTENUATE, 61, "outside 0 to 60"),
        (pb.FAULT_KIND_DETECTOR, 0.5, "outside 1 to 10000"),
        (pb.FAULT_KIND_BEND, 0, "leave it out for 3"),
        (pb.FAULT_KIND_CUT, 1, "has no magnitude"),
    ],
)
def test_a_magnitude_that_makes_no_sense_is_explained(
    kind: pb.FaultKind, magnitude: float, said: str
) -> None:
    assert said in KINDS[kind].objection(magnitude)


def test_links_are_spared_faults_that_they_cannot_have() -> None:
    for kind in KINDS:
        assert bool(unfit(kind, counts_photons=True, free_space=True)) == (kind in OF_NODES)
    assert "homodyne" in unfit(pb.FAULT_KIND_DETECTOR, counts_photons=False, free_space=False)
    assert "fibre" in unfit(pb.FAULT_KIND_CLOUD, counts_photons=True, free_space=False)


def statuses(optical: OpticalPlane, link: str, reports: int) -> list[tuple[types_pb2.LinkStatus, float]]:
    """Status and loss, as end a reports them, of report after report."""
    found = []
    for report in range(reports):
        optical.advance(BEGINNING_NANOS + report * 100_000_000)
        samples = optical.links[LinkName(link)]._reports[0][-1].response.samples
        found.append((samples.status, struct.unpack("<f", samples.loss_db)[0]))
    return found


@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_a_timeline_cuts_a_link_and_gives_it_back_at_the_scenarios_time(speed: float) -> None:
    per_second = round(10 / speed) if speed < 10 else 10 / speed
    seen = [status for status, _loss in statuses(plane(speed), "ab", round(40 * per_second))]
    off = [report for report, status in enumerate(seen) if status == types_pb2.LINK_STATUS_OFF]
    assert off == list(range(round(20 * per_second), round(30 * per_second)))


def test_a_ramp_of_loss_is_what_the_loss_monitor_reads() -> None:
    loss = [value for _status, value in statuses(plane(10.0), "bc", 100)]
    assert loss[48] == pytest.approx(3, abs=0.3)
    assert loss[59] == pytest.approx(6, abs=0.3)
    assert loss[85] == pytest.approx(9, abs=0.3)
    assert loss[95] == pytest.approx(3, abs=0.3)


async def test_the_devices_of_a_lost_node_do_not_answer_and_its_links_are_dark_at_the_other_end() -> None:
    optical = plane()
    link = optical.links[LinkName("bc")]
    advance(optical, 590)
    at_b, at_c, blocks = link.watch(0), link.watch(1), link.take_blocks(1, 1)
    waiting = asyncio.create_task(anext(at_b))
    await asyncio.sleep(0)
    assert (await anext(blocks)).blocks
    advance(optical, 11)
    with pytest.raises(UnavailableError, match="'c' do not answer"):
        await anext(at_c)
    with pytest.raises(UnavailableError, match="'c' do not answer"):
        await anext(blocks)
    assert (await waiting).samples.status == types_pb2.LINK_STATUS_ACTIVE
    reports = [await anext(at_b) for _ in range(10)]
    assert reports[-1].samples.status == types_pb2.LINK_STATUS_OFF
    assert optical.links[LinkName("ab")].disturbance == UNDISTURBED
    advance(optical, 250)
    assert link.disturbance.added_loss_db
    assert not link.disturbance.cut
    assert (await anext(link.take_blocks(1, 1))).blocks[0].number > 1


@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_the_same_scenario_seed_and_speed_give_the_same_reports_to_the_byte(speed: float) -> None:
    def run(text: str = SCENARIO) -> list[bytes]:
        optical = plane(speed, text)
        said: list[bytes] = []
        for report in range(300):
            optical.advance(BEGINNING_NANOS + report * 100_000_000)
            said += [
                end[-1].response.SerializeToString(deterministic=True)
                for link in optical.links.values()
                for end in link._reports
            ]
        return said

    assert run() == run()
    assert run() != run(SCENARIO.replace("seed: 5", "seed: 6"))


def test_speed_moves_the_scenarios_time_and_leaves_rates_and_rows_to_the_clock() -> None:
    slow, fast = plane(1.0), plane(50.0)
    for optical in (slow, fast):
        advance(optical, 10)
    samples = [o.links[LinkName("bc")]._reports[0][-1].response.samples for o in (slow, fast)]
    assert samples[0].interval_micros == samples[1].interval_micros == 100_000
    assert samples[0].start_unix_nanos == samples[1].start_unix_nanos
    made = [o.links[LinkName("bc")]._blocks.next_number for o in (slow, fast)]
    assert made[0] == made[1]
    assert [o.nodes[NodeName("c")].elapsed_seconds for o in (slow, fast)] == pytest.approx([1.0, 50.0])
