"""What must survive: intent, the rollout, events, the audit log, and the lease that fences older controllers.

One controller writes at a time. It claims an epoch, and every write locks the lease row and checks that
this epoch still stands, in the transaction of the write itself: a controller that has been succeeded
cannot change anything, however late its write arrives. A write returns once it is on disk. Each transaction
also takes the entries of the audit log that wait, an operator's write its own.

SQLite runs with a write-ahead log and synchronous=FULL. There is no key material here, ever.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import sqlalchemy as sa
from google.protobuf import json_format
from pydantic import TypeAdapter
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyweave.common.errors import (
    AlreadyExistsError,
    ConflictError,
    FencedError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from keyweave.common.names import OrderId
from keyweave.controller import event_log, plan_shelf
from keyweave.controller.answers import KeptAnswer, keep_answer, kept_answer
from keyweave.controller.audit.chain import Entry, EntryKind
from keyweave.controller.audit.log import AuditLog, note_change
from keyweave.controller.epoch_starts import first_unseen, note_epoch
from keyweave.controller.events import Event
from keyweave.controller.exports.spool import Spool
from keyweave.controller.history.archive import Archive
from keyweave.controller.intent import Intent, Spec, SpecType, etag_of, kind_name
from keyweave.controller.orders import Order
from keyweave.controller.plan_records import PlanRecord
from keyweave.controller.plan_shelf import KeptPlan
from keyweave.controller.rollout import Rollout, RolloutChange, StreamRollout
from keyweave.controller.store_engine import check_sqlite_file, create_engine, migrate
from keyweave.controller.store_schema import metadata
from keyweave.controller.topology import Pin, Plan
from keyweave.v1 import types_pb2

EVENTS_KEPT = 100_000

_metadata = metadata
_KINDS: tuple[type[Spec], ...] = (
    types_pb2.Node,
    types_pb2.Link,
    types_pb2.Stream,
    types_pb2.Maintenance,
    types_pb2.Schedule,
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
_rollout_head = sa.Table(
    "rollout_head",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version", sa.BigInteger),
    sa.Column("snapshot_version", sa.BigInteger),
    sa.Column("epoch", sa.BigInteger),
)
_stream_rollouts = sa.Table(
    "stream_rollouts",
    _metadata,
    sa.Column("stream", sa.String(63), primary_key=True),
    sa.Column("content", sa.Text),
)
_orders = sa.Table(
    "orders", _metadata, sa.Column("id", sa.String(32), primary_key=True), sa.Column("content", sa.Text)
)
_lease = sa.Table(
    "lease",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.BigInteger),
    sa.Column("holder", sa.String(255)),
    sa.Column("taken_at", sa.Float),
    # An epoch that agents had from a run which this database knows nothing of; 0 if there is none.
    sa.Column("behind", sa.BigInteger),
)
_ONLY_ROW = 1
_rollout_json: TypeAdapter[StreamRollout] = TypeAdapter(StreamRollout)
_order_json: TypeAdapter[Order] = TypeAdapter(Order)


class Store:
    """The controller's memory. Open with `Store.open`, claim an epoch, then write."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writing = asyncio.Lock()
        self._epoch: int | None = None
        self.history = Archive(engine, self._fenced)
        self.audit = AuditLog(engine, self._fenced)
        self.spool = Spool(engine, self._fenced)

    @classmethod
    async def open(cls, url: str) -> "Store":
        """Open the database at a SQLAlchemy URL and bring its schema up to date."""
        engine = create_engine(url)
        try:
            if engine.dialect.name == "sqlite":
                check_sqlite_file(engine.url.database)
            async with engine.begin() as connection:
                await connection.run_sync(migrate)
        except (DBAPIError, OSError, sqlite3.Error) as error:
            await engine.dispose()
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise UnavailableError(f"database_url: {engine.url!r} cannot be opened: {cause}") from error
        return cls(engine)

    async def close(self) -> None:
        """Close every connection; what was acknowledged is on disk already."""
        async with self._writing:
            await self._engine.dispose()

    # ---- the lease ---------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch this store writes under."""
        if self._epoch is None:
            raise PreconditionError("this store only reads: claim_epoch() comes before the first write")
        return self._epoch

    async def stored_epoch(self) -> int:
        """The highest epoch that anybody has claimed."""
        async with self._engine.connect() as connection:
            return int(await connection.scalar(sa.select(_lease.c.epoch)) or 0)

    async def claim_epoch(self, holder: str) -> int:
        """Take over from whoever wrote before: the next epoch is ours, older ones are refused."""
        return await self._take_lease(holder, _lease.c.epoch + 1)

    async def raise_epoch(self, to: int) -> int:
        """Lead from epoch `to` on, above what agents have seen from a database that is lost."""
        async with self._fenced() as connection:
            behind = int(await connection.scalar(sa.select(_lease.c.behind)) or 0)
            if to < self.epoch:
                raise InvalidInputError.of("to", f"{to} is below the present epoch, {self.epoch}")
            if to <= behind:
                raise InvalidInputError.of("to", f"{to} is not above {behind}, which agents have seen")
            await connection.execute(sa.update(_lease).values(epoch=to, taken_at=time.time(), behind=0))
            self.audit.note(_led("raise_epoch", "somebody at the controller's machine", to))
        self._epoch = to
        return to

    async def fall_behind(self, seen: int) -> None:
        """Remember that agents know an epoch of another run: no run on this database leads any more."""
        async with self._fenced() as connection:
            await connection.execute(sa.update(_lease).values(behind=seen))

    async def behind(self) -> int:
        """The epoch that agents had from a run which this database knows nothing of; 0 if there is none."""
        async with self._engine.connect() as connection:
            return int(await connection.scalar(sa.select(_lease.c.behind)) or 0)

    async def _take_lease(self, holder: str, epoch: sa.ColumnElement[int]) -> int:
        async with self._writing, self.audit.chaining() as chain, self._engine.begin() as connection:
            await connection.execute(
                sa.update(_lease)
                .where(_lease.c.id == _ONLY_ROW)
                .values(epoch=epoch, holder=holder[:255], taken_at=time.time())
            )
            taken = int(await connection.scalar(sa.select(_lease.c.epoch)) or 0)
            last = await event_log.last_id(connection)
            await note_epoch(connection, taken, last + 1)
            self.audit.note(_led("lead", holder, taken))
            await chain(connection)
        self._epoch = taken
        return taken

    @asynccontextmanager
    async def _fenced(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction under our epoch, or FencedError if somebody has claimed a later one."""
        epoch = self.epoch
        async with (
            self._writing,
            _answering_failures(),
            self.audit.chaining() as chain,
            self._engine.begin() as connection,
        ):
            # An update comes first: it takes the write lock, so no claim can slip in before the commit.
            held = await connection.execute(
                sa.update(_lease).where(_lease.c.id == _ONLY_ROW, _lease.c.epoch == epoch).values(epoch=epoch)
            )
            if held.rowcount != 1:
                now = (await connection.execute(sa.select(_lease.c.epoch, _lease.c.holder))).one()
                raise FencedError(
                    f"epoch {epoch} has ended: '{now.holder}' leads with epoch {now.epoch}; stop this one"
                )
            yield connection
            await chain(connection)

    # ---- intent ------------------------------------------------------------------------------------

    async def load_intent(self) -> Intent:
        """Everything that operators want, each kind in the order of its names."""
        intent = Intent()
        async with self._engine.connect() as connection:
            for kind, table in _specs.items():
                rows = await connection.execute(sa.select(table.c.spec).order_by(table.c.name))
                for (text,) in rows:
                    spec = json_format.Parse(text, kind())
                    spec.etag = etag_of(spec)
                    intent = intent.put(spec)  # type: ignore[type-var]  # of one kind at a time, which mypy cannot follow
        return intent

    async def put(
        self, spec: SpecType, answer: Callable[[SpecType], KeptAnswer | None] = lambda _: None
    ) -> SpecType:
        """Store `spec` and return it with its new revision and etag, and keep what the caller is answered.

        Its own revision says what the caller changed: 0 means that it must not exist yet
        (AlreadyExistsError), any other must be the stored one (ConflictError).
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
            what = f"{kind_name(kind)} '{spec.name}'"
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
            await _keep(connection, answer(stored))
        return stored

    async def delete(self, kind: type[Spec], name: str, answer: KeptAnswer | None = None) -> None:
        """Remove what has this name, or NotFoundError, and keep what the caller is answered."""
        table = _specs[kind]
        async with self._fenced() as connection:
            _, before = await _present(connection, table, name)
            if before is None:
                raise NotFoundError(f"there is no {kind_name(kind)} '{name}'")
            await connection.execute(sa.delete(table).where(table.c.name == name))
            note_change(before, None)
            await _keep(connection, answer)

    async def answer_to(self, caller: str, request_id: str) -> KeptAnswer | None:
        """What this request was answered, if it was made within the last day."""
        async with self._engine.connect() as connection:
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
        async with self._engine.connect() as connection:
            contents = (await connection.scalars(sa.select(_orders.c.content).order_by(_orders.c.id))).all()
        return tuple(_order_json.validate_json(content) for content in contents)

    # ---- the rollout -------------------------------------------------------------------------------

    async def save_rollout(self, change: RolloutChange) -> None:
        """Keep what changed of the plan and of how far it is in use; all of it or nothing."""
        head = {
            "version": change.version,
            "snapshot_version": change.snapshot_version,
            "epoch": change.epoch,
        }
        rows = [
            {"stream": name, "content": _rollout_json.dump_json(rollout).decode()}
            for name, rollout in change.streams.items()
            if rollout is not None
        ]
        async with self._fenced() as connection:
            await connection.execute(sa.delete(_rollout_head))
            await connection.execute(sa.insert(_rollout_head).values(id=_ONLY_ROW, **head))
            if change.streams:
                former = sa.delete(_stream_rollouts).where(_stream_rollouts.c.stream == sa.bindparam("name"))
                await connection.execute(former, [{"name": name} for name in change.streams])
            if rows:
                await connection.execute(sa.insert(_stream_rollouts), rows)

    async def load_rollout(self) -> Rollout | None:
        """What was saved, put together; None if nothing was."""
        async with self._engine.connect() as connection:
            head = (await connection.execute(sa.select(_rollout_head))).one_or_none()
            query = sa.select(_stream_rollouts.c.content).order_by(_stream_rollouts.c.stream)
            contents = (await connection.scalars(query)).all()
        if head is None:
            return None
        streams = [_rollout_json.validate_json(content) for content in contents]
        by_name = {one.stream: one for one in streams}
        return Rollout(head.version, head.snapshot_version, head.epoch, by_name)

    # ---- plans that were in force ------------------------------------------------------------------

    async def keep_plan(self, record: PlanRecord, content: bytes) -> None:
        """Keep a plan that was in force for a while; `content` is it, packed."""
        async with self._fenced() as connection:
            await plan_shelf.keep_plan(connection, record, content)

    async def kept_plans(self) -> tuple[KeptPlan, ...]:
        """What there is of plans that were in force, oldest first."""
        async with self._engine.connect() as connection:
            return await plan_shelf.kept_plans(connection)

    async def kept_plan(self, version: int) -> tuple[Plan, float] | None:
        """One of them, and when it was kept."""
        async with self._engine.connect() as connection:
            return await plan_shelf.kept_plan(connection, version)

    async def plan_before(self, moment: float) -> Plan | None:
        """The newest that is kept from before this moment."""
        async with self._engine.connect() as connection:
            return await plan_shelf.plan_before(connection, moment)

    async def put_pin(self, pin: Pin, answer: KeptAnswer | None = None) -> None:
        """Keep which streams are pinned, and what the caller is answered."""
        async with self._fenced() as connection:
            await plan_shelf.put_pin(connection, pin)
            await _keep(connection, answer)

    async def pin(self) -> Pin:
        """Which streams are pinned."""
        async with self._engine.connect() as connection:
            return await plan_shelf.stored_pin(connection)

    # ---- events ------------------------------------------------------------------------------------

    async def append_events(self, events: Sequence[Event]) -> None:
        """Keep numbered events; beyond the newest EVENTS_KEPT they are forgotten."""
        if events:
            async with self._fenced() as connection:
                await event_log.append(connection, events, EVENTS_KEPT)

    async def recent_events(self, count: int, before: int | None = None) -> tuple[Event, ...]:
        """The newest `count` events (with an id below `before`), newest last."""
        async with self._engine.connect() as connection:
            return await event_log.recent(connection, count, before)

    async def first_unseen_event(self, epoch: int, event_id: int) -> int:
        """The first event that a watcher has not seen whose last one was `event_id` under `epoch`."""
        async with self._engine.connect() as connection:
            return await first_unseen(connection, epoch, event_id)

    async def events_from(self, event_id: int, count: int) -> tuple[Event, ...]:
        """Up to `count` events from this one on, oldest first."""
        async with self._engine.connect() as connection:
            return await event_log.since(connection, event_id, count)

    async def last_event_id(self) -> int:
        """The id of the newest event, 0 if there was none."""
        async with self._engine.connect() as connection:
            return await event_log.last_id(connection)


@asynccontextmanager
async def _answering_failures() -> AsyncIterator[None]:
    """A disk that is full or a database that is gone is not our caller's fault, and may pass."""
    try:
        yield
    except OperationalError as error:
        raise UnavailableError(f"the controller's database cannot be written now: {error.orig}") from error


async def _keep(connection: AsyncConnection, answer: KeptAnswer | None) -> None:
    if answer is not None:
        await keep_answer(connection, answer, time.time())


def _text(spec: Spec) -> str:
    return json_format.MessageToJson(spec, preserving_proto_field_name=True, indent=None)


async def _present(connection: AsyncConnection, table: sa.Table, name: str) -> tuple[int | None, str | None]:
    """Revision and content of what is stored under a name."""
    query = sa.select(table.c.revision, table.c.spec).where(table.c.name == name)
    found = (await connection.execute(query)).one_or_none()
    return (None, None) if found is None else (int(found.revision), found.spec)


def _led(action: str, holder: str, epoch: int) -> Entry:
    details = {"epoch": str(epoch)}
    return Entry(EntryKind.LOG, time.time(), holder[:255], action, "controller", "ok", details=details)
