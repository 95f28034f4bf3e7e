"""What every Keyweave process does the same: signals, the ready file, dying with its parent."""

import asyncio
import ctypes
import gc
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from keyweave.common import log, service_manager

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` until it returns; SIGTERM and SIGINT set the event it is given."""
    _settle_collector()

    async def with_signals() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _told_to_stop, stop)
        telling = asyncio.create_task(service_manager.keep_telling(), name="watchdog")
        try:
            await main(stop)
        finally:
            telling.cancel()

    asyncio.run(with_signals())


def _told_to_stop(stop: asyncio.Event) -> None:
    service_manager.notify("STOPPING=1")
    stop.set()


def _settle_collector() -> None:
    """Look for cyclic garbage less often, and never again in what has been imported by now.

    Reference counts free nearly all that a process makes here, so at Python's default (every 700 objects)
    the search costs a busy one 5 to 15 percent of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies, so that nothing is left behind (Linux only)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def forbid_core_dumps() -> None:
    """Make this process unreadable to debuggers and dumps: it holds keys (Linux only)."""
    if not _prctl(_PR_SET_DUMPABLE, 0):
        log.get().warning("process_dumpable", reason="prctl is not available on this system")


def _prctl(option: int, value: int) -> bool:
    try:
        return bool(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def write_atomically(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Replace `path` as a whole and durably: readers see the old content or the new, never a part.

    It has `mode`, as far as the umask allows, from its first byte on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Return once what was created, renamed or removed in a directory is on disk."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def announce_ready(path: Path | None, addresses: Mapping[str, str]) -> None:
    """Tell whoever started this process where it listens, once all its ports are bound."""
    service_manager.notify("READY=1")
    if path is not None:
        write_atomically(path, json.dumps({"pid": os.getpid(), **addresses}, indent=2) + "\n")
