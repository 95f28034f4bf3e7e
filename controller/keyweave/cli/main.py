"""The command line."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
import typer
from typer._completion_classes import completion_init

from keyweave.cli import (
    audit,
    drivers,
    faults,
    guards,
    ledger,
    maintenance,
    network,
    objects,
    orders,
    pki,
    plans,
    policies,
    processes,
    provenance,
    scenario,
    schedules,
    top,
)
from keyweave.cli.check_config import check_config
from keyweave.cli.connection import connected
from keyweave.cli.exits import ExitCode, is_ours, report
from keyweave.cli.health import health
from keyweave.cli.manual import command as manual
from keyweave.cli.manual.command import VARIABLE
from keyweave.cli.report import command as reports
from keyweave.cli.status import status
from keyweave.cli.up import command as up
from keyweave.common.errors import KeyweaveError

app = typer.Typer(
    name="keyweave",
    help="A software-defined network of quantum links: start it, see it, break it, watch it heal.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Its boxes cut off the names of options on a terminal of 80 columns.
    rich_markup_mode=None,
)


def _group(name: str, summary: str) -> typer.Typer:
    group = typer.Typer(no_args_is_help=True, help=summary)
    app.add_typer(group, name=name)
    return group


app.command("up")(up.command)
app.command("status")(connected(status))
app.command("top")(connected(top.top))
app.add_typer(processes.controller_app, name="controller")
app.add_typer(processes.agent_app, name="agent")
app.command("emulator")(processes.emulator)
app.command("health")(health)
app.command("check-config")(check_config)
app.command("report")(connected(reports.report))
app.add_typer(drivers.driver_app, name="driver")
app.add_typer(guards.guard_app, name="guard")
app.add_typer(pki.app, name="pki")
_OF_ONE_KIND: Mapping[str, Mapping[str, Callable[..., Awaitable[None]]]] = {
    "node": {"drain": orders.drain, "undrain": orders.undrain, "zeroize": orders.zeroize},
    "link": {
        "disable": orders.disable,
        "enable": orders.enable,
        "clear": orders.clear,
        "destroy": orders.destroy,
        "calibrate": orders.calibrate,
    },
    "stream": {"explain": network.explain, "provenance": provenance.provenance},
}
for _kind in objects.KINDS:
    _commands = objects.commands(_kind)
    app.add_typer(_commands, name=_kind.word)
    for _verb, _command in _OF_ONE_KIND[_kind.word].items():
        _commands.command(_verb)(connected(_command))
_group("ledger", "What became of keys.").command("show")(connected(ledger.show))
app.add_typer(plans.app, name="plan")
app.add_typer(policies.app, name="policy")
app.add_typer(maintenance.app, name="maintenance")
app.add_typer(schedules.app, name="schedule")
_audit = _group("audit", "Who changed what, which policies went out, what protected keys: a chained log.")
_audit.command("list")(connected(audit.show))
_audit.command("verify")(connected(audit.verify))
_audit.command("export")(connected(audit.export))
_events = _group("event", "What happened.")
_events.command("list")(connected(network.event_list))
_events.command("watch")(connected(network.event_watch))
app.add_typer(faults.app, name="fault")
app.add_typer(scenario.app, name="scenario")

manual.attach(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    if VARIABLE in os.environ:
        # A shell asks what could come next; typer's own options for that are left out of our help.
        completion_init()
    try:
        result: Any = app(arguments, standalone_mode=False, prog_name="keyweave")
    except (KeyweaveError, grpc.aio.AioRpcError) as error:
        return report(error)
    except ExceptionGroup as group:
        if not is_ours(group):
            raise
        return report(group)
    except KeyboardInterrupt:
        return ExitCode.OK
    except Exception as error:
        # Typer has its parser's exceptions from click or from a copy of it, depending on its version.
        if not hasattr(error, "format_message"):
            raise
        # Where a value is not one of its type's, typer says so in pydantic's words.
        for line in str(error.format_message()).replace("Value error, ", "").splitlines():
            sys.stderr.write(f"error: {line}\n")
        return int(getattr(error, "exit_code", ExitCode.USAGE))
    # An explicit exit comes back as its code; what commands return is nothing.
    return result if isinstance(result, int) else ExitCode.OK
