"""What somebody who wrote a name that there is not may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

_SUGGESTED = 3
_LISTED = 20


def instead_of(name: str, known: Iterable[str]) -> str:
    """How a sentence that there is no `name` goes on: near names, else those that there are."""
    names = sorted(known)
    if not names:
        return "there are none yet"
    near = get_close_matches(name, names, _SUGGESTED)
    if near and len(names) > 1:
        return f"did you mean {' or '.join(near)}?"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(names[:_LISTED])}{more}"
