"""The report as one HTML page that fetches nothing. Needs Jinja2 and matplotlib."""

import datetime as dt
from collections.abc import Callable, Mapping
from importlib import resources

from keyweave.cli.report import document as doc
from keyweave.cli.report import plots
from keyweave.cli.report.criteria import allan

# Each drawn link takes a quarter of a second and 20 KB; the figures of all are in the tables.
MOST_DRAWN = 60
# Figures and their units stay on one line.
_SPACE = "\N{NO-BREAK SPACE}"
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_VERDICTS: Mapping[str, str] = {"pass": "PASS", "fail": "FAIL", "no data": "NO DATA"}
# Below this share of known time a page says so above everything else.
KNOWN_ENOUGH = 0.95


def page(report: doc.Report) -> str:
    """The whole page."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # an optional extra
    from markupsafe import Markup  # noqa: PLC0415

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= _FILTERS
    source = resources.files("keyweave.cli.report").joinpath("page.html.j2").read_text(encoding="utf-8")

    def drawn(plot: Callable[..., str], *of: object) -> Markup:
        return Markup(plot(report, *of))  # noqa: S704  # our own drawing, whose texts matplotlib has escaped

    return environment.from_string(source).render(
        report=report,
        plots=plots,
        drawn=drawn,
        links={each.name: each for each in report.links},
        streams={each.name: each for each in report.streams},
        verdicts=_VERDICTS,
        allan=allan,
        most_drawn=MOST_DRAWN,
        known_enough=KNOWN_ENOUGH,
        major=[fault for fault in report.faults if fault.severity == "major"],
    )


def ratio(value: float | None) -> str:
    """A share as a percentage, never rounded up to all of it."""
    if value is None:
        return "—"
    if value >= 1:
        return f"100{_SPACE}%"
    text = f"{100 * value:.3f}" if value > 0.99 else f"{100 * value:.2f}"
    return f"{'99.999' if text.startswith('100') else text}{_SPACE}%"


def percent(value: float | None, digits: int = 2) -> str:
    """A small ratio such as QBER."""
    return "—" if value is None else f"{100 * value:.{digits}f}{_SPACE}%"


def rate(value: float | None) -> str:
    """A rate in bit/s."""
    return "—" if value is None else f"{scaled(value)}bit/s"


def scaled(value: float) -> str:
    """A quantity with a prefix, a space between."""
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return (
                f"{value / factor:.3g}{_SPACE}{prefix}"
                if abs(value) < 999.5 * factor
                else f"{value / factor:.0f}{_SPACE}{prefix}"
            )
    return f"{value:.3g}{_SPACE}"


def seconds(value: float | None) -> str:
    """A time: milliseconds to days."""
    if value is None:
        return "—"
    if value < 1:
        return f"{1000 * value:.0f}{_SPACE}ms" if value else "0"
    if value < 120:
        return f"{value:.3g}{_SPACE}s"
    if value < 7200:
        return f"{value / 60:.1f}{_SPACE}min"
    if value < 172_800:
        return f"{value / 3600:.1f}{_SPACE}h"
    return f"{value / 86_400:.1f}{_SPACE}d"


def moment(unix_seconds: float) -> str:
    """A time of day, in UTC."""
    return f"{dt.datetime.fromtimestamp(unix_seconds, dt.UTC):%Y-%m-%d %H:%M:%S}"


def count(value: float) -> str:
    """A whole number in groups of three."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _value(result: doc.Result) -> str:
    if result.value is None:
        return "none occurred" if result.verdict == "pass" else "—"
    return f"{result.value:.6g} {result.unit}".strip()


_FILTERS: Mapping[str, Callable[..., str]] = {
    "ratio": ratio,
    "percent": percent,
    "rate": rate,
    "scaled": scaled,
    "seconds": seconds,
    "moment": moment,
    "count": count,
    "value": _value,
}
