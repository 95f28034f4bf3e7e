"""How often somebody may ask: a token bucket for each address, and only so many addresses remembered."""

from collections import OrderedDict

BURST = 10
PER_SECOND = 1 / 6
REMEMBERED = 4096


class RateLimit:
    """Counts requests by where they come from; time is given."""

    def __init__(self, burst: float = BURST) -> None:
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, source: str, now: float) -> bool:
        """Whether one more request of `source` may be looked at, now in monotonic seconds."""
        left, then = self._buckets.pop(source, (self._burst, now))
        left = min(self._burst, left + (now - then) * PER_SECOND)
        admitted = left >= 1
        self._buckets[source] = (left - 1 if admitted else left, now)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return admitted
