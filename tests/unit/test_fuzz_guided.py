"""What the coverage-guided fuzzer feeds, shortly: seeds, what was once found, and seeds with things wrong.

`make fuzz` looks for longer, with coverage as its guide.
"""

from pathlib import Path
from random import Random

import pytest
import structlog

from tests.fuzz.guided.entries import ENTRIES
from tests.fuzz.guided.entry import Entry, mutated

FOUND = Path(__file__).parents[1] / "fuzz" / "found"
NAMED = {"argvalues": ENTRIES, "ids": [entry.name for entry in ENTRIES]}


@pytest.mark.parametrize("entry", **NAMED)  # type: ignore[arg-type]
def test_bytes_from_outside_are_taken_or_refused(entry: Entry) -> None:
    seeds = list(entry.seeds())
    assert seeds
    random = Random(entry.name)  # the same at each run
    right = random.sample(seeds, min(len(seeds), entry.quick // 2))
    wrong = [mutated(random, random.choice(seeds), random.choice(seeds)) for _ in range(entry.quick // 2)]
    with structlog.testing.capture_logs():
        for data in (b"", *right, *wrong):
            entry.take(data)


@pytest.mark.parametrize("entry", **NAMED)  # type: ignore[arg-type]
def test_what_the_fuzzer_once_found_is_taken_or_refused(entry: Entry) -> None:
    with structlog.testing.capture_logs():
        for path in sorted(FOUND.glob(f"{entry.name}-*")):
            entry.take(path.read_bytes())


def test_every_input_that_was_found_is_for_a_parser_that_there_is() -> None:
    names = {entry.name for entry in ENTRIES}
    assert {path.name.rpartition("-")[0] for path in FOUND.glob("*")} <= names
