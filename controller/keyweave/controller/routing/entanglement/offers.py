"""Which lanes could serve a demand: paths, and on each how much purification, where, and what cut-off.

A lane begins plain. As long as its pairs are not good enough, what brings most fidelity for what it costs in
rate and memories is changed: a round of purification on one hop or from end to end, or a shorter cut-off. A
change that lowers fidelity is never made, so no purification stands where it would do harm.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from math import ceil, inf, isinf, log, log10

import networkx as nx

from keyweave.common.entanglement.bell import SEPARABLE_FIDELITY
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.entanglement.chain import predict
from keyweave.controller.routing.entanglement.repeaters import (
    Lane,
    PairDemand,
    PairLink,
    Prediction,
    RepeaterNetwork,
    plain_lane,
    used_memories,
)

_PATHS_PER_MEASURE = 4
_MOST_HOPS = 12
# Changes to a plain lane that are tried one after the other, and lanes that are kept at each.
_MOST_CHANGES = 8
_BEAM = 3
# No change is worth it for less than this.
_LEAST_FIDELITY_GAIN = 1e-4
# Cut-offs tried, in mean times of the path's slowest hop.
_CUTOFFS = (4.0, 2.0, 1.0, 0.5)


@dataclass(frozen=True, slots=True)
class Offer:
    """A lane, and what it gives."""

    lane: Lane
    rate_hz: float
    fidelity: float
    memories: Mapping[NodeName, int]

    @property
    def worth(self) -> float:
        """Pairs a second for each memory that it takes."""
        return self.rate_hz / sum(self.memories.values())

    @property
    def rounds(self) -> int:
        """Of purification that a delivered pair has gone through at most."""
        return max(self.lane.rounds) + self.lane.end_rounds


class Offers:
    """Lanes of one network, each predicted once."""

    def __init__(self, network: RepeaterNetwork) -> None:
        self._network = network
        self._predictions: dict[Lane, Prediction | None] = {}

    def of(self, demand: PairDemand) -> tuple[list[Offer], list[Offer]]:
        """The lanes that are good enough, and all others that were tried."""
        tried: dict[Lane, Offer] = {}
        for lane in paths(self._network, demand.source, demand.target, demand.avoid):
            self._search(lane, demand, tried)
        good = [one for one in tried.values() if one.fidelity >= demand.min_fidelity]
        poor = [one for one in tried.values() if one.fidelity < demand.min_fidelity]
        return sorted(good, key=lambda one: (-one.worth, one.lane.nodes)), poor

    def offer(self, lane: Lane) -> Offer | None:
        """What a lane gives; None where it gives nothing or takes memories that are not there."""
        used = used_memories(lane)
        if any(count > self._network.nodes[name].memories for name, count in used.items()):
            return None
        if lane not in self._predictions:
            self._predictions[lane] = predict(self._network, lane)
        found = self._predictions[lane]
        return None if found is None else Offer(lane, found.rate_hz, found.state.fidelity, used)

    def _search(self, lane: Lane, demand: PairDemand, tried: dict[Lane, Offer]) -> None:
        first = self.offer(lane)
        beam = [] if first is None else [first]
        for _ in range(_MOST_CHANGES):
            tried.update({one.lane: one for one in beam})
            following: dict[Lane, tuple[float, Offer]] = {}
            for one in beam:
                if one.fidelity >= demand.min_fidelity:
                    continue
                for changed in self._changes(one.lane, demand.max_rounds):
                    other = None if changed in tried else self.offer(changed)
                    if other is not None and other.fidelity > one.fidelity + _LEAST_FIDELITY_GAIN:
                        following[changed] = _progress(one, other, demand.min_fidelity), other
            beam = [one for _, one in sorted(following.values(), key=lambda each: -each[0])[:_BEAM]]
            if not beam:
                return
        tried.update({one.lane: one for one in beam})

    def _changes(self, lane: Lane, max_rounds: int) -> Iterator[Lane]:
        for hop, rounds in enumerate(lane.rounds):
            if rounds < max_rounds:
                yield replace(lane, rounds=(*lane.rounds[:hop], rounds + 1, *lane.rounds[hop + 1 :]))
        if lane.end_rounds < max_rounds:
            yield replace(lane, end_rounds=lane.end_rounds + 1)
        memories = [self._network.nodes[name] for name in lane.nodes]
        if all(isinf(one.t1_seconds) and isinf(one.t2_seconds) for one in memories):
            return
        slowest = max(1 / (self._network.links[name].pair_rate_hz) for name in lane.links)
        for cutoff in (rounded(times * slowest) for times in _CUTOFFS):
            if cutoff < min(lane.cutoff_seconds):
                yield replace(lane, cutoff_seconds=(cutoff,) * len(lane.links))


def _progress(before: Offer, after: Offer, floor: float) -> float:
    """Fidelity won, as far as it is wanted, for what it costs in rate by memory."""
    gain = min(after.fidelity, floor) - min(before.fidelity, floor)
    return gain / max(1e-3, log(before.worth / after.worth)) if after.worth < before.worth else inf


def rounded(seconds: float) -> float:
    """To a tenth of a decade, upwards: a path does not change because a rate moved a little."""
    return float(10.0 ** (ceil(10.0 * log10(seconds)) / 10.0))


def paths(
    network: RepeaterNetwork,
    source: NodeName,
    target: NodeName,
    avoid: frozenset[NodeName] = frozenset(),
) -> list[Lane]:
    """Plain lanes along the paths that are short, quick, or true."""
    found: dict[tuple[LinkName, ...], Lane] = {}
    for measure in (_hop, _seconds, _infidelity):
        graph = _graph(network, {source, target}, measure)
        graph.remove_nodes_from(avoid)
        if not (source in graph and target in graph and nx.has_path(graph, source, target)):
            return []
        ways = nx.shortest_simple_paths(graph, source, target, weight="cost")
        for nodes in islice(ways, _PATHS_PER_MEASURE):
            if len(nodes) <= _MOST_HOPS + 1:
                links = tuple(graph.edges[a, b]["link"] for a, b in pairwise(nodes))
                found[links] = plain_lane(tuple(nodes), links)
    return list(found.values())


def _graph(
    network: RepeaterNetwork, ends: Collection[NodeName], measure: Callable[[PairLink], float]
) -> "nx.Graph[NodeName]":
    """Nodes with memories enough to be crossed, and of parallel links the best by a measure."""
    graph: nx.Graph[NodeName] = nx.Graph()
    usable = {name for name, node in network.nodes.items() if node.memories >= (1 if name in ends else 2)}
    for link in network.links.values():
        if (
            link.pair_rate_hz <= 0.0
            or link.state.fidelity <= SEPARABLE_FIDELITY
            or not {link.a, link.b} <= usable
        ):
            continue
        cost = measure(link)
        if not graph.has_edge(link.a, link.b) or cost < graph.edges[link.a, link.b]["cost"]:
            graph.add_edge(link.a, link.b, cost=cost, link=link.name)
    return graph


def _hop(_: PairLink) -> float:
    return 1.0


def _seconds(link: PairLink) -> float:
    return 1.0 / link.pair_rate_hz


def _infidelity(link: PairLink) -> float:
    """Adds up where the correlations of Werner pairs multiply."""
    return -log(min(1.0 - 1e-9, (4.0 * link.state.fidelity - 1.0) / 3.0))
