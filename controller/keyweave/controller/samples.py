"""Columns of measurements, from the wire to arrays, checked as a whole.

A column arrives as packed little-endian binary32. All columns of a message become one table whose rows are
the columns (read-only), and one reduction over it tells in most cases that every value can be true: numbers
that are not negative are ordered as their bits are, and what is negative, infinite or no number has greater
bits than any that is allowed. Only where that does not tell is each value looked at. A value that cannot be
true is refused before anything is made of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import le
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keyweave.common.errors import InvalidInputError
from keyweave.common.names import NAME_RULE, LinkName, NodeName, is_name
from keyweave.common.quantities import (
    DETECTOR_RANGES,
    FINITE,
    LINK_RANGES,
    MAX_CONTACTS,
    MAX_DETECTOR_NAME,
    MAX_DETECTORS,
    MAX_ROWS,
)
from keyweave.controller.topology import Status
from keyweave.v1 import agent_pb2, types_pb2

Column = NDArray[np.float32]

NANOS = 1_000_000_000
MICROS = 1_000_000

_WIRE = np.dtype("<f4")
_BITS = np.dtype("<u4")
_EMPTY: Column = np.frombuffer(b"", dtype=_WIRE)
_STATUSES = {
    types_pb2.LINK_STATUS_ACTIVE: Status.ACTIVE,
    types_pb2.LINK_STATUS_PASSIVE: Status.PASSIVE,
    types_pb2.LINK_STATUS_PENDING: Status.PENDING,
    types_pb2.LINK_STATUS_OFF: Status.OFF,
}


@dataclass(frozen=True, slots=True, eq=False)
class DetectorColumns:
    """One single-photon detector, row for row with its link; a column it does not measure is empty."""

    detector: str
    count_rate_hz: Column
    dark_count_rate_hz: Column
    efficiency_ratio: Column
    temperature_celsius: Column
    bias_volts: Column


class Contact(NamedTuple):
    """A time in which the ends of a link see each other, Unix seconds."""

    start: float
    end: float
    # 0 where the device does not say.
    max_elevation_degrees: float


@dataclass(slots=True, eq=False)
class EndSamples:
    """What one end of a link measured: row i at `start + i * interval_seconds`.

    A column that the device does not measure is empty; NaN is a missing value. Nobody changes one; it is not
    frozen because setting so many fields then takes four times as long, for every message.
    """

    link: LinkName
    node: NodeName
    # Unix seconds by the agent's clock.
    start: float
    interval_seconds: float
    rows: int
    qber_ratio: Column
    skr_bps: Column
    sifted_rate_bps: Column
    loss_db: Column
    visibility_ratio: Column
    detectors: tuple[DetectorColumns, ...]
    # At the end of the last row.
    status: Status
    # When the ends see each other, where that is not always, in order; empty where nothing is told.
    contacts: tuple[Contact, ...] = ()

    @property
    def end(self) -> float:
        """When the last row ended, Unix seconds by the agent's clock."""
        return self.start + self.rows * self.interval_seconds

    @property
    def highest_qber_ratio(self) -> float:
        """The highest QBER of any row; 0 where none was measured."""
        return float(np.fmax.reduce(self.qber_ratio)) if self.qber_ratio.size else 0.0

    def is_continued_by(self, later: "EndSamples") -> bool:
        """Whether `later` goes on where this ends, in the same state: the two could have been one batch."""
        return (
            later.interval_seconds == self.interval_seconds
            and abs(later.start - self.end) < self.interval_seconds / 2
            and later.status is self.status
            and not self.detectors
            and not later.detectors
            and _measured(later) == _measured(self)
        )


def _measured(samples: EndSamples) -> tuple[bool, ...]:
    """Which quantities there are."""
    return (
        samples.qber_ratio.size > 0,
        samples.skr_bps.size > 0,
        samples.sifted_rate_bps.size > 0,
        samples.loss_db.size > 0,
        samples.visibility_ratio.size > 0,
    )


