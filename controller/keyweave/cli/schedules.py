"""`keyweave schedule create|list|get|update|delete`: how often streams make fresh keys."""

from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from keyweave.cli import tables
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network, connected
from keyweave.cli.durations import in_words, span
from keyweave.cli.objects import Etag, Name, RequestId
from keyweave.cli.output import Output, OutputOption, as_json, show, show_json, show_message
from keyweave.v1 import admin_pb2, types_pb2

app = typer.Typer(
    no_args_is_help=True, help="How often streams make fresh keys, by tenant and application class."
)
Tenant = Annotated[str | None, typer.Option(help="Streams of this tenant; any if not given.")]
ApplicationClass = Annotated[
    str | None, typer.Option(help="Streams of this application class; any if not given.")
]
Refresh = Annotated[
    str | None,
    typer.Option(help="A fresh ML-KEM encapsulation at the latest after this, like 30s; at most 60s."),
]
KeyTtl = Annotated[
    str | None, typer.Option(help="Undelivered keys older than this are destroyed, like 90s, 5m, 1h or 2d.")
]
At = Annotated[
    list[str] | None,
    typer.Option(help="Only at this time of day, UTC, like 22:00-06:00 (repeatable); always if not given."),
]


async def create(
    network: Network,
    name: Name,
    tenant: Tenant = None,
    application_class: ApplicationClass = None,
    refresh: Refresh = None,
    key_ttl: KeyTtl = None,
    at: At = None,
    request_id: RequestId = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a schedule. It decides for streams that do not say themselves; the most specific one wins."""
    given = _given(tenant, application_class, refresh, key_ttl, at)
    spec = types_pb2.Schedule(name=name, **given)
    request = admin_pb2.CreateScheduleRequest(schedule=spec, request_id=request_id)
    async with network.admin() as admin:
        answer = await admin.CreateSchedule(request, timeout=CALL_TIMEOUT_SECONDS)
    show_message(answer.schedule, output)


async def update(
    network: Network,
    name: Name,
    tenant: Tenant = None,
    application_class: ApplicationClass = None,
    refresh: Refresh = None,
    key_ttl: KeyTtl = None,
    at: At = None,
    always: Annotated[bool, typer.Option("--always", help="At all times of day.")] = False,
    etag: Etag = "",
    request_id: RequestId = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Change what is given of a schedule."""
    given = _given(tenant, application_class, refresh, key_ttl, [] if always else at)
    spec = types_pb2.Schedule(name=name, etag=etag, **given)
    request = admin_pb2.UpdateScheduleRequest(
        schedule=spec, update_mask=FieldMask(paths=list(given)), request_id=request_id
    )
    async with network.admin() as admin:
        answer = await admin.UpdateSchedule(request, timeout=CALL_TIMEOUT_SECONDS)
    show_message(answer.schedule, output)


async def list_(network: Network, output: OutputOption = Output.TABLE) -> None:
    """All schedules, and how many streams go by each now."""
    found: list[admin_pb2.ScheduleStatus] = []
    token = ""
    async with network.admin() as admin:
        while True:
            request = admin_pb2.ListSchedulesRequest(page_token=token)
            page = await admin.ListSchedules(request, timeout=CALL_TIMEOUT_SECONDS)
            found += page.schedules
            token = page.next_page_token
            if not token:
                break
    if output is Output.JSON:
        show_json({"schedules": [as_json(status) for status in found]})
        return
    table = tables.new_table(
        "Schedules", "schedule", "tenant", "class", "refresh", "key life", "times, UTC", "now", "streams"
    )
    for status in found:
        spec = status.schedule
        table.add_row(
            spec.name,
            spec.tenant or "any",
            spec.application_class or "any",
            in_words(spec.refresh_seconds) if spec.refresh_seconds else "-",
            in_words(spec.key_ttl_seconds) if spec.key_ttl_seconds else "-",
            ", ".join(spec.times) or "always",
            "in force" if status.in_force else "-",
            str(status.streams),
        )
    show(table)


async def get(network: Network, name: Name, output: OutputOption = Output.TABLE) -> None:
    """One schedule in full."""
    async with network.admin() as admin:
        answer = await admin.GetSchedule(
            admin_pb2.GetScheduleRequest(name=name), timeout=CALL_TIMEOUT_SECONDS
        )
    show_message(answer.schedule, output)


async def delete(network: Network, name: Name, etag: Etag = "", request_id: RequestId = "") -> None:
    """Delete a schedule; its streams go by less specific ones."""
    request = admin_pb2.DeleteScheduleRequest(name=name, etag=etag, request_id=request_id)
    async with network.admin() as admin:
        await admin.DeleteSchedule(request, timeout=CALL_TIMEOUT_SECONDS)


for _verb, _command in (
    ("create", create),
    ("list", list_),
    ("get", get),
    ("update", update),
    ("delete", delete),
):
    app.command(_verb)(connected(_command))


def _given(
    tenant: str | None,
    application_class: str | None,
    refresh: str | None,
    key_ttl: str | None,
    at: list[str] | None,
) -> dict[str, Any]:
    given = {
        "tenant": tenant,
        "application_class": application_class,
        "refresh_seconds": None if refresh is None else span("--refresh", refresh),
        "key_ttl_seconds": None if key_ttl is None else span("--key-ttl", key_ttl),
        "times": at,
    }
    return {field: value for field, value in given.items() if value is not None}
