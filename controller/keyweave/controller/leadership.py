"""Becoming the leader of controllers that share a database, and staying it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from keyweave.common import log
from keyweave.common.errors import NotLeaderError, UnavailableError
from keyweave.controller.events import Event, Severity
from keyweave.controller.lease import Leader
from keyweave.controller.store import Store

# Of the lease's length: how often the holder renews it, and a candidate looks at it.
RENEWALS, LOOKS = 4, 10
# What is stored is read again this often at most, and once more on taking over.
REFRESH_SECONDS = 2.0
# Candidates that are told of writes do not look more often than this.
_LEAST_PAUSE_SECONDS = 0.05


class Candidate:
    """A controller that stands by: looks at the lease until that is its own, with what is stored at hand."""

    def __init__(self, store: Store, holder: str, address: str) -> None:
        self._store = store
        self._holder = holder
        self._address = address
        self._leader: Leader | None = None
        self._problem = ""
        self._read_up_to = -1
        self._refresh_due = 0.0
        self._noted = asyncio.Event()

    def refusal(self) -> NotLeaderError:
        """What whoever asks the leader's business here is answered."""
        if self._problem:
            return NotLeaderError(f"this controller stands by and knows of no leader: {self._problem}")
        if self._leader is None or not self._leader.stands:
            return NotLeaderError("this controller stands by; nobody leads at the moment, try again soon")
        where = f" at {self._leader.address}" if self._leader.address else ""
        return NotLeaderError(
            f"this controller stands by: {self._leader.holder} leads{where}, epoch {self._leader.epoch}",
            self._leader.address,
        )

    @property
    def reaches_database(self) -> bool:
        """Whether the database answered when it was last asked."""
        return not self._problem

    async def until_leading(self) -> None:
        """Returns once the lease is ours."""
        listening = asyncio.create_task(self._listen(), name="database-listen")
        try:
            while not await self._look():
                await asyncio.sleep(_LEAST_PAUSE_SECONDS)
                self._noted.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._store.lease.seconds / LOOKS):
                        await self._noted.wait()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _look(self) -> bool:
        try:
            self._leader = await self._store.lease.leader()
            if not self._leader.stands:
                epoch = await self._store.lease.claim_if_free(self._holder, self._address)
                if epoch is not None:
                    return True
            await self._read(self._leader.changes)
        except UnavailableError as error:
            if not self._problem:
                log.get().warning("database_lost", reason=str(error))
            self._leader, self._problem = None, str(error)
        else:
            if self._problem:
                log.get().info("database_found")
            self._problem = ""
        return False

    async def _read(self, changes: int) -> None:
        """Have at hand what is stored: what has changed since is all that a takeover has to read."""
        now = time.monotonic()
        if changes == self._read_up_to or now < self._refresh_due:
            return
        await self._store.load_intent()
        await self._store.load_rollout()
        self._read_up_to, self._refresh_due = changes, now + REFRESH_SECONDS

    async def _listen(self) -> None:
        """Be told of writes, so that a leader's end is seen at once; without, it is seen at the next look."""
        while True:
            with suppress(UnavailableError):
                await self._store.lease.listen(self._noted.set)
            await asyncio.sleep(self._store.lease.seconds)


class Keeper:
    """Keeps the leader's lease; `changed` is called as the database goes or comes back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Why the database cannot be used; empty while it can.
        self.problem = ""
        self.changed: Callable[[], Awaitable[None]] | None = None

    async def run(self) -> None:
        """Until cancelled; FencedError once somebody else leads."""
        lease = self._store.lease
        while True:
            await asyncio.sleep(lease.seconds / RENEWALS)
            before = self.problem
            try:
                await lease.renew()
                self.problem = ""
            except UnavailableError as error:
                self.problem = str(error)
            if bool(before) != bool(self.problem):
                log.get().warning("database_changed", problem=self.problem)
                if self.changed is not None:
                    await self.changed()

    def event(self, now: float) -> Event:
        """What those who watch are told of it."""
        if not self.problem:
            return Event("database_outage", Severity.INFO, "the controllers' database answers again", now)
        message = f"{self.problem}; nothing is changed until it can be, streams go on by the policy in force"
        return Event("database_outage", Severity.MAJOR, message, now, fields={"reason": self.problem})
