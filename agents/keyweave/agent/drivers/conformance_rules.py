"""What a driver's answers must be like: each rule takes what was seen and returns what is wrong with it.

No rule reaches a device or a clock; `conformance` collects what they judge.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from keyweave.agent.drivers.base import DeviceBlock, DeviceReport, LinkEndInfo
from keyweave.common.names import NAME_RULE, LinkName, NodeName, is_name
from keyweave.common.quantities import (
    DETECTOR_RANGES,
    LINK_RANGES,
    MAX_DETECTOR_NAME,
    MAX_DETECTORS,
    MAX_ROWS,
)
from keyweave.v1 import agent_pb2, types_pb2

MAX_MODEL = 128
# A device's clock may be off by so much, and its measurements be so old when they come.
CLOCK_SECONDS = 5.0
LATE_SECONDS = 60.0
# Rows may overlap a little where a device's timing jitters; more means that one measurement is told twice.
_MOST_COVERED = 1.5
_NANOS = 1_000_000_000
_Ranges = Mapping[str, tuple[float, float]]


def link_ends_wrong(ends: Sequence[LinkEndInfo], node: NodeName, *, may_be_none: bool = False) -> list[str]:
    """What link ends cannot be, one by one and together."""
    wrong = [] if ends or may_be_none else ["there are none: the settings or the device name no link"]
    for end in ends:
        wrong += [f"'{end.link}' is no name for a link: {NAME_RULE}"] if not is_name(end.link) else []
        if not is_name(end.peer_node):
            wrong.append(f"'{end.peer_node}' of link '{end.link}' is no name for a node: {NAME_RULE}")
        if end.peer_node == node:
            wrong.append(f"link '{end.link}' leads from node '{node}' to itself")
        if end.block_bytes < 0 or end.block_bytes % 2:
            wrong.append(
                f"block_bytes of link '{end.link}' is {end.block_bytes}; it must be even, 0 for no key"
            )
        if not end.gives_key and not end.measures:
            wrong.append(f"link '{end.link}' gives neither measurements nor key")
        if not 1 <= len(end.model) <= MAX_MODEL:
            wrong.append(f"model of link '{end.link}' must have 1 to {MAX_MODEL} characters")
    names = [end.link for end in ends]
    wrong += [
        f"link '{name}' is told {names.count(name)} times"
        for name in sorted(set(names))
        if names.count(name) > 1
    ]
    return wrong


def columns_wrong(reports: Sequence[DeviceReport], link: LinkName) -> list[str]:
    """What the controller would refuse of these reports."""
    wrong = []
    for report in reports:
        samples = report.samples
        if samples.link != link:
            wrong.append(f"samples of link '{samples.link}' came for '{link}'")
        if not 1 <= samples.rows <= MAX_ROWS:
            wrong.append(f"rows is {samples.rows}; 1 to {MAX_ROWS} are taken")
            continue
        if samples.interval_micros == 0:
            wrong.append("interval_micros is 0; it is the time between two rows")
        if samples.status not in types_pb2.LinkStatus.values() or samples.status == 0:
            wrong.append(f"status {samples.status} is none of ACTIVE, PASSIVE, PENDING, OFF")
        wrong += _out_of_place(samples, LINK_RANGES, samples.rows, "")
        if len(samples.detectors) > MAX_DETECTORS:
            wrong.append(f"{len(samples.detectors)} detectors; at most {MAX_DETECTORS} are taken")
        for detector in samples.detectors:
            if not 1 <= len(detector.detector) <= MAX_DETECTOR_NAME:
                wrong.append(f"a detector's name must have 1 to {MAX_DETECTOR_NAME} characters")
            wrong += _out_of_place(detector, DETECTOR_RANGES, samples.rows, f"detector {detector.detector}: ")
    return wrong


def _out_of_place(
    message: agent_pb2.LinkSamples | agent_pb2.DetectorSamples, ranges: _Ranges, rows: int, prefix: str
) -> list[str]:
    wrong = []
    for name, (low, high) in ranges.items():
        packed = getattr(message, name)
        if len(packed) not in {0, 4 * rows}:
            wrong.append(
                f"{prefix}{name} has {len(packed)} bytes; {rows} rows are {4 * rows}, or none at all"
            )
            continue
        column = np.frombuffer(packed, dtype="<f4")
        outside = column[~np.isnan(column) & ~((column >= low) & (column <= high))]
        if outside.size:
            wrong.append(f"{prefix}{name} is {outside[0]:g}; possible is {low:g} to {high:g}, NaN if missing")
    return wrong


def times_wrong(reports: Sequence[DeviceReport], arrived: Sequence[float]) -> list[str]:
    """What cannot be with the times of one link's reports; `arrived` in Unix seconds."""
    wrong = []
    starts = [report.samples.start_unix_nanos / _NANOS for report in reports]
    lengths = [report.samples.rows * report.samples.interval_micros / 1e6 for report in reports]
    for start, length, at in zip(starts, lengths, arrived, strict=True):
        if start + length > at + CLOCK_SECONDS:
            wrong.append(f"a row ends {start + length - at:.1f} s after it came")
        if start + length < at - max(LATE_SECONDS, 3 * length):
            wrong.append(f"a row ended {at - start - length:.1f} s before it came: it is no news")
    for earlier, later in pairwise(starts):
        if later <= earlier:
            wrong.append(f"a report begins {earlier - later:.3f} s before or with the one before it")
    if len(reports) > 1:
        covered, passed = sum(lengths[1:]), starts[-1] + lengths[-1] - starts[0] - lengths[0]
        if covered > _MOST_COVERED * max(passed, 0.0) + max(lengths):
            wrong.append(f"rows claim {covered:.2f} s of measuring while {passed:.2f} s passed")
    return wrong


