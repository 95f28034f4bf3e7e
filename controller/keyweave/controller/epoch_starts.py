"""At which event each epoch began.

Watchers are shown events before these are stored. Of a run that was killed they may have seen some that the
database never got, and whose numbers the next run gives to others: a number alone is no place to go on at.
"""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keyweave.controller.store_schema import metadata

_starts = sa.Table(
    "epoch_starts",
    metadata,
    sa.Column("epoch", sa.BigInteger, primary_key=True),
    sa.Column("first_event_id", sa.BigInteger, nullable=False),
)


async def note_epoch(connection: AsyncConnection, epoch: int, first_event_id: int) -> None:
    """`epoch` begins with this event."""
    await connection.execute(sa.delete(_starts).where(_starts.c.epoch >= epoch))
    await connection.execute(sa.insert(_starts).values(epoch=epoch, first_event_id=first_event_id))


async def first_unseen(connection: AsyncConnection, epoch: int, event_id: int) -> int:
    """The first event that somebody has not seen whose last one was `event_id` under `epoch`."""
    begun = await connection.scalar(
        sa.select(sa.func.min(_starts.c.first_event_id)).where(_starts.c.epoch > epoch)
    )
    return event_id + 1 if begun is None else min(event_id + 1, int(begun))
