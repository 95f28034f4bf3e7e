"""`keyweave check-config`: real configurations are good, and of broken ones it says where and why."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyweave.cli.check_config import Kind, kind_of
from keyweave.cli.main import main
from keyweave.cli.up import ports
from keyweave.cli.up.layout import lay_out
from keyweave.common.errors import InvalidInputError
from keyweave.emulator.scenario import load_scenario

ROOT = Path(__file__).parents[2]
SCENARIO = ROOT / "tests" / "chaos" / "triangle.yaml"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `keyweave up` writes."""
    root = tmp_path_factory.mktemp("network")
    with ports.Held() as held:
        lay_out(load_scenario(SCENARIO), SCENARIO, root, held)
    return root


@pytest.fixture
def agent(network: Path) -> Path:
    return next(network.glob("agent-*/config.yaml"))


def changed(file: Path, into: Path, change: Callable[[Any], object]) -> Path:
    content = yaml.safe_load(file.read_text())
    change(content)
    into.write_text(yaml.safe_dump(content, sort_keys=False))
    return into


def test_every_file_that_up_writes_is_good_and_recognised(
    network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        network / "controller" / "config.yaml": "controller",
        network / "emulator" / "config.yaml": "emulator",
        SCENARIO: "scenario",
        **dict.fromkeys(network.glob("agent-*/config.yaml"), "agent"),
        **dict.fromkeys(network.glob("agent-*/guard.yaml"), "guard"),
    }
    assert len(files) == 3 + 2 * len(load_scenario(SCENARIO).nodes)
    before = {path: path.read_bytes() for path in network.rglob("*") if path.is_file()}
    assert main(["check-config", *map(str, files)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.splitlines() == [f"{file}: good: {kind}" for file, kind in files.items()]
    assert {path: path.read_bytes() for path in network.rglob("*") if path.is_file()} == before


def test_the_criteria_of_a_report_are_recognised_and_what_is_wrong_has_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("title: Pilot\ncriteria:\n  - {require: link.qber_mean <= 0.05}\n")
    bad.write_text("criteria:\n  - {require: link.speed <= 0.05}\n")
    assert main(["check-config", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: good: criteria\n"
    assert main(["check-config", str(bad)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {bad}:2: criteria[0].require: there is no link.speed")


@pytest.mark.parametrize("scenario", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenarios_are_recognised(scenario: Path) -> None:
    assert kind_of(scenario) is Kind.SCENARIO


def test_a_wrong_field_is_named_by_file_and_line_and_the_exit_code_is_that_of_usage(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(content: Any) -> None:
        content["warmup_secs"] = 3
        content["lease_seconds"] = -1

    file = changed(network / "controller" / "config.yaml", tmp_path / "controller.yaml", spoil)
    lines = file.read_text().splitlines()
    assert main(["check-config", str(file)]) == 2
    errors = capsys.readouterr().err.splitlines()
    where = {
        name: next(i for i, line in enumerate(lines, 1) if line.startswith(name))
        for name in ("warmup_secs", "lease_seconds")
    }
    assert sorted(errors) == sorted(
        [
            f"error: {file}:{where['lease_seconds']}: lease_seconds: input should be greater than 0",
            next(line for line in errors if "warmup_secs" in line),
        ]
    )
    assert f"error: {file}:{where['warmup_secs']}: warmup_secs: is unknown; expected" in "\n".join(errors)


def test_what_an_agent_would_trip_over_after_reading_its_file_is_told_too(
    agent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(content: Any) -> None:
        content["control_tls"]["certificate"] = str(tmp_path / "nowhere.pem")
        content["kme"]["tls"]["private_key"] = content["key_plane"]["tls"]["private_key"]
        guards = agent.parent.parent.glob("agent-*/guard.yaml")
        content["guard"] = str(next(path for path in guards if path.parent != agent.parent))
        content["drivers"].append({"driver": "telepathy"})
        content["drivers"][0]["settings"]["adress"] = "127.0.0.1:1"

    file = changed(agent, tmp_path / "agent.yaml", spoil)
    assert main(["check-config", str(file), "--kind", "agent"]) == 2
    told = capsys.readouterr().err
    for words in (
        f"control_tls.certificate: there is no file {tmp_path / 'nowhere.pem'}",
        "kme.tls: ",
        "is not the key of the certificate",
        "guard: ",
        "not of '",
        "drivers[1].driver: 'telepathy' is not installed; installed drivers: ",
        "drivers[0].settings.adress: ",
    ):
        assert words in told
    assert all(line.startswith(f"error: {file}:") for line in told.splitlines())


def test_a_file_that_is_nobodys_wants_a_kind_and_one_that_is_no_yaml_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobodys, broken, missing = tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"
    nobodys.write_text("colour: blue\n")
    broken.write_text("a: [1\n")
    assert main(["check-config", str(nobodys), str(broken), str(missing)]) == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert "add --kind: controller, agent, guard, emulator, scenario" in first
    assert f"{broken}: is not YAML" in second
    assert f"{missing}: cannot be read: No such file or directory" in third
    with pytest.raises(InvalidInputError):
        kind_of(nobodys)


def test_programs_get_the_same_as_json(
    agent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = changed(agent, tmp_path / "agent.yaml", lambda content: content.pop("kme"))
    assert main(["check-config", str(agent), str(file), "-o", "json"]) == 2
    good, bad = json.loads(capsys.readouterr().out)["files"]
    assert (good["kind"], good["good"], good["wrong"]) == ("agent", True, [])
    assert (bad["good"], bad["wrong"]) == (False, [f"{file}:1: kme: field required"])
