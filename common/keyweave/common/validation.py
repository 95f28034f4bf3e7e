"""Protobuf messages against the rules in their .proto files (protovalidate)."""

import protovalidate
from google.protobuf.message import Message

from keyweave.common.errors import InvalidInputError, Violation
from keyweave.common.names import NAME_PATTERN, NAME_RULE

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
        found.append(Violation(path, _said(violation)))
    return found


def _said(violation: protovalidate.Violation) -> str:
    """The library's words, but for what operators meet first: fields left out, and names."""
    rule = violation.proto.rule_id
    if rule in ("string.pattern", "string.min_len") and violation.field_value == "":
        return "is missing"
    if rule == "string.pattern" and violation.rule_value == f"^{NAME_PATTERN.pattern}$":
        return f"{violation.field_value!r} is no name: {NAME_RULE}"
    return str(violation.proto.message)


def check(message: Message) -> None:
    """InvalidInputError unless the message keeps its rules."""
    found = violations(message)
    if found:
        raise InvalidInputError(found)
