"""Commands as units, images and notes have them, parsed by the real command line without being run."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import typer

from keyweave.cli.words import command_line


@cache
def _keyweave() -> Any:
    return typer.main.get_command(command_line())


def parsed(arguments: Sequence[str]) -> dict[str, Any]:
    """The parameters of the command that `keyweave` would run; a usage error is raised as it is."""
    command = _keyweave()
    rest = list(arguments)
    name = "keyweave"
    found: dict[str, Any] = {}
    while True:
        context = command.make_context(name, rest)
        found |= context.params
        # What a group has not parsed itself belongs to the command below it.
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if not rest:
            return found
        name, command, rest = command.resolve_command(context, rest)
