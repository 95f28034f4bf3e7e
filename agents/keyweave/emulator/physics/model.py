"""What disturbs a link, what it measures, and what every model of one does."""

import math
from dataclasses import dataclass
from typing import Protocol

from keyweave.v1 import types_pb2


@dataclass(frozen=True, slots=True)
class Disturbance:
    """The sum of the faults in force on a link."""

    cut: bool = False
    # Fraction of pulses that somebody intercepts and sends on (intercept-resend).
    intercepted_ratio: float = 0.0
    # A bend, a splice, a dirty connector.
    added_loss_db: float = 0.0
    # Clouds in the way of free-space light: a loss, and the end of a contact with a satellite.
    cloud_db: float = 0.0
    # Cooling that fails: the detectors' temperature moves with it.
    dark_count_factor: float = 1.0
    # Light that leaks in, or a storm of afterpulses: counts rise while the temperature stands.
    dark_count_burst_factor: float = 1.0
    # Probability that optics out of alignment (laser, polarisation, phase) flip a bit.
    misalignment_ratio: float = 0.0
    # Share of the light that a beam splitter takes out: it adds loss and no error. Below 1.
    tapped_ratio: float = 0.0
    # Bright light drives the detectors linear, and an attacker's pulses make them click at will
    # (Lydersen et al., Nat. Photonics 4, 686 (2010)).
    blinded: bool = False
    # The ends no longer know which pulse is which.
    clock_lost: bool = False
    # Of a node's quantum memories: how many do not work, and how much faster the others fade.
    failed_memories: float = 0.0
    memory_decay_factor: float = 1.0

    def __post_init__(self) -> None:
        shares = {"intercepted_ratio": self.intercepted_ratio, "misalignment_ratio": self.misalignment_ratio}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share:g}; it lies between 0 and 1")
        if not 0 <= self.tapped_ratio < 1:
            raise ValueError(f"tapped_ratio is {self.tapped_ratio:g}; it is at least 0 and below 1")
        factors = {
            "dark_count_factor": self.dark_count_factor,
            "dark_count_burst_factor": self.dark_count_burst_factor,
            "memory_decay_factor": self.memory_decay_factor,
        }
        for name, factor in factors.items():
            if not factor > 0:
                raise ValueError(f"{name} is {factor:g}; it is above 0")

    @property
    def loss_db(self) -> float:
        """All that it adds to the link's loss, as a loss monitor sees it."""
        return self.added_loss_db + self.cloud_db - 10 * math.log10(1 - self.tapped_ratio)


UNDISTURBED = Disturbance()


@dataclass(frozen=True, slots=True)
class DetectorReading:
    """One detector over one interval."""

    name: str
    count_rate_hz: float
    dark_count_rate_hz: float
    efficiency_ratio: float
    temperature_celsius: float
    bias_volts: float


@dataclass(frozen=True, slots=True)
class EndReading:
    """What one end measures with instruments of its own."""

    loss_db: float
    detectors: tuple[DetectorReading, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One interval of one link. NaN where there is nothing to measure."""

    status: types_pb2.LinkStatus
    # Counted jointly by the two ends in error correction, so the same at both.
    qber_ratio: float
    skr_bps: float
    sifted_rate_bps: float
    visibility_ratio: float
    # End a, end b.
    ends: tuple[EndReading, EndReading]
    # Key bits that came out of post-processing: an expectation, without noise.
    key_bits: float
    device_fault: str


class LinkModel(Protocol):
    """The physics of one link. Called for consecutive intervals, in order."""

    def calibrate(self) -> None:
        """Ask the devices to calibrate: the link is PENDING and makes no key meanwhile."""
        ...

    def measure(
        self, elapsed_seconds: float, interval_seconds: float, disturbance: Disturbance
    ) -> Measurement:
        """The interval that ends `elapsed_seconds` after the link was switched on."""
        ...
