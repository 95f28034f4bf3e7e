"""Entangled pairs as tables for people: streams, links, memories."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from keyweave.cli import tables
from keyweave.cli.fields import enum_word
from keyweave.v1 import admin_pb2

_STATE_STYLES = {
    admin_pb2.PAIR_STREAM_STATE_MET: "green",
    admin_pb2.PAIR_STREAM_STATE_PARTLY_MET: "yellow",
    admin_pb2.PAIR_STREAM_STATE_UNMET: "bold red",
    admin_pb2.PAIR_STREAM_STATE_ENDED: "dim",
}


def streams_table(streams: Iterable[admin_pb2.PairStreamStatus], width: int) -> Table:
    """Pair streams: state, and for rate and fidelity what is asked, predicted, measured."""
    wide = width >= tables.WIDE
    table = tables.new_table("Pair streams", "pair stream", *(["path"] if wide else []), "state")
    for heading in ("pairs/s", "asked", "fidelity", "floor", *(["predicted", "delivered"] if wide else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in streams:
        spec, row = one.pair_stream, [one.pair_stream.name]
        if wide:
            first = " → ".join(one.paths[0].nodes) if one.paths else "-"
            row.append(first + (f" (+{len(one.paths) - 1})" if len(one.paths) > 1 else ""))
        word = enum_word(admin_pb2.PairStreamState.DESCRIPTOR, one.state)
        measured = f"{one.measured_fidelity:.3f}" if one.measured_fidelity else "-"
        predicted = f"{one.predicted_rate_hz:.3g}, {one.predicted_fidelity:.3f}" if one.paths else "-"
        table.add_row(
            *row,
            Text(word.replace("-", " "), style=_STATE_STYLES.get(one.state, "")),
            f"{one.delivered_rate_hz:.3g}",
            f"{spec.rate_hz:g}",
            measured,
            f"{spec.min_fidelity:g}",
            *([predicted, str(one.delivered_total)] if wide else []),
        )
    return table


def links_table(links: Iterable[admin_pb2.PairLinkState]) -> Table:
    """Links that make pairs: condition, rate, fidelity with its interval."""
    table = tables.new_table("Pair links", "pair link", "condition")
    for heading in ("success", "pairs/s", "fidelity", "95 %", "tests", "streams"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in links:
        is_known = bool(one.fidelity)
        half = (one.fidelity_high - one.fidelity_low) / 2
        table.add_row(
            one.name,
            tables.condition(one.condition),
            f"{one.success_ratio:.2g}" if one.success_ratio else "-",
            f"{one.pair_rate_hz:.3g}" if one.pair_rate_hz else "-",
            f"{one.fidelity:.3f}" if is_known else "-",
            f"±{half:.3f}" if is_known else "-",
            str(one.tests_total),
            str(len(one.streams)),
        )
    return table


def memories_table(memories: Iterable[admin_pb2.MemoriesState]) -> Table:
    """Quantum memories, by node."""
    table = tables.new_table("Memories", "node")
    for heading in ("working", "planned", "holding", "attempting", "T1", "T2", "swaps"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in memories:
        table.add_row(
            one.node,
            f"{one.working} of {one.memories}",
            str(one.planned),
            str(one.holding),
            str(one.attempting),
            f"{one.t1_seconds:.3g} s" if one.t1_seconds else "-",
            f"{one.t2_seconds:.3g} s" if one.t2_seconds else "-",
            tables.percent(one.swap_success_ratio),
        )
    return table
