"""One process of a network: started, awaited, started again, stopped."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from keyweave.common.errors import UnavailableError

# A process that takes longer to stop is killed.
STOP_SECONDS = 10.0
# Between looks for the ready file: another process creates it, and there is no portable event for that.
_READY_INTERVAL_SECONDS = 0.05


class Child:
    """A process with its log; `name` is what people call it."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, ready: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._ready = ready
        # Besides ours.
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._changing = asyncio.Lock()
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """Its process ID while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> bool:
        """Start it, unless it was told to stop meanwhile."""
        async with self._changing:
            if self._stopped:
                return False
            self._ready.unlink(missing_ok=True)
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self._environment},
                    # Ctrl-C in a terminal is for the supervisor, which then stops its children in order.
                    start_new_session=True,
                )
            return True

    async def ready(self, timeout_seconds: float) -> None:
        """Return once it listens; UnavailableError if it ends first or takes too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        ended = asyncio.ensure_future(self.ended())
        try:
            while not self._ready.exists():
                if ended.done():
                    raise UnavailableError(
                        f"{self.name} {describe(ended.result())} before it was ready: {self.last_words()} "
                        f"(all of it in {self.log})"
                    )
                if loop.time() > deadline:
                    raise UnavailableError(
                        f"{self.name} is not ready after {timeout_seconds:g} s; see {self.log}"
                    )
                await asyncio.wait({ended}, timeout=_READY_INTERVAL_SECONDS)
        finally:
            ended.cancel()

    async def ended(self) -> int:
        """Wait until it ends; returns its status, negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not do; it will not be started again."""
        async with self._changing:
            self._stopped = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except ProcessLookupError:
            return
        except TimeoutError:
            process.kill()
            await process.wait()

    def last_words(self) -> str:
        """The last line it wrote."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "it wrote nothing"
        return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")


def describe(status: int) -> str:
    """How a process ended."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
