"""Links of a scenario that are described by their hardware: what they make, and what is refused."""

import math
import re
import textwrap
from pathlib import Path

import pytest

from keyweave.common.errors import InvalidInputError
from keyweave.emulator.physics.bbm92 import Bbm92
from keyweave.emulator.physics.channel import Channel
from keyweave.emulator.physics.link import ProtocolLink
from keyweave.emulator.physics.model import UNDISTURBED
from keyweave.emulator.plane import OpticalPlane
from keyweave.emulator.scenario import LinkSpec, Scenario, load_scenario
from keyweave.v1 import types_pb2

ROOT = Path(__file__).resolve().parents[2]
HEAD = """\
name: pair
nodes:
  - {name: a}
  - {name: b}
links:
"""
DECOY = """\
  - name: decoy
    a: a
    b: b
    technology: DV-QKD
    length_km: 50
    loss_db: 10.5
    protocol: {kind: decoy-bb84, misalignment_ratio: 0.015}
    detector: {efficiency_ratio: 0.2, gate_seconds: 1.0e-10, afterpulse_ratio: 0.01, jitter_seconds: 5.0e-11}
    drift: {angle_walk_degrees: 2, detector_day_kelvin: 3}
    calibration: {every_seconds: 900, takes_seconds: 20}
"""
ENTANGLED = """\
  - name: entangled
    a: a
    b: b
    technology: DV-QKD
    length_km: 20
    loss_db: 5
    protocol: {kind: bbm92}
    detector: {kind: SNSPD, at: both, efficiency_ratio: 0.8, dark_count_rate_hz: 100, gate_seconds: 1.0e-10}
"""
CONTINUOUS = """\
  - name: continuous
    a: a
    b: b
    technology: CV-QKD
    length_km: 15
    loss_db: 3
    protocol: {kind: cv-qkd, symbol_rate_hz: 1.0e+8}
"""


def load(tmp_path: Path, *links: str) -> Scenario:
    path = tmp_path / "scenario.yaml"
    path.write_text(HEAD + "".join(links))
    return load_scenario(path)


def link(tmp_path: Path, text: str) -> LinkSpec:
    return load(tmp_path, text).links[0]


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_scenarios_that_come_with_it_make_key_on_every_link(path: Path) -> None:
    for spec in load_scenario(path).links:
        measured = ProtocolLink(spec.devices, link=spec.name, seed=1).measure(0.1, 0.1, UNDISTURBED)
        assert measured.key_bits == pytest.approx(0.1 * spec.undisturbed_skr_bps, rel=0.01)


def test_the_examples_in_the_docs_are_links(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "physics.md").read_text(), re.DOTALL)
    ends = {end for example in examples for end in re.findall(r"^  [ab]: (\S+)$", example, re.MULTILINE)}
    path = tmp_path / "scenario.yaml"
    path.write_text(
        "name: docs\nnodes:\n"
        + "".join(f"  - {{name: {e}, latitude_degrees: 47, longitude_degrees: 15}}\n" for e in sorted(ends))
        + "links:\n"
        + "".join(textwrap.indent(example, "  ") for example in examples)
    )
    links = load_scenario(path).links
    assert len(links) == len(examples)
    assert all(spec.undisturbed_skr_bps > 0 for spec in links)


@pytest.mark.parametrize("text", [DECOY, ENTANGLED, CONTINUOUS], ids=["decoy", "entangled", "continuous"])
def test_hardware_makes_key_without_a_published_rate(tmp_path: Path, text: str) -> None:
    spec = link(tmp_path, text)
    assert spec.skr_bps is None
    model = ProtocolLink(spec.devices, link=spec.name, seed=1)
    bits = math.fsum(model.measure(row / 10, 0.1, UNDISTURBED).key_bits for row in range(1, 101))
    assert bits == pytest.approx(10 * spec.undisturbed_skr_bps, rel=0.01)
    assert bits > 1000


def test_all_kinds_of_links_advance_side_by_side(tmp_path: Path) -> None:
    published = (
        "  - {name: published, a: a, b: b, technology: DV-QKD, length_km: 45, loss_db: 14.5, "
        "qber_ratio: 0.027, skr_bps: 304000}\n"
    )
    plane = OpticalPlane(load(tmp_path, DECOY, ENTANGLED, CONTINUOUS, published), warm_blocks_seconds=1)
    for emulated in plane.links.values():
        emulated.advance(0)
    plane.close()
    assert sorted(plane.links) == ["continuous", "decoy", "entangled", "published"]


def test_finite_blocks_make_less_key_than_endless_ones(tmp_path: Path) -> None:
    def rate(protocol: str) -> float:
        text = DECOY.replace("misalignment_ratio: 0.015", f"misalignment_ratio: 0.015, {protocol}")
        return link(tmp_path, text).undisturbed_skr_bps

    small, large = (
        rate(f"finite_key: {{block_bits: {bits}, secrecy: 1.0e-9}}") for bits in ("2.0e+6", "1.0e+9")
    )
    assert 0 < small < large


