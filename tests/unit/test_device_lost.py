"""A link whose device goes away, whole or in part: told once, over when it is over, and never a way out."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from keyweave.agent.drivers.base import DeviceBlock, DeviceReport, DriverUnavailableError
from keyweave.agent.keyplane.links.linkend import LinkEnd
from keyweave.agent.keyplane.links.linkwatch import LinkHealth
from keyweave.common.names import LinkName
from keyweave.v1 import agent_pb2, types_pb2
from tests.unit.link_pair import End, device_block
from tests.waiting import eventually


class Scripted:
    """A device that gives what it is told to, and then cannot be reached."""

    def __init__(self, *, qbers: tuple[float, ...] = (), blocks: tuple[int, ...] = ()) -> None:
        self.qbers, self.blocks = qbers, blocks

    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        for qber in self.qbers:
            samples = agent_pb2.LinkSamples(
                link=link,
                start_unix_nanos=time.time_ns(),
                interval_micros=100_000,
                rows=1,
                qber_ratio=struct.pack("<f", qber),
                sifted_rate_bps=struct.pack("<f", 1e6),
                status=types_pb2.LINK_STATUS_ACTIVE,
            )
            yield DeviceReport(samples, "")
        raise DriverUnavailableError("the meter is away")

    async def take_blocks(self, _link: LinkName, _first: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        for number in self.blocks:
            yield (DeviceBlock(number, device_block(number), number),) if number else ()
        raise DriverUnavailableError("the key server is away")


@pytest.fixture
def end(tmp_path: Path) -> End:
    return End("a", "b", tmp_path)


def healths(end: End) -> list[LinkHealth]:
    return [verdict.health for verdict in end.verdicts]


async def watched(link: LinkEnd, device: Scripted) -> None:
    """What the agent does once with a device that measures."""
    link._driver = device  # type: ignore[assignment]  # all of it that a link end calls
    with pytest.raises(DriverUnavailableError) as lost:
        await link.watch_device()
    link.device_lost(str(lost.value))


async def taken(link: LinkEnd, device: Scripted) -> None:
    """What the agent does once with a device that gives key."""
    link._driver = device  # type: ignore[assignment]
    with pytest.raises(DriverUnavailableError) as lost:
        await link.take_blocks()
    link.key_lost(str(lost.value))


async def test_losing_the_measurements_does_not_end_an_abort(end: End) -> None:
    await watched(end.link, Scripted(qbers=(0.02, 0.25)))
    assert healths(end) == [LinkHealth.OK, LinkHealth.ABORTED]
    assert end.link.aborted
    await watched(end.link, Scripted())
    assert end.link.aborted


async def test_while_no_key_comes_good_measurements_do_not_make_the_link_well(end: End) -> None:
    await watched(end.link, Scripted(qbers=(0.02,)))
    await taken(end.link, Scripted())
    end.verdicts.clear()
    link = end.link
    link._driver = Scripted(qbers=(0.02, 0.02, 0.02))  # type: ignore[assignment]
    with pytest.raises(DriverUnavailableError):
        await link.watch_device()
    assert link.watch.verdict.reason == "the key server is away"
    assert healths(end) == []


@pytest.mark.parametrize("blocks", [(1,), (0,)])
async def test_when_key_comes_again_or_its_server_answers_the_next_measurement_makes_the_link_well(
    end: End, blocks: tuple[int, ...]
) -> None:
    link = end.link
    await taken(link, Scripted())
    assert healths(end) == [LinkHealth.FAULT]
    link._driver = Scripted(blocks=blocks)  # type: ignore[assignment]
    with pytest.raises(DriverUnavailableError):
        await link.take_blocks()
    link._driver = Scripted(qbers=(0.02,))  # type: ignore[assignment]
    with pytest.raises(DriverUnavailableError):
        await link.watch_device()
    assert healths(end) == [LinkHealth.FAULT, LinkHealth.OK]


async def test_a_link_that_nothing_measures_is_well_again_when_key_comes(end: End) -> None:
    end.link.info = replace(end.link.info, measures=False)
    await taken(end.link, Scripted())
    await taken(end.link, Scripted(blocks=(1,)))
    assert healths(end) == [LinkHealth.FAULT, LinkHealth.UNKNOWN, LinkHealth.FAULT]


async def test_a_source_that_was_away_is_asked_again_though_its_pool_is_full(
    end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = end.link
    link.info = replace(link.info, keeps_blocks=True)
    monkeypatch.setattr(type(link.pools), "run_low", property(lambda _pools: False))
    link.key_lost("the key server is away")
    link._driver = Scripted(blocks=(1,))  # type: ignore[assignment]
    reading = asyncio.create_task(link.take_blocks())

    async def taken_in() -> bool:
        return link._journal.highest_block == 1

    await eventually(taken_in, 20.0, "its block is taken")
    # It is back, and not asked for more than is of use.
    assert not reading.done()
    reading.cancel()
    await asyncio.wait({reading})
    await watched(link, Scripted(qbers=(0.02,)))
    assert healths(end)[:2] == [LinkHealth.FAULT, LinkHealth.OK]
