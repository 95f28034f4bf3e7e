"""A cancellation that must not get lost."""

import asyncio


def raise_if_cancelled() -> None:
    """Go on unwinding if the current task is being cancelled.

    A TaskGroup whose child fails while its parent is being cancelled raises the child's error alone (as of
    Python 3.11): whoever catches that error and loops would run for ever. Call this after catching it.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
