"""What commands write to stdout: tables for people, proto JSON with -o json."""

import base64
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console, RenderableType


class Output(StrEnum):
    """How to write a result."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="table, or json for programs.")]


def console() -> Console:
    """Where people read. Made anew each time, as stdout may have been replaced."""
    return Console(soft_wrap=False, highlight=False)


def show(renderable: RenderableType) -> None:
    """Write something for people."""
    console().print(renderable)


def as_json(message: Message) -> dict[str, Any]:
    """A message as the API documents it: snake_case names, fields that are zero included."""
    converted: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return converted


def show_json(content: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Write something for programs; without indent, on one line."""
    typer.echo(json.dumps(content, indent=indent, ensure_ascii=False))


def show_message(message: Message, output: Output) -> None:
    """Write one message: its set fields line by line, or as JSON."""
    if output is Output.JSON:
        show_json(as_json(message))
    else:
        for name, value in _flat(json_format.MessageToDict(message, preserving_proto_field_name=True)):
            typer.echo(f"{name}: {value}")


def _flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [
            pair for key, inner in value.items() for pair in _flat(inner, f"{name}.{key}" if name else key)
        ]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [pair for index, item in enumerate(value) for pair in _flat(item, f"{name}[{index}]")]
    if name.rpartition(".")[2].endswith("digest"):
        # Proto JSON has bytes in base64; people compare digests with those of other tools.
        value = base64.b64decode(value).hex()
    return [(name, ", ".join(map(str, value)) if isinstance(value, list) else value)]
