"""`keyweave ledger show`: what became of a stream's keys, and what protected them."""

import datetime as dt
import re
import time
from typing import Annotated

import typer

from keyweave.cli import tables
from keyweave.cli.completion import names
from keyweave.cli.connection import Network
from keyweave.cli.exits import ExitCode
from keyweave.cli.output import Output, OutputOption, as_json, show_json
from keyweave.common.errors import InvalidInputError
from keyweave.v1 import admin_pb2

MAX_LINES = 1_000_000
_NANOS = 1_000_000_000
_RELATIVE = re.compile(r"([+-])([0-9]{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
FORMS = (
    "a time like 2026-11-21T10:00:00Z (local without a zone), how long ago like -90s, -15m, -1h, -2d, "
    "ahead like +2h, or now"
)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


async def show(
    network: Network,
    stream: Annotated[str, typer.Argument(help="The stream.", autocompletion=names)],
    from_: Annotated[str, typer.Option("--from", help=f"The first moment: {FORMS}.")] = "-1h",
    to: Annotated[str, typer.Option(help="The moment after the last, in the same forms.")] = "now",
    limit: Annotated[
        int, typer.Option(help="At most this many lines of each end, the newest.", min=1, max=MAX_LINES)
    ] = 10_000,
    output: OutputOption = Output.TABLE,
) -> None:
    """The lines of both ends' ledgers, by time. With -o json, one object per line.

    Exits with 3 if an end is away or its ledger is not whole: what the other has is shown all the same.
    """
    now = time.time_ns()
    request = admin_pb2.ShowLedgerRequest(
        stream=stream,
        from_unix_nanos=unix_nanos("--from", from_, now),
        to_unix_nanos=unix_nanos("--to", to, now),
        limit=limit,
    )
    whole = True
    async with network.admin() as admin:
        async for answer in admin.ShowLedger(request):
            for entry in answer.entries:
                if output is Output.JSON:
                    show_json(as_json(entry), indent=None)
                else:
                    typer.echo(tables.ledger_line(entry))
            if answer.problem:
                whole = False
                if output is Output.JSON:
                    show_json({"node": answer.node, "problem": answer.problem}, indent=None)
                else:
                    typer.echo(f"warning: not all of node '{answer.node}': {answer.problem}", err=True)
    if not whole:
        raise typer.Exit(ExitCode.DEGRADED)


def unix_nanos(option: str, text: str, now: int) -> int:
    """The moment that `text` says, in nanoseconds since the epoch; `now` is in the same."""
    if text == "now":
        return now
    away = _RELATIVE.fullmatch(text)
    if away is not None:
        span = int(away[2]) * _SECONDS[away[3]] * _NANOS
        return now + span if away[1] == "+" else now - span
    try:
        moment = dt.datetime.fromisoformat(text)
        since = moment.astimezone(dt.UTC) - _EPOCH
    except (ValueError, OverflowError):
        raise InvalidInputError.of(option, f"'{text}' is no time; give {FORMS}") from None
    return since // dt.timedelta(microseconds=1) * 1000
