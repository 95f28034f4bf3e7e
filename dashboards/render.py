"""Draws dashboards as Prometheus has their data, without Grafana: one PNG for each.

It reads the generated JSON (titles, queries, units, words, thresholds, places), so it shows what Grafana is
given, plainly: for documentation and tests, and for those who have no Grafana at hand.
"""

import argparse
import io
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image

from dashboards.asking import Prometheus, Series
from dashboards.figures import shown
from dashboards.look import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, YELLOW

HERE = Path(__file__).parent
COLUMNS = 24
# Matplotlib counts time in days since 1970.
DAY = 86400.0
WIDTH_INCHES, ROW_INCHES, DPI = 15.0, 0.34, 80
INK, PAPER = "#222222", "white"
# Names of series below a panel, at most.
LEGEND = 8
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, "#000000", YELLOW, GREY)
PALETTE = 96


@dataclass(frozen=True, slots=True)
class Drawn:
    """A panel with what was asked for it."""

    spec: Mapping[str, Any]
    answers: Sequence[tuple[Series, ...]]

    @property
    def unit(self) -> str:
        """Grafana's name of the unit."""
        return str(self.spec["fieldConfig"]["defaults"].get("unit", "short"))

    @property
    def words(self) -> Mapping[str, Mapping[str, Any]]:
        """Word and colour by the number that stands for them."""
        mappings = self.spec["fieldConfig"]["defaults"].get("mappings") or [{"options": {}}]
        options: Mapping[str, Mapping[str, Any]] = mappings[0]["options"]
        return options

    def named(self) -> list[tuple[str, Series]]:
        """All series by the name that the panel gives them."""
        return [
            (_name(target.get("legendFormat", ""), series), series)
            for target, answer in zip(self.spec["targets"], self.answers, strict=True)
            for series in answer
        ]

    def override(self, field: str) -> Mapping[str, Any]:
        """What is special about a field."""
        for override in self.spec["fieldConfig"]["overrides"]:
            if override["matcher"]["options"] == field:
                return {each["id"]: each["value"] for each in override["properties"]}
        return {}

    def is_dashed(self, name: str) -> bool:
        """Whether a series is a limit."""
        return any(
            override["matcher"]["id"] == "byRegexp"
            and re.search(override["matcher"]["options"].strip("/"), name)
            for override in self.spec["fieldConfig"]["overrides"]
        )

    def colour(self, value: float, properties: Mapping[str, Any] | None = None) -> str:
        """By the thresholds."""
        defaults = self.spec["fieldConfig"]["defaults"]
        steps = ((properties or {}).get("thresholds") or defaults.get("thresholds") or {"steps": []})["steps"]
        fitting = [step["color"] for step in steps if step.get("value") is None or value >= step["value"]]
        return str(fitting[-1]) if fitting and fitting[-1] != "text" else INK


def _name(legend: str, series: Series) -> str:
    if not legend or legend == "__auto":
        told = [label for label in series.labels if label not in {"__name__", "instance", "job"}]
        return " ".join(series.labels[label] for label in told)
    return re.sub(r"\{\{(\w+)\}\}", lambda found: series.labels.get(found[1], ""), legend).strip()


def ask(prometheus: Prometheus, panel: Mapping[str, Any]) -> list[tuple[Series, ...]]:
    """What Prometheus has for each query of a panel."""
    return [
        prometheus.now(target["expr"]) if target.get("instant") else prometheus.range(target["expr"])
        for target in panel.get("targets", ())
    ]


