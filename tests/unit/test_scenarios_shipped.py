"""The scenarios that come with Keyweave: good, fresh, each figure accounted for."""

import re
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

from keyweave.common import settings
from keyweave.emulator.faults import KINDS
from keyweave.emulator.scenario import Scenario, load_scenario

FOLDER = Path(__file__).resolve().parents[2] / "scenarios"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    return chosen


def graph(scenario: Scenario) -> "nx.Graph[str]":
    made: nx.Graph[str] = nx.Graph()
    made.add_nodes_from(node.name for node in scenario.nodes)
    made.add_edges_from((link.a, link.b) for link in scenario.links)
    made.add_edges_from((link.a, link.b) for link in scenario.pair_links)
    return made


def test_the_ones_that_are_promised_are_there() -> None:
    assert {"tokyo", "vienna", "madqci", "surfnet", "storm"} <= {file.stem for file in FILES}


def test_it_is_one_network_with_coordinates_and_streams(file: Path) -> None:
    scenario = load_scenario(file)
    assert scenario.name == file.stem
    assert nx.is_connected(graph(scenario))
    assert len({(node.latitude_degrees, node.longitude_degrees) for node in scenario.nodes}) == len(
        scenario.nodes
    )
    assert scenario.streams or scenario.pair_streams


def test_every_link_makes_the_key_that_the_least_rate_of_a_stream_over_it_needs(file: Path) -> None:
    scenario = load_scenario(file)
    least = min((stream.min_rate_bps for stream in scenario.streams), default=0)
    assert all(link.undisturbed_skr_bps > 2 * least for link in scenario.links)


def test_a_network_that_is_published_says_of_every_link_where_its_figures_are_from() -> None:
    for name in ("tokyo", "vienna", "madqci"):
        sources = (FOLDER / f"{name}.sources.md").read_text()
        for link in load_scenario(FOLDER / f"{name}.yaml").links:
            assert set(link.source) >= {"length_km", "loss_db"}
            assert name == "tokyo" or re.search(rf"^\| {link.name} \|", sources, flags=re.MULTILINE)


def test_tokyo_with_memories_has_tokyo_s_fibres() -> None:
    tokyo, pairs = (load_scenario(FOLDER / f"{name}.yaml") for name in ("tokyo", "tokyo-pairs"))
    fibres = {frozenset((link.a, link.b)): (link.length_km, link.loss_db) for link in tokyo.links}
    for link in pairs.pair_links:
        length, loss = fibres.pop(frozenset((link.a, link.b)))
        assert link.length_km == length
        assert link.length_km * link.loss_db_per_km == pytest.approx(loss, abs=0.01)
    assert not fibres


def test_surfnet_is_what_its_program_writes_with_50_nodes_and_68_links() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "surfnet.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    scenario = load_scenario(FOLDER / "surfnet.yaml")
    assert (len(scenario.nodes), len(scenario.links)) == (50, 68)


def test_the_storm_has_every_kind_of_fault_in_one_day() -> None:
    storm = load_scenario(FOLDER / "storm.yaml")
    assert {entry.kind for entry in storm.timeline} == set(KINDS)
    assert any(entry.peer for entry in storm.timeline)
    faults = [entry.to_fault() for entry in storm.timeline]
    assert any(fault.ramp_seconds for fault in faults)
    assert max(fault.ends_seconds for fault in faults) <= 86_400


def test_the_page_has_every_fault_with_its_range_unit_and_default() -> None:
    page = (FOLDER.parent / "docs" / "scenarios.md").read_text()
    for kind in KINDS.values():
        told = re.search(rf"^\| `{kind.word}` \|.*$", page, flags=re.MULTILINE)
        assert told is not None
        if not kind.is_switch:
            assert f"| {kind.least:g} to {kind.most:g}, {kind.unit} | {kind.default:g} |" in told[0]


def test_the_example_of_the_page_is_a_good_scenario() -> None:
    page = (FOLDER.parent / "docs" / "scenarios.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert example is not None
    scenario = settings.parse(example[1], Scenario, source="docs/scenarios.md")
    assert len(scenario.timeline) == 3
