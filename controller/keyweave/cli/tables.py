"""The network as tables for people."""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from keyweave.cli.fields import enum_word
from keyweave.v1 import admin_pb2, emulator_pb2, types_pb2

# Below this many columns, what can be had by `get` and `explain` is left out.
WIDE = 112
_CONDITION_STYLES: Mapping[int, str] = {
    types_pb2.LINK_CONDITION_OK: "green",
    types_pb2.LINK_CONDITION_DEGRADED: "yellow",
    types_pb2.LINK_CONDITION_SUSPECT: "bold magenta",
    types_pb2.LINK_CONDITION_DOWN: "bold red",
    types_pb2.LINK_CONDITION_STALE: "dim",
    types_pb2.LINK_CONDITION_MAINTENANCE: "cyan",
}
_PROTECTION_STYLES: Mapping[int, str] = {
    types_pb2.PROTECTION_QKD: "green",
    types_pb2.PROTECTION_HYBRID: "bold green",
    types_pb2.PROTECTION_PQC: "yellow",
    types_pb2.PROTECTION_NONE: "bold red",
}
_SEVERITY_STYLES: Mapping[int, str] = {
    admin_pb2.EVENT_SEVERITY_MINOR: "yellow",
    admin_pb2.EVENT_SEVERITY_MAJOR: "bold red",
}
_UNKNOWN = "-"


def rate(bps: float) -> str:
    """A rate in three figures: `304 kbit/s`."""
    return f"{_scaled(bps)}bit/s"


def bits(count: float) -> str:
    """An amount in three figures: `1.20 Mbit`."""
    return f"{_scaled(count)}bit"


def percent(ratio: float) -> str:
    """A share: `2.31 %`."""
    return f"{100 * ratio:.2f} %" if math.isfinite(ratio) else _UNKNOWN


def _scaled(value: float) -> str:
    if not math.isfinite(value):
        return f"{_UNKNOWN} "
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{_figures(value / factor)} {prefix}"
    return f"{_figures(value)} "


def _figures(value: float) -> str:
    if value < 0.005 or value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def clock(unix_nanos: int) -> str:
    """A time of day, local."""
    if not unix_nanos:
        return _UNKNOWN
    return dt.datetime.fromtimestamp(unix_nanos / 1e9).astimezone().strftime("%H:%M:%S")


def condition(number: int) -> Text:
    """A link's condition, coloured."""
    return _word(types_pb2.LinkCondition.DESCRIPTOR, number, _CONDITION_STYLES)


def protection(number: int) -> Text:
    """What protects a stream's keys, coloured."""
    return _word(types_pb2.Protection.DESCRIPTOR, number, _PROTECTION_STYLES)


def _word(descriptor: object, number: int, styles: Mapping[int, str]) -> Text:
    return Text(enum_word(descriptor, number) if number else _UNKNOWN, style=styles.get(number, ""))


def route(path: types_pb2.Path) -> str:
    """The nodes of a path in order: `a → b → c`."""
    if not path.hops:
        return _UNKNOWN
    return " → ".join([path.hops[0].from_node, *(hop.to_node for hop in path.hops)])


def routes(stream: admin_pb2.StreamStatus) -> str:
    """The paths a stream uses first, shortened to one and a count."""
    first = [path for group in stream.plan.path_sets if group.rank == 0 for path in group.paths]
    if not first:
        return _UNKNOWN
    return route(first[0]) + (f" (+{len(first) - 1})" if len(first) > 1 else "")


def nodes_table(nodes: Iterable[admin_pb2.NodeStatus], width: int) -> Table:
    """Nodes and their agents."""
    table = new_table("Nodes", "node", "agent", "policy", "trust domain", *(["KME"] if width >= WIDE else []))
    for status in nodes:
        agent = Text("connected", style="green") if status.connected else Text("away", style="bold red")
        if status.node.maintenance:
            agent.append(", drained", style="yellow")
        row: list[str | Text] = [status.node.name, agent, _policy(status)]
        row.append(status.node.trust_domain or _UNKNOWN)
        if width >= WIDE:
            row.append(status.kme_url or _UNKNOWN)
        table.add_row(*row)
    return table


def _policy(status: admin_pb2.NodeStatus) -> Text:
    desired, applied = status.desired_policy, status.applied_policy
    if status.nacked_rules:
        return Text(f"refused {desired.epoch}.{desired.version}", style="bold red")
    if desired.digest and desired.digest == applied.digest:
        if status.withheld_rules:
            count = len(status.withheld_rules)
            return Text(f"applied {applied.epoch}.{applied.version}, {count} withheld", style="yellow")
        return Text(f"applied {applied.epoch}.{applied.version}", style="green")
    return Text("pending" if desired.digest else _UNKNOWN, style="yellow")


def links_table(links: Iterable[admin_pb2.LinkState], width: int) -> Table:
    """Links: condition, QBER, rates, pool, and what is held in quarantine where any of them holds some."""
    links = list(links)
    wide = width >= WIDE
    table = new_table("Links", "link", *(["between"] if wide else []), "condition")
    held = any(state.held_bits for state in links)
    for heading in ("QBER", "key rate", *(["usable", "planned"] if wide else []), "pool", *(["held"] * held)):
        table.add_column(heading, justify="right", no_wrap=True)
    for state in links:
        row = [state.link.name]
        if wide:
            row.append(f"{state.link.a_node} ↔ {state.link.b_node}")
        cells = [percent(state.qber_ratio) if state.qber_ratio else _UNKNOWN, rate(state.skr_bps)]
        cells += [rate(state.usable_rate_bps), rate(state.planned_bps)] if wide else []
        cells += [bits(state.pool_bits), *([bits(state.held_bits)] if held else [])]
        judged = condition(state.condition)
        if state.diagnosis:
            judged.append(f", {state.diagnosis.replace('_', ' ')}")
        if state.HasField("next_contact"):
            judged.append(f", contact {clock(state.next_contact.start_unix_nanos)}", style="cyan")
        if state.vendor_domain:
            judged.append(f", through {state.vendor_domain}", style="default")
        if state.link.disabled:
            judged.append(", disabled", style="yellow")
        table.add_row(*row, judged, *cells)
    return table


