"""The rate that a vendor's domain is told to give, and what the controller makes of it."""

import math
import struct

import pytest

from keyweave.agent.drivers import etsi014_supply
from keyweave.agent.drivers.etsi014_kme import KmeStatus
from keyweave.agent.drivers.etsi014_supply import Supply
from keyweave.common.names import LinkName, NodeName
from keyweave.controller import samples
from keyweave.controller.estimate.estimate import LinkEstimate, LinkLimits
from keyweave.controller.estimate.link_book import LinkBook
from keyweave.controller.topology import Condition, Link
from keyweave.v1 import agent_pb2, types_pb2

AB, A, B = LinkName("a-b"), NodeName("a"), NodeName("b")
KEY_BITS = 256


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return round(self.now * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(etsi014_supply, "time", made)
    return made


def status(stored: int = 500) -> KmeStatus:
    return KmeStatus(
        key_size=KEY_BITS, stored_key_count=stored, max_key_per_request=16, max_key_size=1024, min_key_size=64
    )


def told(row: agent_pb2.LinkSamples) -> tuple[str, float]:
    rates = struct.unpack(f"<{row.rows}f", row.skr_bps)
    assert len(set(map(str, rates))) == 1
    return types_pb2.LinkStatus.Name(row.status).removeprefix("LINK_STATUS_"), rates[0]


def test_while_more_is_wanted_than_comes_what_came_is_the_rate_less_what_was_in_store(clock: Clock) -> None:
    supply = Supply(AB, draws=True)
    supply.begin()
    supply.busy()
    supply.rows(status(stored=100), KEY_BITS)
    for stored, keys, rate in ((70, 40, 10), (70, 10, 10), (80, 8, 8), (0, 0, 0)):
        clock.now += 1.0
        supply.drew(keys * KEY_BITS)
        said, bps = told(supply.rows(status(stored), KEY_BITS))
        assert said == "ACTIVE"
        assert bps == pytest.approx(rate * KEY_BITS)


def test_while_nobody_wants_more_only_a_rate_above_the_best_so_far_is_news(clock: Clock) -> None:
    supply = Supply(AB, draws=True)
    supply.begin()
    for keys, news in ((0, False), (40, True), (39, False), (41, True), (0, False)):
        clock.now += 0.5
        supply.busy()
        supply.drew(keys * KEY_BITS)
        supply.idle()
        clock.now += 0.5
        said, rate = told(supply.rows(status(), KEY_BITS))
        assert said == ("ACTIVE" if news else "PASSIVE")
        assert rate == pytest.approx(keys * KEY_BITS) if news else math.isnan(rate)


def judged(
    clock: Clock, book: LinkBook, supplies: dict[NodeName, Supply], stored: int, taken_bits: int
) -> LinkEstimate:
    for node, supply in supplies.items():
        book.observe(samples.decode(supply.rows(status(stored), KEY_BITS), node), clock.now)
        book.pool(node, agent_pb2.PoolLevel(link=AB, intake_bits_total=taken_bits), clock.now)
    return book.assess(AB, clock.now).after


def test_a_link_that_was_drawn_on_once_can_be_planned_on_though_nobody_wants_key_now_and_no_qber_is_known(
    clock: Clock,
) -> None:
    book = LinkBook(LinkLimits())
    book.put(Link(AB, A, B), clock.now)
    supplies = {A: Supply(AB, draws=True), B: Supply(AB, draws=False)}
    for supply in supplies.values():
        supply.begin()
    clock.now += 0.4
    supplies[A].busy()
    supplies[A].drew(100 * KEY_BITS)
    supplies[A].idle()
    taken = 100 * KEY_BITS
    for _ in range(120):
        clock.now += 1.0
        estimate = judged(clock, book, supplies, 400, taken)
    assert (estimate.condition, estimate.reason) == (Condition.OK, "working; QBER is not measured")
    assert estimate.usable_rate_bps == pytest.approx(100 * KEY_BITS / 1.4, rel=0.01)
    supplies[A].busy()
    for _ in range(60):
        clock.now += 1.0
        supplies[A].drew(4 * KEY_BITS)
        taken += 4 * KEY_BITS
        estimate = judged(clock, book, supplies, 0, taken)
    assert estimate.condition is Condition.OK
    assert 0.7 * 4 * KEY_BITS < estimate.usable_rate_bps <= 4 * KEY_BITS, "less than it seemed at first"
