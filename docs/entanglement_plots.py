"""Draws docs/images/entanglement/ and the tables of docs/entanglement-bench.md.

They show what the last `make bench-entanglement` wrote; what that lacks is left out and said.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "bench-entanglement.json"
PAGE = HERE / "entanglement-bench.md"
IMAGES = HERE / "images" / "entanglement"

BASELINE, OURS = "Q-CAST", "Keyweave"
# In the order of the legend.
STYLES = {
    OURS: ("#2b6cb0", "o"),
    "REPS": ("#6b46c1", "s"),
    "Q-PASS": ("#2f855a", "^"),
    BASELINE: ("#c05621", "D"),
    "greedy": ("#718096", "v"),
    "SLMP": ("#b83280", "x"),
}
AXES = {
    "success": "mean success of a channel",
    "swap": "success of a swap",
    "nodes": "nodes",
    "degree": "mean degree",
    "pairs": "pairs of nodes that ask",
}
REFERENCE_AT = {"success": 0.6, "swap": 0.9, "nodes": 100, "degree": 6.0, "pairs": 10}

Row = dict[str, Any]


def along(rows: list[Row], field: str) -> list[float]:
    """The values of one parameter that were measured."""
    changed = {row["point"][field] for row in rows if row["at"].startswith(field + " ")}
    return sorted(changed | {REFERENCE_AT[field]}) if changed else []


def at(rows: list[Row], field: str, value: float, algorithm: str) -> Row | None:
    """One row of the sweep; None where it was not measured."""
    name = "reference" if value == REFERENCE_AT[field] else f"{field} {value:g}"
    return next((row for row in rows if row["at"] == name and row["algorithm"] == algorithm), None)


def measured(rows: list[Row], field: str, algorithm: str) -> dict[float, Row]:
    """The rows of one algorithm along a parameter, by its values."""
    found = {value: at(rows, field, value, algorithm) for value in along(rows, field)}
    return {value: row for value, row in found.items() if row is not None}


def panels(rows: list[Row], *, same_scale: bool = False) -> tuple[Any, dict[str, Axes]]:
    """A figure with one panel for each parameter that was varied."""
    fields = [field for field in AXES if along(rows, field)]
    figure, axes = plt.subplots(
        1,
        len(fields),
        figsize=(3.1 * len(fields), 3.4),
        layout="constrained",
        sharey=same_scale,
        squeeze=False,
    )
    return figure, dict(zip(fields, axes[0], strict=True))


def throughput(rows: list[Row]) -> None:
    """Pairs a slot of every algorithm along each parameter."""
    figure, by_field = panels(rows)
    for field, axes in by_field.items():
        values = along(rows, field)
        for name, (colour, marker) in STYLES.items():
            there = measured(rows, field, name)
            means = [row["pairs"] for row in there.values()]
            axes.plot(list(there), means, color=colour, marker=marker, markersize=5, label=name)
        dress(axes, field, values)
    next(iter(by_field.values())).set_ylabel("pairs a slot")
    handles, names = next(iter(by_field.values())).get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    save(figure, "throughput")


def above(rows: list[Row]) -> None:
    """How much more than Q-CAST ours gives, with confidence intervals."""
    figure, by_field = panels(rows, same_scale=True)
    for field, axes in by_field.items():
        base = measured(rows, field, BASELINE)
        ours = {value: row for value, row in measured(rows, field, OURS).items() if value in base}
        axes.errorbar(
            list(ours),
            [100 * row["difference"] / base[value]["pairs"] for value, row in ours.items()],
            yerr=[100 * row["half_width"] / base[value]["pairs"] for value, row in ours.items()],
            color=STYLES[OURS][0],
            marker="o",
            capsize=3,
        )
        axes.axhline(0, color="#c05621", linewidth=1)
        axes.axhline(5, color="#718096", linewidth=1, linestyle="--")
    # They have one scale: once it is set, it grows no more for what is drawn afterwards.
    for field, axes in by_field.items():
        dress(axes, field, along(rows, field))
        axes.set_ylim(bottom=min(-5, axes.get_ylim()[0]))
    next(iter(by_field.values())).set_ylabel("% above Q-CAST")
    save(figure, "above-qcast")


def planning(rows: list[Row], growth: list[Row]) -> None:
    """CPU time of a plan beside how many pairs it gives, and as networks grow."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for name, (colour, marker) in STYLES.items():
        row = at(rows, "nodes", 100, name)
        if row is None:
            continue
        left.plot(row["planning_ms"], row["pairs"], marker, color=colour, markersize=8)
        # Keyweave and REPS are near each other.
        shift, side = (-7, "right") if name == OURS else (7, "left")
        left.annotate(
            name,
            (row["planning_ms"], row["pairs"]),
            xytext=(shift, -3),
            textcoords="offset points",
            ha=side,
            fontsize=8,
        )
    left.set_xscale("log")
    left.margins(x=0.25, y=0.12)
    left.set_xlabel("ms of CPU time a plan")
    left.set_ylabel("pairs a slot")
    left.set_title("reference point", fontsize=10)
    for name in (BASELINE, "REPS", OURS) if growth else ():
        same = [row for row in growth if row["algorithm"] == name and row["pairs"] == 10]
        nodes = [row["nodes"] for row in same]
        colour, marker = STYLES[name]
        middle.loglog(nodes, [row["planning_ms"] for row in same], color=colour, marker=marker, label=name)
        right.loglog(nodes, [row["peak_mb"] for row in same], color=colour, marker=marker, label=name)
    for axes, label in ((middle, "ms of CPU time a plan"), (right, "MB at most")):
        if not growth:
            axes.set_visible(False)
            continue
        axes.set_xticks(sorted({row["nodes"] for row in growth}), minor=False)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_formatter("")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("nodes (10 pairs of them ask)")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    if growth:
        middle.legend(frameon=False)
    save(figure, "planning")


