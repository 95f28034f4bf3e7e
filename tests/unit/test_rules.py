"""Every alert fires when it should and is silent when it should, by Prometheus's own engine."""

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.rule import Alert
from dashboards.rulefile import RULE_FILES
from tests.unit.rule_cases import CASES, Case

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "dashboards" / "rules").glob("*.yaml"))
ALERTS = {
    rule.name: rule
    for groups in RULE_FILES.values()
    for group in groups
    for rule in group.rules
    if isinstance(rule, Alert)
}

# Longer cases are evaluated less often: nothing in them is shorter.
LONG_MINUTES = 4 * 60


def told(
    alert: str, case: Case, series: Mapping[str, str], fired: Mapping[str, str] | None
) -> dict[str, Any]:
    """A test of promtool: `fired` are the labels of the one alert that fires, None if none does.

    Series ALERTS is asked for, not the alert: promtool compares annotations with those, word for word.
    """
    labels = (
        {}
        if fired is None
        else {"alertname": alert, "alertstate": "firing", "severity": ALERTS[alert].urgency.value, **fired}
    )
    text = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return {
        "name": f"{alert} {'fires' if fired is not None else 'is silent'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}',
                "eval_time": f"{case.at_minutes}m",
                "exp_samples": [] if fired is None else [{"labels": f"ALERTS{{{text}}}", "value": 1}],
            }
        ],
    }


def run(promtool: str, folder: Path, tests: list[dict[str, Any]], every: str = "1m") -> str:
    """What promtool finds wrong; empty if nothing is."""
    file = folder / "tests.yaml"
    content = {"rule_files": [str(rule) for rule in RULES], "evaluation_interval": every, "tests": tests}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    assert CASES.keys() == ALERTS.keys()


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_when_it_should_and_is_silent_when_it_should(
    alert: str, tmp_path: Path, outside_program: Callable[[str], str]
) -> None:
    case = CASES[alert]
    tests = [told(alert, case, case.fires, case.labels), told(alert, case, case.quiet, None)]
    every = "1m" if case.at_minutes < LONG_MINUTES else "5m"
    assert run(outside_program("promtool"), tmp_path, tests, every) == ""


def test_promtool_would_find_an_alert_that_does_not_fire(
    tmp_path: Path, outside_program: Callable[[str], str]
) -> None:
    case = CASES["KeyweaveLinkDown"]
    wrong = [told("KeyweaveLinkDown", case, case.quiet, case.labels)]
    assert "KeyweaveLinkDown" in run(outside_program("promtool"), tmp_path, wrong)
    wrong = [told("KeyweaveLinkDown", case, case.fires, None)]
    assert "KeyweaveLinkDown" in run(outside_program("promtool"), tmp_path, wrong)


def test_no_controller_at_all_is_no_leader(tmp_path: Path, outside_program: Callable[[str], str]) -> None:
    case = CASES["KeyweaveNoLeader"]
    tests = [told("KeyweaveNoLeader", case, {"up": "0x10"}, {})]
    assert run(outside_program("promtool"), tmp_path, tests) == ""


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_leads_to_a_page_that_says_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    page = ROOT / "docs" / "runbooks" / f"{alert}.md"
    annotations = rule.as_rule()["annotations"]
    assert annotations["runbook_url"].endswith(f"/docs/runbooks/{page.name}")
    assert annotations["summary"]
    assert annotations["description"]
    text = page.read_text()
    assert text.startswith(f"# {alert}\n")
    assert rule.urgency.value in text
    for heading in ("## What it means", "## What to check", "## What to do"):
        assert heading in text
    assert re.search(r"^(keyweave|curl|promtool|journalctl|kubectl|systemctl) ", text, flags=re.MULTILINE)


def test_the_list_of_runbooks_is_complete() -> None:
    folder = ROOT / "docs" / "runbooks"
    assert {page.stem for page in folder.glob("*.md")} - {"README"} == ALERTS.keys()
    listed = re.findall(r"\]\((\w+)\.md\)", (folder / "README.md").read_text())
    assert sorted(listed) == sorted(ALERTS)
