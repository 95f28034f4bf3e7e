"""Where rows are kept: one table. Writes run under the epoch of the store that they are part of."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyweave.controller.history.rows import Merge, merged
from keyweave.controller.history.watch import Totals
from keyweave.controller.history.wire import pack, row_message, row_of, totals_of, unpack
from keyweave.controller.outages import reading
from keyweave.controller.store_schema import metadata
from keyweave.v1 import history_pb2

# Later than any row begins.
FAR_FUTURE = 2**62
# Rows that are in memory at once when many are read.
_PAGE_ROWS = 200

_rows = sa.Table(
    "history",
    metadata,
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("seconds", sa.Integer, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
_totals = sa.Table(
    "history_totals",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
_ONLY_ROW = 1
# Those who read slowly keep others from reading, but never the controller from writing.
READERS_AT_ONCE = 2
Fenced = Callable[[], AbstractAsyncContextManager[AsyncConnection]]


class Archive:
    """Rows of the history on disk."""

    def __init__(self, engine: AsyncEngine, fenced: Fenced) -> None:
        self._engine = engine
        self._fenced = fenced
        self._reading = asyncio.Semaphore(READERS_AT_ONCE)

    async def append(self, rows: Sequence[history_pb2.HistoryRow], totals: history_pb2.HistoryTotals) -> None:
        """Keep rows, and with them what agents had counted. A row that continues one is merged with it."""
        async with self._fenced() as connection:
            for row in rows:
                before = await _take(connection, [row.start_unix_seconds])
                whole = merged(row.start_unix_seconds, row.seconds, map(row_of, (*before, row)))
                await _put(connection, row_message(whole) if before else row)
            await connection.execute(sa.delete(_totals))
            await connection.execute(sa.insert(_totals).values(id=_ONLY_ROW, content=pack(totals)))

    async def merge(self, merge: Merge) -> None:
        """Have one row take the place of several; all of it or nothing."""
        async with self._fenced() as connection:
            rows = await _take(connection, merge.rows)
            if rows:
                await _put(connection, row_message(merged(merge.start, merge.seconds, map(row_of, rows))))

    async def forget(self, before: float) -> None:
        """Delete rows that begin before this time."""
        async with reading(self._engine) as connection:
            old = await connection.scalar(sa.select(sa.func.min(_rows.c.start)))
        if old is not None and old < before:
            async with self._fenced() as connection:
                await connection.execute(sa.delete(_rows).where(_rows.c.start < math.ceil(before)))

    async def starts(self, seconds: int, before: float) -> list[int]:
        """The starts of rows of this length that begin before a time."""
        query = sa.select(_rows.c.start).where(_rows.c.seconds == seconds, _rows.c.start < math.ceil(before))
        async with reading(self._engine) as connection:
            return list((await connection.scalars(query.order_by(_rows.c.start))).all())

    async def rows(self, first: float, end: float) -> AsyncGenerator[history_pb2.HistoryRow, None]:
        """Rows that begin in [first, end), oldest first, as they are when the first is asked for.

        Read page by page in one transaction: what is merged meanwhile is neither missed nor told twice.
        """
        last = FAR_FUTURE if end >= FAR_FUTURE else math.ceil(end)
        async with self._reading, reading(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            while True:
                query = sa.select(_rows).where(_rows.c.start >= math.ceil(first), _rows.c.start < last)
                page = (await connection.execute(query.order_by(_rows.c.start).limit(_PAGE_ROWS))).all()
                for row in page:
                    yield unpack(history_pb2.HistoryRow, row.content)
                if len(page) < _PAGE_ROWS:
                    return
                first = page[-1].start + 1

    async def totals(self) -> Totals:
        """What agents had counted when a row was last written."""
        async with reading(self._engine) as connection:
            content = await connection.scalar(sa.select(_totals.c.content))
        return totals_of(unpack(history_pb2.HistoryTotals, content)) if content else Totals()


async def _take(connection: AsyncConnection, starts: Sequence[int]) -> list[history_pb2.HistoryRow]:
    """Take rows out of the table."""
    chosen = _rows.c.start.in_(starts)
    query = sa.select(_rows.c.content).where(chosen).order_by(_rows.c.start)
    contents = (await connection.scalars(query)).all()
    if contents:
        await connection.execute(sa.delete(_rows).where(chosen))
    return [unpack(history_pb2.HistoryRow, content) for content in contents]


async def _put(connection: AsyncConnection, row: history_pb2.HistoryRow) -> None:
    await connection.execute(
        sa.insert(_rows).values(start=row.start_unix_seconds, seconds=row.seconds, content=pack(row))
    )
