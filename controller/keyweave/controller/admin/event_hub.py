"""Events from the controller to everyone who watches, in order and without ever waiting for a watcher."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

from keyweave.controller.events import Event, Severity

WATCHER_QUEUE_EVENTS = 1024
RECENT_EVENTS = 1000


class Subscription:
    """One watcher's view. When its queue is full, events are skipped and counted, and it is told."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._lost = 0
        self._closed = False

    def offer(self, event: Event) -> None:
        """Take `event`, or count it as lost."""
        if len(self._waiting) >= self._limit:
            self._lost += 1
        else:
            self._waiting.append(event)
        self._arrived.set()

    def close(self) -> None:
        """End the iteration once what waits has been read."""
        self._closed = True
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._lost:
                lost, self._lost = self._lost, 0
                yield _events_lost(lost)
            elif self._closed:
                return
            elif not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()


class EventHub:
    """Gives every event its number and hands it to all watchers."""

    def __init__(self, last_id: int = 0, queue_limit: int = WATCHER_QUEUE_EVENTS) -> None:
        self._last_id = last_id
        self._queue_limit = queue_limit
        self._subscriptions: list[Subscription] = []
        self.recent: deque[Event] = deque(maxlen=RECENT_EVENTS)

    @property
    def last_id(self) -> int:
        """Number of the newest event."""
        return self._last_id

    def number(self, event: Event) -> Event:
        """`event` with the next number."""
        self._last_id += 1
        return replace(event, id=self._last_id)

    def publish(self, event: Event) -> None:
        """Hand a numbered event to every watcher; never waits."""
        self.recent.append(event)
        for subscription in self._subscriptions:
            subscription.offer(event)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Watch everything published from now on."""
        subscription = Subscription(self._queue_limit)
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)

    def close(self) -> None:
        """End every subscription; the controller is shutting down."""
        for subscription in self._subscriptions:
            subscription.close()


def _events_lost(count: int) -> Event:
    return Event(
        kind="events_lost",
        severity=Severity.MINOR,
        message=f"this watcher was too slow: {count} events were skipped; read them again as past events",
        time_unix_seconds=0.0,
        fields={"count": str(count)},
    )
