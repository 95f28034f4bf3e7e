"""Entanglement: how often pairs are made, how good they are, where they wait."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import LINKS, NODES, STREAMS, Row, board
from dashboards.panels import COUNT, HERTZ, RATIO, SECONDS, Place, Query, lines
from dashboards.queries import LINK, NODE, RATE, STREAM

UID = "keyweave-entanglement"


def build() -> Dashboard:
    """The dashboard."""
    return board(
        UID,
        "Entanglement",
        "Bell pairs on links and from end to end, and the memories they wait in.",
        (LINKS, STREAMS, NODES),
        (
            Row(
                "Links",
                (
                    lines(
                        "Attempts",
                        "To make a pair, a second.",
                        HERTZ,
                        Query(f"keyweave_link_pair_attempt_rate_hz{{{LINK}}}", "{{link}}"),
                        place=Place(6, 8),
                    ),
                    lines(
                        "Success",
                        "Share of the attempts that made a pair.",
                        RATIO,
                        Query(f"keyweave_link_pair_success_ratio{{{LINK}}}", "{{link}}"),
                        place=Place(6, 8),
                    ),
                    lines(
                        "Pairs",
                        "A second, of one memory at each end.",
                        HERTZ,
                        Query(f"keyweave_link_pair_rate_hz{{{LINK}}}", "{{link}}"),
                        place=Place(6, 8),
                    ),
                    lines(
                        "Fidelity",
                        "Of the pairs as they are made.",
                        RATIO,
                        Query(f"keyweave_link_pair_fidelity_ratio{{{LINK}}}", "{{link}}"),
                        most=1,
                        place=Place(6, 8),
                    ),
                ),
            ),
            Row(
                "End to end",
                (
                    lines(
                        "Pairs delivered",
                        "A second; dashed: planned.",
                        HERTZ,
                        Query(f"keyweave_pair_stream_delivered_rate_hz{{{STREAM}}}", "{{stream}}"),
                        Query(f"keyweave_pair_stream_planned_rate_hz{{{STREAM}}}", "{{stream}} planned"),
                        dashed="planned",
                    ),
                    lines(
                        "Fidelity delivered",
                        "Dashed: what the stream asks for.",
                        RATIO,
                        Query(f"keyweave_pair_stream_fidelity_ratio{{{STREAM}}}", "{{stream}}"),
                        Query(f"keyweave_pair_stream_min_fidelity_ratio{{{STREAM}}}", "{{stream}} asked"),
                        most=1,
                        dashed="asked",
                    ),
                    lines(
                        "Fidelity predicted",
                        "What the plan counts on.",
                        RATIO,
                        Query(f"keyweave_pair_stream_planned_fidelity_ratio{{{STREAM}}}", "{{stream}}"),
                        most=1,
                    ),
                    lines(
                        "Pairs lost",
                        "Too old, or lost by failed swaps and purifications, a second.",
                        HERTZ,
                        Query(
                            f"rate(keyweave_pair_stream_lost_pairs_total{{{STREAM}}}[{RATE}])", "{{stream}}"
                        ),
                    ),
                ),
            ),
            Row(
                "Nodes",
                (
                    lines(
                        "Memories",
                        "By state.",
                        COUNT,
                        Query(f"keyweave_node_memories{{{NODE}}}", "{{node}} {{state}}"),
                        place=Place(6, 8),
                        stacked=True,
                    ),
                    lines(
                        "Memories in the plan",
                        "Given to pair streams.",
                        COUNT,
                        Query(f"keyweave_node_planned_memories{{{NODE}}}", "{{node}}"),
                        place=Place(6, 8),
                    ),
                    lines(
                        "Coherence",
                        "Time T2 of the memories.",
                        SECONDS,
                        Query(f"keyweave_node_memory_coherence_seconds{{{NODE}}}", "{{node}}"),
                        place=Place(6, 8),
                    ),
                    lines(
                        "Swaps",
                        "Share that succeeded.",
                        RATIO,
                        Query(f"keyweave_node_swap_success_ratio{{{NODE}}}", "{{node}}"),
                        most=1,
                        place=Place(6, 8),
                    ),
                ),
            ),
        ),
    )
