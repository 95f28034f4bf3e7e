"""Which channels a slot uses, for whom: shares by linear program, then whole channels, then what is left."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from keyweave.controller.routing.entanglement.meeting import likeliest_first
from keyweave.controller.routing.entanglement.nearest import nearest_first
from keyweave.controller.routing.entanglement.pricing import Arcs
from keyweave.controller.routing.entanglement.sharing import Sharing
from keyweave.controller.routing.entanglement.slots import Edge, Lanes, PairNetwork, Path, Spare, edges_of

# The program stops when no path is worth this much more than it takes, in pairs a slot.
_LEAST_GAIN = 0.02
# ... or when two rounds have added less than this share to the whole.
_LEAST_GROWTH = 0.01
# A hop more is one more place where a lane may lack a pair, beside the swap.
_HOP_RATIO = 0.9
# Mean pairs a slot of an edge with all its channels; below that, whole pairs have to meet. At the generator's
# reference point the two ways of planning give the same at about 1.2 (success 0.22).
_RARE = 1.0


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """Lanes in the order in which they are served, and all channels in use."""

    lanes: tuple[Lanes, ...]
    channels: dict[Edge, int]


class SlotPlanner:
    """Plans for one network; what depends on the network alone is worked out once."""

    def __init__(self, network: PairNetwork) -> None:
        self._network = network
        self._arcs = Arcs(network)
        self._success = np.array([network.success_ratio[link] for link in network.channels])
        self._mean = np.array(list(network.channels.values())) * self._success

    def plan(self, pairs: Sequence[tuple[int, int]]) -> SlotPlan:
        """Lanes for these pairs of nodes."""
        if self._mean.mean() < _RARE:
            lanes, spare = likeliest_first(self._network, pairs)
            return SlotPlan(tuple(lanes), _with_detours(self._network, spare))
        flows = self._flows(pairs)
        load: dict[Edge, float] = {}
        for path, flow in flows:
            for link in edges_of(path):
                load[link] = load.get(link, 0.0) + flow
        # A path with little flow is worth trying too: what others have left over may be enough for it.
        lanes = [Lanes(path, max(1, round(flow))) for path, flow in flows]
        lanes.sort(key=lambda one: (len(one.path), -one.width, one.path))
        return SlotPlan(tuple(lanes), _channels(self._network, load))

    def _flows(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[Path, float]]:
        """How many pairs an average slot is to carry, by path."""
        near = nearest_first(self._network, pairs)
        if len(set(pairs)) == 1:
            return near  # there is nobody to share with
        sharing = Sharing(self._network, self._arcs, pairs, self._network.swap_ratio * _HOP_RATIO)
        return sharing.solve(
            self._mean,
            1 / self._success,
            first=[path for path, _ in near],
            least_gain=_LEAST_GAIN,
            least_growth=_LEAST_GROWTH,
        )


def _channels(network: PairNetwork, load: Mapping[Edge, float]) -> dict[Edge, int]:
    """As many as carry the load on average, whole; then more where they will most likely lack pairs."""
    spare = Spare(network)
    for link, flow in load.items():
        spare.take(link, min(int(flow / network.success_ratio[link] + 1e-6), spare.room(link)))
    used = dict.fromkeys(load, 0) | spare.used()

    def slack(link: Edge) -> float:
        # Expected pairs beyond the load, in units of the spread of that number.
        return (used[link] * network.success_ratio[link] - load[link]) / sqrt(load[link])

    queue = [(slack(link), link) for link in load]
    heapq.heapify(queue)
    while queue:
        _, link = heapq.heappop(queue)
        if spare.room(link) > 0:
            spare.take(link, 1)
            used[link] += 1
            heapq.heappush(queue, (slack(link), link))
    return _with_detours(network, spare)


def _with_detours(network: PairNetwork, spare: Spare) -> dict[Edge, int]:
    """Channels in use, with those that can only serve for going around: all that is still free near them."""
    reached = {node for link in spare.used() for node in link}
    for link in network.channels:
        if (more := spare.room(link)) > 0 and not reached.isdisjoint(link):
            spare.take(link, more)
    return spare.used()
