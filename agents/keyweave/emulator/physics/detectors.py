"""Single-photon detectors: efficiency, dark counts, afterpulses, dead time, jitter.

Figures marked assumed are round ones within what the reviews show: Eisaman et al., Rev. Sci. Instrum. 82,
071101 (2011); Itzler et al., J. Mod. Opt. 58, 174 (2011) for InGaAs avalanche diodes; Natarajan, Tanner,
Hadfield, Supercond. Sci. Technol. 25, 063001 (2012) for superconducting nanowires.
"""

import math
from dataclasses import dataclass

from keyweave.emulator.physics.channel import Channel
from keyweave.emulator.physics.information import either_flips
from keyweave.emulator.physics.model import Disturbance

# Doublings of the dark counts after which a device switches itself off: its cooling has failed. Assumed.
MOST_DOUBLINGS = 8.0


@dataclass(frozen=True, slots=True)
class _Family:
    """What kinds of detectors differ in. All assumed."""

    # Warming by which dark counts double.
    doubling_kelvin: float
    # Bias above which it detects, as a ratio of the bias range at the specified working point.
    onset_ratio: float
    # Efficiency rises with bias as 1 - exp(-bias / scale), in the same unit.
    efficiency_scale_ratio: float
    # Bias by which dark counts grow e-fold, in the same unit.
    dark_e_fold_ratio: float


# Bias is that above breakdown, about 3 V at the working point: dark counts grow e-fold with some 1.5 V.
_SEMICONDUCTOR = _Family(10.0, onset_ratio=0.0, efficiency_scale_ratio=0.7, dark_e_fold_ratio=0.5)
# Bias is the current. It saturates near the switching current, where dark counts grow a decade in 5 %; near
# the critical temperature they double within tenths of a kelvin.
_NANOWIRE = _Family(0.2, onset_ratio=0.6, efficiency_scale_ratio=0.1, dark_e_fold_ratio=0.0217)


@dataclass(frozen=True, slots=True)
class Detectors:
    """The detectors of a receiving end, as specified."""

    kind: str
    count: int
    at_both_ends: bool
    # At the specified bias.
    efficiency_ratio: float
    # Of one detector, per second of being open, at the specified bias and temperature.
    dark_count_rate_hz: float
    temperature_celsius: float
    bias_volts: float
    # After each click a detector is blind for so long.
    dead_time_seconds: float
    # Probability that a click is followed by another without a photon.
    afterpulse_ratio: float = 0.0
    # Spread of the time between photon and click, full width at half maximum.
    jitter_seconds: float = 0.0
    # Bias as run over bias as specified: above breakdown for avalanche diodes, the current for nanowires.
    bias_ratio: float = 1.0

    @property
    def _family(self) -> _Family:
        return _NANOWIRE if self.kind == "SNSPD" else _SEMICONDUCTOR

    def warming_kelvin(self, disturbance: Disturbance) -> float:
        """Kelvin above the working temperature that explain the dark counts of failing cooling."""
        return self._family.doubling_kelvin * math.log2(disturbance.dark_count_factor)

    def fault(self, warming_kelvin: float) -> str:
        """What the device says of itself where it can no longer work; empty where it can."""
        if warming_kelvin <= MOST_DOUBLINGS * self._family.doubling_kelvin * (1 + 1e-9):
            return ""
        temperature = self.temperature_celsius + warming_kelvin
        return f"detector at {temperature:.1f} degrees Celsius: cooling failed, key production stopped"

    @property
    def biased_efficiency_ratio(self) -> float:
        """Probability of a click for a photon, at the bias as run."""
        family = self._family
        over = max(0.0, self.bias_ratio - family.onset_ratio)
        at_specified = -math.expm1(-(1 - family.onset_ratio) / family.efficiency_scale_ratio)
        return min(
            1.0, self.efficiency_ratio * -math.expm1(-over / family.efficiency_scale_ratio) / at_specified
        )

    def dark_hz(self, channel: Channel) -> float:
        """Dark counts of one detector per second of being open. A blinded detector has none."""
        family = self._family
        if channel.blinded or self.bias_ratio <= family.onset_ratio:
            return 0.0
        bias_factor = math.exp((self.bias_ratio - 1) / family.dark_e_fold_ratio)
        warming_factor = 2 ** (channel.warming_kelvin / family.doubling_kelvin)
        return float(self.dark_count_rate_hz * bias_factor * warming_factor * channel.dark_count_burst_factor)

    def counted_hz(self, clicks_hz: float) -> float:
        """What one detector counts of so many clicks: R / (1 + R tau).

        Photons that arrive in the dead time do not extend it (Eisaman et al. 2011).
        """
        return clicks_hz / (1 + clicks_hz * self.dead_time_seconds)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Detectors with the clock and the optics that they are run with."""

    detectors: Detectors
    pulse_rate_hz: float
    # How long a detector is open for each pulse.
    gate_seconds: float
    # From the end of the fibre to the detectors.
    optics_loss_db: float = 0.0

    def background_ratio(self, channel: Channel) -> float:
        """Probability of a dark count of any detector per pulse: Y0 of Ma et al. 2005."""
        open_seconds = min(self.gate_seconds, 1 / self.pulse_rate_hz)
        dark = self.detectors.count * self.detectors.dark_hz(channel) * open_seconds
        return -math.expm1(-dark)

    @property
    def efficiency_ratio(self) -> float:
        """Probability of a click for a photon that leaves the fibre: eta_Bob of Ma et al. 2005."""
        within, strayed = self._in_gate_and_in_neighbours()
        return float(
            10 ** (-self.optics_loss_db / 10) * self.detectors.biased_efficiency_ratio * (within + strayed)
        )

    def jittered(self, error_ratio: float) -> float:
        """An error ratio once clicks that strayed into a neighbouring gate, which are random, are counted."""
        within, strayed = self._in_gate_and_in_neighbours()
        return either_flips(error_ratio, 0.5 * strayed / (within + strayed))

    def live_ratio(self, clicks_ratio: float) -> float:
        """The share of clicks that find their detector recovered; `clicks_ratio` is of all, per pulse."""
        each_hz = clicks_ratio * self.pulse_rate_hz / self.detectors.count
        return self.detectors.counted_hz(each_hz) / each_hz if each_hz else 1.0

    def _in_gate_and_in_neighbours(self) -> tuple[float, float]:
        """Shares of clicks in their own pulse's gate and in the two beside it; jitter is Gaussian."""
        jitter = self.detectors.jitter_seconds
        if not jitter:
            return 1.0, 0.0
        per_second = 2 * math.sqrt(math.log(2)) / jitter
        period, half = 1 / self.pulse_rate_hz, min(self.gate_seconds, 1 / self.pulse_rate_hz) / 2
        within = math.erf(half * per_second)
        strayed = math.erf((period + half) * per_second) - math.erf((period - half) * per_second)
        return within, strayed
