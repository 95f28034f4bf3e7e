"""The instruments of a link's two ends, and the noise with which they are read."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from keyweave.emulator.physics.model import DetectorReading, Disturbance, EndReading

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
# What the photocurrent of a blinding laser takes off the bias, over the resistor that quenches avalanches:
# more than the 2 to 4 V by which InGaAs diodes are biased above breakdown (Lydersen et al., Nat. Photonics 4,
# 686 (2010) show drops of this order). Assumed round figure.
BLINDED_BIAS_DROP_VOLTS = 5.0


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
    # After each click a detector is blind for so long.
    dead_time_seconds: float

    def warming_kelvin(self, disturbance: Disturbance) -> float:
        """Kelvin above the working temperature that explain the dark counts of failing cooling."""
        per_doubling = DOUBLING_KELVIN.get(self.kind, DOUBLING_KELVIN_SEMICONDUCTOR)
        return per_doubling * math.log2(disturbance.dark_count_factor)

    def fault(self, disturbance: Disturbance) -> str:
        """What the device says of itself where it can no longer work; empty where it can."""
        if math.log2(disturbance.dark_count_factor) <= MOST_DOUBLINGS:
            return ""
        temperature = self.temperature_celsius + self.warming_kelvin(disturbance)
        return f"detector at {temperature:.1f} degrees Celsius: cooling failed, key production stopped"


class Instruments:
    """Reads loss and detectors at both ends, each end with noise of its own."""

    def __init__(self, detectors: Detectors | None, *, link: str, seed: int) -> None:
        self._detectors = detectors
        self._noise = (generator(seed, link, "end-a"), generator(seed, link, "end-b"))

    def read(
        self, interval_seconds: float, loss_db: float, signal_hz: float, disturbance: Disturbance
    ) -> tuple[EndReading, EndReading]:
        """End a and end b. `loss_db` and `signal_hz`, of all detectors of an end, are as disturbed."""
        a, b = self._noise
        detectors = self._detectors
        return (
            self._read_end(
                a,
                interval_seconds,
                loss_db,
                signal_hz,
                disturbance,
                detectors if detectors and detectors.at_both_ends else None,
            ),
            self._read_end(b, interval_seconds, loss_db, signal_hz, disturbance, detectors),
        )

    def _read_end(
        self,
        noise: np.random.Generator,
        interval: float,
        loss_db: float,
        signal_hz: float,
        disturbance: Disturbance,
        detectors: Detectors | None,
    ) -> EndReading:
        loss = math.nan
        if not disturbance.cut:
            loss = max(0.0, noise.normal(loss_db, LOSS_NOISE_DB))
        if detectors is None:
            return EndReading(loss, ())
        signal = 0.0 if disturbance.cut else signal_hz / detectors.count
        blinded = disturbance.blinded and not disturbance.cut
        return EndReading(
            loss,
            tuple(
                _blinded(noise, number, detectors, disturbance)
                if blinded
                else _counting(noise, number, detectors, disturbance, interval, signal)
                for number in range(1, detectors.count + 1)
            ),
        )


def _counting(
    noise: np.random.Generator,
    number: int,
    detectors: Detectors,
    disturbance: Disturbance,
    interval: float,
    signal_hz: float,
) -> DetectorReading:
    dark = detectors.dark_count_rate_hz * disturbance.dark_factor
    return DetectorReading(
        name=f"d{number}",
        count_rate_hz=noise.poisson((signal_hz + dark) * interval) / interval,
        dark_count_rate_hz=noise.poisson(dark * interval) / interval,
        efficiency_ratio=detectors.efficiency_ratio,
        temperature_celsius=_temperature(noise, detectors, disturbance),
        bias_volts=max(0.0, noise.normal(detectors.bias_volts, BIAS_NOISE_VOLTS)),
    )


def _blinded(
    noise: np.random.Generator, number: int, detectors: Detectors, disturbance: Disturbance
) -> DetectorReading:
    """A detector in linear mode: no avalanches of its own, a click for every trigger pulse that is sent.

    The attacker is taken to trigger as fast as the detector recovers, so the counts stand at a plateau.
    """
    return DetectorReading(
        name=f"d{number}",
        count_rate_hz=1 / detectors.dead_time_seconds,
        dark_count_rate_hz=0.0,
        efficiency_ratio=detectors.efficiency_ratio,
        temperature_celsius=_temperature(noise, detectors, disturbance),
        bias_volts=max(0.0, noise.normal(detectors.bias_volts - BLINDED_BIAS_DROP_VOLTS, BIAS_NOISE_VOLTS)),
    )


def _temperature(noise: np.random.Generator, detectors: Detectors, disturbance: Disturbance) -> float:
    warm = detectors.temperature_celsius + detectors.warming_kelvin(disturbance)
    return noise.normal(warm, TEMPERATURE_NOISE_CELSIUS)


def generator(seed: int, link: str, purpose: str) -> np.random.Generator:
    """Independent of every other link's and purpose's, and the same in every run."""
    digest = hashlib.sha256(f"{seed}/{link}/{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))
