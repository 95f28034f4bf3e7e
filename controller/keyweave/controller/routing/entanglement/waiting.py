"""When a pair is there and in what state, as distributions on a grid of time: of one, and of one made of two.

After Brand, Coopmans and Elkouss (IEEE J. Sel. Areas Commun. 38, 619 (2020)) and Li, Coopmans and Elkouss
(IEEE Trans. Quantum Eng. 2, 4103015 (2021)), with Bell-diagonal states in the place of Werner states. A state
is held as its correlations (1, XX, -YY, ZZ), which swapping multiplies and waiting lets decay exponentially;
swapping and purification are linear in each of two pairs, so what is computed are exact means, not typical
cases.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from keyweave.common.entanglement.bell import Bell
from keyweave.common.entanglement.memory import Memory

Floats = NDArray[np.float64]
# Of two pairs' correlations, that of what they make, times the probability that they make it.
Joining = Callable[[Floats, Floats], Floats]

BINS = 256
# The grid covers so many means: an exponential has 6e-6 beyond.
_MEANS = 12.0
# Damping against what wraps around in a Fourier transform of twice the grid.
_DAMPING = 10.0 ** (-4.0 / BINS)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A pair's coming: by bin of time its probability and, weighted with that, its correlations."""

    mass: Floats
    bin_seconds: float
    mean_seconds: float

    @property
    def state(self) -> Bell:
        """On average."""
        return bell(self.mass.sum(axis=1))


def correlations(state: Bell) -> Floats:
    """(1, XX, -YY, ZZ) of a Bell-diagonal state."""
    a, b, c, d = state
    return np.array([a + b + c + d, a - b + c - d, a - b - c + d, a + b - c - d])


def bell(correlation: Floats) -> Bell:
    """The state of these correlations, normalised."""
    one, x, y, z = (float(each) for each in correlation / correlation[0])
    return Bell((one + x + y + z) / 4, (one - x - y + z) / 4, (one + x - y - z) / 4, (one - x + y - z) / 4)


def decay(a: Memory, b: Memory) -> Floats:
    """By correlation, how fast it falls while the two halves wait in these memories (see memory.waited)."""
    phase = 1 / a.t2_seconds + 1 / b.t2_seconds
    return np.array([0.0, phase, phase, 1 / a.t1_seconds + 1 / b.t1_seconds])


def heralded(rate_hz: float, state: Bell) -> Arrival:
    """The first of a Poisson process."""
    step = _MEANS / BINS
    edges = np.exp(-step * np.arange(BINS + 1))
    edges[-1] = 0.0
    return Arrival(np.outer(correlations(state), edges[:-1] - edges[1:]), step / rate_hz, 1 / rate_hz)


def swapping(success_ratio: float, gate_fidelity: float) -> Joining:
    """Correlations multiply (bell.swapped)."""
    factor = success_ratio * np.array([[1.0], [gate_fidelity], [gate_fidelity], [gate_fidelity]])

    def joined(left: Floats, right: Floats) -> Floats:
        return np.asarray(left * right * factor, dtype=np.float64)

    return joined


def purifying(gate_fidelity: float) -> Joining:
    """DEJMPS (purification.dejmps) in correlations."""
    factor = np.array([[0.5], [gate_fidelity / 2], [gate_fidelity / 2], [gate_fidelity / 2]])

    def joined(kept: Floats, measured: Floats) -> Floats:
        (i, x, y, z), (j, u, v, w) = kept, measured
        both = np.stack([i * j + y * v, x * u + z * w, x * w + z * u, y * j + i * v])
        return np.asarray(both * factor, dtype=np.float64)

    return joined


