"""The data formats of ETSI GS QKD 014 v1.1.1, section 6: requests in, checked; answers out.

A request that is wrong in any way is refused with a message that names the field, before the key plane
hears of it. Unknown fields are refused too: a misspelt `nubmer` must not silently draw one key.
"""

import base64
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyweave.agent.etsi014 import extensions
from keyweave.agent.etsi014.supply import DeliveredKey, Demand, KeyOrder, SupplyStatus
from keyweave.common.errors import InvalidInputError, Violation
from keyweave.common.names import SaeId

# The standard fixes these texts (tables of 5.2 and 5.3).
SIZE_NOT_MULTIPLE_OF_8 = "size shall be a multiple of 8"
MANDATORY_UNSUPPORTED = "not all extension_mandatory parameters are supported"
MANDATORY_UNMET = "not all extension_mandatory request options could be met"
OPTIONAL_UNHANDLED = "not all extension_optional request options handled"
KEYS_NOT_FOUND = "one or more keys specified are not found on KME"

# Keys that one dec_keys request may name. The standard sets no bound; this one fits MAX_BODY_BYTES.
MAX_KEY_IDS = 1024
MAX_BODY_BYTES = 128 * 1024
MAX_SAE_ID_CHARACTERS = 128  # as streams have them (keyweave.v1.Stream)

_MAX_ECHO = 64
_MAX_DIGITS = 9
_UUID_CHARACTERS = 36

# json.dumps() would make a new one for every answer.
_ENCODER = json.JSONEncoder(separators=(",", ":"))

_KEY_REQUEST_FIELDS = (
    "number",
    "size",
    "additional_slave_SAE_IDs",
    "extension_mandatory",
    "extension_optional",
)
_KEY_IDS_FIELDS = ("key_IDs", "key_IDs_extension")
_KEY_ID_FIELDS = ("key_ID", "key_ID_extension")


class BadRequestError(InvalidInputError):
    """400 with a message of our choosing, where the standard fixes the text, and details."""

    def __init__(self, message: str, details: Iterable[Mapping[str, Any]] = ()) -> None:
        super().__init__((Violation("", message),))
        self.message = message
        self.details = tuple(details)


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """6.2 Key request. `size` in bits; None takes the KME's default size."""

    number: int = 1
    size: int | None = None
    further_slaves: tuple[SaeId, ...] = ()
    mandatory: tuple[Demand, ...] = ()
    optional: tuple[Demand, ...] = ()
    # Names of optional parameters that this KME does not know.
    unknown: tuple[str, ...] = ()


def key_request_from_query(query: Sequence[tuple[str, str]]) -> KeyRequest:
    """GET enc_keys: `?number=&size=`, both optional."""
    values = _parameters(query, ("number", "size"))
    number = _integer("number", _digits("number", values["number"])) if "number" in values else 1
    return KeyRequest(number, _size(_digits("size", values["size"])) if "size" in values else None)


def key_request_from_body(body: bytes) -> KeyRequest:
    """POST enc_keys. Every field is optional, so an empty body is an empty request."""
    return _key_request(_object(body, _KEY_REQUEST_FIELDS) if body else {})


def key_ids_from_query(query: Sequence[tuple[str, str]]) -> tuple[uuid.UUID, ...]:
    """GET dec_keys: one `?key_ID=`."""
    values = _parameters(query, ("key_ID",))
    if "key_ID" not in values:
        raise InvalidInputError.of("key_ID", "is missing; name one key, or use POST with key_IDs")
    return (_uuid("key_ID", values["key_ID"]),)


def key_ids_from_body(body: bytes) -> tuple[uuid.UUID, ...]:
    """POST dec_keys: 6.4 Key IDs."""
    request = _object(body, _KEY_IDS_FIELDS)
    _extension_object("key_IDs_extension", request.get("key_IDs_extension", {}))
    entries = request.get("key_IDs")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_KEY_IDS:
        raise InvalidInputError.of("key_IDs", f"must be an array of 1 to {MAX_KEY_IDS} objects")
    key_ids: dict[uuid.UUID, None] = {}
    for index, entry in enumerate(entries):
        path = f"key_IDs[{index}]"
        _known_fields(path, entry, _KEY_ID_FIELDS)
        _extension_object(f"{path}.key_ID_extension", entry.get("key_ID_extension", {}))
        key_id = _uuid(f"{path}.key_ID", entry.get("key_ID"))
        if key_id in key_ids:
            raise InvalidInputError.of(f"{path}.key_ID", f"repeats {key_id}; a key is delivered once")
        key_ids[key_id] = None
    return tuple(key_ids)


