"""A peer that asks too often waits; what it is told is true, and nobody else notices."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from keyweave.common.errors import TooManyError, to_status
from keyweave.common.rate_limit import REMEMBERED, RateLimit, RateTerms, RefusedRequests


def test_a_burst_is_taken_and_then_one_at_the_rate() -> None:
    limit = RateLimit.of(RateTerms(per_second=2, burst=3))
    assert [limit.wait("a", 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait("b", 0.0) == 0
    assert limit.wait("a", 0.25) == 0.25
    assert limit.wait("a", 0.5) == 0
    assert limit.refused_total == 2


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 5), st.floats(0.1, 10))
def test_no_more_are_taken_than_burst_and_rate_allow_and_who_waits_as_told_is_taken(
    pauses: list[float], burst: int, per_second: float
) -> None:
    limit, now = RateLimit(burst, per_second), 0.0
    for taken, pause in enumerate(pauses, 1):
        now += pause
        wait = limit.wait("a", now)
        if wait:
            now += wait + 1e-9
            assert limit.wait("a", now) == 0
        assert taken <= burst + now * per_second + 1e-6


def test_only_so_many_peers_are_remembered() -> None:
    limit = RateLimit(1, 0.001)
    for number in range(REMEMBERED + 10):
        limit.wait(str(number), 0.0)
    assert len(limit._buckets) == REMEMBERED
    assert limit.wait(str(REMEMBERED + 9), 0.0)


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    limit = RateLimit(1, 1)
    assert limit.wait("a", 10.0) == 0
    assert limit.wait("a", 5.0) == 1


def test_the_status_says_when_to_come_back_and_the_metric_counts() -> None:
    limit = RateLimit(1, 1)
    limit.wait("a", 0.0)
    error = TooManyError("too often", limit.wait("a", 0.0))
    (detail,) = to_status(error).details
    assert detail.type_url.endswith("google.rpc.RetryInfo")
    registry = CollectorRegistry()
    registry.register(RefusedRequests({"kme": limit}))
    assert registry.get_sample_value("keyweave_requests_refused_total", {"face": "kme"}) == 1
