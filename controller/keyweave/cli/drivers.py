"""`keyweave driver`: which drivers are installed, and whether one keeps its contract against its device."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from keyweave.cli.exits import ExitCode
from keyweave.cli.output import Output, OutputOption, show, show_json

driver_app = typer.Typer(no_args_is_help=True, help="How agents reach devices.")


@driver_app.command("list")
def list_drivers(output: OutputOption = Output.TABLE) -> None:
    """The drivers that an agent's configuration may name."""
    from keyweave.agent.drivers import base  # noqa: PLC0415  # other commands start faster without these

    found = base.installed_drivers()
    if output is Output.JSON:
        show_json(
            {
                "drivers": [
                    {"name": one.name, "target": one.target, "distribution": one.distribution}
                    for one in found
                ]
            }
        )
        return
    table = Table("driver", "from", "is", box=None)
    for one in found:
        table.add_row(one.name, one.distribution, one.target)
    show(table)


@driver_app.command("test")
def check(
    name: Annotated[str, typer.Argument(help="The driver, as `keyweave driver list` has it.")],
    config: Annotated[
        Path, typer.Option("--config", help="YAML: `node`, `settings`, and perhaps `peer` with the same two.")
    ],
    reports: Annotated[int, typer.Option(help="Reports to read of every link end.", min=1)] = 5,
    blocks: Annotated[int, typer.Option(help="Batches of key blocks to read of every link end.", min=1)] = 4,
    seconds: Annotated[float, typer.Option(help="In which they must have come.", min=0.1)] = 30.0,
    output: OutputOption = Output.TABLE,
) -> int:
    """Check a driver against its device; 1 if it breaks its contract.

    It reads as an agent would, and takes key blocks for good: stop the agent of that device first.
    """
    from keyweave.agent.drivers import base, conformance  # noqa: PLC0415
    from keyweave.common import log, settings  # noqa: PLC0415

    log.configure(process="driver-test", level="warning", json=False)
    setup = settings.load(config, conformance.Setup)
    effort = conformance.Effort(reports, blocks, seconds)
    findings = asyncio.run(conformance.run(base.load(name), setup, effort))
    if output is Output.JSON:
        told = [{"check": one.check, "outcome": one.outcome, "reason": one.reason} for one in findings]
        show_json({"driver": name, "checks": told})
    else:
        for one in findings:
            typer.echo(f"{one.outcome:<15} {one.check:<18} {one.reason}")
    failed = any(one.outcome is conformance.Outcome.FAILED for one in findings)
    return ExitCode.ERROR if failed else ExitCode.OK
