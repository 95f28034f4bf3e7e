"""What a quantum link measures and makes, undisturbed and disturbed.

Pure: no clock, no I/O, no keys. Time comes in as an argument and chance from seeded generators, so equal
calls give equal measurements.

The model is the rate equation of a weak-pulse system, anchored at the published operating point: with no
disturbance the expected QBER and secret key rate are exactly the published ones.
"""

import hashlib
import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from keyweave.v1 import types_pb2

# A dark count is as often right as wrong: e0 in Ma, Qi, Zhao, Lo, Phys. Rev. A 72, 012326 (2005).
DARK_COUNT_ERROR_RATIO = 0.5
# Error that intercept-resend causes in BB84: half the bases wrong, half of those bits (Bennett, Brassard
# 1984; Scarani et al., Rev. Mod. Phys. 81, 1301 (2009)).
INTERCEPT_RESEND_ERROR_RATIO = 0.25
# Error correction leaks f * h2(QBER) bits per bit; f = 1 is the Shannon limit. With it the key rate ends
# at 11.0 %, the Shor-Preskill bound, which is also the protocol's default abort threshold.
RECONCILIATION_EFFICIENCY = 1.0
# Over how long a device estimates its QBER before it acts on it. What it makes of the moments before it
# notices an eavesdropper still comes out: the blocks that agents must quarantine.
DEVICE_WINDOW_SECONDS = 1.0
# Reading noise of a device's instruments, one standard deviation. Assumed.
LOSS_NOISE_DB = 0.05
TEMPERATURE_NOISE_CELSIUS = 0.05
BIAS_NOISE_VOLTS = 0.01
# Warming by which dark counts double. About 10 K in InGaAs avalanche diodes; in superconducting nanowires
# tenths of a kelvin near the critical temperature. Assumed round figures.
DOUBLING_KELVIN = {"SNSPD": 0.2}
DOUBLING_KELVIN_SEMICONDUCTOR = 10.0
# Doublings after which a device switches itself off: its cooling has failed altogether. Assumed.
MOST_DOUBLINGS = 8.0