def no_query(query: Sequence[tuple[str, str]]) -> None:
    """Refuse query parameters where the standard has none."""
    _parameters(query, ())


def order_within(request: KeyRequest, status: SupplyStatus) -> KeyOrder:
    """What to deliver, or why this KME cannot deliver what is asked."""
    if request.number > status.max_key_per_request:
        raise BadRequestError(
            f"number: {request.number} is more than the {status.max_key_per_request} keys of one request",
            ({"number": request.number, "max_key_per_request": status.max_key_per_request},),
        )
    size = status.key_size if request.size is None else request.size
    if not status.min_key_size <= size <= status.max_key_size:
        raise BadRequestError(
            f"size: {size} bits cannot be delivered to this SAE; allowed are {status.min_key_size} to "
            f"{status.max_key_size}",
            (
                {
                    "size": size,
                    "key_size": status.key_size,
                    "min_key_size": status.min_key_size,
                    "max_key_size": status.max_key_size,
                },
            ),
        )
    slaves = request.further_slaves
    if len(slaves) > status.max_sae_id_count:
        raise BadRequestError(
            f"additional_slave_SAE_IDs: {len(slaves)} are more than {status.max_sae_id_count}",
            ({"additional_slave_SAE_IDs": len(slaves), "max_SAE_ID_count": status.max_sae_id_count},),
        )
    for sae, what in ((status.slave_sae_id, "the slave in the path"), (status.master_sae_id, "the master")):
        if sae in slaves:
            raise InvalidInputError.of("additional_slave_SAE_IDs", f"names {_echo(sae)}, {what}")
    return KeyOrder(request.number, size, slaves, request.mandatory, request.optional)


def status_body(status: SupplyStatus) -> bytes:
    """6.1 Status."""
    body: dict[str, Any] = {
        "source_KME_ID": status.source_kme_id,
        "target_KME_ID": status.target_kme_id,
        "master_SAE_ID": status.master_sae_id,
        "slave_SAE_ID": status.slave_sae_id,
        "key_size": status.key_size,
        "stored_key_count": min(status.stored_key_count, status.max_key_count),
        "max_key_count": status.max_key_count,
        "max_key_per_request": status.max_key_per_request,
        "max_key_size": status.max_key_size,
        "min_key_size": status.min_key_size,
        "max_SAE_ID_count": status.max_sae_id_count,
    }
    if status.extension:
        body["status_extension"] = dict(status.extension)
    return _encode(body)


def container_body(
    keys: tuple[DeliveredKey, ...], *, extensions_shown: bool, unhandled: tuple[str, ...] = ()
) -> bytes:
    """6.3 Key container, the same for master and slave.

    `unhandled` names optional extension parameters that the keys do not follow.
    """
    entries: list[dict[str, Any]] = []
    for key in keys:
        entry: dict[str, Any] = {
            "key_ID": str(key.key_id),
            "key": base64.b64encode(key.key).decode("ascii"),
        }
        if extensions_shown and key.extension:
            entry["key_extension"] = dict(key.extension)
        entries.append(entry)
    body: dict[str, Any] = {"keys": entries}
    if unhandled:
        body["key_container_extension"] = {
            "keyweave_message": OPTIONAL_UNHANDLED,
            "keyweave_extension_optional_unhandled": [_echo(name) for name in unhandled],
        }
    return _encode(body)


def error_body(message: str, details: Iterable[Mapping[str, Any]] = ()) -> bytes:
    """6.5 Error. `details` is left out where there are none."""
    error: dict[str, Any] = {"message": message}
    if listed := [dict(detail) for detail in details]:
        error["details"] = listed
    return _encode(error)


