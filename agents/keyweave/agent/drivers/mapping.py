"""From what a device tells, in its own words and units, to a row of measurements; shared by drivers.

What cannot be true is refused: counted, named with its reason in the log, and never passed on.
"""

import math
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from keyweave.common import log
from keyweave.common.names import NAME_PATTERN, LinkName
from keyweave.common.quantities import DETECTOR_RANGES, LINK_RANGES, MAX_DETECTOR_NAME, MAX_DETECTORS
from keyweave.v1 import agent_pb2, types_pb2

# A device's clock may be ahead of ours by so much.
CLOCK_SECONDS = 5.0
MAX_FAULT_TEXT = 300
_MAX_TOLD = 80
NANOS = 1_000_000_000

# Factor, and what is added then, to come from a unit to that of the protocol.
_Units = Mapping[str, tuple[float, float]]
_RATIO: _Units = {"ratio": (1.0, 0.0), "percent": (1e-2, 0.0), "permille": (1e-3, 0.0)}
_BIT_RATE: _Units = {"bit/s": (1.0, 0.0), "kbit/s": (1e3, 0.0), "Mbit/s": (1e6, 0.0)}
_FREQUENCY: _Units = {"Hz": (1.0, 0.0), "kHz": (1e3, 0.0), "MHz": (1e6, 0.0)}
_TEMPERATURE: _Units = {"C": (1.0, 0.0), "K": (1.0, -273.15), "F": (5 / 9, -160 / 9)}
_VOLTAGE: _Units = {"V": (1.0, 0.0), "mV": (1e-3, 0.0), "kV": (1e3, 0.0)}
UNITS: Mapping[str, _Units] = {
    "qber_ratio": _RATIO,
    "skr_bps": _BIT_RATE,
    "sifted_rate_bps": _BIT_RATE,
    "loss_db": {"dB": (1.0, 0.0)},
    "visibility_ratio": _RATIO,
    "count_rate_hz": _FREQUENCY,
    "dark_count_rate_hz": _FREQUENCY,
    "efficiency_ratio": _RATIO,
    "temperature_celsius": _TEMPERATURE,
    "bias_volts": _VOLTAGE,
}
_RANGES = {**LINK_RANGES, **DETECTOR_RANGES}

# A quantity: of the link itself (no detector named) or of one detector.
Quantity = tuple[str, str]


class RefusedError(Exception):
    """What a device told cannot be taken; the text says why."""


class Reading(BaseModel):
    """How a number becomes a quantity: (number * scale + offset) in `unit`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: str
    scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    offset: Annotated[float, Field(allow_inf_nan=False)] = 0.0

    def value(self, name: str, number: float) -> float:
        """The quantity of this name; RefusedError where no device can measure that."""
        factor, shift = UNITS[name][self.unit]
        value = (number * self.scale + self.offset) * factor + shift
        low, high = _RANGES[name]
        # As the wire has it, where a value a hair inside may come to lie outside.
        if not math.isfinite(value) or not low <= _as_sent(value) <= high:
            raise RefusedError(f"{number:g} is {value:g} as {name}; possible is {low:g} to {high:g}")
        return value


def _as_sent(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.inf


AnyReading = TypeVar("AnyReading", bound=Reading)


def known_units(readings: Mapping[str, AnyReading]) -> Mapping[str, AnyReading]:
    """`readings` by quantity; ValueError where one has no such unit."""
    for name, reading in readings.items():
        if reading.unit not in UNITS[name]:
            raise ValueError(f"{name}.unit is '{reading.unit}'; use {', '.join(UNITS[name])}")
    return readings


LinkQuantity = Literal["qber_ratio", "skr_bps", "sifted_rate_bps", "loss_db", "visibility_ratio"]
DetectorQuantity = Literal[
    "count_rate_hz", "dark_count_rate_hz", "efficiency_ratio", "temperature_celsius", "bias_volts"
]
LinkReadings = Annotated[dict[LinkQuantity, AnyReading], AfterValidator(known_units)]
DetectorReadings = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=MAX_DETECTOR_NAME)],
        Annotated[dict[DetectorQuantity, AnyReading], AfterValidator(known_units)],
    ],
    Field(max_length=MAX_DETECTORS),
]

# ---- states -------------------------------------------------------------------------------------

_STATUSES = {
    "active": types_pb2.LINK_STATUS_ACTIVE,
    "passive": types_pb2.LINK_STATUS_PASSIVE,
    "pending": types_pb2.LINK_STATUS_PENDING,
    "off": types_pb2.LINK_STATUS_OFF,
}
# YAML reads on, off, yes and no as booleans.
_SPELLINGS = {True: ("true", "on", "yes"), False: ("false", "off", "no")}


def _by_word(table: object) -> object:
    """A table of a configuration with its keys as `word` makes them."""
    if not isinstance(table, Mapping):
        return table
    spelt: dict[str, object] = {}
    for key, value in table.items():
        for spelling in _SPELLINGS[key] if isinstance(key, bool) else (word(key),):
            spelt[spelling] = "off" if value is False else value
    return spelt


def word(value: object) -> str:
    """A state that a device tells, as tables of a configuration have it."""
    if isinstance(value, bool):
        return _SPELLINGS[value][0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().casefold()


class StatusTable(BaseModel):
    """What a device's words for its state mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: Annotated[
        dict[str, Literal["active", "passive", "pending", "off"]],
        BeforeValidator(_by_word),
        Field(min_length=1),
    ]

    def status(self, value: object) -> types_pb2.LinkStatus:
        """RefusedError where the table has no such word."""
        meaning = self.values.get(word(value))
        if meaning is None:
            raise RefusedError(f"status {shortened(value)} is none of {', '.join(self.values)}")
        return _STATUSES[meaning]


