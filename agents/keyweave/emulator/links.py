"""One emulated link: physics, faults and key blocks in step with the clock, and who listens to them."""

import asyncio
import struct
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, replace
from typing import Final

from keyweave.common import log
from keyweave.common.errors import ConflictError, InvalidInputError, UnavailableError
from keyweave.common.names import LinkName, NodeName
from keyweave.common.quantities import MAX_CONTACTS
from keyweave.emulator.blocks import HIGHEST_BLOCK, BlockSource
from keyweave.emulator.fault_book import Changes, FaultBook
from keyweave.emulator.faults import KINDS, Fault
from keyweave.emulator.physics.contacts import Window
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance, LinkModel, Measurement
from keyweave.emulator.physics.satellite import Passes
from keyweave.emulator.scenario import LinkSpec
from keyweave.v1 import agent_pb2, emulator_pb2

# A listener that falls further behind misses the oldest reports, as with a device.
REPORTS_KEPT = 50
# All that a fast link makes between two reports goes in one message: each costs the agent an fsync.
BATCH_BYTES = 1024 * 1024
WARM_BYTES_MOST = 64 * 1024
NANOS = 1_000_000_000
# Whoever begins to listen knows the contacts with a satellite soon after.
CONTACTS_TOLD_EVERY_NANOS = 10 * NANOS


class Signal:
    """Wakes everybody who waits, each time it is given."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def give(self) -> None:
        """Wake those who wait now."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self) -> None:
        """Until the next time it is given."""
        await self._event.wait()


@dataclass(frozen=True, slots=True)
class _Report:
    sequence: int
    response: emulator_pb2.WatchLinkEndResponse


