"""Tokens that callers hand back: the place to go on at, in a form that nobody is tempted to take apart. Pure.

A token gives no right that its bearer does not have anyway, so it is checked and not signed: a truncated,
mistyped or mistaken one is refused instead of leading to a place that nobody meant.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from keyweave.common.errors import InvalidInputError

DEFAULT_PAGE_SIZE = 1000
_CHECK_BYTES = 6
Item = TypeVar("Item")


def page(items: Mapping[Any, Item], size: int, token: str, listing: str) -> tuple[list[Item], str]:
    """Items whose names come after the one that `token` has, and the token for the next page of this listing.

    Names rather than positions: what is created or deleted between two pages shifts nothing.
    """
    after = ""
    if token:
        expected = f"the next_page_token of an earlier {listing}"
        (after,) = _opened("page_token", token, listing, (str,), expected)
    size = size or DEFAULT_PAGE_SIZE
    names = [name for name in sorted(items) if name > after]
    more = _sealed(listing, [names[size - 1]]) if len(names) > size else ""
    return [items[name] for name in names[:size]], more


def resume_token(epoch: int, event_id: int) -> str:
    """Where to go on after this event, seen under this epoch."""
    return _sealed("WatchEvents", [epoch, event_id])


def resume_place(token: str) -> tuple[int, int]:
    """The epoch and the event that a resume token has."""
    expected = "the resume_token of an answer to WatchEvents"
    epoch, event_id = _opened("resume_token", token, "WatchEvents", (int, int), expected)
    return epoch, event_id


def _sealed(purpose: str, place: list[Any]) -> str:
    content = json.dumps(place, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_check(purpose, content) + content).rstrip(b"=").decode()


def _opened(field: str, token: str, purpose: str, kinds: Sequence[type], expected: str) -> list[Any]:
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        check, content = sealed[:_CHECK_BYTES], sealed[_CHECK_BYTES:]
        place = json.loads(content) if check == _check(purpose, content) else []
    except ValueError:  # the errors of base64, UTF-8 and JSON are such
        place = []
    if not isinstance(place, list) or [type(part) for part in place] != list(kinds):
        raise InvalidInputError.of(field, f"is not {expected}; begin without one")
    return place


def _check(purpose: str, content: bytes) -> bytes:
    return hashlib.sha256(purpose.encode() + b"\0" + content).digest()[:_CHECK_BYTES]
