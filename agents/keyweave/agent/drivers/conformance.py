"""Whether a driver keeps the contract of `base`, checked against the device that it reaches.

`run` makes the driver, reads every link end as an agent would, ends that as an agent would, and has
`conformance_rules` judge what came. It takes key blocks for good: the device must not be in use.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from keyweave.agent.drivers import conformance_memories as memories
from keyweave.agent.drivers import conformance_rules as rules
from keyweave.agent.drivers.base import (
    DeviceBlock,
    DeviceReport,
    Driver,
    DriverFactory,
    DriverUnavailableError,
    LinkEndInfo,
)
from keyweave.agent.drivers.conformance_reading import (
    Read,
    closed,
    introduce,
    left_over,
    needs_twin,
    open_sockets,
    overwrite,
    read_into,
    still_running,
)
from keyweave.agent.drivers.memories import HasMemories
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import NAME_PATTERN, NodeName
from keyweave.common.quantities import LINK_RANGES

_NO_SUCH_SETTING = "no_such_setting_of_any_driver"


class Side(BaseModel):
    """A driver at one node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node: Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")]
    settings: dict[str, Any] = Field(default_factory=dict)


class Setup(Side):
    """What `keyweave driver test` reads: a driver, and perhaps the same kind at the links' other end."""

    peer: Side | None = None


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is read of every link end before it is judged."""

    reports: int = 5
    blocks: int = 4
    # In which all of that must have come.
    seconds: float = 30.0


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "pass"
    FAILED = "fail"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one driver."""

    check: str
    outcome: Outcome
    reason: str


@dataclass(slots=True)
class _Link:
    """What was seen of one link end."""

    info: LinkEndInfo
    # Whether its key needs the twin at the other end, which the file does not tell of.
    lacks_twin: bool = False
    reports: Read[DeviceReport] = field(default_factory=Read)
    batches: Read[tuple[DeviceBlock, ...]] = field(default_factory=Read)
    later: Read[tuple[DeviceBlock, ...]] = field(default_factory=Read)
    theirs: Read[tuple[DeviceBlock, ...]] = field(default_factory=Read)
    theirs_later: Read[tuple[DeviceBlock, ...]] = field(default_factory=Read)

    @property
    def gives_key(self) -> bool:
        """Whether its key blocks can be read here."""
        return self.info.gives_key and not self.lacks_twin

    @property
    def blocks(self) -> list[DeviceBlock]:
        """The blocks of this end, in the order they came."""
        return _flat(self.batches)

    @property
    def reads(self) -> tuple[Read[Any], ...]:
        """Everything that was read of this end."""
        return self.reports, self.batches, self.later


async def run(factory: DriverFactory, setup: Setup, effort: Effort) -> tuple[Finding, ...]:
    """Hold a driver to its contract; InvalidInputError where its settings are wrong."""
    return tuple([finding async for finding in _checks(factory, setup, effort)])


async def _checks(factory: DriverFactory, setup: Setup, effort: Effort) -> AsyncIterator[Finding]:
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    driver = factory(setup.settings, NodeName(setup.node))
    yield _finding("settings", await _settings_wrong(factory, setup), "an unknown setting is refused by name")
    peer = factory(setup.peer.settings, NodeName(setup.peer.node)) if setup.peer else None
    links: list[_Link] = []
    try:
        try:
            ends, again = await driver.link_ends(), await driver.link_ends()
            theirs = await peer.link_ends() if peer else ()
            remembers = isinstance(driver, HasMemories) and await driver.memory_bank() is not None
        except DriverUnavailableError as error:
            yield Finding("link-ends", Outcome.FAILED, f"the device cannot be reached: {error}")
            return
        except Exception as error:  # noqa: BLE001  # whatever a driver's author let out is what we report
            yield Finding("link-ends", Outcome.FAILED, f"link_ends raised {type(error).__name__}: {error}")
            return
        wrong = rules.link_ends_wrong(ends, NodeName(setup.node), may_be_none=remembers)
        yield _finding("link-ends", wrong, ", ".join(end.link for end in ends))
        wrong = [] if ends == again else ["link_ends answered something else the second time"]
        yield _finding("link-ends-stable", wrong, "the same twice")
        met = introduce(driver, peer, ends, theirs)
        links = [_Link(end, needs_twin(driver) and end.link not in met) for end in ends]
        await asyncio.gather(*(_read_link(driver, peer, link, effort) for link in links))
        for finding in (*_of_measurements(links, effort), *_of_blocks(links, effort)):
            yield finding
        yield _of_both_ends(links, theirs, setup)
        yield await _ended_tasks(driver, links, effort)
        async for finding in _of_memories(driver, peer, setup, effort):
            yield finding
    finally:
        for link in links:
            _wipe(link)
        closing = await closed([driver, peer] if peer else [driver])
    yield _finding("close", closing or await left_over(tasks, sockets), "no task and no connection is left")


