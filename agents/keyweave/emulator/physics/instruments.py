"""The instruments of a link's two ends, and the noise with which they are read."""

import hashlib
import math

import numpy as np

from keyweave.emulator.physics.channel import Channel
from keyweave.emulator.physics.detectors import Detectors
from keyweave.emulator.physics.model import DetectorReading, EndReading

# Reading noise of a device's instruments, one standard deviation. Assumed.
LOSS_NOISE_DB = 0.05
TEMPERATURE_NOISE_CELSIUS = 0.05
BIAS_NOISE_VOLTS = 0.01
# What the photocurrent of a blinding laser takes off the bias, over the resistor that quenches avalanches:
# more than the 2 to 4 V by which InGaAs diodes are biased above breakdown (Lydersen et al., Nat. Photonics 4,
# 686 (2010) show drops of this order). Assumed round figure.
BLINDED_BIAS_DROP_VOLTS = 5.0


class Instruments:
    """Reads loss and detectors at both ends, each end with noise of its own."""

    def __init__(self, detectors: Detectors | None, *, link: str, seed: int) -> None:
        self._detectors = detectors
        self._noise = (generator(seed, link, "end-a"), generator(seed, link, "end-b"))

    def read(
        self, interval_seconds: float, channel: Channel, light_hz: float, *, cut: bool
    ) -> tuple[EndReading, EndReading]:
        """End a and end b; `light_hz` is of all detectors of an end."""
        a, b = self._noise
        detectors = self._detectors
        at_a = detectors if detectors and detectors.at_both_ends else None
        return (
            _read_end(a, interval_seconds, channel, light_hz, at_a, cut=cut),
            _read_end(b, interval_seconds, channel, light_hz, detectors, cut=cut),
        )


def _read_end(
    noise: np.random.Generator,
    interval: float,
    channel: Channel,
    light_hz: float,
    detectors: Detectors | None,
    *,
    cut: bool,
) -> EndReading:
    loss = math.nan if cut else max(0.0, noise.normal(channel.loss_db, LOSS_NOISE_DB))
    if detectors is None:
        return EndReading(loss, ())
    light = 0.0 if cut else light_hz / detectors.count
    return EndReading(
        loss,
        tuple(
            _read_detector(noise, number, interval, channel, light, detectors)
            for number in range(1, detectors.count + 1)
        ),
    )


def _read_detector(
    noise: np.random.Generator,
    number: int,
    interval: float,
    channel: Channel,
    light_hz: float,
    detectors: Detectors,
) -> DetectorReading:
    """One detector.

    A blinded one is in linear mode: no avalanches of its own, a click for every trigger pulse that is sent.
    The attacker is taken to trigger as fast as it recovers, so its counts stand at a plateau.
    """
    bias = detectors.bias_volts
    if channel.blinded:
        counts_hz, dark_hz = 1 / detectors.dead_time_seconds, 0.0
        bias -= BLINDED_BIAS_DROP_VOLTS
    else:
        dark = detectors.counted_hz(detectors.dark_hz(channel))
        most = 1 / detectors.dead_time_seconds
        counts_hz = noise.poisson(min(most, light_hz + dark) * interval) / interval
        dark_hz = noise.poisson(dark * interval) / interval
    temperature = detectors.temperature_celsius + channel.warming_kelvin
    return DetectorReading(
        name=f"d{number}",
        count_rate_hz=counts_hz,
        dark_count_rate_hz=dark_hz,
        efficiency_ratio=detectors.biased_efficiency_ratio,
        temperature_celsius=noise.normal(temperature, TEMPERATURE_NOISE_CELSIUS),
        bias_volts=max(0.0, noise.normal(bias, BIAS_NOISE_VOLTS)),
    )


def generator(seed: int, link: str, purpose: str) -> np.random.Generator:
    """Independent of every other link's and purpose's, and the same in every run."""
    digest = hashlib.sha256(f"{seed}/{link}/{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))
