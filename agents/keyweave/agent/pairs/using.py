"""What becomes of pairs that go from end to end: kept, measured, tested.

The source decides and numbers them; it acts on its half first and then says so. The target does the same to
its own half and confirms. Only what is confirmed counts as delivered.
"""

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from keyweave.agent.drivers.memories import Measure
from keyweave.agent.keyplane.streams.budget import TokenBucket
from keyweave.agent.pairs import bell_test
from keyweave.agent.pairs.bell_test import BellTest
from keyweave.agent.pairs.counts import Counts
from keyweave.agent.pairs.deliver import Basis, BeginKeyRun, KeptPair, KeyRun, Outcome, PairOutcomes, Shelf
from keyweave.agent.pairs.fidelity import Axis, along
from keyweave.agent.pairs.pair import Doing, Moment, Pair
from keyweave.agent.pairs.steps import PathRule
from keyweave.agent.pairs.stock import Ending, Stock
from keyweave.common.names import NodeName, StreamName
from keyweave.v1 import pairs_pb2 as pb

KEEP, MEASURE = pb.PAIR_USE_KIND_KEEP, pb.PAIR_USE_KIND_MEASURE
TEST, BELL_TEST = pb.PAIR_USE_KIND_TEST, pb.PAIR_USE_KIND_BELL_TEST
# The source may be late by so many seconds' worth of pairs, or by so many pairs, and make up for it.
BURST_SECONDS = 2.0
BURST_PAIRS = 4.0
# After this long an end that has not confirmed is taken to have lost its half.
CONFIRM_SECONDS = 5.0

_chance = secrets.SystemRandom()


@dataclass(slots=True)
class _Run:
    """One path of a stream at one of its ends."""

    path: PathRule
    bucket: TokenBucket
    # The last number of each use: at the source given, at the target seen.
    numbers: dict[int, int] = field(default_factory=dict)
    keys: PairOutcomes | None = None
    over: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    """At the source: measured here, and the target told so."""

    pair: Pair
    use: pb.PairUse
    age_seconds: float


