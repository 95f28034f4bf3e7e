"""`keyweave stream explain`, `event watch|list`."""

from typing import Annotated

import typer

from keyweave.cli import tables
from keyweave.cli.completion import names
from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network
from keyweave.cli.output import Output, OutputOption, as_json, show_json
from keyweave.v1 import admin_pb2

MAX_PAST_EVENTS = 1000


async def explain(
    network: Network,
    name: Annotated[str, typer.Argument(help="The stream.", autocompletion=names)],
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
    resume: Annotated[str, typer.Option(help="Everything since the event with this resume_token.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Events as they happen, until Ctrl-C. With -o json, one object per line, with its resume_token."""
    request = admin_pb2.WatchEventsRequest(past=past, resume_token=resume)
    async with network.admin() as admin:
        async for answer in admin.WatchEvents(request):
            if output is Output.JSON:
                show_json(as_json(answer.event) | {"resume_token": answer.resume_token}, indent=None)
            else:
                _show_event(answer.event)


def _show_event(event: admin_pb2.Event) -> None:
    # Whole, however narrow the terminal: this is what people copy from.
    typer.echo(f"{tables.clock(event.time_unix_nanos)}  {tables.event_text(event).plain}")