def test_drift_and_calibration_reach_the_devices(tmp_path: Path) -> None:
    devices = link(tmp_path, DECOY).devices
    assert devices.drift.angle_walk_degrees == 2
    assert devices.calibration.every_seconds == 900
    model = ProtocolLink(devices, link="decoy", seed=1)
    model.calibrate()
    assert model.measure(0.1, 0.1, UNDISTURBED).status == types_pb2.LINK_STATUS_PENDING


def test_a_published_operating_point_may_drift_too(tmp_path: Path) -> None:
    text = DECOY.replace(
        "protocol: {kind: decoy-bb84, misalignment_ratio: 0.015}", "qber_ratio: 0.02\n    skr_bps: 10000"
    ).replace(", afterpulse_ratio: 0.01, jitter_seconds: 5.0e-11", "")
    assert link(tmp_path, text).devices.drift.detector_day_kelvin == 3


def test_a_pair_rate_that_is_left_out_is_the_best_for_the_loss(tmp_path: Path) -> None:
    best = link(tmp_path, ENTANGLED)
    assert isinstance(best.devices.protocol, Bbm92)
    given = link(tmp_path, ENTANGLED.replace("{kind: bbm92}", "{kind: bbm92, mean_pairs: 0.02}"))
    assert given.undisturbed_skr_bps < best.undisturbed_skr_bps
    assert given.devices.protocol.expected(Channel(5)).secret_bps == given.undisturbed_skr_bps


@pytest.mark.parametrize(
    ("text", "old", "new", "says"),
    [
        (
            DECOY,
            "    protocol: {kind: decoy-bb84, misalignment_ratio: 0.015}\n",
            "",
            "qber_ratio and skr_bps",
        ),
        (DECOY, "loss_db: 10.5", "loss_db: 10.5\n    skr_bps: 1000", "skr_bps follows from the protocol"),
        (DECOY, "loss_db: 10.5", "loss_db: 10.5\n    sifting_ratio: 1", "sifting_ratio follows"),
        (DECOY, "{efficiency", "{mean_photon_number: 0.3, efficiency", "detector.mean_photon_number follows"),
        (DECOY, "decoy-bb84", "decoy-bb85", "decoy-bb84"),
        (DECOY, "DV-QKD", "CV-QKD", "not CV-QKD"),
        (DECOY, "DV-QKD", "DV-QKD-COW", "not DV-QKD-COW"),
        (DECOY, "loss_db: 10.5", "loss_db: 60", "no secret key over 60 dB: its QBER is"),
        (DECOY, "misalignment_ratio: 0.015", "misalignment_ratio: 0.2", "no secret key"),
        (DECOY, "misalignment_ratio: 0.015", "weak_photon_number: 0.5", "weak_photon_number 0.5 must lie"),
        (
            DECOY,
            "misalignment_ratio: 0.015",
            "sifting_ratio: 0.5, finite_key: {}",
            "leave out sifting_ratio",
        ),
        (DECOY, "misalignment_ratio: 0.015", "pairs: 1", "pairs"),
        (DECOY, "takes_seconds: 20", "takes_seconds: 0", "takes_seconds"),
        (DECOY, "{efficiency", "{at: both, efficiency", "receiver of decoy-bb84 is end b"),
        (ENTANGLED, "at: both, ", "", "detector.at to both"),
        (CONTINUOUS, "loss_db: 3", "loss_db: 3\n    detector: {count: 2}", "homodyne receiver"),
        (CONTINUOUS, "1.0e+8", "1.0e+8, excess_noise: 0.5", "its excess noise is 0.5"),
    ],
)
def test_descriptions_that_cannot_be_are_refused_by_name(
    tmp_path: Path, text: str, old: str, new: str, says: str
) -> None:
    assert old in text
    with pytest.raises(InvalidInputError, match=says):
        load(tmp_path, text.replace(old, new))


@pytest.mark.parametrize(
    "field", ["afterpulse_ratio: 0.1", "jitter_seconds: 1.0e-10", "bias_ratio: 1.1", "optics_loss_db: 2"]
)
def test_settings_that_a_published_point_has_in_its_figures_are_refused(tmp_path: Path, field: str) -> None:
    text = (
        "  - {name: x, a: a, b: b, technology: DV-QKD, length_km: 45, loss_db: 14.5, qber_ratio: 0.027, "
        f"skr_bps: 304000, detector: {{{field}}}}}\n"
    )
    with pytest.raises(InvalidInputError, match="no effect on a published operating point"):
        load(tmp_path, text)