def together(
    one: Arrival,
    other: Arrival,
    decays: tuple[Floats, Floats],
    joining: Joining,
    cutoff_seconds: tuple[float, float],
    after: tuple[float, Floats],
) -> Arrival | None:
    """What two pairs make, tried again until it succeeds; None if it never does.

    Both begin at the same time and, when the attempt fails or one has waited for too long, anew. (Only the
    one that waited begins anew in fact. That is the same where the other comes as a Poisson process.)

    Args:
        one: a pair.
        other: the other.
        decays: of either while it waits.
        joining: what is done to them.
        cutoff_seconds: how long each may wait for the other.
        after: how long until the outcome is known, and the decay meanwhile.
    """
    step = max(one.bin_seconds, other.bin_seconds)
    a, b = _on(one, step), _on(other, step)
    waited_a, waited_b = (
        _waiting(each, rate * step, cutoff / step)
        for each, rate, cutoff in zip((a, b), decays, cutoff_seconds, strict=True)
    )
    made = joining(a, waited_b) + joining(waited_a - a, b)
    met = a[0] * waited_b[0] + (waited_a[0] - a[0]) * b[0]
    delay, fading = after
    made = _later(made * np.exp(-fading * delay)[:, None], delay / step)
    failed = _later(met[None], delay / step)[0] - made[0]
    failed += _given_up(a[0], b[0], cutoff_seconds[0] / step) + _given_up(
        b[0], a[0], cutoff_seconds[1] / step
    )
    success = float(made[0].sum())
    if success < 1e-12:
        return None
    times = (np.arange(BINS) + 0.5) * step
    attempt = float(times @ (made[0] + failed))
    return _until_success(made, failed, step, attempt / success)


def _until_success(made: Floats, failed: Floats, step: float, mean: float) -> Arrival:
    """The distribution of the first success among attempts one after the other."""
    coarse = max(step, _MEANS * mean / BINS)
    masses = _on(Arrival(np.vstack([made, failed]), step, mean), coarse)
    # Times are middles of bins: with every further attempt half a bin would be lost.
    again = (masses[4] + np.concatenate(([0.0], masses[4, :-1]))) / 2
    damping = _DAMPING ** np.arange(BINS)
    spectrum = np.fft.rfft(masses[:4] * damping, 2 * BINS) / (1 - np.fft.rfft(again * damping, 2 * BINS))
    mass = np.fft.irfft(spectrum, 2 * BINS)[:, :BINS] / damping
    whole = masses[:4].sum(axis=1) / masses[0].sum()
    mass[:, -1] += whole - mass.sum(axis=1)
    return Arrival(mass, coarse, mean)


def _on(arrival: Arrival, step: float) -> Floats:
    """The same on a coarser grid."""
    if step <= arrival.bin_seconds:
        return arrival.mass
    sums = np.concatenate((np.zeros((len(arrival.mass), 1)), np.cumsum(arrival.mass, axis=1)), axis=1)
    edges = np.arange(BINS + 1) * (step / arrival.bin_seconds)
    known = np.arange(BINS + 1)
    return np.diff(np.stack([np.interp(edges, known, each) for each in sums]), axis=1)


def _waiting(mass: Floats, decays: Floats, cutoff: float) -> Floats:
    """By bin: what has come up to then and still waits, as it then is."""
    sums: Floats = np.stack(
        [lfilter([1.0], [1.0, -float(np.exp(-rate))], each) for each, rate in zip(mass, decays, strict=True)]
    )
    if cutoff < BINS:
        # What came a cut-off ago or before, without what piles up in the last bin.
        gone = _later(np.concatenate((sums, np.zeros_like(sums)), axis=1), cutoff)[:, :BINS]
        sums -= gone * np.exp(-decays * cutoff)[:, None]
    return sums


def _given_up(mass: Floats, other: Floats, cutoff: float) -> Floats:
    """When one that came first has waited for so many bins and the other has not come."""
    if cutoff >= BINS:
        return np.zeros(BINS)
    to_come = np.concatenate((np.cumsum(other[::-1])[::-1][1:], [0.0]))
    return np.asarray(_later(mass[None], cutoff)[0] * to_come, dtype=np.float64)


def _later(mass: Floats, bins: float) -> Floats:
    """Shifted by a number of bins that need not be whole; what leaves the grid stays in its last bin."""
    length = mass.shape[1]
    whole, part = min(int(bins), length), bins - int(bins)
    padded = np.concatenate((np.zeros((len(mass), whole)), mass, np.zeros((len(mass), 1))), axis=1)
    padded = (1 - part) * padded + part * np.roll(padded, 1, axis=1)
    shifted = padded[:, :length].copy()
    shifted[:, -1] += padded[:, length:].sum(axis=1)
    return shifted
