"""One link in simulated time: the emulator's physics at both ends, the estimator behind them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.estimate import estimate
from keyweave.controller.estimate.estimate import Cause, LinkEstimate, LinkLimits
from keyweave.controller.samples import Column, DetectorColumns, EndSamples
from keyweave.controller.topology import Condition, Status
from keyweave.emulator.physics.anchored import AnchoredPoint, OperatingPoint
from keyweave.emulator.physics.detectors import Detectors
from keyweave.emulator.physics.link import Devices, ProtocolLink
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance, Measurement
from keyweave.v1 import types_pb2

LINK, A, B = LinkName("a-b"), NodeName("a"), NodeName("b")
# What an agent sends at once: the fastest device's rows of a fifth of a second.
ROWS, INTERVAL = 2, 0.1
EMPTY: Column = np.array([], dtype=np.float32)


def operating_point(length_km: float, pulse_rate_hz: float, qber_ratio: float) -> OperatingPoint:
    """A link of some length: 0.2 dB/km and 2 dB in the receiver, an InGaAs pair, a device of that clock."""
    loss = 0.2 * length_km + 2.0
    signal = pulse_rate_hz * 0.5 * 0.1 * 10 ** (-loss / 10)
    return OperatingPoint(
        loss_db=loss,
        qber_ratio=qber_ratio,
        # What is secret of the sifted half, less what multi-photon pulses cost.
        skr_bps=0.1 * signal,
        abort_qber_ratio=0.11,
        pulse_rate_hz=pulse_rate_hz,
        mean_photon_number=0.5,
        gate_seconds=min(1e-9, 1 / pulse_rate_hz),
        sifting_ratio=0.5,
        detectors=Detectors(
            kind="InGaAs",
            count=2,
            at_both_ends=False,
            efficiency_ratio=0.1,
            dark_count_rate_hz=600.0,
            temperature_celsius=-50.0,
            bias_volts=50.0,
            dead_time_seconds=1e-5,
        ),
    )


@dataclass
class Simulated:
    """A link whose measurements go to the estimator as agents send them, and what is made of them."""

    point: OperatingPoint
    seed: int
    interval: float = INTERVAL
    rows: int = ROWS
    # What end b adds to the QBER that it tells.
    b_adds_qber: float = 0.0
    now: float = 1.0e9
    told: list[tuple[float, LinkEstimate]] = field(default_factory=list)
    # Errors and sifted bits, batch by batch.
    counted: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        point = self.point
        devices = Devices(AnchoredPoint(point), point.loss_db, point.abort_qber_ratio, point.detectors)
        self._model = ProtocolLink(devices, link=f"{LINK}-{self.seed}", seed=self.seed)
        self._elapsed = 0.0
        self._limits = LinkLimits()
        self._track = estimate.fresh(LINK, A, B, self.now)
        self._track, self.estimate = estimate.assess(self._track, self._limits, self.now)

    @property
    def batch_seconds(self) -> float:
        """What a batch covers."""
        return self.rows * self.interval

    def run(
        self,
        seconds: float,
        disturbance: Callable[[float], Disturbance] = lambda _elapsed: UNDISTURBED,
        *,
        until: Callable[[LinkEstimate], bool] = lambda _estimate: False,
    ) -> float | None:
        """Go on for so long; when, in seconds from now, it came to `until`, None if never."""
        begun = self.now
        while self.now < begun + seconds:
            measured = []
            for _ in range(self.rows):
                self._elapsed += self.interval
                measured.append(
                    self._model.measure(self._elapsed, self.interval, disturbance(self.now - begun))
                )
            start, self.now = self.now, self.now + self.batch_seconds
            bits = [m.sifted_rate_bps * self.interval for m in measured]
            errors = [m.qber_ratio * n for m, n in zip(measured, bits, strict=True) if n]
            self.counted.append((sum(errors), sum(bits)))
            for end, node in enumerate((A, B)):
                samples = self._samples(measured, end, node, start)
                self._track = estimate.observe(self._track, samples, self._limits, self.now)
                before = self.estimate
                self._track, self.estimate = estimate.assess(self._track, self._limits, self.now)
                if (before.condition, before.cause) != (self.estimate.condition, self.estimate.cause):
                    self.told.append((self.now - begun, self.estimate))
                if until(self.estimate):
                    return self.now - begun
        return None

    def _samples(self, measured: list[Measurement], end: int, node: NodeName, start: float) -> EndSamples:
        qber = column([m.qber_ratio for m in measured])
        if node == B and self.b_adds_qber:
            qber = np.minimum(qber + np.float32(self.b_adds_qber), np.float32(0.5))
        return EndSamples(
            link=LINK,
            node=node,
            start=start,
            interval_seconds=self.interval,
            rows=len(measured),
            qber_ratio=qber,
            skr_bps=column([m.skr_bps for m in measured]),
            sifted_rate_bps=column([m.sifted_rate_bps for m in measured]),
            loss_db=column([m.ends[end].loss_db for m in measured]),
            visibility_ratio=column([m.visibility_ratio for m in measured]),
            detectors=tuple(
                DetectorColumns(
                    detector=readings[0].name,
                    count_rate_hz=column([r.count_rate_hz for r in readings]),
                    dark_count_rate_hz=column([r.dark_count_rate_hz for r in readings]),
                    efficiency_ratio=EMPTY,
                    temperature_celsius=column([r.temperature_celsius for r in readings]),
                    bias_volts=EMPTY,
                )
                for readings in zip(*(m.ends[end].detectors for m in measured), strict=True)
            ),
            status=Status[types_pb2.LinkStatus.Name(measured[-1].status).removeprefix("LINK_STATUS_")],
        )

    def reading(self) -> Cause | None:
        """What it was read as: the gravest word counts, for keys were destroyed on it; else the last."""
        graves = [said.cause for _, said in self.told if said.condition is Condition.SUSPECT]
        if graves:
            return graves[0]
        return self.estimate.cause


def column(values: list[float]) -> Column:
    """As it comes from an agent."""
    return np.array(values, dtype=np.float32)