# ---- reading every link end ----------------------------------------------------------------------


async def _read_link(driver: Driver, peer: Driver | None, link: _Link, effort: Effort) -> None:
    info = link.info
    reading = []
    if info.measures:
        reading.append(read_into(link.reports, driver.watch(info.link), effort.reports, effort.seconds))
    if link.gives_key:
        reading.append(
            read_into(link.batches, driver.take_blocks(info.link, 1), effort.blocks, effort.seconds)
        )
        if peer is not None:
            blocks = peer.take_blocks(info.link, 1)
            reading.append(read_into(link.theirs, blocks, effort.blocks, effort.seconds))
    await asyncio.gather(*reading)
    if link.blocks:
        following = driver.take_blocks(info.link, _highest(link) + 1)
        reading = [read_into(link.later, following, 1, effort.seconds)]
        if needs_twin(peer) and peer is not None:
            # Neither end gives any without the other.
            theirs = peer.take_blocks(info.link, max(block.number for block in _flat(link.theirs)) + 1)
            reading.append(read_into(link.theirs_later, theirs, 1, effort.seconds))
        await asyncio.gather(*reading)


def _flat(read: Read[tuple[DeviceBlock, ...]]) -> list[DeviceBlock]:
    return [block for batch in read.items for block in batch]


def _highest(link: _Link) -> int:
    return max(block.number for block in link.blocks)


def _wipe(link: _Link) -> None:
    for read in (link.batches, link.later, link.theirs, link.theirs_later):
        overwrite(_flat(read))


# ---- what came of it ----------------------------------------------------------------------------


def _finding(check: str, wrong: Sequence[str], right: str) -> Finding:
    if not wrong:
        return Finding(check, Outcome.PASSED, right)
    more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
    return Finding(check, Outcome.FAILED, "; ".join(dict.fromkeys(wrong[:3])) + more)


async def _settings_wrong(factory: DriverFactory, setup: Setup) -> list[str]:
    settings: Mapping[str, Any] = {**setup.settings, _NO_SUCH_SETTING: True}
    try:
        taken = factory(settings, NodeName(setup.node))
    except InvalidInputError as error:
        named = any(_NO_SUCH_SETTING in str(violation) for violation in error.violations)
        return [] if named else [f"the error does not name the unknown setting: {error}"]
    await closed([taken])
    return ["a setting that there is none of is taken without a word: whoever misspells one is not told"]


def _missing(read: Read[Any], count: int, what: str) -> list[str]:
    """Too little came, and nothing else tells why."""
    if len(read.items) >= count or (read.ended and not read.unavailable):
        return []
    because = f": {read.ended}" if read.ended else ""
    return [f"{len(read.items)} of {count} {what} came in time{because}"]


def _of_measurements(links: Sequence[_Link], effort: Effort) -> Iterator[Finding]:
    measured = [link for link in links if link.info.measures]
    if not measured:
        for check in ("measurements", "measurement-times"):
            yield Finding(check, Outcome.NOT_APPLICABLE, "the link ends say that nothing is measured")
        return
    wrong = [
        f"{link.info.link}: {words}"
        for link in measured
        for words in (
            *_missing(link.reports, effort.reports, "reports"),
            *rules.columns_wrong(link.reports.items, link.info.link),
        )
    ]
    yield _finding("measurements", wrong, "; ".join(_quantities(link) for link in measured))
    wrong = [
        f"{link.info.link}: {words}"
        for link in measured
        for words in rules.times_wrong(link.reports.items, link.reports.arrived)
    ]
    yield _finding("measurement-times", wrong, "each report is news, and begins after the one before it")


def _quantities(link: _Link) -> str:
    last = link.reports.items[-1].samples if link.reports.items else None
    told = [name for name in LINK_RANGES if last is not None and getattr(last, name)]
    absent = [name for name in LINK_RANGES if name not in told]
    return (
        f"{link.info.link}: {', '.join(told) or 'no column'}; not measured: {', '.join(absent) or 'nothing'}"
    )


