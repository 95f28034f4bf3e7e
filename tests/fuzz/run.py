"""Feeding a target."""

from typing import Any

import structlog
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded

from tests.fuzz.target import Target


def run(target: Target, examples: int, *, seed: int | None = None) -> None:
    """Feed so many inputs; raises what comes out of the smallest that is a finding."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=False,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.normal,
    )
    @given(target.inputs)
    def feed(given_input: Any) -> None:
        target.check(given_input)

    with structlog.testing.capture_logs():
        (feed if seed is None else seeded(seed)(feed))()
