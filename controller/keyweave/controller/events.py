"""What the controller tells the people who watch it, as plain values.

Kinds are nouns and verbs (`link_condition_changed`, `stream_failover`, `policy_nacked`); the fields say
what a program would want to know, the message what a person would. Neither ever holds key material.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How much it matters; MINOR and MAJOR as in ETSI GS QKD 015."""

    INFO = "info"
    MINOR = "minor"
    MAJOR = "major"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `id` is 0 until the event is recorded, then rises by one with each."""

    kind: str
    severity: Severity
    message: str
    time_unix_seconds: float
    node: str = ""
    link: str = ""
    stream: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    id: int = 0
