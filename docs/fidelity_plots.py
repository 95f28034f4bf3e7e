"""Draws docs/images/entanglement/fidelity.png: what `python -m tests.bench.entanglement fidelity` wrote."""

import json
import statistics
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "bench-entanglement.json"
COLOURS = {"Q-LEAP": "#b7791f", "Q-PATH": "#718096", "ours": "#2b6cb0"}
TITLES = {"product": "product-form fidelity", "werner": "Werner fidelity"}


def draw(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Throughput by floor; bars are 95 % confidence intervals of the mean over topologies."""
    reference = rows[0]["point"]
    by_floor = [row for row in rows if {**row["point"], "floor": 0} == {**reference, "floor": 0}]
    for name, colour in COLOURS.items():
        own = sorted(
            (row for row in by_floor if row["algorithm"] == name), key=lambda row: row["point"]["floor"]
        )
        means = [statistics.fmean(row["throughput"]) for row in own]
        halves = [1.96 * statistics.stdev(row["throughput"]) / len(row["throughput"]) ** 0.5 for row in own]
        floors = [row["point"]["floor"] for row in own]
        axes.errorbar(floors, means, yerr=halves, label=name, color=colour, marker="o", capsize=3)
    axes.set_title(TITLES[rows[0]["reckoning"]])
    axes.set_xlabel("least fidelity asked")
    axes.set_ylabel("end-to-end pairs a slot")
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def main() -> None:
    """Draw."""
    rows = json.loads(RESULTS.read_text("utf-8"))["fidelity"]
    figure, panels = plt.subplots(1, len(TITLES), figsize=(10, 3.6), constrained_layout=True, sharey=True)
    for axes, reckoning in zip(panels, TITLES, strict=True):
        draw(axes, [row for row in rows if row["reckoning"] == reckoning])
    target = HERE / "images" / "entanglement" / "fidelity.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=90)


if __name__ == "__main__":
    main()
