"""What waits for the controller: events are never lost, samples only where counted, and memory is bounded."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from keyweave.agent.ring import Ring
from keyweave.v1 import agent_pb2

MAX_BATCHES, MAX_EVENTS = 8, 10
KINDS = [agent_pb2.AGENT_EVENT_KIND_FAILOVER, agent_pb2.AGENT_EVENT_KIND_KEYS_DESTROYED]
LINKS = ["a-b", "b-c"]


def batch(rows: int) -> agent_pb2.TelemetryBatch:
    return agent_pb2.TelemetryBatch(links=[agent_pb2.LinkSamples(link="a-b", rows=rows)])


def event(reason: str, *, link: str = "a-b", count: int = 0) -> agent_pb2.AgentEvent:
    return agent_pb2.AgentEvent(
        kind=agent_pb2.AGENT_EVENT_KIND_LINK_QBER_ABORT, link=link, reason=reason, count=count
    )


def send_all(ring: Ring, credit: int = 1000) -> list[agent_pb2.TelemetryRequest]:
    sent = []
    while (request := ring.next(credit)) is not None:
        sent.append(request)
    return sent


class RingAndController(RuleBasedStateMachine):
    """An agent's ring, a connection that breaks, and a controller that acknowledges when it likes."""

    @initialize()
    def start(self) -> None:
        self.ring = Ring(MAX_BATCHES, MAX_EVENTS)
        self.received: dict[int, bytes] = {}  # by sequence, as it first arrived
        self.expected = 1  # next sequence on this connection
        self.acked = 0
        self.credit = 0
        self.added_rows = self.added_occurrences = self.added_count = 0

    @rule(rows=st.integers(0, 5))
    def add_batch(self, rows: int) -> None:
        self.ring.add_batch(batch(rows))
        self.added_rows += rows

    @rule(kind=st.sampled_from(KINDS), link=st.sampled_from(LINKS), count=st.integers(0, 3))
    def add_event(self, kind: agent_pb2.AgentEventKind, link: str, count: int) -> None:
        self.ring.add_event(agent_pb2.AgentEvent(kind=kind, link=link, count=count))
        self.added_occurrences += 1
        self.added_count += count

    @rule(more=st.integers(0, 6))
    def give_credit(self, more: int) -> None:
        self.credit = max(self.credit, self.acked + more)

    @rule(most=st.integers(1, 10))
    def send(self, most: int) -> None:
        for _ in range(most):
            request = self.ring.next(self.credit)
            if request is None:
                return
            assert request.sequence == self.expected, "sequences are consecutive, and go on where acks ended"
            assert request.sequence <= self.credit
            content = request.SerializeToString(deterministic=True)
            assert self.received.setdefault(request.sequence, content) == content, "a resend is identical"
            self.expected += 1

    @rule(back=st.integers(0, 5))
    def acknowledge(self, back: int) -> None:
        self.acked = max(self.acked, self.expected - 1 - back)
        self.ring.acked(self.acked)
        assert self.ring.first_sequence == self.acked + 1

    @rule()
    def connection_breaks(self) -> None:
        self.ring.rewind()
        self.expected = self.acked + 1
        assert self.ring.first_sequence == self.expected

    @invariant()
    def memory_is_bounded(self) -> None:
        waiting = len(self.ring) - self.ring.unacked
        assert waiting <= MAX_BATCHES + max(MAX_EVENTS, len(KINDS) * len(LINKS))
        assert self.ring.unacked <= max(0, self.credit - self.acked)

    def teardown(self) -> None:
        """Whatever happened, the controller ends up with every event, and every row is sent or counted."""
        if not hasattr(self, "ring"):
            return
        self.connection_breaks()
        self.credit = 10_000
        self.send(10_000)
        arrived = [agent_pb2.TelemetryRequest.FromString(content) for content in self.received.values()]
        assert sorted(self.received) == list(range(1, len(arrived) + 1))
        events = [request.event for request in arrived if request.WhichOneof("kind") == "event"]
        assert sum(each.occurrences for each in events) == self.added_occurrences
        assert sum(each.count for each in events) == self.added_count
        rows = sum(link.rows for request in arrived for link in request.batch.links)
        assert rows + self.ring.dropped_samples_total == self.added_rows
        dropped = [r.batch.dropped_samples_total for r in arrived if r.WhichOneof("kind") == "batch"]
        assert dropped == sorted(dropped)


TestRingAndController = RingAndController.TestCase
TestRingAndController.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_events_go_before_samples() -> None:
    ring = Ring()
    ring.add_batch(batch(1))
    ring.add_event(event("first"))
    assert [request.WhichOneof("kind") for request in send_all(ring)] == ["event", "batch"]


def test_nothing_is_sent_beyond_the_credit() -> None:
    ring = Ring()
    for number in range(5):
        ring.add_event(event(str(number)))
    assert [request.sequence for request in send_all(ring, credit=3)] == [1, 2, 3]
    ring.rewind()
    assert [request.sequence for request in send_all(ring, credit=2)] == [1, 2]


def test_after_a_broken_connection_exactly_what_was_not_acknowledged_goes_again() -> None:
    ring = Ring()
    for number in range(4):
        ring.add_event(event(str(number)))
    first = send_all(ring)
    ring.acked(2)
    ring.rewind()
    assert send_all(ring) == first[2:]


def test_an_acknowledgement_in_the_middle_of_a_resend_skips_nothing() -> None:
    ring = Ring()
    for number in range(4):
        ring.add_event(event(str(number)))
    send_all(ring)
    ring.rewind()
    assert [request.sequence for request in (ring.next(9), ring.next(9)) if request] == [1, 2]
    ring.acked(2)
    assert [request.sequence for request in send_all(ring)] == [3, 4]


def test_too_many_samples_are_thinned_out_among_the_oldest_and_counted_in_the_next_batch() -> None:
    ring = Ring(max_batches=8)
    for rows in range(1, 10):
        ring.add_batch(batch(rows))
    sent = send_all(ring)
    assert [request.batch.links[0].rows for request in sent] == [1, 3, 5, 6, 7, 8, 9]
    assert ring.dropped_samples_total == 2 + 4
    assert {request.batch.dropped_samples_total for request in sent} == {6}


def test_too_many_equal_events_become_one_that_counts_them_and_keeps_the_newest_reason() -> None:
    ring = Ring(max_events=3)
    for number in range(4):
        ring.add_event(event(f"reason {number}", count=10))
    ring.add_event(event("elsewhere", link="b-c"))
    merged, other = (request.event for request in send_all(ring))
    assert (merged.occurrences, merged.count, merged.reason) == (4, 40, "reason 3")
    assert (other.occurrences, other.reason) == (1, "elsewhere")


def test_an_event_that_was_sent_is_not_merged_any_more() -> None:
    ring = Ring(max_events=1)
    ring.add_event(event("on its way"))
    sent = ring.next(1)
    for _ in range(3):
        ring.add_event(event("later"))
    assert sent is not None
    assert sent.event.occurrences == 1
    assert [request.event.occurrences for request in send_all(ring)] == [3]


def test_recalls_are_never_merged_since_each_lists_other_keys() -> None:
    ring = Ring(max_events=3)
    recalls = [
        agent_pb2.AgentEvent(
            kind=agent_pb2.AGENT_EVENT_KIND_KEYS_RECALLED, link="a-b", stream="s", key_ids=[str(number)]
        )
        for number in range(50)
    ]
    for recall in recalls:
        ring.add_event(recall)
    sent = [request.event for request in send_all(ring)]
    assert [list(recall.key_ids) for recall in sent] == [[str(number)] for number in range(50)]
