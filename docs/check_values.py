"""Prints the table of check values in docs/physics.md: published figures and what the models give."""

import math
from collections.abc import Iterator

import numpy as np
from scipy.optimize import brentq

from keyweave.emulator.physics.bbm92 import best_pairs
from keyweave.emulator.physics.channel import Channel
from keyweave.emulator.physics.cv_qkd import CvQkd
from keyweave.emulator.physics.decoy_bb84 import DecoyBb84
from keyweave.emulator.physics.information import binary_entropy
from keyweave.emulator.physics.orbit import Orbit, Station
from keyweave.emulator.physics.satellite import Downlink, Optics, geometric_loss_db
from tests.unit.physics_cases import GYS_LOSS_DB_PER_KM, GYS_PULSES_HZ, SMALL_BLOCKS, entangled, gys


def rows() -> Iterator[tuple[str, str, str]]:
    """What, as published, as we have it."""
    infinite, two = gys(weak_photon_number=None), gys(weak_photon_number=0.05)
    for protocol, name, published in ((infinite, "infinite decoys", 142.0), (two, "vacuum + weak", 140.6)):
        ends = brentq(lambda km, of=protocol: _per_pulse(of, km) - 1e-15, 100, 160)
        yield f"GYS, {name}: key ends at", f"{published} km", f"{ends:.1f} km"
    for kilometres, gain, qber, rate, rate_of_two in (
        (50, "1.925e-3", "0.0334", "2.226e-4", "2.096e-4"),
        (100, "1.733e-4", "0.0376", "1.718e-5", "1.602e-5"),
        (120, "6.693e-5", "0.0449", "4.815e-6", "4.369e-6"),
    ):
        expected = infinite.expected(Channel(GYS_LOSS_DB_PER_KM * kilometres))
        at = f"GYS at {kilometres} km"
        yield f"{at}: gain", gain, _short(expected.sifted_bps / 0.5 / GYS_PULSES_HZ)
        yield f"{at}: QBER", qber, f"{expected.noise:.4f}"
        yield f"{at}: key per pulse, infinite decoys", rate, _short(_per_pulse(infinite, kilometres))
        yield f"{at}: key per pulse, vacuum + weak", rate_of_two, _short(_per_pulse(two, kilometres))
    for efficiency, published_end in ((1.0, "11.00 %"), (1.16, "9.81 %"), (1.22, "9.42 %")):
        ends = brentq(lambda e, f=efficiency: 1 - (1 + f) * binary_entropy(e), 1e-3, 0.2)
        yield f"QBER at which key ends, f = {efficiency}", published_end, f"{100 * ends:.2f} %"
    best = best_pairs(entangled(0.1), Channel(20))
    pairs = _short(best.expected(Channel(20)).secret_bps / best.receiver.pulse_rate_hz)
    yield "BBM92 at 100 km, best pair rate: key per pulse", "3.6e-6", pairs
    small = SMALL_BLOCKS.expected(Channel(27)).secret_bps / SMALL_BLOCKS.receiver.pulse_rate_hz
    yield "Finite blocks of 2e4 bits at 135 km: key per pulse", "above 0 (order of 1e4 bits)", _short(small)
    ideal = CvQkd(1.0, 1e5, 0.0, 1.0, 0.0, 1.0, 1.0).expected(Channel(10)).secret_bps
    yield from _of_satellites()
    yield "CV-QKD, ideal devices at 10 dB: bits per symbol", "0.0760", f"{ideal:.4f}"


def _of_satellites() -> Iterator[tuple[str, str, str]]:
    for range_km, published in ((645, "16.2 dB"), (1200, "21.6 dB")):
        loss = geometric_loss_db(range_km, divergence_microradians=10, aperture_m=1)
        yield f"Geometric loss of 10 microradians into 1 m over {range_km:,} km", published, f"{loss:.1f} dB"
    epoch = 0.0
    orbit = Orbit.circular(
        altitude_km=500, inclination_degrees=90, raan_degrees=0, mean_anomaly_degrees=0, epoch=epoch
    )
    x, y, _ = orbit.positions_km(np.array([epoch]))[0]
    below = Station(0, math.degrees(math.atan2(y, x)))
    downlink = Downlink(orbit, below, Optics(), min_elevation_degrees=10, sun_below_degrees=None)
    (overhead,) = downlink.contacts(epoch - 1000, epoch + 1000)
    yield "Overhead pass at 500 km, above 10 degrees for", "443 s", f"{overhead.end - overhead.start:.0f} s"


def table() -> str:
    """The rows in Markdown."""
    lines = ["| what | published | here |", "|---|---|---|"]
    lines += [f"| {what} | {published} | {ours} |" for what, published, ours in rows()]
    return "\n".join(lines)


def _per_pulse(protocol: DecoyBb84, kilometres: float) -> float:
    return protocol.expected(Channel(GYS_LOSS_DB_PER_KM * kilometres)).secret_bps / GYS_PULSES_HZ


def _short(figure: float) -> str:
    mantissa, exponent = f"{figure:.3e}".split("e")
    return f"{mantissa}e{int(exponent)}"


if __name__ == "__main__":
    print(table())  # noqa: T201  # its purpose
