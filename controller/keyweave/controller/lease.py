"""The lease that fences older controllers: every write is made under an epoch that still stands.

Every write locks the lease row and checks the epoch in the transaction of the write itself: a controller that
has been succeeded cannot change anything, however late its write arrives. The transaction also takes the
entries of the audit log that wait.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

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
from keyweave.controller.store_schema import metadata

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
)


class Lease:
    """The right to write to a database, and the transactions that have it. One at a time."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writing = asyncio.Lock()
        self._epoch: int | None = None
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
        async with self._engine.connect() as connection:
            return int(await connection.scalar(sa.select(_lease.c.epoch)) or 0)

    async def claim(self, holder: str) -> int:
        """Take over from whoever wrote before: the next epoch is ours, older ones are refused."""
        async with self._writing, self.audit.chaining() as chain, self._engine.begin() as connection:
            await connection.execute(
                sa.update(_lease)
                .where(_lease.c.id == _ONLY_ROW)
                .values(epoch=_lease.c.epoch + 1, holder=holder[:255], taken_at=time.time())
            )
            taken = int(await connection.scalar(sa.select(_lease.c.epoch)) or 0)
            last = await event_log.last_id(connection)
            await note_epoch(connection, taken, last + 1)
            self.audit.note(_led("lead", holder, taken))
            await chain(connection)
        self._epoch = taken
        return taken

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
        async with self._engine.connect() as connection:
            return int(await connection.scalar(sa.select(_lease.c.behind)) or 0)

    @asynccontextmanager
    async def fenced(self) -> AsyncIterator[AsyncConnection]:
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


@asynccontextmanager
async def _answering_failures() -> AsyncIterator[None]:
    """A disk that is full or a database that is gone is not our caller's fault, and may pass."""
    try:
        yield
    except OperationalError as error:
        raise UnavailableError(f"the controller's database cannot be written now: {error.orig}") from error


def _led(action: str, holder: str, epoch: int) -> Entry:
    details = {"epoch": str(epoch)}
    return Entry(EntryKind.LOG, time.time(), holder[:255], action, "controller", "ok", details=details)
