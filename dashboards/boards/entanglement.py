"""Entanglement: how often pairs are made, how good they are, where they wait. Its metrics are yet to come."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import LINKS, NODES, STREAMS, Row, board
from dashboards.panels import COUNT, HERTZ, RATIO, SECONDS, Place, Query, lines, words
from dashboards.queries import LINK, NODE, STREAM

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
                    words(
                        "Agents do not export these metrics yet: the panels fill once pair streams are run.",
                        place=Place(24, 2),
                    ),
                    lines(
                        "Attempts",
                        "To make a pair, a second.",
                        HERTZ,
                        Query(f"keyweave_link_pair_attempt_rate_hz{{{LINK}}}", "{{link}}"),
                        place=Place(8, 8),
                    ),
                    lines(
                        "Success",
                        "Share of the attempts that made a pair.",
                        RATIO,
                        Query(f"keyweave_link_pair_success_ratio{{{LINK}}}", "{{link}}"),
                        place=Place(8, 8),
                    ),
                    lines(
                        "Fidelity",
                        "Of the pairs as they are made.",
                        RATIO,
                        Query(f"keyweave_link_pair_fidelity_ratio{{{LINK}}}", "{{link}}"),
                        most=1,
                        place=Place(8, 8),
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
                        place=Place(8, 8),
                        stacked=True,
                    ),
                    lines(
                        "Coherence",
                        "Time T2 of the memories.",
                        SECONDS,
                        Query(f"keyweave_node_memory_coherence_seconds{{{NODE}}}", "{{node}}"),
                        place=Place(8, 8),
                    ),
                    lines(
                        "Swaps",
                        "Share that succeeded.",
                        RATIO,
                        Query(f"keyweave_node_swap_success_ratio{{{NODE}}}", "{{node}}"),
                        most=1,
                        place=Place(8, 8),
                    ),
                ),
            ),
        ),
    )