def _lines(axes: Axes, panel: Drawn) -> None:
    named = panel.named()
    custom = panel.spec["fieldConfig"]["defaults"].get("custom", {})
    stacked = (custom.get("stacking") or {}).get("mode") == "normal"
    below: dict[float, float] = {}
    for index, (name, series) in enumerate(named):
        colour = COLOURS[index % len(COLOURS)]
        whole = series.points if stacked else tuple(with_gaps(series))
        times = [t / DAY for t, _ in whole]
        values = [v for _, v in whole]
        if stacked:
            floor = [below.get(t, 0.0) for t, _ in series.points]
            top = [a + b for a, b in zip(floor, values, strict=True)]
            axes.fill_between(times, floor, top, color=colour, alpha=0.7, linewidth=0, label=name)
            below |= {t: v for (t, _), v in zip(series.points, top, strict=True)}
        else:
            dashed = panel.is_dashed(name)
            axes.plot(
                times,
                values,
                color=GREY if dashed else colour,
                linestyle="--" if dashed else "-",
                linewidth=0.8 if dashed else 1.4,
                marker="." if len(values) == 1 else "",
                label=None if dashed else name,
            )
    if (custom.get("scaleDistribution") or {}).get("type") == "log" and any(
        v > 0 for _, series in named for _, v in series.points
    ):
        axes.set_yscale("log")
    least = panel.spec["fieldConfig"]["defaults"].get("min")
    if least is not None:
        axes.set_ylim(bottom=least)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, panel.unit))
    axes.yaxis.set_minor_formatter(NullFormatter())
    handles, names = axes.get_legend_handles_labels()
    if handles:
        more = [f"and {len(names) - LEGEND} more"] if len(names) > LEGEND else []
        axes.set_xlabel("   ".join(more), fontsize=6, color=GREY)
        axes.legend(handles[:LEGEND], names[:LEGEND], fontsize=6, ncols=2, loc="best", framealpha=0.6)


def with_gaps(series: Series) -> Iterable[tuple[float, float]]:
    """The points, and one without a value wherever some are missing, so that no line is drawn there."""
    step = min([now - before for (before, _), (now, _) in pairwise(series.points)], default=0.0)
    last = series.points[0][0]
    for when, value in series.points:
        if when - last > 1.5 * step:
            yield last + step, math.nan
        yield when, value
        last = when


