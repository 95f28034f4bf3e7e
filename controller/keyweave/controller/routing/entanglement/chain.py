"""How many pairs a lane gives, and in what state, by the protocol of `repeaters.py`."""

from dataclasses import dataclass, replace
from itertools import pairwise

from keyweave.common.names import LinkName
from keyweave.controller.routing.entanglement.repeaters import Lane, PairPath, Prediction, RepeaterNetwork
from keyweave.controller.routing.entanglement.waiting import (
    Arrival,
    Floats,
    decay,
    heralded,
    purifying,
    swapping,
    together,
)


@dataclass(frozen=True, slots=True)
class _Segment:
    """From one node of the path to another: when it is there, and what its ends do to it."""

    first: int
    last: int
    arrival: Arrival


# What is known of hops of one network by link, rounds, channels and cut-off: lanes have many in common.
KnownHops = dict[tuple[LinkName, int, int, float], Arrival | None]


def predict(network: RepeaterNetwork, lane: Lane, known: KnownHops | None = None) -> Prediction | None:
    """What one lane gives; None where it never gives anything.

    All lanes of a path give so much each. Where agents match pairs of several lanes, it is somewhat more.
    """
    return _Chain(network, lane, {} if known is None else known).prediction()


def path_of(network: RepeaterNetwork, lane: Lane, lanes: int) -> PairPath | None:
    """A path of so many lanes with its prediction; None where it never gives anything."""
    found = predict(network, lane)
    return None if found is None else PairPath(lane, lanes, lanes * found.rate_hz, found.state)


class _Chain:
    def __init__(self, network: RepeaterNetwork, lane: Lane, known: KnownHops) -> None:
        self._lane = lane
        self._known = known
        self._nodes = [network.nodes[name] for name in lane.nodes]
        self._links = [network.links[name] for name in lane.links]
        self._delays = [0.0]
        for link in self._links:
            self._delays.append(self._delays[-1] + link.delay_seconds)

    def prediction(self) -> Prediction | None:
        segments = []
        for hop in range(len(self._links)):
            found = self._hop(hop)
            if found is None:
                return None
            segments.append(found)
        place = {name: i for i, name in enumerate(self._lane.nodes)}
        for node in (place[name] for level in self._lane.swap_order for name in level):
            at = next(i for i, (left, _) in enumerate(pairwise(segments)) if left.last == node)
            joined = self._swapped(segments[at], segments[at + 1])
            if joined is None:
                return None
            segments[at : at + 2] = [joined]
        whole = self._purified(segments[0], self._lane.end_rounds)
        if whole is None:
            return None
        return Prediction(1.0 / whole.arrival.mean_seconds, whole.arrival.state)

    def _hop(self, hop: int) -> _Segment | None:
        link, lane = self._links[hop], self._lane
        key = link.name, lane.rounds[hop], lane.channels[hop], lane.cutoff_seconds[hop]
        if key not in self._known:
            rate = lane.channels[hop] * link.pair_rate_hz
            made = None
            if rate > 0.0:
                made = self._purified(_Segment(hop, hop + 1, heralded(rate, link.state)), lane.rounds[hop])
            self._known[key] = None if made is None else made.arrival
        arrival = self._known[key]
        return None if arrival is None else _Segment(hop, hop + 1, arrival)

    def _purified(self, segment: _Segment | None, rounds: int) -> _Segment | None:
        for _ in range(rounds):
            if segment is None:
                return None
            ends = self._nodes[segment.first], self._nodes[segment.last]
            pair = segment.arrival
            gates = ends[0].gate_fidelity * ends[1].gate_fidelity
            decays, cutoff = self._decay(segment), self._cutoff(segment)
            told = self._delays[segment.last] - self._delays[segment.first]
            made = together(pair, pair, (decays, decays), purifying(gates), (cutoff, cutoff), (told, decays))
            segment = None if made is None else replace(segment, arrival=made)
        return segment

    def _swapped(self, left: _Segment, right: _Segment) -> _Segment | None:
        node = self._nodes[left.last]
        told = max(
            self._delays[left.last] - self._delays[left.first],
            self._delays[right.last] - self._delays[right.first],
        )
        outer = _Segment(left.first, right.last, left.arrival)
        made = together(
            left.arrival,
            right.arrival,
            (self._decay(left), self._decay(right)),
            swapping(node.swap_success_ratio, node.gate_fidelity),
            (self._cutoff(left), self._cutoff(right)),
            (told, self._decay(outer)),
        )
        return None if made is None else replace(outer, arrival=made)

    def _decay(self, segment: _Segment) -> Floats:
        return decay(self._nodes[segment.first].memory, self._nodes[segment.last].memory)

    def _cutoff(self, segment: _Segment) -> float:
        cutoffs = self._lane.cutoff_seconds
        return min(cutoffs[segment.first], cutoffs[segment.last - 1])
