"""A plan that was in force for a while, as a value. Pure."""

from dataclasses import dataclass

from keyweave.common.names import StreamName
from keyweave.controller.topology import Plan


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A plan, when it had stood for long enough to be kept, and what it moved."""

    plan: Plan
    kept_at: float
    # Streams whose paths differ from the record before.
    moved: tuple[StreamName, ...]
