"""Fragments of PromQL that several panels and rules share, and the metrics that are yet to come."""

from collections.abc import Sequence

from dashboards.look import CONDITIONS, DIAGNOSES, PROTECTIONS, Word

LINK, STREAM, NODE = 'link=~"$link"', 'stream=~"$stream"', 'node=~"$node"'
# How long a rate looks back: Grafana makes it four scrapes at least.
RATE = "$__rate_interval"

# Panels of these metrics show nothing yet, and are excused from the test that every panel does: the planner
# of pair streams exists, the agents' side of entanglement does not.
AWAITING = {
    "keyweave_link_pair_attempt_rate_hz": "attempts a second to make a Bell pair on a link",
    "keyweave_link_pair_success_ratio": "share of the attempts that made one",
    "keyweave_link_pair_fidelity_ratio": "fidelity of the pairs as they are made",
    "keyweave_pair_stream_planned_rate_hz": "pairs a second that are planned from end to end",
    "keyweave_pair_stream_delivered_rate_hz": "pairs a second that are delivered",
    "keyweave_pair_stream_fidelity_ratio": "fidelity as delivered",
    "keyweave_pair_stream_min_fidelity_ratio": "fidelity that the stream asks for",
    "keyweave_node_memories": "quantum memories of a node, by state: free, holding, out of order",
    "keyweave_node_memory_coherence_seconds": "coherence time T2 of a node's memories",
    "keyweave_node_swap_success_ratio": "share of entanglement swaps that succeeded",
}


def code(metric: str, label: str, words: Sequence[Word], by: str, chosen: str) -> str:
    """One number for each `by`: the place in `words` of the one that is 1."""
    branches = [f'{metric}{{{chosen},{label}="{one.word}"}} * {index}' for index, one in enumerate(words)]
    return f"max by ({by}) (\n  " + "\n  or ".join(branches) + "\n)"


def condition_code(chosen: str = LINK) -> str:
    """The condition of links as a number, its place in `look.CONDITIONS`."""
    return code("keyweave_link_condition", "condition", CONDITIONS, "link", chosen)


def protection_code(chosen: str = STREAM) -> str:
    """What protects the keys of streams now, its place in `look.PROTECTIONS`."""
    return code("keyweave_stream_protection", "protection", PROTECTIONS, "stream", chosen)


def diagnosis_code(chosen: str = LINK) -> str:
    """What the measurements of links read as, its place in `look.DIAGNOSES`."""
    return code("keyweave_link_diagnosis", "diagnosis", DIAGNOSES, "link", chosen)


def new_events(chosen: str) -> str:
    """Kinds of event that were counted within the last minute."""
    return f"increase(keyweave_events_total{{{chosen}}}[1m]) > 0"