def _time_axis(axes: Axes, prometheus: Prometheus) -> None:
    axes.xaxis_date()
    axes.set_xlim(prometheus.start / DAY, prometheus.end / DAY)
    locator = dates.AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    shape = dates.ConciseDateFormatter(locator, show_offset=False)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(shape)
    axes.grid(visible=True, color="#dddddd", linewidth=0.5)
    axes.tick_params(labelsize=6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _states(axes: Axes, panel: Drawn) -> None:
    named = sorted(panel.named(), key=lambda each: each[0], reverse=True)
    for row, (_, series) in enumerate(named):
        for start, end, value in _runs(series):
            word = panel.words.get(f"{value:g}", {"text": f"{value:g}", "color": GREY})
            width = (end - start) / DAY
            axes.barh(row, width, left=start / DAY, height=0.8, color=word["color"])
            shown_from, shown_to = series.points[0][0], series.points[-1][0]
            if end - start > 0.06 * max(1.0, shown_to - shown_from):
                axes.text(
                    (start + end) / 2 / DAY,
                    row,
                    word["text"],
                    ha="center",
                    va="center",
                    fontsize=6,
                    color=PAPER,
                )
    axes.set_yticks(range(len(named)), [name for name, _ in named])


def _runs(series: Series) -> Iterable[tuple[float, float, float]]:
    """From when to when it had which value."""
    points = series.points
    step = points[1][0] - points[0][0] if len(points) > 1 else 1.0
    start, value = points[0]
    for (before, _), (now, new) in pairwise(points):
        if new != value or now - before > 1.5 * step:
            yield start, min(now, before + step), value
            start, value = now, new
    yield start, points[-1][0] + step, value


def _figure(axes: Axes, panel: Drawn) -> None:
    values = [series.last for _, series in panel.named()]
    axes.axis("off")
    if not values:
        axes.text(0.5, 0.4, "no data", ha="center", va="center", fontsize=14, color=GREY)
        return
    word = panel.words.get(f"{values[0]:g}")
    text, colour = (
        (word["text"], word["color"]) if word else (shown(values[0], panel.unit), panel.colour(values[0]))
    )
    axes.text(0.5, 0.4, text, ha="center", va="center", fontsize=22, color=colour, weight="bold")


def _bars(axes: Axes, panel: Drawn) -> None:
    named = sorted(panel.named(), key=lambda each: each[0], reverse=True)
    defaults = panel.spec["fieldConfig"]["defaults"]
    most = defaults.get("max") or max([s.last for _, s in named] or [1.0]) or 1.0
    for row, (_, series) in enumerate(named):
        axes.barh(row, most, color="#eeeeee", height=0.7)
        axes.barh(row, min(series.last, most), color=panel.colour(series.last), height=0.7)
        axes.text(most, row, " " + shown(series.last, panel.unit), va="center", fontsize=7)
    axes.set_yticks(range(len(named)), [name for name, _ in named])
    axes.set_xlim(0, most * 1.25)
    axes.set_xticks([])
    axes.tick_params(labelsize=7, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _table(axes: Axes, panel: Drawn) -> None:
    axes.axis("off")
    steps = {each["id"]: each["options"] for each in panel.spec["transformations"]}
    by = steps["joinByField"]["byField"]
    heads = steps["organize"]["renameByName"]
    columns = [heads[f"Value #{target['refId']}"] for target in panel.spec["targets"]]
    rows = sorted({series.labels[by] for answer in panel.answers for series in answer})
    cells, colours = [], []
    for name in rows:
        line, line_colours = [name], [INK]
        for head, answer in zip(columns, panel.answers, strict=True):
            value = next((series.last for series in answer if series.labels[by] == name), None)
            text, colour = _cell(panel, head, value)
            line.append(text)
            line_colours.append(colour)
        cells.append(line)
        colours.append(line_colours)
    if not cells:
        return
    drawn = axes.table(cells, colLabels=[by, *columns], loc="upper left", cellLoc="left", edges="horizontal")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(7)
    drawn.auto_set_column_width(list(range(len(columns) + 1)))
    drawn.scale(1, 1.2)
    for (row, column), cell in drawn.get_celld().items():
        cell.set_edgecolor("#cccccc")
        cell.get_text().set_color(colours[row - 1][column] if row else GREY)


def _cell(panel: Drawn, head: str, value: float | None) -> tuple[str, str]:
    if value is None:
        return "", INK
    look = panel.override(head)
    for mapping in look.get("mappings", ()):
        word = mapping["options"].get(f"{value:g}")
        if word:
            return word["text"], word["color"]
    return shown(value, look.get("unit", "short")), panel.colour(value, look) if "thresholds" in look else INK


def _heatmap(axes: Axes, panel: Drawn) -> None:
    by_bound = sorted(
        ((float(series.labels["le"]), series) for answer in panel.answers for series in answer),
        key=lambda each: each[0],
    )
    for row, (_, series) in enumerate(by_bound):
        below = dict(by_bound[row - 1][1].points) if row else {}
        counts = [(t, max(0.0, v - below.get(t, 0.0))) for t, v in series.points]
        seen = [(t, v) for t, v in counts if v > 0]
        most = max([v for _, v in seen], default=1.0)
        axes.scatter(
            [t / DAY for t, _ in seen],
            [row] * len(seen),
            c=[v / most for _, v in seen],
            cmap="cividis",
            marker="s",
            s=14,
            linewidths=0,
        )
    axes.set_yticks(
        range(len(by_bound)),
        ["more" if bound == float("inf") else shown(bound, "s") for bound, _ in by_bound],
    )


def _map(axes: Axes, panel: Drawn) -> None:
    by = panel.spec["transformations"][0]["options"]["byField"]
    latitude, longitude, value = ({s.labels[by]: s.last for s in answer} for answer in panel.answers)
    words = panel.override("condition")["mappings"][0]["options"]
    for name in latitude.keys() & longitude.keys():
        word = words.get(f"{value.get(name, 0.0):g}", {"text": "", "color": GREY})
        axes.scatter(longitude[name], latitude[name], color=word["color"], s=60, zorder=2)
        said = name if word["text"] in {"", "ok"} else f"{name}: {word['text']}"
        axes.annotate(said, (longitude[name], latitude[name]), (4, 4), textcoords="offset points", fontsize=7)
    axes.margins(0.15)
    axes.set_xlabel("longitude, degrees", fontsize=6)
    axes.set_ylabel("latitude, degrees", fontsize=6)
    axes.grid(visible=True, color="#dddddd", linewidth=0.5)
    axes.tick_params(labelsize=6)
    axes.ticklabel_format(useOffset=False)


def _text(axes: Axes, panel: Drawn) -> None:
    axes.axis("off")
    axes.text(0, 0.5, panel.spec["options"]["content"], fontsize=8, va="center", color=INK)


_KINDS: Mapping[str, Callable[[Axes, Drawn], None]] = {
    "timeseries": _lines,
    "state-timeline": _states,
    "stat": _figure,
    "bargauge": _bars,
    "table": _table,
    "heatmap": _heatmap,
    "geomap": _map,
    "text": _text,
}


_OVER_TIME = ("timeseries", "state-timeline", "heatmap")


def draw(board: Mapping[str, Any], prometheus: Prometheus) -> bytes:
    """A dashboard as a PNG."""
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    inches = height * ROW_INCHES + 0.6
    figure = Figure(figsize=(WIDTH_INCHES, inches), dpi=DPI, facecolor=PAPER)
    figure.text(0.01, 1 - 0.3 / inches, board["title"], fontsize=14, weight="bold", va="center", color=INK)
    top = 1 - 0.6 / inches
    for panel in board["panels"]:
        at = panel["gridPos"]
        left, width = at["x"] / COLUMNS, at["w"] / COLUMNS
        bottom = top - (at["y"] + at["h"]) * ROW_INCHES / inches
        tall = at["h"] * ROW_INCHES / inches
        if panel["type"] == "row":
            figure.text(left + 0.01, bottom + tall / 2, panel["title"], fontsize=10, va="center", color=BLUE)
            continue
        margin = 0.36 / WIDTH_INCHES
        side = 1.1 / WIDTH_INCHES if panel["type"] not in {"stat", "table", "text"} else margin
        axes = figure.add_axes(
            (left + side, bottom + 0.32 / inches, width - side - margin / 2, tall - 0.66 / inches)
        )
        axes.set_title(panel.get("title", ""), fontsize=8, loc="left", color=INK)
        _KINDS[panel["type"]](axes, Drawn(panel, ask(prometheus, panel)))
        if panel["type"] in _OVER_TIME:
            _time_axis(axes, prometheus)
    with io.BytesIO() as drawn, io.BytesIO() as small:
        figure.savefig(drawn, format="png")
        Image.open(drawn).convert("RGB").quantize(PALETTE).save(small, format="png", optimize=True)
        return small.getvalue()


def main() -> int:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.render", description=__doc__)
    parser.add_argument("prometheus", help="where Prometheus is, as http://127.0.0.1:9090")
    parser.add_argument("--last", type=float, default=3600, help="seconds to show (3600)")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder for the pictures")
    parser.add_argument("boards", nargs="*", help="dashboards by the names of their files; all, if none")
    arguments = parser.parse_args()
    now = time.time()
    prometheus = Prometheus(arguments.prometheus.rstrip("/"), now - arguments.last, now)
    mpl.rcParams["font.family"] = "DejaVu Sans"
    for file in sorted((HERE / "generated").glob("*.json")):
        if not arguments.boards or file.stem in arguments.boards:
            picture = draw(json.loads(file.read_text("utf-8")), prometheus)
            (arguments.output / f"{file.stem}.png").write_bytes(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
