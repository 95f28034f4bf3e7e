"""A Prometheus as the source of a report: its series become the rows that a controller would write."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf

from keyweave.cli.report.prometheus import Prometheus, Series, Steps
from keyweave.cli.report.recorded import LinkAbout, NodeAbout, Recorded, StreamAbout
from keyweave.controller.history.cells import FAILOVER_BOUNDS_SECONDS, LinkCell, NodeCell, Spread, StreamCell
from keyweave.controller.history.rows import DAY_SECONDS, Happening, Row

_NANOS = 1_000_000_000
_STEPS_SECONDS = (60, 600, 3600, DAY_SECONDS)
_MOST_ROWS = 2000
# Without a beginning: what Prometheus keeps by default.
_DEFAULT_SECONDS = 15 * DAY_SECONDS
_FINEST_SECONDS = 15
_LIMITS = (
    "From Prometheus: whether devices are emulated is not known; faults are told to within one step, those "
    "of links and agents only; entangled pairs are left out; a "
    "stream that can make no key counts as unserved even while keys are left."
)
_IN_SERVICE = 'on(link) (keyweave_link_condition{condition=~"ok|degraded|suspect"} == 1)'
_QUANTITIES = {
    "qber_ratio": f"(keyweave_link_qber_ratio > 0) and {_IN_SERVICE}",
    "skr_bps": f"keyweave_link_secret_key_rate_bps and {_IN_SERVICE}",
    "loss_db": f"(keyweave_link_loss_db > 0) and {_IN_SERVICE}",
}
_WORST_FIRST = ("suspect", "down", "stale", "degraded")
_OVER_TIME = ("count", "avg", "stddev", "min", "max")
_ABOUT = {
    "link_end": "keyweave_link_end",
    "abort": "keyweave_link_abort_qber_ratio",
    "degraded": "keyweave_link_degraded_qber_ratio",
    "stream_end": "keyweave_stream_end",
    "requires": "keyweave_stream_requires == 1",
    "least": "keyweave_stream_min_rate_bps",
    "pqc_only": "keyweave_stream_pqc_only == 1",
}


async def recorded(url: str, start_nanos: int, end_nanos: int) -> Recorded:
    """What a Prometheus has of a period."""
    prometheus = Prometheus(url)
    end = end_nanos / _NANOS
    start = start_nanos / _NANOS or end - _DEFAULT_SECONDS
    steps = _steps(start, end)
    shown = await prometheus.all(list(_shares(steps).values()), steps)
    shares = dict(zip(_shares(steps), shown, strict=True))
    spreads = dict(
        zip(_spreads(steps), await prometheus.all(list(_spreads(steps).values()), steps), strict=True)
    )
    totals = dict(
        zip(_TOTALS, await prometheus.all(list(_TOTALS.values()), steps, also_start=True), strict=True)
    )
    told = dict(zip(_ABOUT, await prometheus.all(list(_ABOUT.values()), steps), strict=True))
    rows = rows_of(
        steps, shares, spreads, totals, pqc_only={each.labels["stream"] for each in told["pqc_only"]}
    )
    return Recorded(
        source=f"Prometheus at {url}",
        start=start if start_nanos else 0.0,
        end=end,
        rows=rows,
        links=_links(told),
        streams=_streams(told),
        nodes={name: NodeAbout() for row in rows for name in row.nodes},
        limits=(_LIMITS,),
    )


# ---- what is asked -----------------------------------------------------------------------------------

_TOTALS = {
    "keys": "keyweave_keys_served_total",
    "bits": "keyweave_stream_delivered_bits_total",
    "failovers": "keyweave_stream_failover_duration_seconds_bucket",
    "failover_seconds": "keyweave_stream_failover_duration_seconds_sum",
    "dropped": "keyweave_agent_dropped_samples_total",
}


def _steps(start: float, end: float) -> Steps:
    seconds = next((each for each in _STEPS_SECONDS if (end - start) / each <= _MOST_ROWS), DAY_SECONDS)
    first = int(start // seconds) * seconds
    return Steps(first, seconds, max(1, int(-(-(end - first) // seconds))))


def _shares(steps: Steps) -> dict[str, str]:
    """Averages over a step; of what is 0 or 1 that is its share."""
    over = f"[{steps.seconds}s]"
    return {
        "watched": f"max(count_over_time(keyweave_controller_epoch{over}))",
        "condition": f"max by (link, condition) (avg_over_time(keyweave_link_condition{over}))",
        "diagnosis": f"max by (link, diagnosis) (avg_over_time(keyweave_link_diagnosis{over}))",
        "protection": f"max by (stream, protection) (avg_over_time(keyweave_stream_protection{over}))",
        "unmet": f"max by (stream) (avg_over_time(keyweave_stream_unmet{over}))",
        "planned": f"max by (stream) (avg_over_time(keyweave_stream_planned_rate_bps{over}))",
        "connected": f"max by (node) (avg_over_time(keyweave_agent_connected{over}))",
    }


def _spreads(steps: Steps) -> dict[tuple[str, str], str]:
    finest = max(_FINEST_SECONDS, steps.seconds // 240)
    return {
        (quantity, how): f"max by (link) ({how}_over_time(({expression})[{steps.seconds}s:{finest}s]))"
        for quantity, expression in _QUANTITIES.items()
        for how in _OVER_TIME
    }


# ---- what it amounts to ------------------------------------------------------------------------------


def rows_of(
    steps: Steps,
    shares: Mapping[str, Sequence[Series]],
    spreads: Mapping[tuple[str, str], Sequence[Series]],
    totals: Mapping[str, Sequence[Series]],
    pqc_only: set[str],
) -> tuple[Row, ...]:
    """The rows that a controller would have written, but for what Prometheus cannot know."""
    scraped = {time: value for each in shares["watched"] for time, value in each.values.items()}
    # A step that was scraped as often as any is known as a whole.
    most = max(scraped.values(), default=0.0)
    rows = {
        end: Row(end - steps.seconds, steps.seconds, steps.seconds * scraped[end] / most)
        for end in steps.ends
        if scraped.get(end)
    }
    for end, row in rows.items():
        _links_of(row, end, shares, spreads)
        _streams_of(row, end, shares, pqc_only)
        for each in shares["connected"]:
            if end in each.values:
                here = each.values[end] * row.watched_seconds
                row.nodes[each.labels["node"]] = NodeCell(
                    {"connected": here, "away": row.watched_seconds - here}
                )
    _count(rows, steps, totals)
    _tell(rows, shares)
    return tuple(rows.values())


def _links_of(
    row: Row,
    end: int,
    shares: Mapping[str, Sequence[Series]],
    spreads: Mapping[tuple[str, str], Sequence[Series]],
) -> None:
    for each in shares["condition"]:
        if share := each.values.get(end):
            cell = row.links.setdefault(each.labels["link"], LinkCell())
            cell.condition[each.labels["condition"]] = share * row.watched_seconds
    for quantity in _QUANTITIES:
        found = {
            how: {
                each.labels["link"]: each.values[end] for each in spreads[quantity, how] if end in each.values
            }
            for how in _OVER_TIME
        }
        for link, mean in found["avg"].items():
            cell = row.links.setdefault(link, LinkCell())
            served = sum(cell.condition.get(word, 0.0) for word in ("ok", "degraded", "suspect"))
            squares = found["stddev"].get(link, 0.0) ** 2 * served
            least, most = found["min"].get(link, mean), found["max"].get(link, mean)
            if served > 0:
                setattr(cell, quantity, Spread(served, mean, squares, least, most))


def _streams_of(row: Row, end: int, shares: Mapping[str, Sequence[Series]], pqc_only: set[str]) -> None:
    unmet = {each.labels["stream"]: each.values.get(end, 0.0) for each in shares["unmet"]}
    for each in shares["protection"]:
        if end in each.values:
            cell = row.streams.setdefault(each.labels["stream"], StreamCell())
            if seconds := each.values[end] * row.watched_seconds:
                cell.protection[each.labels["protection"]] = seconds
    for name, cell in row.streams.items():
        known = sum(cell.protection.values())
        unknown = max(0.0, row.watched_seconds - known)
        weak = 0.0 if name in pqc_only else cell.protection.get("pqc", 0.0)
        none = cell.protection.get("none", 0.0)
        short = min(known - weak - none, unmet.get(name, 0.0) * row.watched_seconds)
        cell.service = {
            word: seconds
            for word, seconds in (
                ("serving", known - weak - none - short),
                ("degraded", weak + short),
                ("unserved", none),
                ("silent", unknown),
            )
            if seconds > 1e-9
        }
        cell.protection |= {"unknown": unknown} if unknown > 1e-9 else {}
    for each in shares["planned"]:
        if each.labels["stream"] in row.streams and end in each.values:
            row.streams[each.labels["stream"]].planned_bits = each.values[end] * row.watched_seconds


def _count(rows: Mapping[int, Row], steps: Steps, totals: Mapping[str, Sequence[Series]]) -> None:
    for each in totals["keys"]:
        for row, grown in _growth(each, steps, rows):
            served = row.streams.setdefault(each.labels["stream"], StreamCell()).served
            word = each.labels["protection"]
            served[word] = served.get(word, 0) + round(grown)
    for each in totals["bits"]:
        for row, grown in _growth(each, steps, rows):
            row.streams.setdefault(each.labels["stream"], StreamCell()).delivered_bits += round(grown)
    for each in totals["dropped"]:
        for row, grown in _growth(each, steps, rows):
            row.nodes.setdefault(each.labels["node"], NodeCell()).dropped_samples += round(grown)
    for each in totals["failover_seconds"]:
        for row, grown in _growth(each, steps, rows, from_nothing=True):
            row.streams.setdefault(each.labels["stream"], StreamCell()).failovers.sum_seconds += grown
    _count_failovers(rows, steps, totals["failovers"])


def _count_failovers(rows: Mapping[int, Row], steps: Steps, buckets: Sequence[Series]) -> None:
    """From cumulative buckets to counts; each failover at its bucket's upper bound, never less."""
    by_series: dict[tuple[str, str], list[tuple[float, Series]]] = {}
    for each in buckets:
        key = (each.labels["stream"], each.labels.get("instance", ""))
        by_series.setdefault(key, []).append((float(each.labels["le"].replace("+Inf", "inf")), each))
    for (stream, _), bounds in by_series.items():
        below: dict[int, float] = {}
        for bound, each in sorted(bounds, key=lambda pair: pair[0]):
            for row, grown in _growth(each, steps, rows, from_nothing=True):
                count = round(grown - below.get(row.start, 0.0))
                below[row.start] = grown
                if count > 0:
                    failovers = row.streams.setdefault(stream, StreamCell()).failovers
                    failovers.counts[bisect_left(FAILOVER_BOUNDS_SECONDS, bound)] += count
                    longest = failovers.sum_seconds if bound == inf else bound
                    failovers.longest_seconds = max(failovers.longest_seconds, longest)


