"""The table of events. What runs here is part of a transaction of the store."""

from collections.abc import Sequence

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from keyweave.controller.events import Event
from keyweave.controller.store_schema import metadata

_events = sa.Table(
    "events", metadata, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("content", sa.Text)
)
_json: TypeAdapter[Event] = TypeAdapter(Event)


async def append(connection: AsyncConnection, events: Sequence[Event], keep: int) -> None:
    """Keep numbered events; beyond the newest `keep` they are forgotten."""
    rows = [{"id": event.id, "content": _json.dump_json(event).decode()} for event in events]
    await connection.execute(sa.insert(_events), rows)
    oldest_kept = max(event.id for event in events) - keep + 1
    await connection.execute(sa.delete(_events).where(_events.c.id < oldest_kept))


async def last_id(connection: AsyncConnection) -> int:
    """The number of the newest event, 0 if there was none."""
    return int(await connection.scalar(sa.select(sa.func.max(_events.c.id))) or 0)


async def recent(connection: AsyncConnection, count: int, before: int | None) -> tuple[Event, ...]:
    """The newest `count` events (with a number below `before`), newest last."""
    query = sa.select(_events.c.content).order_by(_events.c.id.desc()).limit(count)
    if before is not None:
        query = query.where(_events.c.id < before)
    contents = (await connection.scalars(query)).all()
    return tuple(_json.validate_json(content) for content in reversed(contents))


async def since(connection: AsyncConnection, event_id: int, count: int) -> tuple[Event, ...]:
    """At most `count` events from this number on, oldest first."""
    query = sa.select(_events.c.content).where(_events.c.id >= event_id).order_by(_events.c.id).limit(count)
    return tuple(_json.validate_json(content) for content in (await connection.scalars(query)).all())
