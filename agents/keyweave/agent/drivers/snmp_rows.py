"""What a device answered when it was asked, into rows; no connection, no clock.

A counter becomes a rate: what it rose by, in the time between two answers. It wraps, and it begins anew when
the device restarts; then there is no rate until the next answer.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from keyweave.agent.drivers.base import DeviceReport
from keyweave.agent.drivers.mapping import (
    Quantity,
    Refusals,
    RefusedError,
    one_row,
    quantities_of,
    shortened,
)
from keyweave.agent.drivers.snmp_settings import LinkSettings, SnmpReading
from keyweave.common.names import LinkName
from keyweave.v1 import types_pb2

# sysUpTime (RFC 3418), in hundredths of a second: it goes back when the device restarts, or after 497 days.
UPTIME = "1.3.6.1.2.1.1.3.0"
# SNMP has no type for fractions: devices write them as text (RFC 2578, 7.1.2, OCTET STRING).
_DECIMAL = re.compile(r"[+-]?\d{1,30}(\.\d{0,30})?([eE][+-]?\d{1,3})?")


@dataclass(frozen=True, slots=True)
class Counted:
    """A Counter32 or Counter64 (RFC 2578, 7.1.6 and 7.1.10)."""

    value: int
    bits: int


# None where the device has no such object.
Polled = int | float | bytes | Counted | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the device answered to one poll."""

    values: Mapping[str, Polled]
    # When it was asked, Unix seconds.
    asked_at: float
    # When it answered, by a clock that is never set.
    answered_at: float


class PolledRows:
    """The rows of one link end."""

    def __init__(self, link: LinkName, settings: LinkSettings, refusals: Refusals) -> None:
        self._link, self._settings, self._refusals = link, settings, refusals
        self._readings: Mapping[Quantity, SnmpReading] = quantities_of(
            settings.quantities, settings.detectors
        )
        self._before: Answer | None = None
        self._status, self._fault = types_pb2.LINK_STATUS_ACTIVE, ""
        self._told = (self._status, self._fault)

    @property
    def oids(self) -> tuple[str, ...]:
        """What to ask for."""
        states = [part.oid for part in (self._settings.status, self._settings.fault) if part is not None]
        sequence = [self._settings.sequence] if self._settings.sequence else []
        readings = [reading.oid for reading in self._readings.values()]
        return tuple(dict.fromkeys([UPTIME, *sequence, *states, *readings]))

    def take(self, answer: Answer) -> DeviceReport | None:
        """The report that an answer is; None where it has nothing new to say."""
        self._take_state(answer)
        fresh = self._is_fresh(answer)
        values = self._measured(answer) if fresh else {}
        if fresh or self._before is None:
            self._before = answer
        if not values and (self._status, self._fault) == self._told:
            return None
        self._told = (self._status, self._fault)
        samples = one_row(
            self._link,
            end=answer.asked_at,
            interval_seconds=self._settings.interval_seconds,
            status=self._status,
            mapped=self._readings,
            values=values,
        )
        return DeviceReport(samples, self._fault)

    def _is_fresh(self, answer: Answer) -> bool:
        """Whether the device has measured since; of the first answer nobody knows."""
        sequence = self._settings.sequence
        if sequence is None:
            return True
        if answer.values.get(sequence) is None:
            self._refusals.refuse("sequence", f"the device has no {sequence}")
            return False
        return self._before is not None and answer.values[sequence] != self._before.values.get(sequence)

    def _take_state(self, answer: Answer) -> None:
        status, fault = self._settings.status, self._settings.fault
        try:
            if status is not None:
                self._status = status.status(_words(answer.values.get(status.oid), status.oid))
        except RefusedError as error:
            self._refusals.refuse("status", str(error))
        try:
            if fault is not None:
                self._fault = fault.fault(_words(answer.values.get(fault.oid), fault.oid))
        except RefusedError as error:
            self._refusals.refuse("fault", str(error))

    def _measured(self, answer: Answer) -> dict[Quantity, float]:
        values = {}
        for quantity, reading in self._readings.items():

            def value(quantity: Quantity = quantity, reading: SnmpReading = reading) -> float:
                number = self._number(reading.oid, answer)
                return math.nan if number is None else reading.value(quantity[1], number)

            made = self._refusals.attempt(quantity, value)
            if made is not None and not math.isnan(made):
                values[quantity] = made
        return values

    def _number(self, oid: str, answer: Answer) -> float | None:
        """The number at an object; None for a counter that has nothing to be compared with."""
        polled = answer.values.get(oid)
        if isinstance(polled, Counted):
            return self._rate(oid, polled, answer)
        return number(polled, oid)

    def _rate(self, oid: str, counted: Counted, answer: Answer) -> float | None:
        before = self._before
        earlier = before.values.get(oid) if before is not None else None
        if before is None or not isinstance(earlier, Counted) or earlier.bits != counted.bits:
            return None
        if _restarted(before.values.get(UPTIME), answer.values.get(UPTIME)):
            return None
        period: int = 2**counted.bits
        rise = (counted.value - earlier.value) % period
        if rise >= period // 2:
            # A Counter64 never wraps within a poll; a Counter32 that did would have risen by less than this.
            raise RefusedError(f"the counter went from {earlier.value} to {counted.value}: it began anew")
        return rise / (answer.answered_at - before.answered_at)


def _restarted(before: Polled, now: Polled) -> bool:
    """Whether sysUpTime went back, and did not only wrap."""
    if not isinstance(before, int) or not isinstance(now, int):
        return False
    return (now - before) % 2**32 >= 2**31


def number(polled: Polled, oid: str) -> float:
    """A finite number that is no counter; text may be one."""
    if polled is None:
        raise RefusedError(f"the device has no {oid}")
    if isinstance(polled, bytes):
        text = polled.decode("utf-8", "replace").strip()
        if not _DECIMAL.fullmatch(text):
            raise RefusedError(f"{shortened(text)} at {oid} is no number")
        polled = float(text)
    if isinstance(polled, Counted) or not math.isfinite(polled):
        raise RefusedError(f"{polled} at {oid} is no finite number")
    return float(polled)


def _words(polled: Polled, oid: str) -> object:
    """A state in the device's own words or numbers."""
    if polled is None:
        raise RefusedError(f"the device has no {oid}")
    if isinstance(polled, Counted):
        return polled.value
    return polled.decode("utf-8", "replace") if isinstance(polled, bytes) else polled
