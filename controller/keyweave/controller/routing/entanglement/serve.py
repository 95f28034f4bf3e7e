"""Who gets which lanes: by priority, then the poorest first, for as long as there are memories.

Memories are what streams share. A lane is given to whoever has the least of what was asked, of the kind that
gives most for the memories that are scarce; so all grow together, as far as whole lanes allow (max-min).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from keyweave.common.names import NodeName, StreamName
from keyweave.controller.routing.entanglement.chain import path_of
from keyweave.controller.routing.entanglement.offers import Offer, Offers
from keyweave.controller.routing.entanglement.repeaters import (
    Lane,
    PairDemand,
    PairPath,
    RepeaterNetwork,
    used_memories,
)

# A stream leaves a path that still serves it only for one that gives so much more.
KEEP_GAIN_RATIO = 0.15
# Who could have no more than this share of what was asked is not served at all.
_LEAST_SHARE = 0.05
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True, slots=True)
class Alternative:
    """What could be had instead."""

    fidelity: float
    rate_hz: float
    hops: int
    # Of purification, at most.
    rounds: int


@dataclass(frozen=True, slots=True)
class Served:
    """The paths of a stream. Where `met` is false it gets less than it asked for."""

    demand: PairDemand
    paths: tuple[PairPath, ...]
    met: bool
    reason: str

    @property
    def rate_hz(self) -> float:
        """Of all its paths."""
        return sum(path.predicted_rate_hz for path in self.paths)

    @property
    def fidelity(self) -> float:
        """On average over its pairs."""
        return sum(path.predicted_rate_hz * path.predicted_fidelity for path in self.paths) / self.rate_hz


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing for a stream, and the best it could have."""

    demand: PairDemand
    alternatives: tuple[Alternative, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class PairPlan:
    """The answer to every demand, and memories that are left."""

    answers: Mapping[StreamName, Served | Refused]
    free: Mapping[NodeName, int]


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to a new demand."""

    accepted: bool
    answer: Served | Refused
    words: str


NO_PLAN = PairPlan({}, {})


def plan_pairs(
    network: RepeaterNetwork, demands: Sequence[PairDemand], previous: PairPlan = NO_PLAN
) -> PairPlan:
    """Lanes for these demands; names are unique."""
    return _Serving(network, demands, previous).plan()


def admit(
    network: RepeaterNetwork, demands: Sequence[PairDemand], new: PairDemand, previous: PairPlan = NO_PLAN
) -> Admission:
    """Whether a new demand can be met in full beside the others, of which none loses what it had."""
    before = plan_pairs(network, demands, previous)
    after = plan_pairs(network, [*demands, new], before)
    answer = after.answers[new.name]
    if isinstance(answer, Refused) or not answer.met:
        return Admission(False, answer, answer.reason)
    robbed = [
        name
        for name, had in before.answers.items()
        if isinstance(had, Served) and had.demand.priority >= new.priority and not _as_well(after, had)
    ]
    if robbed:
        words = (
            f"{new.rate_hz:g} pairs/s of fidelity {new.min_fidelity:g} could only be taken from {robbed[0]}"
        )
        return Admission(False, answer, words)
    return Admission(True, answer, answer.reason)


def _as_well(plan: PairPlan, had: Served) -> bool:
    """Whether a stream still has what it had, as far as it asked for that."""
    has = plan.answers[had.demand.name]
    wanted = min(had.rate_hz, had.demand.rate_hz)
    return isinstance(has, Served) and has.rate_hz >= wanted * (1 - 1e-6)


class _Serving:
    def __init__(self, network: RepeaterNetwork, demands: Sequence[PairDemand], previous: PairPlan) -> None:
        self._network = network
        self._previous = previous
        self._demands = sorted(demands, key=lambda one: (-one.priority, one.name))
        self._free = {name: node.memories for name, node in network.nodes.items()}
        self._offers = Offers(network)
        self._good: dict[StreamName, list[Offer]] = {}
        self._poor: dict[StreamName, list[Offer]] = {}
        self._given = {one.name: Counter[Lane]() for one in self._demands}

    def plan(self) -> PairPlan:
        """Priority by priority."""
        for demand in self._demands:
            good, poor = self._offers.of(demand, self._kept(demand))
            slow = [one for one in good if self._at_most(one) < _LEAST_SHARE * demand.rate_hz]
            self._good[demand.name] = [one for one in good if one not in slow]
            self._poor[demand.name] = poor + slow
        for priority in sorted({one.priority for one in self._demands}, reverse=True):
            level = [one for one in self._demands if one.priority == priority]
            self._fill(level)
        return PairPlan({one.name: self._answer(one) for one in self._demands}, dict(self._free))

    def _fill(self, level: Iterable[PairDemand]) -> None:
        wanting = {one.name: one for one in level}
        while wanting:
            demand = min(wanting.values(), key=lambda one: (self._ratio(one), one.name))
            fitting = [one for one in self._good[demand.name] if self._fits(one)]
            if self._ratio(demand) >= 1.0 or not fitting:
                del wanting[demand.name]
                continue
            kept = self._kept(demand)

            def worth(one: Offer, kept: frozenset[Lane] = kept) -> float:
                scarcity = sum(count / self._free[name] for name, count in one.memories.items())
                return one.rate_hz / scarcity * (1 + KEEP_GAIN_RATIO if one.lane in kept else 1.0)

            chosen = max(fitting, key=worth)
            for name, count in chosen.memories.items():
                self._free[name] -= count
            self._given[demand.name][chosen.lane] += 1

    def _at_most(self, one: Offer, free: Mapping[NodeName, int] | None = None) -> float:
        """Pairs a second if nobody else had any memories."""
        nodes = self._network.nodes
        lanes = min(
            (nodes[name].memories if free is None else free[name]) // count
            for name, count in one.memories.items()
        )
        return lanes * one.rate_hz

    def _kept(self, demand: PairDemand) -> frozenset[Lane]:
        before = self._previous.answers.get(demand.name)
        return frozenset(path.lane for path in before.paths) if isinstance(before, Served) else frozenset()

    def _fits(self, offer: Offer) -> bool:
        return all(self._free[name] >= count for name, count in offer.memories.items())

    def _ratio(self, demand: PairDemand) -> float:
        rates = {one.lane: one.rate_hz for one in self._good[demand.name]}
        given = self._given[demand.name]
        return sum(lanes * rates[lane] for lane, lanes in given.items()) / demand.rate_hz

    def _answer(self, demand: PairDemand) -> Served | Refused:
        given = self._given[demand.name]
        paths = [path_of(self._network, lane, lanes) for lane, lanes in given.items()]
        whole = tuple(path for path in paths if path is not None)
        if not whole:
            return self._refused(demand)
        met = self._ratio(demand) >= 1.0
        served = Served(demand, whole, met, "")
        widest = max(whole, key=lambda one: one.predicted_rate_hz)
        hops = _counted(len(widest.links), "hop")
        reason = f"{served.rate_hz:.3g} pairs/s of fidelity {served.fidelity:.3f} over {hops}"
        if not met:
            asked = f"{demand.rate_hz:g} pairs/s of fidelity {demand.min_fidelity:g}"
            reason = f"{asked} are not to be had: best {reason}, then {self._scarce(demand)}"
            reason += self._instead(demand)
        return replace(served, reason=reason)

    def _scarce(self, demand: PairDemand) -> str:
        """What there is not enough of for one more lane of the best kind."""
        best = self._good[demand.name][0]
        short = sorted(name for name, count in best.memories.items() if self._free[name] < count)
        return f"no memories are left at {', '.join(short)}" if short else "nothing more fits"

    def _instead(self, demand: PairDemand) -> str:
        """The best fidelity at the rate that was asked, from memories that nobody else has."""
        free = Counter(self._free)
        for lane, lanes in self._given[demand.name].items():
            free.update(used_memories(lane, lanes))
        quick = [one for one in self._poor[demand.name] if self._at_most(one, free) >= demand.rate_hz]
        best = max(quick, key=lambda one: one.fidelity, default=None)
        return "" if best is None else f"; fidelity {best.fidelity:.2f} could be had at that rate"

    def _refused(self, demand: PairDemand) -> Refused:
        good = self._good[demand.name]
        known = self._telling(good + self._poor[demand.name], demand)
        if not known:
            reason = f"no path of links that make pairs from {demand.source} to {demand.target}"
        elif good:
            reason = f"{self._scarce(demand)}; with all memories {_spoken(known)}"
        elif any(one.fidelity >= demand.min_fidelity for one in self._poor[demand.name]):
            reason = f"{demand.rate_hz:g} pairs/s are far out of reach: with all memories {_spoken(known)}"
        else:
            reason = f"{demand.min_fidelity:g} is not reachable: best {_spoken(known)}"
        return Refused(demand, known, reason)

    def _telling(self, offers: Sequence[Offer], demand: PairDemand) -> tuple[Alternative, ...]:
        """By rounds of purification the best fidelity, where it is better than with fewer.

        With all memories; at a rate worth mentioning, if there is one.
        """
        best: dict[int, Offer] = {}
        worth = [one for one in offers if self._at_most(one) >= _LEAST_SHARE * demand.rate_hz]
        for one in worth or offers:
            if one.rounds not in best or one.fidelity > best[one.rounds].fidelity:
                best[one.rounds] = one
        known: list[Alternative] = []
        for rounds, one in sorted(best.items()):
            if not known or one.fidelity > known[-1].fidelity + 0.005:
                known.append(Alternative(one.fidelity, self._at_most(one), len(one.lane.links), rounds))
        return tuple(known)


def _spoken(known: Sequence[Alternative]) -> str:
    """The first with its hops, the last if it is another."""
    first, last = known[0], known[-1]
    words = f"{first.fidelity:.2f} over {_counted(first.hops, 'hop')} at {first.rate_hz:.2g} pairs/s"
    if first.rounds:
        words += f" with {_counted(first.rounds, 'purification round')}"
    if last is not first:
        words += (
            f"; with {_counted(last.rounds, 'purification round')} {last.fidelity:.2f} at {last.rate_hz:.2g}"
        )
    return words


def _counted(number: int, thing: str) -> str:
    spoken = _NUMBERS[number] if number < len(_NUMBERS) and thing != "hop" else str(number)
    return f"{spoken} {thing}" + ("" if number == 1 else "s")
