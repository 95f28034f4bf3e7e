"""Service levels of streams, and alerts for when their error budgets burn.

Windows and factors are those of Google's SRE Workbook, chapter 5 ("Alerting on SLOs", 2018), table 5-8: of a
budget of 30 days, a burn rate of 14.4 for an hour takes 2 %, 6 for six hours 5 %, 1 for three days 10 %; the
short window, a twelfth of the long one, ends the alert soon after the trouble ends.
"""

from dataclasses import dataclass

from dashboards.rule import Alert, Group, Recording, Urgency

WINDOWS = ("5m", "30m", "1h", "6h", "3d")


@dataclass(frozen=True, slots=True)
class Burn:
    """How fast a budget burns, seen over two windows."""

    rate: float
    long: str
    short: str


PAGING = (Burn(14.4, "1h", "5m"), Burn(6, "6h", "30m"))
SLOW = Burn(1, "3d", "6h")


@dataclass(frozen=True, slots=True)
class Level:
    """A service level of every stream: 1 while it is good, and the share of time that it must be."""

    slo: str
    good: str
    bad: str
    objective: float
    expr: str
    alert: str
    words: str


LEVELS = (
    Level(
        "availability",
        "keyweave:stream_available:bool",
        "keyweave:stream_unavailable",
        0.999,
        "# Keys are ready at both ends, and both ends are heard.\n"
        "(keyweave_stream_buffered_keys > bool 0) * on (stream) keyweave:stream_heard:bool",
        "KeyweaveStreamAvailabilityBurn",
        "applications could not be given keys",
    ),
    Level(
        "quantum",
        "keyweave:stream_quantum:bool",
        "keyweave:stream_without_quantum",
        0.99,
        "# The keys that are being made have QKD in them. Not of streams that want none.\n"
        'sum by (stream) (keyweave_stream_protection{protection=~"qkd|hybrid"})\n'
        "  * on (stream) keyweave:stream_heard:bool\n"
        "  unless on (stream) keyweave_stream_pqc_only == 1",
        "KeyweaveStreamQuantumBurn",
        "its keys were made without quantum protection, or not at all",
    ),
)


def _recordings(level: Level) -> list[Recording]:
    made = [
        Recording("keyweave:slo:objective", f"vector({level.objective})", {"slo": level.slo}),
        Recording(level.good, level.expr),
    ]
    return made + [
        Recording(f"{level.bad}:ratio_{window}", f"1 - avg_over_time({level.good}[{window}])")
        for window in WINDOWS
    ]


def _burns(level: Level, burn: Burn) -> str:
    limit = f"{burn.rate:g} * (1 - {level.objective:g})"
    return f"({level.bad}:ratio_{burn.long} > {limit}\n  and {level.bad}:ratio_{burn.short} > {limit})"


def _alerts(level: Level) -> list[Alert]:
    share = "{{ $value | humanizePercentage }}"
    objective = f"{level.objective * 100:g} %"
    return [
        Alert(
            f"{level.alert}Fast",
            Urgency.CRITICAL,
            "\nor ".join(_burns(level, burn) for burn in PAGING),
            "2m",
            f"Stream {{{{ $labels.stream }}}} is using up its error budget ({level.slo}) fast",
            f"For {share} of the time of late {level.words}; over 30 days at least {objective} must be good. "
            "At this pace the budget of a month is gone within days.",
            {"slo": level.slo},
        ),
        Alert(
            f"{level.alert}Slow",
            Urgency.WARNING,
            _burns(level, SLOW),
            "1h",
            f"Stream {{{{ $labels.stream }}}} will not keep its objective ({level.slo})",
            f"For {share} of the last three days {level.words}; over 30 days at least {objective} must be "
            "good.",
            {"slo": level.slo},
        ),
    ]


SLO_RECORDINGS = Group("keyweave-slo-recordings", [rule for level in LEVELS for rule in _recordings(level)])
SLO_ALERTS = Group("keyweave-slo-alerts", [alert for level in LEVELS for alert in _alerts(level)])