class Uses:
    """Of one node's streams, and of the links that it tests."""

    def __init__(self, stock: Stock, counts: Counts, shelf: Shelf, begin_keys: BeginKeyRun | None) -> None:
        self._stock = stock
        self._counts = counts
        self._shelf = shelf
        self._begin_keys = begin_keys
        self._runs: dict[str, _Run] = {}
        self._asked: dict[bytes, _Asked] = {}
        self.bell_tests: dict[StreamName, BellTest] = {}
        # Told when a stream has delivered all that it was to, or its time is over.
        self.on_over: Callable[[PathRule, str], None] = lambda _path, _reason: None

    # ---- runs ---------------------------------------------------------------------------------

    def begin(self, path: PathRule, now: Moment) -> None:
        """A path that ends here is in force."""
        burst = max(BURST_PAIRS, path.rate_hz * BURST_SECONDS) if not path.is_link_test else 1.0
        run = _Run(path, TokenBucket(path.rate_hz, burst, now.seconds))
        self._runs[path.tag] = run
        self._begin_key_run(run)

    def end(self, path: PathRule) -> None:
        """It is not any more."""
        run = self._runs.pop(path.tag, None)
        if run is not None and run.keys is not None:
            run.keys.end()

    def begin_anew(self, path: PathRule) -> None:
        """The other end has started afresh, and numbers with it."""
        run = self._runs.get(path.tag)
        if run is None:
            return
        run.numbers.clear()
        if run.keys is not None:
            run.keys.end()
        self._begin_key_run(run)

    def _begin_key_run(self, run: _Run) -> None:
        path = run.path
        if path.key_link is not None and self._begin_keys is not None:
            run.keys = self._begin_keys(
                KeyRun(path.stream, path.path_id, path.key_link, path.far_end, path.is_source)
            )

    def wanted(self, path: PathRule, now: Moment) -> bool:
        """Whether the source should have more pairs made."""
        run = self._runs.get(path.tag)
        if run is None or run.over:
            return False
        if path.deadline_unix_nanos and now.unix_nanos >= path.deadline_unix_nanos:
            self._over(run, "its deadline has passed")
            return False
        if path.stream in self.bell_tests:
            return True
        return run.bucket.available(now.seconds) >= 1.0

    def wanted_at(self, path: PathRule, now: Moment) -> float | None:
        """When the source may want more, or be over; None where nothing changes by itself."""
        run = self._runs.get(path.tag)
        if run is None or run.over:
            return None
        times = []
        tokens = run.bucket.available(now.seconds)
        if tokens < 1.0 and path.rate_hz > 0.0:
            times.append(now.seconds + (1.0 - tokens) / path.rate_hz)
        if path.deadline_unix_nanos:
            times.append(now.seconds + max(0, path.deadline_unix_nanos - now.unix_nanos) / 1e9)
        return min(times, default=None)

    def _over(self, run: _Run, reason: str) -> None:
        if not run.over:
            run.over = True
            self.on_over(run.path, reason)

    # ---- at the source ------------------------------------------------------------------------

    def choose(self, pair: Pair, now: Moment) -> None:
        """A pair has reached both ends, as this one knows: decide what becomes of it."""
        path, run = pair.path, self._runs.get(pair.path.tag)
        if run is None or run.over:
            self._stock.give_up(pair, Ending.WITHDRAWN, "the stream is over")
            return
        kind = self._kind(run, path, now)
        number = run.numbers[kind] = run.numbers.get(kind, 0) + 1
        use = pair.use = pb.PairUse(pair_id=pair.pair_id, use=kind, number=number)
        if kind == TEST:
            use.axis = self._counts.tests(path).next_axis()
        if kind == KEEP:
            self._stock.busy(pair, Doing.OFFERED)
            self._stock.out.post(pair.partner, path, pb.PairMessage(use=use))
        else:
            self._measure(pair, run)

    def _kind(self, run: _Run, path: PathRule, now: Moment) -> pb.PairUseKind:
        if path.is_link_test:
            run.bucket.take(1, now.seconds)
            return TEST
        if path.stream in self.bell_tests:
            return BELL_TEST
        if path.test_ratio and _chance.random() < path.test_ratio:
            return TEST
        if not run.bucket.take(1, now.seconds):
            # More than was asked for: at least they tell of the fidelity.
            return TEST
        return MEASURE if path.kind == pb.PAIR_KIND_MEASURE_DIRECTLY else KEEP

    def told_used(self, sender: NodeName, used: pb.PairUsed, now: Moment) -> None:
        """The target has done its part."""
        asked = self._asked.get(used.pair_id)
        if asked is not None and asked.pair.partner == sender:
            del self._asked[used.pair_id]
            self._confirmed(asked, used)
            return
        pair = self._stock.pairs.get(used.pair_id)
        if pair is not None and pair.partner == sender and pair.doing is Doing.OFFERED:
            pair.doing = Doing.KEPT
            self._keep(pair, now)

    def told_gone(self, sender: NodeName, pair_id: bytes) -> None:
        """The target has lost its half of one that was measured here, before it did the same."""
        asked = self._asked.get(pair_id)
        if asked is not None and asked.pair.partner == sender:
            self._unconfirmed(asked)

    def _confirmed(self, asked: _Asked, used: pb.PairUsed) -> None:
        path, use = asked.pair.path, asked.use
        match use.use:
            case pb.PAIR_USE_KIND_TEST:
                self._counts.tested(path, Axis(use.axis), equal=use.outcome == used.outcome)
            case pb.PAIR_USE_KIND_BELL_TEST:
                self._counts.tested(path)
                test = self.bell_tests.get(path.stream)
                if test is not None:
                    test.count(asked.pair.choice, used.setting & 1, equal=use.outcome == used.outcome)
                    if test.finished:
                        del self.bell_tests[path.stream]
            case _:
                self._deliver(path, asked.age_seconds)
                if path.key_link is None:
                    self._shelf.outcome(
                        _outcome(path, use, Basis(asked.pair.choice), use.outcome, asked.age_seconds)
                    )

    def _deliver(self, path: PathRule, age_seconds: float) -> None:
        self._counts.delivered(path, age_seconds)
        run = self._runs.get(path.tag)
        delivered = self._counts.delivered_total(path.stream)
        if run is not None and path.is_source and 0 < path.pair_count <= delivered:
            self._over(run, f"{delivered} pairs are delivered")

    # ---- at the target ------------------------------------------------------------------------

    def told_use(self, pair: Pair, use: pb.PairUse, now: Moment) -> None:
        """The source has done its part, and says what this end's half is for."""
        run = self._runs.get(pair.path.tag)
        if run is None or pair.path.is_source or pair.doing is not Doing.WAITING or not _sound(use):
            if pair.doing is Doing.WAITING:
                self._stock.give_up(pair, Ending.WITHDRAWN, "not to be used so")
            return
        if use.number <= run.numbers.get(use.use, 0):
            self._stock.give_up(pair, Ending.WITHDRAWN, "a later one came first")
            return
        run.numbers[use.use] = use.number
        pair.use = use
        if use.use == KEEP:
            self._stock.busy(pair, Doing.KEPT)
            self._stock.out.post(pair.partner, pair.path, _used(pair))
            self._keep(pair, now)
        else:
            self._measure(pair, run)

    # ---- at both ------------------------------------------------------------------------------

    def _measure(self, pair: Pair, run: _Run) -> None:
        assert pair.use is not None
        memory, kind = pair.memory, pair.use.use
        if kind == TEST:
            command = along(Axis(pair.use.axis), memory)
        elif kind == BELL_TEST:
            pair.choice = secrets.randbelow(2)
            command = bell_test.measure(memory, pair.choice, is_source=pair.path.is_source)
        else:
            basis = run.keys.basis(pair.use.number) if run.keys else Basis(secrets.randbelow(2))
            pair.choice = basis
            command = Measure(memory, math.pi / 2 if basis is Basis.X else 0.0)
        self._stock.busy(pair, Doing.MEASURING)
        self._stock.out.command(command)

    def measured(self, pair: Pair, outcome: bool, now: Moment) -> None:
        """The device has measured it."""
        use, path, age = pair.use, pair.path, now.seconds - pair.born
        assert use is not None
        self._stock.consumed(pair, Ending.MEASURED)
        if use.use == KEEP:
            self._shelf.measured(_outcome(path, use, Basis(pair.choice), outcome, age))
            return
        run = self._runs.get(path.tag)
        if run is not None and run.keys is not None and use.use == MEASURE:
            run.keys.outcome(use.number, Basis(pair.choice), int(outcome))
        if path.is_source:
            if use.use in (TEST, BELL_TEST):
                use.outcome = outcome
            self._stock.out.post(pair.partner, path, pb.PairMessage(use=use))
            told = pb.PairUse()
            told.CopyFrom(use)
            told.outcome = outcome
            asked = self._asked[pair.pair_id] = _Asked(pair, told, age)
            self._stock.at(now.seconds + CONFIRM_SECONDS, lambda _at: self._unconfirmed(asked))
            return
        answer = pb.PairUsed(pair_id=pair.pair_id)
        if use.use in (TEST, BELL_TEST):
            answer.outcome = outcome
            answer.setting = pair.choice
            self._counts.tested(path)
        else:
            self._counts.delivered(path, age)
            if path.key_link is None:
                self._shelf.outcome(_outcome(path, use, Basis(pair.choice), outcome, age))
        self._stock.out.post(pair.partner, path, pb.PairMessage(used=answer))

    def measure_kept(self, pair_id: bytes, basis: Basis) -> bool:
        """An application has its half measured; whether it was still there."""
        pair = self._stock.pairs.get(pair_id)
        if pair is None or pair.doing is not Doing.KEPT:
            return False
        pair.choice = basis
        self._stock.busy(pair, Doing.MEASURING)
        self._stock.out.command(Measure(pair.memory, math.pi / 2 if basis is Basis.X else 0.0))
        return True

    def _unconfirmed(self, asked: _Asked) -> None:
        if self._asked.get(asked.pair.pair_id) is asked:
            del self._asked[asked.pair.pair_id]
            self._counts.expired(asked.pair.path)

    def _keep(self, pair: Pair, now: Moment) -> None:
        assert pair.use is not None
        path = pair.path
        self._deliver(path, now.seconds - pair.born)
        self._shelf.keep(KeptPair(path.stream, pair.pair_id, pair.use.number, pair.born))


def _used(pair: Pair) -> pb.PairMessage:
    return pb.PairMessage(used=pb.PairUsed(pair_id=pair.pair_id))


def _sound(use: pb.PairUse) -> bool:
    if use.use == TEST:
        return use.axis in tuple(Axis) and use.number > 0
    return use.use in (KEEP, MEASURE, BELL_TEST) and use.number > 0


def _outcome(path: PathRule, use: pb.PairUse, basis: Basis, outcome: bool, age_seconds: float) -> Outcome:
    return Outcome(path.stream, use.pair_id, use.number, basis, int(outcome), age_seconds)
