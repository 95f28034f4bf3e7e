"""The emulated links: physics, faults and key blocks in step with the clock, and who listens to them."""

import asyncio
import math
import struct
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Final

from keyweave.common import log
from keyweave.common.errors import ConflictError, InvalidInputError, UnavailableError
from keyweave.common.names import LinkName, NodeName
from keyweave.emulator.blocks import HIGHEST_BLOCK, BlockSource
from keyweave.emulator.faults import LinkFaults
from keyweave.emulator.physics.link import ProtocolLink
from keyweave.emulator.physics.model import UNDISTURBED, LinkModel, Measurement
from keyweave.emulator.scenario import LinkSpec, Scenario
from keyweave.v1 import agent_pb2, emulator_pb2

REPORT_SECONDS = 0.1
# A listener that falls further behind misses the oldest reports, as with a device.
REPORTS_KEPT = 50
# All that a fast link makes between two reports goes in one message: each costs the agent an fsync.
BATCH_BYTES = 256 * 1024
WARM_BYTES_MOST = 64 * 1024
NANOS = 1_000_000_000


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
    """One link. `advance` moves it on in time; its ends' devices are read concurrently."""

    def __init__(self, spec: LinkSpec, model: LinkModel, *, interval_seconds: float, rows: int) -> None:
        self.spec: Final = spec
        self.name: Final = LinkName(spec.name)
        self.faults: Final = LinkFaults(self.name, counts_photons=spec.technology != "CV-QKD")
        self._model = model
        self._interval = interval_seconds
        self._rows = rows
        self._elapsed = 0.0
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

    def warm_up(self, seconds: float, now_nanos: int) -> None:
        """Hold the key of some seconds already, so that pools fill quickly."""
        self._warm_bits = min(seconds * self.spec.undisturbed_skr_bps, 8.0 * WARM_BYTES_MOST)
        self._blocks.produce(self._warm_bits, now_nanos)

    def advance(self, start_nanos: int) -> None:
        """Measure and produce for one report, which begins at `start_nanos`."""
        measurements = []
        for row in range(1, self._rows + 1):
            self._elapsed += self._interval
            measurement = self._model.measure(self._elapsed, self._interval, self.faults.disturbance)
            measurements.append(measurement)
            self._blocks.produce(measurement.key_bits, start_nanos + round(row * self._interval * NANOS))
        self._report(measurements, start_nanos)

    def alarm(self, now_nanos: int) -> None:
        """Tell both ends at once that there is no signal: a device does not wait for its next report."""
        disturbance = self.faults.disturbance
        if disturbance.cut:
            self._report([self._model.measure(self._elapsed, self._interval, disturbance)], now_nanos)

    def _report(self, measurements: list[Measurement], start_nanos: int) -> None:
        self._sequence += 1
        for end, reports in enumerate(self._reports):
            reports.append(_Report(self._sequence, self._response(measurements, end, start_nanos)))
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
                self._check_open()
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
        token = self._takers[end] = object()
        self._changed.give()
        buffer = self._blocks.ends[end]
        buffer.drop_below(first_block)
        if self._blocks.begin_at(first_block):
            log.get().info("block_numbers_advanced", link=self.name, first_block=first_block)
            if self.faults.disturbance == UNDISTURBED:
                self._blocks.produce(self._warm_bits, time.time_ns())
        while True:
            self._check_open()
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

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the emulator is shutting down; try again")

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


class OpticalPlane:
    """All links of a scenario, and the clock that moves them."""

    def __init__(self, scenario: Scenario, *, warm_blocks_seconds: float) -> None:
        interval = scenario.sample_interval_seconds
        rows = max(1, math.floor(REPORT_SECONDS / interval + 1e-9))
        self._report_nanos = round(rows * interval * NANOS)
        self.links: Final[Mapping[LinkName, EmulatedLink]] = {
            LinkName(spec.name): EmulatedLink(
                spec,
                ProtocolLink(spec.devices, link=spec.name, seed=scenario.seed),
                interval_seconds=interval,
                rows=rows,
            )
            for spec in scenario.links
        }
        for link in self.links.values():
            link.warm_up(warm_blocks_seconds, time.time_ns())

    async def run(self) -> None:
        """Advance all links in step with the clock until cancelled."""
        loop = asyncio.get_running_loop()
        # Wall-clock times are counted on from one reading, so that they never run backwards.
        origin, begun = time.time_ns(), loop.time()
        done_nanos = 0
        while True:
            due = begun + (done_nanos + self._report_nanos) / NANOS
            await asyncio.sleep(due - loop.time())
            for link in self.links.values():
                link.advance(origin + done_nanos)
            done_nanos += self._report_nanos
            done_nanos += self._skipped(loop.time() - begun, done_nanos)

    def close(self) -> None:
        """End all streams and erase all keys."""
        for link in self.links.values():
            link.close()

    def _skipped(self, elapsed_seconds: float, done_nanos: int) -> int:
        """Whole seconds that a suspended or overloaded machine fell behind; they are left out."""
        behind = elapsed_seconds * NANOS - done_nanos
        if behind < NANOS:
            return 0
        skipped = int(behind // self._report_nanos) * self._report_nanos
        log.get().warning("emulator_fell_behind", seconds=skipped / NANOS)
        return skipped


def _column(values: list[float]) -> bytes:
    """A packed little-endian binary32 column; empty where the device does not measure it at all."""
    return struct.pack(f"<{len(values)}f", *values)
