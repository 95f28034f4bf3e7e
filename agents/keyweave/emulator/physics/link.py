"""A link: a protocol over a channel that faults and time change, measured with counting noise."""

import math
from collections import deque
from dataclasses import dataclass

from keyweave.emulator.physics.channel import Channel, Expected, QkdProtocol
from keyweave.emulator.physics.detectors import Detectors
from keyweave.emulator.physics.instruments import Instruments, generator
from keyweave.emulator.physics.life import ON_REQUEST, STEADY, Calibration, Drift, SlowLife, Wear
from keyweave.emulator.physics.model import Disturbance, EndReading, Measurement
from keyweave.emulator.physics.satellite import BLOCKING_CLOUD_DB, Passes
from keyweave.v1 import types_pb2

# Over how long a device estimates its QBER before it acts on it. What it makes of the moments before it
# notices an eavesdropper still comes out: the blocks that agents must quarantine.
DEVICE_WINDOW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Devices:
    """The two ends of a link and the fibre between them, as specified."""

    protocol: QkdProtocol
    # With a satellite straight above, where one end is on one.
    loss_db: float
    # QBER at which they stop producing by themselves.
    abort_qber_ratio: float
    # None for homodyne receivers (CV-QKD), which count no photons.
    detectors: Detectors | None
    drift: Drift = STEADY
    calibration: Calibration = ON_REQUEST


class ProtocolLink:
    """The LinkModel of every protocol: expectations from its closed forms, counts drawn around them."""

    def __init__(self, devices: Devices, *, link: str, seed: int, passes: Passes | None = None) -> None:
        self._devices = devices
        self._passes = passes
        self._errors = generator(seed, link, "errors")
        self._instruments = Instruments(devices.detectors, link=link, seed=seed)
        self._life = SlowLife(devices.drift, devices.calibration, generator(seed, link, "life"))
        # (end of interval, noise times sifted bits, sifted bits), as expected, of the device's window.
        self._window: deque[tuple[float, float, float]] = deque()
        self._channel = Channel(devices.loss_db)
        self._expected = devices.protocol.expected(self._channel)

    def calibrate(self) -> None:
        """See LinkModel."""
        self._life.ask_for_calibration()

    def measure(
        self, elapsed_seconds: float, interval_seconds: float, disturbance: Disturbance
    ) -> Measurement:
        """See LinkModel."""
        wear = self._life.advance(elapsed_seconds, disturbance.misalignment_ratio)
        loss_db = self._loss_db(elapsed_seconds, disturbance)
        apart = disturbance.cut or loss_db is None
        channel = self._channel_under(
            disturbance, wear, self._devices.loss_db if loss_db is None else loss_db
        )
        expected = self._expected_over(channel)
        ends = self._instruments.read(interval_seconds, channel, expected.light_hz, cut=apart)
        if apart or wear.calibrating:
            self._window.clear()
            status = types_pb2.LINK_STATUS_OFF if disturbance.cut else types_pb2.LINK_STATUS_PENDING
            return Measurement(status, math.nan, 0.0, 0.0, math.nan, ends, 0.0, "")
        return self._produce(elapsed_seconds, interval_seconds, channel, expected, ends)

    def _produce(
        self,
        elapsed_seconds: float,
        interval_seconds: float,
        channel: Channel,
        expected: Expected,
        ends: tuple[EndReading, EndReading],
    ) -> Measurement:
        detectors = self._devices.detectors
        fault = detectors.fault(channel.warming_kelvin) if detectors else ""
        bits = expected.sifted_bps * interval_seconds
        seen = self._seen_by_device(elapsed_seconds, bits, expected.noise)
        aborted = expected.counts_errors and seen >= self._devices.abort_qber_ratio
        producing = not aborted and not fault
        secret_ratio = expected.secret_ratio(seen) if producing else 0.0
        if not expected.counts_errors and not secret_ratio and not fault:
            # No QBER tells it; a continuous-variable device says so itself.
            fault = "excess noise leaves no secret key"

        sifted = int(self._errors.poisson(bits))
        qber = math.nan
        reported_ratio = secret_ratio
        if expected.counts_errors and sifted:
            qber = self._errors.binomial(sifted, expected.noise) / sifted
            estimate = max(0.0, seen + qber - expected.noise)
            reported_ratio = expected.secret_ratio(estimate) if producing else 0.0
        return Measurement(
            status=types_pb2.LINK_STATUS_ACTIVE if secret_ratio > 0 else types_pb2.LINK_STATUS_PASSIVE,
            qber_ratio=min(qber, 0.5),
            skr_bps=reported_ratio * sifted / interval_seconds,
            sifted_rate_bps=sifted / interval_seconds,
            visibility_ratio=self._visibility(expected.optics_error_ratio, sifted),
            ends=ends,
            key_bits=secret_ratio * bits,
            device_fault=fault,
        )

    def _loss_db(self, elapsed_seconds: float, disturbance: Disturbance) -> float | None:
        """Undisturbed; None where the ends cannot see each other."""
        if self._passes is None:
            return self._devices.loss_db
        if disturbance.cloud_db >= BLOCKING_CLOUD_DB:
            return None
        return self._passes.loss_db(elapsed_seconds)

    def _channel_under(self, disturbance: Disturbance, wear: Wear, undisturbed_loss_db: float) -> Channel:
        detectors = self._devices.detectors
        return Channel(
            loss_db=max(0.0, undisturbed_loss_db + disturbance.loss_db + wear.added_loss_db),
            intercepted_ratio=disturbance.intercepted_ratio,
            misalignment_ratio=wear.misalignment_ratio,
            warming_kelvin=wear.warming_kelvin
            + (detectors.warming_kelvin(disturbance) if detectors else 0.0),
            dark_count_burst_factor=disturbance.dark_count_burst_factor,
            brightness_ratio=wear.brightness_ratio,
            # Nobody sends light through a fibre that is cut.
            blinded=disturbance.blinded and not disturbance.cut,
            clock_lost=disturbance.clock_lost,
        )

    def _expected_over(self, channel: Channel) -> Expected:
        if channel != self._channel:
            self._channel, self._expected = channel, self._devices.protocol.expected(channel)
        return self._expected

    def _seen_by_device(self, elapsed_seconds: float, bits: float, noise: float) -> float:
        """The noise over the device's window, which lags behind a sudden change."""
        self._window.append((elapsed_seconds, bits * noise, bits))
        while self._window[0][0] <= elapsed_seconds - DEVICE_WINDOW_SECONDS:
            self._window.popleft()
        counted = math.fsum(w[2] for w in self._window)
        return math.fsum(w[1] for w in self._window) / counted if counted else noise

    def _visibility(self, error_ratio: float | None, sifted: int) -> float:
        """V = 1 - 2 e of the optics alone (Gisin et al., Rev. Mod. Phys. 74, 145 (2002))."""
        if error_ratio is None or not sifted:
            return math.nan
        noise = 2 * math.sqrt(error_ratio * (1 - error_ratio) / sifted)
        return min(1.0, max(0.0, self._errors.normal(1 - 2 * error_ratio, noise)))
