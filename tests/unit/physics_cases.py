"""Published systems that several tests of the physics work with."""

from dataclasses import replace

from keyweave.emulator.physics.anchored import AnchoredPoint, OperatingPoint
from keyweave.emulator.physics.bbm92 import Bbm92
from keyweave.emulator.physics.decoy_bb84 import DecoyBb84
from keyweave.emulator.physics.detectors import Detectors, Receiver
from keyweave.emulator.physics.finite_key import FiniteKey
from keyweave.emulator.physics.link import Devices

GYS_PULSES_HZ = 2e6
GYS_LOSS_DB_PER_KM = 0.21


def receiver(
    efficiency_ratio: float,
    dark_count_ratio: float,
    *,
    pulse_rate_hz: float = 1e6,
    gate_seconds: float = 1e-9,
    at_both_ends: bool = False,
    afterpulse_ratio: float = 0.0,
    dead_time_seconds: float = 1e-15,
    jitter_seconds: float = 0.0,
) -> Receiver:
    """Two detectors that together have so many dark counts per gate, without dead time unless it is given."""
    detectors = Detectors(
        kind="InGaAs",
        count=2,
        at_both_ends=at_both_ends,
        efficiency_ratio=efficiency_ratio,
        dark_count_rate_hz=dark_count_ratio / 2 / gate_seconds,
        temperature_celsius=-50,
        bias_volts=50,
        dead_time_seconds=dead_time_seconds,
        afterpulse_ratio=afterpulse_ratio,
        jitter_seconds=jitter_seconds,
    )
    return Receiver(detectors, pulse_rate_hz, gate_seconds)


def gys(*, weak_photon_number: float | None, reconciliation_efficiency: float = 1.22) -> DecoyBb84:
    """Gobby, Yuan, Shields, Appl. Phys. Lett. 84, 3762 (2004), as Ma et al. 2005 take it (table I)."""
    return DecoyBb84(
        receiver(0.045, 1.7e-6, pulse_rate_hz=GYS_PULSES_HZ, gate_seconds=3.5e-9),
        mean_photon_number=0.48,
        weak_photon_number=weak_photon_number,
        # Rates per signal pulse: decoys are taken to be few.
        signal_ratio=1.0,
        weak_ratio=0.0,
        misalignment_ratio=0.033,
        reconciliation_efficiency=reconciliation_efficiency,
    )


def entangled(mean_pairs: float, *, reconciliation_efficiency: float = 1.22) -> Bbm92:
    """The 144 km experiment of Ursin et al., Nat. Phys. 3, 481 (2007), as Ma, Fung, Lo 2007 take it."""
    return Bbm92(
        receiver(0.145, 6.02e-6, at_both_ends=True),
        mean_pairs,
        misalignment_ratio=0.015,
        reconciliation_efficiency=reconciliation_efficiency,
    )


def anchored_devices(point: OperatingPoint) -> Devices:
    """The devices of a link as published."""
    return Devices(AnchoredPoint(point), point.loss_db, point.abort_qber_ratio, point.detectors)


# The system of Lim et al. 2014 (section IV); what it optimises is so for 100 km and blocks of 1e7 bits.
LIM = DecoyBb84(
    receiver(0.1, 1.2e-6, afterpulse_ratio=0.04),
    mean_photon_number=0.432,
    weak_photon_number=0.2095,
    signal_ratio=0.402,
    weak_ratio=0.463,
    vacuum_photon_number=2e-4,
    misalignment_ratio=5e-3,
    reconciliation_efficiency=1.16,
    finite=FiniteKey(block_bits=1e7, secrecy=2.4e-9, key_basis_ratio=0.866),
)
# The same for 135 km and blocks of 2e4 bits, found by Nelder-Mead.
SMALL_BLOCKS = replace(
    LIM,
    mean_photon_number=0.4905,
    weak_photon_number=0.1312,
    signal_ratio=0.0706,
    weak_ratio=0.6019 * (1 - 0.0706),
    finite=FiniteKey(block_bits=2e4, secrecy=4.7e-13, key_basis_ratio=0.2365),
)
