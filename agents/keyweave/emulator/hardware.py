"""The hardware of a link in a scenario file: detectors, protocol, drift and calibration.

Defaults are ordinary figures; mark them as assumed where the paper that describes a system has none.
"""

from collections.abc import Set as AbstractSet
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyweave.common.names import NAME_PATTERN, NAME_RULE
from keyweave.emulator.physics.bbm92 import Bbm92, best_pairs
from keyweave.emulator.physics.channel import Channel, QkdProtocol
from keyweave.emulator.physics.cv_qkd import CvQkd
from keyweave.emulator.physics.decoy_bb84 import DecoyBb84
from keyweave.emulator.physics.detectors import Detectors, Receiver
from keyweave.emulator.physics.finite_key import FiniteKey
from keyweave.emulator.physics.life import Calibration, Drift

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$", description=NAME_RULE)]
Ratio = Annotated[float, Field(ge=0, le=1)]
# Of error that optics cause: at one half nothing is left of the signal.
ErrorRatio = Annotated[float, Field(ge=0, lt=0.5)]
# 1 is the Shannon limit; codes in use leak a tenth to a fifth more.
ReconciliationLeak = Annotated[float, Field(ge=1, le=2)]


# How far an emulated detector may be from its own figures before operators are told (assumed: no data sheet).
_WARM_KELVIN = 5.0
_BIAS_MARGIN, _LEAST_BIAS_MARGIN_VOLTS = 0.1, 1.0


