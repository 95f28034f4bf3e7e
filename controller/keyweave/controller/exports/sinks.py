"""What all receivers have in common, seen from here."""

import random
from typing import Protocol

from keyweave.common.errors import KeyweaveError
from keyweave.controller.exports.spool import Outbox

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0


class SinkFailedError(KeyweaveError):
    """The receiver cannot be reached, or does not take what it is sent; it is tried again after a while."""

    def __init__(self, reason: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class SinkGoneError(KeyweaveError):
    """The receiver has said that it wants no more, ever: it gets nothing until the controller restarts."""


class Sink(Protocol):
    """One receiver."""

    async def run(self, outbox: Outbox) -> None:
        """Deliver what the outbox hands out, in order, and confirm it; until cancelled or it fails."""


def pause_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row: twice as long each time, with full jitter.

    As in "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
    """
    bound = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures, 16))
    return random.uniform(0.0, bound)  # noqa: S311  # spreads load, hides nothing