def sizes_wrong(blocks: Sequence[DeviceBlock], block_bytes: int) -> list[str]:
    """Where blocks are not what the link end says, or cannot be overwritten."""
    wrong = [
        f"block {block.number} has {len(block.key)} bytes; the link end says {block_bytes}"
        for block in blocks
        if len(block.key) != block_bytes
    ]
    return wrong + [
        f"the key of block {block.number} is a {type(block.key).__name__}; it must be a bytearray"
        for block in blocks
        if not isinstance(block.key, bytearray)
    ]


def numbers_wrong(blocks: Sequence[DeviceBlock]) -> list[str]:
    """Where numbers do not rise from 1. A gap is none of these: the device lost blocks."""
    numbers = [block.number for block in blocks]
    wrong = [f"a block has number {number}; they begin at 1" for number in numbers if number < 1]
    return wrong + [
        f"block {later} came after block {earlier}"
        for earlier, later in pairwise(numbers)
        if later <= earlier
    ]


def gaps(blocks: Sequence[DeviceBlock]) -> int:
    """How many times a number does not follow the one before."""
    return sum(later.number > earlier.number + 1 for earlier, later in pairwise(blocks))


def earlier_than_asked(blocks: Sequence[DeviceBlock], first_block: int) -> list[str]:
    """Blocks below the first one that was asked for."""
    return [
        f"block {block.number} came though the first one asked for was {first_block}"
        for block in blocks
        if block.number < first_block
    ]


def block_times_wrong(blocks: Sequence[DeviceBlock], now: float) -> list[str]:
    """Blocks that were produced in the future, or at no time."""
    return [
        f"block {block.number} was produced at {block.produced_unix_nanos} ns since 1970; now is {now:.0f} s"
        for block in blocks
        if not 0 < block.produced_unix_nanos <= (now + CLOCK_SECONDS) * _NANOS
    ]


def ends_wrong(ours: LinkEndInfo, theirs: Sequence[LinkEndInfo], node: NodeName) -> list[str]:
    """Where the other end describes the link otherwise; its own driver serves `theirs`."""
    found = [end for end in theirs if end.link == ours.link]
    if not found:
        return [f"the other end has no link '{ours.link}'"]
    (other,) = found[:1]
    wrong = []
    if other.peer_node != node:
        wrong.append(f"the other end of '{ours.link}' says that it leads to '{other.peer_node}'")
    if ours.gives_key and other.block_bytes != ours.block_bytes:
        wrong.append(
            f"blocks of '{ours.link}' have {ours.block_bytes} bytes here and {other.block_bytes} there"
        )
    return wrong


def keys_differ(ours: Sequence[DeviceBlock], theirs: Sequence[DeviceBlock]) -> list[str]:
    """Blocks of one number whose keys differ; the keys themselves are told to nobody."""
    there = {block.number: block.key for block in theirs}
    return [
        f"block {block.number} is not the same at both ends"
        for block in ours
        if block.number in there and block.key != there[block.number]
    ]