def _growth(
    series: Series, steps: Steps, rows: Mapping[int, Row], *, from_nothing: bool = False
) -> Iterator[tuple[Row, float]]:
    """By how much a counter grew in each row; from nothing where it has begun again.

    What one that is new has counted before is not known, unless it is only there once something counts.
    """
    before = series.values.get(steps.start)
    if before is None and from_nothing and steps.start + steps.seconds not in series.values:
        before = 0.0
    for end in steps.ends:
        value = series.values.get(end)
        if value is None:
            continue
        if before is not None and end in rows and (grown := value - before if value >= before else value):
            yield rows[end], grown
        before = value


def _tell(rows: Mapping[int, Row], shares: Mapping[str, Sequence[Series]]) -> None:
    """Happenings, to within a step: links that were not OK, agents that were away."""
    last: dict[str, str] = {}
    away: dict[str, bool] = {}
    for end, row in rows.items():
        for link in sorted(row.links):
            cell = row.links[link]
            # Up to now: whatever was the case for any part of the step.
            bad = [word for word in _WORST_FIRST if cell.condition.get(word, 0.0) > 0]
            now = bad[0] if bad else "ok"
            if now != last.get(link, "ok"):
                reading = _reading(shares["diagnosis"], link, end)
                fields = {"old": last.get(link, "ok"), "new": now} | (
                    {"diagnosis": reading} if reading else {}
                )
                severity = "info" if now == "ok" else "minor" if now in {"degraded", "stale"} else "major"
                said = f"link '{link}' was {now} at least in part of the {row.seconds} s from here"
                row.keep(
                    Happening(
                        float(row.start), "link_condition_changed", severity, said, link=link, fields=fields
                    )
                )
            last[link] = now
        for node in sorted(row.nodes):
            gone = row.nodes[node].presence.get("away", 0.0) > 0
            if gone != away.get(node, False):
                kind, severity = ("agent_lost", "major") if gone else ("agent_connected", "info")
                said = f"agent '{node}' was {'away' if gone else 'connected'}"
                row.keep(Happening(float(row.start), kind, severity, said, node=node))
            away[node] = gone


