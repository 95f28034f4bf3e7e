"""The network at a glance: is everybody supplied, how protected, and what is wrong."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import LINKS, NODES, STREAMS, Row, board
from dashboards.look import CONDITIONS, GREEN, ORANGE, PROTECTIONS, VERMILION
from dashboards.panels import (
    BITS,
    BITS_PER_SECOND,
    COUNT,
    RATIO,
    Column,
    Place,
    Query,
    figure,
    grid,
    lines,
    states,
    world,
)
from dashboards.queries import LINK, STREAM, condition_code, protection_code

UID = "keyweave-overview"

_NODE_POINT = '"point", "$1", "node", "(.*)"'
_LINK_POINT = '"point", "$1", "link", "(.*)"'


def _coordinate(metric: str) -> str:
    """Of nodes where they are, of links half way between their ends."""
    middle = f"avg by (link) (keyweave_link_end * on (node) group_left () {metric})"
    return (
        f"max by (point) (label_replace({metric}, {_NODE_POINT}) or label_replace({middle}, {_LINK_POINT}))"
    )


def _points() -> str:
    """A node is well (0) or lost (5), a link in its condition."""
    node = f"(1 - keyweave_agent_connected) * {len(CONDITIONS) - 1}"
    link = condition_code('link=~".+"')
    return f"max by (point) (label_replace({node}, {_NODE_POINT}) or label_replace({link}, {_LINK_POINT}))"


def build() -> Dashboard:
    """The dashboard."""
    bad = ((0, GREEN), (1, VERMILION))
    place = Place(4, 4)
    return board(
        UID,
        "Network overview",
        "Links by condition, streams by protection, key rate and service levels of the whole network.",
        (LINKS, STREAMS, NODES),
        (
            Row(
                "Now",
                (
                    figure(
                        "Links in use",
                        "Links whose condition is ok or degraded.",
                        COUNT,
                        Query('sum(keyweave_link_condition{condition=~"ok|degraded"})'),
                        place=place,
                    ),
                    figure(
                        "Links down or suspect",
                        "Nothing is relayed over these.",
                        COUNT,
                        Query('sum(keyweave_link_condition{condition=~"down|suspect"})'),
                        steps=bad,
                        place=place,
                    ),
                    figure(
                        "Streams with quantum protection",
                        "Keys made now have QKD in them.",
                        COUNT,
                        Query('sum(keyweave_stream_protection{protection=~"hybrid|qkd"})'),
                        place=place,
                    ),
                    figure(
                        "Streams on ML-KEM alone",
                        "No quantum path supplies them now.",
                        COUNT,
                        Query('sum(keyweave_stream_protection{protection="pqc"})'),
                        steps=((0, GREEN), (1, ORANGE)),
                        place=place,
                    ),
                    figure(
                        "Streams without keys",
                        "No key is being made for these.",
                        COUNT,
                        Query('sum(keyweave_stream_protection{protection="none"})'),
                        steps=bad,
                        place=place,
                    ),
                    figure(
                        "Agents lost",
                        "Not connected to the controller; they go on by their last policy.",
                        COUNT,
                        Query("sum(1 - keyweave_agent_connected)"),
                        steps=bad,
                        place=place,
                    ),
                ),
            ),
            Row(
                "Map",
                (
                    world(
                        "Nodes and links",
                        "A link's point is half way between its ends.",
                        "point",
                        (
                            _coordinate("keyweave_node_latitude_degrees"),
                            _coordinate("keyweave_node_longitude_degrees"),
                        ),
                        _points(),
                        CONDITIONS,
                        place=Place(12, 12),
                    ),
                    grid(
                        "Links",
                        "As planning sees them. A click leads to the link.",
                        "link",
                        (
                            Column("condition", condition_code(), words=CONDITIONS),
                            Column("QBER", f"max by (link) (keyweave_link_qber_ratio{{{LINK}}})", RATIO),
                            Column(
                                "key rate",
                                f"max by (link) (keyweave_link_secret_key_rate_bps{{{LINK}}})",
                                BITS_PER_SECOND,
                            ),
                            Column(
                                "planned",
                                f"max by (link) (keyweave_link_planned_rate_bps{{{LINK}}})",
                                BITS_PER_SECOND,
                            ),
                            Column("pool", f"max by (link) (keyweave_link_pool_bits{{{LINK}}})", BITS),
                        ),
                        leads_to="keyweave-link",
                        place=Place(12, 12),
                    ),
                ),
            ),
            Row(
                "Over time",
                (
                    states(
                        "Condition of links", "Worst last.", CONDITIONS, Query(condition_code(), "{{link}}")
                    ),
                    states(
                        "Protection of streams",
                        "What protects the keys that are being made.",
                        PROTECTIONS,
                        Query(protection_code(), "{{stream}}"),
                    ),
                    lines(
                        "Secret key rate of links",
                        "The lower of both ends. The scale is logarithmic.",
                        BITS_PER_SECOND,
                        Query(f"keyweave_link_secret_key_rate_bps{{{LINK}}}", "{{link}}"),
                        logarithmic=True,
                    ),
                    lines(
                        "Keys delivered",
                        "Bits of confirmed keys a second, by stream.",
                        BITS_PER_SECOND,
                        Query(f"keyweave_stream_delivered_rate_bps{{{STREAM}}}", "{{stream}}"),
                        stacked=True,
                    ),
                ),
            ),
            Row(
                "Service levels",
                (
                    lines(
                        "Availability of streams, last hour",
                        "Share of the time in which applications at both ends could have keys.",
                        RATIO,
                        Query(f"1 - keyweave:stream_unavailable:ratio_1h{{{STREAM}}}", "{{stream}}"),
                        Query('keyweave:slo:objective{slo="availability"}', "objective"),
                        most=1,
                        dashed="objective",
                    ),
                    lines(
                        "Quantum protection of streams, last hour",
                        "Share of the time in which keys were made with QKD.",
                        RATIO,
                        Query(f"1 - keyweave:stream_without_quantum:ratio_1h{{{STREAM}}}", "{{stream}}"),
                        Query('keyweave:slo:objective{slo="quantum"}', "objective"),
                        most=1,
                        dashed="objective",
                    ),
                ),
            ),
        ),
    )
