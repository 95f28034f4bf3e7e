"""Reading a driver as an agent reads it, and what is left over when that is done."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from keyweave.agent import memory
from keyweave.agent.drivers.base import (
    MAX_TWIN_MESSAGE_BYTES,
    DeviceBlock,
    Driver,
    DriverUnavailableError,
    LinkEndInfo,
    MeetsTwin,
)
from keyweave.common.names import LinkName

Item = TypeVar("Item")

# How long a cancelled task, and `close`, may take.
STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05


@dataclass(slots=True)
class Read(Generic[Item]):
    """What an iterator gave until it was stopped, and how it behaved then."""

    items: list[Item] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    # Why it ended before we stopped it, and whether it may end so.
    ended: str = ""
    unavailable: bool = False
    # Why it did not stop when it was told to.
    clung: str = ""


async def read_into(read: Read[Item], iterator: AsyncIterator[Item], count: int, seconds: float) -> None:
    """Read until `count` have come or time is up, then cancel whoever reads, as an agent stops."""
    enough = asyncio.Event()

    async def follow() -> None:
        async for item in iterator:
            read.items.append(item)
            read.arrived.append(time.time())
            if len(read.items) >= count:
                enough.set()

    reader = asyncio.create_task(follow(), name="driver-conformance-reader")
    waiting = asyncio.create_task(enough.wait(), name="driver-conformance-enough")
    await asyncio.wait({reader, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not reader.done():
        reader.cancel()
        await asyncio.wait({reader}, timeout=STOP_SECONDS)
        if not reader.done():
            read.clung = f"still ran {STOP_SECONDS:g} s after it was cancelled"
        elif not reader.cancelled():
            read.clung = "ended by itself when it was cancelled: the cancellation was swallowed"
        if not reader.done() or reader.cancelled() or reader.exception() is None:
            return
    error = reader.exception()
    read.unavailable = isinstance(error, DriverUnavailableError)
    if error is None:
        read.ended = "it ended without an error"
    else:
        read.ended = f"it ended by {type(error).__name__}: {error}"


class _Way:
    """A Twin within this process: what one end sends, the other receives."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.other: _Way | None = None

    def send(self, message: bytes) -> bool:
        """See Twin."""
        if len(message) > MAX_TWIN_MESSAGE_BYTES:
            raise ValueError(f"{len(message)} bytes; a twin takes {MAX_TWIN_MESSAGE_BYTES}")
        if self.other is not None:
            self.other.messages.put_nowait(message)
        return self.other is not None

    async def receive(self) -> bytes:
        """See Twin."""
        return await self.messages.get()


def needs_twin(driver: object) -> bool:
    """Whether a driver gives blocks only together with its twin."""
    return isinstance(driver, MeetsTwin)


def introduce(
    driver: object, peer: object, ends: Iterable[LinkEndInfo], theirs: Iterable[LinkEndInfo]
) -> set[LinkName]:
    """Have the drivers meet at each link where they want to; the links where they could."""
    there = {end.link for end in theirs}
    shared: set[LinkName] = set()
    for end in ends:
        here, far = _Way(), _Way()
        if isinstance(peer, MeetsTwin) and end.link in there:
            here.other, far.other = far, here
            peer.meet(end.link, far)
            shared.add(end.link)
        if isinstance(driver, MeetsTwin):
            driver.meet(end.link, here)
    return shared


async def closed(drivers: Iterable[Driver]) -> list[str]:
    """Close drivers; what went wrong with it."""
    wrong = []
    for driver in drivers:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await driver.close()
        except TimeoutError:
            wrong.append(f"close took longer than {STOP_SECONDS:g} s")
        except Exception as error:  # noqa: BLE001  # whatever a driver's author let out is what we report
            wrong.append(f"close failed: {type(error).__name__}: {error}")
    return wrong


async def left_over(tasks: set[asyncio.Task[Any]], sockets: frozenset[str]) -> list[str]:
    """Which tasks and connections there are, a moment later, that were not there before the driver was."""
    wrong = [f"task '{name}' goes on after close" for name in await still_running(tasks)]
    deadline = time.monotonic() + STOP_SECONDS
    while (opened := open_sockets() - sockets) and time.monotonic() < deadline:  # noqa: ASYNC110  # nothing tells
        await asyncio.sleep(_POLL_SECONDS)
    return wrong + ([f"{len(opened)} connections are open after close"] if opened else [])


async def still_running(before: set[asyncio.Task[Any]]) -> list[str]:
    """Tasks that have come since and do not end by themselves within a moment."""
    mine = {asyncio.current_task()}
    if since := asyncio.all_tasks() - before - mine:
        await asyncio.wait(since, timeout=STOP_SECONDS)
    return sorted(task.get_name() for task in asyncio.all_tasks() - before - mine)


def open_sockets() -> frozenset[str]:
    """The network sockets of this process, where the system tells (Linux's proc(5)); else none."""
    held = set()
    with suppress(OSError):
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                held.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    network = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(OSError):
            lines = Path(f"/proc/self/net/{table}").read_text(encoding="ascii").splitlines()[1:]
            network |= {line.split()[9] for line in lines}
    return frozenset(held & network)


def overwrite(blocks: Iterable[DeviceBlock]) -> None:
    """Destroy the keys of blocks."""
    for block in blocks:
        if isinstance(block.key, bytearray):
            memory.wipe(block.key)
