"""Protobuf messages against the rules in their .proto files (protovalidate)."""

import protovalidate
from google.protobuf.message import Message

from keyweave.common.errors import InvalidInputError, Violation

_validator = protovalidate.Validator()


def violations(message: Message) -> list[Violation]:
    """What is wrong with a message, field by field; empty if nothing is."""
    found = []
    for violation in _validator.collect_violations(message):
        proto = violation.proto
        path = ".".join(
            element.field_name + (f"[{element.subscript.value}]" if element.subscript else "")
            for element in (proto.field.elements if proto.field else ())
        )
        found.append(Violation(path, proto.message))
    return found


def check(message: Message) -> None:
    """InvalidInputError unless the message keeps its rules."""
    found = violations(message)
    if found:
        raise InvalidInputError(found)
