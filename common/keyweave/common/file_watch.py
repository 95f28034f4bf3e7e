"""Files that are replaced while a process runs: certificates, keys, trust anchors, revocation lists.

A poll, not inotify: it works on every system and file system, and sees what inotify on a file misses, a
symbolic link that is swapped further up, as Kubernetes does with secrets. SIGHUP looks at once.
"""

import asyncio
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 1.0

Stamp = tuple[tuple[int, int, int, int] | None, ...]


def stamp(paths: Iterable[Path]) -> Stamp:
    """What changes when one of `paths` is replaced or written; reads no content."""
    return tuple(_stamp(path) for path in paths)


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class FileWatch:
    """One for each process: calls back when files were replaced. What it calls must not raise."""

    def __init__(self) -> None:
        self._watched: list[_Watched] = []
        self._hangup = asyncio.Event()
        self._on_hangup: list[Callable[[], None]] = []

    def on_change(self, paths: Iterable[Path], act: Callable[[], None]) -> None:
        """Call `act` whenever one of `paths` was replaced."""
        self._watched.append(_Watched(tuple(paths), act))

    def on_hangup(self, act: Callable[[], None]) -> None:
        """Call `act` on SIGHUP only: for a file that is in force when its owner says so."""
        self._on_hangup.append(act)

    async def changed(self, paths: Iterable[Path]) -> None:
        """Return once one of `paths` was replaced."""
        event = asyncio.Event()
        watched = _Watched(tuple(paths), event.set)
        self._watched.append(watched)
        try:
            await event.wait()
        finally:
            self._watched.remove(watched)

    async def run(self) -> None:
        """Look once a second, and on SIGHUP at once, until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._hangup.wait()
                hung_up = self._hangup.is_set()
                self._hangup.clear()
                self.look()
                for act in self._on_hangup if hung_up else ():
                    act()
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    def look(self) -> None:
        """Call back for everything that was replaced since the last look."""
        for watched in tuple(self._watched):
            watched.look()


class _Watched:
    def __init__(self, paths: tuple[Path, ...], act: Callable[[], None]) -> None:
        self._paths = paths
        self._act = act
        self._seen = stamp(paths)

    def look(self) -> None:
        now = stamp(self._paths)
        if now != self._seen:
            self._seen = now
            self._act()