def joined(batches: Sequence[EndSamples]) -> EndSamples:
    """Batches of which each is continued by the next, as one."""
    first = batches[0]
    if len(batches) == 1:
        return first
    return EndSamples(
        first.link,
        first.node,
        first.start,
        first.interval_seconds,
        sum([batch.rows for batch in batches]),
        # A column that the first has not, none has.
        np.concatenate([batch.qber_ratio for batch in batches]) if first.qber_ratio.size else _EMPTY,
        np.concatenate([batch.skr_bps for batch in batches]) if first.skr_bps.size else _EMPTY,
        np.concatenate([batch.sifted_rate_bps for batch in batches])
        if first.sifted_rate_bps.size
        else _EMPTY,
        np.concatenate([batch.loss_db for batch in batches]) if first.loss_db.size else _EMPTY,
        np.concatenate([batch.visibility_ratio for batch in batches])
        if first.visibility_ratio.size
        else _EMPTY,
        first.detectors,
        first.status,
        next((batch.contacts for batch in reversed(batches) if batch.contacts), ()),
    )


def decode(message: agent_pb2.LinkSamples, node: NodeName, field: str = "links") -> EndSamples:
    """The samples that `node` sent; InvalidInputError names what is wrong, under `field`.

    Whether the times make sense is for the caller to judge: a clock may be off, a value may not.
    """
    rows = message.rows
    if not is_name(message.link):
        raise InvalidInputError.of(f"{field}.link", f"'{message.link}' is not a name: {NAME_RULE}")
    if not 1 <= rows <= MAX_ROWS:
        raise InvalidInputError.of(f"{field}.rows", f"{rows} is outside 1..{MAX_ROWS}; split the batch")
    if message.interval_micros == 0:
        raise InvalidInputError.of(f"{field}.interval_micros", "is 0; give the time between two rows")
    status = _STATUSES.get(message.status)
    if status is None:
        raise InvalidInputError.of(
            f"{field}.status", f"{message.status} is not one of {', '.join(Status)} (1..4)"
        )
    if len(message.detectors) > MAX_DETECTORS:
        raise InvalidInputError.of(
            f"{field}.detectors", f"{len(message.detectors)} detectors; at most {MAX_DETECTORS} are taken"
        )
    data = [
        message.qber_ratio,
        message.skr_bps,
        message.sifted_rate_bps,
        message.loss_db,
        message.visibility_ratio,
    ]
    for index, detector in enumerate(message.detectors):
        data += _detector_data(detector, f"{field}.detectors[{index}]")
    columns = _checked(data, rows, field)
    qber, skr, sifted, loss, visibility = columns[:_LINK_COLUMNS]
    firsts = range(_LINK_COLUMNS, len(columns), _DETECTOR_COLUMNS)
    return EndSamples(
        LinkName(message.link),
        node,
        message.start_unix_nanos / NANOS,
        message.interval_micros / MICROS,
        rows,
        qber,
        skr,
        sifted,
        loss,
        visibility,
        tuple(
            DetectorColumns(detector.detector, *columns[first : first + _DETECTOR_COLUMNS])
            for detector, first in zip(message.detectors, firsts, strict=True)
        )
        if message.detectors
        else (),
        status,
        _contacts(message, f"{field}.contacts") if message.contacts else (),
    )


def _contacts(message: agent_pb2.LinkSamples, field: str) -> tuple[Contact, ...]:
    """The windows, each of some length and after the one before."""
    if len(message.contacts) > MAX_CONTACTS:
        raise InvalidInputError.of(
            field, f"{len(message.contacts)} windows; at most {MAX_CONTACTS} are taken"
        )
    windows: list[Contact] = []
    for index, told in enumerate(message.contacts):
        window = Contact(
            told.start_unix_nanos / NANOS, told.end_unix_nanos / NANOS, told.max_elevation_degrees
        )
        if not (windows[-1].end if windows else 0.0) <= window.start < window.end:
            raise InvalidInputError.of(
                f"{field}[{index}]",
                "a window must end after it starts, and start after the one before has ended",
            )
        if not 0.0 <= window.max_elevation_degrees <= 90.0:
            raise InvalidInputError.of(f"{field}[{index}].max_elevation_degrees", "must be between 0 and 90")
        windows.append(window)
    return tuple(windows)


