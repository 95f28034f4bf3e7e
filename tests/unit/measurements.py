"""Measurements of a simulated link, with the counting noise that a real one has."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.estimate import estimate
from keyweave.controller.estimate.estimate import EndEvent, LinkEstimate, LinkLimits, LinkTrack
from keyweave.controller.samples import Column, DetectorColumns, EndSamples
from keyweave.controller.topology import Condition, Status

LINK, A, B = LinkName("a-b"), NodeName("a"), NodeName("b")
EMPTY: Column = np.array([], dtype=np.float32)


def column(*values: float) -> Column:
    return np.array(values, dtype=np.float32)


def samples(
    node: NodeName = A,
    *,
    start: float = 0.0,
    interval: float = 0.1,
    rows: int = 2,
    qber: float | Column | None = 0.03,
    skr: float | Column | None = 1000.0,
    sifted: float | None = 10_000.0,
    loss: float | Column | None = 14.0,
    counts: float | Column | None = None,
    dark_counts: float | Column | None = None,
    status: Status = Status.ACTIVE,
) -> EndSamples:
    """Noiseless rows; None leaves a column out."""

    def filled(value: float | Column | None) -> Column:
        if value is None:
            return EMPTY
        return value if isinstance(value, np.ndarray) else np.full(rows, value, dtype=np.float32)

    detectors: tuple[DetectorColumns, ...] = ()
    if counts is not None or dark_counts is not None:
        detectors = (DetectorColumns("d1", filled(counts), filled(dark_counts), EMPTY, EMPTY, EMPTY),)
    columns = (filled(qber), filled(skr), filled(sifted), filled(loss), EMPTY)
    return EndSamples(LINK, node, start, interval, rows, *columns, detectors, status)


@dataclass
class Optics:
    """What is true of the link; measurements scatter around it."""

    qber: float = 0.03
    sifted_bps: float = 10_000.0
    skr_bps: float = 3000.0
    loss_db: float = 14.0
    counts_hz: float = 50_000.0
    dark_counts_hz: float = 400.0
    status: Status = Status.ACTIVE
    # What end b adds to its QBER, and by what it multiplies its rate: a device that misreports.
    b_adds_qber: float = 0.0
    b_claims: float = 1.0
    # What arrives in both pools, in whole blocks; None where agents say nothing of pools. And by what end b
    # multiplies that.
    arriving_bps: float | None = None
    block_bits: int = 2048
    b_counts: float = 1.0


@dataclass
class Bench:
    """A link in simulated time: both ends measure, the track follows."""

    optics: Optics = field(default_factory=Optics)
    limits: LinkLimits = field(default_factory=LinkLimits)
    seed: int = 7
    rows: int = 2
    interval: float = 0.1
    now: float = 1000.0
    track: LinkTrack = field(init=False)
    estimate: LinkEstimate = field(init=False)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self.track = estimate.fresh(LINK, A, B, self.now)
        self._arrived_bits = 0.0
        self.assess()

    @property
    def condition(self) -> Condition:
        return self.estimate.condition

    def assess(self) -> LinkEstimate:
        self.track, self.estimate = estimate.assess(self.track, self.limits, self.now)
        return self.estimate

    def event(self, kind: EndEvent, node: NodeName = A, reason: str = "") -> None:
        self.track = estimate.report(self.track, kind, node, reason, self.now)
        self.assess()

    def wait(self, seconds: float) -> None:
        """Time passes without telemetry; the link is assessed whenever it asked to be."""
        until = self.now + seconds
        while (deadline := estimate.next_deadline(self.track, self.limits)) is not None and deadline <= until:
            assert deadline > self.track.assessed_at, "a deadline must lie ahead, else its caller spins"
            self.now = deadline
            self.assess()
        self.now = until
        self.assess()

    def run(
        self, seconds: float, *, ends: tuple[NodeName, ...] = (A, B), until: Condition | None = None
    ) -> list[tuple[float, Condition]]:
        """Measure for a while; returns the changes of condition and when they came."""
        changes = []
        end = self.now + seconds
        while self.now < end:
            before = self.condition
            for message in self._measured():
                if message.node in ends:
                    self.track = estimate.observe(self.track, message, self.limits, self.now)
                    self._report_pool(message.node)
                    self.assess()
                    if self.condition is not before:
                        changes.append((self.now, self.condition))
                        before = self.condition
            if until is not None and self.condition is until:
                break
            self.now += self.rows * self.interval
        return changes

    def _report_pool(self, node: NodeName) -> None:
        optics = self.optics
        if optics.arriving_bps is None:
            return
        if node == A and optics.status is Status.ACTIVE:
            self._arrived_bits += optics.arriving_bps * self.rows * self.interval
        blocks = int(self._arrived_bits * (optics.b_counts if node == B else 1.0) / optics.block_bits)
        self.track = estimate.pool_reported(
            self.track, node, usable_bits=0, intake_bits_total=blocks * optics.block_bits
        )

    def _measured(self) -> Iterator[EndSamples]:
        """Both ends count the same errors; each reads loss and detectors by itself."""
        optics, random, rows = self.optics, self._random, self.rows
        sifted = random.poisson(optics.sifted_bps * self.interval, rows)
        errors = random.binomial(sifted, optics.qber)
        with np.errstate(invalid="ignore"):
            qber = np.clip(errors / sifted, 0, 0.5).astype(np.float32)
        skr = np.maximum(0, random.normal(optics.skr_bps, 0.05 * optics.skr_bps, rows)).astype(np.float32)
        for node in (A, B):
            shown = qber + np.float32(optics.b_adds_qber if node == B else 0.0)
            yield replace(
                samples(
                    node,
                    start=self.now,
                    interval=self.interval,
                    rows=rows,
                    qber=shown,
                    skr=skr * np.float32(optics.b_claims if node == B else 1.0),
                ),
                sifted_rate_bps=(sifted / self.interval).astype(np.float32),
                loss_db=random.normal(optics.loss_db, 0.05, rows).astype(np.float32),
                detectors=(self._detector(),) if node == B else (),
                status=optics.status,
            )

    def _detector(self) -> DetectorColumns:
        def rate(hertz: float) -> Column:
            return (self._random.poisson(hertz * self.interval, self.rows) / self.interval).astype(np.float32)

        return DetectorColumns(
            "d1", rate(self.optics.counts_hz), rate(self.optics.dark_counts_hz), EMPTY, EMPTY, EMPTY
        )


def settled(optics: Optics | None = None) -> Bench:
    """A link that has worked well for long enough to be known."""
    bench = Bench(optics or Optics())
    bench.run(30.0)
    assert bench.condition is Condition.OK, bench.estimate
    return bench
