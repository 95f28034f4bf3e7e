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
