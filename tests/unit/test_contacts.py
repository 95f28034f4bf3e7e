"""A link that is in sight a few minutes a day: its stock is planned by in between, and that is no fault."""

from dataclasses import replace

import pytest

from keyweave.common.errors import InvalidInputError
from keyweave.controller.estimate import estimate
from keyweave.controller.estimate.estimate import LinkEstimate, LinkLimits, LinkTrack
from keyweave.controller.samples import Contact, EndSamples, decode
from keyweave.controller.topology import Condition, Status
from keyweave.v1 import agent_pb2, types_pb2
from tests.unit.measurements import LINK, A, B, samples

FIRST, SECOND = Contact(1000.0, 1400.0, 62.0), Contact(7000.0, 7300.0, 30.0)
LIMITS = LinkLimits()


def seen(
    now: float,
    status: Status = Status.ACTIVE,
    windows: tuple[Contact, ...] = (FIRST, SECOND),
    loss: float = 14.0,
) -> list[EndSamples]:
    """What both ends tell; between contacts they measure nothing."""
    dark = status is Status.PENDING
    return [
        replace(
            samples(
                node,
                start=now - 0.2,
                status=status,
                qber=None if dark else 0.03,
                sifted=0.0 if dark else 10_000.0,
                skr=0.0 if dark else 1000.0,
                loss=None if dark else loss,
            ),
            contacts=windows,
        )
        for node in (A, B)
    ]


def told(track: LinkTrack, messages: list[EndSamples], now: float) -> tuple[LinkTrack, LinkEstimate]:
    for message in messages:
        track = estimate.observe(track, message, LIMITS, now)
    return estimate.assess(track, LIMITS, now)


def between(now: float, pool_bits: int = 0) -> tuple[LinkTrack, LinkEstimate]:
    """A link that waits for its next contact with so much in both pools."""
    track = estimate.fresh(LINK, A, B, now)
    track, _ = told(track, seen(now, Status.PENDING), now)
    for node in (A, B):
        track = estimate.pool_reported(track, node, usable_bits=pool_bits, intake_bits_total=pool_bits)
    return estimate.assess(track, LIMITS, now)


def test_between_contacts_a_link_is_ok_and_says_when_the_next_is() -> None:
    _, found = between(2000.0)
    assert found.condition is Condition.OK
    assert found.reason == "between contacts: the next one is 1970-01-01T01:56:40Z to 1970-01-01T02:01:40Z"
    assert found.next_contact == SECOND
    assert found.settled


def test_what_the_pools_hold_is_spread_until_the_next_contact() -> None:
    _, found = between(2000.0, pool_bits=5_000_000)
    assert found.usable_rate_bps == pytest.approx(5_000_000 / 5000)


def test_stock_is_not_spent_at_once_right_before_a_contact() -> None:
    _, found = between(6999.0, pool_bits=60_000)
    assert found.usable_rate_bps == pytest.approx(1000)


def test_a_link_without_a_further_window_makes_its_stock_last_a_day() -> None:
    track, _ = between(2000.0, pool_bits=86_400)
    _, found = told(track, seen(8000.0, Status.PENDING, windows=()), 8000.0)
    assert found.usable_rate_bps == pytest.approx(1.0)
    assert found.reason == "between contacts: no further one is known"


def test_in_contact_the_measured_rate_counts() -> None:
    track = estimate.fresh(LINK, A, B, 1100.0)
    for step in range(20):
        now = 1100.0 + 0.2 * step
        track, found = told(track, seen(now), now)
    assert found.condition is Condition.OK
    assert found.usable_rate_bps == pytest.approx(1000.0)
    assert found.next_contact == FIRST


def test_a_device_that_is_not_ready_within_a_contact_is_degraded() -> None:
    _, found = between(1200.0, pool_bits=60_000)
    assert found.condition is Condition.DEGRADED
    assert found.usable_rate_bps == 0


def test_the_link_is_looked_at_again_when_a_window_opens_and_closes() -> None:
    track, _ = between(2000.0)
    a, b = (end._replace(seen_at=1e6) for end in track.ends)
    track = track._replace(ends=(a, b))
    assert estimate.next_deadline(track, LIMITS) == SECOND.start
    assert estimate.next_deadline(track._replace(assessed_at=SECOND.start), LIMITS) == SECOND.end


def test_the_changing_loss_of_a_pass_is_no_attenuation() -> None:
    track = estimate.fresh(LINK, A, B, 1000.0)
    for step in range(1500):
        now = 1040.0 + 0.2 * step
        loss = 30.0 + 10.0 * abs(step - 750) / 750
        track, found = told(track, seen(now, loss=loss), now)
        assert found.cause is None
    assert found.condition is Condition.OK


WINDOW = agent_pb2.ContactWindow(start_unix_nanos=10, end_unix_nanos=20, max_elevation_degrees=45)


def message(*windows: agent_pb2.ContactWindow) -> agent_pb2.LinkSamples:
    return agent_pb2.LinkSamples(
        link=LINK, interval_micros=1000, rows=1, status=types_pb2.LINK_STATUS_PENDING, contacts=windows
    )


def test_windows_are_taken_from_telemetry() -> None:
    assert decode(message(WINDOW), A).contacts == (Contact(10e-9, 20e-9, 45.0),)


@pytest.mark.parametrize(
    ("windows", "field"),
    [
        ([WINDOW, WINDOW], "links.contacts[1]"),
        ([agent_pb2.ContactWindow(start_unix_nanos=10, end_unix_nanos=10)], "links.contacts[0]"),
        (
            [agent_pb2.ContactWindow(start_unix_nanos=1, end_unix_nanos=2, max_elevation_degrees=91)],
            "links.contacts[0].max_elevation_degrees",
        ),
        ([WINDOW] * 17, "links.contacts"),
    ],
)
def test_windows_that_cannot_be_are_refused(windows: list[agent_pb2.ContactWindow], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        decode(message(*windows), A)
    assert refused.value.violations[0].field == field
