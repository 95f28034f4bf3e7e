"""Messages of one link's device, as they come, into rows; no connection, no clock.

A round is one message of every topic that has quantities. It becomes a row once it is complete, or once a
topic begins the next one. Values that were measured before are none: retained messages, repetitions, and what
waited too long in a queue.
"""

import base64
import binascii
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from keyweave.agent.drivers import json_words
from keyweave.agent.drivers.base import DeviceBlock, DeviceReport
from keyweave.agent.drivers.mapping import (
    CLOCK_SECONDS,
    NANOS,
    Quantity,
    Refusals,
    RefusedError,
    one_row,
    quantities_of,
)
from keyweave.agent.drivers.mqtt_settings import KeySettings, LinkSettings, MqttReading
from keyweave.common.names import LinkName
from keyweave.v1 import types_pb2

# A report that follows sooner than this share of an interval is no measurement of its own.
_LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message of a broker."""

    # Which of the link's topic filters it matches.
    filters: Collection[str]
    payload: bytes
    # It was published before we subscribed, nobody knows when.
    retained: bool
    # Unix seconds, by our clock.
    at: float


@dataclass(slots=True)
class _Round:
    heard: set[str] = field(default_factory=set)
    values: dict[Quantity, float] = field(default_factory=dict)
    # When the newest of its values was measured, Unix seconds.
    end: float = 0.0


class LinkRows:
    """The rows of one link end. `topic_of` makes a filter of what the settings say."""

    def __init__(
        self, link: LinkName, settings: LinkSettings, refusals: Refusals, topic_of: Callable[[str], str]
    ) -> None:
        self._link, self._settings, self._refusals = link, settings, refusals

        def filter_of(topic: str | None) -> str:
            return topic_of(topic or settings.topic or "")

        self._readings: Mapping[Quantity, MqttReading] = quantities_of(
            settings.quantities, settings.detectors
        )
        self._filter = {quantity: filter_of(reading.topic) for quantity, reading in self._readings.items()}
        self._measuring = frozenset(self._filter.values())
        self._status_filter = filter_of(settings.status.topic) if settings.status else ""
        self._fault_filter = filter_of(settings.fault.topic) if settings.fault else ""
        self._round = _Round()
        self._measured_at: dict[str, float] = {}
        self._status, self._fault = types_pb2.LINK_STATUS_ACTIVE, ""
        self._told = (self._status, self._fault)
        # When the last row, and the last one that measured something, ended.
        self._last_end = self._last_measured = self._last_arrival = 0.0

    @property
    def filters(self) -> frozenset[str]:
        """The topics to subscribe to."""
        return self._measuring | ({self._status_filter, self._fault_filter} - {""})

    def take(self, message: Arrived) -> Iterator[DeviceReport]:
        """The reports that a message completes."""
        if message.at < self._last_arrival - CLOCK_SECONDS:
            # Our clock was set back: what was measured until then would else be the newest for long.
            self._round, self._measured_at = _Round(), {}
            self._last_end = self._last_measured = 0.0
        self._last_arrival = message.at
        try:
            document = json_words.parsed(message.payload)
            measured_at = self._time(document, message)
        except RefusedError as error:
            self._refusals.refuse("message", str(error))
            return
        self._take_state(document, message)
        measuring = self._measuring.intersection(message.filters)
        if message.retained and measuring:
            self._refusals.refuse("message", "is retained: nobody knows when it was measured")
        elif measuring:
            if measuring & self._round.heard:
                yield from self._finished(message.at)
            self._measure(document, measuring, measured_at)
            if self._round.heard == self._measuring:
                yield from self._finished(message.at)
        if (self._status, self._fault) != self._told:
            yield self._state_row(message.at)

    def _time(self, document: object, message: Arrived) -> float:
        """When a message was measured; RefusedError where that is no news."""
        measuring = sorted(self._measuring.intersection(message.filters))
        written = self._settings.time
        if written is None or not measuring:
            return message.at
        moment = json_words.time_at(document, written.pointer, written.format)
        if moment > message.at + CLOCK_SECONDS:
            raise RefusedError(f"is {moment - message.at:.1f} s ahead of our clock")
        if moment < message.at - self._settings.max_age_seconds:
            raise RefusedError(
                f"is {message.at - moment:.1f} s old; max_age_seconds is {self._settings.max_age_seconds:g}"
            )
        if any(moment <= self._measured_at.get(topic, 0.0) for topic in measuring):
            raise RefusedError("is no newer than the one before it")
        self._measured_at |= dict.fromkeys(measuring, moment)
        return moment

    def _take_state(self, document: object, message: Arrived) -> None:
        status, fault = self._settings.status, self._settings.fault
        try:
            if status is not None and self._status_filter in message.filters:
                self._status = status.status(json_words.at(document, status.pointer))
        except RefusedError as error:
            self._refusals.refuse("status", str(error))
        try:
            if fault is not None and self._fault_filter in message.filters:
                self._fault = fault.fault(json_words.at(document, fault.pointer))
        except RefusedError as error:
            self._refusals.refuse("fault", str(error))

    def _measure(self, document: object, measuring: Collection[str], measured_at: float) -> None:
        self._round.heard |= set(measuring)
        self._round.end = max(self._round.end, measured_at)
        for quantity, reading in self._readings.items():
            if self._filter[quantity] not in measuring:
                continue

            def value(quantity: Quantity = quantity, reading: MqttReading = reading) -> float:
                return reading.value(quantity[1], json_words.number_at(document, reading.pointer))

            made = self._refusals.attempt(quantity, value)
            if made is not None:
                self._round.values[quantity] = made

    def _finished(self, now: float) -> Iterator[DeviceReport]:
        """The round that is over as a report, where it has anything new to say."""
        over, self._round = self._round, _Round()
        interval = self._settings.interval_seconds
        if not over.values:
            return
        if over.end - self._last_measured < _LEAST_SHARE * interval or over.end <= self._last_end:
            since = over.end - self._last_measured
            reason = f"came {since:.3f} s after the one before; interval_seconds is {interval:g}"
            self._refusals.refuse("row", reason)
        elif over.end < now - self._settings.max_age_seconds:
            self._refusals.refuse("row", f"was {now - over.end:.1f} s old before it was complete")
        else:
            self._last_measured = over.end
            yield self._report(over.end, over.values)

    def _state_row(self, now: float) -> DeviceReport:
        """The new state at once, without a measurement; it must not stand where the next one will."""
        interval = self._settings.interval_seconds
        recent = now - self._last_end < interval
        return self._report(self._last_end + 0.001 if recent else now - interval / 2, {})

    def _report(self, end: float, values: Mapping[Quantity, float]) -> DeviceReport:
        self._last_end = end
        self._told = (self._status, self._fault)
        samples = one_row(
            self._link,
            end=end,
            interval_seconds=self._settings.interval_seconds,
            status=self._status,
            mapped=self._readings,
            values=values,
        )
        return DeviceReport(samples, self._fault)


class KeyBlocks:
    """The key blocks of one link end, each number once and rising."""

    def __init__(self, settings: KeySettings, first_block: int, refusals: Refusals) -> None:
        self._settings, self._next, self._refusals = settings, first_block, refusals

    def take(self, message: Arrived) -> DeviceBlock | None:
        """The block in a message; None where there is none to be used. No reason tells what was in it."""
        try:
            block = self._block(message)
        except RefusedError as error:
            self._refusals.refuse("block", str(error))
            return None
        self._next = block.number + 1
        return block

    def _block(self, message: Arrived) -> DeviceBlock:
        if message.retained:
            raise RefusedError("is retained: the broker keeps it")
        document = json_words.parsed(message.payload)
        number = json_words.count_at(document, self._settings.number)
        if number < self._next:
            raise RefusedError(f"block {number} came though {self._next} is next")
        produced, written = message.at, self._settings.time
        if written is not None:
            produced = min(produced, json_words.time_at(document, written.pointer, written.format))
        return DeviceBlock(number, self._key(document), max(1, round(produced * NANOS)))

    def _key(self, document: object) -> bytearray:
        text = json_words.at(document, self._settings.key)
        if not isinstance(text, str):
            raise RefusedError("the key is no text")
        try:
            if self._settings.encoding == "base64":
                key = bytearray(base64.b64decode(text, validate=True))
            else:
                key = bytearray.fromhex(text)
        except (ValueError, binascii.Error):
            raise RefusedError(f"the key is not {self._settings.encoding}") from None
        if len(key) != self._settings.block_bytes:
            raise RefusedError(f"the key has {len(key)} bytes; block_bytes is {self._settings.block_bytes}")
        return key
