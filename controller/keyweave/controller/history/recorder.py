"""Keeps the history: looks at the core every second, writes a row a minute, merges rows as they age."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from keyweave.common import log
from keyweave.common.errors import UnavailableError
from keyweave.controller.events import Event
from keyweave.controller.history.archive import Archive
from keyweave.controller.history.rows import TIERS, Row, due_merges
from keyweave.controller.history.seeing import (
    Newcomers,
    failover_seconds,
    happening,
    network_seen,
    one_link_seen,
)
from keyweave.controller.history.watch import Watch
from keyweave.controller.history.wire import row_message, totals_message
from keyweave.controller.reconcile.core import Core
from keyweave.v1 import history_pb2

LOOK_SECONDS = 1.0
# Looking takes this share of the time at most: in a large network it is done less often.
_MOST_SHARE = 0.02
# Rows that wait for a store that is out of order; the oldest are then lost, and show as a gap.
UNWRITTEN_ROWS = 1440


class Recorder:
    """The history of one controller's time."""

    def __init__(self, core: Core, archive: Archive, now: Callable[[], float]) -> None:
        self._core = core
        self._archive = archive
        self._now = now
        self._watch = Watch()
        self._newcomers = Newcomers()
        self._unwritten: deque[Row] = deque(maxlen=UNWRITTEN_ROWS)
        # Held while rows go from here to the store.
        self.writing = asyncio.Lock()

    @property
    def unwritten(self) -> int:
        """Rows that the store has not taken yet."""
        return len(self._unwritten)

    async def take_up(self) -> None:
        """Go on from what agents had counted when a row was last written. Call before `run`."""
        self._watch = Watch(await self._archive.totals())

    def observe(self, event: Event) -> None:
        """Something happened just now."""
        now = self._now()
        if event.link and event.kind == "link_condition_changed":
            # To the moment, whenever the next look is.
            seen = one_link_seen(self._core, event.link)
            if seen is not None:
                self._watch.link(event.link, seen, now)
        if event.kind == "stream_failover" and event.stream in self._core.streams:
            self._watch.failover(event.stream, failover_seconds(event), now)
        kept = happening(event)
        if kept is not None:
            self._watch.happened(kept, now)

    async def run(self) -> None:
        """Look and write until cancelled, then write what is there."""
        try:
            while True:
                began = time.perf_counter()
                closed = self._look()
                took = time.perf_counter() - began
                if closed:
                    await self._write(closed)
                await asyncio.sleep(max(LOOK_SECONDS, took / _MOST_SHARE))
        finally:
            await self._write(self._watch.finish(self._now()))

    def _look(self) -> list[Row]:
        now = self._now()
        return self._watch.look(self._newcomers.without(network_seen(self._core), now), now)

    def open_rows(self) -> list[history_pb2.HistoryRow]:
        """Rows that are not in the store: those that wait, and the one that is being written."""
        row = self._watch.open_row(self._now())
        return [row_message(each) for each in (*self._unwritten, *([row] if row is not None else []))]

    async def _write(self, rows: list[Row]) -> None:
        self._unwritten.extend(rows)
        try:
            async with self.writing:
                if self._unwritten:
                    waiting = [row_message(row) for row in self._unwritten]
                    await self._archive.append(waiting, totals_message(self._watch.totals))
                    self._unwritten.clear()
            await self._age()
        except UnavailableError as error:
            log.get().error("history_not_written", rows=len(self._unwritten), reason=str(error))

    async def _age(self) -> None:
        """Merge what is old enough into longer rows, and forget what is older than all are kept."""
        now = self._now()
        for tier, each in enumerate(TIERS[:-1]):
            starts = await self._archive.starts(each.seconds, before=now - each.kept_seconds)
            for merge in due_merges(tier, starts, now):
                await self._archive.merge(merge)
        last = TIERS[-1]
        await self._archive.forget(before=now - last.kept_seconds)
