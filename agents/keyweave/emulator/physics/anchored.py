"""A link of which an operating point is published: the rate equation, anchored there.

With no disturbance the expected QBER and secret key rate are exactly the published ones.
"""

import math
from collections import deque
from dataclasses import dataclass

from keyweave.emulator.physics.information import (
    INTERCEPT_RESEND_ERROR_RATIO,
    RANDOM_ERROR_RATIO,
    either_flips,
    secret_fraction,
)
from keyweave.emulator.physics.instruments import Detectors, Instruments, generator
from keyweave.emulator.physics.model import Disturbance, Measurement
from keyweave.v1 import types_pb2

# Over how long a device estimates its QBER before it acts on it. What it makes of the moments before it
# notices an eavesdropper still comes out: the blocks that agents must quarantine.
DEVICE_WINDOW_SECONDS = 1.0
# Share of sifted bits that are left once the ends no longer know which pulse is which. Assumed.
SIFTED_WITHOUT_CLOCK_RATIO = 0.01


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
class Rates:
    """Expectations under one disturbance, per second."""

    signal_hz: float
    dark_hz: float
    signal_error_ratio: float

    @property
    def qber_ratio(self) -> float:
        """E = (e0 Y0 + e_d signal) / (Y0 + signal), Ma et al. 2005, eq. (11), with rates for gains."""
        errors = RANDOM_ERROR_RATIO * self.dark_hz + self.signal_error_ratio * self.signal_hz
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
    error = (point.qber_ratio * (signal + dark) - RANDOM_ERROR_RATIO * dark) / signal
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

    Who blinds detectors sends on what they measured, as often as it would have come: the signal stays, and
    what betrays them is in the detectors' own readings.
    """
    error = either_flips(
        rates.signal_error_ratio, INTERCEPT_RESEND_ERROR_RATIO * disturbance.intercepted_ratio
    )
    error = either_flips(error, disturbance.misalignment_ratio)
    return Rates(
        signal_hz=rates.signal_hz * 10 ** (-disturbance.loss_db / 10),
        dark_hz=0.0 if disturbance.blinded else rates.dark_hz * disturbance.dark_factor,
        signal_error_ratio=RANDOM_ERROR_RATIO if disturbance.clock_lost else error,
    )


class WeakPulseLink:
    """The LinkModel of this release: rates as above, counting noise, no drift of its own."""

    def __init__(self, point: OperatingPoint, *, link: str, seed: int) -> None:
        self._point = point
        self._rates = anchor(point)
        self._errors = generator(seed, link, "errors")
        self._instruments = Instruments(point.detectors, link=link, seed=seed)
        # (end of interval, errors expected, sifted bits expected) of the device's window.
        self._window: deque[tuple[float, float, float]] = deque()

    def measure(
        self, elapsed_seconds: float, interval_seconds: float, disturbance: Disturbance
    ) -> Measurement:
        """See LinkModel."""
        rates = disturbed(self._rates, disturbance)
        ends = self._instruments.read(
            interval_seconds, self._point.loss_db + disturbance.loss_db, rates.signal_hz, disturbance
        )
        if disturbance.cut:
            self._window.clear()
            return Measurement(types_pb2.LINK_STATUS_OFF, math.nan, 0.0, 0.0, math.nan, ends, 0.0, "")
        sifting = self._point.sifting_ratio * (SIFTED_WITHOUT_CLOCK_RATIO if disturbance.clock_lost else 1.0)
        expected = rates.detections_hz * sifting * interval_seconds
        seen_by_device = self._device_qber(elapsed_seconds, expected, rates.qber_ratio)
        fault = self._point.detectors.fault(disturbance) if self._point.detectors else ""
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

    def _visibility(self, error_ratio: float, sifted: int) -> float:
        """V = 1 - 2 e of the optics alone (Gisin et al., Rev. Mod. Phys. 74, 145 (2002))."""
        if self._point.detectors is None or not sifted:
            return math.nan
        noise = 2 * math.sqrt(error_ratio * (1 - error_ratio) / sifted)
        return min(1.0, max(0.0, self._errors.normal(1 - 2 * error_ratio, noise)))
