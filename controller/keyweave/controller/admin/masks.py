"""What an update changes of an object, and whether its caller knew what it changes."""

from collections.abc import Sequence
from typing import cast

from google.protobuf.message import Message

from keyweave.common.errors import ConflictError, InvalidInputError, Violation
from keyweave.controller.intent import Spec, SpecType, kind_words

# Set by the controller, or what the object is: never by an update.
_NOT_UPDATED = frozenset({"name", "revision", "etag"})


def check_etag(present: Spec, etag: str) -> None:
    """ConflictError where the caller has read another state of an object; an empty etag matches any."""
    if etag and etag != present.etag:
        raise ConflictError(
            f"{kind_words(type(present))} '{present.name}' has etag {present.etag}, not {etag}: somebody has "
            "changed it since it was read; read it again, then change it"
        )


def copy_of(spec: SpecType) -> SpecType:
    """The same again, to be changed."""
    copy = type(spec)()
    copy.CopyFrom(spec)
    return copy


def masked(present: SpecType, given: SpecType, mask: Sequence[str]) -> SpecType:
    """`present` with the fields in `mask` as `given` has them."""
    allowed = [f.name for f in present.DESCRIPTOR.fields if f.name not in _NOT_UPDATED]
    kind = kind_words(type(present))
    found = [
        Violation(
            "update_mask",
            f"'{path}' cannot be updated; a new name is a new {kind}"
            if path == "name"
            else f"'{path}' is no field of a {kind} that can be updated; these are: {', '.join(allowed)}",
        )
        for path in mask
        if path not in allowed
    ]
    if not mask:
        found.append(Violation("update_mask", f"names no field; name one or more of: {', '.join(allowed)}"))
    if found:
        raise InvalidInputError(found)
    changed = copy_of(present)
    changed.ClearField("etag")
    for path in mask:
        changed.ClearField(path)
    chosen = copy_of(given)
    for path in set(allowed) - set(mask):
        chosen.ClearField(path)
    chosen.ClearField("revision")
    chosen.ClearField("etag")
    cast("Message", changed).MergeFrom(chosen)
    return changed
