"""The controller itself: is it keeping up."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import NODES, Row, board
from dashboards.look import GREEN, NO_YES, VERMILION, mapping
from dashboards.panels import (
    BYTES,
    COUNT,
    RATIO,
    SECONDS,
    Place,
    Query,
    buckets,
    figure,
    lines,
)
from dashboards.queries import NODE, RATE

UID = "keyweave-controller"
_SELF = 'job="keyweave-controller"'


def _slowest(histogram: str, by: str = "") -> str:
    """The 99th percentile of a histogram, by a label."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile(0.99, sum by ({labels}) (rate({histogram}_bucket[5m])))"


def build() -> Dashboard:
    """The dashboard."""
    place = Place(6, 4)
    return board(
        UID,
        "Controller",
        "Ingest, planning, push: how much there is to do and how long it takes.",
        (NODES,),
        (
            Row(
                "Now",
                (
                    figure(
                        "Read-only",
                        "Agents have seen a higher epoch: `keyweave controller raise-epoch`.",
                        COUNT,
                        Query("max(keyweave_controller_read_only)"),
                        mappings=[mapping(NO_YES)],
                        place=place,
                    ),
                    figure(
                        "Plan",
                        "Version of the plan in force.",
                        COUNT,
                        Query("max(keyweave_plan_version)"),
                        place=place,
                        decimals=0,
                    ),
                    figure(
                        "Orders waiting",
                        "That not all have carried out.",
                        COUNT,
                        Query("sum(keyweave_orders_waiting)"),
                        place=place,
                    ),
                    figure(
                        "Store failures, last hour",
                        "Writes that failed and were tried again.",
                        COUNT,
                        Query("sum(increase(keyweave_store_failures_total[1h]))"),
                        steps=((0, GREEN), (1, VERMILION)),
                        place=place,
                        decimals=0,
                    ),
                ),
            ),
            Row(
                "Ingest",
                (
                    lines(
                        "Telemetry",
                        "Messages and rows of samples a second.",
                        COUNT,
                        Query(
                            f"sum by (outcome) (rate(keyweave_telemetry_messages_total[{RATE}]))",
                            "messages {{outcome}}",
                        ),
                        Query(f"sum(rate(keyweave_telemetry_sample_rows_total[{RATE}]))", "rows"),
                        least=0,
                    ),
                    lines(
                        "Queues",
                        "What waits; the bounds are in the page on architecture.",
                        COUNT,
                        Query("max by (queue) (keyweave_queue_depth)", "{{queue}}"),
                        least=0,
                    ),
                    lines(
                        "Refused or dropped",
                        "Items of telemetry that cannot be true; samples that agents thinned out. A second.",
                        COUNT,
                        Query(f"sum(rate(keyweave_telemetry_refused_items_total[{RATE}]))", "refused"),
                        Query(f"sum(rate(keyweave_agent_dropped_samples_total[{RATE}]))", "dropped"),
                        least=0,
                    ),
                    lines(
                        "Events",
                        "A second, by severity.",
                        COUNT,
                        Query(f"sum by (severity) (rate(keyweave_events_total[{RATE}]))", "{{severity}}"),
                        least=0,
                        stacked=True,
                    ),
                ),
            ),
            Row(
                "Planning",
                (
                    lines(
                        "Planning",
                        "99th percentile: planning everything, and repairs.",
                        SECONDS,
                        Query(_slowest("keyweave_planning_duration_seconds", "kind"), "{{kind}}"),
                        logarithmic=True,
                    ),
                    buckets(
                        "Handling one stimulus",
                        "Repairs included.",
                        f"sum by (le) (increase(keyweave_stimulus_duration_seconds_bucket[{RATE}]))",
                    ),
                ),
            ),
            Row(
                "Push",
                (
                    lines(
                        "From push to acknowledgement",
                        "Median and 99th percentile.",
                        SECONDS,
                        Query(
                            "histogram_quantile(0.5, sum by (le) "
                            "(rate(keyweave_policy_push_duration_seconds_bucket[5m])))",
                            "median",
                        ),
                        Query(_slowest("keyweave_policy_push_duration_seconds"), "99 %"),
                        least=0,
                    ),
                    lines(
                        "Policy lag",
                        "How long each agent has not had what is desired of it.",
                        SECONDS,
                        Query(f"keyweave_agent_policy_lag_seconds{{{NODE}}}", "{{node}}"),
                        least=0,
                    ),
                    lines(
                        "Policies sent and answered",
                        "A second.",
                        COUNT,
                        Query(f"sum by (form) (rate(keyweave_policy_pushes_total[{RATE}]))", "{{form}}"),
                        Query(f"sum by (kind) (rate(keyweave_policy_answers_total[{RATE}]))", "{{kind}}"),
                        least=0,
                    ),
                    lines(
                        "Path sets on their way out",
                        "They left the plan and may still be in use.",
                        COUNT,
                        Query("max(keyweave_plan_retiring_path_sets)", "retiring"),
                        least=0,
                    ),
                ),
            ),
            Row(
                "Resources",
                (
                    lines(
                        "Processor",
                        "Share of one core.",
                        RATIO,
                        Query(f"rate(process_cpu_seconds_total{{{_SELF}}}[{RATE}])", "{{instance}}"),
                        least=0,
                    ),
                    lines(
                        "Memory",
                        "Resident.",
                        BYTES,
                        Query(f"process_resident_memory_bytes{{{_SELF}}}", "{{instance}}"),
                        least=0,
                    ),
                ),
            ),
        ),
    )
