"""What must survive: intent, the rollout, events, the audit log, and the lease that fences older controllers.

One controller writes at a time. It claims an epoch, and every write locks the lease row and checks that
this epoch still stands, in the transaction of the write itself: a controller that has been succeeded
cannot change anything, however late its write arrives. A write returns once it is on disk. Each transaction
also takes the entries of the audit log that wait, an operator's write its own.

SQLite runs with a write-ahead log and synchronous=FULL. There is no key material here, ever.
"""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import sqlalchemy as sa
from google.protobuf import json_format
from pydantic import TypeAdapter
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyweave.common.errors import (
    AlreadyExistsError,
    ConflictError,
    KeyweaveError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from keyweave.common.names import OrderId, StreamName
from keyweave.controller import event_log, pair_records, plan_shelf, rollout_log
from keyweave.controller.answers import KeptAnswer, keep_answer, kept_answer
from keyweave.controller.audit.log import note_change
from keyweave.controller.epoch_starts import first_unseen
from keyweave.controller.events import Event
from keyweave.controller.exports.spool import Spool
from keyweave.controller.history.archive import Archive
from keyweave.controller.intent import Intent, Spec, SpecType, etag_of, kind_name, kind_words
from keyweave.controller.lease import LEASE_SECONDS, Lease
from keyweave.controller.orders import Order
from keyweave.controller.outages import reading
from keyweave.controller.pairs.streams import PairRecord
from keyweave.controller.plan_records import PlanRecord
from keyweave.controller.plan_shelf import KeptPlan
from keyweave.controller.rollout import Rollout, RolloutChange
from keyweave.controller.row_cache import RowCache
from keyweave.controller.store_engine import check_sqlite_file, create_engine, migrate, migrate_back
from keyweave.controller.store_schema import metadata
from keyweave.controller.topology import Pin, Plan
from keyweave.v1 import pairs_pb2, types_pb2

EVENTS_KEPT = 100_000

_metadata = metadata
_KINDS: tuple[type[Spec], ...] = (
    types_pb2.Node,
    types_pb2.Link,
    types_pb2.Stream,
    types_pb2.Maintenance,
    types_pb2.Schedule,
    pairs_pb2.PairStream,
)
_specs = {
    kind: sa.Table(
        f"{kind_name(kind)}s",
        _metadata,
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    for kind in _KINDS
}
_orders = sa.Table(
    "orders", _metadata, sa.Column("id", sa.String(32), primary_key=True), sa.Column("content", sa.Text)
)
_order_json: TypeAdapter[Order] = TypeAdapter(Order)


class Store:
    """The controller's memory. Open with `Store.open`, claim an epoch, then write."""

    def __init__(self, engine: AsyncEngine, lease_seconds: float = LEASE_SECONDS) -> None:
        self._engine = engine
        self.lease = Lease(engine, lease_seconds)
        self._fenced = self.lease.fenced
        self.audit = self.lease.audit
        self._spec_rows = {
            kind: RowCache(table.c.name, table.c.spec, partial(_spec, kind)) for kind, table in _specs.items()
        }
        self._rollout_rows = rollout_log.stream_rows()
        self.history = Archive(engine, self._fenced)
        self.spool = Spool(engine, self._fenced)

    @classmethod
    async def open(cls, url: str, lease_seconds: float = LEASE_SECONDS) -> "Store":
        """Open the database at a SQLAlchemy URL and bring its schema up to date."""
        engine = create_engine(url)
        try:
            if engine.dialect.name == "sqlite":
                check_sqlite_file(engine.url.database)
            async with engine.begin() as connection:
                await connection.run_sync(migrate)
        except KeyweaveError:
            await engine.dispose()
            raise
        except (DBAPIError, OSError, sqlite3.Error) as error:
            await engine.dispose()
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise UnavailableError(f"database_url: {engine.url!r} cannot be opened: {cause}") from error
        return cls(engine, lease_seconds)

    async def migrate_back(self, to: str) -> None:
        """Take the schema back for an older version; PreconditionError while somebody leads."""
        if self.lease.is_shared and (leader := await self.lease.leader()).stands:
            raise PreconditionError(f"'{leader.holder}' leads on this database; stop all controllers first")
        async with self._engine.begin() as connection:
            await connection.run_sync(migrate_back, to)

    async def close(self) -> None:
        """Close every connection; what was acknowledged is on disk already."""
        await self.lease.close()

    # ---- the lease ---------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch this store writes under."""
        return self.lease.epoch

    async def stored_epoch(self) -> int:
        """The highest epoch that anybody has claimed."""
        return await self.lease.stored_epoch()

    async def claim_epoch(self, holder: str) -> int:
        """Take over from whoever wrote before: the next epoch is ours, older ones are refused."""
        return await self.lease.claim(holder)

    async def raise_epoch(self, to: int) -> int:
        """Lead from epoch `to` on, above what agents have seen from a database that is lost."""
        return await self.lease.raise_to(to)

    async def fall_behind(self, seen: int) -> None:
        """Remember that agents know an epoch of another run: no run on this database leads any more."""
        await self.lease.fall_behind(seen)

    async def behind(self) -> int:
        """The epoch that agents had from a run which this database knows nothing of; 0 if there is none."""
        return await self.lease.behind()

    # ---- intent ------------------------------------------------------------------------------------

    async def load_intent(self) -> Intent:
        """Everything that operators want, each kind in the order of its names."""
        async with reading(self._engine) as connection:
            loaded = {
                f"{kind_name(kind)}s": await cache.load(connection) for kind, cache in self._spec_rows.items()
            }
        return Intent(**loaded)  # type: ignore[arg-type]  # of one kind each, which mypy cannot follow

    async def put(
        self,
        spec: SpecType,
        answer: Callable[[SpecType], KeptAnswer | None] = lambda _: None,
        with_link: types_pb2.Link | None = None,
    ) -> SpecType:
        """Store `spec` and return it with its new revision and etag, and keep what the caller is answered.

        Its own revision says what the caller changed: 0 means that it must not exist yet
        (AlreadyExistsError), any other must be the stored one (ConflictError). `with_link`, which must be new
        and at its first revision, comes with it.
        """
        kind = type(spec)
        table = _specs[kind]
        stored = kind()
        stored.CopyFrom(spec)
        stored.revision = spec.revision + 1
        stored.etag = ""
        text = _text(stored)
        row = {"spec": text, "revision": stored.revision}
        stored.etag = etag_of(stored)
        async with self._fenced() as connection:
            present, before = await _present(connection, table, spec.name)
            what = f"{kind_words(kind)} '{spec.name}'"
            if spec.revision == 0:
                if present is not None:
                    raise AlreadyExistsError(f"{what} exists already; update it, or choose another name")
                await connection.execute(sa.insert(table).values(name=spec.name, **row))
            elif present is None:
                raise NotFoundError(f"there is no {what}; it may have been deleted since it was read")
            elif present != spec.revision:
                raise ConflictError(
                    f"{what} is at revision {present}, not {spec.revision}; read it again, then change it"
                )
            else:
                await connection.execute(sa.update(table).where(table.c.name == spec.name).values(**row))
            note_change(before, text)
            if with_link is not None:
                link = {"name": with_link.name, "spec": _text(with_link), "revision": with_link.revision}
                await connection.execute(sa.insert(_specs[types_pb2.Link]).values(**link))
            await _keep(connection, answer(stored))
        return stored

    async def delete(
        self, kind: type[Spec], name: str, answer: KeptAnswer | None = None, *, with_link: str = ""
    ) -> None:
        """Remove what has this name, or NotFoundError, and keep what the caller is answered.

        A link `with_link` goes with it.
        """
        table = _specs[kind]
        async with self._fenced() as connection:
            _, before = await _present(connection, table, name)
            if before is None:
                raise NotFoundError(f"there is no {kind_words(kind)} '{name}'")
            await connection.execute(sa.delete(table).where(table.c.name == name))
            note_change(before, None)
            if with_link:
                links = _specs[types_pb2.Link]
                await connection.execute(sa.delete(links).where(links.c.name == with_link))
            await _keep(connection, answer)

    async def answer_to(self, caller: str, request_id: str) -> KeptAnswer | None:
        """What this request was answered, if it was made within the last day."""
        async with reading(self._engine) as connection:
            return await kept_answer(connection, caller, request_id, time.time())

    # ---- orders ------------------------------------------------------------------------------------

    async def put_order(self, order: Order, answer: KeptAnswer | None = None) -> None:
        """Keep an order until it is deleted, and what the caller is answered."""
        content = _order_json.dump_json(order).decode()
        async with self._fenced() as connection:
            await connection.execute(sa.insert(_orders).values(id=order.order_id, content=content))
            note_change(None, content)
            await _keep(connection, answer)

    async def delete_order(self, order_id: OrderId) -> None:
        """Forget an order that is over; nothing where it is forgotten already."""
        async with self._fenced() as connection:
            await connection.execute(sa.delete(_orders).where(_orders.c.id == order_id))

    async def load_orders(self) -> tuple[Order, ...]:
        """All orders that are not over."""
        async with reading(self._engine) as connection:
            contents = (await connection.scalars(sa.select(_orders.c.content).order_by(_orders.c.id))).all()
        return tuple(_order_json.validate_json(content) for content in contents)

    # ---- the rollout -------------------------------------------------------------------------------

    async def save_rollout(self, change: RolloutChange) -> None:
        """Keep what changed of the plan and of how far it is in use; all of it or nothing."""
        async with self._fenced() as connection:
            await rollout_log.save(connection, change)

    async def load_rollout(self) -> Rollout | None:
        """What was saved, put together; None if nothing was."""
        async with reading(self._engine) as connection:
            return await rollout_log.load(connection, self._rollout_rows)

    async def put_pair_records(self, records: Mapping[StreamName, PairRecord | None]) -> None:
        """Keep how these pair streams are served; None where one is gone."""
        async with self._fenced() as connection:
            await pair_records.save(connection, records)

    async def pair_records(self) -> dict[StreamName, PairRecord]:
        """How all pair streams were served."""
        async with reading(self._engine) as connection:
            return await pair_records.load(connection)

    # ---- plans that were in force ------------------------------------------------------------------

    async def keep_plan(self, record: PlanRecord, content: bytes) -> None:
        """Keep a plan that was in force for a while; `content` is it, packed."""
        async with self._fenced() as connection:
            await plan_shelf.keep_plan(connection, record, content)

    async def kept_plans(self) -> tuple[KeptPlan, ...]:
        """What there is of plans that were in force, oldest first."""
        async with reading(self._engine) as connection:
            return await plan_shelf.kept_plans(connection)

    async def kept_plan(self, version: int) -> tuple[Plan, float] | None:
        """One of them, and when it was kept."""
        async with reading(self._engine) as connection:
            return await plan_shelf.kept_plan(connection, version)

    async def plan_before(self, moment: float) -> Plan | None:
        """The newest that is kept from before this moment."""
        async with reading(self._engine) as connection:
            return await plan_shelf.plan_before(connection, moment)

    async def put_pin(self, pin: Pin, answer: KeptAnswer | None = None) -> None:
        """Keep which streams are pinned, and what the caller is answered."""
        async with self._fenced() as connection:
            await plan_shelf.put_pin(connection, pin)
            await _keep(connection, answer)

    async def pin(self) -> Pin:
        """Which streams are pinned."""
        async with reading(self._engine) as connection:
            return await plan_shelf.stored_pin(connection)

    # ---- events ------------------------------------------------------------------------------------

    async def append_events(self, events: Sequence[Event]) -> None:
        """Keep numbered events; beyond the newest EVENTS_KEPT they are forgotten."""
        if events:
            async with self._fenced() as connection:
                await event_log.append(connection, events, EVENTS_KEPT)

    async def recent_events(self, count: int, before: int | None = None) -> tuple[Event, ...]:
        """The newest `count` events (with an id below `before`), newest last."""
        async with reading(self._engine) as connection:
            return await event_log.recent(connection, count, before)

    async def first_unseen_event(self, epoch: int, event_id: int) -> int:
        """The first event that a watcher has not seen whose last one was `event_id` under `epoch`."""
        async with reading(self._engine) as connection:
            return await first_unseen(connection, epoch, event_id)

    async def events_from(self, event_id: int, count: int) -> tuple[Event, ...]:
        """Up to `count` events from this one on, oldest first."""
        async with reading(self._engine) as connection:
            return await event_log.since(connection, event_id, count)

    async def last_event_id(self) -> int:
        """The id of the newest event, 0 if there was none."""
        async with reading(self._engine) as connection:
            return await event_log.last_id(connection)


async def _keep(connection: AsyncConnection, answer: KeptAnswer | None) -> None:
    if answer is not None:
        await keep_answer(connection, answer, time.time())


def _spec(kind: type[Spec], text: str) -> Spec:
    spec = json_format.Parse(text, kind())
    spec.etag = etag_of(spec)
    return spec


def _text(spec: Spec) -> str:
    return json_format.MessageToJson(spec, preserving_proto_field_name=True, indent=None)


async def _present(connection: AsyncConnection, table: sa.Table, name: str) -> tuple[int | None, str | None]:
    """Revision and content of what is stored under a name."""
    query = sa.select(table.c.revision, table.c.spec).where(table.c.name == name)
    found = (await connection.execute(query)).one_or_none()
    return (None, None) if found is None else (int(found.revision), found.spec)
