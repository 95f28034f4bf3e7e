"""The quantum state of pairs in memories, and what the ends do to them. Chance and time come from outside.

A state is what it is, with its Pauli frame: nothing here is corrected unless an end corrects it. Each half
has decohered up to a moment of its own, and is brought up to date when something is done to it. Of a pair one
half of which was measured, the other half has a Bloch vector; both together keep every correlation between
outcomes, whatever the angles and the order.
"""

import math
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from keyweave.common.entanglement.bell import PERFECT, Bell, mixed, swapped
from keyweave.common.entanglement.memory import Memory, pauli_errors, waited
from keyweave.common.entanglement.purification import dejmps
from keyweave.common.names import NodeName

MIXED = Bell(0.25, 0.25, 0.25, 0.25)


class Vector(NamedTuple):
    """Of a state: its Bloch vector; of an outcome: the direction measured along."""

    x: float
    y: float
    z: float


NOTHING_KNOWN = Vector(0.0, 0.0, 0.0)
# Of Phi+: <XX>, <YY>, <ZZ>.
_OF_PHI_PLUS = Vector(1.0, -1.0, 1.0)


@dataclass(slots=True, eq=False)
class Half:
    """What one memory holds."""

    node: NodeName
    memory: Memory
    # The moment up to which its decoherence is in the state.
    since: float
    pair: "Pair" = field(init=False)

    @property
    def other(self) -> "Half | None":
        """The half at the other end, while it is in a memory."""
        return next((half for half in self.pair.halves if half is not self), None)


@dataclass(slots=True, eq=False)
class Pair:
    """Two halves and their state; or the one that is left, with its Bloch vector."""

    halves: list[Half]
    state: Bell
    vector: Vector | None = None
    # One end has done its half of a round of purification.
    round: "_Round | None" = None

    def __post_init__(self) -> None:
        for half in self.halves:
            half.pair = self


@dataclass(slots=True, eq=False)
class _Round:
    """Of purification, half done: by which end, and what has befallen the kept half since."""

    kept: Pair
    measured: Pair
    done: Half
    # The end that has not.
    waiting_kept: Half
    waiting_measured: Half
    outcome: bool
    # With what probability the gates leave the kept pair as theory has it.
    fidelity: float
    # Pauli errors as a pair would have them that was perfect before.
    since_done: Bell = PERFECT


def heralded(state: Bell, x: bool, z: bool, a: Half, b: Half) -> Pair:
    """A new pair in the Bell state that the detectors told, as good as `state` says once corrected."""
    return Pair([a, b], turned(state, x, z))


def settle(half: Half, now: float) -> None:
    """Bring its decoherence up to date."""
    seconds, half.since = now - half.since, now
    if seconds <= 0.0:
        return
    pair = half.pair
    if pair.round is not None and pair.round.done is half:
        pair.round.since_done = waited(pair.round.since_done, seconds, half.memory)
    elif pair.vector is None:
        pair.state = waited(pair.state, seconds, half.memory)
    else:
        x, y, z = pauli_errors(seconds, half.memory)
        along = pair.vector
        pair.vector = Vector(
            along.x * (1.0 - 2.0 * (y + z)), along.y * (1.0 - 2.0 * (x + z)), along.z * (1.0 - 2.0 * (x + y))
        )


def fades(half: Half, memory: Memory, now: float) -> None:
    """From now on it decoheres as `memory` says."""
    settle(half, now)
    half.memory = memory


def correct(half: Half, x: bool, z: bool, now: float) -> None:
    """Apply Pauli X and/or Z."""
    settle(half, now)
    pair = half.pair
    if pair.round is not None and pair.round.done is half:
        pair.round.since_done = turned(pair.round.since_done, x, z)
    elif pair.vector is None:
        pair.state = turned(pair.state, x, z)
    else:
        pair.vector = flipped(pair.vector, x, z)


def release(half: Half) -> None:
    """Give it up: about the other half nothing is known then."""
    _spoil_round(half.pair)
    _leave(half, NOTHING_KNOWN)


def measure(half: Half, direction: Vector, now: float, chance: Random) -> bool:
    """The outcome, True for minus one. The half is gone; the other one is what the outcome makes it."""
    settle(half, now)
    _spoil_round(half.pair)
    pair = half.pair
    if pair.vector is not None:
        outcome = chance.random() >= (1.0 + _inner(direction, pair.vector)) / 2.0
        _leave(half, NOTHING_KNOWN)
        return outcome
    outcome = chance.random() < 0.5
    sign = -1.0 if outcome else 1.0
    tied = correlations(pair.state)
    _leave(
        half, Vector(sign * tied.x * direction.x, sign * tied.y * direction.y, sign * tied.z * direction.z)
    )
    return outcome


