"""What failures and new links would do, as text and tables."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from keyweave.cli import supposed
from keyweave.cli.fields import enum_word
from keyweave.cli.tables import new_table, rate
from keyweave.v1 import admin_pb2

_STREAMS_NAMED = 3
_STYLES: Mapping[int, str] = {
    admin_pb2.STREAM_EFFECT_ENDS: "bold red",
    admin_pb2.STREAM_EFFECT_FAILS_CLOSED: "bold red",
    admin_pb2.STREAM_EFFECT_PQC_ONLY: "yellow",
    admin_pb2.STREAM_EFFECT_BELOW_MINIMUM: "yellow",
    admin_pb2.STREAM_EFFECT_FEWER_PATHS: "yellow",
    admin_pb2.STREAM_EFFECT_FASTER: "green",
    admin_pb2.STREAM_EFFECT_RECOVERS: "green",
}
# What is said of one stream, and of several together.
_WORDS: Mapping[int, str] = {
    admin_pb2.STREAM_EFFECT_ENDS: "end is down",
    admin_pb2.STREAM_EFFECT_FAILS_CLOSED: "fails closed",
    admin_pb2.STREAM_EFFECT_PQC_ONLY: "ML-KEM alone",
}
_HARM = (
    ("no keys", (admin_pb2.STREAM_EFFECT_ENDS, admin_pb2.STREAM_EFFECT_FAILS_CLOSED)),
    ("ML-KEM alone", (admin_pb2.STREAM_EFFECT_PQC_ONLY,)),
    ("below min", (admin_pb2.STREAM_EFFECT_BELOW_MINIMUM,)),
    ("fewer paths", (admin_pb2.STREAM_EFFECT_FEWER_PATHS,)),
    ("slower", (admin_pb2.STREAM_EFFECT_SLOWER,)),
)


def failure(outcome: admin_pb2.WhatIfOutcome) -> str:
    """What is supposed to happen."""
    changes = ", ".join(map(supposed.words, outcome.changes))
    return f"{outcome.label} ({changes})" if outcome.label else changes


def outcome_lines(outcome: admin_pb2.WhatIfOutcome) -> list[Text]:
    """What becomes of each stream: the effect, rates, what happens at once, and why."""
    lines = [Text(f"{failure(outcome)}: {_summary(outcome)}", style="bold")]
    for one in outcome.streams:
        line = Text(f"  {one.stream}: ").append(_effect(one.effect), style=_STYLES.get(one.effect, ""))
        line.append(f", {rate(one.before_bps)} → {rate(one.after_bps)}")
        if one.before_k != one.after_k:
            line.append(f", k {one.before_k} → {one.after_k}")
        if one.at_once:
            line.append(f"; at once: {one.at_once}")
        lines += [line, Text(f"    then: {one.reason}", style="dim")]
    return lines


def sweep_table(outcomes: Sequence[admin_pb2.WhatIfOutcome]) -> Table:
    """Failures, the most harmful first: how many streams lose what, and which lose most."""
    shown = [
        (word, effects)
        for word, effects in _HARM
        if any(stream.effect in effects for one in outcomes for stream in one.streams)
    ]
    table = new_table("Failures by harm")
    table.add_column("failure", overflow="fold")
    for word, _ in shown:
        table.add_column(word, justify="right")
    table.add_column("lost", justify="right", no_wrap=True)
    table.add_column("worst hit", overflow="fold")
    for one in outcomes:
        count = Counter(stream.effect for stream in one.streams)
        counts = [str(sum(count[effect] for effect in effects) or "") for _, effects in shown]
        hit = [stream.stream for stream in one.streams if stream.after_bps < stream.before_bps]
        named = ", ".join(hit[:_STREAMS_NAMED])
        more = f" +{len(hit) - _STREAMS_NAMED}" if len(hit) > _STREAMS_NAMED else ""
        table.add_row(one.label or failure(one), *counts, rate(one.lost_bps), named + more)
    return table


def capacity_table(answer: admin_pb2.AnalysePlanResponse) -> Table:
    """What links that could be built or widened would give, the most helpful first, and what there is now."""
    located = any(gain.link.length_km for gain in answer.gains)
    table = new_table("Where the next fibre helps most")
    table.add_column("build", overflow="fold", min_width=18)
    for heading in ("rate", *(["km"] if located else []), "worst", "all", "no path", "unprotected"):
        table.add_column(heading, justify="right", no_wrap=True)
    skip = [""] * located
    table.add_row("nothing", "", *skip, *_score(answer.present), style="dim")
    for gain in answer.gains:
        link = gain.link
        what = f"widen {gain.existing_link}" if gain.existing_link else f"{link.a_node} - {link.b_node}"
        length = [f"{link.length_km:.3g}" if link.length_km else "-"] if located else []
        table.add_row(what, rate(link.rate_bps), *length, *_score(gain.score))
    return table


def coverage(answer: admin_pb2.AnalysePlanResponse, what: str) -> str:
    """How much of what there is to look at was looked at."""
    if answer.planned == answer.considered:
        return f"{answer.considered} {what}, each planned in full"
    return (
        f"{answer.planned} of {answer.considered} {what} planned in full, the most likely first; more time "
        "(--timeout) or a higher --planned looks at more"
    )


def _score(score: admin_pb2.NetworkScore) -> list[str]:
    counts = [str(score.without_path), str(score.unprotected)]
    # Where every stream has all it may use, none is the worst.
    worst = rate(score.worst_bps) if score.worst_stream else "-"
    return [worst, rate(score.total_bps), *counts]


def _summary(outcome: admin_pb2.WhatIfOutcome) -> str:
    count = Counter(one.effect for one in outcome.streams)
    parts = [f"{count[effect]} {_effect(effect)}" for effect in sorted(count)]
    if not parts:
        return "no stream notices"
    lost = f"; {rate(outcome.lost_bps)} lost" if outcome.lost_bps else ""
    return ", ".join(parts) + lost


def _effect(effect: int) -> str:
    return _WORDS.get(effect) or enum_word(admin_pb2.StreamEffect.DESCRIPTOR, effect).replace("-", " ")
