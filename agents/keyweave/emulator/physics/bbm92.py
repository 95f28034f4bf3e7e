"""BBM92 with a source of entangled pairs midway: Ma, Fung, Lo, Phys. Rev. A 76, 012307 (2007).

Equations are that paper's, for parametric down-conversion. Loss is shared evenly by the two arms, and both
ends have the same receiver.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

from keyweave.emulator.physics.channel import Channel, Expected
from keyweave.emulator.physics.detectors import Receiver
from keyweave.emulator.physics.information import RANDOM_ERROR_RATIO, binary_entropy, secret_fraction

# Where the best number of pairs per pulse is looked for.
LEAST_PAIRS, MOST_PAIRS = 1e-4, 1.0
GOLDEN_RATIO = (1 + math.sqrt(5)) / 2


@dataclass(frozen=True, slots=True)
class Bbm92:
    """A source midway, and a receiver at either end."""

    receiver: Receiver
    # Pairs per pulse: mu, which is twice the paper's lambda.
    mean_pairs: float
    # Error of the optics: e_d.
    misalignment_ratio: float = 0.015
    reconciliation_efficiency: float = 1.22
    sifting_ratio: float = 0.5

    def expected(self, channel: Channel) -> Expected:
        """See QkdProtocol."""
        receiver = self.receiver
        half = self.mean_pairs * channel.brightness_ratio / 2
        dark = receiver.background_ratio(channel)
        efficiency = receiver.efficiency_ratio * channel.transmittance_ratio**0.5
        error = channel.signal_error_ratio(receiver.jittered(self.misalignment_ratio))
        one, neither_missed = efficiency * half, (2 - efficiency) * efficiency * half
        # The overall gain Q_lambda: an end clicks with probability 1 - (1 - Y0) / (1 + x)^2.
        end = _clicks(one, dark)
        once = 2 * end - _clicks(neither_missed, 2 * dark - dark * dark)
        # The overall QBER E_lambda.
        alike = (1 + one) ** 2 * (1 + neither_missed)
        right = 2 * (RANDOM_ERROR_RATIO - error) * efficiency**2 * half * (1 + half) / alike
        # A click in coincidence with an afterpulse at the other end is random.
        gain = once * (1 + receiver.detectors.afterpulse_ratio) ** 2
        qber = RANDOM_ERROR_RATIO - right / gain if gain > 0 else RANDOM_ERROR_RATIO
        singles = end * (1 + receiver.detectors.afterpulse_ratio)
        live = receiver.live_ratio(singles)
        return Expected(
            light_hz=receiver.pulse_rate_hz * live * max(0.0, singles - dark),
            # Both ends must have recovered.
            sifted_bps=receiver.pulse_rate_hz * live**2 * gain * self.sifting_ratio * channel.sifted_ratio,
            noise=min(RANDOM_ERROR_RATIO, max(0.0, qber)),
            optics_error_ratio=error,
            secret_ratio=partial(secret_fraction, efficiency=self.reconciliation_efficiency),
        )


def best_pairs(protocol: Bbm92, channel: Channel) -> Bbm92:
    """The protocol with as many pairs per pulse as give most key over a channel."""

    def lost(mean_pairs: float) -> float:
        expected = replace(protocol, mean_pairs=mean_pairs).expected(channel)
        # Below 0 too, so that the search finds its way to where there is key.
        return expected.sifted_bps * (
            (1 + protocol.reconciliation_efficiency) * binary_entropy(expected.noise) - 1
        )

    # Golden section over the logarithm: too few pairs give no key, too many err, with one best between.
    low, high = math.log(LEAST_PAIRS), math.log(MOST_PAIRS)
    while high - low > 1e-4:
        step = (high - low) / GOLDEN_RATIO
        if lost(math.exp(high - step)) < lost(math.exp(low + step)):
            high = low + step
        else:
            low = high - step
    return replace(protocol, mean_pairs=math.exp((low + high) / 2))


def _clicks(lit: float, dark: float) -> float:
    """1 - (1 - dark) / (1 + lit)^2: probability of a click for light of thermal statistics in two modes."""
    return (lit * (2 + lit) + dark) / (1 + lit) ** 2
