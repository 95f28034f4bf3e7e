"""The driver for links that SeQUeNCe simulates photon by photon: measurements, and no key.

Both ends' agents simulate the same train of pulses, each in processes of its own, and so measure the same.
The bits of a simulation that anybody can repeat are no key: that has to come from another driver.
"""

import asyncio
import hashlib
import importlib.util
import math
import struct
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyweave.agent.drivers import sequence_link
from keyweave.agent.drivers.base import (
    DeviceBlock,
    DeviceReport,
    DriverUnavailableError,
    LinkEndInfo,
    library_missing,
    nothing,
    parsed_settings,
)
from keyweave.agent.drivers.mapping import NANOS
from keyweave.agent.drivers.sequence_link import Counts, Photonics
from keyweave.agent.drivers.sequence_rate import secret_bits_per_pulse
from keyweave.common.names import NAME_PATTERN, LinkName, NodeName
from keyweave.v1 import agent_pb2, types_pb2

NAME = "sequence"
MODEL = "SeQUeNCe BB84, simulated; SKR computed as with decoy states"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LinkSettings(_Section):
    """A link and what it is made of; alike at both ends."""

    peer_node: Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")]
    length_km: Annotated[float, Field(gt=0, le=500)]
    attenuation_db_per_km: Annotated[float, Field(ge=0, le=5)] = 0.2
    pulse_rate_hz: Annotated[float, Field(ge=1e3, le=1e8)] = 200e3
    mean_photon_number: Annotated[float, Field(gt=0, le=2)] = 0.5
    detector_efficiency_ratio: Annotated[float, Field(gt=0, le=1)] = 0.2
    # Of each of the two detectors.
    dark_count_rate_hz: Annotated[float, Field(ge=0, le=1e6)] = 100.0
    misalignment_ratio: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    # How often so many pulses are simulated; 20,000 take about a quarter of a second of one core.
    interval_seconds: Annotated[float, Field(ge=0.2, le=60)] = 1.0
    pulses: Annotated[int, Field(ge=1000, le=10_000_000)] = 20_000
    seed: int = 0

    @model_validator(mode="after")
    def _pulses_fit(self) -> Self:
        seconds = self.pulses / self.pulse_rate_hz
        if seconds > self.interval_seconds:
            raise ValueError(f"pulses: take {seconds:g} s at this pulse_rate_hz; interval_seconds is less")
        return self

    @property
    def photonics(self) -> Photonics:
        """As the simulation has it."""
        return Photonics(
            self.length_km,
            self.attenuation_db_per_km,
            self.pulse_rate_hz,
            self.mean_photon_number,
            self.detector_efficiency_ratio,
            self.dark_count_rate_hz,
            self.misalignment_ratio,
        )


class SequenceSettings(_Section):
    """`settings` of this driver in an agent's configuration."""

    # Processes that simulate.
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    links: Annotated[
        dict[Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")], LinkSettings], Field(min_length=1)
    ]


class SequenceDriver:
    """A Driver over simulations."""

    def __init__(self, settings: Mapping[str, Any], node: NodeName) -> None:  # noqa: ARG002  # the contract's
        self._settings = parsed_settings(settings, SequenceSettings)
        if importlib.util.find_spec(NAME) is None:
            raise library_missing(NAME)
        self._pool: ProcessPoolExecutor | None = None

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        """See Driver."""
        return tuple(
            LinkEndInfo(LinkName(name), NodeName(link.peer_node), MODEL, emulated=True, block_bytes=0)
            for name, link in self._settings.links.items()
        )

    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        """See Driver. A row is as long as its pulses would take; between rows nothing is measured."""
        if link not in self._settings.links:
            raise DriverUnavailableError(f"there is no link '{link}' in the settings of this driver")
        settings = self._settings.links[link]
        interval = settings.interval_seconds
        # By the clock, so that both ends simulate the same.
        turn = int(time.time() / interval)
        while True:
            turn = max(turn + 1, int(time.time() / interval))
            await asyncio.sleep(max(0.0, turn * interval - time.time()))
            counts = await self._simulated(settings, _seed(settings.seed, link, turn))
            yield DeviceReport(_row(link, settings.photonics, counts, turn * interval), "")

    def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:  # noqa: ARG002
        """See Driver: there are none."""
        return nothing(f"link '{link}' is simulated by SeQUeNCe, which gives no key")

    async def close(self) -> None:
        """See Driver."""
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
            self._pool = None

    async def _simulated(self, settings: LinkSettings, seed: int) -> Counts:
        if self._pool is None:
            # Not forked: this process has threads and key in its memory.
            self._pool = ProcessPoolExecutor(self._settings.workers, mp_context=get_context("spawn"))
        work = asyncio.get_running_loop().run_in_executor(
            self._pool, sequence_link.simulate, settings.photonics, settings.pulses, seed
        )
        try:
            return await work
        except BrokenProcessPool:
            self._pool = None
            raise DriverUnavailableError("a process that simulates has died") from None
        except Exception as error:  # noqa: BLE001  # whatever SeQUeNCe makes of these settings
            reason = f"SeQUeNCe failed by {type(error).__name__}: {error}"
            raise DriverUnavailableError(reason) from None


def _seed(seed: int, link: LinkName, turn: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {link} {turn}".encode()).digest()[:8], "big")


def _row(link: LinkName, photonics: Photonics, counts: Counts, begun: float) -> agent_pb2.LinkSamples:
    """What one train of pulses measured, as if it had been sent when its turn began."""
    return agent_pb2.LinkSamples(
        link=link,
        start_unix_nanos=round((begun - counts.seconds) * NANOS),
        interval_micros=max(1, round(counts.seconds * 1e6)),
        rows=1,
        status=types_pb2.LINK_STATUS_ACTIVE,
        qber_ratio=_column(counts.errors / counts.sifted if counts.sifted else math.nan),
        sifted_rate_bps=_column(counts.sifted / counts.seconds),
        skr_bps=_column(secret_bits_per_pulse(photonics, counts) * photonics.pulse_rate_hz),
        loss_db=_column(photonics.length_km * photonics.attenuation_db_per_km),
    )


def _column(value: float) -> bytes:
    return struct.pack("<f", value)
