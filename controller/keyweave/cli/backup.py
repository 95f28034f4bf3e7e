"""`keyweave controller backup|restore`: the controller's database to a file, and back."""

from pathlib import Path
from typing import Annotated

import typer

from keyweave.cli.refused_files import in_words
from keyweave.common import settings

_Config = Annotated[Path, typer.Option("--config", help="The controller's configuration (YAML).")]


@in_words()
def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; must not exist.")],
    config: _Config,
) -> None:
    """Write all that the controller knows to one file, while it runs or not.

    It has the database and the configuration, no private key; only its owner can read it.
    """
    from keyweave.controller.backup import back_up  # noqa: PLC0415  # other commands start faster without it
    from keyweave.controller.config import ControllerConfig  # noqa: PLC0415

    made = back_up(settings.load(config, ControllerConfig).store_url, config, target)
    typer.echo(f"{target}: {_summary(made.counts)}, epoch {made.epoch}, {made.database_bytes} bytes")


@in_words()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `backup` has written.")],
    config: _Config,
    force: Annotated[
        bool,
        typer.Option("--force", help="Put it in place of a network; that one is kept under another name."),
    ] = False,
) -> None:
    """Put a backup in place of the controller's database. The controller must not run."""
    from keyweave.controller.backup import restore as put_back  # noqa: PLC0415
    from keyweave.controller.config import ControllerConfig  # noqa: PLC0415

    store_url = settings.load(config, ControllerConfig).store_url
    manifest, kept = put_back(source, store_url, force=force)
    typer.echo(
        f"restored: {_summary(manifest.counts)}, as of {manifest.made_at}, epoch {manifest.epoch}, "
        f"by Keyweave {manifest.keyweave_version}"
    )
    if kept is not None:
        typer.echo(f"what was there before: {kept}")
    typer.echo(
        "Start the controller. If agents have followed a later one since, it changes nothing and says so "
        "(event epoch_behind, with their epoch); keys flow on. If this database shall lead, stop it, then\n"
        f"  keyweave controller raise-epoch --config {config} --to N --confirm    # N above that epoch\n"
        "and start it again. What was changed after the backup is gone: look at it, then create it anew."
    )


def _summary(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[kind]} {kind}" for kind in ("nodes", "links", "streams"))
