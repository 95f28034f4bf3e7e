"""Decoy-state BB84 with weak coherent pulses: Ma, Qi, Zhao, Lo, Phys. Rev. A 72, 012326 (2005).

Gains and bounds are that paper's. Dark counts and light exclude each other here, so that gains stay
probabilities however many dark counts there are: Y0 + (1 - Y0) (1 - exp(-eta mu)) for Y0 + 1 - exp(-eta mu).
"""

import math
from dataclasses import dataclass, replace
from functools import partial

from keyweave.emulator.physics import finite_key
from keyweave.emulator.physics.channel import Channel, Expected
from keyweave.emulator.physics.detectors import Receiver
from keyweave.emulator.physics.finite_key import FiniteKey, Intensity
from keyweave.emulator.physics.information import RANDOM_ERROR_RATIO, binary_entropy, shifted


@dataclass(frozen=True, slots=True)
class _Light:
    """Gains and errors of a channel."""

    background_ratio: float
    # Of one photon, from source to click.
    transmittance_ratio: float
    signal_error_ratio: float
    # Further clicks per click.
    afterpulse_ratio: float

    def of(self, photon_number: float, share: float) -> Intensity:
        """Overall gain and QBER, with afterpulses, which are random, as in Lim et al. 2014."""
        lit = -math.expm1(-self.transmittance_ratio * photon_number)
        return self._clicks(photon_number, share, lit)

    def of_one_photon(self) -> Intensity:
        """Yield Y1 and error e1 of pulses with exactly one photon."""
        return self._clicks(1.0, 1.0, self.transmittance_ratio)

    def _clicks(self, photon_number: float, share: float, lit: float) -> Intensity:
        light = (1 - self.background_ratio) * lit
        once = self.background_ratio + light
        errors = RANDOM_ERROR_RATIO * self.background_ratio + self.signal_error_ratio * light
        gain = once * (1 + self.afterpulse_ratio)
        errors += RANDOM_ERROR_RATIO * self.afterpulse_ratio * once
        return Intensity(photon_number, share, gain, errors / gain if gain else RANDOM_ERROR_RATIO)


