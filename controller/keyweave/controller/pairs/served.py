"""One pair stream: how it is served, and what its agents have counted. Pure; owned by `supply`."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from keyweave.common.names import NodeName
from keyweave.controller.pairs.estimate import Counter, FidelityEstimate, FidelityTally, tests_of
from keyweave.controller.pairs.streams import PairStream, PairWay
from keyweave.controller.routing.entanglement.serve import Refused, Served
from keyweave.v1 import pairs_pb2

# Time constant over which a delivered rate is averaged.
DELIVERED_TAU_SECONDS = 10.0
# Pairs to be measured are used as they come: where so much less than planned is delivered so long after the
# plan, something that nobody reports is in the way (agents that are too busy, a slow network).
SHORT_RATIO, SHORT_SECONDS = 0.7, 60.0
# How long paths run before what they give is held against what was predicted: the first pairs take a while.
SETTLING_SECONDS = 10.0
# What is told of that rests on so much time and so many pairs at least; by chance it is off by a tenth then.
LEAST_KEPT_SECONDS, LEAST_KEPT_PAIRS = 30.0, 100.0
# Tests along each axis before a fidelity is shown, with an interval that says how little that is.
LEAST_SHOWN_TESTS = 10.0


class State(StrEnum):
    """How a pair stream stands; see the proto's PairStreamState."""

    UNMET = "unmet"
    PARTLY_MET = "partly met"
    MET = "met"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Came:
    """What has come of a prediction since the paths of a stream are in force: processing time counted."""

    pairs: int
    predicted: float
    seconds: float

    @property
    def ratio(self) -> float:
        """Of what was predicted."""
        return self.pairs / self.predicted


@dataclass(frozen=True, slots=True)
class PairStreamView:
    """A pair stream as those who ask see it."""

    stream: PairStream
    state: State
    reason: str
    since: float
    ways: tuple[PairWay, ...]
    # As planned, tests left out, and no more than what is asked for; 0 where nothing is planned.
    predicted_rate_hz: float
    predicted_fidelity: float
    delivered_rate_hz: float
    measured: FidelityEstimate | None
    delivered_total: int
    tested_total: int
    lost_total: int
    kept: int
    mean_wait_seconds: float
    answer: Served | Refused | None
    # Only where pairs are used as they come, and enough have.
    came: Came | None = None


@dataclass(slots=True)
class _Counts:
    """What one node counted."""

    counter: Counter = field(default_factory=Counter)
    tests: Counter = field(default_factory=Counter)
    kept: int = 0


