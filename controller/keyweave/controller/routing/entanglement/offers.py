"""Which lanes could serve a demand: paths, and on each how much purification, where, and what cut-off.

First every hop is purified alike, and pairs are given up the later the better, as long as they are good
enough. From there one thing is changed at a time (a round less on one hop or from end to end, a memory more
for the slowest hop, a longer cut-off) for as long as that gives more for the memories it takes. A round that
does not raise fidelity only costs, so none stands where it would do harm.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from math import ceil, inf, isinf, log, log10

import networkx as nx

from keyweave.common.entanglement.bell import SEPARABLE_FIDELITY
from keyweave.common.names import LinkName, NodeName
from keyweave.controller.routing.entanglement.chain import KnownHops, predict
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
# Of the plain lanes, how many of the truest and of the quickest are worth a closer look.
_CLOSER_LOOKS = 2
# Single changes to the best lane of a path.
_MOST_CHANGES = 10
# Cut-offs tried, in mean times of the path's slowest hop.
_CUTOFFS = (inf, 4.0, 2.0, 1.0, 0.5, 0.25)
# A change is worth it for so much more.
_LEAST_GAIN_RATIO = 1.01


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
        self._hops: KnownHops = {}

    def of(self, demand: PairDemand, kept: Iterable[Lane] = ()) -> tuple[list[Offer], list[Offer]]:
        """The lanes that are good enough, and all others that were tried; those in use among them."""
        tried: dict[Lane, Offer] = {}
        plain = [
            self.offer(lane) for lane in paths(self._network, demand.source, demand.target, demand.avoid)
        ]
        known = [one for one in plain if one is not None]
        truest = sorted(known, key=lambda one: (-one.fidelity, one.lane.links))[:_CLOSER_LOOKS]
        quickest = sorted(known, key=lambda one: (-one.worth, one.lane.links))[:_CLOSER_LOOKS]
        for first in {one.lane: one for one in truest + quickest}.values():
            self._search(first, demand, tried)
        in_use = [self.offer(lane) for lane in kept if demand.avoid.isdisjoint(lane.nodes)]
        tried.update({one.lane: one for one in in_use if one is not None})
        good = [one for one in tried.values() if one.fidelity >= demand.min_fidelity]
        poor = [one for one in tried.values() if one.fidelity < demand.min_fidelity]
        return sorted(good, key=lambda one: (-one.worth, one.lane.nodes)), poor

    def offer(self, lane: Lane) -> Offer | None:
        """What a lane gives; None where it gives nothing or takes memories that are not there."""
        if not all(link in self._network.links for link in lane.links):
            return None
        used = used_memories(lane)
        if any(count > self._network.nodes[name].memories for name, count in used.items()):
            return None
        if lane not in self._predictions:
            self._predictions[lane] = predict(self._network, lane, self._hops)
        found = self._predictions[lane]
        return None if found is None else Offer(lane, found.rate_hz, found.state.fidelity, used)

    def _search(self, plain: Offer, demand: PairDemand, tried: dict[Lane, Offer]) -> None:
        cutoffs = self._cutoffs(plain.lane)
        hops, floor = len(plain.lane.links), demand.min_fidelity
        tried[plain.lane] = plain
        best: Offer | None = None
        for rounds in range(demand.max_rounds + 1):
            for end_rounds in range(demand.max_rounds + 1 - rounds) if hops > 1 else (0,):
                for cutoff in cutoffs:
                    lane = replace(
                        plain.lane,
                        rounds=(rounds,) * hops,
                        end_rounds=end_rounds,
                        cutoff_seconds=(cutoff,) * hops,
                    )
                    one = self.offer(lane)
                    if one is None:
                        break
                    tried[lane] = one
                    # A shorter cut-off gives less for the same memories.
                    if best is not None and one.worth <= best.worth:
                        break
                    if one.fidelity >= floor:
                        best = one
                        break
        for _ in range(_MOST_CHANGES if best is not None else 0):
            assert best is not None
            changed = [self.offer(lane) for lane in self._changes(best.lane, cutoffs)]
            better = [one for one in changed if one is not None and one.fidelity >= floor]
            tried.update({one.lane: one for one in better})
            top = max(better, key=lambda one: one.worth, default=best)
            if top.worth < _LEAST_GAIN_RATIO * best.worth:
                return
            best = top

    def _changes(self, lane: Lane, cutoffs: Sequence[float]) -> Iterator[Lane]:
        """One thing other than it is that can give more for the memories it takes."""
        for hop, rounds in enumerate(lane.rounds):
            if rounds > 0:
                yield replace(lane, rounds=(*lane.rounds[:hop], rounds - 1, *lane.rounds[hop + 1 :]))
        if lane.end_rounds > 0:
            yield replace(lane, end_rounds=lane.end_rounds - 1)
        at = cutoffs.index(lane.cutoff_seconds[0])
        if at > 0:
            yield replace(lane, cutoff_seconds=(cutoffs[at - 1],) * len(lane.links))
        speeds = [
            self._network.links[link].pair_rate_hz * channels / 2**rounds
            for link, channels, rounds in zip(lane.links, lane.channels, lane.rounds, strict=True)
        ]
        slowest = speeds.index(min(speeds))
        more = lane.channels[slowest] + 1
        yield replace(lane, channels=(*lane.channels[:slowest], more, *lane.channels[slowest + 1 :]))

    def _cutoffs(self, lane: Lane) -> list[float]:
        """The longest first; none but that where nothing fades."""
        memories = [self._network.nodes[name] for name in lane.nodes]
        if all(isinf(one.t1_seconds) and isinf(one.t2_seconds) for one in memories):
            return [inf]
        slowest = max(1 / self._network.links[name].pair_rate_hz for name in lane.links)
        return [rounded(times * slowest) for times in _CUTOFFS]


def rounded(seconds: float) -> float:
    """To a tenth of a decade, upwards: a path does not change because a rate moved a little."""
    return seconds if isinf(seconds) else float(10.0 ** (ceil(10.0 * log10(seconds)) / 10.0))


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
