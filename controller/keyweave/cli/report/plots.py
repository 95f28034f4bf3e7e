"""The report's plots as SVG that takes the page's own colours for text and lines. Needs matplotlib."""

import datetime as dt
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keyweave.cli.report import document as doc
from keyweave.cli.report.series import CONDITIONS, SERVICES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by people who do not see all colours.
COLOURS: Mapping[str, str] = {
    "ok": "#009E73",
    "serving": "#009E73",
    "degraded": "#E69F00",
    "suspect": "#CC79A7",
    "down": "#D55E00",
    "unserved": "#D55E00",
    "stale": "#999999",
    "silent": "#999999",
    "maintenance": "#56B4E9",
    "hybrid": "#0072B2",
    "qkd": "#56B4E9",
    "pqc": "#E69F00",
}
_BLUE, _ORANGE, _RED = "#0072B2", "#E69F00", "#D55E00"
# Stands for the page's text colour, and is replaced by it.
_INK = "#010203"
_WIDTH_INCHES = 9.0
_LANE_INCHES = 0.24
_DAY_SECONDS = 86_400
# In a lane of 0.8: what is out of order is drawn at least so high, or a bad minute would not show.
_LEAST_SHOWN = 0.2
_FINE = frozenset({"ok", "serving"})


def conditions(report: doc.Report) -> str:
    """Every link's condition over time, as shares of each step."""
    lanes = {name: each.condition_ratio for name, each in report.series.links.items()}
    return _lanes(report, lanes, CONDITIONS, "condition of each link over time")


def services(report: doc.Report) -> str:
    """How every stream was served over time."""
    lanes = {name: each.service_ratio for name, each in report.series.streams.items()}
    return _lanes(report, lanes, SERVICES, "service of each stream over time")


def link(report: doc.Report, one: doc.Link) -> str:
    """A link's QBER and key rate over time."""
    found = report.series.links[one.name]

    def draw(figure: "Figure") -> None:
        errors, rates = figure.subplots(1, 2)
        times = _times(report)
        errors.fill_between(
            times, _percent(found.qber_least), _percent(found.qber_most), color=_BLUE, alpha=0.25, linewidth=0
        )
        errors.plot(times, _percent(found.qber_mean), color=_BLUE, marker=".", markersize=3, linewidth=1)
        for bound, colour in ((one.degraded_qber_ratio, _ORANGE), (one.abort_qber_ratio, _RED)):
            if bound:
                errors.axhline(100 * bound, color=colour, linewidth=1, linestyle="--")
        errors.set_ylabel("QBER %")
        _from_zero(errors)
        rates.plot(times, _thousands(found.skr_bps), color="#009E73", marker=".", markersize=3, linewidth=1)
        rates.set_ylabel("key rate, kbit/s")
        _from_zero(rates)
        for axes in (errors, rates):
            _time_axis(axes, report)

    return _svg(draw, 1.9, f"{one.name}: QBER and key rate over time")


