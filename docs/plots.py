"""Draws docs/images/heal.svg from the trials that the last `make bench` wrote."""

import json
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

HERE = Path(__file__).resolve().parent
TRIALS = HERE.parent / "bench-heal.json"
LIMIT_MS = 50.0
BIN_MS = 2.0
TITLES = {
    "qkd_to_qkd": "to another quantum path",
    "qkd_to_mlkem": "to ML-KEM alone",
}


def draw(axes: Axes, title: str, seconds: list[float]) -> None:
    """One histogram, with the figure that telecom protection switching is held to."""
    times = [1000 * one for one in seconds]
    most = max(*times, LIMIT_MS * 1.1)
    axes.hist(times, bins=[n * BIN_MS for n in range(int(most / BIN_MS) + 2)], color="#2b6cb0")
    axes.axvline(LIMIT_MS, color="#c53030", linestyle="--", label="50 ms (ITU-T G.841)")
    axes.set_title(f"{title}, {len(times)} cuts")
    axes.set_xlabel("ms from the cut to the first new key at the application")
    axes.set_ylabel("trials")
    axes.legend()


def main() -> None:
    """Draw."""
    mpl.rcParams["svg.hashsalt"] = "keyweave"  # the same file from the same figures
    trials = json.loads(TRIALS.read_text("utf-8"))
    figure, panels = plt.subplots(1, len(TITLES), figsize=(10, 3.2), constrained_layout=True)
    for axes, (kind, title) in zip(panels, TITLES.items(), strict=True):
        draw(axes, title, trials[kind])
    figure.savefig(HERE / "images" / "heal.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
