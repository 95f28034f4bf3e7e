"""Asks a Prometheus for series over a range of steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from keyweave.cli.exits import UnreachableError
from keyweave.common.errors import InvalidInputError, KeyweaveError

_ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, and its values by their Unix seconds."""

    labels: Mapping[str, str]
    values: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Steps:
    """Stretches of `seconds`, one after the other; the first begins at `start`."""

    start: int
    seconds: int
    count: int

    @property
    def ends(self) -> tuple[int, ...]:
        """When each is over: what a range of its length looks back from."""
        return tuple(self.start + self.seconds * (index + 1) for index in range(self.count))


class Prometheus:
    """A Prometheus at a URL."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidInputError.of(
                "--prometheus", f"'{url}' is no URL; give one like http://localhost:9090"
            )
        self._url = url.rstrip("/")

    async def all(
        self, expressions: Sequence[str], steps: Steps, *, also_start: bool = False
    ) -> list[list[Series]]:
        """What each expression is at the end of every step, and for counters also where the first begins."""
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        first = steps.start if also_start else steps.start + steps.seconds
        last = steps.start + steps.seconds * steps.count
        async with aiohttp.ClientSession(timeout=timeout) as session:
            asked = [
                {"query": each, "start": str(first), "end": str(last), "step": str(steps.seconds)}
                for each in expressions
            ]
            return [[_series(each) for each in await self._ask(session, one)] for one in asked]

    async def _ask(self, session: aiohttp.ClientSession, asked: Mapping[str, str]) -> list[Any]:
        try:
            # A form: some expressions are longer than URLs should be.
            async with session.post(f"{self._url}/api/v1/query_range", data=asked) as response:
                answer = await response.json(content_type=None)
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise UnreachableError(f"no Prometheus answers at {self._url}: {error or 'in time'}") from None
        if not isinstance(answer, dict) or answer.get("status") != "success":
            said = answer.get("error", answer) if isinstance(answer, dict) else answer
            raise KeyweaveError(f"Prometheus at {self._url} refuses {asked['query']}: {said}")
        found: list[Any] = answer["data"]["result"]
        return found


def _series(answer: Mapping[str, Any]) -> Series:
    values = {round(float(time)): float(value) for time, value in answer["values"]}
    return Series(answer["metric"], {time: value for time, value in values.items() if math.isfinite(value)})