def stream(report: doc.Report, one: doc.Stream) -> str:
    """What a stream was planned and delivered over time."""
    found = report.series.streams[one.name]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        times = _times(report)
        axes.plot(
            times, _thousands(found.planned_bps), color=_INK, linewidth=1, linestyle="--", label="planned"
        )
        axes.plot(
            times,
            _thousands(found.delivered_bps),
            color=_BLUE,
            marker=".",
            markersize=3,
            linewidth=1,
            label="delivered",
        )
        axes.set_ylabel("kbit/s of key")
        _from_zero(axes)
        axes.legend(frameon=False, labelcolor=_INK, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        _time_axis(axes, report)

    return _svg(draw, 1.6, f"{one.name}: planned and delivered key rate over time")


def provenance(report: doc.Report) -> str:
    """Keys handed out by every stream, by what protected them."""
    names = [each.name for each in report.streams]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        left = [0] * len(names)
        for word, label in (("hybrid", "QKD and ML-KEM"), ("qkd", "QKD"), ("pqc", "ML-KEM alone")):
            counts = [each.keys.get(word, 0) for each in report.streams]
            axes.barh(names, counts, left=left, color=COLOURS[word], label=label, height=0.6)
            left = [a + b for a, b in zip(left, counts, strict=True)]
        axes.invert_yaxis()
        axes.set_xlabel("keys handed out")
        axes.set_xlim(left=0, right=max(left) * 1.02 or 1)
        axes.legend(frameon=False, labelcolor=_INK, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        _plain(axes)

    return _svg(draw, 0.8 + 0.3 * len(names), "keys handed out by stream and protection")


def failovers(report: doc.Report) -> str:
    """How long failovers took, all streams together."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  # an optional extra

    bounds = report.streams[0].failovers.bounds_seconds if report.streams else ()
    counts = [sum(column) for column in zip(*(s.failovers.counts for s in report.streams), strict=True)]
    labels = [*(f"≤ {_duration(bound)}" for bound in bounds), "more"]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.bar(labels, counts, color=_BLUE, width=0.7)
        axes.set_ylabel("failovers")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        _plain(axes)

    return _svg(draw, 1.8, "failovers by duration")


def _lanes(
    report: doc.Report,
    lanes: Mapping[str, Mapping[str, Sequence[float]]],
    words: Sequence[str],
    label: str,
) -> str:
    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        times, width = _times(report), report.series.step_seconds / _DAY_SECONDS
        names = list(lanes)
        shown: set[str] = set()
        for lane, name in enumerate(names):
            bottom = [lane - 0.4] * len(times)
            # From below: what is out of order first, so that the rest gives way to it.
            for word in reversed(words):
                shares = lanes[name].get(word)
                if shares is None:
                    continue
                room = [lane + 0.4 - below for below in bottom]
                heights = [
                    min(above, max(0.8 * share, _LEAST_SHOWN if share and word not in _FINE else 0.0))
                    for share, above in zip(shares, room, strict=True)
                ]
                axes.bar(
                    times,
                    heights,
                    width=width,
                    bottom=bottom,
                    align="edge",
                    color=COLOURS[word],
                    # Without an edge, seams show between the steps.
                    edgecolor=COLOURS[word],
                    linewidth=0.3,
                    label=None if word in shown else word,
                )
                shown.add(word)
                bottom = [below + height for below, height in zip(bottom, heights, strict=True)]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        if shown:
            drawn, told = axes.get_legend_handles_labels()
            handles = dict(zip(told, drawn, strict=True))
            axes.legend(
                handles=[handles[word] for word in words if word in handles],
                frameon=False,
                labelcolor=_INK,
                loc="upper left",
                bbox_to_anchor=(1.0, 1.0),
            )
        _time_axis(axes, report)

    return _svg(draw, max(1.4, 0.6 + _LANE_INCHES * len(lanes)), label)


def _svg(draw: "Callable[[Figure], None]", height: float, label: str) -> str:
    import matplotlib as mpl  # noqa: PLC0415  # an optional extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    settings: dict[str, Any] = {
        # The same figures give the same bytes, and identifiers unlike those of other plots.
        "svg.hashsalt": label,
        "svg.fonttype": "none",
        "font.size": 8.5,
        "font.family": "sans-serif",
        **dict.fromkeys(
            ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
        ),
    }
    with mpl.rc_context(settings):  # type: ignore[arg-type]  # knows every setting by name
        figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
        figure.patch.set_alpha(0)
        draw(figure)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        text = io.StringIO()
        figure.savefig(
            text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    _, _, drawing = text.getvalue().partition("<svg ")
    # Of the drawing's identifiers only those within its definitions are referred to; the rest repeat in each.
    drawing = drawing.replace(_INK, "currentColor")
    return f'<svg role="img" aria-label="{label}" ' + re.sub(r'<g id="[^"]*"', "<g", drawing)


def _times(report: doc.Report) -> list[float]:
    """In days since 1970, as matplotlib counts."""
    return [time / _DAY_SECONDS for time in report.series.times]


def _time_axis(axes: "Axes", report: doc.Report) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415

    locator: Any = AutoDateLocator(tz=dt.UTC, minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter: Any = ConciseDateFormatter(locator, tz=dt.UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
    period = report.period
    axes.set_xlim(period.start / _DAY_SECONDS, max(period.end, period.start + 60) / _DAY_SECONDS)
    _plain(axes)


def _from_zero(axes: "Axes") -> None:
    """From zero up, with few and short numbers."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.set_ylim(bottom=0, top=1.1 * axes.get_ylim()[1])


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _percent(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else 100 * value for value in values]


def _thousands(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value / 1000 for value in values]


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.0f} s"
