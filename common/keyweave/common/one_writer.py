"""A file that is written again and again by threads, for tasks that may be cancelled."""

import asyncio
from pathlib import Path

from keyweave.common.process import write_atomically


class OneWriter:
    """Replaces one file as a whole, in the order in which it is asked to.

    A task that is cancelled while it waits leaves its thread behind, which goes on writing. Another thread
    beside it would get in its way, and might have its newer text replaced by the older one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: asyncio.Task[None] | None = None

    async def write(self, text: str) -> None:
        """Return once `text` is in the file, durably; cancelled, it gets there all the same."""
        self._last = asyncio.create_task(self._after(self._last, text), name=f"write-{self._path.name}")
        await asyncio.shield(self._last)

    async def _after(self, before: asyncio.Task[None] | None, text: str) -> None:
        if before is not None:
            await asyncio.wait({before})
        await asyncio.to_thread(write_atomically, self._path, text)
