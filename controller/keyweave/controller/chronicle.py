"""Where events go once the core has told of them: the log, metrics, history, watchers, the store."""

import asyncio
from collections import deque
from collections.abc import Sequence

from keyweave.common import log
from keyweave.common.errors import UnavailableError
from keyweave.controller.admin.event_hub import EventHub
from keyweave.controller.events import Event
from keyweave.controller.exports.exporter import Exports
from keyweave.controller.history.recorder import Recorder
from keyweave.controller.metrics import ControllerMetrics
from keyweave.controller.store import Store

# Events that wait for a store that is out of order; older ones are then only in the log.
UNSTORED_EVENTS = 10_000


class Chronicle:
    """Tells everybody of events, in their order."""

    def __init__(
        self, hub: EventHub, metrics: ControllerMetrics, history: Recorder, exports: Exports, store: Store
    ) -> None:
        self._hub = hub
        self._metrics = metrics
        self._history = history
        self._exports = exports
        self._store = store
        self._unstored: deque[Event] = deque(maxlen=UNSTORED_EVENTS)
        # Those of the core, and of what keeps the lease.
        self._storing = asyncio.Lock()

    @property
    def unstored(self) -> int:
        """How many events wait for the store."""
        return len(self._unstored)

    async def record(self, events: Sequence[Event]) -> None:
        """Number, count, log, show and store events. A store that is out of order does not stop the rest."""
        for event in events:
            numbered = self._hub.number(event)
            self._metrics.observe(numbered)
            self._history.observe(numbered)
            log.get().info(numbered.kind, **_log_fields(numbered))
            self._hub.publish(numbered)
            self._unstored.append(numbered)
        if not events:
            return
        async with self._storing:
            await self._store_all()

    async def _store_all(self) -> None:
        storing = tuple(self._unstored)
        if not storing:
            return  # whoever had its turn before us stored ours as well
        try:
            await self._store.append_events(storing)
        except UnavailableError as error:
            self._metrics.store_failures_total.inc()
            log.get().error("events_not_stored", count=len(self._unstored), reason=str(error))
        else:
            while self._unstored and self._unstored[0].id <= storing[-1].id:
                self._unstored.popleft()
            self._exports.wake(storing[-1].id)


def _log_fields(event: Event) -> dict[str, str]:
    fields = {"node": event.node, "link": event.link, "stream": event.stream, **event.fields}
    return {"severity": event.severity, "message": event.message} | {k: v for k, v in fields.items() if v}
