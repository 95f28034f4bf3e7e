"""The plan in force, and how far it is in use, in the store."""

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from keyweave.controller.rollout import Rollout, RolloutChange, StreamRollout
from keyweave.controller.row_cache import RowCache
from keyweave.controller.store_schema import metadata

_ONLY_ROW = 1

_rollout_head = sa.Table(
    "rollout_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version", sa.BigInteger),
    sa.Column("snapshot_version", sa.BigInteger),
    sa.Column("epoch", sa.BigInteger),
)
_stream_rollouts = sa.Table(
    "stream_rollouts",
    metadata,
    sa.Column("stream", sa.String(63), primary_key=True),
    sa.Column("content", sa.Text),
)
_rollout_json: TypeAdapter[StreamRollout] = TypeAdapter(StreamRollout)


async def save(connection: AsyncConnection, change: RolloutChange) -> None:
    """Keep what changed of the plan and of how far it is in use."""
    head = {"version": change.version, "snapshot_version": change.snapshot_version, "epoch": change.epoch}
    rows = [
        {"stream": name, "content": _rollout_json.dump_json(rollout).decode()}
        for name, rollout in change.streams.items()
        if rollout is not None
    ]
    await connection.execute(sa.delete(_rollout_head))
    await connection.execute(sa.insert(_rollout_head).values(id=_ONLY_ROW, **head))
    if change.streams:
        former = sa.delete(_stream_rollouts).where(_stream_rollouts.c.stream == sa.bindparam("name"))
        await connection.execute(former, [{"name": name} for name in change.streams])
    if rows:
        await connection.execute(sa.insert(_stream_rollouts), rows)


def stream_rows() -> RowCache[StreamRollout]:
    """What `load` keeps at hand from one time to the next."""
    return RowCache(_stream_rollouts.c.stream, _stream_rollouts.c.content, _rollout_json.validate_json)


async def load(connection: AsyncConnection, rows: RowCache[StreamRollout]) -> Rollout | None:
    """What was saved, put together; None if nothing was."""
    head = (await connection.execute(sa.select(_rollout_head))).one_or_none()
    loaded = await rows.load(connection)
    if head is None:
        return None
    by_name = {one.stream: one for one in loaded.values()}
    return Rollout(head.version, head.snapshot_version, head.epoch, by_name)
