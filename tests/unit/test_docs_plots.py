"""Plots of the entanglement bench draw what was measured and say what was not."""

import json
from pathlib import Path

import pytest

from docs import entanglement_plots, fidelity_plots

FIDELITY = [
    {"reckoning": "product", "algorithm": name, "point": {"floor": floor}, "throughput": [3.0, 4.0]}
    for name in ("Q-LEAP", "ours")
    for floor in (0.8, 0.9)
]
SWEPT = [
    {
        "at": at,
        "point": {**entanglement_plots.REFERENCE_AT, "pairs": pairs},
        "algorithm": name,
        "pairs": 10.0 + pairs,
        "ratio": 1.0,
        "difference": 1.0,
        "half_width": 0.5,
        "fairness": 0.8,
        "planning_ms": 20.0,
    }
    for at, pairs in (("reference", 10), ("pairs 20", 20))
    for name in entanglement_plots.STYLES
]
PAGE = "".join(f"<!-- {name} -->\nas before\n<!-- /{name} -->\n" for name in ("reference", "sweep", "growth"))


def test_a_bench_without_fidelity_leaves_the_picture_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "bench.json"
    results.write_text(json.dumps({"chains": []}))
    fidelity_plots.main(results, tmp_path / "images")
    assert not (tmp_path / "images").exists()
    said = capsys.readouterr().out
    assert "nothing of product-form fidelity and Werner fidelity" in said
    assert "tests.bench.entanglement fidelity" in said


def test_the_half_that_was_measured_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "bench.json"
    results.write_text(json.dumps({"fidelity": FIDELITY}))
    fidelity_plots.main(results, tmp_path)
    assert (tmp_path / "fidelity.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert "nothing of Werner fidelity" in said
    assert "no figures of Q-PATH under product" in said


@pytest.mark.parametrize(
    ("results", "drawn", "kept", "lacking"),
    [
        ({}, [], ["reference", "sweep", "growth"], ["throughput", "growth"]),
        ({"throughput": SWEPT}, ["above-qcast", "planning", "throughput"], ["growth"], ["growth"]),
        ({"throughput": SWEPT[:6]}, ["planning"], ["growth"], ["throughput", "growth"]),
        (
            {"throughput": SWEPT[:-1]},
            ["above-qcast", "planning", "throughput"],
            ["growth"],
            ["throughput", "growth"],
        ),
    ],
    ids=["nothing", "no growth", "the reference alone", "a point without one algorithm"],
)
def test_what_the_bench_lacks_stays_as_it_was_and_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    results: dict[str, object],
    drawn: list[str],
    kept: list[str],
    lacking: list[str],
) -> None:
    page, written = tmp_path / "page.md", tmp_path / "bench.json"
    page.write_text(PAGE)
    written.write_text(json.dumps(results))
    for name, path in (("RESULTS", written), ("PAGE", page), ("IMAGES", tmp_path / "images")):
        monkeypatch.setattr(entanglement_plots, name, path)
    entanglement_plots.main()
    assert sorted(one.stem for one in (tmp_path / "images").iterdir()) == drawn
    parts = page.read_text().split("<!-- /")
    assert [part.split("<!-- ")[1].split(" ")[0] for part in parts if part.endswith("as before\n")] == kept
    said = capsys.readouterr().out
    for part in ("throughput", "growth"):
        assert (f"tests.bench.entanglement {part}" in said) == (part in lacking)
