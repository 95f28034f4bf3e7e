"""`keyweave controller|agent|emulator`: the processes of a network, one each."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from keyweave.cli import backup, enrolment
from keyweave.common import log, process, settings
from keyweave.common.errors import InvalidInputError, NotAllowedError

Config = Annotated[Path, typer.Option("--config", help="Its configuration (YAML).")]
DieWithParent = Annotated[
    bool, typer.Option("--die-with-parent", help="Stop when whoever started this process dies (Linux).")
]
Speed = Annotated[
    float | None,
    typer.Option(
        help="How many times faster the scenario's time passes: timeline, drift. Key is made in real time.",
        min=1,
        max=10_000,
    ),
]

controller_app = typer.Typer(help="The controller: telemetry in, routes out.", invoke_without_command=True)
agent_app = typer.Typer(help="The agent of one node, and its certificates.", invoke_without_command=True)
controller_app.command("backup")(backup.backup)
controller_app.command("restore")(backup.restore)
controller_app.command("enrol")(enrolment.enrol_controller)
controller_app.command("renew")(enrolment.renew_here)
agent_app.command("enrol")(enrolment.enrol_agent)
agent_app.command("renew")(enrolment.renew_here)


@controller_app.callback()
def controller(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", help="Its configuration (YAML).")] = None,
    advertise: Annotated[
        str | None,
        typer.Option(help="host:port where others are sent to reach this one of several controllers."),
    ] = None,
    die_with_parent: DieWithParent = False,
) -> None:
    """Run the controller until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise InvalidInputError.of("--config", "is missing; name the controller's configuration file")
    from keyweave.controller import app  # noqa: PLC0415  # other commands start faster without it
    from keyweave.controller.config import ControllerConfig  # noqa: PLC0415

    settled = settings.load(config, ControllerConfig)
    if advertise is not None:
        settled = settled.advertising(advertise)
    _run("controller", settled, app.serve, die_with_parent=die_with_parent)


@controller_app.command("migrate")
def migrate(
    config: Config,
    to: Annotated[str, typer.Option(help="The schema's revision, as an older version names it: 0012.")],
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Yes, what only newer versions keep goes.")
    ] = False,
) -> None:
    """Take the database's schema back for an older version. Stop all controllers and back up first."""
    from keyweave.controller.config import ControllerConfig  # noqa: PLC0415
    from keyweave.controller.store import Store  # noqa: PLC0415

    settled = settings.load(config, ControllerConfig)
    if not confirm:
        raise NotAllowedError(
            "what only newer versions keep will be gone from the database; if that is meant, say --confirm"
        )

    async def back() -> None:
        store = await Store.open(settled.store_url)
        try:
            await store.migrate_back(to)
        finally:
            await store.close()

    asyncio.run(back())
    typer.echo(f"the database has schema {to}; start a controller of the version that it is for")


@controller_app.command("raise-epoch")
def raise_epoch(
    config: Config,
    to: Annotated[int, typer.Option(help="The epoch to claim; above every agent's.", min=1)],
    confirm: Annotated[bool, typer.Option("--confirm", help="Yes, this database shall lead.")] = False,
) -> None:
    """Let a restored database lead: claim an epoch above what agents have seen. Then restart it."""
    from keyweave.controller.config import ControllerConfig  # noqa: PLC0415
    from keyweave.controller.store import Store  # noqa: PLC0415

    settled = settings.load(config, ControllerConfig)
    if not confirm:
        raise NotAllowedError(
            "agents will drop what a newer controller gave them and follow this database; "
            "if that is meant, say so with --confirm"
        )

    async def claim() -> int:
        store = await Store.open(settled.store_url)
        try:
            # Fences whoever runs on this database.
            claimed = await store.claim_epoch("raise-epoch")
            return await store.raise_epoch(max(claimed, to))
        finally:
            await store.close()

    typer.echo(f"epoch {asyncio.run(claim())} claimed; restart the controller")


@agent_app.callback()
def agent(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", help="Its configuration (YAML).")] = None,
    die_with_parent: DieWithParent = False,
) -> None:
    """Run the agent of one node until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise InvalidInputError.of("--config", "is missing; name the agent's configuration file")
    from keyweave.agent import app  # noqa: PLC0415
    from keyweave.agent.config import AgentConfig  # noqa: PLC0415

    settled = settings.load(config, AgentConfig)
    _run(f"agent-{settled.node}", settled, app.serve, die_with_parent=die_with_parent)


def emulator(config: Config, speed: Speed = None, die_with_parent: DieWithParent = False) -> None:
    """Run the emulator of the optical plane until SIGTERM or Ctrl-C."""
    from keyweave.emulator import app  # noqa: PLC0415
    from keyweave.emulator.config import EmulatorConfig  # noqa: PLC0415

    settled = settings.load(config, EmulatorConfig)
    if speed is not None:
        settled = settled.model_copy(update={"speed": speed})
    _run("emulator", settled, app.serve, die_with_parent=die_with_parent)


def _run(
    name: str,
    config: Any,
    serve: Callable[[Any, asyncio.Event], Awaitable[None]],
    *,
    die_with_parent: bool,
) -> None:
    if die_with_parent:
        process.die_with_parent()
    log.configure(process=name, level=config.log_level)
    process.run(lambda stop: serve(config, stop))
