"""What waits to be told to the controller while it is away: bounded, and honest about what it lost.

Samples may be thinned out (every second of the oldest half goes, and is counted); events never are: where
there are too many, equal ones are merged and counted instead.
"""

from collections import deque

from keyweave.v1 import agent_pb2

MAX_BATCHES = 600
MAX_EVENTS = 2000
MAX_UNACKED = 2000


class Ring:
    """Telemetry in the order it will be sent. Sequences are given out at the first sending."""

    def __init__(self, max_batches: int = MAX_BATCHES, max_events: int = MAX_EVENTS) -> None:
        self.dropped_samples_total = 0
        self._max_batches = max_batches
        self._max_events = max_events
        self._merge_above = max_events
        self._events: deque[agent_pb2.AgentEvent] = deque()
        self._batches: deque[agent_pb2.TelemetryBatch] = deque()
        self._sent: deque[agent_pb2.TelemetryRequest] = deque()
        self._next_sequence = 1
        self._resend = 0

    def __len__(self) -> int:
        return len(self._events) + len(self._batches) + len(self._sent)

    @property
    def unacked(self) -> int:
        """Messages sent and not acknowledged."""
        return len(self._sent)

    @property
    def first_sequence(self) -> int:
        """Sequence of the first message that is not acknowledged, sent or not."""
        return self._sent[0].sequence if self._sent else self._next_sequence

    def add_batch(self, batch: agent_pb2.TelemetryBatch) -> None:
        """Queue samples; older ones are thinned out when there are too many."""
        self._batches.append(batch)
        if len(self._batches) > self._max_batches:
            self._thin_out()

    def add_event(self, event: agent_pb2.AgentEvent) -> None:
        """Queue an event; it goes before any samples and is never dropped."""
        event.occurrences = max(1, event.occurrences)
        self._events.append(event)
        if len(self._events) > self._merge_above:
            self._merge_events()
            # Where little can be merged it is not tried again with every event.
            self._merge_above = max(self._max_events, len(self._events) * 5 // 4)

    def next(self, credit_sequence: int) -> agent_pb2.TelemetryRequest | None:
        """The next message to send; None where there is nothing, or no credit for it."""
        if self._resend < len(self._sent):
            request = self._sent[self._resend]
            if request.sequence > credit_sequence:
                return None
            self._resend += 1
            return request
        # A controller that gives credit and never acknowledges must not make this grow.
        if self._next_sequence > credit_sequence or len(self._sent) >= MAX_UNACKED:
            return None
        request = agent_pb2.TelemetryRequest(sequence=self._next_sequence)
        if self._events:
            request.event.CopyFrom(self._events.popleft())
        elif self._batches:
            request.batch.CopyFrom(self._batches.popleft())
            request.batch.dropped_samples_total = self.dropped_samples_total
        else:
            return None
        self._next_sequence += 1
        self._sent.append(request)
        self._resend += 1
        return request

    def acked(self, sequence: int) -> None:
        """Forget everything up to and including a sequence."""
        while self._sent and self._sent[0].sequence <= sequence:
            self._sent.popleft()
            self._resend -= 1
        self._resend = max(0, self._resend)

    def rewind(self) -> None:
        """The connection broke: send again what was not acknowledged."""
        self._resend = 0

    def _thin_out(self) -> None:
        half = len(self._batches) // 2
        kept: deque[agent_pb2.TelemetryBatch] = deque()
        for index, batch in enumerate(self._batches):
            if index < half and index % 2:
                self.dropped_samples_total += sum(link.rows for link in batch.links)
            else:
                kept.append(batch)
        self._batches = kept

    def _merge_events(self) -> None:
        merged: dict[tuple[object, ...], agent_pb2.AgentEvent] = {}
        for event in self._events:
            # Key IDs are told once: an event that lists any is kept as it is.
            key = (event.kind, event.link, event.stream, event.peer_node, *event.key_ids)
            before = merged.pop(key, None)
            if before is not None:
                event.occurrences += before.occurrences
                event.count += before.count
            merged[key] = event
        self._events = deque(merged.values())
