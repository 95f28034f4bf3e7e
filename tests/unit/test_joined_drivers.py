"""Each link end has its key from one driver and its measurements from one, and nobody guesses from which."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from keyweave.agent.drivers.base import (
    DeviceBlock,
    DeviceReport,
    DriverUnavailableError,
    LinkEndInfo,
    Twin,
    nothing,
)
from keyweave.agent.drivers.joined import JoinedDrivers, Only, Part, who_meets_twin
from keyweave.agent.drivers.memories import (
    Command,
    Event,
    MemoryBankInfo,
    MemoryId,
    MemorySession,
    Refused,
)
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2

AB, AC = LinkName("a-b"), LinkName("a-c")


def end(link: LinkName, *, key: bool, measures: bool, peer: str = "b", model: str = "m") -> LinkEndInfo:
    return LinkEndInfo(
        link, NodeName(peer), model, emulated=key, block_bytes=64 if key else 0, measures=measures
    )


class Told:
    """A driver that gives one report and one block of every link, and has its name in both."""

    def __init__(self, name: str, *ends: LinkEndInfo) -> None:
        self.name, self.ends = name, ends
        self.closed = False

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        return self.ends

    async def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        yield DeviceReport(agent_pb2.LinkSamples(link=link), self.name)

    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        yield (DeviceBlock(first_block, bytearray(self.name.encode()), 1),)

    async def close(self) -> None:
        self.closed = True


def joined(*parts: tuple[Told, Only | None]) -> JoinedDrivers:
    return JoinedDrivers(
        [Part(f"drivers[{index}]", told.name, told, only) for index, (told, only) in enumerate(parts)]
    )


async def sources(drivers: JoinedDrivers, link: LinkName) -> tuple[str, str]:
    """Whose key and whose measurements an agent gets."""
    names = ["nobody", "nobody"]
    with suppress(DriverUnavailableError):
        names[0] = (await anext(drivers.take_blocks(link, 5)))[0].key.decode()
    with suppress(DriverUnavailableError):
        names[1] = (await anext(drivers.watch(link))).device_fault
    return names[0], names[1]


async def test_key_of_one_driver_and_measurements_of_another_are_one_link_end() -> None:
    kme = Told("kme", end(AB, key=True, measures=False, model="KME"), end(AC, key=True, measures=False))
    snmp = Told("snmp", end(AB, key=False, measures=True, model="QKD"))
    for order in ((kme, snmp), (snmp, kme)):
        drivers = joined(*((told, None) for told in order))
        ends = {one.link: one for one in await drivers.link_ends()}
        assert set(ends) == {AB, AC}
        assert (ends[AB].gives_key, ends[AB].measures) == (True, True)
        assert (ends[AB].model, ends[AB].emulated) == ("KME", True)
        assert (ends[AC].gives_key, ends[AC].measures) == (True, False)
        assert await sources(drivers, AB) == ("kme", "snmp")
        assert await sources(drivers, AC) == ("kme", "nobody")


async def test_a_driver_that_only_measures_is_a_link_end_without_key() -> None:
    drivers = joined((Told("snmp", end(AB, key=False, measures=True)), None))
    (one,) = await drivers.link_ends()
    assert (one.gives_key, one.measures) == (False, True)
    assert await sources(drivers, AB) == ("nobody", "snmp")


async def test_two_that_give_the_same_are_an_error_until_the_configuration_says_which() -> None:
    both, snmp = (
        Told("both", end(AB, key=True, measures=True)),
        Told("snmp", end(AB, key=False, measures=True)),
    )
    with pytest.raises(
        InvalidInputError, match=r"drivers\[1\].only: drivers 'both' .* both measure .* `only: key`"
    ):
        await joined((both, None), (snmp, None)).link_ends()
    drivers = joined((both, "key"), (snmp, None))
    await drivers.link_ends()
    assert await sources(drivers, AB) == ("both", "snmp")
    drivers = joined((both, None), (Told("other", end(AB, key=True, measures=True)), "measurements"))
    with pytest.raises(InvalidInputError, match="both measure"):
        await drivers.link_ends()
    with pytest.raises(InvalidInputError, match=r"both give key .* `only: measurements`"):
        await joined((both, None), (both, "key")).link_ends()


async def test_what_a_driver_does_not_give_cannot_be_all_that_is_used_of_it() -> None:
    snmp = Told("snmp", end(AB, key=False, measures=True))
    with pytest.raises(
        InvalidInputError, match=r"drivers\[0\].only: is 'key', which driver 'snmp' does not give"
    ):
        await joined((snmp, "key")).link_ends()


async def test_drivers_that_disagree_where_a_link_leads_are_refused() -> None:
    kme = Told("kme", end(AB, key=True, measures=False))
    snmp = Told("snmp", end(AB, key=False, measures=True, peer="c"))
    with pytest.raises(InvalidInputError, match="leads to b or c"):
        await joined((kme, None), (snmp, None)).link_ends()


class Meeting(Told):
    """A driver that has to agree with its twin."""

    def meet(self, link: LinkName, twin: Twin) -> None:
        """Called by the agent."""


async def test_only_the_driver_of_a_link_s_key_meets_its_twin() -> None:
    meeting = Meeting("meeting", end(AB, key=True, measures=False))
    meter = Meeting("meter", end(AB, key=False, measures=True), end(AC, key=False, measures=True))
    drivers = joined((meter, None), (meeting, None))
    await drivers.link_ends()
    assert who_meets_twin(drivers, AB) is meeting
    assert who_meets_twin(drivers, AC) is None
    plain = joined((Told("plain", end(AB, key=True, measures=True)), None))
    await plain.link_ends()
    assert who_meets_twin(plain, AB) is None
    assert who_meets_twin(meeting, AB) is meeting


class Remembering(Told):
    """A driver of memories, of which there may be none."""

    def __init__(self, name: str, memories: int, *ends: LinkEndInfo) -> None:
        super().__init__(name, *ends)
        self.memories = memories

    async def memory_bank(self) -> MemoryBankInfo | None:
        if not self.memories:
            return None
        return MemoryBankInfo(self.name, self.memories, 1.0, 1.0, 1.0, 1.0, 1.0, emulated=True, links=())

    @asynccontextmanager
    async def open_memories(self) -> AsyncIterator[MemorySession]:
        yield Opened(self.name)


class Opened:
    """A session that tells whose it is."""

    def __init__(self, whose: str) -> None:
        self.whose = whose

    async def send(self, commands: Sequence[Command]) -> None:
        """To nobody."""

    async def receive(self) -> tuple[Event, ...]:
        return (Refused(MemoryId(0), self.whose),)


async def test_the_one_driver_that_has_memories_serves_them() -> None:
    qkd, none = Told("qkd", end(AB, key=True, measures=True)), Remembering("none", 0)
    ions = Remembering("ions", 4)
    drivers = joined((qkd, None), (none, None), (ions, None))
    async with drivers.open_memories() as session:
        assert await session.receive() == (Refused(MemoryId(0), "ions"),)
    bank = await drivers.memory_bank()
    assert bank is not None
    assert bank.memories == 4
    assert await joined((qkd, None), (none, None)).memory_bank() is None
    with pytest.raises(DriverUnavailableError, match="no driver of this node has quantum memories"):
        async with joined((qkd, None)).open_memories():
            pass


async def test_two_drivers_with_memories_are_an_error_until_the_configuration_says_which() -> None:
    one = Remembering("one", 4, end(AB, key=True, measures=False))
    two = Remembering("two", 2, end(AB, key=False, measures=True))
    with pytest.raises(
        InvalidInputError, match=r"drivers\[1\].only: drivers 'one' .* an agent works one bank"
    ):
        await joined((one, None), (two, None)).memory_bank()
    drivers = joined((one, "key"), (two, None))
    bank = await drivers.memory_bank()
    assert bank is not None
    assert bank.model == "two"
    only_memories = joined(
        (one, None), (Remembering("other", 2, end(AB, key=True, measures=True)), "memories")
    )
    assert [found.measures for found in await only_memories.link_ends()] == [False]


async def test_all_drivers_are_closed() -> None:
    parts = [Told("one", end(AB, key=True, measures=True)), Told("two", end(AC, key=True, measures=True))]
    await joined(*((told, None) for told in parts)).close()
    assert all(told.closed for told in parts)


async def test_nothing_ends_as_a_driver_may_end() -> None:
    never: Any = nothing("no such thing")
    with pytest.raises(DriverUnavailableError, match="no such thing"):
        await anext(never)
