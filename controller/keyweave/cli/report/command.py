"""`keyweave report`: what the network did over a period, against what was agreed."""

import datetime as dt
import sys
import time
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from keyweave.cli.connection import Network
from keyweave.cli.exits import ExitCode
from keyweave.cli.ledger import unix_nanos
from keyweave.cli.report import criteria as criteria_file
from keyweave.cli.report import document as doc
from keyweave.cli.report import from_controller
from keyweave.cli.report.figures import report as report_of
from keyweave.common.errors import InvalidInputError, KeyweaveError

_FORMS = "a time like 2026-11-21T10:00:00Z (local without a zone), how long ago like -15m, -1h, -30d, or now"
_MINUTE_NANOS = 60 * 10**9
_EXTRAS = frozenset({"jinja2", "matplotlib", "weasyprint", "markupsafe"})


class Format(StrEnum):
    """What to write."""

    HTML = "html"
    JSON = "json"
    PDF = "pdf"


async def report(
    network: Network,
    from_: Annotated[
        str, typer.Option("--from", help=f"The first moment: {_FORMS}; start for the first that is known.")
    ] = "start",
    to: Annotated[str, typer.Option(help="The moment after the last, in the same forms.")] = "now",
    criteria: Annotated[
        Path | None, typer.Option(help="What was agreed (YAML); without it nothing is judged.")
    ] = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="html, json or pdf.")] = Format.HTML,
    output_file: Annotated[Path | None, typer.Option(help="Where to write it; stdout if not given.")] = None,
    title: Annotated[str, typer.Option(help="What to call the report.")] = "",
    prometheus: Annotated[
        str, typer.Option(help="Take the figures from the Prometheus at this URL, not from the controller.")
    ] = "",
) -> None:
    """Key rate, QBER and its stability, uptime, failovers, keys by protection, faults, and acceptance.

    One file that opens offline. Exits with 3 if a criterion is not met or cannot be judged.
    """
    agreed = criteria_file.load(criteria) if criteria is not None else None
    now = time.time_ns()
    start = 0 if from_ == "start" else unix_nanos("--from", from_, now)
    end = min(unix_nanos("--to", to, now), now)
    if end <= start:
        raise InvalidInputError.of("--to", f"'{to}' is not after --from '{from_}'")
    if output is Format.PDF and output_file is None and sys.stdout.isatty():
        raise InvalidInputError.of("--output-file", "a PDF is nothing for a terminal; name a file")
    if prometheus:
        from keyweave.cli.report import from_prometheus  # noqa: PLC0415  # needed by few

        recorded = await from_prometheus.recorded(prometheus, start, end)
    else:
        recorded = await from_controller.recorded(network, start, end)
    if not recorded.rows:
        raise KeyweaveError(_nothing(start, end, now))
    name = title or (agreed.criteria.title if agreed else "") or "Pilot report"
    made = report_of(recorded, title=name, made_at=now / 1e9, software=version("keyweave"))
    if agreed is not None:
        made = made.model_copy(update={"acceptance": criteria_file.judge(made, agreed)})
    _write(_written(made, output), output_file)
    if made.acceptance is not None and made.acceptance.verdict != "pass":
        raise typer.Exit(ExitCode.DEGRADED)


def _nothing(start_nanos: int, end_nanos: int, now_nanos: int) -> str:
    if now_nanos - end_nanos < 2 * _MINUTE_NANOS:
        return "nothing is known of this period yet; the first minute is there once it is over"
    first, last = (
        dt.datetime.fromtimestamp(nanos / 1e9).astimezone().isoformat(sep=" ", timespec="minutes")
        for nanos in (start_nanos, end_nanos)
    )
    return (
        f"nothing was recorded between {first} and {last}: nobody watched then, or it is no longer kept; "
        "--from start begins with the first that is known"
    )


def _written(report: doc.Report, output: Format) -> bytes:
    if output is Format.JSON:
        return (report.model_dump_json(indent=2) + "\n").encode()
    try:
        from keyweave.cli.report import html, pdf  # noqa: PLC0415  # for an optional extra

        page = html.page(report)
        return page.encode() if output is Format.HTML else pdf.pdf(page)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        raise KeyweaveError(
            f"{error.name} is not installed; pip install 'keyweave[report]', or take -o json"
        ) from None


def _write(content: bytes, file: Path | None) -> None:
    if file is None:
        sys.stdout.buffer.write(content)
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise InvalidInputError.of("--output-file", f"{file} cannot be written: {error.strerror}") from None
    typer.echo(f"{file}: written")
