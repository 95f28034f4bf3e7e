"""How long, as people write it: `90s`, `15m`, `1h`, `30d`."""

import datetime as dt
import re

from keyweave.common.errors import InvalidInputError

_FORM = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration(option: str, text: str) -> dt.timedelta:
    """What `text` says; InvalidInputError names the option."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise InvalidInputError.of(option, f"'{text}' is no length of time; give one like 90s, 15m, 1h, 30d")
    return dt.timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def span(option: str, text: str) -> int:
    """The same in whole seconds."""
    return int(duration(option, text).total_seconds())


def in_words(seconds: int) -> str:
    """Seconds as people read them: `1h30m`."""
    left, found = seconds, ""
    for unit, size in reversed(_SECONDS.items()):
        count, left = divmod(left, size)
        found += f"{count}{unit}" if count else ""
    return found or "0s"
