"""Faults as values: their kinds, how each grows and ends, and what those of one link add up to."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from keyweave.emulator.physics.information import either_flips
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance
from keyweave.v1 import emulator_pb2 as pb


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault, for people and for physics (see the proto's FaultKind)."""

    word: str
    summary: str
    # Of the magnitude; a switch has none.
    unit: str
    default: float
    least: float
    most: float
    # What a link with it suffers besides what it suffers already.
    adds: Callable[[Disturbance, float], Disturbance]
    # The magnitude that does nothing: where a ramp begins.
    nothing: float = 0.0
    needs_photon_counters: bool = False
    free_space_only: bool = False
    # Of the classical network between processes, not of optics.
    is_of_network: bool = False
    # Of the quantum memories of a node.
    needs_memories: bool = False

    @property
    def is_switch(self) -> bool:
        """Whether it has no magnitude."""
        return not self.unit

    def objection(self, magnitude: float) -> str:
        """Why it cannot have this magnitude; empty where it can."""
        if self.is_switch:
            return (
                f"{self.word} is there or it is not: it has no magnitude; leave it out" if magnitude else ""
            )
        if self.least <= magnitude <= self.most and magnitude:
            return ""
        return (
            f"{magnitude:g} is outside {self.least:g} to {self.most:g} ({self.unit}) of {self.word}; "
            f"leave it out for {self.default:g}"
        )


def _switch(
    word: str,
    summary: str,
    adds: Callable[[Disturbance], Disturbance],
    *,
    needs_photon_counters: bool = False,
    is_of_network: bool = False,
) -> Kind:
    return Kind(
        word,
        summary,
        "",
        1.0,
        1.0,
        1.0,
        lambda present, _magnitude: adds(present),
        needs_photon_counters=needs_photon_counters,
        is_of_network=is_of_network,
    )


def _either(one: float, other: float) -> float:
    """Of two independent shares, what at least one of them takes."""
    return 1 - (1 - one) * (1 - other)


def _more_loss(present: Disturbance, db: float) -> Disturbance:
    return replace(present, added_loss_db=present.added_loss_db + db)


def _cloudier(present: Disturbance, db: float) -> Disturbance:
    return replace(present, cloud_db=present.cloud_db + db)


def _as_before(present: Disturbance, _magnitude: float = 0.0) -> Disturbance:
    """Optics do not notice."""
    return present


