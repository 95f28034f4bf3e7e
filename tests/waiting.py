"""Waiting for conditions, each with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.05


async def eventually(look: Callable[[], Awaitable[T]], within_seconds: float, what: str) -> T:
    """What `look` returns once that is true; AssertionError names `what` after the deadline."""
    deadline = time.monotonic() + within_seconds
    while not (seen := await look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_seconds:g} s: {what}")
        await asyncio.sleep(POLL_SECONDS)
    return seen
