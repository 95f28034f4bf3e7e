"""Where entries of the audit log wait, and the table they go to.

An entry is noted at once and chained by the next transaction of the store, whichever that is; what must
not be done before it is on disk asks for one. The entry of an operator's write is chained by the very
transaction that holds the write: neither is ever there without the other.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyweave.controller.audit.chain import Chained, Entry, EntryKind, Head, chained, digest_of
from keyweave.controller.outages import reading
from keyweave.controller.store_schema import metadata

# Entries that wait for a store that is out of order; later ones are counted, and the count is an entry.
WAITING_ENTRIES = 10_000
Fenced = Callable[[], AbstractAsyncContextManager[AsyncConnection]]

_audit = sa.Table(
    "audit",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("line", sa.Text, nullable=False),
)


@dataclass(slots=True)
class Call:
    """An operator's call that is under way; what it changed is told by the store."""

    entry: Entry
    is_chained: bool = False


# The call that what runs now belongs to. Tasks that a call starts inherit it.
current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)


def note_change(before: str | None, after: str | None) -> None:
    """The store changes an object, on behalf of the call under way: its JSON before and after."""
    call = current_call.get()
    if call is None or call.is_chained:
        return
    call.entry = replace(
        call.entry,
        before_digest=_digest(before),
        after_digest=_digest(after),
        details={**call.entry.details, **_changed(before, after)},
    )


class AuditLog:
    """Entries on their way into the chain."""

    def __init__(self, engine: AsyncEngine, fenced: Fenced) -> None:
        self._engine = engine
        self._fenced = fenced
        self._waiting: deque[Entry] = deque()
        # How many of these, the oldest, a transaction under way holds.
        self._in_flight = 0
        self._lost = 0
        self._noted = asyncio.Event()
        # The newest entry on disk that this process knows of.
        self.head = Head()

    @property
    def is_waiting(self) -> bool:
        """Whether an entry is not on disk yet."""
        return bool(self._waiting)

    async def until_noted(self) -> None:
        """Wait until an entry waits to be stored."""
        await self._noted.wait()

    def note(self, *entries: Entry) -> None:
        """Put these in the chain with the next transaction."""
        for entry in entries:
            if len(self._waiting) < WAITING_ENTRIES:
                self._waiting.append(entry)
                self._noted.set()
            else:
                self._lost += 1

    def note_refusal(self, refused: Entry) -> None:
        """Like `note`; a caller who is refused over and over until the next transaction has one entry."""
        for index in range(self._in_flight, len(self._waiting)):
            entry = self._waiting[index]
            if (entry.actor, entry.action, entry.outcome) == (refused.actor, refused.action, refused.outcome):
                times = int(entry.details.get("occurrences", "1")) + 1
                self._waiting[index] = replace(entry, details={**entry.details, "occurrences": str(times)})
                return
        self.note(refused)

    @asynccontextmanager
    async def chaining(self) -> AsyncIterator[Callable[[AsyncConnection], Awaitable[None]]]:
        """Around a transaction that ends with what this yields: what that chained no longer waits then.

        One at a time. Where the transaction fails, everything waits as before.
        """
        call = current_call.get()
        own = call if call is not None and not call.is_chained else None
        lost, newest = 0, self.head

        async def chain(connection: AsyncConnection) -> None:
            nonlocal lost, newest
            self._in_flight, lost = len(self._waiting), self._lost
            entries = [*self._waiting, *([own.entry] if own is not None else [])]
            if lost and entries:
                entries.append(_entries_lost(lost, entries[-1].time_unix_seconds))
            newest = await _append(connection, entries)

        try:
            yield chain
            for _ in range(self._in_flight):
                self._waiting.popleft()
            self._lost -= lost
            self.head = newest
            if own is not None:
                own.is_chained = True
            if not self._waiting:
                self._noted.clear()
        finally:
            self._in_flight = 0

    async def flush(self) -> None:
        """Put the entries that wait on disk, and that of the call under way."""
        async with self._fenced():
            pass

    async def entries(self, after: int, limit: int) -> tuple[Chained, ...]:
        """At most `limit` entries on disk after number `after`, oldest first."""
        query = sa.select(_audit).where(_audit.c.sequence > after).order_by(_audit.c.sequence).limit(limit)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        return tuple(Chained(int(row.sequence), row.digest, row.line) for row in rows)

    async def range(self) -> tuple[int, int]:
        """Numbers of the oldest and the newest entry on disk; zeros where there are none."""
        async with reading(self._engine) as connection:
            # One at a time: SQLite answers either from the index, both together by reading the whole table.
            first = await connection.scalar(sa.select(sa.func.min(_audit.c.sequence)))
            last = await connection.scalar(sa.select(sa.func.max(_audit.c.sequence)))
        return int(first or 0), int(last or 0)

    async def prune(self, through: int, checkpoint: Entry) -> None:
        """Forget the entries up to `through`, which an archive holds; `checkpoint` says so from now on."""
        async with self._fenced() as connection:
            await connection.execute(sa.delete(_audit).where(_audit.c.sequence <= through))
            self.note(checkpoint)


async def _append(connection: AsyncConnection, entries: Sequence[Entry]) -> Head:
    query = sa.select(_audit.c.sequence, _audit.c.digest).order_by(_audit.c.sequence.desc()).limit(1)
    newest = (await connection.execute(query)).one_or_none()
    head = Head() if newest is None else Head(int(newest.sequence), newest.digest)
    links = tuple(chained(entries, head))
    if not links:
        return head
    rows = [{"sequence": one.sequence, "digest": one.digest, "line": one.line} for one in links]
    await connection.execute(sa.insert(_audit), rows)
    return links[-1].head


def _entries_lost(count: int, now: float) -> Entry:
    details = {"count": str(count), "reason": "the database could not be written for too long"}
    return Entry(EntryKind.LOG, now, "controller", "entries_lost", "audit", "ok", details=details)


def _digest(text: str | None) -> str:
    return "" if text is None else digest_of(json.loads(text))


def _changed(before: str | None, after: str | None) -> dict[str, str]:
    """The names of the members that differ, where there is a before and an after."""
    if before is None or after is None:
        return {}
    old, new = json.loads(before), json.loads(after)
    names = sorted(name for name in {*old, *new} - {"revision"} if old.get(name) != new.get(name))
    return {"changed": ",".join(names)}
