"""Columns of measurements, from the wire to arrays, checked as a whole.

A column arrives as packed little-endian binary32. Nothing is copied: the arrays are read-only views of
the message's bytes. Checks cost two reductions a column, so a value that cannot be true is refused
before anything is made of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keyweave.common.errors import InvalidInputError
from keyweave.common.names import NAME_RULE, LinkName, NodeName, is_name
from keyweave.controller.topology import Status
from keyweave.v1 import agent_pb2, types_pb2

Column = NDArray[np.float32]

MAX_ROWS = 4096
MAX_DETECTORS = 16
MAX_DETECTOR_NAME = 63
NANOS = 1_000_000_000
MICROS = 1_000_000

_WIRE = np.dtype("<f4")
_EMPTY: Column = np.frombuffer(b"", dtype=_WIRE)
_FINITE = float(np.finfo(np.float32).max)
_ABSOLUTE_ZERO_CELSIUS = -273.15

# Least and greatest possible value. Infinity is outside all of them; NaN marks a missing value.
LINK_RANGES: dict[str, tuple[float, float]] = {
    "qber_ratio": (0.0, 0.5),
    "skr_bps": (0.0, _FINITE),
    "sifted_rate_bps": (0.0, _FINITE),
    "loss_db": (0.0, 200.0),
    "visibility_ratio": (0.0, 1.0),
}
DETECTOR_RANGES: dict[str, tuple[float, float]] = {
    "count_rate_hz": (0.0, _FINITE),
    "dark_count_rate_hz": (0.0, _FINITE),
    "efficiency_ratio": (0.0, 1.0),
    "temperature_celsius": (_ABSOLUTE_ZERO_CELSIUS, _FINITE),
    "bias_volts": (-_FINITE, _FINITE),
}
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


@dataclass(frozen=True, slots=True, eq=False)
class EndSamples:
    """What one end of a link measured: row i at `start + i * interval_seconds`.

    A column that the device does not measure is empty; NaN is a missing value.
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

    @property
    def end(self) -> float:
        """When the last row ended, Unix seconds by the agent's clock."""
        return self.start + self.rows * self.interval_seconds


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
    return EndSamples(
        LinkName(message.link),
        node,
        message.start_unix_nanos / NANOS,
        message.interval_micros / MICROS,
        rows,
        _column(message.qber_ratio, "qber_ratio", rows, field),
        _column(message.skr_bps, "skr_bps", rows, field),
        _column(message.sifted_rate_bps, "sifted_rate_bps", rows, field),
        _column(message.loss_db, "loss_db", rows, field),
        _column(message.visibility_ratio, "visibility_ratio", rows, field),
        tuple(
            _detector(detector, rows, f"{field}.detectors[{index}]")
            for index, detector in enumerate(message.detectors)
        ),
        status,
    )


def _detector(message: agent_pb2.DetectorSamples, rows: int, field: str) -> DetectorColumns:
    if not 1 <= len(message.detector) <= MAX_DETECTOR_NAME:
        raise InvalidInputError.of(
            f"{field}.detector", f"a name of 1 to {MAX_DETECTOR_NAME} characters is needed"
        )
    columns = (
        _checked(getattr(message, name), limits, rows, field, name)
        for name, limits in DETECTOR_RANGES.items()
    )
    return DetectorColumns(message.detector, *columns)


def _column(data: bytes, name: str, rows: int, field: str) -> Column:
    return _checked(data, LINK_RANGES[name], rows, field, name)


def _checked(data: bytes, limits: tuple[float, float], rows: int, field: str, name: str) -> Column:
    if not data:
        return _EMPTY
    if len(data) != rows * _WIRE.itemsize:
        raise InvalidInputError.of(
            f"{field}.{name}",
            f"has {len(data)} bytes; {rows} rows of binary32 are {rows * _WIRE.itemsize}, or none at all",
        )
    column: Column = np.frombuffer(data, dtype=_WIRE)
    low, high = limits
    # fmin and fmax pass over NaN, so a comparison fails only where a value was given and is wrong.
    if np.fmin.reduce(column) < low or np.fmax.reduce(column) > high:
        row = int(np.flatnonzero((column < low) | (column > high))[0])
        raise InvalidInputError.of(
            f"{field}.{name}", f"{column[row]:g} at row {row} is {_outside(low, high)}; NaN if not measured"
        )
    return column


def _outside(low: float, high: float) -> str:
    if high < _FINITE:
        return f"outside {low:g}..{high:g}"
    return "not a finite number" if low <= -_FINITE else f"not a finite number of at least {low:g}"
