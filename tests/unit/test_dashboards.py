"""The dashboards and rules that are checked in are what the code makes, and speak of what there is."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.__main__ import files
from dashboards.boards import BOARDS
from dashboards.queries import OF_PAIRS
from dashboards.rule import Recording
from dashboards.rulefile import RULE_FILES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dashboards"
# What Prometheus itself and its client library export.
FOREIGN = {"ALERTS", "up"}


def panels(name: str) -> list[dict[str, Any]]:
    return [
        p for p in json.loads((FOLDER / f"generated/{name}.json").read_text())["panels"] if p["type"] != "row"
    ]


def expressions() -> Iterator[tuple[str, str]]:
    """Where, and which PromQL: of panels, annotations, variables and rules."""
    for name in BOARDS:
        board = json.loads((FOLDER / f"generated/{name}.json").read_text())
        for panel in panels(name):
            yield from ((f"{name}: {panel['title']}", target["expr"]) for target in panel.get("targets", ()))
        yield from ((f"{name}: {each['name']}", each["expr"]) for each in board["annotations"]["list"])
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{name}: ${variable['name']}", variable["query"]["query"]
    for file, groups in RULE_FILES.items():
        yield from ((f"{file}: {group.name}", rule.expr) for group in groups for rule in group.rules)


def exported() -> set[str]:
    told = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(), flags=re.MULTILINE))
    histograms = re.findall(
        r"^\| `(\w+)` \| histogram", (ROOT / "docs" / "metrics.md").read_text(), flags=re.MULTILINE
    )
    return told | {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}


def recorded() -> set[str]:
    rules = [rule for groups in RULE_FILES.values() for group in groups for rule in group.rules]
    return {rule.record for rule in rules if isinstance(rule, Recording)}


def test_what_is_checked_in_is_what_the_code_makes() -> None:
    made = dict(files())
    there = {
        path.relative_to(FOLDER).as_posix(): path.read_text()
        for folder in ("generated", "rules")
        for path in (FOLDER / folder).iterdir()
    }
    assert there.keys() == made.keys()
    assert [name for name in made if made[name] != there[name]] == [], "run `make dashboards`"


def test_the_chart_has_the_same_files() -> None:
    chart = ROOT / "helm" / "keyweave" / "files"
    for ours, theirs in (("generated", "dashboards"), ("rules", "rules")):
        made = {path.name: path.read_text() for path in (FOLDER / ours).iterdir()}
        assert {path.name: path.read_text() for path in (chart / theirs).iterdir()} == made, (
            "run `make dashboards`"
        )


def test_every_metric_that_is_asked_for_is_exported_or_recorded() -> None:
    known = exported() | recorded() | FOREIGN
    lost = {
        (where, name)
        for where, expr in expressions()
        for name in re.findall(r"\b(?:keyweave[\w:]+|process_\w+|ALERTS)\b", re.sub(r'"[^"]*"', "", expr))
        if name not in known
    }
    assert lost == set()


def test_what_only_networks_with_memories_have_is_exported_and_shown() -> None:
    shown = " ".join(expr for _, expr in expressions())
    assert exported() >= OF_PAIRS
    assert [name for name in OF_PAIRS if name not in shown] == []


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_says_what_it_shows_and_asks_the_source_that_is_chosen(name: str) -> None:
    for panel in panels(name):
        if panel["type"] == "text":
            continue
        assert panel["title"], panel
        assert panel["description"], panel["title"]
        assert panel["targets"], panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("name", BOARDS)
def test_dashboards_lead_to_dashboards_that_there_are(name: str) -> None:
    text = (FOLDER / f"generated/{name}.json").read_text()
    uids = {json.loads((FOLDER / f"generated/{each}.json").read_text())["uid"] for each in BOARDS}
    assert len(uids) == len(BOARDS)
    assert set(re.findall(r'"/d/([\w-]+)', text)) <= uids


@pytest.mark.parametrize("name", BOARDS)
def test_panels_lie_side_by_side(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(name):
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_prometheus_takes_the_rules(outside_program: Callable[[str], str]) -> None:
    rules = sorted((FOLDER / "rules").glob("*.yaml"))
    checked = subprocess.run(
        [outside_program("promtool"), "check", "rules", *map(str, rules)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert sum(
        len(group["rules"]) for file in rules for group in yaml.safe_load(file.read_text())["groups"]
    ) == sum(len(group.rules) for groups in RULE_FILES.values() for group in groups)
