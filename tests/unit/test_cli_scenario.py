"""`keyweave scenario`: what is wrong is said with its line; what is right is shown and drawn."""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from keyweave.cli.main import main
from keyweave.cli.map_labels import Room
from tests.unit.test_scenario import GOOD, line_of

TOKYO = Path(__file__).resolve().parents[2] / "scenarios" / "tokyo.yaml"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    return file


def test_a_good_file_is_called_good_with_what_it_holds(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenario", "check", str(good)]) == 0
    said = capsys.readouterr()
    assert (
        f"{good}: good: two-sites, 2 nodes, 1 links, 1 streams, 1 pair links, 1 pair streams, 3 faults"
        in said.out
    )
    assert said.err == ""


def test_every_error_of_every_file_has_its_file_and_line(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = GOOD.replace("fault: bend", "fault: bent").replace("loss_db: 14.5", "loss_db: 145")
    bad, worse = tmp_path / "bad.yaml", tmp_path / "worse.yaml"
    bad.write_text(wrong)
    worse.write_text("name: [")
    assert main(["scenario", "check", str(bad), str(good), str(worse)]) != 0
    said = capsys.readouterr()
    assert f"{bad}:{line_of(wrong, 'fault: bent')}: timeline[0].fault" in said.err
    assert f"{bad}:{line_of(wrong, 'loss_db: 145')}: links[0].loss_db" in said.err
    assert f"{worse}: is not YAML" in said.err
    assert f"{good}: good" in said.out


def test_a_stream_whose_ends_no_links_join_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "apart.yaml"
    file.write_text(
        GOOD.replace("  - {name: south,", "  - {name: east, memories: *bank}\n  - {name: south,").replace(
            "target_node: south", "target_node: east"
        )
    )
    assert main(["scenario", "check", str(file)]) == 0
    said = capsys.readouterr().err
    # Keys of pairs would join them, were there pairs.
    assert "pair stream 'entangled': no pair links join north and east" in said
    assert "stream 'bank'" not in said
    file.write_text(file.read_text().replace("    key_link: key\n", ""))
    assert main(["scenario", "check", str(file)]) == 0
    assert "stream 'bank': no links join north and east" in capsys.readouterr().err


def test_links_are_shown_as_they_start_and_the_timeline_in_its_order(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenario", "show", str(good)]) == 0
    lines = capsys.readouterr().out.splitlines()
    link = next(line for line in lines if line.startswith("north-south"))
    start = ["north-south", "north", "-", "south", "DV-QKD", "45", "14.5", "2.70", "304", "kbit/s"]
    assert link.split() == [*start, "ring-road"]
    bend, lost = (next(n for n, line in enumerate(lines) if word in line) for word in (" bend ", "node-loss"))
    assert bend < lost
    assert "3 dB" in lines[bend]
    assert "until restored" in lines[lost]
    pairs = next(line for line in lines if line.startswith("pairs"))
    assert pairs.split() == [
        "pairs",
        "north",
        "-",
        "south",
        "single-click",
        "20",
        "1.021e+04",
        "64.4",
        "0.9500",
    ]
    entangled = next(line for line in lines if line.startswith("entangled"))
    assert entangled.split() == ["entangled", "north", "south", "MD", "at", "least", "0.8", "2", "0", "key"]


def test_json_has_the_whole_scenario_and_the_rates_that_follow_from_hardware(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hardware.yaml"
    file.write_text(
        GOOD.replace("    qber_ratio: 0.027\n    skr_bps: 304000\n", "    protocol: {kind: decoy-bb84}\n")
    )
    assert main(["scenario", "show", str(file), "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [entry["fault"] for entry in shown["timeline"]] == ["bend", "node-loss", "attenuate"]
    start = shown["links"][0]["at_start"]
    assert start["skr_bps"] > 0
    assert 0 < start["qber_ratio"] < 0.05
    pairs = shown["pair_links"][0]["at_start"]
    assert pairs["fidelity"] == 0.95
    # 20 km: 12 dB in each arm, at most 10,211 attempts a second.
    assert pairs["pairs_hz"] == pytest.approx(10_211 * 2 * 0.05 * 10**-1.2, rel=1e-3)


@pytest.mark.parametrize("ending", [".svg", ".png"])
def test_a_map_names_every_node_and_comes_out_the_same_each_time(tmp_path: Path, ending: str) -> None:
    first, second = tmp_path / f"1{ending}", tmp_path / f"2{ending}"
    for picture in (first, second):
        assert main(["scenario", "plot", str(TOKYO), "-o", str(picture)]) == 0
    assert first.read_bytes() == second.read_bytes()
    if ending == ".svg":
        words = " ".join(
            "".join(text.itertext()) for text in ET.parse(first).iter() if text.tag.endswith("}text")
        )
        for wanted in ("koganei-1", "hongo", "toshiba", "two-way", "5 km"):
            assert wanted in words


def test_a_map_has_memories_and_links_of_entangled_pairs(tmp_path: Path) -> None:
    file = TOKYO.parent / "repeaters.yaml"
    assert main(["scenario", "plot", str(file), "-o", str(tmp_path / "map.svg")]) == 0
    drawn = (tmp_path / "map.svg").read_text()
    for wanted in ("quantum memories", "entangled pairs", "amber-birch  15 km  190 pairs/s"):
        assert wanted in drawn


def test_a_scenario_without_coordinates_or_links_is_drawn_too(tmp_path: Path) -> None:
    file = tmp_path / "bare.yaml"
    for nodes in ("[{name: a}]", "[{name: a}, {name: b}, {name: c}]"):
        file.write_text(f"name: bare\nnodes: {nodes}\n")
        assert main(["scenario", "plot", str(file), "-o", str(tmp_path / "bare.svg")]) == 0
        assert "no coordinates are given" in (tmp_path / "bare.svg").read_text()


def test_other_formats_and_unwritable_places_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenario", "plot", str(TOKYO), "-o", str(tmp_path / "map.gif")]) != 0
    assert "is no .svg or .png file" in capsys.readouterr().err
    assert main(["scenario", "plot", str(TOKYO), "-o", str(tmp_path / "no" / "map.svg")]) != 0
    assert "cannot be written" in capsys.readouterr().err


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr("sys.meta_path", [_NoMatplotlib(), *sys.meta_path])
    assert main(["scenario", "plot", str(TOKYO), "-o", str(tmp_path / "map.svg")]) != 0
    assert "pip install 'keyweave[plot]'" in capsys.readouterr().err


class _NoMatplotlib:
    """An importer that finds it is not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")


def test_words_on_a_map_go_where_nothing_is() -> None:
    node = np.array((0.0, 0.0))
    to_the_right = np.linspace((0.0, 0.0), (100.0, 0.0), 50)
    room = Room(1.0, [to_the_right])
    assert room.name_node("node", 8.0, node).middle[0] < 0
    # The left is taken now.
    second = room.name_node("node", 8.0, node).middle
    assert abs(second[1]) > 5


def test_words_along_a_line_are_never_upside_down() -> None:
    for end in ((300.0, 40.0), (-300.0, 40.0), (-300.0, -40.0), (0.0, 300.0), (0.0, -300.0)):
        line = np.linspace((0.0, 0.0), end, 50)
        assert -90 < Room(1.0, [line]).name_line("a link", 8.0, line).degrees <= 90
