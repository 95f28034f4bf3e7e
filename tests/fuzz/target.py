"""What a fuzz target is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Target:
    """One way in: what comes in, and what must hold whatever it was."""

    name: str
    inputs: st.SearchStrategy[Any]
    # Feeds the input; any exception is a finding.
    check: Callable[[Any], None]
    # Examples in the quick run.
    examples: int = 100
