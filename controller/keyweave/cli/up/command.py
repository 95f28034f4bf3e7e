"""`keyweave up`: a whole network on this machine, and a table of it."""

import asyncio
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer
from rich.console import Console

from keyweave.cli.connection import Network, StateDirOption
from keyweave.cli.processes import Speed
from keyweave.cli.state_dir import default_root
from keyweave.common import process

if TYPE_CHECKING:  # it brings in the emulator's physics, which no other command needs
    from keyweave.cli.up.layout import Layout


def command(
    scenario: Annotated[Path, typer.Argument(help="Scenario file (YAML).")],
    state_dir: StateDirOption = None,
    table: Annotated[bool, typer.Option("--table/--no-table", help="Show a live table.")] = True,
    restart: Annotated[
        bool, typer.Option("--restart/--no-restart", help="Start processes again that die.")
    ] = True,
    speed: Speed = None,
    controllers: Annotated[
        int,
        typer.Option(help="How many controllers; one leads. More than one need --database.", min=1, max=9),
    ] = 1,
    database: Annotated[
        str,
        typer.Option(
            help="The controllers' PostgreSQL, postgresql+asyncpg://USER@HOST/DATABASE, instead of SQLite. A "
            "password belongs into PGPASSWORD or a pgpass file."
        ),
    ] = "",
    network_faults: Annotated[
        bool,
        typer.Option(
            "--network-faults",
            help="Let agents dial through the emulator, so that the classical network can be disturbed; "
            "on by itself where the timeline has such faults.",
        ),
    ] = False,
) -> None:
    """Start emulator, controller and agents of a scenario; Ctrl-C stops them in order."""
    from keyweave.cli.board import Board  # noqa: PLC0415  # other commands start faster without these
    from keyweave.cli.top import watch  # noqa: PLC0415
    from keyweave.cli.up.supervisor import Supervisor  # noqa: PLC0415

    root = state_dir or default_root()
    console = Console(highlight=False)

    def tell(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    async def main(stop: asyncio.Event) -> None:
        async def when_up(layout: "Layout") -> None:
            tell(f"{layout.scenario.name} is up, live at {layout.endpoints.page}")
            tell("Try, in another terminal:")
            for line in suggestions(layout, _program(), root):
                tell(f"  {line}")
            if table and console.is_terminal:
                await watch(Network(layout.state), console, Board())
            else:
                await stop.wait()

        supervisor = Supervisor(
            scenario,
            root,
            speed=speed or 1.0,
            network_faults=network_faults,
            controllers=controllers,
            database=database,
            restart=restart,
            tell=tell,
        )
        await supervisor.run(stop, when_up)
        tell("stopped, nothing is left running")

    process.run(main)


def suggestions(layout: "Layout", program: str, root: Path) -> list[str]:
    """The next commands to try, with this network's own names."""
    where = "" if root == default_root() else f" --state-dir {shlex.quote(str(root))}"
    lines = []
    for stream in layout.scenario.streams[:1]:
        kme = layout.endpoints.kme[stream.source_node]
        url = f"{kme}/api/v1/keys/{quote(stream.target_sae, safe='')}/enc_keys"
        files = {
            "--cacert": layout.state.pki / "ca.pem",
            "--cert": layout.state.sae_certificate(stream.source_sae),
            "--key": layout.state.sae_key(stream.source_sae),
        }
        options = " ".join(f"{option} {shlex.quote(_short(path))}" for option, path in files.items())
        body = "-H 'Content-Type: application/json' -d '{\"number\": 1}'"
        lines.append(f"curl -s {options} {body} {shlex.quote(url)}")
    lines += [f"{program} fault cut {link.name}{where}" for link in layout.scenario.links[:1]]
    lines.append(f"{program} event watch{where}")
    return lines


def _program() -> str:
    """How to call `keyweave` from here."""
    if shutil.which("keyweave"):
        return "keyweave"
    beside = Path(sys.executable).with_name("keyweave")
    return (
        shlex.quote(_short(beside)) if beside.exists() else f"{shlex.quote(sys.executable)} -m keyweave.cli"
    )


def _short(path: Path) -> str:
    """`path` from the working directory, where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
