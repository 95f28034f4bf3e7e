"""Key streams: what was planned, what is delivered, how it is protected, how it moved."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import STREAMS, Row, board
from dashboards.look import GREEN, NO_YES, ORANGE, PROTECTIONS, VERMILION
from dashboards.panels import (
    BITS_PER_SECOND,
    COUNT,
    RATIO,
    SECONDS,
    Column,
    Place,
    Query,
    bars,
    buckets,
    grid,
    lines,
    states,
)
from dashboards.queries import RATE, STREAM, protection_code

UID = "keyweave-streams"


def _of(metric: str) -> str:
    return f"max by (stream) ({metric}{{{STREAM}}})"


def build() -> Dashboard:
    """The dashboard."""
    served = f"sum by (stream, protection) (rate(keyweave_keys_served_total{{{STREAM}}}[{RATE}]))"
    failovers = f"keyweave_stream_failover_duration_seconds_bucket{{{STREAM}}}"
    return board(
        UID,
        "Key streams",
        "Planned and delivered rates, buffers, provenance of the keys that applications fetched, failovers.",
        (STREAMS,),
        (
            Row(
                "Now",
                (
                    grid(
                        "Streams",
                        "What each has been given and gets.",
                        "stream",
                        (
                            Column("protection", protection_code(), words=PROTECTIONS),
                            Column("unmet", _of("keyweave_stream_unmet"), words=NO_YES),
                            Column("guaranteed", _of("keyweave_stream_min_rate_bps"), BITS_PER_SECOND),
                            Column("planned", _of("keyweave_stream_planned_rate_bps"), BITS_PER_SECOND),
                            Column("delivered", _of("keyweave_stream_delivered_rate_bps"), BITS_PER_SECOND),
                            Column("keys ready", _of("keyweave_stream_buffered_keys")),
                            Column(
                                "backups",
                                _of("keyweave_stream_backup_path_sets"),
                                steps=((0, ORANGE), (1, GREEN)),
                            ),
                            Column("moves", _of("keyweave_stream_failovers_total")),
                        ),
                        place=Place(16, 8),
                    ),
                    bars(
                        "Buffers",
                        "Keys ready at the end that has fewer, of those that are kept ready.",
                        RATIO,
                        Query(
                            f"{_of('keyweave_stream_buffered_keys')}"
                            f" / {_of('keyweave_stream_buffer_target_keys')}",
                            "{{stream}}",
                        ),
                        steps=((0, VERMILION), (0.25, ORANGE), (0.5, GREEN)),
                        most=1,
                    ),
                ),
            ),
            Row(
                "Rate",
                (
                    lines(
                        "Planned and delivered",
                        "Nothing while buffers are full; dashed: planned and guaranteed. Logarithmic.",
                        BITS_PER_SECOND,
                        Query(_of("keyweave_stream_delivered_rate_bps"), "{{stream}}"),
                        Query(_of("keyweave_stream_planned_rate_bps"), "{{stream}} planned"),
                        Query(_of("keyweave_stream_min_rate_bps"), "{{stream}} guaranteed"),
                        dashed="planned|guaranteed",
                        logarithmic=True,
                        least=1,
                    ),
                    lines(
                        "Keys ready",
                        "At the end that has fewer.",
                        COUNT,
                        Query(_of("keyweave_stream_buffered_keys"), "{{stream}}"),
                        least=0,
                    ),
                ),
            ),
            Row(
                "Provenance",
                (
                    states(
                        "Protection",
                        "What protects the keys that are being made.",
                        PROTECTIONS,
                        Query(protection_code(), "{{stream}}"),
                    ),
                    lines(
                        "Keys fetched",
                        "By applications, a second, by what protects them.",
                        COUNT,
                        Query(served, "{{stream}} {{protection}}"),
                        stacked=True,
                        place=Place(24, 8),
                    ),
                ),
            ),
            Row(
                "Failovers",
                (
                    buckets(
                        "How long they took",
                        "From the first failed attempt to the first confirmed key elsewhere.",
                        f"sum by (le) (increase({failovers}[{RATE}]))",
                    ),
                    lines(
                        "How long the slowest twentieth took",
                        "95th percentile of the last hour.",
                        SECONDS,
                        Query(
                            f"histogram_quantile(0.95, sum by (le, stream) (rate({failovers}[1h])))",
                            "{{stream}}",
                        ),
                        least=0,
                    ),
                ),
            ),
        ),
    )
