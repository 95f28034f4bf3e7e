"""Figures over time in steps of equal length, for the plots. Pure."""

from collections.abc import Callable, Iterable, Sequence
from math import ceil

from keyweave.cli.report import document as doc
from keyweave.controller.history.cells import LinkCell, Shares, Spread, StreamCell
from keyweave.controller.history.rows import Row

# About so many steps make a plot; more would be finer than a page shows.
_MOST_STEPS = 240
_STEPS_SECONDS = (60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400, 172_800)
CONDITIONS = ("ok", "degraded", "suspect", "down", "stale", "maintenance")
SERVICES = ("serving", "degraded", "unserved", "silent")


def series(rows: Sequence[Row], start: float, end: float) -> doc.Series:
    """All links and streams over time. A step that a row reaches beyond gets the row's averages."""
    longest = max((row.seconds for row in rows), default=0)
    wanted = max((end - start) / _MOST_STEPS, longest)
    step = next((each for each in _STEPS_SECONDS if each >= wanted), ceil(wanted))
    first = int(start // step) * step
    count = max(1, ceil((end - first) / step))
    times = tuple(float(first + step * index) for index in range(count))
    steps = [Row(int(time), step) for time in times]
    for row in rows:
        index = int((row.start - first) // step)
        if 0 <= index < count:
            steps[index].merge(row)
    names = sorted({name for row in rows for name in row.links})
    streams = sorted({name for row in rows for name in row.streams})
    return doc.Series(
        step_seconds=step,
        times=times,
        links={name: _link([each.links.get(name) for each in steps], step) for name in names},
        streams={name: _stream([each.streams.get(name) for each in steps], step) for name in streams},
    )


def _link(found: Sequence[LinkCell | None], step: int) -> doc.LinkSeries:
    def measured(pick: Callable[[Spread], float], of: str = "qber_ratio") -> tuple[float | None, ...]:
        spreads = [getattr(cell, of) if cell is not None else Spread() for cell in found]
        return tuple(pick(spread) if spread.seconds else None for spread in spreads)

    return doc.LinkSeries(
        condition_ratio=_ratios(CONDITIONS, (cell.condition if cell else {} for cell in found), step),
        qber_mean=measured(lambda spread: spread.mean),
        qber_least=measured(lambda spread: spread.least),
        qber_most=measured(lambda spread: spread.most),
        skr_bps=measured(lambda spread: spread.mean, "skr_bps"),
    )


def _stream(found: Sequence[StreamCell | None], step: int) -> doc.StreamSeries:
    known = [sum(cell.service.values()) if cell else 0.0 for cell in found]
    return doc.StreamSeries(
        service_ratio=_ratios(SERVICES, (cell.service if cell else {} for cell in found), step),
        planned_bps=tuple(
            cell.planned_bits / seconds if cell and seconds else None
            for cell, seconds in zip(found, known, strict=True)
        ),
        delivered_bps=tuple(
            cell.delivered_bits / seconds if cell and seconds else None
            for cell, seconds in zip(found, known, strict=True)
        ),
    )


def _ratios(words: Iterable[str], shares: Iterable[Shares], step: int) -> dict[str, tuple[float, ...]]:
    listed = list(shares)
    found = {word: tuple(min(1.0, each.get(word, 0.0) / step) for each in listed) for word in words}
    return {word: ratios for word, ratios in found.items() if any(ratios)}
