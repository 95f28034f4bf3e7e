"""What a benchmark found: one row a number, for people as a table, for tools as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

COMMAND = "python -m tests.bench"
_COLUMNS = ("name", "value", "baseline", "unit", "ratio")


@dataclass(frozen=True, slots=True)
class Result:
    """One number beside its baseline, both in `unit`, from one run on one machine.

    `value` and `baseline` are medians over the pairs of the run; `ratio` is the median of value over
    baseline pair by pair, so it need not be the quotient of the two. For a rate, more is better; for a
    time, less is.
    """

    name: str
    value: float
    unit: str
    baseline: float
    ratio: float
    # What to run to measure this again.
    command: str


def to_json(results: Sequence[Result]) -> str:
    """The results as bench.json holds them."""
    return json.dumps([asdict(result) for result in results], indent=2) + "\n"


def table(results: Sequence[Result]) -> str:
    """The results in columns."""
    rows = [_COLUMNS, *(_cells(result) for result in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    return "\n".join(
        f"{name:<{widths[0]}}  {value:>{widths[1]}}  {baseline:>{widths[2]}}  {unit:<{widths[3]}}"
        f"  {ratio:>{widths[4]}}"
        for name, value, baseline, unit, ratio in rows
    )


def _cells(result: Result) -> tuple[str, str, str, str, str]:
    return (
        result.name,
        _short(result.value),
        _short(result.baseline),
        result.unit,
        f"{result.ratio:.3f}",
    )


def _short(number: float) -> str:
    """Four significant digits, thousands grouped."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
