"""`keyweave plan show|list|diff|rollback|unpin`: plans that are and were in force, and going back to one."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from keyweave.cli import tables
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network
from keyweave.cli.maintenance import PREVIEW_TIMEOUT_SECONDS, moment
from keyweave.cli.objects import RequestId
from keyweave.cli.output import Output, OutputOption, as_json, show, show_json
from keyweave.v1 import admin_pb2

_Version = Annotated[int, typer.Argument(help="Version of a kept plan; see `keyweave plan list`.", min=1)]


async def show_plan(
    network: Network,
    version: Annotated[
        int, typer.Argument(help="Version of an earlier plan; the one in force if not given.", min=0)
    ] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """The plan in force, or an earlier one: every stream's paths, and why."""
    request = admin_pb2.GetPlanRequest(version=version)
    async with network.admin() as admin:
        answer = await admin.GetPlan(request, timeout=CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        pinned = {"pin": as_json(answer.pin)} if answer.HasField("pin") else {}
        show_json(as_json(answer.plan) | pinned)
        return
    show(tables.plan_table(answer.plan))
    if answer.HasField("pin"):
        typer.echo(_pinned(answer.pin))


async def list_plans(network: Network, output: OutputOption = Output.TABLE) -> None:
    """Plans that were in force for a while, oldest first."""
    found: list[admin_pb2.PlanRecord] = []
    token = ""
    async with network.admin() as admin:
        while True:
            request = admin_pb2.ListPlansRequest(page_token=token)
            page = await admin.ListPlans(request, timeout=CALL_TIMEOUT_SECONDS)
            found += page.plans
            token = page.next_page_token
            if not token:
                break
    if output is Output.JSON:
        show_json({"plans": [as_json(record) for record in found]})
        return
    table = tables.new_table("Plans", "version", "since", "streams", "moved", "which", "")
    for record in found:
        more = ", ..." if record.moved_count > len(record.moved) else ""
        table.add_row(
            str(record.version),
            moment(record.time_unix_nanos),
            str(record.streams),
            str(record.moved_count),
            ", ".join(record.moved) + more,
            "in force" if record.in_force else "",
        )
    show(table)


async def diff(
    network: Network,
    before: _Version,
    after: Annotated[int, typer.Argument(help="The later one; the plan in force if not given.", min=0)] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """What one plan gives streams otherwise than another: paths, and rates that differ by a twentieth."""
    async with network.admin() as admin:
        plans = [
            (await admin.GetPlan(admin_pb2.GetPlanRequest(version=v), timeout=CALL_TIMEOUT_SECONDS)).plan
            for v in (before, after)
        ]
    found = list(differences(plans[0], plans[1]))
    if output is Output.JSON:
        show_json({"before": plans[0].version, "after": plans[1].version, "streams": found})
        return
    if not found:
        typer.echo(f"plans {plans[0].version} and {plans[1].version} give every stream the same")
        return
    table = tables.new_table(f"Plan {plans[0].version} to {plans[1].version}", "stream", "before", "after")
    for one in found:
        table.add_row(one["stream"], one["before"] or "not planned", one["after"] or "not planned")
    show(table)


async def rollback(
    network: Network,
    version: _Version,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Only check it; show the plan that would result.")
    ] = False,
    request_id: RequestId = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Have streams use their paths of an earlier plan again, until `plan unpin` or as long as is feasible."""
    request = admin_pb2.RollbackPlanRequest(
        version=version, validate_only=validate_only, request_id=request_id
    )
    async with network.admin() as admin:
        answer = await admin.RollbackPlan(request, timeout=PREVIEW_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))
        return
    if validate_only:
        show(tables.plan_table(answer.plan, supposed=True))
        typer.echo(f"would be pinned to plan {answer.pin.version}: {', '.join(answer.pin.streams)}")
    else:
        typer.echo(_pinned(answer.pin))
    for one in answer.skipped:
        typer.echo(f"not pinned: stream '{one.stream}': {one.loss}", err=True)


async def unpin(network: Network, request_id: RequestId = "", output: OutputOption = Output.TABLE) -> None:
    """Plan freely again."""
    request = admin_pb2.UnpinPlanRequest(request_id=request_id)
    async with network.admin() as admin:
        answer = await admin.UnpinPlan(request, timeout=CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))
    elif answer.pin.version:
        typer.echo(f"no longer pinned to plan {answer.pin.version}: {', '.join(answer.pin.streams)}")
    else:
        typer.echo("nothing was pinned")


def differences(before: admin_pb2.Plan, after: admin_pb2.Plan) -> Iterator[dict[str, Any]]:
    """Streams that the plans do not give the same, each with both in words."""
    old = {plan.stream: plan for plan in before.streams}
    new = {plan.stream: plan for plan in after.streams}
    for stream in sorted({*old, *new}):
        one, other = old.get(stream), new.get(stream)
        if one is None or other is None or _ways(one) != _ways(other) or _rates_differ(one, other):
            yield {"stream": stream, "before": _in_words(one), "after": _in_words(other)}


COMMANDS: Mapping[str, Callable[..., Awaitable[None]]] = {
    "show": show_plan,
    "list": list_plans,
    "diff": diff,
    "rollback": rollback,
    "unpin": unpin,
}


def _ways(plan: admin_pb2.StreamPlan) -> list[str]:
    sets = (path_set for path_set in plan.path_sets if path_set.rank == 0)
    return sorted(" with ".join(tables.route(path) for path in path_set.paths) for path_set in sets)


def _rates_differ(one: admin_pb2.StreamPlan, other: admin_pb2.StreamPlan) -> bool:
    return abs(one.rate_bps - other.rate_bps) > 0.05 * max(one.rate_bps, other.rate_bps)


def _in_words(plan: admin_pb2.StreamPlan | None) -> str:
    if plan is None:
        return ""
    return f"{tables.rate(plan.rate_bps)}  {'; '.join(_ways(plan)) or 'no quantum path'}"


def _pinned(pin: admin_pb2.PlanPin) -> str:
    return (
        f"pinned to plan {pin.version} by {pin.pinned_by} at {moment(pin.time_unix_nanos)}: "
        f"{', '.join(pin.streams)}"
    )