class FaultTable(BaseModel):
    """What a device's words for its faults mean. Nothing, false, 0 and "" are no fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The text for a word; "" is no fault. A word that is not here speaks for itself.
    texts: Annotated[dict[str, str], BeforeValidator(_by_word)] = Field(default_factory=dict)

    def fault(self, value: object) -> str:
        """What is wrong with the device; empty where nothing is."""
        if value is None:
            return ""
        told = word(value)
        if told in self.texts:
            return self.texts[told]
        if told in {"", "0", "false"}:
            return ""
        return "the device reports a fault" if value is True else str(value)[:MAX_FAULT_TEXT]


def shortened(value: object) -> str:
    """A device's own words, fit for a line of a log."""
    text = repr(value)
    return text if len(text) <= _MAX_TOLD else f"{text[:_MAX_TOLD]}..."


# ---- a link -------------------------------------------------------------------------------------


class LinkMapping(BaseModel):
    """What every link has in the settings of a driver that maps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    peer_node: Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")]
    model: Annotated[str, Field(min_length=1, max_length=128, description="device model and firmware")]
    emulated: bool = False


AnyLink = TypeVar("AnyLink", bound=LinkMapping)
Links = Annotated[
    dict[Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")], AnyLink], Field(min_length=1)
]


def quantities_of(
    link: Mapping[LinkQuantity, AnyReading], detectors: Mapping[str, Mapping[DetectorQuantity, AnyReading]]
) -> dict[Quantity, AnyReading]:
    """All readings of a link, each with whose quantity it is."""
    named: dict[Quantity, AnyReading] = {("", name): reading for name, reading in link.items()}
    for detector, readings in detectors.items():
        named |= {(detector, name): reading for name, reading in readings.items()}
    return named


class Refusals:
    """Counts what was refused of one link, and says so in the log, ever more seldom."""

    def __init__(self, driver: str, link: LinkName) -> None:
        self.counts: Counter[str] = Counter()
        self._driver, self._link = driver, link

    def refuse(self, what: str, reason: str) -> None:
        """Count one more; the 1st, 2nd, 4th, 8th... of a kind is logged."""
        self.counts[what] += 1
        count = self.counts[what]
        if count & (count - 1) == 0:
            log.get().warning(
                "measurement_refused",
                driver=self._driver,
                link=self._link,
                what=what,
                reason=reason,
                count=count,
            )

    def attempt(self, quantity: Quantity, make: Callable[[], float]) -> float | None:
        """What `make` makes of a quantity; None where it is refused."""
        try:
            return make()
        except RefusedError as error:
            self.refuse(".".join(part for part in quantity if part), str(error))
            return None


def one_row(
    link: LinkName,
    *,
    end: float,
    interval_seconds: float,
    status: types_pb2.LinkStatus,
    mapped: Iterable[Quantity],
    values: Mapping[Quantity, float],
) -> agent_pb2.LinkSamples:
    """A row that ends at `end`, Unix seconds: NaN where a mapped quantity has no value now."""
    samples = agent_pb2.LinkSamples(
        link=link,
        start_unix_nanos=round((end - interval_seconds) * NANOS),
        interval_micros=round(interval_seconds * 1e6),
        rows=1,
        status=status,
    )
    detectors: dict[str, agent_pb2.DetectorSamples] = {}
    for detector, name in mapped:
        target: agent_pb2.LinkSamples | agent_pb2.DetectorSamples = samples
        if detector:
            if detector not in detectors:
                detectors[detector] = samples.detectors.add(detector=detector)
            target = detectors[detector]
        setattr(target, name, struct.pack("<f", values.get((detector, name), math.nan)))
    return samples
