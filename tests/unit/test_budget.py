"""Token buckets: never more than rate and burst allow, over any interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.agent.keyplane.streams.budget import TokenBucket

STEPS = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 300)), max_size=60)


@given(steps=STEPS)
def test_what_is_taken_never_exceeds_burst_plus_rate_times_time(steps: list[tuple[float, float]]) -> None:
    bucket, now, taken = TokenBucket(100.0, 250.0, now=0.0), 0.0, 0.0
    for wait, tokens in steps:
        now += wait
        if bucket.take(tokens, now):
            taken += tokens
        assert taken <= 250.0 + 100.0 * now + 1e-6


@given(steps=STEPS)
def test_a_refusal_takes_nothing(steps: list[tuple[float, float]]) -> None:
    bucket, now = TokenBucket(100.0, 250.0, now=0.0), 0.0
    for wait, tokens in steps:
        now += wait
        before = bucket.available(now)
        expected = before - tokens if bucket.take(tokens, now) else before
        assert bucket.available(now) == pytest.approx(expected)
        assert 0 <= bucket.available(now) <= 250.0


def test_it_starts_full_and_refills_at_its_rate() -> None:
    bucket = TokenBucket(10.0, 20.0, now=5.0)
    assert bucket.take(20.0, now=5.0)
    assert not bucket.take(1.0, now=5.0)
    assert not bucket.take(10.5, now=6.0)
    assert bucket.take(10.0, now=6.0)
    assert bucket.available(100.0) == 20.0


def test_time_that_runs_backwards_refills_nothing() -> None:
    bucket = TokenBucket(10.0, 20.0, now=5.0)
    bucket.take(20.0, now=5.0)
    assert bucket.available(now=1.0) == 0.0
    assert bucket.available(now=6.0) == 10.0


def test_new_terms_keep_what_is_saved_within_the_new_burst() -> None:
    bucket = TokenBucket(10.0, 20.0, now=0.0)
    bucket.resize(100.0, 5.0, now=0.0)
    assert bucket.available(now=0.0) == 5.0
    bucket.resize(100.0, 50.0, now=0.0)
    assert bucket.available(now=0.0) == 5.0, "a larger burst is filled at the rate, not given"
    assert bucket.available(now=0.1) == pytest.approx(15.0)