@dataclass(frozen=True, slots=True)
class Detectors:
    """The single-photon detectors of a receiving end, as specified."""

    kind: str
    count: int
    at_both_ends: bool
    efficiency_ratio: float
    # Of one detector, per second of being open.
    dark_count_rate_hz: float
    temperature_celsius: float
    bias_volts: float


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A link as published."""

    loss_db: float
    qber_ratio: float
    skr_bps: float
    # QBER at which the device stops producing by itself.
    abort_qber_ratio: float
    pulse_rate_hz: float
    mean_photon_number: float
    # How long detectors count for each pulse; what they see elsewhere is thrown away.
    gate_seconds: float
    # Share of detections that survive sifting: 1/2 in BB84 with unbiased bases.
    sifting_ratio: float
    # None for homodyne receivers (CV-QKD), which count no photons.
    detectors: Detectors | None


@dataclass(frozen=True, slots=True)
class Disturbance:
    """The sum of the faults in force on a link."""

    cut: bool = False
    # Fraction of pulses that somebody intercepts and sends on.
    intercepted_ratio: float = 0.0
    added_loss_db: float = 0.0
    dark_count_factor: float = 1.0


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

    def measure(
        self, elapsed_seconds: float, interval_seconds: float, disturbance: Disturbance
    ) -> Measurement:
        """The interval that ends `elapsed_seconds` after the link was switched on."""
        ...


def binary_entropy(ratio: float) -> float:
    """h2 in bits."""
    if ratio in (0.0, 1.0):
        return 0.0
    return -ratio * math.log2(ratio) - (1 - ratio) * math.log2(1 - ratio)


def secret_fraction(qber_ratio: float) -> float:
    """Secret bits per sifted bit, asymptotically: 1 - f h2(e) - h2(e), never below 0.

    Shor, Preskill, Phys. Rev. Lett. 85, 441 (2000), for single photons; a link's published rate fixes the
    factor that multi-photon pulses and finite blocks cost it.
    """
    if qber_ratio >= DARK_COUNT_ERROR_RATIO:
        return 0.0
    return max(0.0, 1 - (1 + RECONCILIATION_EFFICIENCY) * binary_entropy(qber_ratio))


@dataclass(frozen=True, slots=True)
class Rates:
    """Expectations under one disturbance, per second."""

    signal_hz: float
    dark_hz: float
    signal_error_ratio: float

    @property
    def qber_ratio(self) -> float:
        """E = (e0 Y0 + e_d signal) / (Y0 + signal), Ma et al. 2005, eq. (11), with rates for gains."""
        errors = DARK_COUNT_ERROR_RATIO * self.dark_hz + self.signal_error_ratio * self.signal_hz
        return errors / (self.dark_hz + self.signal_hz)

    @property
    def detections_hz(self) -> float:
        """Clicks within the gates, of all detectors together."""
        return self.signal_hz + self.dark_hz


def anchor(point: OperatingPoint) -> Rates:
    """The rates at the operating point; ValueError where the published figures contradict each other."""
    transmittance = 10 ** (-point.loss_db / 10)
    efficiency = point.detectors.efficiency_ratio if point.detectors else 1.0
    # 1 - exp(-eta mu): Ma et al. 2005, eq. (10), without its background.
    signal = point.pulse_rate_hz * -math.expm1(-point.mean_photon_number * efficiency * transmittance)
    dark = 0.0
    if point.detectors:
        open_ratio = min(1.0, point.pulse_rate_hz * point.gate_seconds)
        dark = point.detectors.count * point.detectors.dark_count_rate_hz * open_ratio
    error = (point.qber_ratio * (signal + dark) - DARK_COUNT_ERROR_RATIO * dark) / signal
    if error < 0:
        raise ValueError(
            f"qber_ratio {point.qber_ratio:g} is less than the {dark / 2 / (signal + dark):.3g} that dark "
            "counts alone cause at this loss; lower detector.dark_count_rate_hz or detector.gate_seconds, "
            "or raise detector.pulse_rate_hz"
        )
    fraction = secret_fraction(point.qber_ratio)
    if fraction == 0 or point.qber_ratio >= point.abort_qber_ratio:
        raise ValueError(
            f"qber_ratio {point.qber_ratio:g} leaves no secret key; it must be below 0.11 and below "
            f"abort_qber_ratio {point.abort_qber_ratio:g}"
        )
    most = (signal + dark) * point.sifting_ratio * fraction
    if point.skr_bps > most:
        raise ValueError(
            f"skr_bps {point.skr_bps:g} exceeds the {most:.3g} bit/s that these pulses can carry over "
            f"{point.loss_db:g} dB; raise detector.pulse_rate_hz, detector.efficiency_ratio or sifting_ratio"
        )
    return Rates(signal, dark, error)


def disturbed(rates: Rates, disturbance: Disturbance) -> Rates:
    """The rates under a disturbance that is not a cut.

    Two causes of bit flips that are independent compose as a + b - 2ab.
    """
    flipped = INTERCEPT_RESEND_ERROR_RATIO * disturbance.intercepted_ratio
    return Rates(
        signal_hz=rates.signal_hz * 10 ** (-disturbance.added_loss_db / 10),
        dark_hz=rates.dark_hz * disturbance.dark_count_factor,
        signal_error_ratio=rates.signal_error_ratio + flipped - 2 * rates.signal_error_ratio * flipped,
    )


class WeakPulseLink:
    """The LinkModel of this release: rates as above, counting noise, no drift of its own."""

    def __init__(self, point: OperatingPoint, *, link: str, seed: int) -> None:
        self._point = point
        self._rates = anchor(point)
        self._errors = _generator(seed, link, "errors")
        self._instruments = (_generator(seed, link, "end-a"), _generator(seed, link, "end-b"))
        # (end of interval, errors expected, sifted bits expected) of the device's window.
        self._window: deque[tuple[float, float, float]] = deque()

    def measure(
        self, elapsed_seconds: float, interval_seconds: float, disturbance: Disturbance
    ) -> Measurement:
        """See LinkModel."""
        ends = self._read_ends(interval_seconds, disturbance)
        if disturbance.cut:
            self._window.clear()
            return Measurement(types_pb2.LINK_STATUS_OFF, math.nan, 0.0, 0.0, math.nan, ends, 0.0, "")
        rates = disturbed(self._rates, disturbance)
        expected = rates.detections_hz * self._point.sifting_ratio * interval_seconds
        seen_by_device = self._device_qber(elapsed_seconds, expected, rates.qber_ratio)
        fault = self._device_fault(disturbance)
        producing = seen_by_device < self._point.abort_qber_ratio and not fault
        skr = self._secret_rate(expected / interval_seconds, seen_by_device) if producing else 0.0

        sifted = int(self._errors.poisson(expected))
        qber = self._errors.binomial(sifted, rates.qber_ratio) / sifted if sifted else math.nan
        reported_skr = 0.0
        if producing and sifted:
            estimate = max(0.0, seen_by_device + qber - rates.qber_ratio)
            reported_skr = self._secret_rate(sifted / interval_seconds, estimate)
        return Measurement(
            status=types_pb2.LINK_STATUS_ACTIVE if skr > 0 else types_pb2.LINK_STATUS_PASSIVE,
            qber_ratio=min(qber, 0.5),
            skr_bps=reported_skr,
            sifted_rate_bps=sifted / interval_seconds,
            visibility_ratio=self._visibility(rates.signal_error_ratio, sifted),
            ends=ends,
            key_bits=skr * interval_seconds,
            device_fault=fault,
        )

    def _secret_rate(self, sifted_bps: float, qber_ratio: float) -> float:
        sifted_when_published = self._rates.detections_hz * self._point.sifting_ratio
        fraction_when_published = secret_fraction(self._point.qber_ratio)
        scale = sifted_bps / sifted_when_published * secret_fraction(qber_ratio) / fraction_when_published
        return self._point.skr_bps * scale

    def _device_qber(self, elapsed_seconds: float, sifted: float, qber_ratio: float) -> float:
        """The QBER over the device's window, which lags behind a sudden change."""
        self._window.append((elapsed_seconds, sifted * qber_ratio, sifted))
        while self._window[0][0] <= elapsed_seconds - DEVICE_WINDOW_SECONDS:
            self._window.popleft()
        return math.fsum(w[1] for w in self._window) / math.fsum(w[2] for w in self._window)

    def _device_fault(self, disturbance: Disturbance) -> str:
        detectors = self._point.detectors
        if detectors is None or math.log2(disturbance.dark_count_factor) <= MOST_DOUBLINGS:
            return ""
        temperature = detectors.temperature_celsius + _warming(detectors, disturbance)
        return f"detector at {temperature:.1f} degrees Celsius: cooling failed, key production stopped"

    def _visibility(self, error_ratio: float, sifted: int) -> float:
        """V = 1 - 2 e of the optics alone (Gisin et al., Rev. Mod. Phys. 74, 145 (2002))."""
        if self._point.detectors is None or not sifted:
            return math.nan
        noise = 2 * math.sqrt(error_ratio * (1 - error_ratio) / sifted)
        return min(1.0, max(0.0, self._errors.normal(1 - 2 * error_ratio, noise)))

    def _read_ends(self, interval: float, disturbance: Disturbance) -> tuple[EndReading, EndReading]:
        a, b = self._instruments
        both = self._point.detectors is not None and self._point.detectors.at_both_ends
        return (
            self._read_end(a, interval, disturbance, has_detectors=both),
            self._read_end(b, interval, disturbance, has_detectors=True),
        )

    def _read_end(
        self, noise: np.random.Generator, interval: float, disturbance: Disturbance, *, has_detectors: bool
    ) -> EndReading:
        loss = math.nan
        if not disturbance.cut:
            loss = max(0.0, noise.normal(self._point.loss_db + disturbance.added_loss_db, LOSS_NOISE_DB))
        detectors = self._point.detectors
        if detectors is None or not has_detectors:
            return EndReading(loss, ())
        signal = 0.0 if disturbance.cut else disturbed(self._rates, disturbance).signal_hz / detectors.count
        dark = detectors.dark_count_rate_hz * disturbance.dark_count_factor
        temperature = detectors.temperature_celsius + _warming(detectors, disturbance)
        return EndReading(
            loss,
            tuple(
                DetectorReading(
                    name=f"d{number}",
                    count_rate_hz=noise.poisson((signal + dark) * interval) / interval,
                    dark_count_rate_hz=noise.poisson(dark * interval) / interval,
                    efficiency_ratio=detectors.efficiency_ratio,
                    temperature_celsius=noise.normal(temperature, TEMPERATURE_NOISE_CELSIUS),
                    bias_volts=max(0.0, noise.normal(detectors.bias_volts, BIAS_NOISE_VOLTS)),
                )
                for number in range(1, detectors.count + 1)
            ),
        )


def _warming(detectors: Detectors, disturbance: Disturbance) -> float:
    """Kelvin above the working temperature that explain the dark counts."""
    per_doubling = DOUBLING_KELVIN.get(detectors.kind, DOUBLING_KELVIN_SEMICONDUCTOR)
    return per_doubling * math.log2(disturbance.dark_count_factor)


def _generator(seed: int, link: str, purpose: str) -> np.random.Generator:
    """Independent of every other link's and purpose's, and the same in every run."""
    digest = hashlib.sha256(f"{seed}/{link}/{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))
