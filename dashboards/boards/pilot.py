"""What a pilot is judged by, over its whole time. `keyweave report` makes the document of it."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import LINKS, STREAMS, Row, board
from dashboards.look import GREEN, ORANGE, VERMILION
from dashboards.panels import BITS_PER_SECOND, COUNT, RATIO, SECONDS, Place, Query, bars, lines
from dashboards.queries import LINK, STREAM

UID = "keyweave-pilot"
_RANGE = "$__range"


def _mean(metric: str) -> str:
    return f"avg by (link) (avg_over_time({metric}{{{LINK}}}[{_RANGE}]))"


def build() -> Dashboard:
    """The dashboard."""
    third = Place(8, 8)
    up = (
        f'sum by (link) (avg_over_time(keyweave_link_condition{{{LINK},condition=~"ok|degraded"}}[{_RANGE}]))'
    )
    by_protection = f"sum by (protection) (increase(keyweave_keys_served_total{{{STREAM}}}[{_RANGE}]))"
    failovers = f"keyweave_stream_failover_duration_seconds_bucket{{{STREAM}}}"
    happened = f'sum by (kind) (increase(keyweave_events_total{{severity!="info"}}[{_RANGE}]))'
    moves = f"keyweave_stream_failovers_total{{{STREAM}}}"
    good = ((0, VERMILION), (0.99, ORANGE), (0.999, GREEN))
    return board(
        UID,
        "Pilot report",
        "Key rate, QBER and its stability, uptime, failovers, provenance over the time range that is chosen.",
        (LINKS, STREAMS),
        (
            Row(
                "Links",
                (
                    bars(
                        "Uptime",
                        "Share of the time in which the condition was ok or degraded.",
                        RATIO,
                        Query(up, "{{link}}"),
                        steps=good,
                        most=1,
                        place=third,
                    ),
                    bars(
                        "Key rate, mean",
                        "Of the lower end.",
                        BITS_PER_SECOND,
                        Query(_mean("keyweave_link_secret_key_rate_bps"), "{{link}}"),
                        steps=((0, GREEN),),
                        place=third,
                    ),
                    bars(
                        "QBER, mean",
                        "Of the worse end.",
                        RATIO,
                        Query(_mean("keyweave_link_qber_ratio"), "{{link}}"),
                        steps=((0, GREEN), (0.088, ORANGE), (0.11, VERMILION)),
                        place=third,
                    ),
                    lines(
                        "QBER",
                        "Of the worse end.",
                        RATIO,
                        Query(f"keyweave_link_qber_ratio{{{LINK}}}", "{{link}}"),
                        least=0,
                    ),
                    lines(
                        "Stability of the QBER",
                        "Standard deviation within five minutes.",
                        RATIO,
                        Query(f"stddev_over_time(keyweave_link_qber_ratio{{{LINK}}}[5m])", "{{link}}"),
                        least=0,
                    ),
                ),
            ),
            Row(
                "Streams",
                (
                    bars(
                        "Availability",
                        "Share of the time in which applications at both ends could have keys.",
                        RATIO,
                        Query(
                            f"avg_over_time(keyweave:stream_available:bool{{{STREAM}}}[{_RANGE}])",
                            "{{stream}}",
                        ),
                        steps=good,
                        most=1,
                        place=third,
                    ),
                    bars(
                        "Quantum protection",
                        "Share of the time in which keys were made with QKD.",
                        RATIO,
                        Query(
                            f"avg_over_time(keyweave:stream_quantum:bool{{{STREAM}}}[{_RANGE}])", "{{stream}}"
                        ),
                        steps=((0, VERMILION), (0.9, ORANGE), (0.99, GREEN)),
                        most=1,
                        place=third,
                    ),
                    bars(
                        "Keys fetched, by provenance",
                        "By all applications.",
                        COUNT,
                        Query(by_protection, "{{protection}}"),
                        steps=((0, GREEN),),
                        place=third,
                    ),
                    bars(
                        "Failovers",
                        "Moves to another path set or protection.",
                        COUNT,
                        Query(f"sum by (stream) (increase({moves}[{_RANGE}]))", "{{stream}}"),
                        steps=((0, GREEN),),
                        place=Place(12, 8),
                    ),
                    bars(
                        "Failovers, slowest twentieth",
                        "95th percentile of how long they took.",
                        SECONDS,
                        Query(
                            f"histogram_quantile(0.95, sum by (le) (increase({failovers}[{_RANGE}])))",
                            "all streams",
                        ),
                        steps=((0, GREEN), (1, ORANGE), (10, VERMILION)),
                        place=Place(12, 8),
                    ),
                ),
            ),
            Row(
                "Faults",
                (
                    bars(
                        "Links, by diagnosis",
                        "For how long measurements read as each.",
                        SECONDS,
                        Query(
                            "sum by (diagnosis) (sum_over_time("
                            f'keyweave_link_diagnosis{{{LINK},diagnosis!="none"}}[{_RANGE}:10s])) * 10',
                            "{{diagnosis}}",
                        ),
                        steps=((0, ORANGE),),
                        place=third,
                    ),
                    bars(
                        "Maintenance",
                        "For how long links were in maintenance.",
                        SECONDS,
                        Query(
                            "sum by (link) (sum_over_time("
                            f'keyweave_link_condition{{{LINK},condition="maintenance"}}[{_RANGE}:10s])) * 10',
                            "{{link}}",
                        ),
                        steps=((0, GREEN),),
                        place=third,
                    ),
                    bars(
                        "Events",
                        "Major and minor, by kind.",
                        COUNT,
                        Query(
                            f"{happened} > 0",
                            "{{kind}}",
                        ),
                        steps=((0, ORANGE),),
                        place=third,
                    ),
                ),
            ),
        ),
        since="now-24h",
    )
