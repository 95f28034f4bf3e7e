"""Options made of the fields of a protobuf message, so that command line and API cannot drift apart."""

import inspect
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from keyweave.common.errors import InvalidInputError

MessageType = TypeVar("MessageType", bound=Message)
# Descriptors are typed Any: the stubs give them two types, one for each implementation of protobuf.
# Named by the command's argument, or set by the controller.
_NOT_OPTIONS = frozenset({"name", "revision", "etag"})
_HELP: Mapping[str, str] = {
    "application_class": "What uses the keys, for schedules and reports.",
    "latitude_degrees": "Where it is, degrees north; for maps and for where fibre helps.",
    "length_km": "Its length, km.",
    "location": "Where it is, in words.",
    "longitude_degrees": "Where it is, degrees east.",
    "owner": "Whose it is, in words.",
    "source_node": "The node at one end.",
    "source_sae": "The application there, as its certificate names it.",
    "target_node": "The node at the other end.",
    "target_sae": "The application there, as its certificate names it.",
    "technology": "What makes the keys; its QBER thresholds follow from it.",
    "tenant": "Whose stream it is, for schedules and reports.",
    "trust_domain": "Nodes of one owner or jurisdiction; streams may restrict themselves to some.",
    "a_node": "The node at one end.",
    "abort_qber_ratio": "QBER at which the link is aborted, 0..0.5; 0 takes the technology's default.",
    "degraded_qber_ratio": "QBER from which the link counts as degraded; 0 takes 0.8 of the abort threshold.",
    "accept_strongest_available": "Requires neither QKD nor ML-KEM: a fibre cut downgrades the stream.",
    "allowed_trust_domains": "Only nodes of this domain may relay (repeatable).",
    "avoid_nodes": "Never relay through this node (repeatable).",
    "b_node": "The node at the other end.",
    "buffer_keys": "Keys kept ready at each end; 0 takes 64.",
    "disabled": "Out of use at once: no path crosses it, and both ends destroy its pools.",
    "k": "Disjoint paths over which each key is split; 0 takes 1.",
    "key_plane_address": "host:port where other agents reach this node.",
    "key_size_bits": "Size of one key; 0 takes 256.",
    "key_ttl_seconds": "An undelivered key older than this is destroyed; 0 takes 3600.",
    "maintenance": "Out of use: nothing is relayed through it.",
    "max_detector_bias_volts": "Highest bias of a detector that is in order, V.",
    "max_detector_count_rate_hz": "Highest count rate of a detector that is in order, Hz.",
    "max_detector_dark_count_rate_hz": "Highest dark count rate of a detector that is in order, Hz.",
    "max_detector_temperature_celsius": "Highest temperature of a detector in order, degrees Celsius.",
    "max_hops": "Most links on a path; 0 means no limit.",
    "max_rate_bps": "The most it is given, bit/s; 0 means no limit.",
    "max_trusted_nodes": "Most relays between the ends.",
    "min_detector_bias_volts": "Lowest bias of a detector that is in order, V.",
    "min_detector_efficiency_ratio": "Least efficiency of a detector that is in order, 0..1.",
    "min_k": "Fewest paths that still count; 0 takes k.",
    "min_rate_bps": "Planned for before any stream of lower priority gets anything, bit/s.",
    "on_exhaustion": "What happens once no quantum path is left.",
    "pqc_only": "ML-KEM alone: no quantum path is planned, as for the shadow of another stream.",
    "priority": "Higher goes first.",
    "refresh_seconds": "Fresh ML-KEM encapsulation at the latest after this; 0 takes 60.",
    "require_pqc": "Deliver keys only with ML-KEM mixed in.",
    "require_qkd": "Deliver keys only with QKD mixed in.",
    "risk_groups": "What the link shares with others: a duct, a bridge (repeatable).",
}


def options(kind: type[Message]) -> tuple[inspect.Parameter, ...]:
    """One option for each field of `kind` that an operator may set; None where it is not given."""
    return tuple(
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_python_type(field) | None, typer.Option(help=_HELP.get(field.name, ""))],
        )
        for field in kind.DESCRIPTOR.fields
        if field.name not in _NOT_OPTIONS
    )


def message(kind: type[MessageType], name: str, given: Mapping[str, Any]) -> MessageType:
    """A message of the options that were given."""
    built = kind(name=name)
    for field in kind.DESCRIPTOR.fields:
        value = given.get(field.name)
        if value is None:
            continue
        if field.is_repeated:
            getattr(built, field.name).extend(value)
        elif field.enum_type is not None:
            setattr(built, field.name, _enum_number(field.enum_type, value))
        else:
            try:
                setattr(built, field.name, value)
            except ValueError:
                option = f"--{field.name.replace('_', '-')}"
                raise InvalidInputError.of(option, f"{value} is out of range: a number from 0 on") from None
    return built


def named(given: Mapping[str, Any]) -> list[str]:
    """The fields that were given, for an update mask."""
    return [name for name, value in given.items() if value is not None]


def enum_word(descriptor: Any, number: int) -> str:
    """An enum's value as people write it: LINK_TECHNOLOGY_DV_QKD is `dv-qkd`."""
    known = descriptor.values_by_number.get(number)
    return _word(descriptor, known.name) if known is not None else str(number)


def _python_type(field: Any) -> Any:
    if field.is_repeated:
        return list[str]
    if field.enum_type is not None:
        return _choices(field.enum_type)
    return {
        FieldDescriptor.CPPTYPE_BOOL: bool,
        FieldDescriptor.CPPTYPE_DOUBLE: float,
        FieldDescriptor.CPPTYPE_STRING: str,
    }.get(field.cpp_type, int)


def _choices(descriptor: Any) -> Any:
    # Zero is UNSPECIFIED, which leaving the option out says already.
    return StrEnum(descriptor.name, {v.name: _word(descriptor, v.name) for v in _set_values(descriptor)})


def _enum_number(descriptor: Any, word: str) -> int:
    return next(int(v.number) for v in _set_values(descriptor) if _word(descriptor, v.name) == word)


def _set_values(descriptor: Any) -> Iterable[Any]:
    return (value for value in descriptor.values if value.number)


def _word(descriptor: Any, name: str) -> str:
    prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in descriptor.name).lstrip("_")
    return name.removeprefix(f"{prefix}_").lower().replace("_", "-")
