"""The faults in force on one link, and what they add up to."""

from dataclasses import dataclass

from keyweave.common.errors import InvalidInputError, PreconditionError
from keyweave.common.names import LinkName
from keyweave.emulator.physics.model import UNDISTURBED, Disturbance
from keyweave.v1 import emulator_pb2


@dataclass(frozen=True, slots=True)
class _Kind:
    """Name for people, and the magnitudes that make sense (see the proto's FaultKind)."""

    name: str
    unit: str
    default: float
    least: float
    most: float


_KINDS: dict[emulator_pb2.FaultKind, _Kind] = {
    emulator_pb2.FAULT_KIND_CUT: _Kind("cut", "it has none", 0.0, 0.0, 0.0),
    emulator_pb2.FAULT_KIND_EAVESDROP: _Kind("eavesdrop", "fraction of pulses", 1.0, 0.0, 1.0),
    emulator_pb2.FAULT_KIND_ATTENUATE: _Kind("attenuate", "dB", 10.0, 0.0, 60.0),
    emulator_pb2.FAULT_KIND_DETECTOR: _Kind("detector", "times the dark counts", 100.0, 1.0, 10_000.0),
}


class LinkFaults:
    """At most one fault of each kind; a newer one takes the place of the older."""

    def __init__(self, link: LinkName, *, counts_photons: bool) -> None:
        self._link = link
        self._counts_photons = counts_photons
        self._faults: dict[emulator_pb2.FaultKind, emulator_pb2.Fault] = {}
        self.disturbance = UNDISTURBED

    def inject(self, kind: emulator_pb2.FaultKind, magnitude: float, now_nanos: int) -> emulator_pb2.Fault:
        """Bring a fault about; 0 takes the kind's default magnitude."""
        known = _KINDS[kind]
        if magnitude and not known.least <= magnitude <= known.most:
            raise InvalidInputError.of(
                "fault.magnitude",
                f"{magnitude:g} is outside {known.least:g} to {known.most:g} ({known.unit}) of {known.name}; "
                f"leave it out for {known.default:g}",
            )
        if kind == emulator_pb2.FAULT_KIND_DETECTOR and not self._counts_photons:
            raise PreconditionError(
                f"link '{self._link}' is CV-QKD: its homodyne receiver has no single-photon detector to fail"
            )
        fault = emulator_pb2.Fault(
            link=self._link, kind=kind, magnitude=magnitude or known.default, since_unix_nanos=now_nanos
        )
        self._faults[kind] = fault
        self._sum_up()
        return fault

    def end_all(self) -> tuple[emulator_pb2.Fault, ...]:
        """Restore the link; returns what ended."""
        ended = self.in_force()
        self._faults.clear()
        self._sum_up()
        return ended

    def in_force(self) -> tuple[emulator_pb2.Fault, ...]:
        """The faults, oldest first."""
        return tuple(sorted(self._faults.values(), key=lambda fault: fault.since_unix_nanos))

    def _sum_up(self) -> None:
        self.disturbance = Disturbance(
            cut=emulator_pb2.FAULT_KIND_CUT in self._faults,
            intercepted_ratio=self._magnitude(emulator_pb2.FAULT_KIND_EAVESDROP, 0.0),
            added_loss_db=self._magnitude(emulator_pb2.FAULT_KIND_ATTENUATE, 0.0),
            dark_count_factor=self._magnitude(emulator_pb2.FAULT_KIND_DETECTOR, 1.0),
        )

    def _magnitude(self, kind: emulator_pb2.FaultKind, without: float) -> float:
        fault = self._faults.get(kind)
        return fault.magnitude if fault else without
