"""All drivers of an agent as one: each link end has its key from one of them, its measurements from one.

Where a device's key comes through one driver and its state through another (SNMP, say), both name the same
link and the agent has one link end of it. Who gives what is never guessed: two that give the same are an
error until the configuration says which of them is meant.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

from keyweave.agent.drivers.base import (
    Calibrates,
    DeviceBlock,
    DeviceReport,
    Driver,
    DriverUnavailableError,
    LinkEndInfo,
    MeetsTwin,
    nothing,
)
from keyweave.agent.drivers.memories import HasMemories, MemoryBankInfo, MemorySession
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName

Only = Literal["measurements", "key", "memories"]


@dataclass(frozen=True, slots=True)
class Part:
    """One driver of an agent's configuration."""

    # Where the configuration has it, and what it calls it.
    field: str
    name: str
    driver: Driver
    # What of it is used; None: all that it gives.
    only: Only | None = None

    def used(self, end: LinkEndInfo) -> LinkEndInfo:
        """`end` as the agent uses it; InvalidInputError where nothing is left of it."""
        used = end
        if self.only == "key":
            used = replace(end, measures=False)
        elif self.only == "measurements":
            used = replace(end, block_bytes=0)
        if self.only is not None and not used.gives_key and not used.measures:
            raise InvalidInputError.of(
                f"{self.field}.only",
                f"is '{self.only}', which driver '{self.name}' does not give for link '{end.link}'",
            )
        return used


class JoinedDrivers:
    """A Driver over several."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = tuple(parts)
        self._key: dict[LinkName, Driver] = {}
        self._measuring: dict[LinkName, Driver] = {}
        self._memories: HasMemories | None = None

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        """See Driver. InvalidInputError where drivers contradict each other."""
        asked = [part for part in self._parts if part.only != "memories"]
        told = [(part, part.used(end)) for part in asked for end in await part.driver.link_ends()]
        names = tuple(dict.fromkeys(end.link for _, end in told))
        return tuple(self._joined([(part, end) for part, end in told if end.link == name]) for name in names)

    def watch(self, link: LinkName) -> AsyncIterator[DeviceReport]:
        """See Driver."""
        if link not in self._measuring:
            return nothing(f"no driver measures link '{link}'")
        return self._measuring[link].watch(link)

    def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        """See Driver."""
        if link not in self._key:
            return nothing(f"no driver gives key for link '{link}'")
        return self._key[link].take_blocks(link, first_block)

    def key_source(self, link: LinkName) -> Driver | None:
        """Which driver gives the key of a link, once `link_ends` has been asked."""
        return self._key.get(link)

    async def calibrate(self, link: LinkName) -> None:
        """See Calibrates: whoever measures a link, or else gives its key, is asked."""
        for drivers in (self._measuring, self._key):
            driver: object = drivers.get(link)
            if isinstance(driver, Calibrates):
                await driver.calibrate(link)
                return
        raise DriverUnavailableError(f"no driver of this node can have link '{link}' calibrate")

    async def memory_bank(self) -> MemoryBankInfo | None:
        """See HasMemories. InvalidInputError where several drivers have memories."""
        found: list[tuple[Part, HasMemories, MemoryBankInfo]] = []
        for part in self._parts:
            driver: object = part.driver
            if part.only in {None, "memories"} and isinstance(driver, HasMemories):
                bank = await driver.memory_bank()
                found += [(part, driver, bank)] if bank is not None else []
        if len(found) > 1:
            (first, _, _), (second, _, _) = found[:2]
            raise InvalidInputError.of(
                f"{second.field}.only",
                f"drivers '{first.name}' ({first.field}) and '{second.name}' both have quantum memories; "
                "an agent works one bank: set `only: measurements` or `only: key` for one of them",
            )
        self._memories = found[0][1] if found else None
        return found[0][2] if found else None

    @asynccontextmanager
    async def open_memories(self) -> AsyncIterator[MemorySession]:
        """See HasMemories. Those that `memory_bank` has told of."""
        if self._memories is None and await self.memory_bank() is None:
            raise DriverUnavailableError("no driver of this node has quantum memories now")
        assert self._memories is not None
        async with self._memories.open_memories() as session:
            yield session

    async def close(self) -> None:
        """See Driver."""
        for part in self._parts:
            await part.driver.close()

    def _joined(self, told: Sequence[tuple[Part, LinkEndInfo]]) -> LinkEndInfo:
        """One link end of what drivers told of it: as the one that gives key describes it, if any does."""
        giving = [(part, end) for part, end in told if end.gives_key]
        measuring = [(part, end) for part, end in told if end.measures]
        _only_one(giving, "give key", "measurements")
        _only_one(measuring, "measure", "key")
        peers = {end.peer_node for _, end in told}
        end = (giving or measuring or told)[0][1]
        if len(peers) > 1:
            fields = " and ".join(part.field for part, _ in told)
            raise InvalidInputError.of(
                fields, f"link '{end.link}' leads to {' or '.join(sorted(peers))}: drivers disagree"
            )
        self._key |= {end.link: part.driver for part, end in giving}
        self._measuring |= {end.link: part.driver for part, end in measuring}
        return replace(end, measures=bool(measuring))


def _only_one(parts: Sequence[tuple[Part, LinkEndInfo]], do: str, other: Only) -> None:
    if len(parts) > 1:
        (first, end), (second, _) = parts[:2]
        raise InvalidInputError.of(
            f"{second.field}.only",
            f"drivers '{first.name}' ({first.field}) and '{second.name}' both {do} for link '{end.link}'; "
            f"set `only: {other}` for one of them",
        )


def who_meets_twin(driver: Driver, link: LinkName) -> MeetsTwin | None:
    """The driver that has to agree with its twin about this link's blocks; None where none has to."""
    source = driver.key_source(link) if isinstance(driver, JoinedDrivers) else driver
    return source if isinstance(source, MeetsTwin) else None
