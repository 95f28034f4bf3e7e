"""Extension parameters of a key request that this KME offers (ETSI GS QKD 014 v1.1.1, 6.2), names first.

Each asks for keys that are better than the stream guarantees; they are chosen from those that are ready.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from keyweave.agent.etsi014.supply import Demand
from keyweave.common.errors import InvalidInputError

REQUIRE_PROTECTION = "keyweave_require_protection"
MIN_SHARES = "keyweave_min_shares"
MAX_AGE = "keyweave_max_age_seconds"

MOST_SHARES = 8
MOST_AGE_SECONDS = 604_800  # the longest that a key may live (Stream.key_ttl_seconds)

_COMPONENTS = {"qkd": (True, False), "pqc": (False, True), "hybrid": (True, True)}


def read(field: str, parameters: Iterable[Mapping[str, Any]]) -> tuple[tuple[Demand, ...], tuple[str, ...]]:
    """What these parameters demand, and the names of those that this KME does not know.

    InvalidInputError where the value of a known one is not of its type.
    """
    demands, unknown = [], []
    for index, parameter in enumerate(parameters):
        for name, value in parameter.items():
            if name in _READERS:
                demands.append(_READERS[name](f"{field}[{index}].{name}", value))
            else:
                unknown.append(name)
    return tuple(demands), tuple(unknown)


def whole(value: Any) -> int | None:
    """A JSON number without a fraction, which may be written 1.0 too; None for anything else."""
    if type(value) is int:  # nearly always
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value)


def _require_protection(path: str, value: Any) -> Demand:
    if not isinstance(value, str) or value not in _COMPONENTS:
        raise InvalidInputError.of(path, f"must be one of {', '.join(_COMPONENTS)}, not {_short(value)}")
    with_qkd, with_pqc = _COMPONENTS[value]
    return Demand(REQUIRE_PROTECTION, with_qkd=with_qkd, with_pqc=with_pqc)


def _min_shares(path: str, value: Any) -> Demand:
    shares = whole(value)
    if shares is None or not 1 <= shares <= MOST_SHARES:
        raise InvalidInputError.of(path, f"must be an integer from 1 to {MOST_SHARES}, not {_short(value)}")
    return Demand(MIN_SHARES, with_qkd=True, min_shares=shares)


def _max_age(path: str, value: Any) -> Demand:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= MOST_AGE_SECONDS:
        reason = f"must be a number of seconds above 0, at most {MOST_AGE_SECONDS}, not {_short(value)}"
        raise InvalidInputError.of(path, reason)
    return Demand(MAX_AGE, max_age_seconds=float(value))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 64 else f"{text[:64]}…"


_READERS: dict[str, Callable[[str, Any], Demand]] = {
    REQUIRE_PROTECTION: _require_protection,
    MIN_SHARES: _min_shares,
    MAX_AGE: _max_age,
}
SUPPORTED = tuple(_READERS)
