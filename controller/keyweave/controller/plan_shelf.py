"""Plans that were in force, and what is pinned to one of them, in the store."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from keyweave.common import log
from keyweave.common.errors import UnavailableError
from keyweave.common.names import StreamName
from keyweave.controller.plan_records import PlanRecord
from keyweave.controller.store_schema import metadata
from keyweave.controller.topology import NO_PIN, Pin, Plan

PLANS_KEPT = 50
_MOVED_SHOWN = 8
_ONLY_ROW = 1

_plans = sa.Table(
    "plans",
    metadata,
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("kept_at", sa.Float, nullable=False),
    sa.Column("streams", sa.Integer, nullable=False),
    sa.Column("moved_count", sa.Integer, nullable=False),
    # The first names, comma-separated.
    sa.Column("moved", sa.Text, nullable=False),
    # Compressed: plans of large networks are megabytes of much the same.
    sa.Column("content", sa.LargeBinary, nullable=False),
)
_pins = sa.Table(
    "pins",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
_plan_json: TypeAdapter[Plan] = TypeAdapter(Plan)
_pin_json: TypeAdapter[Pin] = TypeAdapter(Pin)


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """What is told of a plan that is kept."""

    version: int
    kept_at: float
    streams: int
    moved_count: int
    moved: tuple[StreamName, ...]


def packed(plan: Plan) -> bytes:
    """A plan as it is kept. Takes long for large networks: not for the event loop."""
    return zlib.compress(_plan_json.dump_json(plan))


async def keep_plan(connection: AsyncConnection, record: PlanRecord, content: bytes) -> None:
    """Keep a plan; beyond the newest PLANS_KEPT they are forgotten."""
    await connection.execute(sa.delete(_plans).where(_plans.c.version == record.plan.version))
    await connection.execute(
        sa.insert(_plans).values(
            version=record.plan.version,
            kept_at=record.kept_at,
            streams=len(record.plan.streams),
            moved_count=len(record.moved),
            moved=",".join(record.moved[:_MOVED_SHOWN]),
            content=content,
        )
    )
    newest = sa.select(_plans.c.version).order_by(_plans.c.version.desc())
    oldest_kept = await connection.scalar(newest.offset(PLANS_KEPT - 1).limit(1))
    if oldest_kept is not None:
        await connection.execute(sa.delete(_plans).where(_plans.c.version < oldest_kept))


async def kept_plans(connection: AsyncConnection) -> tuple[KeptPlan, ...]:
    """All that are kept, oldest first."""
    columns = (_plans.c.version, _plans.c.kept_at, _plans.c.streams, _plans.c.moved_count, _plans.c.moved)
    rows = await connection.execute(sa.select(*columns).order_by(_plans.c.version))
    return tuple(
        KeptPlan(
            row.version,
            row.kept_at,
            row.streams,
            row.moved_count,
            tuple(map(StreamName, row.moved.split(","))) if row.moved else (),
        )
        for row in rows
    )


async def kept_plan(connection: AsyncConnection, version: int) -> tuple[Plan, float] | None:
    """One of them, and since when it is kept."""
    query = sa.select(_plans.c.content, _plans.c.kept_at).where(_plans.c.version == version)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (_plan_json.validate_json(zlib.decompress(row.content)), row.kept_at)


async def plan_before(connection: AsyncConnection, moment: float) -> Plan | None:
    """The newest that is kept from before this moment."""
    query = sa.select(_plans.c.content).where(_plans.c.kept_at < moment)
    content = await connection.scalar(query.order_by(_plans.c.version.desc()).limit(1))
    return None if content is None else _plan_json.validate_json(zlib.decompress(content))


async def put_pin(connection: AsyncConnection, pin: Pin) -> None:
    """Keep what is pinned."""
    await connection.execute(sa.delete(_pins))
    if pin != NO_PIN:
        content = zlib.compress(_pin_json.dump_json(pin))
        await connection.execute(sa.insert(_pins).values(id=_ONLY_ROW, content=content))


async def stored_pin(connection: AsyncConnection) -> Pin:
    """What is pinned."""
    content = await connection.scalar(sa.select(_pins.c.content))
    return NO_PIN if content is None else _pin_json.validate_json(zlib.decompress(content))


class PlanShelf:
    """Takes plans that are to be kept off the core's hands. Of those that wait, the newest counts."""

    def __init__(self, keep: Callable[[PlanRecord, bytes], Awaitable[None]]) -> None:
        self._keep = keep
        self._waiting: PlanRecord | None = None
        self._offered = asyncio.Event()

    def offer(self, record: PlanRecord) -> None:
        """Have a plan kept soon."""
        self._waiting = record
        self._offered.set()

    async def run(self) -> None:
        """Keep what is offered, until cancelled."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            record, self._waiting = self._waiting, None
            if record is None:
                continue
            content = await asyncio.to_thread(packed, record.plan)
            try:
                await self._keep(record, content)
            except UnavailableError as error:
                # The plan itself is in the rollout: only its place in the history is lost.
                log.get().error("plan_not_kept", version=record.plan.version, reason=str(error))
