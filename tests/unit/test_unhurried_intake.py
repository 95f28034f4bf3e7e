"""Device blocks are taken less often while both ends of a link have plenty; at once while either is short."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keyweave.agent.drivers.base import DeviceBlock, DriverUnavailableError
from keyweave.agent.keyplane.links import linkend, linkpools
from keyweave.common.names import LinkName
from tests.unit.link_pair import BLOCK, End, Pair, device_block
from tests.waiting import eventually

# For both ends: more than two blocks have for one.
PLENTY = 2 * BLOCK


class Asked:
    """A device that gives one block whenever it is asked, three times."""

    def __init__(self) -> None:
        self.times = 0

    async def take_blocks(self, _link: LinkName, first: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        for number in range(first, first + 3):
            self.times += 1
            yield (DeviceBlock(number, device_block(number), number),)
        raise DriverUnavailableError("there is no more")


@pytest.fixture
def end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> End:
    """End a of a link whose ends hold four blocks each."""
    monkeypatch.setattr(linkpools, "PLENTY_BYTES", PLENTY)
    monkeypatch.setattr(linkend, "UNHURRIED_SECONDS", 3600.0)
    pair = Pair(tmp_path)
    pair.ends["a"].open()
    while pair.deliver("a") or pair.deliver("b"):
        pass
    for node in ("a", "b"):
        for _ in range(4):
            pair.ends[node].take_block()
    while pair.deliver("a") or pair.deliver("b"):
        pass
    pair.ends["a"].link._journal.highest_block = 4
    return pair.ends["a"]


async def test_while_both_ends_have_plenty_the_device_is_not_asked_again_at_once(end: End) -> None:
    device = Asked()
    end.link._driver = device  # type: ignore[assignment]  # all of it that is called
    assert end.link.pools.plentiful
    reading = asyncio.create_task(end.link.take_blocks())

    async def taken_in() -> bool:
        return end.link.pool is not None and end.link.pool.next_block == 6

    await eventually(taken_in, 30.0, "the first block is in the pool")
    # Asked again at once, it would have been in the turn in which the block came into the pool.
    assert device.times == 1
    assert not reading.done()
    reading.cancel()
    await asyncio.wait({reading})


@pytest.mark.parametrize("short", ["this end", "the other end"])
async def test_while_either_end_is_short_the_device_is_asked_at_once(end: End, short: str) -> None:
    pool = end.link.pool
    assert pool is not None
    if short == "this end":
        assert pool.allocate(BLOCK) is not None
    else:
        # All that is left of the lane of the other end is used by it.
        pool.receive(first_lane=False, offset=0, size=2 * BLOCK)
    device = Asked()
    end.link._driver = device  # type: ignore[assignment]
    assert not end.link.pools.plentiful
    reading = asyncio.create_task(end.link.take_blocks())

    async def asked_again() -> bool:
        return device.times >= 2

    await eventually(asked_again, 30.0, "the device is asked again")
    reading.cancel()
    await asyncio.wait({reading})
