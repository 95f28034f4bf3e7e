"""A link of which an operating point is published: the rate equation, anchored there.

With no disturbance the expected QBER and secret key rate are exactly the published ones.
"""

import math
from dataclasses import dataclass

from keyweave.emulator.physics.channel import Channel, Expected
from keyweave.emulator.physics.detectors import Detectors
from keyweave.emulator.physics.information import RANDOM_ERROR_RATIO, secret_fraction


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


def over(rates: Rates, channel: Channel, point: OperatingPoint) -> Rates:
    """The rates at the operating point, over another channel.

    Who blinds detectors sends on what they measured, as often as it would have come: the signal stays, and
    what betrays them is in the detectors' own readings.
    """
    detectors = point.detectors
    specified = detectors.dark_count_rate_hz if detectors else 0.0
    dark_factor = detectors.dark_hz(channel) / specified if detectors and specified else 0.0
    return Rates(
        signal_hz=rates.signal_hz
        * channel.brightness_ratio
        * 10 ** (-(channel.loss_db - point.loss_db) / 10),
        dark_hz=rates.dark_hz * dark_factor,
        signal_error_ratio=channel.signal_error_ratio(rates.signal_error_ratio),
    )


class AnchoredPoint:
    """The protocol of a link of which no more is known than an operating point."""

    def __init__(self, point: OperatingPoint) -> None:
        self._point = point
        self._rates = anchor(point)
        published_bps = self._rates.detections_hz * point.sifting_ratio
        # What multi-photon pulses and finite blocks cost the link, in secret bits per sifted bit.
        self._scale = point.skr_bps / published_bps / secret_fraction(point.qber_ratio)

    def expected(self, channel: Channel) -> Expected:
        """See QkdProtocol."""
        rates = over(self._rates, channel, self._point)
        return Expected(
            light_hz=rates.signal_hz,
            sifted_bps=rates.detections_hz * self._point.sifting_ratio * channel.sifted_ratio,
            noise=rates.qber_ratio,
            optics_error_ratio=rates.signal_error_ratio if self._point.detectors else None,
            secret_ratio=lambda qber_ratio: self._scale * secret_fraction(qber_ratio),
        )
