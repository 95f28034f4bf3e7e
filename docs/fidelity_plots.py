"""Draws docs/images/entanglement/fidelity.png: what `python -m tests.bench.entanglement fidelity` wrote.

What the results lack is left out and said.
"""

import json
import statistics
import sys
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
        if not own:
            sys.stdout.write(f"fidelity.png: no figures of {name} under {rows[0]['reckoning']}\n")
            continue
        means = [statistics.fmean(row["throughput"]) for row in own]
        halves = [half_width(row["throughput"]) for row in own]
        floors = [row["point"]["floor"] for row in own]
        axes.errorbar(floors, means, yerr=halves, label=name, color=colour, marker="o", capsize=3)
    axes.set_title(TITLES[rows[0]["reckoning"]])
    axes.set_xlabel("least fidelity asked")
    axes.set_ylabel("end-to-end pairs a slot")
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def half_width(values: list[float]) -> float:
    """Of the 95 % confidence interval of their mean; 0 where one value tells nothing of the spread."""
    return 1.96 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def main(results: Path = RESULTS, images: Path = HERE / "images" / "entanglement") -> None:
    """Draw."""
    rows = json.loads(results.read_text("utf-8")).get("fidelity", [])
    by_reckoning = {one: [row for row in rows if row["reckoning"] == one] for one in TITLES}
    there = [one for one in TITLES if by_reckoning[one]]
    if len(there) < len(TITLES):
        lacking = " and ".join(TITLES[one] for one in TITLES if one not in there)
        sys.stdout.write(
            f"fidelity.png: {results.name} has nothing of {lacking};"
            " `python -m tests.bench.entanglement fidelity` measures it\n"
        )
    if not there:
        return
    figure, panels = plt.subplots(
        1, len(there), figsize=(5 * len(there), 3.6), constrained_layout=True, sharey=True, squeeze=False
    )
    for axes, reckoning in zip(panels[0], there, strict=True):
        draw(axes, by_reckoning[reckoning])
    target = images / "fidelity.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=90)


if __name__ == "__main__":
    main()
