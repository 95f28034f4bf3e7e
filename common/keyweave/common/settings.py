"""Configuration files: YAML in, validated immutable values out, errors that name the field and line."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml.nodes import MappingNode, Node, SequenceNode

from keyweave.common.errors import InvalidInputError, Violation
from keyweave.common.names import NAME_PATTERN, NAME_RULE

Model = TypeVar("Model", bound=BaseModel)

# What PyYAML lets out for scalars that look like a date or a number, or are tagged as one, and are none.
UNREADABLE = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError)


def load(path: Path, model: type[Model]) -> Model:
    """Read `path` as `model`; InvalidInputError names every wrong field with its line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInputError.of(str(path), f"cannot be read: {error.strerror}") from None
    return from_bytes(content, model, source=str(path))


def from_bytes(content: bytes, model: type[Model], *, source: str) -> Model:
    """Like `load`, from what the file holds; `source` names it in errors."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError.of(source, f"is not UTF-8: {error.reason} at byte {error.start}") from None
    return parse(text, model, source=source)


def parse(text: str, model: type[Model], *, source: str) -> Model:
    """Like `load`, from text; `source` names it in errors."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInputError.of(source, f"is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InvalidInputError.of(source, "is nested too deeply") from None
    except UNREADABLE as error:
        reason = (
            f"holds a value that YAML cannot read ({error}), such as a date that does not exist; quote it"
        )
        raise InvalidInputError.of(source, reason) from None
    try:
        return model.model_validate(data if data is not None else {})
    except ValidationError as error:
        raise InvalidInputError(
            Violation(f"{source}:{_line(root, item['loc'])}: {_dotted(item['loc'])}", _explain(item, model))
            for item in _own(error.errors())
        ) from None


def located(path: Path, location: Sequence[int | str], description: str) -> Violation:
    """What is wrong with a field of a file that could be read, told as `load` tells it."""
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    return Violation(f"{path}:{_line(root, location)}: {_dotted(location)}", description)


def _own(items: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that are called too short only because an item of theirs is wrong."""
    return [
        item
        for item in items
        if item["type"] != "too_short" or not any(_is_below(other["loc"], item["loc"]) for other in items)
    ]


def _is_below(location: Sequence[int | str], other: Sequence[int | str]) -> bool:
    return len(location) > len(other) and list(location[: len(other)]) == list(other)


def _dotted(location: Iterable[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(whole file)"


def _explain(item: ErrorDetails, model: type[BaseModel]) -> str:
    """Pydantic's words, but for what people meet first: misspelt fields, and names."""
    if item["type"] == "extra_forbidden":
        return f"is unknown; expected {', '.join(_fields_beside(item['loc'], model)) or 'nothing here'}"
    if item["type"] == "string_pattern_mismatch" and item["ctx"]["pattern"] == f"^{NAME_PATTERN.pattern}$":
        return f"{item['input']!r} is no name: {NAME_RULE}"
    message = item["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _fields_beside(location: Sequence[int | str], model: type[BaseModel]) -> list[str]:
    """The fields that there are where `location` has one too many."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        # What is no field is an index, or a key of a mapping whose values are models.
        model = (_model_in(field.annotation) if field is not None else None) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The first model that an annotation such as `tuple[Model, ...] | None` speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _line(root: Node | None, location: Iterable[int | str]) -> int:
    """The line of the innermost node that `location` reaches."""
    node = root
    line = 1
    for part in location:
        if isinstance(node, MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == part]
            if not pairs:
                break
            line, node = pairs[0][0].start_mark.line + 1, pairs[0][1]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