def _encode(value: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(value).encode("ascii")


def _key_request(fields: Mapping[str, Any]) -> KeyRequest:
    number = _integer("number", fields["number"]) if "number" in fields else 1
    size = _size(fields["size"]) if "size" in fields else None
    if fields.keys() <= {"number", "size"}:
        return KeyRequest(number, size)
    slaves = _slaves(fields.get("additional_slave_SAE_IDs", []))
    mandatory, unsupported = _demands("extension_mandatory", fields)
    if unsupported:
        raise BadRequestError(
            MANDATORY_UNSUPPORTED,
            ({"extension_mandatory_unsupported": f"{_echo(name)} is not supported"} for name in unsupported),
        )
    optional, unknown = _demands("extension_optional", fields)
    return KeyRequest(number, size, slaves, mandatory, optional, unknown)


def _size(value: Any) -> int:
    size = _integer("size", value)
    if size % 8:
        raise BadRequestError(SIZE_NOT_MULTIPLE_OF_8, ({"size": size},))
    return size


def _slaves(ids: Any) -> tuple[SaeId, ...]:
    field = "additional_slave_SAE_IDs"
    if not isinstance(ids, list) or not all(
        isinstance(slave, str) and 1 <= len(slave) <= MAX_SAE_ID_CHARACTERS for slave in ids
    ):
        reason = f"must be an array of strings of 1 to {MAX_SAE_ID_CHARACTERS} characters"
        raise InvalidInputError.of(field, reason)
    if len(set(ids)) != len(ids):
        raise InvalidInputError.of(field, "names a slave twice")
    return tuple(SaeId(slave) for slave in ids)


def _demands(field: str, fields: Mapping[str, Any]) -> tuple[tuple[Demand, ...], tuple[str, ...]]:
    parameters = fields.get(field, [])
    if not isinstance(parameters, list) or not all(isinstance(item, dict) for item in parameters):
        raise InvalidInputError.of(field, "must be an array of objects")
    return extensions.read(field, parameters)


def _extension_object(field: str, extension: Any) -> None:
    # Reserved by the standard for future use: any object is accepted and ignored.
    if not isinstance(extension, dict):
        raise InvalidInputError.of(field, "must be an object")


def _integer(field: str, value: Any) -> int:
    number = extensions.whole(value)
    if number is None or not 0 < number < 10**_MAX_DIGITS:
        raise InvalidInputError.of(field, f"must be a positive integer, not {_echo(value)}")
    return number


def _digits(field: str, text: str) -> int:
    # int() would also take '+1', ' 1' and '1_0', and digits of other scripts.
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS:
        raise InvalidInputError.of(field, f"must be a positive integer, not {_echo(text)}")
    return int(text)


def _uuid(field: str, value: Any) -> uuid.UUID:
    # uuid.UUID() also takes braces, 'urn:uuid:' and missing hyphens; the standard's form is RFC 4122 text.
    try:
        if isinstance(value, str) and len(value) == _UUID_CHARACTERS:
            key_id = uuid.UUID(value)
            if str(key_id) == value.lower():
                return key_id
    except ValueError:
        pass
    raise InvalidInputError.of(field, f"must be a UUID such as {uuid.UUID(int=0)}, not {_echo(value)}")


def _parameters(query: Sequence[tuple[str, str]], allowed: tuple[str, ...]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in query:
        if name not in allowed:
            raise InvalidInputError.of(_echo(name), f"is not a query parameter here; {_listed(allowed)}")
        if name in values:
            raise InvalidInputError.of(name, "is given more than once")
        values[name] = value
    return values


def _object(body: bytes, allowed: tuple[str, ...]) -> dict[str, Any]:
    try:
        value = json.loads(body, object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    # A digit run or a nesting too long for the parser is as malformed as a missing brace.
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else _parse_reason(error)
        raise InvalidInputError.of("body", f"must be a JSON object: {reason}") from None
    _known_fields("", value, allowed)
    assert isinstance(value, dict)
    return value


def _parse_reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a field occurs twice")
    return result


def _known_fields(path: str, value: Any, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise InvalidInputError.of(path or "body", f"must be a JSON object, not {_echo(value)}")
    unknown = [name for name in value if name not in allowed]
    if unknown:
        raise InvalidInputError(
            Violation(f"{path}.{_echo(name)}" if path else _echo(name), f"is unknown; {_listed(allowed)}")
            for name in unknown[:8]
        )


def _listed(allowed: tuple[str, ...]) -> str:
    return f"expected {', '.join(allowed)}" if allowed else "none is expected"


def _echo(value: Any) -> str:
    """What the caller sent, short enough to send back."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _MAX_ECHO else f"{text[:_MAX_ECHO]}…"
