"""All links together: what waits to be judged, and when time alone makes a link due."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.common.names import LinkName, NodeName
from keyweave.controller.estimate.estimate import LinkLimits
from keyweave.controller.estimate.link_book import JUDGE_SECONDS, LinkBook
from keyweave.controller.samples import EndSamples, joined
from keyweave.controller.topology import Condition, Link, Status
from keyweave.v1 import agent_pb2
from tests.unit.measurements import LINK, A, B, column, samples

START = 1000.0


def a_book(*names: str) -> LinkBook:
    book = LinkBook(LinkLimits())
    for name in names or (LINK,):
        book.put(Link(LinkName(name), A, B), START)
    return book


def working(book: LinkBook, until: float = START + 10.0) -> float:
    """Both ends of the link report five times a second; when they last did."""
    now = START
    while now < until:
        for node in (A, B):
            if book.observe(samples(node, start=now - 0.2), now):
                book.assess(LINK, now)
        now += 0.2
    return now - 0.2


# ---- when a link is judged ---------------------------------------------------------------------------


def test_a_link_is_judged_with_every_message_until_its_figures_are_settled() -> None:
    book = a_book()
    assert book.observe(samples(A, start=START), START)
    book.assess(LINK, START)
    assert book.observe(samples(B, start=START), START)


def test_what_changes_nothing_waits_for_its_turn() -> None:
    book = a_book()
    now = working(book)
    book.assess(LINK, now)
    before = book[LINK].estimate
    assert not book.observe(samples(A, start=now, rows=1, skr=1.0), now + 0.1)
    assert book[LINK].estimate is before
    assert book.observe(samples(B, start=now, rows=1, skr=1.0), now + JUDGE_SECONDS)
    after = book.assess(LINK, now + JUDGE_SECONDS).after
    assert after.skr_bps < before.skr_bps, "what waited is part of the judgement"


@pytest.mark.parametrize(
    "urgent",
    [
        samples(A, rows=1, qber=0.25),
        samples(A, rows=10, qber=column(*[0.03] * 9, 0.25)),
        samples(A, rows=1, status=Status.OFF),
    ],
)
def test_what_may_take_a_link_out_of_use_is_judged_at_once(urgent: EndSamples) -> None:
    book = a_book()
    now = working(book)
    book.assess(LINK, now)
    assert book.observe(replace(urgent, start=now), now + 0.01)


def test_full_interception_is_found_with_the_first_message_that_shows_it() -> None:
    book = a_book()
    now = working(book)
    assert book.observe(samples(A, start=now, qber=0.25), now + 0.001)
    assert book.assess(LINK, now + 0.001).after.condition is Condition.DOWN


def test_a_pool_level_counts_after_the_samples_that_came_before_it() -> None:
    book = a_book()
    now = working(book)
    book.assess(LINK, now)
    book.observe(samples(A, start=now), now + 0.01)
    book.pool(A, agent_pb2.PoolLevel(link=LINK, intake_bits_total=5), now + 0.01)
    last = book[LINK].track.end(A).intake.last
    assert last is not None
    assert last.time == pytest.approx(now + 0.2)


batches = st.lists(
    st.tuples(
        st.sampled_from([A, B]),
        st.integers(1, 30),
        st.floats(0.0, 0.08),
        st.sampled_from([0.0, 0.0, 0.0, 0.7]),
        st.sampled_from([Status.ACTIVE, Status.ACTIVE, Status.PASSIVE]),
    ),
    min_size=1,
    max_size=20,
)


@given(batches)
@settings(deadline=None)
def test_batches_folded_together_amount_to_the_same_as_one_by_one(
    sent: list[tuple[NodeName, int, float, float, Status]],
) -> None:
    """Apart from steps, which are looked for once in what is folded together; small changes have none."""
    together, single = a_book(), a_book()
    ends = {A: START, B: START}
    random = np.random.default_rng(1)
    for node, rows, skr, gap, status in sent:
        start = ends[node] + gap
        ends[node] = start + rows * 0.1
        rates = random.normal(1000 * (1 + skr), 1.0, rows).astype(np.float32)
        batch = samples(node, start=start, rows=rows, skr=rates, status=status)
        together.observe(batch, START + 1.0)
        single.observe(batch, START + 1.0)
        single[LINK].fold()
    together[LINK].fold()
    for node in (A, B):
        one, other = together[LINK].track.end(node), single[LINK].track.end(node)
        assert one.measured_until == pytest.approx(other.measured_until, abs=1e-6)
        for mine, theirs in zip(one.baseline, other.baseline, strict=True):
            assert tuple(mine) == pytest.approx(tuple(theirs), rel=1e-6, abs=1e-6)


def test_only_batches_that_follow_each_other_are_joined() -> None:
    first = samples(A, start=START, rows=10)
    follows = samples(A, start=first.end, rows=5, skr=5.0)
    assert first.is_continued_by(follows)
    both = joined([first, follows])
    assert (both.start, both.end, both.rows) == (first.start, follows.end, 15)
    assert both.skr_bps.tolist() == [1000.0] * 10 + [5.0] * 5
    for other in (
        samples(A, start=first.end + 0.2),
        samples(A, start=first.end, interval=0.2),
        samples(A, start=first.end, status=Status.PASSIVE),
        samples(A, start=first.end, loss=None),
        samples(A, start=first.end, counts=1.0),
    ):
        assert not first.is_continued_by(other)


# ---- time ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), st.sampled_from([0.0, 0.3, 1.0, 5.0])), max_size=40)
)
@settings(deadline=None)
def test_a_link_is_due_exactly_when_its_deadline_has_come(script: list[tuple[str, float]]) -> None:
    book, now = a_book("x", "y", "z"), START
    for name, wait in script:
        now += wait
        due = {each for each in book if (d := book[each].deadline) is not None and d <= now}
        assert set(book.due(now)) == due
        for each in due:
            book.assess(each, now)
        sent = replace(samples(A, start=now), link=LinkName(name))
        if book.observe(sent, now):
            book.assess(LinkName(name), now)
        deadlines = [d for each in book if (d := book[each].deadline) is not None]
        wake = book.next_deadline()
        assert (wake is None) == (not deadlines)
        assert wake is None or now < wake <= min(deadlines), "too early costs little, too late much"


def test_a_link_that_is_gone_is_never_due() -> None:
    book = a_book()
    working(book)
    book.remove(LINK)
    assert book.due(START + 1000.0) == []
    assert book.next_deadline() is None
