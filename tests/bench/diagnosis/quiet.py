"""How often a link is suspected on which nothing happens: link-days of noise, and of a QBER that wanders."""

import numpy as np

from keyweave.common.names import NodeName
from keyweave.controller.estimate import estimate
from keyweave.controller.estimate.estimate import LinkLimits
from keyweave.controller.samples import DetectorColumns, EndSamples
from keyweave.controller.topology import Condition, Status
from tests.bench.diagnosis.simulated import EMPTY, LINK, A, B, column

# A look a second: a link-month of full telemetry would take an hour.
SECONDS = 1.0
# The QBER wanders about its mean by this much, over this time: an Ornstein-Uhlenbeck process. Assumed.
WANDER_QBER, WANDER_SECONDS = 0.002, 600.0
QBER, LOSS_DB, LOSS_NOISE_DB = 0.025, 12.0, 0.05


def suspicions(days: float, seed: int) -> tuple[int, int]:
    """How often the link became SUSPECT or DOWN, and how often DEGRADED."""
    random = np.random.default_rng([seed, 5])
    sifted_bps = float(random.choice([1e3, 1e4, 1e5]))
    counts_hz, dark_hz = sifted_bps, float(random.uniform(100.0, 1000.0))
    looks, chunk = int(days * 86_400 / SECONDS), 3_600
    limits, now, wander = LinkLimits(), 1.0e9, 0.0
    track = estimate.fresh(LINK, A, B, now)
    grave = slight = 0
    fade = np.exp(-SECONDS / WANDER_SECONDS)
    for _ in range(looks // chunk):
        kicks = random.normal(0.0, WANDER_QBER * np.sqrt(1 - fade**2), chunk)
        bits = random.poisson(sifted_bps * SECONDS, chunk)
        loss = random.normal(LOSS_DB, LOSS_NOISE_DB, (2, chunk))
        dark = random.poisson(dark_hz * SECONDS, chunk) / SECONDS
        counts = random.poisson(counts_hz * SECONDS, chunk) / SECONDS
        for i in range(chunk):
            wander = wander * fade + kicks[i]
            errors = random.binomial(bits[i], min(0.5, max(0.0, QBER + wander)))
            qber, sifted = [errors / bits[i]], [bits[i] / SECONDS]
            start, now = now, now + SECONDS
            for end, node in enumerate((A, B)):
                samples = _samples(node, start, qber, sifted, loss[end][i], counts[i], dark[i], end == 1)
                track = estimate.observe(track, samples, limits, now)
                before = track.condition
                track, _ = estimate.assess(track, limits, now)
                if track.condition is not before:
                    grave += track.condition in {Condition.SUSPECT, Condition.DOWN}
                    slight += track.condition is Condition.DEGRADED
    return grave, slight


def _samples(
    node: NodeName,
    start: float,
    qber: list[float],
    sifted: list[float],
    loss_db: float,
    counts_hz: float,
    dark_hz: float,
    receives: bool,
) -> EndSamples:
    detector = DetectorColumns("d1", column([counts_hz]), column([dark_hz]), EMPTY, EMPTY, EMPTY)
    return EndSamples(
        LINK, node, start, SECONDS, 1, column(qber), EMPTY, column(sifted), column([loss_db]), EMPTY,
        (detector,) if receives else (), Status.ACTIVE,
    )  # fmt: skip
