"""`keyweave maintenance create|list|show|update|end|delete`: when links and nodes are out of use."""

import datetime as dt
import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from keyweave.cli import tables
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network, connected
from keyweave.cli.durations import in_words, span
from keyweave.cli.fields import enum_word
from keyweave.cli.ledger import unix_nanos
from keyweave.cli.objects import Etag, Name, RequestId
from keyweave.cli.output import Output, OutputOption, as_json, console, show, show_json, show_message
from keyweave.common.errors import InvalidInputError
from keyweave.v1 import admin_pb2, types_pb2

_WHEN = "a time like 2026-11-21T10:00:00Z (local without a zone), ahead like +2h, or now"
# Of planning with and without what a window takes, for every window that overlaps it.
PREVIEW_TIMEOUT_SECONDS = 60.0
app = typer.Typer(
    no_args_is_help=True,
    help="Windows in which links and nodes are out of use: streams leave before them and come back after.",
)
Links = Annotated[list[str] | None, typer.Option("--link", help="A link that is out of use (repeatable).")]
Nodes = Annotated[list[str] | None, typer.Option("--node", help="A node that relays nothing (repeatable).")]
Force = Annotated[bool, typer.Option("--force", help="Even if streams lose what they require.")]
Lead = Annotated[
    str | None,
    typer.Option(help="Streams leave so long before it begins, like 90s, 5m or 1h; 5m if not given."),
]
Start = Annotated[str | None, typer.Option(help=f"When it begins: {_WHEN}.")]
End = Annotated[str | None, typer.Option(help=f"When it is over: {_WHEN}.")]
For = Annotated[
    str | None, typer.Option("--for", help="Instead of --end: how long it lasts, like 45m or 2h.")
]
Reason = Annotated[str | None, typer.Option(help="Why, for people.")]
Preview = Annotated[
    bool,
    typer.Option(
        "--validate-only",
        help="Only check it; show what streams would lose and the plan that would result.",
    ),
]


