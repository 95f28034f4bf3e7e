"""Who gets which lanes: by priority, then the poorest first, for as long as there are memories.

Memories are what streams share. A lane is given to whoever has the least of what was asked, of the kind that
gives most for the memories that are scarce; so all grow together, as far as whole lanes allow (max-min).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keyweave.common.names import NodeName, StreamName
from keyweave.controller.routing.entanglement.chain import path_of
from keyweave.controller.routing.entanglement.offers import Offer, Offers
from keyweave.controller.routing.entanglement.repeaters import Lane, PairDemand, PairPath, RepeaterNetwork

# A stream leaves a path that still serves it only for one that gives so much more.
KEEP_GAIN_RATIO = 0.15
_SHOWN = 3


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
    if isinstance(answer, Refused):
        return Admission(False, answer, answer.reason)
    if not answer.met:
        return Admission(False, answer, answer.reason)
    path = max(answer.paths, key=lambda one: one.predicted_rate_hz)
    return Admission(
        True,
        answer,
        f"{answer.rate_hz:.3g} pairs/s of fidelity {answer.fidelity:.3f} over {len(path.links)} hops",
    )


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
            self._good[demand.name], self._poor[demand.name] = self._offers.of(demand)
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
        rate = sum(path.predicted_rate_hz for path in whole)
        reason = "" if met else f"{rate:.3g} of {demand.rate_hz:g} pairs/s: no memories for more"
        return Served(demand, whole, met, reason)

    def _refused(self, demand: PairDemand) -> Refused:
        known = sorted(
            self._good[demand.name] + self._poor[demand.name], key=lambda one: (-one.fidelity, -one.rate_hz)
        )
        alternatives = tuple(
            Alternative(one.fidelity, one.rate_hz, len(one.lane.links), one.rounds) for one in known[:_SHOWN]
        )
        if not alternatives:
            reason = f"no path of links that make pairs from {demand.source} to {demand.target}"
        else:
            best = alternatives[0]
            reason = (
                f"{demand.min_fidelity:g} is not reachable: best {best.fidelity:.2f} over {best.hops} hops "
                f"at {best.rate_hz:.2g} pairs/s"
            )
        return Refused(demand, alternatives, reason)