# Of a link, but those from node-loss on, which are of a node: its loss cuts all links there.
KINDS: Mapping[pb.FaultKind, Kind] = {
    pb.FAULT_KIND_CUT: _switch(
        "cut", "Cut the fibre: no signal, no keys.", lambda present: replace(present, cut=True)
    ),
    pb.FAULT_KIND_EAVESDROP: Kind(
        "eavesdrop",
        "Listen in by intercept-resend; of all pulses, this raises QBER to about 25 %.",
        "fraction of pulses",
        1.0,
        0.0,
        1.0,
        lambda present, m: replace(present, intercepted_ratio=_either(present.intercepted_ratio, m)),
    ),
    pb.FAULT_KIND_ATTENUATE: Kind(
        "attenuate", "Add loss: a splice, a dirty connector.", "dB", 10.0, 0.0, 60.0, _more_loss
    ),
    pb.FAULT_KIND_DETECTOR: Kind(
        "detector",
        "Let the cooling of the receiver's detectors fail: they warm up.",
        "times the dark counts",
        100.0,
        1.0,
        10_000.0,
        lambda present, m: replace(present, dark_count_factor=present.dark_count_factor * m),
        nothing=1.0,
        needs_photon_counters=True,
    ),
    pb.FAULT_KIND_BEND: Kind(
        "bend", "Bend the fibre until light leaks out.", "dB", 3.0, 0.0, 30.0, _more_loss
    ),
    pb.FAULT_KIND_TAP: Kind(
        "tap",
        "Take light out with a beam splitter: loss, and no error.",
        "fraction of the light",
        0.1,
        0.0,
        0.99,
        lambda present, m: replace(present, tapped_ratio=_either(present.tapped_ratio, m)),
    ),
    pb.FAULT_KIND_BLIND: _switch(
        "blind",
        "Blind the detectors with bright light, and make them click at will.",
        lambda present: replace(present, blinded=True),
        needs_photon_counters=True,
    ),
    pb.FAULT_KIND_DARK_BURST: Kind(
        "dark-burst",
        "Let light leak into the detectors: dark counts rise, the temperature stands.",
        "times the dark counts",
        100.0,
        1.0,
        10_000.0,
        lambda present, m: replace(present, dark_count_burst_factor=present.dark_count_burst_factor * m),
        nothing=1.0,
        needs_photon_counters=True,
    ),
    pb.FAULT_KIND_LASER_DRIFT: Kind(
        "laser-drift",
        "Let the laser, or the frame of the two ends, drift: bits flip.",
        "probability of a flip",
        0.03,
        0.0,
        0.5,
        lambda present, m: replace(present, misalignment_ratio=either_flips(present.misalignment_ratio, m)),
    ),
    pb.FAULT_KIND_CLOCK_LOSS: _switch(
        "clock-loss",
        "Let the ends lose count of the pulses.",
        lambda present: replace(present, clock_lost=True),
    ),
    pb.FAULT_KIND_CLOUD: Kind(
        "cloud",
        "Send a cloud or fog through a free-space link; from 3 dB on it hides a satellite.",
        "dB",
        20.0,
        0.0,
        60.0,
        _cloudier,
        free_space_only=True,
    ),
    pb.FAULT_KIND_NODE_LOSS: _switch(
        "node-loss",
        "Take the power from all devices of a node.",
        lambda present: replace(present, cut=True),
    ),
    pb.FAULT_KIND_NETWORK_DELAY: Kind(
        "network-delay",
        "Delay what a node sends and gets over the classical network.",
        "ms each way",
        100.0,
        0.0,
        10_000.0,
        _as_before,
        is_of_network=True,
    ),
    pb.FAULT_KIND_NETWORK_LOSS: Kind(
        "network-loss",
        "Lose packets of a node on the classical network.",
        "fraction of packets",
        0.05,
        0.0,
        0.9,
        _as_before,
        is_of_network=True,
    ),
    pb.FAULT_KIND_PARTITION: _switch(
        "partition",
        "Let nothing of a node through on the classical network.",
        _as_before,
        is_of_network=True,
    ),
    pb.FAULT_KIND_MEMORY_FAILURE: Kind(
        "memory-failure",
        "Let quantum memories of a node fail: what they hold is lost.",
        "memories",
        1.0,
        1.0,
        4096.0,
        lambda present, m: replace(present, failed_memories=present.failed_memories + m),
        needs_memories=True,
    ),
    pb.FAULT_KIND_DECOHERENCE: Kind(
        "decoherence",
        "Let the quantum memories of a node fade faster: T1 and T2 shrink.",
        "times as fast",
        10.0,
        1.0,
        10_000.0,
        lambda present, m: replace(present, memory_decay_factor=present.memory_decay_factor * m),
        nothing=1.0,
        needs_memories=True,
    ),
}
OF_NODES = frozenset(
    {
        pb.FAULT_KIND_NODE_LOSS,
        *(number for number, kind in KINDS.items() if kind.is_of_network or kind.needs_memories),
    }
)
OF_PAIR_LINKS = frozenset(
    {
        pb.FAULT_KIND_CUT,
        pb.FAULT_KIND_EAVESDROP,
        pb.FAULT_KIND_ATTENUATE,
        pb.FAULT_KIND_BEND,
        pb.FAULT_KIND_TAP,
        pb.FAULT_KIND_LASER_DRIFT,
        pb.FAULT_KIND_CLOCK_LOSS,
    }
)
BY_WORD: Mapping[str, pb.FaultKind] = {kind.word: number for number, kind in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one link or node. Seconds are the scenario's, from its start."""

    kind: pb.FaultKind
    magnitude: float
    begins_seconds: float
    ramp_seconds: float = 0.0
    # None: until it is restored.
    duration_seconds: float | None = None
    # The timeline has it, not an operator.
    planned: bool = False
    # Of the classical network: between the node and this one, or the controller; empty for all.
    peer: str = ""

    @property
    def ends_seconds(self) -> float:
        """When it ends by itself."""
        return math.inf if self.duration_seconds is None else self.begins_seconds + self.duration_seconds

    def is_in_force(self, since: float, until: float) -> bool:
        """Whether it acts in any moment of `since` to `until`, so that none is too short to be seen."""
        return self.begins_seconds < until and self.ends_seconds > since

    def magnitude_at(self, elapsed: float) -> float:
        """How far it has grown."""
        if not self.ramp_seconds:
            return self.magnitude
        grown = min(1.0, max(0.0, (elapsed - self.begins_seconds) / self.ramp_seconds))
        nothing = KINDS[self.kind].nothing
        return nothing + (self.magnitude - nothing) * grown


def in_force(faults: Iterable[Fault], since: float, until: float) -> tuple[Fault, ...]:
    """Those of a timeline that act between two moments, in the order they began."""
    acting = (fault for fault in faults if fault.is_in_force(since, until))
    return tuple(sorted(acting, key=lambda fault: fault.begins_seconds))


def add_up(faults: Iterable[Fault], elapsed: float) -> Disturbance:
    """What all of them do to a link together: losses in dB add, factors multiply, errors are independent."""
    total = UNDISTURBED
    for fault in faults:
        total = KINDS[fault.kind].adds(total, fault.magnitude_at(elapsed))
    return total


def unfit(kind: pb.FaultKind, *, counts_photons: bool, free_space: bool) -> str:
    """Why a link cannot have such a fault; empty where it can."""
    known = KINDS[kind]
    if kind in OF_NODES:
        return f"{known.word} is a fault of a node, not of a link"
    if known.needs_photon_counters and not counts_photons:
        return f"its homodyne receiver (CV-QKD) has no single-photon detector for {known.word}"
    if known.free_space_only and not free_space:
        return f"{known.word} is a fault of free-space links, and this one is a fibre"
    return ""


def unfit_for_pairs(kind: pb.FaultKind) -> str:
    """Why a pair link cannot have such a fault; empty where it can."""
    if kind in OF_PAIR_LINKS:
        return ""
    word = KINDS[kind].word
    if kind in OF_NODES:
        return f"{word} is a fault of a node, not of a link"
    having = ", ".join(KINDS[each].word for each in sorted(OF_PAIR_LINKS))
    return f"{word} is none of those of pair links: {having}"