async def create(
    network: Network,
    name: Name,
    link: Links = None,
    node: Nodes = None,
    start: Start = "now",
    end: End = None,
    lasts: For = None,
    lead: Lead = None,
    reason: Reason = None,
    force: Force = False,
    request_id: RequestId = "",
    validate_only: Preview = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Plan a window. Refused if a stream would lose what it requires; --force plans it all the same."""
    if end is None and lasts is None:
        raise InvalidInputError.of("--end", "is missing: say when it is over, or --for how long it lasts")
    spec, _ = _window(name, link, node, start, end, lasts, lead, reason)
    request = admin_pb2.CreateMaintenanceRequest(
        maintenance=spec, validate_only=validate_only, force=force, request_id=request_id
    )
    async with network.admin() as admin:
        answer = await admin.CreateMaintenance(request, timeout=PREVIEW_TIMEOUT_SECONDS)
    _show_change(answer, output, validate_only=validate_only)


async def update(
    network: Network,
    name: Name,
    link: Links = None,
    node: Nodes = None,
    start: Start = None,
    end: End = None,
    lasts: For = None,
    lead: Lead = None,
    reason: Reason = None,
    force: Force = False,
    etag: Etag = "",
    request_id: RequestId = "",
    validate_only: Preview = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Change what is given of a window. Refused like create."""
    async with network.admin() as admin:
        if lasts is not None and start is None:
            present = await admin.GetMaintenance(
                admin_pb2.GetMaintenanceRequest(name=name), timeout=CALL_TIMEOUT_SECONDS
            )
            start = _iso(present.maintenance.maintenance.start_unix_nanos)
        spec, mask = _window(name, link, node, start, end, lasts, lead, reason)
        spec.etag = etag
        request = admin_pb2.UpdateMaintenanceRequest(
            maintenance=spec,
            update_mask=FieldMask(paths=mask),
            validate_only=validate_only,
            force=force,
            request_id=request_id,
        )
        answer = await admin.UpdateMaintenance(request, timeout=PREVIEW_TIMEOUT_SECONDS)
    _show_change(answer, output, validate_only=validate_only)


async def list_(network: Network, output: OutputOption = Output.TABLE) -> None:
    """All windows: planned, under way and over."""
    found: list[admin_pb2.MaintenanceStatus] = []
    token = ""
    async with network.admin() as admin:
        while True:
            request = admin_pb2.ListMaintenancesRequest(page_token=token)
            page = await admin.ListMaintenances(request, timeout=CALL_TIMEOUT_SECONDS)
            found += page.maintenances
            token = page.next_page_token
            if not token:
                break
    if output is Output.JSON:
        show_json({"maintenances": [as_json(status) for status in found]})
        return
    wide = ["lead", "reason"] if console().width >= tables.WIDE else []
    # Of the year's other half an hour may be between; which zone it is says the first.
    known = f", {zone(min(one.maintenance.start_unix_nanos for one in found))}" if found else ""
    table = tables.new_table(f"Maintenance{known}", "window", "phase", "start", "end", "out of use", *wide)
    for status in sorted(found, key=lambda one: one.maintenance.start_unix_nanos):
        spec = status.maintenance
        lead = in_words(spec.lead_seconds if spec.HasField("lead_seconds") else 300)
        row = [
            spec.name,
            _phase(status),
            moment(spec.start_unix_nanos)[:16],
            moment(spec.end_unix_nanos)[:16],
        ]
        row.append(", ".join([*spec.links, *(f"node {node}" for node in spec.nodes)]))
        table.add_row(*row, *([lead, spec.reason] if wide else []))
    show(table)


async def show_one(network: Network, name: Name, output: OutputOption = Output.TABLE) -> None:
    """One window in full, and the streams that still run over what it takes out of use."""
    async with network.admin() as admin:
        answer = await admin.GetMaintenance(
            admin_pb2.GetMaintenanceRequest(name=name), timeout=CALL_TIMEOUT_SECONDS
        )
    if output is Output.JSON:
        show_json(as_json(answer.maintenance))
        return
    spec = answer.maintenance.maintenance
    told = types_pb2.Maintenance()
    told.CopyFrom(spec)
    for moment_in_nanos in ("start_unix_nanos", "end_unix_nanos"):
        told.ClearField(moment_in_nanos)
    show_message(told, output)
    typer.echo(f"phase: {_phase(answer.maintenance)}")
    typer.echo(f"start: {moment(spec.start_unix_nanos)} {zone(spec.start_unix_nanos)}")
    typer.echo(f"end: {moment(spec.end_unix_nanos)} {zone(spec.end_unix_nanos)}")
    typer.echo(f"streams over it now: {', '.join(answer.maintenance.streams) or 'none'}")


async def end_(
    network: Network,
    name: Name,
    etag: Etag = "",
    request_id: RequestId = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """End a window that is under way, now."""
    request = admin_pb2.EndMaintenanceRequest(name=name, etag=etag, request_id=request_id)
    async with network.admin() as admin:
        answer = await admin.EndMaintenance(request, timeout=CALL_TIMEOUT_SECONDS)
    _show_change(answer, output)


async def delete(
    network: Network,
    name: Name,
    etag: Etag = "",
    request_id: RequestId = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Forget a window; one that is under way ends."""
    request = admin_pb2.DeleteMaintenanceRequest(name=name, etag=etag, request_id=request_id)
    async with network.admin() as admin:
        answer = await admin.DeleteMaintenance(request, timeout=CALL_TIMEOUT_SECONDS)
    _show_change(answer, output)


for _verb, _command in (
    ("create", create),
    ("list", list_),
    ("show", show_one),
    ("update", update),
    ("end", end_),
    ("delete", delete),
):
    app.command(_verb)(connected(_command))


def moment(nanos: int) -> str:
    """A date and time, local."""
    return dt.datetime.fromtimestamp(nanos / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def zone(nanos: int) -> str:
    """The zone of `moment`, as it is then: by its name, and against UTC."""
    then = dt.datetime.fromtimestamp(nanos / 1e9).astimezone()
    name, offset = then.tzname() or "", then.strftime("%z")
    return name if name in ("UTC", offset) else f"{name} ({offset[:3]}:{offset[3:]})"


def _iso(nanos: int) -> str:
    return dt.datetime.fromtimestamp(nanos / 1e9, dt.UTC).isoformat()


def _phase(status: admin_pb2.MaintenanceStatus) -> str:
    return enum_word(admin_pb2.MaintenancePhase.DESCRIPTOR, status.phase)


def _window(
    name: str,
    link: list[str] | None,
    node: list[str] | None,
    start: str | None,
    end: str | None,
    lasts: str | None,
    lead: str | None,
    reason: str | None,
) -> tuple[types_pb2.Maintenance, list[str]]:
    """The window of these options, and which fields they are about."""
    if end is not None and lasts is not None:
        raise InvalidInputError.of("--for", "contradicts --end; choose one")
    now = time.time_ns()
    given: dict[str, Any] = {"links": link, "nodes": node, "reason": reason}
    if start is not None:
        given["start_unix_nanos"] = unix_nanos("--start", start, now)
    if end is not None:
        given["end_unix_nanos"] = unix_nanos("--end", end, now)
    if lasts is not None:
        given["end_unix_nanos"] = given["start_unix_nanos"] + span("--for", lasts) * 10**9
    if lead is not None:
        given["lead_seconds"] = span("--lead", lead)
    chosen = {field: value for field, value in given.items() if value is not None}
    return types_pb2.Maintenance(name=name, **chosen), list(chosen)


def _show_change(answer: Any, output: Output, *, validate_only: bool = False) -> None:
    if output is Output.JSON:
        show_json(as_json(answer))
        return
    if validate_only:
        show(tables.plan_table(answer.plan, supposed=True))
    elif "maintenance" in answer.DESCRIPTOR.fields_by_name:
        spec = answer.maintenance
        span = f"{moment(spec.start_unix_nanos)} to {moment(spec.end_unix_nanos)}"
        typer.echo(f"maintenance {spec.name}: {span}")
    if "losses" in answer.DESCRIPTOR.fields_by_name:
        for line in _lost(answer.losses):
            typer.echo(line, err=True)


def _lost(losses: Iterable[admin_pb2.StreamLoss]) -> Iterable[str]:
    for loss in losses:
        yield f"{'loses what it requires' if loss.required else 'note'}: stream '{loss.stream}': {loss.loss}"