@dataclass(frozen=True, slots=True)
class DecoyBb84:
    """A sender of three intensities (signal, weak, vacuum) and a receiver."""

    receiver: Receiver
    mean_photon_number: float = 0.48
    # None for the limit of infinitely many decoy intensities, which leaves nothing unknown.
    weak_photon_number: float | None = 0.05
    # Probabilities with which a pulse is a signal, or weak; the others are vacuum.
    signal_ratio: float = 0.9
    weak_ratio: float = 0.05
    vacuum_photon_number: float = 0.0
    # Error of the optics: e_detector.
    misalignment_ratio: float = 0.01
    reconciliation_efficiency: float = 1.22
    # Detections that survive sifting, of blocks without end: q. With `finite` its choice of bases counts.
    sifting_ratio: float = 0.5
    finite: FiniteKey | None = None

    def __post_init__(self) -> None:
        weak, vacuum = self.weak_photon_number, self.vacuum_photon_number
        if weak is not None and not vacuum < weak < self.mean_photon_number - vacuum:
            raise ValueError(
                f"weak_photon_number {weak:g} must lie between vacuum_photon_number {vacuum:g} and "
                f"mean_photon_number {self.mean_photon_number:g} less that"
            )
        if self.signal_ratio + self.weak_ratio > 1:
            raise ValueError(
                f"signal_ratio {self.signal_ratio:g} and weak_ratio {self.weak_ratio:g} exceed 1 together"
            )
        if self.finite is None:
            return
        if weak is None:
            raise ValueError("finite blocks need a weak_photon_number: infinitely many decoys have none")
        if not 0 < self.weak_ratio < 1 - self.signal_ratio:
            raise ValueError("finite blocks need weak and vacuum pulses; lower signal_ratio or weak_ratio")

    def expected(self, channel: Channel) -> Expected:
        """See QkdProtocol."""
        receiver = self.receiver
        light = self._light(channel)
        sent = self._sent(light, channel.brightness_ratio)
        clicks = math.fsum(i.share * i.gain for i in sent)
        live = receiver.live_ratio(clicks)
        # Key is of the signals, or with finite blocks of all pulses whose basis both ends chose for it.
        of_key = sent if self.finite else sent[:1]
        sifting = self.finite.key_basis_ratio**2 if self.finite else self.sifting_ratio
        detected = math.fsum(i.share * i.gain for i in of_key)
        wrong = math.fsum(i.share * i.gain * i.error_ratio for i in of_key)
        qber = wrong / detected if detected else RANDOM_ERROR_RATIO
        pulses_hz = receiver.pulse_rate_hz * live
        return Expected(
            light_hz=pulses_hz * max(0.0, clicks - light.background_ratio),
            sifted_bps=pulses_hz * detected * sifting * channel.sifted_ratio,
            noise=qber,
            optics_error_ratio=light.signal_error_ratio,
            secret_ratio=partial(self._secret_ratio, light, sent, qber),
        )

    def _light(self, channel: Channel) -> _Light:
        return _Light(
            background_ratio=self.receiver.background_ratio(channel),
            transmittance_ratio=channel.transmittance_ratio * self.receiver.efficiency_ratio,
            signal_error_ratio=channel.signal_error_ratio(self.receiver.jittered(self.misalignment_ratio)),
            afterpulse_ratio=self.receiver.detectors.afterpulse_ratio,
        )

    def _sent(self, light: _Light, brightness: float) -> tuple[Intensity, ...]:
        """Signal, weak and vacuum; signal and vacuum alone where there are infinitely many decoys."""
        signal = light.of(self.mean_photon_number * brightness, self.signal_ratio)
        if self.weak_photon_number is None:
            return (signal, light.of(0.0, 1 - self.signal_ratio))
        rest = 1 - self.signal_ratio - self.weak_ratio
        return (
            signal,
            light.of(self.weak_photon_number * brightness, self.weak_ratio),
            light.of(self.vacuum_photon_number * brightness, rest),
        )

    def _secret_ratio(
        self, light: _Light, sent: tuple[Intensity, ...], expected_qber: float, qber: float
    ) -> float:
        """Secret bits per sifted bit at an estimate of the QBER: R over q Q_mu, or Lim et al. 2014."""
        seen = tuple(replace(i, error_ratio=shifted(i.error_ratio, expected_qber, qber)) for i in sent)
        if self.finite:
            return finite_key.secret_ratio(seen, self.finite, efficiency=self.reconciliation_efficiency)
        signal = seen[0]
        if self.weak_photon_number is None:
            one = light.of_one_photon()
            least, most_error = one.gain, shifted(one.error_ratio, expected_qber, qber)
        else:
            least, most_error = _from_two_decoys(signal, seen[1], seen[2])
        if least <= 0 or signal.gain <= 0:
            return 0.0
        single = least * signal.photon_number * math.exp(-signal.photon_number) / signal.gain
        leaked = self.reconciliation_efficiency * binary_entropy(signal.error_ratio)
        return max(0.0, single * (1 - binary_entropy(most_error)) - leaked)


def _from_two_decoys(signal: Intensity, weak: Intensity, faint: Intensity) -> tuple[float, float]:
    """The least yield and the most error of single photons; with a faint decoy of 0, vacuum + weak."""
    mu, nu, rest = signal.photon_number, weak.photon_number, faint.photon_number
    of_weak, of_faint = weak.gain * math.exp(nu), faint.gain * math.exp(rest)
    vacuum = max(0.0, (nu * of_faint - rest * of_weak) / (nu - rest))
    multiple = (nu**2 - rest**2) / mu**2 * (signal.gain * math.exp(mu) - vacuum)
    least = mu * (of_weak - of_faint - multiple) / (mu * (nu - rest) - nu**2 + rest**2)
    if least <= 0:
        return 0.0, RANDOM_ERROR_RATIO
    errors = of_weak * weak.error_ratio - of_faint * faint.error_ratio
    return least, min(RANDOM_ERROR_RATIO, max(0.0, errors / (least * (nu - rest))))