def _detector_data(message: agent_pb2.DetectorSamples, field: str) -> list[bytes]:
    if not 1 <= len(message.detector) <= MAX_DETECTOR_NAME:
        raise InvalidInputError.of(
            f"{field}.detector", f"a name of 1 to {MAX_DETECTOR_NAME} characters is needed"
        )
    return [getattr(message, name) for name in DETECTOR_RANGES]


def _checked(data: list[bytes], rows: int, field: str) -> list[Column]:
    """A column for each of `data`, the link's and then those of each detector; empty where it is."""
    size = rows * _WIRE.itemsize
    if not {0, size}.issuperset(map(len, data)):
        index = next(index for index, packed in enumerate(data) if len(packed) not in (0, size))
        raise InvalidInputError.of(
            _column_name(field, index),
            f"has {len(data[index])} bytes; {rows} rows of binary32 are {size}, or none at all",
        )
    places, starts, limits = _layout(tuple(map(bool, data)), rows)
    if not places:
        return [_EMPTY] * len(data)
    packed = b"".join(data)
    table: NDArray[np.float32] = np.frombuffer(packed, _WIRE).reshape(len(places), rows)
    greatest = np.maximum.reduceat(np.frombuffer(packed, _BITS), starts).tolist()
    if not all(map(le, greatest, limits)):
        _search(table, places, field)
    columns = [_EMPTY] * len(data)
    for place, column in zip(places, table, strict=True):
        columns[place] = column
    return columns


def _search(table: NDArray[np.float32], places: tuple[int, ...], field: str) -> None:
    """Refuse the first value that cannot be true, if there is one."""
    # fmin and fmax pass over NaN, so a comparison fails only where a value was given and is wrong.
    lowest = np.fmin.reduce(table, axis=1).tolist()
    highest = np.fmax.reduce(table, axis=1).tolist()
    for row, place in enumerate(places):
        low, high = _range(place)
        if lowest[row] < low or highest[row] > high:
            raise _refusal(_column_name(field, place), table[row], low, high)


@lru_cache(maxsize=512)
def _layout(given: tuple[bool, ...], rows: int) -> tuple[tuple[int, ...], NDArray[np.intp], tuple[int, ...]]:
    """Of the columns that are given: which ones, where each begins, and the greatest bits each may have.

    The same few shapes come again and again. A column that may be negative must be looked at (-1).
    """
    places = tuple(index for index, is_given in enumerate(given) if is_given)
    ranges = [_range(place) for place in places]
    limits = tuple(-1 if low < 0 else int(np.array(high, _WIRE).view(_BITS)) for low, high in ranges)
    return places, np.arange(len(places)) * rows, limits


_LINK_COLUMNS, _DETECTOR_COLUMNS = len(LINK_RANGES), len(DETECTOR_RANGES)
_RANGES = (*LINK_RANGES.values(), *DETECTOR_RANGES.values())


def _range(index: int) -> tuple[float, float]:
    """Of the column at this place, the first detector's columns standing for those of all."""
    if index >= len(_RANGES):
        index = _LINK_COLUMNS + (index - _LINK_COLUMNS) % _DETECTOR_COLUMNS
    return _RANGES[index]


def _column_name(field: str, index: int) -> str:
    if index < _LINK_COLUMNS:
        return f"{field}.{[*LINK_RANGES][index]}"
    detector, place = divmod(index - _LINK_COLUMNS, _DETECTOR_COLUMNS)
    return f"{field}.detectors[{detector}].{[*DETECTOR_RANGES][place]}"


def _refusal(field: str, column: Column, low: float, high: float) -> InvalidInputError:
    row = int(np.flatnonzero((column < low) | (column > high))[0])
    return InvalidInputError.of(
        field, f"{column[row]:g} at row {row} is {_outside(low, high)}; NaN if not measured"
    )


def _outside(low: float, high: float) -> str:
    if high < FINITE:
        return f"outside {low:g}..{high:g}"
    return "not a finite number" if low <= -FINITE else f"not a finite number of at least {low:g}"
