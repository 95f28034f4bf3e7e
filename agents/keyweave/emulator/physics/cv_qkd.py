"""CV-QKD: Gaussian-modulated coherent states, homodyne detection, reverse reconciliation.

Lodewyck et al., Phys. Rev. A 76, 042305 (2007), in its names: collective attacks, blocks without end, and a
detector whose noise the eavesdropper does not control. Variances are in units of the shot noise.
"""

import math
from dataclasses import dataclass

from keyweave.emulator.physics.channel import Channel, Expected

# Excess noise of a full intercept-resend attack: one unit each for measuring both quadratures and for sending
# on (Lodewyck et al., Phys. Rev. Lett. 98, 030503 (2007)).
INTERCEPT_RESEND_EXCESS_NOISE = 2.0


@dataclass(frozen=True, slots=True)
class CvQkd:
    """A Gaussian modulator and a homodyne receiver."""

    symbol_rate_hz: float
    # V_A.
    modulation_variance: float = 4.0
    # Of modulation and lasers, at the channel's input: epsilon.
    excess_noise: float = 0.01
    # Of the homodyne detector: eta and v_el.
    efficiency_ratio: float = 0.6
    electronic_noise: float = 0.01
    # beta: the share of the mutual information that error correction reaches.
    reconciliation_efficiency: float = 0.95
    # The symbols that are not disclosed to estimate the channel.
    key_ratio: float = 0.5

    def expected(self, channel: Channel) -> Expected:
        """See QkdProtocol. It counts no errors: what it acts on is the excess noise."""
        variance = self.modulation_variance * channel.brightness_ratio
        # Phase noise of variance 4 e, which in an interferometer makes the error e, adds V_A times that.
        noise = (
            self.excess_noise
            + INTERCEPT_RESEND_EXCESS_NOISE * channel.intercepted_ratio
            + 4 * variance * channel.misalignment_ratio
        )

        def secret_ratio(excess_noise: float) -> float:
            # Who does not know which symbol is which shares nothing.
            if channel.clock_lost:
                return 0.0
            return self._secret_ratio(variance, channel.transmittance_ratio, excess_noise)

        return Expected(
            light_hz=0.0,
            sifted_bps=self.symbol_rate_hz * self.key_ratio * channel.sifted_ratio,
            noise=noise,
            optics_error_ratio=None,
            secret_ratio=secret_ratio,
            counts_errors=False,
        )

    def _secret_ratio(self, modulation: float, transmittance: float, excess_noise: float) -> float:
        """Bits per symbol: beta I_AB - chi_BE, never below 0."""
        variance = modulation + 1
        of_line = 1 / transmittance - 1 + excess_noise
        of_detector = (1 + self.electronic_noise) / self.efficiency_ratio - 1
        total = of_line + of_detector / transmittance
        shared = 0.5 * math.log2((variance + total) / (1 + total))

        # Symplectic eigenvalues of the state before, and after, Bob's measurement.
        a = variance**2 * (1 - 2 * transmittance) + 2 * transmittance
        a += transmittance**2 * (variance + of_line) ** 2
        root_b = transmittance * (variance * of_line + 1)
        measured = transmittance * (variance + total)
        c = (variance * root_b + transmittance * (variance + of_line) + a * of_detector) / measured
        d = root_b * (variance + root_b * of_detector) / measured
        known = sum(_entropy(value) for value in _eigenvalues(a, root_b**2))
        left = sum(_entropy(value) for value in _eigenvalues(c, d))
        return max(0.0, self.reconciliation_efficiency * shared - (known - left))


def _eigenvalues(total: float, product: float) -> tuple[float, float]:
    """Roots of the two solutions of x^2 - total x + product = 0."""
    spread = math.sqrt(max(0.0, total**2 - 4 * product))
    larger = (total + spread) / 2
    return math.sqrt(larger), math.sqrt(product / larger)


def _entropy(eigenvalue: float) -> float:
    """Of a thermal state: G((lambda - 1) / 2), in bits."""
    photons = max(0.0, (eigenvalue - 1) / 2)
    if photons == 0:
        return 0.0
    return (photons + 1) * math.log2(photons + 1) - photons * math.log2(photons)
