"""Keeps the audit log: what waits goes to disk soon, the head is told outside, old entries are archived."""

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from keyweave.common import log
from keyweave.common.cancellation import to_its_end
from keyweave.common.errors import UnavailableError
from keyweave.controller.audit.chain import CHECKPOINT, Entry, EntryKind, Head
from keyweave.controller.audit.config import AuditConfig
from keyweave.controller.events import Event, Severity
from keyweave.controller.store import Store

# How long an entry waits for a transaction that takes it along.
GATHER_SECONDS = 0.2
RETRY_SECONDS = 0.5
# How often it is looked whether an anchor or an archive is due.
LOOK_SECONDS = 1.0
# Entries that are read, and written to an archive, at a time.
PAGE_ENTRIES = 1000


class AuditKeeper:
    """The tasks around one controller's audit log. `tell` has an event recorded and exported."""

    def __init__(
        self, store: Store, settings: AuditConfig, archive: Path, tell: Callable[[Event], Awaitable[None]]
    ) -> None:
        self._store = store
        self._settings = settings
        self._archive = archive
        self._tell = tell
        self._anchored = Head()
        self._anchor_due = 0.0

    async def run(self) -> None:
        """Until cancelled; then call `finish`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._flush(), name="audit-flush")
            group.create_task(self._look(), name="audit-anchors")

    async def finish(self) -> None:
        """Put what still waits on disk, and log the head: what follows can be held against it."""
        try:
            if self._store.audit.is_waiting:
                await self._store.audit.flush()
        except UnavailableError as error:
            log.get().error("audit_not_stored", reason=str(error))
        head = self._store.audit.head
        log.get().info("audit_anchored", sequence=head.sequence, digest=head.digest)

    async def _flush(self) -> None:
        while True:
            await self._store.audit.until_noted()
            await asyncio.sleep(GATHER_SECONDS)
            try:
                if self._store.audit.is_waiting:
                    await to_its_end(self._store.audit.flush())
            except UnavailableError as error:
                log.get().error("audit_not_stored", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self) -> None:
        while True:
            await self._anchor_if_due(time.monotonic())
            try:
                await to_its_end(self._archive_if_due())
            except (OSError, UnavailableError) as error:
                log.get().error("audit_not_archived", reason=str(error), directory=str(self._archive))
                await asyncio.sleep(self._settings.anchor_seconds)
            await asyncio.sleep(LOOK_SECONDS)

    async def _anchor_if_due(self, now: float) -> None:
        head = self._store.audit.head
        new = head.sequence - self._anchored.sequence
        if not new or (new < self._settings.anchor_entries and now < self._anchor_due):
            return
        self._anchored, self._anchor_due = head, now + self._settings.anchor_seconds
        message = f"the audit log has {head.sequence} entries; the newest has the digest {head.digest}"
        fields = {"sequence": str(head.sequence), "digest": head.digest}
        await self._tell(Event("audit_anchored", Severity.INFO, message, time.time(), fields=fields))

    async def _archive_if_due(self) -> None:
        first, last = await self._store.audit.range()
        # A tenth more, so that archives have a size that is worth a file.
        keep = self._settings.keep_entries
        if last - first + 1 <= keep + max(1, keep // 10):
            return
        through = last - keep
        path, newest, digest = await self._write_archive(first, through)
        details = {
            "first": str(first),
            "last": str(through),
            "digest": newest,
            "file": path.name,
            "file_digest": digest,
        }
        now = time.time()
        checkpoint = Entry(EntryKind.LOG, now, "controller", CHECKPOINT, "audit", "ok", details=details)
        await self._store.audit.prune(through, checkpoint)
        message = f"entries {first} to {through} of the audit log are in {path.name} now"
        told = {"first": str(first), "last": str(through), "file": path.name}
        await self._tell(Event("audit_pruned", Severity.INFO, message, now, fields=told))

    async def _write_archive(self, first: int, through: int) -> tuple[Path, str, str]:
        """The file, the digest of its last entry, and SHA-256 over the file; on disk when this returns."""
        path = self._archive / f"audit-{first:010d}-{through:010d}.jsonl"
        part = path.with_suffix(".part")
        await asyncio.to_thread(self._archive.mkdir, parents=True, exist_ok=True)
        whole, after, newest = hashlib.sha256(), first - 1, ""
        part.unlink(missing_ok=True)
        while after < through:
            page = await self._store.audit.entries(after, min(PAGE_ENTRIES, through - after))
            data = "".join(f"{entry.line}\n" for entry in page).encode()
            await asyncio.to_thread(_append, part, data)
            whole.update(data)
            after, newest = page[-1].sequence, page[-1].digest
        await asyncio.to_thread(_settle, part, path)
        return path, newest, whole.hexdigest()


def _append(path: Path, data: bytes) -> None:
    # Nobody else's to read: it names who did what.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _settle(part: Path, path: Path) -> None:
    part.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
