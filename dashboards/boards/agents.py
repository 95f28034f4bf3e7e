"""Nodes and their agents, from the controller's page and from their own."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import NODES, Row, board
from dashboards.look import GREEN, NO_YES, ORANGE, VERMILION, YES_NO
from dashboards.panels import (
    BITS,
    BITS_PER_SECOND,
    BYTES,
    COUNT,
    RATIO,
    SECONDS,
    Column,
    Place,
    Query,
    bars,
    grid,
    lines,
    states,
)
from dashboards.queries import NODE, RATE

UID = "keyweave-agents"
_AGENT = f'job="keyweave-agent",{NODE}'


def _of(metric: str, reduce: str = "max") -> str:
    return f"{reduce} by (node) ({metric}{{{NODE}}})"


def build() -> Dashboard:
    """The dashboard."""
    days = 24 * 3600
    return board(
        UID,
        "Nodes and agents",
        "Connection, policy, pools, sessions with peers, ledger, certificates and resources of each agent.",
        (NODES,),
        (
            Row(
                "Now",
                (
                    grid(
                        "Agents",
                        "As the controller sees them, and as they see themselves.",
                        "node",
                        (
                            Column("connected", _of("keyweave_agent_connected"), words=YES_NO),
                            Column("refuses policy", _of("keyweave_agent_policy_nacked"), words=NO_YES),
                            Column("policy lag", _of("keyweave_agent_policy_lag_seconds"), SECONDS),
                            Column("sessions up", _of("keyweave_agent_session_up", "sum")),
                            Column("waits for the controller", _of("keyweave_agent_telemetry_queue_depth")),
                            Column("ledger writable", _of("keyweave_agent_ledger_writable"), words=YES_NO),
                            Column("withheld rules", _of("keyweave_agent_guard_withheld_rules")),
                        ),
                        place=Place(16, 9),
                    ),
                    bars(
                        "Certificates end in",
                        "Of each agent the first that ends.",
                        SECONDS,
                        Query(
                            f"min by (node) (keyweave_agent_certificate_expiry_timestamp_seconds{{{NODE}}})"
                            " - time()",
                            "{{node}}",
                        ),
                        steps=((0, VERMILION), (2 * days, ORANGE), (14 * days, GREEN)),
                        place=Place(8, 9),
                    ),
                ),
            ),
            Row(
                "Connection",
                (
                    states(
                        "Connected to the controller",
                        "As the controller sees it.",
                        YES_NO,
                        Query(_of("keyweave_agent_connected"), "{{node}}"),
                        place=Place(12, 8),
                    ),
                    lines(
                        "Lease",
                        "How long the policy counts without renewal; at 0 the agent says so and goes on.",
                        SECONDS,
                        Query(f"keyweave_agent_lease_remaining_seconds{{{_AGENT}}}", "{{node}}"),
                        least=0,
                    ),
                ),
            ),
            Row(
                "Keys",
                (
                    lines(
                        "Pools this end may send with",
                        "Unused bits.",
                        BITS,
                        Query(f"keyweave_agent_pool_send_bits{{{_AGENT}}}", "{{node}} {{link}}"),
                        least=0,
                    ),
                    lines(
                        "Taken in from devices",
                        "Key bits a second that both ends hold.",
                        BITS_PER_SECOND,
                        Query(
                            f"rate(keyweave_agent_pool_intake_bits_total{{{_AGENT}}}[{RATE}])",
                            "{{node}} {{link}}",
                        ),
                        logarithmic=True,
                    ),
                    lines(
                        "Keys confirmed",
                        "Bits a second, as master.",
                        BITS_PER_SECOND,
                        Query(
                            f"rate(keyweave_agent_confirmed_bits_total{{{_AGENT}}}[{RATE}])",
                            "{{node}} {{stream}}",
                        ),
                        least=0,
                    ),
                    lines(
                        "Time of a batch",
                        "From its first share to its confirmation: the slowest twentieth.",
                        SECONDS,
                        Query(
                            "histogram_quantile(0.95, sum by (le, node) "
                            f"(rate(keyweave_agent_batch_seconds_bucket{{{_AGENT}}}[5m])))",
                            "{{node}}",
                        ),
                        least=0,
                    ),
                ),
            ),
            Row(
                "Refusals",
                (
                    lines(
                        "Refused",
                        "Policies, relayed shares and signatures that were refused, within an hour.",
                        COUNT,
                        Query(
                            f"increase(keyweave_agent_policies_refused_total{{{_AGENT}}}[1h])",
                            "{{node}} policies",
                        ),
                        Query(
                            f"increase(keyweave_agent_relays_refused_total{{{_AGENT}}}[1h])",
                            "{{node}} relays {{reason}}",
                        ),
                        least=0,
                    ),
                    lines(
                        "Telemetry thinned out",
                        "Samples a second that were dropped while the controller was away.",
                        COUNT,
                        Query(
                            f"rate(keyweave_agent_telemetry_dropped_samples_total{{{_AGENT}}}[{RATE}])",
                            "{{node}}",
                        ),
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
                        Query(f"rate(process_cpu_seconds_total{{{_AGENT}}}[{RATE}])", "{{node}}"),
                        least=0,
                    ),
                    lines(
                        "Memory",
                        "Resident.",
                        BYTES,
                        Query(f"process_resident_memory_bytes{{{_AGENT}}}", "{{node}}"),
                        least=0,
                    ),
                ),
            ),
        ),
    )
