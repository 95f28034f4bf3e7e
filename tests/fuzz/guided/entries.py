"""Every way in for bytes: parsers fed directly, and what the structured targets make of bytes."""

from functools import partial
from typing import Any

from hypothesis import given, settings

from tests.fuzz.guided import agent, controller, files
from tests.fuzz.guided.entry import Entry
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

ENTRIES = (*controller.ENTRIES, *agent.ENTRIES, *files.ENTRIES)


def _take(target: Target, data: bytes) -> None:
    """Bytes are the choices that hypothesis makes."""

    @settings(deadline=None, database=None)
    @given(target.inputs)
    def feed(drawn: Any) -> None:
        target.check(drawn)

    feed.hypothesis.fuzz_one_input(data)  # type: ignore[attr-defined]


# Whole calls and conversations, the real core, store and key plane behind them. `tests/unit/test_fuzz.py` is
# their quick run.
CONVERSATIONS = tuple(
    Entry(f"conversation-{target.name.replace(' ', '-')}", partial(_take, target), lambda: (bytes(64),))
    for target in TARGETS
)
