"""Times as people write them."""

import datetime as dt

import pytest

from keyweave.cli.ledger import unix_nanos

NOW = 1_800_000_000_123_456_789


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("-90s", NOW - 90 * 10**9),
        ("-15m", NOW - 900 * 10**9),
        ("-1h", NOW - 3600 * 10**9),
        ("-2d", NOW - 172_800 * 10**9),
        ("1970-01-01T00:00:01Z", 10**9),
        ("2026-11-21T11:00:00.000001+01:00", 1_795_255_200_000_001_000),
    ],
)
def test_a_time_is_a_moment_to_the_microsecond_or_how_long_ago(text: str, expected: int) -> None:
    assert unix_nanos("--from", text, NOW) == expected


def test_a_time_without_a_zone_is_local() -> None:
    local = dt.datetime(2026, 11, 21, 10, 0, 0).astimezone()
    assert unix_nanos("--to", "2026-11-21T10:00:00", NOW) == int(local.timestamp()) * 10**9