def streams_table(streams: Iterable[admin_pb2.StreamStatus], width: int) -> Table:
    """Streams: path, planned and delivered rate, protection, what is ready."""
    table = new_table("Streams", "stream")
    table.add_column("path", no_wrap=True, overflow="ellipsis", ratio=1)
    for heading in (*(["planned"] if width >= WIDE else []), "delivered"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("protection", no_wrap=True)
    table.add_column("ready", justify="right", no_wrap=True)
    table.expand = True
    for status in streams:
        planned = [rate(status.plan.rate_bps)] if width >= WIDE else []
        ready = Text(str(status.buffered_keys), style="" if status.buffered_keys else "bold red")
        delivered = rate(status.delivered_bps)
        table.add_row(
            status.stream.name, routes(status), *planned, delivered, protection(status.protection), ready
        )
    return table


def events_table(events: Iterable[admin_pb2.Event]) -> Table:
    """Events, newest last, one line each."""
    table = Table(title="Events", title_justify="left", box=None, show_header=False, expand=True)
    table.add_column("time", style="dim", no_wrap=True)
    table.add_column("event", no_wrap=True, overflow="ellipsis", ratio=1)
    for event in events:
        table.add_row(clock(event.time_unix_nanos), event_text(event))
    return table


def event_text(event: admin_pb2.Event) -> Text:
    """What happened, to what."""
    text = Text(event.kind, style=_SEVERITY_STYLES.get(event.severity, "bold"))
    subjects = [f" {name}" for name in (event.node, event.link, event.stream) if name]
    return text.append("".join(subjects), style="cyan").append(f"  {event.message}", style="default")


def plan_table(plan: admin_pb2.Plan, *, supposed: bool = False) -> Table:
    """Every path set of every stream, with the reasons; of a plan that is only `supposed`, no version."""
    title = (
        "The plan that would result; nothing has changed"
        if supposed
        else f"Plan {plan.version} of {clock(plan.time_unix_nanos)}"
    )
    table = new_table(title, "stream", "use")
    table.add_column("rate", justify="right", no_wrap=True)
    table.add_column("paths", overflow="fold")
    table.add_column("why", overflow="fold")
    for stream in plan.streams:
        if not stream.path_sets:
            table.add_row(stream.stream, "none", _UNKNOWN, _UNKNOWN, stream.unmet or stream.reason)
        for group in stream.path_sets:
            use = f"backup {group.rank}" if group.rank else "first"
            paths = "\n".join(route(path) for path in group.paths)
            table.add_row(
                stream.stream, use, rate(group.rate_bps) if not group.rank else _UNKNOWN, paths, group.reason
            )
        if stream.unmet and stream.path_sets:
            table.add_row(stream.stream, Text("unmet", style="bold red"), "", "", stream.unmet)
    return table


def order_line(order: admin_pb2.Order) -> Text:
    """An order and who keeps it waiting."""
    kind = enum_word(types_pb2.OrderKind.DESCRIPTOR, order.kind)
    waiting = ", ".join(order.waiting_for_nodes) or "nobody"
    text = Text(f"order {kind} {order.link or order.node}", style="yellow")
    return text.append(
        f"  of {order.ordered_by} at {clock(order.ordered_unix_nanos)}, waits for {waiting}", style="default"
    )


def ledger_line(entry: types_pb2.LedgerEntry) -> str:
    """A line of a ledger: when, where, which key, what became of it, what protected it, for whom."""
    when = dt.datetime.fromtimestamp(entry.time_unix_nanos / 1e9).astimezone()
    said = f"  {entry.reason}" if entry.reason else ""
    domains = [f" and vendor domain {name} (hops unknown)" for name in entry.vendor_domains]
    return (
        f"{when.isoformat(timespec='milliseconds')}  {entry.node}  {entry.key_id}"
        f"  {enum_word(types_pb2.LedgerOutcome.DESCRIPTOR, entry.outcome)}"
        f"  {enum_word(types_pb2.Protection.DESCRIPTOR, entry.protection)}"
        f"  {entry.master_sae} -> {entry.slave_sae}"
        f"  via {','.join(entry.path_ids) or _UNKNOWN}{''.join(domains)}{said}"
    )


def faults_table(faults: Sequence[emulator_pb2.Fault]) -> Table:
    """Faults in force."""
    table = new_table("Faults", "of", "fault", "magnitude", "now", "since", "ends", "by")
    for fault in faults:
        word = enum_word(emulator_pb2.FaultKind.DESCRIPTOR, fault.kind)
        ends = f"after {fault.duration_seconds:g} s" if fault.duration_seconds else "when restored"
        table.add_row(
            fault.link or f"node {fault.node}" + (f" - {fault.peer}" if fault.peer else ""),
            word,
            f"{fault.magnitude:g}",
            f"{fault.present_magnitude:g}",
            clock(fault.since_unix_nanos),
            ends,
            "timeline" if fault.planned else "operator",
        )
    return table


def new_table(title: str, *headings: str) -> Table:
    """A table as all of ours look."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    return table
