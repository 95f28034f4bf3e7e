"""What a device wrote as JSON: parsed strictly, and read by JSON pointer (RFC 6901)."""

import json
import math
import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator

from keyweave.agent.drivers.mapping import NANOS, RefusedError, shortened

MAX_PAYLOAD = 256 * 1024
TimeFormat = Literal["unix_seconds", "unix_millis", "unix_micros", "unix_nanos", "iso8601"]
_PER_SECOND = {"unix_seconds": 1, "unix_millis": 1_000, "unix_micros": 1_000_000, "unix_nanos": NANOS}
_MISSING = object()


def _pointer(text: str) -> str:
    if not re.fullmatch(r"(/([^~/]|~[01])*)*", text):
        raise ValueError(f"'{text}' is no JSON pointer (RFC 6901): '' is the whole, '/a/0' the first of a")
    return text


Pointer = Annotated[str, AfterValidator(_pointer)]


def parsed(payload: bytes) -> object:
    """The document; RefusedError where it is none, NaN and Infinity included."""
    if len(payload) > MAX_PAYLOAD:
        raise RefusedError(f"{len(payload)} bytes; at most {MAX_PAYLOAD} are read")
    try:
        return json.loads(payload, parse_constant=_no_number)
    except RecursionError:
        raise RefusedError("is nested too deeply") from None
    except ValueError as error:
        # JSONDecodeError has the whole document; only its words are told.
        raise RefusedError(f"is not JSON: {str(error)[:200]}") from None


def _no_number(constant: str) -> object:
    raise RefusedError(f"has {constant}, which JSON does not know")


def at(document: object, pointer: str) -> object:
    """What stands there; RefusedError where nothing does."""
    found = document
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name, _MISSING)
        elif isinstance(found, list) and re.fullmatch(r"0|[1-9]\d{0,8}", name) and int(name) < len(found):
            found = found[int(name)]
        else:
            found = _MISSING
        if found is _MISSING:
            raise RefusedError(f"has nothing at '{pointer}'")
    return found


def number_at(document: object, pointer: str) -> float:
    """The finite number that stands there."""
    found = at(document, pointer)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise RefusedError(f"{shortened(found)} at '{pointer}' is no number")
    try:
        number = float(found)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RefusedError(f"the number at '{pointer}' is too large")
    return number


def count_at(document: object, pointer: str) -> int:
    """The whole number, 1 or more, that stands there."""
    found = at(document, pointer)
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found < 2**63:
        raise RefusedError(f"{shortened(found)} at '{pointer}' is no whole number from 1 on")
    return found


def time_at(document: object, pointer: str, written: TimeFormat) -> float:
    """The moment that stands there, Unix seconds."""
    if written != "iso8601":
        return number_at(document, pointer) / _PER_SECOND[written]
    found = at(document, pointer)
    try:
        moment = datetime.fromisoformat(found) if isinstance(found, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RefusedError(f"{shortened(found)} at '{pointer}' is no ISO 8601 time with a zone")
    return moment.timestamp()
