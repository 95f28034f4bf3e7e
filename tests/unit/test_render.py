"""Dashboards drawn without Grafana: of any span of time, whether or not there is anything to show."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboards.asking import Prometheus, Series
from dashboards.figures import shown
from dashboards.render import draw, with_gaps

GENERATED = Path(__file__).parents[2] / "dashboards" / "generated"
ONE_OF_EACH_KIND = {
    panel["type"]: panel
    for file in sorted(GENERATED.glob("*.json"))
    for panel in json.loads(file.read_text())["panels"]
    if panel["type"] != "row"
}
NOW = 1_800_000_000.0


@dataclass(frozen=True, slots=True)
class Canned(Prometheus):
    """Answers everything with the same two series, or with none."""

    empty: bool = False

    def range(self, expr: str) -> tuple[Series, ...]:
        times = [self.start + (self.end - self.start) * part / 20 for part in range(21)]
        return self._labelled([tuple((t, float(i % 4)) for i, t in enumerate(times))])

    def now(self, expr: str) -> tuple[Series, ...]:
        return self._labelled([((self.end, 3.0),)])

    def _labelled(self, points: list[tuple[tuple[float, float], ...]]) -> tuple[Series, ...]:
        labels = [
            {"link": name, "stream": name, "node": name, "point": name, "le": bound}
            for name, bound in (("a", "1"), ("b", "+Inf"))
        ]
        return () if self.empty else tuple(Series(each, points[0]) for each in labels)


def alone(kind: str) -> dict[str, object]:
    return {"title": "one panel", "panels": [ONE_OF_EACH_KIND[kind]]}


@pytest.mark.parametrize("kind", ONE_OF_EACH_KIND)
def test_each_kind_of_panel_is_drawn_otherwise_with_data_than_without(kind: str) -> None:
    full = draw(alone(kind), Canned("", NOW - 600, NOW))
    empty = draw(alone(kind), Canned("", NOW - 600, NOW, empty=True))
    assert full.startswith(b"\x89PNG")
    assert (full != empty) is (kind != "text")


@pytest.mark.parametrize("seconds", [30, 90, 200, 700, 4000, 20_000, 86_400, 700_000, 30_000_000])
def test_any_span_of_time_is_drawn(seconds: float) -> None:
    assert draw(alone("timeseries"), Canned("", NOW - seconds, NOW))


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0381, "percentunit", "3.81 %"),
        (304_000.0, "bps", "304 kbit/s"),
        (0.0, "bps", "0 bit/s"),
        (7_200.0, "s", "2 hours"),
        (0.035, "s", "35 ms"),
        (-45.0, "celsius", "-45 °C"),
        (6.0, "short", "6"),
        (float("inf"), "s", "∞"),
    ],
)
def test_figures_are_shown_with_their_units(value: float, unit: str, words: str) -> None:
    assert shown(value, unit) == words


def test_variables_of_grafana_are_filled_in() -> None:
    prometheus = Prometheus("", 0, 60, rate_interval="10s")
    asked = prometheus.filled('rate(m{link=~"$link"}[$__rate_interval]) + n[$__range]')
    assert asked == 'rate(m{link=~".*"}[10s]) + n[60s]'


def test_a_curve_has_a_hole_where_nothing_was_measured() -> None:
    points = [(0.0, 1.0), (10.0, 1.0), (20.0, 1.0), (50.0, 2.0), (60.0, 2.0)]
    drawn = list(with_gaps(Series({}, tuple(points))))
    assert [when for when, _ in drawn] == [0.0, 10.0, 20.0, 30.0, 50.0, 60.0]
    assert [when for when, value in drawn if math.isnan(value)] == [30.0]
