"""Writing the ledger: a key that is delivered is in it before the application can have it.

What is promised: the line is with the operating system before the key leaves, so however this process ends
it is not lost; it is on the disk about SYNC_SECONDS later, so a power failure can lose that much. Where lines
cannot be written or made durable, nothing is delivered.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from keyweave.agent.keyplane.keys.keystore import Outcome, StoredKey
from keyweave.agent.ledger import lines, segments
from keyweave.agent.ledger.lines import Fate
from keyweave.common import log
from keyweave.common.errors import UnavailableError
from keyweave.common.names import NodeName

SYNC_SECONDS = 0.5
SEGMENT_BYTES = 64 * 1024 * 1024
SEGMENT_AGE = timedelta(days=1)
RETENTION_CHECK_SECONDS = 3600.0
MAX_PROBLEMS = 10


class LedgerError(UnavailableError):
    """The ledger takes no lines: nothing may be delivered."""


class Ledger:
    """One agent's ledger. `record` is called on the event loop; `run` keeps it durable and bounded."""

    def __init__(self, directory: Path, node: NodeName, *, keep: timedelta) -> None:
        self.directory = directory
        self.node = node
        self.lines_total = 0
        self.errors_total = 0
        # What is wrong with what was written before; shown with every answer to a query.
        self.problems: list[str] = []
        # Why lines cannot be written, or made durable; empty where they can.
        self._write_failure = ""
        self._sync_failure = ""
        self._keep = keep
        self._file: int | None = None
        # Of the file that is written to: where its whole lines end, when it was begun, its last line.
        self._bytes = 0
        self._begun_nanos = 0
        self._first_sequence = 1
        self._digest = lines.NO_DIGEST
        self._next_sequence = 1
        self._last_nanos = 0
        self._unsynced = asyncio.Event()
        # Files that are full and wait to be made durable and closed.
        self._full: list[int] = []
        try:
            self._resume()
        except OSError as error:
            self._write_failure = self._failed(error)

    @property
    def failure(self) -> str:
        """Why nothing can be delivered now; empty where it can."""
        return self._write_failure or self._sync_failure

    # ---- writing --------------------------------------------------------------------------------

    def deliver(self, keys: Sequence[StoredKey], *, is_master: bool) -> None:
        """Record that these keys are handed to the SAE at this end; LedgerError: they must not be."""
        if self._sync_failure:
            raise LedgerError(f"the ledger cannot be made durable: {self._sync_failure}")
        self.record(keys, Outcome.DELIVERED, is_master=is_master)

    def gone(self, keys: Sequence[StoredKey], outcome: Outcome, reason: str, *, is_master: bool) -> None:
        """Record what became of keys that nobody fetched; where that fails it is counted, and they go."""
        try:
            self.record(keys, outcome, reason, is_master=is_master)
        except LedgerError:
            log.get().warning("ledger_lines_lost", outcome=outcome, keys=len(keys))

    def record(
        self, keys: Sequence[StoredKey], outcome: Outcome, reason: str = "", *, is_master: bool
    ) -> None:
        """Record one outcome of some keys in one write; LedgerError where nothing of it is written."""
        self.append(
            [
                (str(key.key_id), int(key.created * 1e9), Fate.of(key, outcome, reason, is_master=is_master))
                for key in keys
            ]
        )

    def append(self, fates: Sequence[tuple[str, int, Fate]]) -> None:
        """Write a line for each (key ID, nanoseconds of its creation, fate); LedgerError as above."""
        try:
            self._rotate()
            # A clock that goes back must not hide lines from a search by time.
            now = self._last_nanos = max(self._last_nanos, time.time_ns())
            digest, sequence, text = self._digest, self._next_sequence, bytearray()
            for key_id, created_nanos, fate in fates:
                line, digest = lines.chained(
                    lines.key_line(sequence, now, key_id, created_nanos, fate), digest
                )
                text += line
                sequence += 1
            self._write(text)
        except OSError as error:
            self._write_failure = self._failed(error)
            raise LedgerError(f"the ledger cannot be written: {self._write_failure}") from None
        self._write_failure = ""
        self._digest, self._next_sequence = digest, sequence
        self.lines_total += len(fates)

    def _write(self, text: bytes | bytearray) -> None:
        """All of it, or (OSError) nothing."""
        assert self._file is not None
        left = memoryview(text)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            # A part of it may be there. Where that cannot be undone nothing more is written to this file.
            try:
                os.ftruncate(self._file, self._bytes)
            except OSError:
                self._close()
            raise
        self._bytes += len(text)
        self._unsynced.set()

    def _failed(self, error: OSError) -> str:
        self.errors_total += 1
        reason = error.strerror or type(error).__name__
        if reason != self.failure:
            log.get().error("ledger_failed", reason=reason)
        return reason

    # ---- files ----------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Go on where the process before ended."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        paths = segments.segments(self.directory)
        if not paths:
            self._begin()
            return
        state = segments.check(paths[-1], None)
        self._digest, self._next_sequence = state.last_digest, state.next_sequence
        self._last_nanos = state.last_time_unix_nanos
        if state.problem or not state.whole_bytes:
            # What it says is left as it is; a line in the next file shows where it ended.
            self._problem(state.problem or f"{paths[-1].name} holds no whole line")
            self._next_sequence = max(self._next_sequence, int(paths[-1].stem) + 1)
            self._begin()
            return
        self._file = os.open(paths[-1], os.O_WRONLY | os.O_APPEND)
        self._bytes = state.whole_bytes
        self._begun_nanos = segments.head_time_unix_nanos(paths[-1])
        self._first_sequence = int(paths[-1].stem)
        if state.torn_bytes:
            try:
                os.ftruncate(self._file, state.whole_bytes)
            except OSError:
                # As on a file that can only be appended to: the next line would follow on half a line.
                self._close()
                raise
            self._note(f"{state.torn_bytes} bytes of a line that a crash had torn were cut off")

    def _begin(self) -> None:
        """Begin a new file."""
        path = segments.segment_path(self.directory, self._next_sequence)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self._bytes, self._first_sequence = 0, self._next_sequence
        self._begun_nanos = self._last_nanos = max(self._last_nanos, time.time_ns())
        head = lines.head_line(self.node, self._next_sequence, self._begun_nanos, self._digest)
        line, digest = lines.chained(head, self._digest)
        try:
            self._write(line)
        except OSError:
            self._close()
            path.unlink(missing_ok=True)
            raise
        self._digest = digest

    def _rotate(self) -> None:
        """Make sure that there is a file, and that it is neither too large nor too old."""
        if self._file is None:
            self._resume()
        age_seconds = (time.time_ns() - self._begun_nanos) / 1e9
        full = self._bytes > SEGMENT_BYTES or age_seconds > SEGMENT_AGE.total_seconds()
        if full and self._next_sequence > self._first_sequence:
            assert self._file is not None
            self._full.append(self._file)
            self._file = None
            self._begin()

    def _note(self, note: str) -> None:
        log.get().warning("ledger_mended", note=note)
        line, digest = lines.chained(
            lines.note_line(note, max(self._last_nanos, time.time_ns())), self._digest
        )
        self._write(line)
        self._digest = digest

    def _problem(self, problem: str) -> None:
        if problem not in self.problems and len(self.problems) < MAX_PROBLEMS:
            log.get().error("ledger_not_whole", problem=problem)
            self.problems.append(problem)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    # ---- in the background ------------------------------------------------------------------------

    async def run(self) -> None:
        """Make lines durable, check what was written before, and let go of what is too old."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sync_always(), name="ledger-sync")
            group.create_task(self._keep_bounded(), name="ledger-retention")
            for problem in await asyncio.to_thread(_check_all, self.directory):
                self._problem(problem)

    async def _sync_always(self) -> None:
        while True:
            await self._unsynced.wait()
            self._unsynced.clear()
            await self._sync()
            await asyncio.sleep(SYNC_SECONDS)

    async def _sync(self) -> None:
        full, self._full = self._full, []
        try:
            # A copy: the file may be closed while the disk is busy.
            newest = os.dup(self._file) if self._file is not None else None
            await asyncio.to_thread(_make_durable, full, newest, self.directory)
        except OSError as error:
            # Lines are in the file and may not be on the disk: nothing is delivered until that works again.
            self._sync_failure = self._failed(error)
            self._problem("the disk refused lines: a power failure since may have lost some")
            self._unsynced.set()
        else:
            self._sync_failure = ""

    async def _keep_bounded(self) -> None:
        while True:
            before = time.time_ns() - int(self._keep.total_seconds() * 1e9)
            gone = await asyncio.to_thread(_remove_older, self.directory, before)
            if gone:
                log.get().info("ledger_files_removed", files=gone)
            await asyncio.sleep(RETENTION_CHECK_SECONDS)

    def close(self) -> None:
        """Make everything durable and let go of the files."""
        full, self._full = self._full, []
        newest, self._file = self._file, None
        try:
            _make_durable(full, newest, self.directory)
        except OSError as error:
            self._failed(error)


def _make_durable(full: Sequence[int], newest: int | None, directory: Path) -> None:
    """Have the disk take everything; all the files given are closed, whatever happens."""
    handles = [*full, *([] if newest is None else [newest]), os.open(directory, os.O_RDONLY)]
    try:
        for handle in handles:
            os.fsync(handle)
    finally:
        for handle in handles:
            os.close(handle)


def _check_all(directory: Path) -> list[str]:
    """What is wrong with the files; of the newest, which was checked already, only where it begins."""
    paths, previous, found = segments.segments(directory), None, []
    for path in paths:
        newest = path is paths[-1]
        state = segments.check(path, previous, head_only=newest)
        problem = state.problem or (state.torn_bytes and not newest and f"{path.name} ends with a torn line")
        if problem:
            found.append(str(problem))
        previous = state.last_digest
    return found


def _remove_older(directory: Path, before_nanos: int) -> int:
    """Remove files whose every line is older; how many."""
    paths = segments.segments(directory)
    kept = set(segments.overlapping(directory, before_nanos))
    old = [path for path in paths if path not in kept]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)
