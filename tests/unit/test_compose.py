"""deploy/compose: what it mounts is there, and each program takes its configuration."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.rule import Alert
from dashboards.rulefile import RULE_FILES
from keyweave.cli.state_dir import StateDir

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "compose"
Find = Callable[[str], str]


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return content


def checked(*command: str, folder: Path = FOLDER) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def mounts(service: str) -> dict[str, str]:
    """What is mounted where, without volumes."""
    pairs = (
        each.split(":")[:2]
        for each in read("compose.yaml")["services"][service]["volumes"]
        if "{" not in each
    )
    return {source: target for source, target in pairs if source.startswith(".")}


def test_docker_compose_takes_the_file(outside_program: Find) -> None:
    checked(outside_program("docker-compose"), "-f", "compose.yaml", "config", "--quiet")


def test_what_is_mounted_is_there() -> None:
    services = read("compose.yaml")["services"]
    assert services.keys() == {"prometheus", "alertmanager", "grafana"}
    lost = [source for name in services for source in mounts(name) if not (FOLDER / source).exists()]
    assert lost == []


def test_images_are_of_a_version_that_is_said() -> None:
    for service in read("compose.yaml")["services"].values():
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", service["image"])


def test_only_this_machine_reaches_them() -> None:
    services = read("compose.yaml")["services"]
    for name in ("prometheus", "alertmanager"):
        (listens,) = (word for word in services[name]["command"] if "listen-address=1" in word)
        assert "=127.0.0.1:" in listens
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


def test_prometheus_takes_its_configuration_with_the_rules(tmp_path: Path, outside_program: Find) -> None:
    shutil.copy(FOLDER / "prometheus.yml", tmp_path)
    shutil.copytree(ROOT / "dashboards" / "rules", tmp_path / "rules")
    checked(outside_program("promtool"), "check", "config", "prometheus.yml", folder=tmp_path)


def test_prometheus_looks_for_targets_where_keyweave_up_writes_them() -> None:
    volume = next(each for each in read("compose.yaml")["services"]["prometheus"]["volumes"] if "{" in each)
    state = StateDir(Path("/state"))
    written = re.sub(r"\$\{KEYWEAVE_STATE_DIR:-[^}]*\}", "/state", volume).split(":")
    assert Path(written[0]) == state.targets_file.parent
    (files,) = read("prometheus.yml")["scrape_configs"][0]["file_sd_configs"][0]["files"]
    assert f"/etc/prometheus/{files}" == f"{written[1]}/*{state.targets_file.suffix}"


def test_alertmanager_takes_its_configuration_and_knows_our_alerts(outside_program: Find) -> None:
    checked(outside_program("amtool"), "check-config", "alertmanager.yml")
    named = set(re.findall(r"Keyweave\w+", (FOLDER / "alertmanager.yml").read_text()))
    rules = [rule for groups in RULE_FILES.values() for group in groups for rule in group.rules]
    assert named <= {rule.name for rule in rules if isinstance(rule, Alert)}


@pytest.mark.parametrize("kind", ["datasources", "dashboards"])
def test_grafana_finds_what_it_is_provisioned_with(kind: str) -> None:
    targets = mounts("grafana")
    assert targets[f"./grafana/{kind}"] == f"/etc/grafana/provisioning/{kind}"
    (provider,) = read("grafana/dashboards/keyweave.yaml")["providers"]
    assert targets["../../dashboards/generated"] == provider["options"]["path"]
    home = read("compose.yaml")["services"]["grafana"]["environment"][
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"
    ]
    assert (ROOT / "dashboards" / "generated" / Path(home).name).exists()