class Part(BaseModel):
    """A part of a scenario file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DetectorSpec(Part):
    """The single-photon detectors of a link and the clock they work at.

    The defaults are an InGaAs avalanche photodiode pair of ordinary make: 10 % efficiency, 600 dark counts
    a second, cooled to -50 degrees Celsius. Mark them as assumed where a paper does not give them.
    """

    kind: Annotated[str, Field(min_length=1, max_length=64)] = "InGaAs"
    count: Annotated[int, Field(ge=1, le=8)] = 2
    # Ends that have detectors: the receiver is end b; links that share entangled pairs have them at both.
    at: Literal["b", "both"] = "b"
    efficiency_ratio: Annotated[float, Field(gt=0, le=1)] = 0.10
    # Of one detector, as it reports it: per second of being open.
    dark_count_rate_hz: Annotated[float, Field(ge=0, le=1e7)] = 600.0
    temperature_celsius: Annotated[float, Field(ge=-273.15, le=100)] = -50.0
    bias_volts: Annotated[float, Field(ge=0, le=500)] = 50.0
    pulse_rate_hz: Annotated[float, Field(gt=0, le=1e12)] = 1e9
    # How long a detector is open for each pulse; a dark count elsewhere does no harm.
    gate_seconds: Annotated[float, Field(gt=0, le=1e-3)] = 1e-9
    # Of a published operating point; a protocol has its own.
    mean_photon_number: Annotated[float, Field(gt=0, le=10)] = 0.5
    # How long a detector is blind after a click. A published operating point has its cost in it already; it
    # limits there how often a blinded detector can be made to click.
    dead_time_seconds: Annotated[float, Field(gt=0, le=1e-3)] = 5e-8
    # The rest is for links that run a `protocol`: a published operating point has it in its figures.
    afterpulse_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    jitter_seconds: Annotated[float, Field(ge=0, le=1e-6)] = 0.0
    # Bias as run over bias as specified: above breakdown for avalanche diodes, the current for nanowires.
    bias_ratio: Annotated[float, Field(gt=0, le=2)] = 1.0
    # From the end of the fibre to the detectors.
    optics_loss_db: Annotated[float, Field(ge=0, le=40)] = 0.0

    def detectors(self) -> Detectors:
        """The detectors as physics knows them."""
        return Detectors(
            kind=self.kind,
            count=self.count,
            at_both_ends=self.at == "both",
            efficiency_ratio=self.efficiency_ratio,
            dark_count_rate_hz=self.dark_count_rate_hz,
            temperature_celsius=self.temperature_celsius,
            bias_volts=self.bias_volts,
            dead_time_seconds=self.dead_time_seconds,
            afterpulse_ratio=self.afterpulse_ratio,
            jitter_seconds=self.jitter_seconds,
            bias_ratio=self.bias_ratio,
        )

    def limits(self) -> dict[str, float]:
        """What operators of an emulated link hold its detectors against: fields of a `keyweave.v1.Link`."""
        margin = max(_BIAS_MARGIN * self.bias_volts, _LEAST_BIAS_MARGIN_VOLTS)
        return {
            # At half of what its dead time allows every second photon finds it blind.
            "max_detector_count_rate_hz": 0.5 / self.dead_time_seconds,
            "max_detector_dark_count_rate_hz": 2 * self.dark_count_rate_hz,
            "min_detector_efficiency_ratio": self.efficiency_ratio / 2,
            "max_detector_temperature_celsius": self.temperature_celsius + _WARM_KELVIN,
            "min_detector_bias_volts": self.bias_volts - margin,
            "max_detector_bias_volts": self.bias_volts + margin,
        }

    def receiver(self) -> Receiver:
        """The detectors with their clock and optics."""
        return Receiver(self.detectors(), self.pulse_rate_hz, self.gate_seconds, self.optics_loss_db)


class FiniteKeySpec(Part):
    """Blocks of decoy-state BB84 and what is promised of each (Lim et al. 2014)."""

    block_bits: Annotated[float, Field(ge=1e3, le=1e15)] = 1e7
    secrecy: Annotated[float, Field(gt=0, lt=1)] = 1e-10
    correctness: Annotated[float, Field(gt=0, lt=1)] = 1e-15
    key_basis_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.85


class DecoyBb84Spec(Part):
    """BB84 with weak coherent pulses of three intensities (Ma et al. 2005)."""

    kind: Literal["decoy-bb84"]
    mean_photon_number: Annotated[float, Field(gt=0, le=2)] = 0.48
    weak_photon_number: Annotated[float, Field(gt=0, le=2)] = 0.15
    vacuum_photon_number: Annotated[float, Field(ge=0, le=1)] = 0.0
    signal_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.6
    weak_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.3
    misalignment_ratio: ErrorRatio = 0.01
    reconciliation_efficiency: ReconciliationLeak = 1.16
    # Of blocks without end; left out with finite_key, whose key_basis_ratio says what is kept.
    sifting_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    finite_key: FiniteKeySpec | None = None

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.finite_key and "sifting_ratio" in self.model_fields_set:
            raise ValueError("finite_key.key_basis_ratio says what survives sifting; leave out sifting_ratio")
        self.protocol(DetectorSpec(), loss_db=0.0)
        return self

    def fault(self, technology: str, detector: DetectorSpec) -> str:
        """Why it does not fit the rest of the link; empty if it does."""
        if technology not in ("DV-QKD", "DV-QKD-2Ws"):
            return f"decoy-bb84 is of technology DV-QKD or DV-QKD-2Ws, not {technology}"
        if detector.at == "both":
            return "the receiver of decoy-bb84 is end b; set detector.at to b"
        return ""

    def protocol(self, detector: DetectorSpec, *, loss_db: float) -> QkdProtocol:  # noqa: ARG002  # of all
        """The protocol as physics knows it."""
        finite = self.finite_key
        return DecoyBb84(
            receiver=detector.receiver(),
            finite=FiniteKey(**finite.model_dump()) if finite else None,
            **self.model_dump(exclude={"kind", "finite_key"}),
        )


class Bbm92Spec(Part):
    """Entangled pairs from a source midway (Ma, Fung, Lo 2007)."""

    kind: Literal["bbm92"]
    # Pairs per pulse; left out: as many as give most key at the link's loss.
    mean_pairs: Annotated[float, Field(gt=0, le=10)] | None = None
    misalignment_ratio: ErrorRatio = 0.015
    reconciliation_efficiency: ReconciliationLeak = 1.16
    sifting_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5

    def fault(self, technology: str, detector: DetectorSpec) -> str:
        """Why it does not fit the rest of the link; empty if it does."""
        if technology != "DV-QKD":
            return f"bbm92 is of technology DV-QKD, not {technology}"
        return "" if detector.at == "both" else "bbm92 has receivers at both ends; set detector.at to both"

    def protocol(self, detector: DetectorSpec, *, loss_db: float) -> QkdProtocol:
        """The protocol as physics knows it."""
        protocol = Bbm92(
            receiver=detector.receiver(),
            mean_pairs=self.mean_pairs or 0.1,
            misalignment_ratio=self.misalignment_ratio,
            reconciliation_efficiency=self.reconciliation_efficiency,
            sifting_ratio=self.sifting_ratio,
        )
        return protocol if self.mean_pairs else best_pairs(protocol, Channel(loss_db))


class CvQkdSpec(Part):
    """Gaussian-modulated coherent states and a homodyne receiver (Lodewyck et al. 2007)."""

    kind: Literal["cv-qkd"]
    symbol_rate_hz: Annotated[float, Field(gt=0, le=1e12)]
    modulation_variance: Annotated[float, Field(gt=0, le=1e4)] = 4.0
    excess_noise: Annotated[float, Field(ge=0, le=10)] = 0.01
    efficiency_ratio: Annotated[float, Field(gt=0, le=1)] = 0.6
    electronic_noise: Annotated[float, Field(ge=0, le=10)] = 0.01
    reconciliation_efficiency: Annotated[float, Field(gt=0, le=1)] = 0.95
    key_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5

    def fault(self, technology: str, detector: DetectorSpec) -> str:
        """Why it does not fit the rest of the link; empty if it does."""
        if technology != "CV-QKD":
            return f"cv-qkd is of technology CV-QKD, not {technology}"
        if detector.model_fields_set:
            return "a homodyne receiver has no single-photon detectors; leave out detector"
        return ""

    def protocol(self, detector: DetectorSpec, *, loss_db: float) -> QkdProtocol:  # noqa: ARG002  # of all
        """The protocol as physics knows it."""
        return CvQkd(**self.model_dump(exclude={"kind"}))


ProtocolSpec = Annotated[DecoyBb84Spec | Bbm92Spec | CvQkdSpec, Field(discriminator="kind")]


_OF_OPERATING_POINT = ("qber_ratio", "skr_bps", "sifting_ratio")
_DETECTORS_OF_OPERATING_POINT = ("mean_photon_number",)
_DETECTORS_OF_PROTOCOL = ("afterpulse_ratio", "jitter_seconds", "bias_ratio", "optics_loss_db")


def check_choice(
    given: AbstractSet[str], protocol: ProtocolSpec | None, technology: str, detector: DetectorSpec
) -> None:
    """ValueError unless a link is described in exactly one way: as published, or by its hardware.

    `given` are the fields that the scenario file sets.
    """
    if protocol is None:
        missing = [name for name in ("qber_ratio", "skr_bps") if name not in given]
        if missing:
            raise ValueError(
                f"{' and '.join(missing)} missing; give both as published, or a protocol with its hardware"
            )
        refused = [name for name in _DETECTORS_OF_PROTOCOL if name in detector.model_fields_set]
        if refused:
            raise ValueError(
                f"detector.{refused[0]} has no effect on a published operating point; leave it out or give "
                "a protocol"
            )
        return
    refused = [name for name in _OF_OPERATING_POINT if name in given]
    refused += [
        f"detector.{name}" for name in _DETECTORS_OF_OPERATING_POINT if name in detector.model_fields_set
    ]
    if refused:
        raise ValueError(f"{refused[0]} follows from the protocol's own settings; leave it or protocol out")
    if fault := protocol.fault(technology, detector):
        raise ValueError(fault)


class DriftSpec(Part):
    """How the devices of a link change by themselves; left out, they do not."""

    angle_degrees_per_hour: Annotated[float, Field(ge=-3600, le=3600)] = 0.0
    angle_walk_degrees: Annotated[float, Field(ge=0, le=3600)] = 0.0
    detector_day_kelvin: Annotated[float, Field(ge=0, le=40)] = 0.0
    loss_day_db: Annotated[float, Field(ge=0, le=10)] = 0.0
    day_seconds: Annotated[float, Field(ge=1, le=1e6)] = 86_400.0
    laser_loss_ratio_per_year: Annotated[float, Field(ge=0, lt=1)] = 0.0
    laser_age_years: Annotated[float, Field(ge=0, le=50)] = 0.0

    def drift(self) -> Drift:
        """The drift as physics knows it."""
        return Drift(**self.model_dump())


class CalibrationSpec(Part):
    """How the devices of a link calibrate. Without a period they do so only when asked to."""

    takes_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    every_seconds: Annotated[float, Field(gt=0, le=1e8)] | None = None

    def calibration(self) -> Calibration:
        """The plan as physics knows it."""
        return Calibration(self.takes_seconds, self.every_seconds)