def _reading(diagnoses: Iterable[Series], link: str, end: int) -> str:
    """What a link read as for the longest part of a step, if anything."""
    found = [
        (each.values[end], each.labels["diagnosis"])
        for each in diagnoses
        if each.labels["link"] == link and each.labels["diagnosis"] != "none" and each.values.get(end)
    ]
    return max(found)[1] if found else ""


# ---- how objects are described -----------------------------------------------------------------------


def _links(told: Mapping[str, Sequence[Series]]) -> dict[str, LinkAbout]:
    ends = _ends(told["link_end"], "link")
    abort = {each.labels["link"]: _last(each) for each in told["abort"]}
    degraded = {each.labels["link"]: _last(each) for each in told["degraded"]}
    return {
        name: LinkAbout(
            a_node=nodes[0],
            b_node=nodes[-1],
            degraded_qber_ratio=degraded.get(name, 0.0),
            abort_qber_ratio=abort.get(name, 0.0),
        )
        for name, nodes in ends.items()
    }


def _streams(told: Mapping[str, Sequence[Series]]) -> dict[str, StreamAbout]:
    alone = {each.labels["stream"] for each in told["pqc_only"]}
    least = {each.labels["stream"]: _last(each) for each in told["least"]}
    needed: dict[str, set[str]] = {}
    for each in told["requires"]:
        needed.setdefault(each.labels["stream"], set()).add(each.labels["protection"])
    words = {"qkd": "QKD", "pqc": "ML-KEM"}
    return {
        name: StreamAbout(
            source_node=nodes[0],
            target_node=nodes[-1],
            requires="ML-KEM alone"
            if name in alone
            else " and ".join(word for each, word in words.items() if each in needed.get(name, ()))
            or "strongest available",
            min_rate_bps=least.get(name, 0.0),
            pqc_only=name in alone,
        )
        for name, nodes in _ends(told["stream_end"], "stream").items()
    }


def _ends(series: Iterable[Series], kind: str) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for each in series:
        found.setdefault(each.labels[kind], set()).add(each.labels["node"])
    return {name: sorted(nodes) for name, nodes in sorted(found.items())}


def _last(series: Series) -> float:
    return series.values[max(series.values)]
