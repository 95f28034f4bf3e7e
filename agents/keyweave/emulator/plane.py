"""The optical plane: all emulated links, and what befalls them, moved on in step with the clock."""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from keyweave.common import log
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName, NodeName
from keyweave.emulator.fault_book import FaultBook
from keyweave.emulator.links import NANOS, EmulatedLink, Signal, log_changes
from keyweave.emulator.memories.specs import PairLinkSpec
from keyweave.emulator.physics.link import ProtocolLink
from keyweave.emulator.physics.model import Disturbance
from keyweave.emulator.physics.satellite import Passes
from keyweave.emulator.scenario import Scenario
from keyweave.v1 import emulator_pb2

REPORT_SECONDS = 0.1


class OpticalPlane:
    """All links of a scenario, its nodes' and pair links' faults, and the clock that moves them."""

    def __init__(self, scenario: Scenario, *, warm_blocks_seconds: float, speed: float = 1.0) -> None:
        interval = scenario.sample_interval_seconds
        rows = max(1, math.floor(REPORT_SECONDS / interval + 1e-9))
        self._report_nanos = round(rows * interval * NANOS)
        self._report_seconds = rows * interval * speed
        self._reports = 0
        passes = _passes(scenario, now=time.time())
        # Given with every report.
        self.ticked: Final = Signal()
        self.nodes: Final[Mapping[NodeName, FaultBook]] = {
            NodeName(node.name): FaultBook(
                entry.to_fault() for entry in scenario.timeline if entry.node == node.name
            )
            for node in scenario.nodes
        }
        # What befalls their photons; pairs come about in `memories/`.
        self.pair_links: Final[Mapping[LinkName, FaultBook]] = {
            LinkName(link.name): FaultBook(
                entry.to_fault() for entry in scenario.timeline if entry.link == link.name
            )
            for link in scenario.pair_links
        }
        self.links: Final[Mapping[LinkName, EmulatedLink]] = {
            LinkName(spec.name): EmulatedLink(
                spec,
                ProtocolLink(
                    spec.devices,
                    link=spec.name,
                    seed=scenario.seed,
                    passes=passes.get(LinkName(spec.name)),
                ),
                interval_seconds=interval,
                rows=rows,
                speed=speed,
                planned=[entry.to_fault() for entry in scenario.timeline if entry.link == spec.name],
                nodes=(self.nodes[spec.ends[0]], self.nodes[spec.ends[1]]),
                passes=passes.get(LinkName(spec.name)),
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
            self.advance(origin + done_nanos)
            done_nanos += self._report_nanos
            done_nanos += self._skipped(loop.time() - begun, done_nanos)

    def advance(self, start_nanos: int) -> None:
        """Move everything on by one report, which begins at `start_nanos` of the clock."""
        self._reports += 1
        for name, node in self.nodes.items():
            changes = node.advance(self._reports * self._report_seconds, start_nanos)
            log_changes(changes, node=name)
            if any(fault.kind == emulator_pb2.FAULT_KIND_NODE_LOSS for fault in changes.began):
                self.lose_power(name)
        for pair_link, book in self.pair_links.items():
            changes = book.advance(self._reports * self._report_seconds, start_nanos)
            log_changes(changes, link=pair_link)
        for link in self.links.values():
            link.advance(start_nanos)
        self.ticked.give()

    def lose_power(self, node: NodeName) -> None:
        """What devices of a node forget when they go dark."""
        for link in self.links.values():
            end = link.end_of(node)
            if end is not None:
                link.lose_power(end)

    def disturbance_of(self, link: PairLinkSpec) -> Disturbance:
        """What the faults of a pair link and of its nodes add up to."""
        own = self.pair_links[LinkName(link.name)].disturbance
        dark = any(self.nodes[NodeName(node)].disturbance.cut for node in (link.a, link.b))
        return replace(own, cut=True) if dark else own

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


def _passes(scenario: Scenario, now: float) -> dict[LinkName, Passes]:
    """The links to satellites, all under one sky."""
    downlinks = scenario.downlinks
    try:
        begins = scenario.sky.begins(downlinks.values(), now)
    except ValueError as error:
        raise InvalidInputError.of("sky", str(error)) from None
    return {name: Passes(downlink, begins) for name, downlink in downlinks.items()}
