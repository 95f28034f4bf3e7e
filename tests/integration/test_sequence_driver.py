"""The `sequence` driver over SeQUeNCe itself, in the environment that `make tools` has it in."""

import asyncio
import json
import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from keyweave.agent.drivers.sequence_link import Counts, Photonics
from keyweave.agent.drivers.sequence_rate import secret_bits_per_pulse
from tests.conftest import ROOT

# Of a photon number, a QBER of 0.078 follows from the rest.
ISSUE = Photonics(
    length_km=25,
    attenuation_db_per_km=0.2,
    pulse_rate_hz=200e3,
    mean_photon_number=0.42,
    detector_efficiency_ratio=0.2,
    dark_count_rate_hz=500,
    misalignment_ratio=0,
)
PULSES = 400_000
# As far as a count may be from what is expected, in standard deviations; chance of a false alarm 6e-5.
SIGMAS = 4.0

SIMULATE = """
import json, sys
from keyweave.agent.drivers.sequence_link import Photonics, simulate
from dataclasses import asdict
if __name__ == "__main__":
    for photonics, pulses, seed in json.load(sys.stdin):
        print(json.dumps(asdict(simulate(Photonics(**photonics), pulses, seed))))
"""


@dataclass(frozen=True)
class Environment:
    """Python with SeQUeNCe."""

    python: Path

    async def run(self, *arguments: str, given: str = "") -> tuple[int, str]:
        """Exit code and output of a run on this tree."""
        path = os.pathsep.join(str(ROOT / part) for part in ("controller", "agents", "common", "proto"))
        path = os.pathsep.join((path, str(ROOT / "proto" / "third_party")))
        process = await asyncio.create_subprocess_exec(
            self.python,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        output, _ = await process.communicate(given.encode())
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def simulate(self, *runs: tuple[Photonics, int, int]) -> list[Counts]:
        """What came of trains of pulses (photonics, pulses, seed)."""
        given = json.dumps([(asdict(photonics), pulses, seed) for photonics, pulses, seed in runs])
        code, output = await self.run("-c", SIMULATE, given=given)
        assert code == 0
        return [Counts(**json.loads(line)) for line in output.splitlines()]


@pytest.fixture
def environment() -> Environment:
    python = ROOT / ".tools" / "sequence" / "bin" / "python"
    if not python.exists():
        if os.environ.get("KEYWEAVE_NO_SKIP"):
            pytest.fail("SeQUeNCe is not installed and may not be skipped here; `make tools` installs it")
        pytest.skip("SeQUeNCe is not installed; `make tools` installs it")
    return Environment(python)


def expected(photonics: Photonics) -> tuple[float, float]:
    """Sifted bits per pulse, and QBER: photons arrive by Poisson, pulses of two clicks count for nothing."""
    arriving = photonics.mean_photon_number * photonics.detector_efficiency_ratio
    arriving *= 10 ** (-photonics.length_km * photonics.attenuation_db_per_km / 10)
    dark = photonics.dark_count_rate_hz / photonics.pulse_rate_hz
    right = 1 - math.exp(-(arriving * (1 - photonics.misalignment_ratio) + dark))
    wrong = 1 - math.exp(-(arriving * photonics.misalignment_ratio + dark))
    alone, mistaken = right * (1 - wrong), wrong * (1 - right)
    return (alone + mistaken) / 2, mistaken / (alone + mistaken)


async def test_error_rate_and_yield_agree_with_what_the_physics_says(environment: Environment) -> None:
    links = (ISSUE, replace(ISSUE, length_km=5, dark_count_rate_hz=20, misalignment_ratio=0.03))
    assert expected(ISSUE)[1] == pytest.approx(0.078, abs=0.0005)
    for photonics, counts in zip(
        links, await environment.simulate(*((link, PULSES, 7) for link in links)), strict=True
    ):
        bits, qber = expected(photonics)
        assert abs(counts.sifted - bits * PULSES) < SIGMAS * math.sqrt(bits * PULSES)
        noise = math.sqrt(qber * (1 - qber) / counts.sifted)
        assert abs(counts.errors / counts.sifted - qber) < SIGMAS * noise
        assert abs(counts.detected - 2 * counts.sifted) < SIGMAS * math.sqrt(2 * counts.detected)


async def test_the_same_seed_measures_the_same_at_both_ends_and_another_one_otherwise(
    environment: Environment,
) -> None:
    one, same, other = await environment.simulate(*((ISSUE, 20_000, seed) for seed in (1, 1, 2)))
    assert one == same
    assert one != other


async def test_the_conformance_suite_passes_it_with_its_process_pool(
    environment: Environment, tmp_path: Path
) -> None:
    link: dict[str, Any] = {"length_km": 5, "pulses": 2000, "interval_seconds": 0.5}
    sides = {node: {"links": {"a-b": {"peer_node": peer, **link}}} for node, peer in (("a", "b"), ("b", "a"))}
    file = tmp_path / "a.yaml"
    text = {"node": "a", "settings": sides["a"], "peer": {"node": "b", "settings": sides["b"]}}
    file.write_text(json.dumps(text), encoding="utf-8")
    command = "import sys; from keyweave.cli.main import main; sys.exit(main())"
    script = tmp_path / "run.py"
    script.write_text(f"if __name__ == '__main__':\n    {command}\n", encoding="utf-8")
    code, output = await environment.run(
        str(script), "driver", "test", "sequence", "--config", str(file), "-o", "json"
    )
    assert code == 0, output
    findings = {finding["check"]: finding for finding in json.loads(output)["checks"]}
    assert findings["measurements"]["outcome"] == "pass"
    assert "qber_ratio, skr_bps, sifted_rate_bps, loss_db" in findings["measurements"]["reason"]
    assert findings["block-numbers"]["outcome"] == "not applicable"


def test_the_secret_rate_is_that_of_decoy_states_and_nothing_where_errors_leave_nothing() -> None:
    """Against a value worked out by hand from the same formula.

    5 km, 20 dark counts/s, 1 % misaligned: eta 0.15887, Y0 2e-4, Y1 0.15903, e1 0.010618, Q1 0.048229,
    H2(e1) 0.084864; Q 0.0765 and E 0.01179 as counted, H2(E) 0.092444.
    """
    link = replace(ISSUE, length_km=5, dark_count_rate_hz=20, misalignment_ratio=0.01, mean_photon_number=0.5)
    counts = Counts(pulses=1_000_000, seconds=5.0, detected=76_500, sifted=38_250, errors=451)
    assert secret_bits_per_pulse(link, counts) == pytest.approx(0.017966, abs=1e-6)
    assert secret_bits_per_pulse(link, replace(counts, errors=4500)) == 0.0
    assert secret_bits_per_pulse(link, replace(counts, sifted=0, errors=0, detected=0)) == 0.0
