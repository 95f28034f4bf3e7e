"""What Prometheus answers to the queries of a panel."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

ANSWER_SECONDS = 30.0
# Points a curve, about as many as it has pixels.
_POINTS = 240


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, and its points (Unix seconds, value)."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """Its newest value."""
        return self.points[-1][1]


class QueryError(Exception):
    """Prometheus does not take a query."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus, and the time that dashboards show of it (Unix seconds)."""

    url: str
    start: float
    end: float
    # What rates look back on; Grafana takes four scrapes at least.
    rate_interval: str = "1m"

    def range(self, expr: str) -> tuple[Series, ...]:
        """The series of a curve."""
        step = max(1.0, (self.end - self.start) / _POINTS)
        asked = {"query": self.filled(expr), "start": self.start, "end": self.end, "step": step}
        return tuple(
            Series(each["metric"], tuple((t, float(v)) for t, v in each["values"] if v != "NaN"))
            for each in self._ask("query_range", asked)
            if any(v != "NaN" for _, v in each["values"])
        )

    def now(self, expr: str) -> tuple[Series, ...]:
        """The series as they are at the end of the time shown."""
        found = self._ask("query", {"query": self.filled(expr), "time": self.end})
        return tuple(
            Series(each["metric"], ((float(each["value"][0]), float(each["value"][1])),))
            for each in found
            if not math.isnan(float(each["value"][1]))
        )

    def filled(self, expr: str) -> str:
        """`expr` with Grafana's variables filled in: everything is chosen."""
        seconds = max(1, round(self.end - self.start))
        expr = expr.replace("$__rate_interval", self.rate_interval).replace("$__range", f"{seconds}s")
        return re.sub(r"\$(?:link|stream|node)\b", ".*", expr)

    def _ask(self, what: str, asked: Mapping[str, object]) -> list[dict[str, Any]]:
        url = f"{self.url}/api/v1/{what}?{urlencode(asked)}"
        try:
            with urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310  # an operator's own Prometheus
                content = json.load(answer)
        except HTTPError as error:
            raise QueryError(f"{asked['query']}: {error.read().decode(errors='replace')}") from None
        data: list[dict[str, Any]] = content["data"]["result"]
        return data