def swap(first: Half, second: Half, fidelity: float, now: float, chance: Random) -> tuple[bool, bool]:
    """Measure two halves in the Bell basis: the corrections to what is left. `fidelity`: else fully mixed."""
    for half in (first, second):
        settle(half, now)
        _spoil_round(half.pair)
    left, right = first.pair, second.pair
    if left is right:
        x, z = _told(left.state if chance.random() < fidelity else MIXED, chance)
        left.halves.clear()
        return x, z
    if left.vector is not None and right.vector is not None:
        product = Vector(*(fidelity * a * b for a, b in zip(left.vector, right.vector, strict=True)))
        x, z = _told(_in_bell_basis(product), chance)
        _leave(first, NOTHING_KNOWN)
        _leave(second, NOTHING_KNOWN)
        return x, z
    x, z = chance.random() < 0.5, chance.random() < 0.5
    if left.vector is None and right.vector is None:
        # Half of each is somewhere still, as neither vector is set.
        ends = [half for half in (first.other, second.other) if half is not None]
        Pair(ends, turned(swapped(left.state, right.state, fidelity), x, z))
        return x, z
    whole, known = (first, right.vector) if left.vector is None else (second, left.vector)
    assert known is not None
    # What the measured end left behind is teleported to the end that is left.
    tied = correlations(whole.pair.state)
    moved = Vector(*(fidelity * a * b * c for a, b, c in zip(known, tied, _OF_PHI_PLUS, strict=True)))
    _leave(second if whole is first else first, NOTHING_KNOWN)
    _leave(whole, flipped(moved, x, z))
    return x, z


def purify(kept: Half, measured: Half, fidelity: float, now: float, chance: Random) -> bool:
    """One end's half of a round of DEJMPS, and its outcome; `measured` is gone.

    Outcomes of the first end are a fair coin; those of both ends together come when the second one does the
    same with its halves of the same two pairs. Whatever else happens to them before leaves them fully mixed;
    this end's gates leave the kept pair so with what is missing from 1 in `fidelity`.
    """
    settle(kept, now)
    settle(measured, now)
    begun = kept.pair.round
    if begun is not None and begun.waiting_kept is kept and begun.waiting_measured is measured:
        begun.fidelity *= fidelity
        return _finish(begun, now, chance)
    for half in (kept, measured):
        _spoil_round(half.pair)
    far_kept, far_measured = kept.other, measured.other
    fit = far_kept is not None and far_measured is not None and kept.pair is not measured.pair
    outcome = chance.random() < 0.5
    if fit and far_kept is not None and far_measured is not None and far_kept.node == far_measured.node:
        measured.pair.halves.remove(measured)
        kept.pair.round = measured.pair.round = _Round(
            kept.pair, measured.pair, kept, far_kept, far_measured, outcome, fidelity
        )
        return outcome
    _spoil(kept.pair)
    _leave(measured, NOTHING_KNOWN)
    return outcome


def _finish(begun: _Round, now: float, chance: Random) -> bool:
    settle(begun.done, now)
    kept, measured = begun.kept, begun.measured
    kept.round = measured.round = None
    measured.halves.clear()
    made = dejmps(kept.state, measured.state)
    agree = chance.random() < made.success_ratio
    if not agree:
        # A flip of the pair that is measured turns its outcome, and goes nowhere else.
        made = dejmps(kept.state, turned(measured.state, x=True, z=False))
    kept.state = swapped(mixed(made.state, begun.fidelity), begun.since_done)
    return begun.outcome if agree else not begun.outcome


def turned(state: Bell, x: bool, z: bool) -> Bell:
    """After Pauli X and/or Z on one half."""
    if x:
        state = Bell(state.psi_plus, state.psi_minus, state.phi_plus, state.phi_minus)
    return Bell(state.phi_minus, state.phi_plus, state.psi_minus, state.psi_plus) if z else state


def flipped(along: Vector, x: bool, z: bool) -> Vector:
    """A Bloch vector after Pauli X and/or Z."""
    by_x, by_z = -1.0 if x else 1.0, -1.0 if z else 1.0
    return Vector(by_z * along.x, by_x * by_z * along.y, by_x * along.z)


def correlations(state: Bell) -> Vector:
    """<XX>, <YY> and <ZZ>."""
    a, b, c, d = state
    return Vector(a - b + c - d, -a + b + c - d, a + b - c - d)


def direction(angle_radians: float, *, along_y: bool) -> Vector:
    """What a measurement is along."""
    if along_y:
        return Vector(0.0, 1.0, 0.0)
    return Vector(math.sin(angle_radians), 0.0, math.cos(angle_radians))


def _in_bell_basis(tied: Vector) -> Bell:
    """How probable each Bell state is of two halves with these correlations."""
    x, y, z = tied
    return Bell((1 + x - y + z) / 4, (1 - x + y + z) / 4, (1 + x + y - z) / 4, (1 - x - y - z) / 4)


def _told(state: Bell, chance: Random) -> tuple[bool, bool]:
    """A Bell measurement's outcome, as the corrections that bring it to Phi+."""
    drawn = chance.random()
    for part, told in zip(state, ((False, False), (False, True), (True, False)), strict=False):
        drawn -= part
        if drawn < 0.0:
            return told
    return True, True


def _leave(half: Half, left: Vector) -> None:
    pair = half.pair
    pair.halves.remove(half)
    pair.vector = left


def _spoil_round(pair: Pair) -> None:
    if pair.round is not None:
        for each in (pair.round.kept, pair.round.measured):
            _spoil(each)


def _spoil(pair: Pair) -> None:
    pair.round = None
    if len(pair.halves) > 1:
        pair.state = MIXED
    else:
        pair.vector = NOTHING_KNOWN


def _inner(a: Vector, b: Vector) -> float:
    return a.x * b.x + a.y * b.y + a.z * b.z
