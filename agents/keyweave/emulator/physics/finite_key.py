"""How much of a finite block of decoy-state BB84 is secret.

Lim, Curty, Walenta, Xu, Zbinden, Phys. Rev. A 89, 022307 (2014), eqs. (1) to (5), in the paper's names: the
key is of basis X, the errors of basis Z bound its phase errors. As in the paper's figures the expected counts
stand for the observed ones, so the result is an expectation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from keyweave.emulator.physics.information import binary_entropy

# Secrecy is divided evenly over so many failure probabilities: eq. (B4).
_FAILURES = 21


@dataclass(frozen=True, slots=True)
class FiniteKey:
    """How a device forms blocks, and what it promises of each."""

    # Sifted bits of the key basis that are post-processed at once: n_X.
    block_bits: float = 1e7
    # Probability that a block's key is not secret, and that the two ends' keys differ.
    secrecy: float = 1e-10
    correctness: float = 1e-15
    # Probability with which either end chooses the key basis: q_x.
    key_basis_ratio: float = 0.9


@dataclass(frozen=True, slots=True)
class Intensity:
    """Pulses of one mean photon number, and what came of them."""

    photon_number: float
    # With which probability a pulse is one of these.
    share: float
    # Detections per pulse, and the error among them.
    gain: float
    error_ratio: float


def secret_ratio(intensities: Sequence[Intensity], finite: FiniteKey, *, efficiency: float) -> float:
    """Secret bits per sifted bit of the key basis; `intensities` are signal, weak and (nearly) vacuum."""
    gain = math.fsum(i.share * i.gain for i in intensities)
    if gain <= 0:
        return 0.0
    key_bits = finite.block_bits
    check_bits = key_bits * ((1 - finite.key_basis_ratio) / finite.key_basis_ratio) ** 2
    of_key = [key_bits * i.share * i.gain / gain for i in intensities]
    of_check = [check_bits * i.share * i.gain / gain for i in intensities]
    errors = [count * i.error_ratio for count, i in zip(of_check, intensities, strict=True)]
    log_failure = math.log(_FAILURES / finite.secrecy)

    vacuum, single = _vacuum_and_single(intensities, of_key, log_failure)
    _, single_check = _vacuum_and_single(intensities, of_check, log_failure)
    if single <= 0 or single_check <= 0:
        return 0.0
    wrong = _single_errors(intensities, errors, log_failure) / single_check
    if wrong >= 0.5:
        return 0.0
    phase = min(0.5, wrong + _sampling(finite.secrecy, wrong, single_check, single))
    qber = math.fsum(i.share * i.gain * i.error_ratio for i in intensities) / gain
    leaked = key_bits * efficiency * binary_entropy(qber)
    promised = 6 * math.log2(_FAILURES / finite.secrecy) + math.log2(2 / finite.correctness)
    length = vacuum + single * (1 - binary_entropy(phase)) - leaked - promised
    return max(0.0, length) / key_bits


def _emitted(photons: int, intensities: Sequence[Intensity]) -> float:
    """tau_n: probability that a pulse has n photons, n being 0 or 1."""
    return math.fsum(i.share * math.exp(-i.photon_number) * i.photon_number**photons for i in intensities)


def _bounds(
    intensities: Sequence[Intensity], counts: Sequence[float], log_failure: float
) -> tuple[list[float], list[float]]:
    """n- and n+ of each intensity by Hoeffding's inequality, as if all pulses were of it alone."""
    deviation = math.sqrt(math.fsum(counts) / 2 * log_failure)
    scales = [math.exp(i.photon_number) / i.share for i in intensities]
    least = [scale * max(0.0, n - deviation) for scale, n in zip(scales, counts, strict=True)]
    most = [scale * (n + deviation) for scale, n in zip(scales, counts, strict=True)]
    return least, most


def _vacuum_and_single(
    intensities: Sequence[Intensity], counts: Sequence[float], log_failure: float
) -> tuple[float, float]:
    """s_0 and s_1, eqs. (2) and (3): the least detections of pulses without and with one photon."""
    signal, weak, faint = (i.photon_number for i in intensities)
    least, most = _bounds(intensities, counts, log_failure)
    none_emitted, one_emitted = _emitted(0, intensities), _emitted(1, intensities)
    vacuum = max(0.0, none_emitted * (weak * least[2] - faint * most[1]) / (weak - faint))
    multiple = (weak**2 - faint**2) / signal**2 * (most[0] - vacuum / none_emitted)
    single = one_emitted * signal * (least[1] - most[2] - multiple)
    single /= signal * (weak - faint) - weak**2 + faint**2
    return vacuum, max(0.0, single)


def _single_errors(intensities: Sequence[Intensity], errors: Sequence[float], log_failure: float) -> float:
    """v_1, eq. (4): the most errors of pulses with one photon."""
    _, weak, faint = (i.photon_number for i in intensities)
    least, most = _bounds(intensities, errors, log_failure)
    return max(0.0, _emitted(1, intensities) * (most[1] - least[2]) / (weak - faint))


def _sampling(secrecy: float, wrong: float, check: float, key: float) -> float:
    """gamma, eq. (5): by how much the error of what was not looked at may exceed that of the sample."""
    if wrong <= 0:
        return 0.0
    both = (check + key) / (check * key)
    spread = both * (1 - wrong) * wrong / math.log(2)
    return math.sqrt(spread * math.log2(both / ((1 - wrong) * wrong) * (_FAILURES / secrecy) ** 2))
