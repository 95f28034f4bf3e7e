"""`keyweave stream explain`, `plan show`, `event watch|list`, `fault ...`."""

from typing import Annotated

import typer

from keyweave.cli import tables
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network
from keyweave.cli.fields import enum_word
from keyweave.cli.output import Output, OutputOption, as_json, show, show_json
from keyweave.v1 import admin_pb2, emulator_pb2

MAX_PAST_EVENTS = 1000
Link = Annotated[str, typer.Argument(help="The link.")]


async def explain(
    network: Network,
    name: Annotated[str, typer.Argument(help="The stream.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Why a stream is routed as it is, and who can see its keys."""
    async with network.admin() as admin:
        answer = await admin.ExplainStream(
            admin_pb2.ExplainStreamRequest(name=name), timeout=CALL_TIMEOUT_SECONDS
        )
    if output is Output.JSON:
        show_json(as_json(answer))
    else:
        for line in answer.lines:
            typer.echo(line)


async def plan_show(network: Network, output: OutputOption = Output.TABLE) -> None:
    """The plan in force: every stream's paths, and why."""
    async with network.admin() as admin:
        answer = await admin.GetPlan(admin_pb2.GetPlanRequest(), timeout=CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer.plan))
    else:
        show(tables.plan_table(answer.plan))


async def event_list(
    network: Network,
    count: Annotated[int, typer.Option(help="How many.", min=1, max=MAX_PAST_EVENTS)] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """Past events, newest last."""
    request = admin_pb2.WatchEventsRequest(past=count, past_only=True)
    async with network.admin() as admin:
        found = [answer.event async for answer in admin.WatchEvents(request, timeout=CALL_TIMEOUT_SECONDS)]
    if output is Output.JSON:
        show_json({"events": [as_json(event) for event in found]})
    else:
        for event in found:
            _show_event(event)


async def event_watch(
    network: Network,
    past: Annotated[int, typer.Option(help="Past ones to show first.", min=0, max=MAX_PAST_EVENTS)] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Events as they happen, until Ctrl-C. With -o json, one object per line."""
    async with network.admin() as admin:
        async for answer in admin.WatchEvents(admin_pb2.WatchEventsRequest(past=past)):
            if output is Output.JSON:
                show_json(as_json(answer.event), indent=None)
            else:
                _show_event(answer.event)


def _show_event(event: admin_pb2.Event) -> None:
    # Whole, however narrow the terminal: this is what people copy from.
    typer.echo(f"{tables.clock(event.time_unix_nanos)}  {tables.event_text(event).plain}")


async def fault_cut(network: Network, link: Link, output: OutputOption = Output.TABLE) -> None:
    """Cut the fibre: no signal, no keys."""
    await _inject(network, emulator_pb2.Fault(link=link, kind=emulator_pb2.FAULT_KIND_CUT), output)


async def fault_eavesdrop(
    network: Network,
    link: Link,
    fraction: Annotated[
        float, typer.Option(help="Share of the pulses that is intercepted.", min=0, max=1)
    ] = 1.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Listen in by intercept-resend; of all pulses, this raises QBER to about 25 %."""
    kind = emulator_pb2.FAULT_KIND_EAVESDROP
    await _inject(network, emulator_pb2.Fault(link=link, kind=kind, magnitude=fraction), output)


async def fault_attenuate(
    network: Network,
    link: Link,
    db: Annotated[float, typer.Option("--db", help="Additional loss.", min=0, max=60)] = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bend the fibre: additional loss."""
    kind = emulator_pb2.FAULT_KIND_ATTENUATE
    await _inject(network, emulator_pb2.Fault(link=link, kind=kind, magnitude=db), output)


async def fault_detector(
    network: Network,
    link: Link,
    factor: Annotated[float, typer.Option(help="Dark counts rise by this.", min=1, max=10_000)] = 100.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let the receiver's detector warm up."""
    kind = emulator_pb2.FAULT_KIND_DETECTOR
    await _inject(network, emulator_pb2.Fault(link=link, kind=kind, magnitude=factor), output)


async def fault_restore(network: Network, link: Link, output: OutputOption = Output.TABLE) -> None:
    """End all faults of a link."""
    async with network.emulator() as emulator:
        answer = await emulator.RestoreLink(
            emulator_pb2.RestoreLinkRequest(link=link), timeout=CALL_TIMEOUT_SECONDS
        )
    if output is Output.JSON:
        show_json(as_json(answer))
    else:
        ended = ", ".join(_describe(fault) for fault in answer.ended) or "it had no fault"
        typer.echo(f"{tables.clock(answer.time_unix_nanos)}  {link} restored: {ended}")


async def fault_list(network: Network, output: OutputOption = Output.TABLE) -> None:
    """Faults in force."""
    async with network.emulator() as emulator:
        answer = await emulator.ListFaults(emulator_pb2.ListFaultsRequest(), timeout=CALL_TIMEOUT_SECONDS)
    if output is Output.JSON:
        show_json(as_json(answer))
    else:
        show(tables.faults_table(answer.faults))


async def _inject(network: Network, fault: emulator_pb2.Fault, output: Output) -> None:
    async with network.emulator() as emulator:
        answer = await emulator.InjectFault(
            emulator_pb2.InjectFaultRequest(fault=fault), timeout=CALL_TIMEOUT_SECONDS
        )
    if output is Output.JSON:
        show_json(as_json(answer.fault))
    else:
        typer.echo(f"{tables.clock(answer.fault.since_unix_nanos)}  {fault.link}: {_describe(answer.fault)}")


def _describe(fault: emulator_pb2.Fault) -> str:
    word = enum_word(emulator_pb2.FaultKind.DESCRIPTOR, fault.kind)
    return word if fault.kind == emulator_pb2.FAULT_KIND_CUT else f"{word} {fault.magnitude:g}"
