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

    Both begin at the same time. When the attempt fails both begin anew; when one has waited for too long only
    that one does, and how far the other is by then is taken as it is on average the first time.

    Args:
        one: a pair.
        other: the other.
        decays: of either while it waits.
        joining: what is done to them.
        cutoff_seconds: how long each may wait for the other.
        after: how long until the outcome is known, and the decay meanwhile.
    """
    step = max(one.bin_seconds, other.bin_seconds)
    cutoffs = cutoff_seconds[0] / step, cutoff_seconds[1] / step
    a, b = _on(one, step), _on(other, step)
    starts = [(a, b)]
    if min(cutoffs) < BINS:
        starts += [(a, _still_to_come(b, a[0], cutoffs[0])), (_still_to_come(a, b[0], cutoffs[1]), b)]
    delay, fading = after[0] / step, after[1] * after[0]
    tries = [_try(*pair, decays, joining, cutoffs, step) for pair in starts]
    made = np.stack([_later(each.made * np.exp(-fading)[:, None], delay) for each in tries])
    onward = np.zeros((len(tries), len(tries), BINS))
    for begun, each in enumerate(tries):
        onward[begun, 0] = _later(each.met[None], delay)[0] - made[begun, 0]
        for next_start, gone in enumerate(each.given_up[: len(tries) - 1], start=1):
            onward[begun, next_start] = gone
    return _until_success(made, onward, step)


@dataclass(frozen=True, slots=True)
class _Try:
    """One attempt, by the bin in which it ends."""

    # Weighted correlations of what is made; probability that both were there; that either was given up.
    made: Floats
    met: Floats
    given_up: tuple[Floats, Floats]


def _try(
    a: Floats,
    b: Floats,
    decays: tuple[Floats, Floats],
    joining: Joining,
    cutoffs: tuple[float, float],
    step: float,
) -> _Try:
    waited_a = _waiting(a, decays[0] * step, cutoffs[0])
    waited_b = _waiting(b, decays[1] * step, cutoffs[1])
    return _Try(
        joining(a, waited_b) + joining(waited_a - a, b),
        a[0] * waited_b[0] + (waited_a[0] - a[0]) * b[0],
        (_given_up(a[0], b[0], cutoffs[0]), _given_up(b[0], a[0], cutoffs[1])),
    )


def _until_success(made: Floats, onward: Floats, step: float) -> Arrival | None:
    """The first success among attempts one after the other.

    Args:
        made: by kind of attempt, what it makes.
        onward: by kind of attempt and of the next, when it ends without.
        step: of the grid.
    """
    kinds = len(made)
    leads_to = onward.sum(axis=2)
    success = made[:, 0].sum(axis=1)
    if success.max() < 1e-9:
        return None
    # How often each kind is tried until one succeeds, and so how long that takes (Wald's equation).
    tried = np.linalg.solve(np.eye(kinds) - leads_to.T, np.eye(kinds)[0])
    times = (np.arange(BINS) + 0.5) * step
    mean = float(tried @ ((made[:, 0] + onward.sum(axis=1)) @ times) / (tried @ success))
    coarse = max(step, _MEANS * mean / BINS)
    made = np.stack([_on(Arrival(each, step, mean), coarse) for each in made])
    onward = _delays(onward, step / coarse)
    damping = _DAMPING ** np.arange(BINS)
    spectrum = np.fft.rfft(onward * damping, 2 * BINS)
    begun = np.linalg.solve(np.eye(kinds) - spectrum.transpose(2, 1, 0), np.eye(kinds)[:, :1])[:, :, 0]
    arrived = np.einsum("fk,kcf->cf", begun, np.fft.rfft(made * damping, 2 * BINS))
    mass = np.fft.irfft(arrived, 2 * BINS)[:, :BINS] / damping
    whole = np.einsum("k,kcb->c", tried, made) / (tried @ success)
    mass[:, -1] += whole - mass.sum(axis=1)
    return Arrival(mass, coarse, mean)


def _delays(mass: Floats, ratio: float) -> Floats:
    """The same as delays of whole bins, on a grid that is coarser by a ratio; their mean is kept.

    An attempt may be much shorter than a bin, and there may be many.
    """
    at = (np.arange(BINS) + 0.5) * ratio
    whole = at.astype(np.int64)
    part = at - whole
    delays = np.zeros((*mass.shape[:2], BINS + 1))
    for row, column in np.ndindex(*mass.shape[:2]):
        each = mass[row, column]
        delays[row, column] = np.bincount(whole, each * (1 - part), BINS + 1)
        delays[row, column] += np.bincount(whole + 1, each * part, BINS + 1)
    return delays[:, :, :BINS]


def _still_to_come(mass: Floats, first: Floats, cutoff: float) -> Floats:
    """When and what one is that has not come when the other, given up after so many bins, begins anew."""
    spectrum = np.conj(np.fft.rfft(first, 2 * BINS)) * np.fft.rfft(mass, 2 * BINS)
    by_lag = np.fft.irfft(spectrum, 2 * BINS)[:, :BINS]
    whole, part = _window(cutoff)
    left = np.zeros_like(by_lag)
    if whole < BINS:
        late = by_lag[:, whole:].copy()
        late[:, 0] *= 1 - part
        left[:, : BINS - whole] = (1 - part) * late
        left[:, : BINS - whole - 1] += part * late[:, 1:]
        left[:, 0] += part * late[:, 0]
    weight = left[0].sum()
    return left / weight if weight > 1e-12 else mass


def _window(cutoff: float) -> tuple[int, float]:
    """Lags in bins that are within a cut-off, and the share of the next: from the middle of a bin on."""
    lags = min(cutoff, 2.0 * BINS) + 0.5
    return int(lags), lags % 1.0


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
    if cutoff >= BINS:
        return sums
    before = sums.copy()
    whole, part = _window(cutoff)
    for lag, share in ((whole, 1 - part), (whole + 1, part)):
        # Half a bin before the grid's end, the later of the two lies beyond it.
        if lag >= BINS:
            break
        sums[:, lag:] -= share * np.exp(-decays * lag)[:, None] * before[:, : BINS - lag]
    return sums


def _given_up(mass: Floats, other: Floats, cutoff: float) -> Floats:
    """When one that came first has waited for so many bins and the other has not come."""
    if cutoff >= BINS:
        return np.zeros(BINS)
    to_come = np.zeros(2 * BINS + 2)
    to_come[:BINS] = np.cumsum(other[::-1])[::-1]
    whole, part = _window(cutoff)
    late = (1 - part) * to_come[whole : whole + BINS] + part * to_come[whole + 1 : whole + 1 + BINS]
    return np.asarray(_later((mass * late)[None], cutoff)[0], dtype=np.float64)


def _later(mass: Floats, bins: float) -> Floats:
    """Shifted by a number of bins that need not be whole; what leaves the grid stays in its last bin."""
    length = mass.shape[1]
    whole, part = min(int(bins), length), bins - int(bins)
    padded = np.concatenate((np.zeros((len(mass), whole)), mass, np.zeros((len(mass), 1))), axis=1)
    padded = (1 - part) * padded + part * np.roll(padded, 1, axis=1)
    shifted = padded[:, :length].copy()
    shifted[:, -1] += padded[:, length:].sum(axis=1)
    return shifted
