"""The lease that fences older controllers: every write is made under an epoch that still stands.

Every write locks the lease row and checks the epoch in the transaction of the write itself: a controller that
has been succeeded cannot change anything, however late its write arrives. The transaction also takes the
entries of the audit log that wait.

In a database that several controllers share, the lease ends unless it is renewed. It ends by the database's
clock; its holder counts from before it asked, so it stops writing before anybody else may begin.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import ReturningUpdate

from keyweave.common.errors import (
    FencedError,
    InvalidInputError,
    PreconditionError,
    UnavailableError,
)
from keyweave.controller import event_log
from keyweave.controller.audit.chain import Entry, EntryKind
from keyweave.controller.audit.log import AuditLog
from keyweave.controller.epoch_starts import note_epoch
from keyweave.controller.outages import Outage, answering_outages, is_outage, reading
from keyweave.controller.store_schema import metadata

# Told to whoever listens in the database, with each write.
CHANGES_CHANNEL = "keyweave_changes"
LEASE_SECONDS = 1.5
# How long it is tried to find out whether a transaction was made whose end was not answered.
SETTLE_SECONDS = 5.0
_SETTLE_PAUSE_SECONDS = 0.1
_ONLY_ROW = 1

_lease = sa.Table(
    "lease",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.BigInteger),
    sa.Column("holder", sa.String(255)),
    sa.Column("taken_at", sa.Float),
    # An epoch that agents had from a run which this database knows nothing of; 0 if there is none.
    sa.Column("behind", sa.BigInteger),
    # Where agents and operators reach the holder; empty where it does not say.
    sa.Column("address", sa.String(255)),
    # Unix seconds by the database's clock; 0 where nobody holds it or it never ends.
    sa.Column("expires_at", sa.Float),
    # Counts every write: whoever has seen this number has seen all of them.
    sa.Column("changes", sa.BigInteger),
)
# The database's clock, not that of the transaction's beginning (PostgreSQL).
_database_now = sa.extract("epoch", sa.func.clock_timestamp())


@dataclass(frozen=True, slots=True)
class Leader:
    """Who has the lease, as the database told at one moment."""

    epoch: int
    holder: str
    address: str
    # Whether the lease had not ended.
    stands: bool
    changes: int


class Lease:
    """The right to write to a database, and the transactions that have it. One at a time."""

    def __init__(self, engine: AsyncEngine, seconds: float = LEASE_SECONDS) -> None:
        self._engine = engine
        self.seconds = seconds
        # Whether several controllers may use this database, one at a time.
        self.is_shared = engine.dialect.name == "postgresql"
        self._writing = asyncio.Lock()
        self._epoch: int | None = None
        # As of the last write of ours that is known to be made.
        self._changes = 0
        # By the monotonic clock; None where it does not end.
        self._valid_until: float | None = None
        self.audit = AuditLog(engine, self.fenced)

    async def close(self) -> None:
        """Close every connection, once the write under way is made."""
        async with self._writing:
            await self._engine.dispose()

    @property
    def epoch(self) -> int:
        """The epoch that is ours."""
        if self._epoch is None:
            raise PreconditionError("this store only reads: claim_epoch() comes before the first write")
        return self._epoch

    async def stored_epoch(self) -> int:
        """The highest epoch that anybody has claimed."""
        async with reading(self._engine) as connection:
            return int(await connection.scalar(sa.select(_lease.c.epoch)) or 0)

    async def leader(self) -> Leader:
        """Who leads a shared database now."""
        stands = (_lease.c.expires_at > _database_now).label("stands")
        columns = (_lease.c.epoch, _lease.c.holder, _lease.c.address, _lease.c.changes)
        async with reading(self._engine) as connection:
            row = (await connection.execute(sa.select(*columns, stands))).one()
        return Leader(row.epoch, row.holder, row.address, row.stands, row.changes)

    # ---- taking it ---------------------------------------------------------------------------------

    async def claim(self, holder: str) -> int:
        """Take over from whoever wrote before: the next epoch is ours, older ones are refused."""
        values = {"holder": holder[:255], "address": "", "expires_at": 0.0}
        taken = await self._take(sa.true(), values, holder)
        assert taken is not None
        self._valid_until = None
        return taken

    async def claim_if_free(self, holder: str, address: str) -> int | None:
        """The next epoch, unless somebody's lease still stands; then None."""
        asked = time.monotonic()
        values = {"holder": holder[:255], "address": address[:255], "expires_at": self._expiry}
        taken = await self._take(_lease.c.expires_at <= _database_now, values, holder)
        if taken is not None:
            self._valid_until = asked + self.seconds
        return taken

    async def _take(self, where: sa.ColumnElement[bool], values: dict[str, Any], holder: str) -> int | None:
        epochs = {"epoch": _lease.c.epoch + 1, "taken_at": time.time(), "changes": _lease.c.changes + 1}
        async with (
            self._writing,
            answering_outages(),
            self.audit.chaining() as chain,
            self._engine.begin() as connection,
        ):
            claim = sa.update(_lease).where(_lease.c.id == _ONLY_ROW, where).values(**epochs, **values)
            row = (await connection.execute(claim.returning(_lease.c.epoch, _lease.c.changes))).one_or_none()
            if row is None:
                return None
            last = await event_log.last_id(connection)
            await note_epoch(connection, row.epoch, last + 1)
            self.audit.note(_led("lead", holder, row.epoch))
            await chain(connection)
        self._epoch, self._changes = row.epoch, row.changes
        return self._epoch

    async def renew(self) -> None:
        """Hold a lease that ends for longer; FencedError if somebody has claimed a later epoch."""
        asked = time.monotonic()
        renewal = sa.update(_lease).where(_lease.c.epoch == self.epoch).values(expires_at=self._expiry)
        async with (
            answering_outages(),
            asyncio.timeout(self.seconds),
            self._engine.begin() as connection,
        ):
            if (await connection.execute(renewal)).rowcount != 1:
                raise await self._fenced_by(connection)
        self._valid_until = asked + self.seconds

    async def release(self) -> None:
        """Let somebody else lead at once; nothing may be written after this."""
        ended = sa.update(_lease).where(_lease.c.epoch == self.epoch).values(expires_at=0.0)
        async with self._writing, answering_outages(), self._engine.begin() as connection:
            await connection.execute(ended)
            await connection.execute(sa.select(_told(sa.literal(self._changes))))
            self._epoch = None

    async def listen(self, noted: Callable[[], None]) -> None:
        """Call `noted` with each write of whoever leads, until the connection breaks or we are cancelled."""
        ended = asyncio.Event()

        def note(*_: object) -> None:
            noted()

        async with answering_outages(), self._engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            driver: Any = (await connection.get_raw_connection()).driver_connection
            driver.add_termination_listener(lambda _: ended.set())
            try:
                await driver.add_listener(CHANGES_CHANNEL, note)
                await ended.wait()
            finally:
                # It is not one to be used again for anything else.
                await connection.invalidate()

    # ---- holding it --------------------------------------------------------------------------------

    async def raise_to(self, to: int) -> int:
        """Lead from epoch `to` on, above what agents have seen from a database that is lost."""
        async with self.fenced() as connection:
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
        async with self.fenced() as connection:
            await connection.execute(sa.update(_lease).values(behind=seen))

    async def behind(self) -> int:
        """The epoch that agents had from a run which this database knows nothing of; 0 if there is none."""
        async with reading(self._engine) as connection:
            return int(await connection.scalar(sa.select(_lease.c.behind)) or 0)

    @asynccontextmanager
    async def fenced(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction under our epoch, or FencedError if somebody has claimed a later one."""
        epoch = self.epoch
        async with (
            self._writing,
            answering_outages(),
            self.audit.chaining() as chain,
            self._engine.connect() as connection,
        ):
            self._check_not_ended()
            asked = time.monotonic()
            await connection.begin()
            # An update comes first: it takes the write lock, so no claim can slip in before the commit.
            held = (await connection.execute(self._hold(epoch))).one_or_none()
            if held is None:
                raise await self._fenced_by(connection)
            if held.changes != self._changes + 1:
                raise FencedError(
                    "a change that was answered as failed, when the database broke off, was made after all; "
                    "this controller ends, and whoever leads next reads everything anew"
                )
            yield connection
            await chain(connection)
            await self._commit(connection, epoch, held.changes)
            self._changes = held.changes
            if self._valid_until is not None:
                self._valid_until = max(self._valid_until, asked + self.seconds)

    def _hold(self, epoch: int) -> ReturningUpdate[Any]:
        """Locks the lease row while our epoch stands, counts the write, and is a renewal by the way."""
        changes = _lease.c.changes + 1
        held = sa.update(_lease).where(_lease.c.id == _ONLY_ROW, _lease.c.epoch == epoch)
        if not self.is_shared:
            return held.values(changes=changes).returning(_lease.c.changes)
        # A holder that stops in the middle would keep everybody out: the database ends its transaction.
        patience = sa.func.set_config(
            "idle_in_transaction_session_timeout", str(int(self.seconds * 1000)), True
        )
        expires_at = _lease.c.expires_at if self._valid_until is None else self._expiry
        values = {"changes": changes, "expires_at": expires_at}
        return held.values(**values).returning(_lease.c.changes, patience, _told(_lease.c.changes))

    async def _commit(self, connection: AsyncConnection, epoch: int, number: int) -> None:
        try:
            await connection.commit()
        except Outage as error:
            if not (self.is_shared and is_outage(error)):
                raise
            if not await self._was_made(epoch, number):
                raise

    async def _was_made(self, epoch: int, number: int) -> bool:
        """Whether the write with this number was made, although the database broke off at its end."""
        columns = sa.select(_lease.c.epoch, _lease.c.changes).with_for_update()
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while True:
                    try:
                        # Locking waits for the transaction, should the database still be at its end.
                        async with self._engine.begin() as connection:
                            row = (await connection.execute(columns)).one()
                    except Outage as error:
                        if not is_outage(error):
                            raise
                        await asyncio.sleep(_SETTLE_PAUSE_SECONDS)
                    else:
                        break
        except TimeoutError:
            # The count tells with the next write.
            return False
        if row.epoch != epoch:
            raise FencedError(f"epoch {epoch} has ended: another controller leads with epoch {row.epoch}")
        return bool(row.changes >= number)

    def _check_not_ended(self) -> None:
        if self._valid_until is not None and time.monotonic() >= self._valid_until:
            raise UnavailableError(
                "the controller could not renew its lease at the database and changes nothing until it can; "
                "try again, or ask another controller"
            )

    @property
    def _expiry(self) -> sa.ColumnElement[Any]:
        return _database_now + self.seconds

    async def _fenced_by(self, connection: AsyncConnection) -> FencedError:
        now = (await connection.execute(sa.select(_lease.c.epoch, _lease.c.holder))).one()
        return FencedError(
            f"epoch {self._epoch} has ended: '{now.holder}' leads with epoch {now.epoch}; stop this one"
        )


def _told(changes: sa.ColumnElement[int]) -> sa.ColumnElement[Any]:
    """Tells those who listen, once the transaction is made."""
    return sa.func.pg_notify(CHANGES_CHANNEL, sa.cast(changes, sa.Text))


def _led(action: str, holder: str, epoch: int) -> Entry:
    details = {"epoch": str(epoch)}
    return Entry(EntryKind.LOG, time.time(), holder[:255], action, "controller", "ok", details=details)
