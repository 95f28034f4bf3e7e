"""What is counted of streams and links, for telemetry; since the agent started."""

from collections.abc import Collection
from dataclasses import dataclass, field

from keyweave.agent.pairs.fidelity import Axis, Tests
from keyweave.agent.pairs.steps import PathRule
from keyweave.agent.pairs.stock import Ending
from keyweave.common.names import LinkName, StreamName
from keyweave.v1 import pairs_pb2 as pb


@dataclass(slots=True)
class StreamCounts:
    """Of one stream, here."""

    delivered: int = 0
    tested: int = 0
    waiting_seconds: float = 0.0
    purifications: int = 0
    expired: int = 0
    withdrawn: int = 0
    swaps_failed: int = 0
    purifications_failed: int = 0
    tests: Tests = field(default_factory=Tests)


class Counts:
    """Of all streams and links."""

    def __init__(self) -> None:
        self.streams: dict[StreamName, StreamCounts] = {}
        self.links: dict[LinkName, Tests] = {}

    def of(self, path: PathRule) -> StreamCounts:
        """Those of a path's stream."""
        counts = self.streams.get(path.stream)
        if counts is None:
            counts = self.streams[path.stream] = StreamCounts()
        return counts

    def of_stream(self, stream: StreamName) -> StreamCounts:
        """Those of a stream; nothing of one that is not known."""
        return self.streams.get(stream) or StreamCounts()

    def tests(self, path: PathRule) -> Tests:
        """Of a stream, or of a link where that is what is tested."""
        if path.is_link_test:
            return self.links.setdefault(path.links[0], Tests())
        return self.of(path).tests

    def delivered_total(self, stream: StreamName) -> int:
        """Pairs that reached both ends, tests left out."""
        counts = self.streams.get(stream)
        return counts.delivered if counts else 0

    def delivered(self, path: PathRule, waiting_seconds: float) -> None:
        """A pair more."""
        counts = self.of(path)
        counts.delivered += 1
        counts.waiting_seconds += max(0.0, waiting_seconds)

    def tested(self, path: PathRule, axis: Axis | None = None, *, equal: bool = False) -> None:
        """A pair more; of tests of fidelity the axis and whether outcomes agreed, where this end knows."""
        if not path.is_link_test:
            self.of(path).tested += 1
        if axis is not None:
            self.tests(path).count(axis, equal=equal)

    def expired(self, path: PathRule) -> None:
        """A pair less."""
        if not path.is_link_test:
            self.of(path).expired += 1

    def ended(self, path: PathRule, ending: Ending) -> None:
        """A half is no more."""
        if path.is_link_test:
            return
        counts = self.of(path)
        match ending:
            case Ending.EXPIRED | Ending.GONE | Ending.LOST:
                counts.expired += 1
            case Ending.WITHDRAWN:
                counts.withdrawn += 1
            case Ending.SWAP_FAILED:
                counts.swaps_failed += 1
            case Ending.SPENT:
                counts.purifications += 1
            case Ending.PURIFICATION_FAILED:
                counts.purifications_failed += 1

    def keep_only(self, streams: Collection[StreamName], links: Collection[LinkName]) -> None:
        """Forget what policy names no more."""
        self.streams = {name: counts for name, counts in self.streams.items() if name in streams}
        self.links = {name: tests for name, tests in self.links.items() if name in links}

    def to_message(self, path: PathRule, kept: int) -> pb.PairStreamCounts:
        """For the wire."""
        counts = self.of(path)
        return pb.PairStreamCounts(
            stream=path.stream,
            is_source=path.is_source,
            path_id=path.path_id,
            delivered_total=counts.delivered,
            tested_total=counts.tested,
            expired_total=counts.expired,
            swaps_failed_total=counts.swaps_failed,
            purifications_total=counts.purifications,
            purifications_failed_total=counts.purifications_failed,
            withdrawn_total=counts.withdrawn,
            tests=counts.tests.to_message() if path.is_source else None,
            waiting_seconds_total=counts.waiting_seconds,
            kept=kept,
        )
