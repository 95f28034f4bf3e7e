"""The commands as typer has them, as plain values that pages are made of."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer

from keyweave.cli.connection import FINDING
from keyweave.cli.manual import examples

PROGRAM = "keyweave"


@dataclass(frozen=True, slots=True)
class Option:
    """An option or argument."""

    # As it is written: `-o, --output FORMAT`.
    written: str
    help: str
    default: str
    required: bool


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it is for, and all that may be given."""

    # Without the program's own name.
    path: tuple[str, ...]
    summary: str
    # Paragraphs after the first.
    more: tuple[str, ...]
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]
    # Options that say which network is meant, the same of every command that asks one.
    finds_network: bool
    examples: tuple[str, ...]
    # Names of its commands, where it has any.
    commands: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As it is called."""
        return " ".join((PROGRAM, *self.path))


def walk(app: typer.Typer) -> Iterator[Command]:
    """Every command, groups before what is in them, in the order of help."""
    yield from _walk(typer.main.get_command(app), ())


def finding(app: typer.Typer) -> tuple[Option, ...]:
    """The options by which commands find their network."""
    command = _at(typer.main.get_command(app), ("status",))
    return tuple(_option(one) for one in command.params if one.name in FINDING)


def _at(command: Any, path: tuple[str, ...]) -> Any:
    for word in path:
        command = command.commands[word]
    return command


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[Command]:
    inner = getattr(command, "commands", {})
    text = inspect.cleandoc(command.help or "").replace("\f", "")
    summary, *more = [" ".join(part.split()) for part in text.split("\n\n")]
    names = {one.name for one in command.params}
    finds = names >= FINDING
    own = [one for one in command.params if not (finds and one.name in FINDING)]
    yield Command(
        path=path,
        summary=summary,
        more=tuple(more),
        arguments=tuple(_argument(one) for one in own if one.param_type_name == "argument"),
        options=tuple(_option(one) for one in own if one.param_type_name == "option"),
        finds_network=finds,
        examples=examples.of(path) if not inner or path in _RUN else (),
        commands=tuple(inner),
    )
    for name, one in inner.items():
        yield from _walk(one, (*path, name))


# Groups that do something by themselves.
_RUN = frozenset({("controller",), ("agent",)})


def _argument(one: Any) -> Option:
    word = (one.metavar or one.name).strip("{}[]").upper().replace("_", "-")
    written = f"{word}..." if one.nargs != 1 and not word.endswith("...") else word
    return Option(written, one.help or "", "", required=one.required)


def _option(one: Any) -> Option:
    names = ", ".join([*one.opts, *one.secondary_opts])
    written = names if one.is_flag else f"{names} {_value(one)}"
    default = "" if one.default is None or one.is_flag or callable(one.default) else _word(one.default)
    return Option(written, one.help or "", default, required=one.required)


def _value(one: Any) -> str:
    """What is to be written in its place; typer that has click's own types says TEXT of all of them."""
    kind = getattr(getattr(one, "type_descriptor", None), "annotation", str)
    # Of a repeatable option what one of them is.
    kind = next(iter(get_args(kind)), kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(_word(choice) for choice in kind)
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")


def _word(value: Any) -> str:
    return str(getattr(value, "value", value))
