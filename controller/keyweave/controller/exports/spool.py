"""What each receiver still has to get: the events of the store, and how far each one has come.

The stored events are the spool: nothing is written twice, it survives a restart, and it is bounded. Where a
receiver is away for so long that events are forgotten, those are counted as dropped for it, oldest first.
Each event is delivered at least once: how far a receiver has come is written every second, and after a crash
it is told some again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyweave.common.cancellation import to_its_end
from keyweave.common.errors import UnavailableError
from keyweave.controller import event_log
from keyweave.controller.events import Event
from keyweave.controller.outages import reading
from keyweave.controller.store_schema import metadata

PAGE_EVENTS = 100
# How long to wait for a database that cannot be read now.
RETRY_SECONDS = 1.0

_cursors = sa.Table(
    "export_cursors",
    metadata,
    sa.Column("sink", sa.String(63), primary_key=True),
    sa.Column("event_id", sa.BigInteger, nullable=False),
)


class Spool:
    """The events on disk, and how far each receiver has come."""

    def __init__(
        self, engine: AsyncEngine, fenced: Callable[[], AbstractAsyncContextManager[AsyncConnection]]
    ) -> None:
        self._engine = engine
        self._fenced = fenced

    async def begin(self, sink: str) -> int:
        """The last event that a receiver has; a new one begins with what comes next."""
        async with self._fenced() as connection:
            taken = await connection.scalar(sa.select(_cursors.c.event_id).where(_cursors.c.sink == sink))
            if taken is not None:
                return int(taken)
            newest = await event_log.last_id(connection)
            await connection.execute(sa.insert(_cursors).values(sink=sink, event_id=newest))
            return newest

    async def note_taken(self, sink: str, event_id: int) -> None:
        """A receiver has everything up to this event."""
        async with self._fenced() as connection:
            await connection.execute(
                sa.update(_cursors).where(_cursors.c.sink == sink).values(event_id=event_id)
            )

    async def forget_all_but(self, sinks: frozenset[str]) -> None:
        """Receivers that are no longer configured have no place here."""
        async with self._fenced() as connection:
            await connection.execute(sa.delete(_cursors).where(_cursors.c.sink.not_in(sinks)))

    async def after(self, event_id: int) -> tuple[tuple[Event, ...], int]:
        """The next events, oldest first, and the number of the newest there is."""
        async with reading(self._engine) as connection:
            newest = await event_log.last_id(connection)
            return await event_log.since(connection, event_id + 1, PAGE_EVENTS), newest


@dataclass(slots=True)
class SinkCounters:
    """What became of the events for one receiver, since the process started."""

    delivered_total: int = 0
    # Refused by the receiver, for good.
    refused_total: int = 0
    # Forgotten before the receiver could take them.
    dropped_total: int = 0
    failures_total: int = 0
    is_up: bool = False


@dataclass(slots=True)
class Outbox:
    """One receiver's way through the spool: `next` hands events out in order, `confirm` says which it has."""

    sink: str
    spool: Spool
    wants: Callable[[Event], bool]
    limit: int
    counters: SinkCounters = field(default_factory=SinkCounters)
    _newest: int = 0
    _taken: int = 0
    _saved: int = 0
    _read: int = 0
    _handed: deque[int] = field(default_factory=deque)
    _ready: deque[Event] = field(default_factory=deque)
    _stored: asyncio.Event = field(default_factory=asyncio.Event)

    async def begin(self) -> None:
        """Take up where the last run left off."""
        self._taken = self._saved = self._read = await self.spool.begin(self.sink)
        _, self._newest = await self.spool.after(self._taken)

    def wake(self, newest: int) -> None:
        """There are new events on disk, up to this number."""
        self._newest = max(self._newest, newest)
        self._stored.set()

    @property
    def waiting(self) -> int:
        """Events on disk that the receiver has not taken."""
        return self._newest - self._taken

    async def next(self) -> Event:
        """The next event that the receiver wants; waits until there is one."""
        while True:
            while self._ready:
                event = self._ready.popleft()
                self._read = event.id
                if self.wants(event):
                    self._handed.append(event.id)
                    return event
                if not self._handed:
                    self._taken = event.id
            self._stored.clear()
            if not await self._fill():
                await self._stored.wait()

    def confirm(self, event_id: int, *, refused: bool = False) -> None:
        """The receiver has everything up to this event, or will never take this one."""
        while self._handed and self._handed[0] <= event_id:
            self._handed.popleft()
            if refused:
                self.counters.refused_total += 1
            else:
                self.counters.delivered_total += 1
        # What it does not want after it is done with as well.
        self._taken = self._read if not self._handed else max(self._taken, event_id)

    def rewind(self) -> None:
        """Hand out again what was not confirmed."""
        self._handed.clear()
        self._ready.clear()
        self._read = self._taken

    async def save(self) -> None:
        """Write down how far the receiver has come."""
        if self._saved != self._taken:
            taken = self._taken
            await self.spool.note_taken(self.sink, taken)
            self._saved = taken

    async def _fill(self) -> bool:
        """Read on; whether there was anything."""
        try:
            events, newest = await to_its_end(self.spool.after(self._read))
        except UnavailableError:
            await asyncio.sleep(RETRY_SECONDS)
            self._stored.set()
            return False
        self._newest = newest
        oldest = newest - self.limit
        if self._taken < oldest:
            # Nobody who is that far behind is handed out anything that will be dropped next.
            self.counters.dropped_total += oldest - self._taken
            self._handed.clear()
            self._taken = self._read = oldest
            return True
        if events:
            # Numbers that are missing were forgotten, or never got to the disk.
            self.counters.dropped_total += events[-1].id - self._read - len(events)
        self._ready.extend(events)
        return bool(events)
