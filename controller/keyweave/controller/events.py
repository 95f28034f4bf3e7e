"""What the controller tells the people who watch it, as plain values.

Kinds are nouns and verbs (`link_condition_changed`, `stream_failover`, `policy_nacked`), declared in
`event_kinds`; the fields say what a program would want to know, the message what a person would. Neither
ever holds key material.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SkipValidation

from keyweave.controller.event_kinds import KINDS, KindName, Severity, misfits

__all__ = ["Event", "Severity"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `id` is 0 until the event is recorded, then rises by one with each."""

    # A store may hold events of another version's kinds.
    kind: SkipValidation[KindName]
    severity: Severity
    message: str
    time_unix_seconds: float
    node: str = ""
    link: str = ""
    stream: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    id: int = 0

    def __post_init__(self) -> None:
        subjects = {"node": self.node, "link": self.link, "stream": self.stream}
        for misfit in misfits(self.kind, self.severity, subjects, self.fields):
            warnings.warn(f"event not as declared: {misfit}", stacklevel=3)

    @property
    def alarm(self) -> str:
        """The lasting state that this event begins or, if it `clears`, ends; empty where there is none."""
        return KINDS[self.kind].alarm if self.kind in KINDS else ""

    @property
    def clears(self) -> bool:
        """Whether it ends its alarm."""
        return bool(self.alarm) and self.severity is Severity.INFO

    @property
    def changes_protection(self) -> bool:
        """Whether what protects keys has changed; goes to the audit log."""
        return self.kind in KINDS and KINDS[self.kind].protects
