"""One link simulated photon by photon with SeQUeNCe; runs in a process of its own.

SeQUeNCe: Wu et al., Quantum Sci. Technol. 6, 045027 (2021). What is known of 0.8.5, and what follows here:
 * `QKDNode.update_detector_params` looks for a component of exactly the type `QSDetector`, which none is, and
   does nothing: the detectors' attributes are set directly.
 * Its BB84 sends pulse train after pulse train, whose lengths are rounded each time: with short keys at 80
   MHz the bits of both ends drift apart. Here one train is sent, however long, and no second one.
 * It has neither decoy states nor privacy amplification: only sifted bits come from it.
"""

import random
from dataclasses import dataclass
from typing import Any

_PS_PER_SECOND = 10**12
# For the photons on their way, and three messages of sifting, after the last pulse.
_SETTLE_DELAYS = 8


@dataclass(frozen=True, slots=True)
class Photonics:
    """What a link is made of."""

    length_km: float
    attenuation_db_per_km: float
    pulse_rate_hz: float
    mean_photon_number: float
    detector_efficiency_ratio: float
    # Of each of the two detectors.
    dark_count_rate_hz: float
    # Probability that a photon is detected as the other bit, whatever the cause in the optics.
    misalignment_ratio: float


@dataclass(frozen=True, slots=True)
class Counts:
    """What came of one train of pulses."""

    pulses: int
    seconds: float
    # Pulses with a click of exactly one detector.
    detected: int
    # Of those where both ends chose the same basis, and where their bits differ then.
    sifted: int
    errors: int


def simulate(photonics: Photonics, pulses: int, seed: int) -> Counts:
    """Send so many pulses from one end to the other and compare the bits."""
    import numpy as np  # noqa: PLC0415
    from sequence.components.optical_channel import ClassicalChannel, QuantumChannel  # noqa: PLC0415
    from sequence.kernel.timeline import Timeline  # noqa: PLC0415
    from sequence.qkd.BB84 import pair_bb84_protocols  # noqa: PLC0415
    from sequence.topology.node import QKDNode  # noqa: PLC0415

    # Its BB84 draws bits and bases from numpy's global source.
    np.random.seed(seed % 2**32)  # noqa: NPY002
    seeds = random.Random(seed)  # noqa: S311  # a simulation, no key
    seconds = pulses / photonics.pulse_rate_hz
    timeline = Timeline()
    alice, bob = (
        QKDNode(name, timeline, stack_size=1, seed=seeds.getrandbits(32)) for name in ("alice", "bob")
    )
    pair_bb84_protocols(alice.protocol_stack[0], bob.protocol_stack[0])
    for here, there in ((alice, bob), (bob, alice)):
        metres = photonics.length_km * 1000
        classical = ClassicalChannel(f"c-{here.name}", timeline, distance=metres)
        classical.set_ends(here, there.name)
        quantum = QuantumChannel(
            f"q-{here.name}",
            timeline,
            attenuation=photonics.attenuation_db_per_km / 1000,
            distance=metres,
            # Noise turns a photon to a random state, which is the other bit half of the time.
            polarization_fidelity=1 - 2 * photonics.misalignment_ratio,
            frequency=photonics.pulse_rate_hz,
        )
        quantum.set_ends(here, there.name)
    alice.update_lightsource_params("frequency", photonics.pulse_rate_hz)
    alice.update_lightsource_params("mean_photon_num", photonics.mean_photon_number)
    for detector in bob.components["bob.qsdetector"].detectors:
        detector.efficiency = photonics.detector_efficiency_ratio
        detector.dark_count = photonics.dark_count_rate_hz
    timeline.init()
    sending, receiving = alice.protocol_stack[0], bob.protocol_stack[0]
    detected = _counted(bob)
    _send_one_train(sending)
    # A key as long as this takes one train of `pulses`, and is never complete.
    sending.push(round(pulses * photonics.mean_photon_number), 1)
    delay = max(channel.delay for channel in (*alice.cchannels.values(), *alice.qchannels.values()))
    timeline.stop_time = round(seconds * _PS_PER_SECOND) + _SETTLE_DELAYS * delay + _PS_PER_SECOND // 1000
    timeline.run()
    ours, theirs = sending.key_bits, receiving.key_bits
    if len(ours) != len(theirs):
        raise RuntimeError(f"SeQUeNCe's ends have {len(ours)} and {len(theirs)} sifted bits of one train")
    errors = sum(int(a) != int(b) for a, b in zip(ours, theirs, strict=True))
    return Counts(pulses, seconds, detected[0] if detected else 0, len(ours), errors)


def _send_one_train(protocol: Any) -> None:
    """Keep SeQUeNCe from sending the next train, which it would begin before the first one is sifted."""
    begin = protocol.begin_photon_pulse

    def once() -> None:
        protocol.begin_photon_pulse = lambda: None
        begin()

    protocol.begin_photon_pulse = once


def _counted(node: Any) -> list[int]:
    """Where the number of pulses with one click will stand once they are known."""
    counts: list[int] = []
    get_bits = node.get_bits

    def counting(*arguments: Any) -> list[int]:
        bits: list[int] = get_bits(*arguments)
        counts.append(sum(bit != -1 for bit in bits))
        return bits

    node.get_bits = counting
    return counts
