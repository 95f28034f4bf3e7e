"""Whatever comes in, anywhere: nothing but the documented errors comes out, and what it is not about stays.

`python -m tests.fuzz --minutes 10` looks for longer.
"""

import pytest

from tests.fuzz.run import run
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name.replace(" ", "-"))
def test_whatever_comes_in_is_taken_or_refused_and_nothing_else(target: Target) -> None:
    run(target, target.examples)