@dataclass(slots=True)
class ServedStream:
    """A stream, its paths in force, and its figures."""

    spec: PairStream
    since: float
    ways: tuple[PairWay, ...] = ()
    state: State = State.UNMET
    reason: str = "not planned yet"
    answer: Served | Refused | None = None
    # What was last told of it.
    told: State | None = None
    fidelity_low: bool = False
    tally: FidelityTally = field(default_factory=FidelityTally)
    by_path: dict[str, FidelityTally] = field(default_factory=dict)
    delivered_total: int = 0
    tested_total: int = 0
    lost_total: int = 0
    waiting_seconds: float = 0.0
    waited_pairs: int = 0
    delivered_rate_hz: float = 0.0
    _counts: dict[NodeName, _Counts] = field(default_factory=dict)
    _ways_since: float | None = None
    _came: Came = field(default_factory=lambda: Came(0, 0.0, 0.0))
    _rate_at: float = 0.0
    _fresh: int = 0

    def stand(self, state: State, reason: str, now: float) -> None:
        """It stands like this from now on."""
        if state is not self.state:
            self.state, self.since = state, now
        self.reason = reason

    def put_ways(self, ways: tuple[PairWay, ...]) -> None:
        """Other paths than before: what was measured of those that are gone says nothing of these."""
        self.ways = ways
        ids = {way.path_id for way in ways}
        if not ids <= self.by_path.keys():
            self.tally = FidelityTally()
            self._ways_since, self._came = None, Came(0, 0.0, 0.0)
        self.by_path = {path: self.by_path.get(path, FidelityTally()) for path in ids}

    def counted(self, node: NodeName, counts: pairs_pb2.PairStreamCounts, now: float) -> None:
        """What one node has counted of it so far, over all paths."""
        is_first = node not in self._counts
        known = self._counts.setdefault(node, _Counts())
        delivered, tested, lost, waiting = known.counter.news(
            counts.delivered_total,
            counts.tested_total,
            counts.expired_total + counts.swaps_failed_total + counts.purifications_failed_total,
            counts.waiting_seconds_total,
        )
        self.lost_total += int(lost)
        known.kept = counts.kept
        if node != self.spec.source:
            return
        # What the agent counted while another controller led is known from the store, or from it.
        self.delivered_total = (
            max(self.delivered_total, int(delivered)) if is_first else self.delivered_total + int(delivered)
        )
        self.tested_total += int(tested)
        self.waiting_seconds += waiting
        self.waited_pairs += int(delivered)
        self._fresh += 0 if is_first else int(delivered)
        totals, equals = tests_of(known.tests, counts.tests)
        # Of a path that has left the plan they say nothing of those that are in force.
        if counts.path_id in self.by_path and not is_first:
            self.tally.add(totals, equals, now)
            if len(self.by_path) == 1:
                self.by_path[counts.path_id].add(totals, equals, now)

    def average(self, now: float) -> None:
        """Bring the delivered rate up to date."""
        elapsed = now - self._rate_at
        if self._rate_at and elapsed > 0:
            weight = 1 - math.exp(-elapsed / DELIVERED_TAU_SECONDS)
            self.delivered_rate_hz += weight * (self._fresh / elapsed - self.delivered_rate_hz)
            self._hold_to_plan(elapsed, now)
        self._rate_at, self._fresh = now, 0

    def _hold_to_plan(self, elapsed: float, now: float) -> None:
        """Add up what came beside what was predicted."""
        if not self.ways:
            self._ways_since = None
            return
        if self._ways_since is None:
            self._ways_since = now
        if now - self._ways_since >= SETTLING_SECONDS:
            came = self._came
            predicted = came.predicted + self._planned_hz() * elapsed
            self._came = Came(came.pairs + self._fresh, predicted, came.seconds + elapsed)

    def _planned_hz(self) -> float:
        """As predicted, tests left out, and no more than what is asked for."""
        served = self.answer if isinstance(self.answer, Served) and self.ways else None
        return min(served.rate_hz * (1 - self.spec.test_ratio), self.spec.rate_hz) if served else 0.0

    def _standing(self, planned_hz: float) -> tuple[State, str]:
        """As planned, unless what is delivered says otherwise."""
        short = self.delivered_rate_hz < SHORT_RATIO * planned_hz
        if not (short and self.state is State.MET and self.spec.kind == "md"):
            return self.state, self.reason
        if self._rate_at - self.since < SHORT_SECONDS:
            return self.state, self.reason
        got = f"{self.delivered_rate_hz:.3g} of {planned_hz:.3g} pairs/s planned are delivered"
        return State.PARTLY_MET, f"{got}: agents or the network between them are slower than the hardware"

    def view(self, readout: float) -> PairStreamView:
        """As those who ask see it."""
        served = self.answer if isinstance(self.answer, Served) and self.ways else None
        planned_hz, came = self._planned_hz(), self._came
        enough = came.seconds >= LEAST_KEPT_SECONDS and came.predicted >= LEAST_KEPT_PAIRS
        source = self._counts.get(self.spec.source)
        state, reason = self._standing(planned_hz)
        return PairStreamView(
            stream=self.spec,
            state=state,
            reason=reason,
            since=self.since,
            ways=self.ways,
            predicted_rate_hz=planned_hz,
            predicted_fidelity=served.fidelity if served else 0.0,
            delivered_rate_hz=self.delivered_rate_hz if self.ways else 0.0,
            measured=self.tally.estimate(readout, LEAST_SHOWN_TESTS),
            delivered_total=self.delivered_total,
            tested_total=self.tested_total,
            lost_total=self.lost_total,
            kept=source.kept if source is not None else 0,
            mean_wait_seconds=self.waiting_seconds / self.waited_pairs if self.waited_pairs else 0.0,
            answer=self.answer,
            came=came if enough and self.spec.kind == "md" else None,
        )