class EmulatedLink:
    """One link. `advance` moves it on in time; its ends' devices are read concurrently.

    With a `speed`, the scenario's time passes so many times faster than the clock: faults, drift. What is
    counted and produced stays per second of the clock, so that rates are what agents really get.
    """

    def __init__(
        self,
        spec: LinkSpec,
        model: LinkModel,
        *,
        interval_seconds: float,
        rows: int,
        speed: float = 1.0,
        planned: Iterable[Fault] = (),
        nodes: tuple[FaultBook, FaultBook] | None = None,
        passes: Passes | None = None,
    ) -> None:
        self.spec: Final = spec
        self.name: Final = LinkName(spec.name)
        self.faults: Final = FaultBook(planned)
        # The faults of the nodes at end a and end b.
        self._nodes = nodes or (FaultBook(), FaultBook())
        self._model = model
        # None where the ends always see each other.
        self._passes = passes
        self._contacts_told: tuple[Window, ...] = ()
        self._contacts_due_nanos = 0
        self._interval = interval_seconds
        self._rows = rows
        self._speed = speed
        self._rows_done = 0
        self._blocks = BlockSource(spec.block_bytes)
        self._warm_bits = 0.0
        self._reports: tuple[deque[_Report], deque[_Report]] = (
            deque(maxlen=REPORTS_KEPT),
            deque(maxlen=REPORTS_KEPT),
        )
        self._sequence = 0
        self._changed = Signal()
        # Who takes the blocks of each end, None before anybody has; a newer taker displaces the older.
        self._takers: list[object | None] = [None, None]
        self._closed = False

    def end_of(self, node: NodeName) -> int | None:
        """0 for end a, 1 for end b, None where the link does not end at `node`."""
        return self.spec.ends.index(node) if node in self.spec.ends else None

    def calibrate(self) -> None:
        """Have its devices calibrate from the next measurement on."""
        self._model.calibrate()

    def warm_up(self, seconds: float, now_nanos: int) -> None:
        """Hold the key of some seconds already, so that pools fill quickly. A satellite's is yet to come."""
        if self._passes is not None:
            return
        self._warm_bits = min(seconds * self.spec.undisturbed_skr_bps, 8.0 * WARM_BYTES_MOST)
        self._blocks.produce(self._warm_bits, now_nanos)

    def advance(self, start_nanos: int) -> None:
        """Measure and produce for one report, which begins at `start_nanos`."""
        measurements = []
        for row in range(1, self._rows + 1):
            self._rows_done += 1
            row_nanos = start_nanos + round(row * self._interval * NANOS)
            log_changes(self.faults.advance(self._elapsed, row_nanos), link=self.name)
            measurement = self._model.measure(self._elapsed, self._interval, self.disturbance)
            measurements.append(measurement)
            self._blocks.produce(measurement.key_bits, row_nanos)
        self._report(measurements, start_nanos, self._contacts_to_tell(row_nanos))

    @property
    def disturbance(self) -> Disturbance:
        """What the faults of the link and of its nodes add up to."""
        if any(node.disturbance.cut for node in self._nodes):
            return replace(self.faults.disturbance, cut=True)
        return self.faults.disturbance

    @property
    def _elapsed(self) -> float:
        """Seconds of the scenario. Counted in rows, so that no rounding adds up."""
        return self._rows_done * self._interval * self._speed

    def _contacts_to_tell(self, now_nanos: int) -> tuple[agent_pb2.ContactWindow, ...]:
        """The present contact and the next ones by the clock; none where they were told lately."""
        if self._passes is None:
            return ()
        coming = self._passes.coming(self._elapsed)[:MAX_CONTACTS]
        if coming == self._contacts_told and now_nanos < self._contacts_due_nanos:
            return ()
        self._contacts_told, self._contacts_due_nanos = coming, now_nanos + CONTACTS_TOLD_EVERY_NANOS

        def clock_nanos(seconds: float) -> int:
            return now_nanos + round((seconds - self._elapsed) / self._speed * NANOS)

        return tuple(
            agent_pb2.ContactWindow(
                start_unix_nanos=clock_nanos(window.start),
                end_unix_nanos=clock_nanos(window.end),
                max_elevation_degrees=window.max_elevation_degrees,
            )
            for window in coming
        )

    def alarm(self, now_nanos: int) -> None:
        """Tell both ends at once that there is no signal: a device does not wait for its next report."""
        disturbance = self.disturbance
        if disturbance.cut:
            self._report([self._model.measure(self._elapsed, self._interval, disturbance)], now_nanos)

    def lose_power(self, end: int) -> None:
        """The device at one end forgets its blocks, and whoever reads it hears no more."""
        self._blocks.ends[end].drop_below(HIGHEST_BLOCK)
        self._changed.give()

    def _report(
        self,
        measurements: list[Measurement],
        start_nanos: int,
        contacts: tuple[agent_pb2.ContactWindow, ...] = (),
    ) -> None:
        self._sequence += 1
        for end, reports in enumerate(self._reports):
            response = self._response(measurements, end, start_nanos)
            response.samples.contacts.extend(contacts)
            reports.append(_Report(self._sequence, response))
        self._changed.give()

    def close(self) -> None:
        """End all listeners' streams and erase all keys."""
        self._closed = True
        self._blocks.erase()
        self._changed.give()

    async def watch(self, end: int) -> AsyncGenerator[emulator_pb2.WatchLinkEndResponse, None]:
        """Reports of one end, from the next one on."""
        seen = self._sequence
        while True:
            for report in tuple(self._reports[end]):
                if report.sequence > seen:
                    seen = report.sequence
                    yield report.response
            if self._sequence == seen:
                self._check_open(end)
                await self._changed.wait()

    async def take_blocks(
        self, end: int, first_block: int
    ) -> AsyncGenerator[emulator_pb2.TakeBlocksResponse, None]:
        """Blocks of one end from a number on, as they come.

        An end that has taken blocks before (from this emulator, or from one that has since started afresh)
        gets none until the other end has asked too: only then is it known from where on numbers are free
        at both. Otherwise one end could hold an old block and the other a new one of the same number.
        """
        if first_block > HIGHEST_BLOCK:
            raise InvalidInputError.of("first_block", f"{first_block} is above the highest, {HIGHEST_BLOCK}")
        self._check_open(end)
        token = self._takers[end] = object()
        self._changed.give()
        buffer = self._blocks.ends[end]
        buffer.drop_below(first_block)
        if self._blocks.begin_at(first_block):
            log.get().info("block_numbers_advanced", link=self.name, first_block=first_block)
            if self.disturbance == UNDISTURBED:
                self._blocks.produce(self._warm_bits, time.time_ns())
        while True:
            self._check_open(end)
            if self._takers[end] is not token:
                raise ConflictError(
                    f"another TakeBlocks stream for link '{self.name}' at '{self.spec.ends[end]}' has begun; "
                    "the device serves one at a time"
                )
            free = first_block <= 1 or None not in self._takers
            taken = buffer.take(BATCH_BYTES) if free else ()
            if taken:
                yield emulator_pb2.TakeBlocksResponse(
                    blocks=[
                        emulator_pb2.KeyBlock(number=number, key=key, produced_unix_nanos=produced)
                        for number, key, produced in taken
                    ]
                )
            else:
                await self._changed.wait()

    def _check_open(self, end: int) -> None:
        if self._closed:
            raise UnavailableError("the emulator is shutting down; try again")
        check_powered(self._nodes[end], self.spec.ends[end])

    def _response(
        self, measurements: list[Measurement], end: int, start_nanos: int
    ) -> emulator_pb2.WatchLinkEndResponse:
        last = measurements[-1]
        detectors = [
            agent_pb2.DetectorSamples(
                detector=readings[0].name,
                count_rate_hz=_column([r.count_rate_hz for r in readings]),
                dark_count_rate_hz=_column([r.dark_count_rate_hz for r in readings]),
                efficiency_ratio=_column([r.efficiency_ratio for r in readings]),
                temperature_celsius=_column([r.temperature_celsius for r in readings]),
                bias_volts=_column([r.bias_volts for r in readings]),
            )
            for readings in zip(*(m.ends[end].detectors for m in measurements), strict=True)
        ]
        return emulator_pb2.WatchLinkEndResponse(
            device_fault=last.device_fault,
            samples=agent_pb2.LinkSamples(
                link=self.name,
                start_unix_nanos=start_nanos,
                interval_micros=round(self._interval * 1_000_000),
                rows=len(measurements),
                qber_ratio=_column([m.qber_ratio for m in measurements]),
                skr_bps=_column([m.skr_bps for m in measurements]),
                sifted_rate_bps=_column([m.sifted_rate_bps for m in measurements]),
                loss_db=_column([m.ends[end].loss_db for m in measurements]),
                visibility_ratio=_column([m.visibility_ratio for m in measurements]),
                detectors=detectors,
                status=last.status,
            ),
        )


def check_powered(book: FaultBook, node: NodeName) -> None:
    """UnavailableError where the devices of a node are dark."""
    if book.disturbance.cut:
        raise UnavailableError(f"the devices at '{node}' do not answer: they are without power")


def log_changes(changes: Changes, **target: str) -> None:
    """Say what the timeline, or a fault's own duration, did to a link or node."""
    for event, faults in (("fault_began", changes.began), ("fault_ended", changes.ended)):
        for fault in faults:
            log.get().info(event, kind=KINDS[fault.kind].word, magnitude=fault.magnitude, **target)


def _column(values: list[float]) -> bytes:
    """A packed little-endian binary32 column; empty where the device does not measure it at all."""
    return struct.pack(f"<{len(values)}f", *values)
