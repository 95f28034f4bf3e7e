"""A cancellation that must not get lost, and what it must not cut off."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


def raise_if_cancelled() -> None:
    """Go on unwinding if the current task is being cancelled.

    A TaskGroup whose child fails while its parent is being cancelled raises the child's error alone (as of
    Python 3.11): whoever catches that error and loops would run for ever. Call this after catching it.

    Only after a group whose body was still running when the child failed: a child that fails while the
    group merely waits for its children leaves the task marked as cancelled by the group itself (until
    Python 3.13), and this would take that for a cancellation.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def to_its_end(work: Awaitable[Result]) -> Result:
    """What `work` comes to; cancelled meanwhile, wait for its end and only then be cancelled.

    For a step with a database: cut off in the middle, it leaves a connection behind, or in doubt what was
    written.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