def _of_blocks(links: Sequence[_Link], effort: Effort) -> Iterator[Finding]:
    giving = [link for link in links if link.gives_key]
    if not giving:
        for check in ("block-numbers", "block-size", "block-times", "first-block"):
            reason = "the link ends say block_bytes 0: no key comes here"
            if any(link.lacks_twin for link in links):
                reason = "key comes only where both ends take part: give the other end's settings as `peer`"
            yield Finding(check, Outcome.NOT_APPLICABLE, reason)
        return
    wrong = [
        f"{link.info.link}: {words}"
        for link in giving
        for words in (*_missing(link.batches, effort.blocks, "batches"), *rules.numbers_wrong(link.blocks))
    ]
    lost = sum(rules.gaps(link.blocks) for link in giving)
    yield _finding("block-numbers", wrong, f"rising, with {lost} gaps" if lost else "consecutive")
    wrong = [
        f"{link.info.link}: {words}"
        for link in giving
        for words in rules.sizes_wrong(link.blocks, link.info.block_bytes)
    ]
    yield _finding("block-size", wrong, "block_bytes each, in memory that can be overwritten")
    now = time.time()
    wrong = [
        f"{link.info.link}: {words}" for link in giving for words in rules.block_times_wrong(link.blocks, now)
    ]
    yield _finding("block-times", wrong, "none from the future")
    asked = [link for link in giving if link.later.items]
    if not asked:
        yield Finding("first-block", Outcome.NOT_APPLICABLE, "no block came after the first ones")
        return
    wrong = [
        f"{link.info.link}: {words}"
        for link in asked
        for words in rules.earlier_than_asked(_flat(link.later), _highest(link) + 1)
    ]
    yield _finding("first-block", wrong, "none came from before the block that was asked for")


def _of_both_ends(links: Sequence[_Link], theirs: Sequence[LinkEndInfo], setup: Setup) -> Finding:
    check = "both-ends"
    if setup.peer is None:
        return Finding(check, Outcome.NOT_APPLICABLE, "the file has no `peer`: give the other end's settings")
    shared = [link for link in links if link.info.peer_node == setup.peer.node]
    if not shared:
        return Finding(check, Outcome.NOT_APPLICABLE, f"no link leads to '{setup.peer.node}'")
    wrong, compared = [], 0
    for link in shared:
        wrong += rules.ends_wrong(link.info, theirs, NodeName(setup.node))
        there = _flat(link.theirs)
        wrong += [f"{link.info.link}: {words}" for words in rules.keys_differ(link.blocks, there)]
        common = {block.number for block in link.blocks} & {block.number for block in there}
        if link.info.gives_key and not common:
            wrong.append(f"{link.info.link}: no block of one number came at both ends")
        compared += len(common)
    return _finding(check, wrong, f"{compared} blocks are the same at both ends")


async def _of_memories(
    driver: Driver, peer: Driver | None, setup: Setup, effort: Effort
) -> AsyncIterator[Finding]:
    peer_node = NodeName(setup.peer.node) if setup.peer else None
    try:
        judged = await memories.judge(driver, NodeName(setup.node), peer, peer_node, effort.seconds)
    except DriverUnavailableError as error:
        yield Finding("memory-bank", Outcome.FAILED, f"the memories cannot be reached: {error}")
        return
    for each in judged:
        if each.wrong is None:
            yield Finding(each.check, Outcome.NOT_APPLICABLE, each.said)
        else:
            yield _finding(each.check, each.wrong, each.said)


async def _ended_tasks(driver: Driver, links: Sequence[_Link], effort: Effort) -> Finding:
    """How iterators ended, and whether a cancelled one leaves anything behind."""
    wrong = [
        f"{link.info.link}: {read.ended}; only DriverUnavailableError may end an iterator"
        for link in links
        for read in link.reads
        if read.ended and not read.unavailable
    ]
    if wrong:
        return _finding("iterators", wrong, "")
    wrong = [f"{link.info.link}: {read.clung}" for link in links for read in link.reads if read.clung]
    for link in links if not wrong else ():
        before = asyncio.all_tasks()
        if link.info.measures:
            await read_into(Read(), driver.watch(link.info.link), 1, effort.seconds)
        elif link.gives_key:
            again: Read[tuple[DeviceBlock, ...]] = Read()
            await read_into(
                again, driver.take_blocks(link.info.link, _highest_seen(link) + 1), 1, effort.seconds
            )
            overwrite(_flat(again))
        left = await still_running(before)
        wrong += [f"{link.info.link}: task '{name}' goes on after its reader was cancelled" for name in left]
    return _finding("iterators", wrong, "they go on until cancelled, and leave nothing behind")


def _highest_seen(link: _Link) -> int:
    return max([0, *(block.number for block in (*link.blocks, *_flat(link.later)))])
