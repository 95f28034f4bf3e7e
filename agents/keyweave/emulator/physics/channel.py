"""What a protocol is run over at one moment, what it then makes, and what every protocol does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from keyweave.emulator.physics.information import (
    INTERCEPT_RESEND_ERROR_RATIO,
    RANDOM_ERROR_RATIO,
    either_flips,
)

# Share of sifted bits that are left once the ends no longer know which pulse is which. Assumed.
SIFTED_WITHOUT_CLOCK_RATIO = 0.01


@dataclass(frozen=True, slots=True)
class Channel:
    """Fibre and devices at one moment: their specification apart, all that bears on the expectations."""

    loss_db: float
    intercepted_ratio: float = 0.0
    # Probability that optics out of alignment flip a bit, beyond what the protocol has of its own.
    misalignment_ratio: float = 0.0
    # Of the detectors, above their working temperature.
    warming_kelvin: float = 0.0
    dark_count_burst_factor: float = 1.0
    # What is left of the light that the source was specified to send.
    brightness_ratio: float = 1.0
    blinded: bool = False
    clock_lost: bool = False

    @property
    def transmittance_ratio(self) -> float:
        """The share of light that arrives."""
        return float(10 ** (-self.loss_db / 10))

    @property
    def sifted_ratio(self) -> float:
        """The share of bits that both ends can still assign to a pulse."""
        return SIFTED_WITHOUT_CLOCK_RATIO if self.clock_lost else 1.0

    def signal_error_ratio(self, undisturbed: float) -> float:
        """The error of bits that light carries, where the protocol's own optics cause `undisturbed`.

        For protocols of two conjugate bases. Bits of which nobody knows the pulse are random. Frames that are
        turned so far that more than half of the bits are wrong count as random too.
        """
        if self.clock_lost:
            return RANDOM_ERROR_RATIO
        error = either_flips(undisturbed, INTERCEPT_RESEND_ERROR_RATIO * self.intercepted_ratio)
        return min(RANDOM_ERROR_RATIO, either_flips(error, self.misalignment_ratio))


@dataclass(frozen=True, slots=True)
class Expected:
    """Expectations over one channel, per second."""

    # Clicks for light at each receiving end, all its detectors together.
    light_hz: float
    sifted_bps: float
    # What the device estimates and acts on: the QBER, or the excess noise where no errors are counted.
    noise: float
    # Error that the optics alone cause: what visibility tells of. None without interference to see.
    optics_error_ratio: float | None
    # Secret bits per sifted bit that post-processing leaves at an estimate of the noise.
    secret_ratio: Callable[[float], float]
    # False with homodyne receivers: there are no single bits to compare.
    counts_errors: bool = True

    @property
    def secret_bps(self) -> float:
        """The secret key rate once the estimate has settled."""
        return self.sifted_bps * self.secret_ratio(self.noise)


class QkdProtocol(Protocol):
    """One protocol with the hardware that runs it. Equal channels give equal expectations."""

    def expected(self, channel: Channel) -> Expected:
        """What it makes over a channel."""
        ...
