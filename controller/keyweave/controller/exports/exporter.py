"""All receivers of events, each a task of its own: a dead one slows neither the others nor the controller."""

import asyncio
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keyweave.common import log
from keyweave.common.cancellation import to_its_end
from keyweave.common.errors import InvalidInputError, UnavailableError
from keyweave.controller.exports.config import ExportsConfig, SinkConfig
from keyweave.controller.exports.mqtt import MqttSink, States
from keyweave.controller.exports.sinks import Sink, SinkFailedError, SinkGoneError, pause_seconds
from keyweave.controller.exports.spool import Outbox, Spool
from keyweave.controller.exports.syslog import SyslogSink
from keyweave.controller.exports.webhook import WebhookSink

SAVE_SECONDS = 1.0


class Exports(Collector):
    """What goes where, and how far each receiver is; a Prometheus collector of the latter."""

    def __init__(self, settings: ExportsConfig, spool: Spool, states: States) -> None:
        self._spool = spool
        made: list[tuple[SinkConfig, Sink]] = [
            *((each, SyslogSink(each)) for each in settings.syslog),
            *((each, MqttSink(each, settings.network, states)) for each in settings.mqtt),
            *((each, WebhookSink(each, settings.network)) for each in settings.webhooks),
        ]
        self._sinks: Mapping[str, Sink] = {each.name: sink for each, sink in made}
        self._outboxes = {
            each.name: Outbox(each.name, spool, each.wants, settings.spool_events) for each, _ in made
        }

    def wake(self, newest: int) -> None:
        """New events are on disk, up to this number."""
        for outbox in self._outboxes.values():
            outbox.wake(newest)

    async def begin(self) -> None:
        """Find out how far each receiver has come. Before the first event, so that a new one misses none."""
        await self._spool.forget_all_but(frozenset(self._outboxes))
        for outbox in self._outboxes.values():
            await outbox.begin()

    async def run(self) -> None:
        """Until cancelled; then call `finish`."""
        async with asyncio.TaskGroup() as group:
            for name, sink in self._sinks.items():
                group.create_task(self._keep(name, sink, self._outboxes[name]), name=f"export-{name}")
            group.create_task(self._save(), name="export-cursors")

    async def finish(self) -> None:
        """Write down how far everybody is, so that little is told twice after the next start."""
        await self._save_all()

    async def _keep(self, name: str, sink: Sink, outbox: Outbox) -> None:
        failures = 0
        while True:
            before = outbox.counters.delivered_total
            try:
                await sink.run(outbox)
            except SinkGoneError as error:
                outbox.counters.is_up = False
                log.get().error("export_ended", sink=name, reason=str(error))
                return
            except (SinkFailedError, InvalidInputError) as error:
                wait = getattr(error, "retry_after_seconds", 0.0)
                failures = 1 if outbox.counters.delivered_total > before else failures + 1
                log.get().warning("export_failed", sink=name, failures=failures, reason=str(error))
            outbox.counters.is_up = False
            outbox.counters.failures_total += 1
            outbox.rewind()
            await asyncio.sleep(max(wait, pause_seconds(failures)))

    async def _save(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await to_its_end(self._save_all())

    async def _save_all(self) -> None:
        for outbox in self._outboxes.values():
            try:
                await outbox.save()
            except UnavailableError as error:
                log.get().warning("export_place_not_stored", sink=outbox.sink, reason=str(error))

    def describe(self) -> Iterator[Metric]:
        """Nothing at registration: names are known only with values."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        events = CounterMetricFamily(
            "keyweave_export_events", "Events by receiver and what became of them", labels=("sink", "outcome")
        )
        failures = CounterMetricFamily(
            "keyweave_export_failures", "Times that a receiver failed and was tried again", labels=("sink",)
        )
        waiting = GaugeMetricFamily(
            "keyweave_export_waiting_events", "Events that a receiver has not taken yet", labels=("sink",)
        )
        is_up = GaugeMetricFamily("keyweave_export_up", "1 while a receiver takes events", labels=("sink",))
        for name, outbox in self._outboxes.items():
            counters = outbox.counters
            events.add_metric((name, "delivered"), counters.delivered_total)
            events.add_metric((name, "refused"), counters.refused_total)
            events.add_metric((name, "dropped"), counters.dropped_total)
            failures.add_metric((name,), counters.failures_total)
            waiting.add_metric((name,), outbox.waiting)
            is_up.add_metric((name,), counters.is_up)
        yield from (events, failures, waiting, is_up)
