"""Fragments of PromQL that several panels and rules share, and the metrics that are yet to come."""

from collections.abc import Sequence

from dashboards.look import CONDITIONS, DIAGNOSES, PROTECTIONS, Word

LINK, STREAM, NODE = 'link=~"$link"', 'stream=~"$stream"', 'node=~"$node"'
# How long a rate looks back: Grafana makes it four scrapes at least.
RATE = "$__rate_interval"

# Only networks with quantum memories have these metrics.
OF_PAIRS = frozenset(
    {
        "keyweave_link_pair_attempt_rate_hz",
        "keyweave_link_pair_success_ratio",
        "keyweave_link_pair_rate_hz",
        "keyweave_link_pair_fidelity_ratio",
        "keyweave_pair_stream_planned_rate_hz",
        "keyweave_pair_stream_delivered_rate_hz",
        "keyweave_pair_stream_lost_pairs_total",
        "keyweave_pair_stream_fidelity_ratio",
        "keyweave_pair_stream_planned_fidelity_ratio",
        "keyweave_pair_stream_min_fidelity_ratio",
        "keyweave_node_memories",
        "keyweave_node_planned_memories",
        "keyweave_node_memory_coherence_seconds",
        "keyweave_node_swap_success_ratio",
    }
)


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