def dress(axes: Axes, field: str, values: list[float]) -> None:
    """Labels, and a scale that keeps the points apart."""
    if field == "nodes":
        axes.set_xscale("log")
        axes.set_xticks(values, labels=[f"{value:g}" for value in values])
        axes.minorticks_off()
    axes.set_xlabel(AXES[field])
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(alpha=0.3)


def save(figure: Any, name: str) -> None:
    """As SVG, the same from the same figures."""
    figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def reference_table(rows: list[Row]) -> str:
    """Every algorithm at the reference point."""
    there = sorted((row for row in rows if row["at"] == "reference"), key=lambda row: -row["pairs"])
    cells = [
        [
            row["algorithm"],
            f"{row['pairs']:.2f}",
            f"{row['ratio']:.2f}",
            difference(row),
            f"{row['fairness']:.2f}",
            f"{row['planning_ms']:.1f} ms",
        ]
        for row in there
    ]
    heads = ["algorithm", "pairs a slot", "of Q-CAST", "difference, 95 %", "fairness", "planning"]
    return table([heads, *cells])


def sweep_table(rows: list[Row]) -> str:
    """Pairs a slot at every point, and ours beside Q-CAST."""
    cells = [
        [
            "point",
            *STYLES,
            f"{OURS} over {BASELINE}",
            "difference, 95 %",
            "fairness of both",
            "planning of both",
        ]
    ]
    for point in dict.fromkeys(row["at"] for row in rows):
        by_name = {row["algorithm"]: row for row in rows if row["at"] == point}
        if not STYLES.keys() <= by_name.keys():
            lack(f"the row '{point}' of the sweep, as not all algorithms ran there", "throughput")
            continue
        ours, base = by_name[OURS], by_name[BASELINE]
        cells.append(
            [
                point,
                *(f"{by_name[name]['pairs']:.2f}" for name in STYLES),
                f"{ours['ratio']:.2f}",
                difference(ours),
                f"{ours['fairness']:.2f}, {base['fairness']:.2f}",
                f"{ours['planning_ms']:.0f}, {base['planning_ms']:.0f} ms",
            ]
        )
    return table(cells)


def growth_table(rows: list[Row]) -> str:
    """Time and memory of a plan by size."""
    cells = [
        [
            f"{row['nodes']:,}",
            f"{row['links']:,}",
            str(row["pairs"]),
            row["algorithm"],
            f"{row['planning_ms']:,.0f} ms",
            f"{row['peak_mb']:.1f} MB",
        ]
        for row in rows
    ]
    return table([["nodes", "links", "pairs", "algorithm", "planning", "memory"], *cells])


def table(cells: list[list[str]]) -> str:
    """Rows of a page, the first one the headings."""
    head, *rows = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([head, "|" + "---|" * len(cells[0]), *rows])


def difference(row: Row) -> str:
    """Beside Q-CAST, with its interval."""
    if row["algorithm"] == BASELINE:
        return ""
    return f"{row['difference']:+.2f} ± {row['half_width']:.2f}"


def insert(page: str, name: str, text: str) -> str:
    """The page with this text between the marks of that name."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise ValueError(f"{PAGE.name} has no place marked {name}")
    return pattern.sub(lambda match: f"{match[1]}{text}\n{match[2]}", page)


def lack(what: str, part: str) -> None:
    """Say what is left as it was."""
    sys.stdout.write(
        f"{PAGE.name}: not made anew: {what}; `python -m tests.bench.entanglement {part}` measures it\n"
    )


def main() -> None:
    """Draw and write what was measured; the rest stays as it is."""
    mpl.rcParams["svg.hashsalt"] = "keyweave"  # the same file from the same figures
    results = json.loads(RESULTS.read_text("utf-8"))
    rows, growth = results.get("throughput", []), results.get("growth", [])
    IMAGES.mkdir(parents=True, exist_ok=True)
    page = PAGE.read_text("utf-8")
    if rows:
        planning(rows, growth)
        page = insert(page, "reference", reference_table(rows))
        page = insert(page, "sweep", sweep_table(rows))
    else:
        lack("all plots and tables of throughput", "throughput")
    if any(along(rows, field) for field in AXES):
        throughput(rows)
        above(rows)
    elif rows:
        lack("plots along the sweep", "throughput")
    if growth:
        page = insert(page, "growth", growth_table(growth))
    else:
        lack("time and memory by size", "growth")
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
