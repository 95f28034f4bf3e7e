"""How often a peer may ask: a token bucket for each, and only so many peers remembered."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Annotated

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict, Field

# The least recently heard are forgotten: a peer gains a full bucket by it, nobody loses one.
REMEMBERED = 4096


class RateTerms(BaseModel):
    """How often one peer may ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_second: Annotated[float, Field(gt=0, le=1_000_000, description="requests a second, in the long run")]
    burst: Annotated[int, Field(ge=1, le=1_000_000, description="requests at once, after a pause")]


class RateLimit:
    """Counts requests by who asks; time is given."""

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.refused_total = 0

    @classmethod
    def of(cls, terms: RateTerms) -> "RateLimit":
        """By a configuration's terms."""
        return cls(terms.burst, terms.per_second)

    def wait(self, peer: str, now: float) -> float:
        """0 where one more request is taken, now (monotonic seconds); else how long until one is."""
        left, then = self._buckets.pop(peer, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - then) * self._per_second)
        taken = left >= 1
        self._buckets[peer] = (left - 1 if taken else left, now)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        if taken:
            return 0.0
        self.refused_total += 1
        return (1 - left) / self._per_second


class RefusedRequests(Collector):
    """What each face has refused for its rate, for Prometheus."""

    def __init__(self, limits: Mapping[str, RateLimit]) -> None:
        self._limits = limits

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One series a face: who was refused stays with the log."""
        family = CounterMetricFamily(
            "keyweave_requests_refused_total",
            "Requests refused because their sender asks too often, by face",
            labels=("face",),
        )
        for face, limit in self._limits.items():
            family.add_metric((face,), limit.refused_total)
        yield family
