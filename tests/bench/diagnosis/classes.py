"""What can happen to a link, with how it ought to be read."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keyweave.controller.estimate.estimate import Cause
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance
from tests.bench.diagnosis.simulated import Simulated, operating_point

Fault = Callable[[float], Disturbance]

WARM_SECONDS = 60.0
FAULT_SECONDS = 60.0
DRIFT_SECONDS = 1500.0
# Links that nothing was tuned on: length, and the pulses a second of their devices.
LENGTHS_KM = (10.0, 25.0, 50.0, 75.0, 100.0)
PULSE_RATES_HZ = (1.0e8, 1.0e9)


@dataclass(frozen=True, slots=True)
class Kind:
    """One class of faults."""

    name: str
    # What it ought to be read as; None: nothing is wrong.
    reading: Cause | None
    # How it goes on with the seconds since it began, drawn with chance of its own.
    draw: Callable[[np.random.Generator], Fault]
    seconds: float = FAULT_SECONDS
    # Rows of so many seconds, where it takes long.
    interval: float = 0.1
    # What end b adds to the QBER that it tells, at least and at most.
    lie: tuple[float, float] | None = None


def _steady(make: Callable[[np.random.Generator], Disturbance]) -> Callable[[np.random.Generator], Fault]:
    def drawn(random: np.random.Generator) -> Fault:
        disturbance = make(random)
        return lambda _seconds: disturbance

    return drawn


def _attenuation_ramp(random: np.random.Generator) -> Fault:
    most, over = random.uniform(2.0, 8.0), random.uniform(5.0, 40.0)
    return lambda seconds: Disturbance(added_loss_db=most * min(1.0, seconds / over))


def _drift(random: np.random.Generator) -> Fault:
    most, over = random.uniform(0.012, 0.03), random.uniform(600.0, 1400.0)
    return lambda seconds: Disturbance(misalignment_ratio=most * min(1.0, seconds / over))


def _warming(random: np.random.Generator) -> Fault:
    doublings, over = random.uniform(1.5, 7.0), random.uniform(0.0, 30.0)
    return lambda seconds: Disturbance(
        dark_count_factor=2 ** (doublings * (min(1.0, seconds / over) if over else 1.0))
    )


KINDS = (
    Kind("healthy", None, _steady(lambda _r: UNDISTURBED)),
    Kind("interception", Cause.INTERCEPTION, _steady(lambda _r: Disturbance(intercepted_ratio=1.0))),
    Kind(
        "interception_10",
        Cause.INTERCEPTION,
        _steady(lambda _r: Disturbance(intercepted_ratio=0.1)),
    ),
    Kind("blinding", Cause.BLINDING, _steady(lambda _r: Disturbance(blinded=True))),
    Kind(
        "attenuation",
        Cause.LOSS,
        _steady(lambda r: Disturbance(added_loss_db=r.uniform(1.0, 6.0))),
    ),
    Kind("attenuation_ramp", Cause.LOSS, _attenuation_ramp),
    Kind("tap", Cause.LOSS, _steady(lambda r: Disturbance(tapped_ratio=r.uniform(0.15, 0.6)))),
    Kind("cooling", Cause.COOLING, _warming),
    Kind(
        "dark_counts",
        Cause.DARK_COUNTS,
        _steady(lambda r: Disturbance(dark_count_burst_factor=r.uniform(2.0, 30.0))),
    ),
    Kind("drift", Cause.DRIFT, _drift, seconds=DRIFT_SECONDS, interval=0.5),
    Kind("clock", Cause.SYNCHRONISATION, _steady(lambda _r: Disturbance(clock_lost=True))),
    Kind("disagreement", Cause.DISAGREEMENT, _steady(lambda _r: UNDISTURBED), lie=(0.025, 0.06)),
)


def simulate(kind: Kind, seed: int) -> Simulated:
    """One run: a link drawn with the seed, warm, and then the fault."""
    random = np.random.default_rng([seed, 4])
    length, pulses = random.choice(LENGTHS_KM), random.choice(PULSE_RATES_HZ)
    link = Simulated(
        operating_point(length, pulses, random.uniform(0.015, 0.035)), seed, interval=kind.interval
    )
    link.run(WARM_SECONDS)
    link.told.clear()
    if kind.lie is not None:
        link.b_adds_qber = random.uniform(*kind.lie)
    link.run(kind.seconds, kind.draw(random))
    return link
