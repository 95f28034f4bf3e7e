"""Requests that wait for their replies, with one timer for all of them.

Nearly every request is answered long before its time is up, so a timer of its own would be set and cancelled
for nothing, and that costs as much as the request itself.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from keyweave.v1 import keyplane_pb2 as pb

# Called once: with the reply, or with a failure where none comes. It must not raise.
Then = Callable[[pb.Frame], None]


@dataclass(slots=True)
class _Waiting:
    """Who waits for a reply, and how long."""

    then: Then
    deadline: float
    timeout_seconds: float


class Pending:
    """The requests of one session."""

    def __init__(self, overdue: Callable[[float], pb.Frame]) -> None:
        """`overdue` tells what a request gets that was not answered within so many seconds."""
        self._overdue = overdue
        self._waiting: dict[int, _Waiting] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, number: int, timeout_seconds: float, then: Then) -> None:
        """Wait for the reply of this number."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        self._waiting[number] = _Waiting(then, deadline, timeout_seconds)
        if self._timer is None or deadline < self._timer.when():
            self._wait_until(deadline)

    def answer(self, reply: pb.Frame) -> None:
        """A reply has come; one that nobody waits for any more is left alone."""
        waiting = self._waiting.pop(reply.id, None)
        if waiting is not None:
            waiting.then(reply)

    def forget(self, number: int) -> None:
        """Nobody wants this reply any more."""
        self._waiting.pop(number, None)

    def fail_all(self, failure: pb.Frame) -> None:
        """No reply will come to any of them."""
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.then(failure)

    def _expire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        late = [number for number, each in self._waiting.items() if each.deadline <= now]
        for number in late:
            each = self._waiting.pop(number)
            each.then(self._overdue(each.timeout_seconds))
        earliest = min((each.deadline for each in self._waiting.values()), default=inf)
        if earliest < inf:
            self._wait_until(earliest)

    def _wait_until(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._expire)
