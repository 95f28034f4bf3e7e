"""`keyweave man` and `keyweave completion`."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer._completion_shared import get_completion_script  # `--show-completion` looks for a shell to guess

from keyweave.cli.manual import examples, pages, tree
from keyweave.common.errors import InvalidInputError, NotFoundError
from keyweave.common.near import instead_of

# Set by the shell when it asks what could come next.
VARIABLE = "_KEYWEAVE_COMPLETE"


class Shell(StrEnum):
    """Whose completions there are."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def man(tree_of_all: Callable[[], typer.Typer]) -> Callable[..., None]:
    """The command `man`; the pages are those of the commands in `tree_of_all`."""

    def command(
        command: Annotated[
            list[str] | None, typer.Argument(help="The command's words; none: keyweave itself.")
        ] = None,
        write: Annotated[
            Path | None, typer.Option(help="Write the pages of all commands into this directory.")
        ] = None,
    ) -> None:
        """Print a manual page for `man -l -`, or write all of them."""
        if write is None:
            typer.echo(page(tree_of_all(), tuple(command or ())), nl=False)
        elif command:
            raise InvalidInputError.of("--write", "writes the pages of all commands; name none beside it")
        else:
            write_pages(tree_of_all(), write)

    return command


def completion(shell: Annotated[Shell, typer.Argument(help="Whose.")]) -> None:
    """Print what makes a shell complete commands, options, and the network's own names."""
    typer.echo(get_completion_script(prog_name=tree.PROGRAM, complete_var=VARIABLE, shell=shell))


def add_examples(app: typer.Typer) -> None:
    """Give every command its examples as the end of its help."""
    _with_examples(app, ())


def page(app: typer.Typer, path: tuple[str, ...]) -> str:
    """The man page of one command."""
    commands = {one.path: one for one in tree.walk(app)}
    if path not in commands:
        known = [" ".join(words) for words in commands if words]
        raise NotFoundError(f"there is no command '{' '.join(path)}'; {instead_of(' '.join(path), known)}")
    return pages.man(commands[path], tree.finding(app), commands.values())


def write_pages(app: typer.Typer, directory: Path) -> None:
    """The man pages of all commands, one file each."""
    commands, finding = list(tree.walk(app)), tree.finding(app)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for one in commands:
            file = directory / f"{'-'.join((tree.PROGRAM, *one.path))}.1"
            file.write_text(pages.man(one, finding, commands), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError.of("--write", f"{directory} cannot be written to: {error.strerror}") from None
    typer.echo(f"{directory}: {len(commands)} pages")


def _with_examples(app: typer.Typer, path: tuple[str, ...]) -> None:
    for info in app.registered_commands:
        callback: Callable[..., object] | None = info.callback
        name = info.name or (callback.__name__.replace("_", "-") if callback else "")
        info.epilog = _epilog(examples.of((*path, name)))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            name = str(group.name or group.typer_instance.info.name)
            _with_examples(group.typer_instance, (*path, name))


def _epilog(lines: tuple[str, ...]) -> str:
    # \b keeps click from filling the lines.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
