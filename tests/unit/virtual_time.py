"""An event loop whose time stands still until a test moves it: nothing waits, nothing is left to chance."""

import asyncio
import selectors
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

# Far more than anything takes that comes to rest.
MOST_ROUNDS = 100_000
LATE_SECONDS = 1e-6
ROUND_SECONDS = 1e-9


class _Selector(selectors.SelectSelector):
    """Waits for no file. Where a loop would sleep, it asks what to do instead."""

    idle: Callable[[float | None], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.idle(timeout if timeout is None or timeout > 0 else 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what is due, and then stops. Threads' work is done in the loop, within `thread_seconds`."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.idle = self._idle
        self.thread_seconds = 0.0
        self._threads = 0
        # Whether work that was given to a thread may still be done; asked when it is due.
        self.thread_alive: Callable[[], Callable[[], bool]] = lambda: lambda: True
        self._now = 1000.0
        self._until = self._now
        self._began_unix = time.time()
        self._rounds = 0
        super().__init__(selector)
        # A timer is due when its time has passed. A moment earlier, as loops allow, whoever looks at the
        # clock would wait again, and again, as time hardly moves.
        self._clock_resolution = 0.0

    def time(self) -> float:
        """As time.monotonic."""
        return self._now

    def unix(self) -> float:
        """As time.time."""
        return self._began_unix + self._now

    def run_for(self, seconds: float = 0.0) -> None:
        """Do all that is due now and in the next seconds of virtual time."""
        self._until = self._now + seconds
        self._rounds = 0
        with self._clocks():
            self.run_forever()

    def run_in_executor(  # type: ignore[override]  # the stubs differ between versions of mypy
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """In no thread. As with one, whoever is cancelled while it waits does not stop the work."""
        future = self.create_future()
        alive = self.thread_alive()

        def work() -> None:
            if not alive():
                return
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001  # for whoever waits, as with a thread
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        # Threads overtake each other.
        self._threads += 1
        self.call_later(self.thread_seconds / (1 + self._threads % 3), work)
        return future

    def _idle(self, timeout: float | None) -> None:
        if timeout == 0:
            self._rounds += 1
            self._now += ROUND_SECONDS
            if self._rounds > MOST_ROUNDS:
                raise RuntimeError("it never comes to rest")
        elif timeout is not None and self._now + timeout <= self._until:
            # A little late, as everything is: no deadline is missed by a rounding error for ever.
            self._now += timeout + LATE_SECONDS
        else:
            self._now = max(self._now, self._until)
            self.stop()

    @contextmanager
    def _clocks(self) -> Iterator[None]:
        with mock.patch.multiple(
            time, monotonic=self.time, time=self.unix, time_ns=lambda: int(self.unix() * 1e9)
        ):
            yield
