"""What waiting does to a pair whose halves sit in quantum memories."""

import math
from dataclasses import dataclass

from keyweave.common.entanglement.bell import Bell


@dataclass(frozen=True, slots=True)
class Memory:
    """Relaxation and coherence times of one memory; infinite where it does not fade.

    T2 <= 2 T1, as for every system of two levels.
    """

    t1_seconds: float = math.inf
    t2_seconds: float = math.inf

    def __post_init__(self) -> None:
        """ValueError for times that no memory has."""
        if not self.t1_seconds > 0 or not self.t2_seconds > 0:
            raise ValueError("t1_seconds and t2_seconds must be above 0")
        if self.t2_seconds > 2 * self.t1_seconds:
            raise ValueError(f"t2_seconds {self.t2_seconds:g} is more than twice t1 {self.t1_seconds:g}")


def dephasing_ratio(seconds: float, t2_seconds: float) -> float:
    """How probably a phase flip has happened: (1 - exp(-t/T2)) / 2 (Nielsen and Chuang, section 8.3.6)."""
    return -math.expm1(-seconds / t2_seconds) / 2.0


def dephased(state: Bell, flip_ratio: float) -> Bell:
    """After a phase flip of one half with this probability: each sign turns into the other."""
    keep = 1.0 - flip_ratio
    return Bell(
        keep * state.phi_plus + flip_ratio * state.phi_minus,
        keep * state.phi_minus + flip_ratio * state.phi_plus,
        keep * state.psi_plus + flip_ratio * state.psi_minus,
        keep * state.psi_minus + flip_ratio * state.psi_plus,
    )


def depolarised(state: Bell, seconds: float, t_seconds: float) -> Bell:
    """One half depolarising: with exp(-t/T) as it was, else fully mixed."""
    kept = math.exp(-seconds / t_seconds)
    lost = (1.0 - kept) / 4.0
    return Bell(*(kept * each + lost for each in state))


def pauli_errors(seconds: float, memory: Memory) -> tuple[float, float, float]:
    """How probably one half suffers X, Y and Z while it waits so long.

    Relaxation and dephasing as Pauli errors (the twirled channel of Ghosh, Fowler and Geller, Phys. Rev. A
    86, 062318 (2012)): X and Y each (1 - exp(-t/T1)) / 4, Z (1 - exp(-t/T2)) / 2 - (1 - exp(-t/T1)) / 4.
    Without relaxation this is dephasing alone.
    """
    if seconds < 0.0:
        raise ValueError(f"{seconds:g} s is no time to wait")
    x = -math.expm1(-seconds / memory.t1_seconds) / 4.0
    return x, x, max(0.0, dephasing_ratio(seconds, memory.t2_seconds) - x)


def waited(state: Bell, seconds: float, memory: Memory) -> Bell:
    """One half having waited so long; see `pauli_errors`."""
    x, y, z = pauli_errors(seconds, memory)
    keep = 1.0 - x - y - z
    a, b, c, d = state
    return Bell(
        keep * a + z * b + x * c + y * d,
        keep * b + z * a + x * d + y * c,
        keep * c + z * d + x * a + y * b,
        keep * d + z * c + x * b + y * a,
    )


def cutoff_seconds(state: Bell, floor: float, a: Memory, b: Memory) -> float:
    """How long a pair may wait in these two memories until its fidelity is at `floor`; infinite if for ever.

    Found by bisection, to a thousandth of the time: fidelity above 1/4 falls with waiting.
    """
    if state.fidelity < floor:
        return 0.0
    low, high = 0.0, min(a.t2_seconds, b.t2_seconds)
    if math.isinf(high):
        return math.inf

    def fidelity(seconds: float) -> float:
        return waited(waited(state, seconds, a), seconds, b).fidelity

    while fidelity(high) >= floor:
        if high > 1e6 * min(a.t2_seconds, b.t2_seconds):
            return math.inf
        low, high = high, 2.0 * high
    while high - low > 1e-3 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if fidelity(middle) >= floor else (low, middle)
    return low
