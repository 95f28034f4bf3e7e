"""REPS, in its manner: redundant provisioning and selection by linear program (Zhao and Qiao, INFOCOM 2021).

Before the slot: flows of all pairs together that the mean numbers of pairs of the edges would carry, under
channels and memories; an edge that fails often is provisioned with as many more channels. What is left goes
where most is missing. After the attempts a controller that knows every outcome solves the program again for
what is there, takes whole paths, and fills up with shortest ones. Both programs count a path by the chance of
all its swaps, which the paper's first one does not: without that, flows wander.

A node of Q-CAST hears of outcomes within three hops only. REPS here knows all, as its authors assume.
"""

import heapq
from collections import Counter, deque
from collections.abc import Mapping, Sequence

import numpy as np

from keyweave.controller.routing.entanglement.plan import SlotPlanner
from keyweave.controller.routing.entanglement.pricing import Arcs
from keyweave.controller.routing.entanglement.sharing import Sharing
from keyweave.controller.routing.entanglement.slots import (
    Edge,
    PairNetwork,
    Path,
    Spare,
    edge,
    edges_of,
)
from tests.bench.entanglement.slotted import Slot

# A path is looked for in a slot as long as it brings this much more, in pairs.
_LEAST_GAIN = 0.01


class Reps:
    """REPS."""

    name = "REPS"

    def __init__(self, network: PairNetwork) -> None:
        self._network = network
        self._success = np.array([network.success_ratio[link] for link in network.channels])
        self._pairs: list[tuple[int, int]] = []
        self._arcs = Arcs(network)
        self._program = Sharing(network, self._arcs, [], network.swap_ratio)
        self._channels: dict[Edge, int] = {}

    def prepare(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Nothing: paths are found for whoever asks."""

    def plan(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Provisioning for failure tolerance."""
        network = self._network
        self._begin(pairs)
        most = np.array(list(network.channels.values())) * self._success
        load = Counter[Edge]()
        for path, flow in self._program.solve(most, 1 / self._success):
            for link in edges_of(path):
                load[link] += flow  # type: ignore[assignment]
        spare = Spare(network)
        for link, flow in load.items():
            spare.take(link, min(int(flow / network.success_ratio[link] + 1e-6), spare.room(link)))
        self._round_up(spare, load)
        self._channels = spare.used()

    def _begin(self, pairs: Sequence[tuple[int, int]]) -> None:
        self._pairs = list(dict.fromkeys(pairs))
        self._program = Sharing(self._network, self._arcs, self._pairs, self._network.swap_ratio)

    def _round_up(self, spare: Spare, load: Mapping[Edge, float]) -> None:
        """Channel by channel where most is missing; then the edges that no flow needed."""
        used = spare.used()

        def missing(link: Edge) -> float:
            return load[link] - used.get(link, 0) * self._network.success_ratio[link]

        queue = [(-missing(link), link) for link in load]
        heapq.heapify(queue)
        while queue:
            _, link = heapq.heappop(queue)
            if spare.room(link) > 0:
                spare.take(link, 1)
                used[link] = used.get(link, 0) + 1
                heapq.heappush(queue, (-missing(link), link))
        for link in self._network.channels:
            spare.take(link, spare.room(link))

    def channels(self, number: int) -> dict[Edge, int]:
        """The same in every slot."""
        del number
        return self._channels

    def connect(self, slot: Slot, good: dict[Edge, int]) -> list[tuple[int, int]]:
        """Selection of paths by linear program, of links for what is left; then swaps."""
        swaps = slot.swaps()
        return [(path[0], path[-1]) for path in self.selected(good) if swaps.through(path)]

    def selected(self, good: Mapping[Edge, int]) -> list[Path]:
        """Paths to swap along, each pair that was made in one of them at most."""
        left = {link: good.get(link, 0) for link in self._network.channels}
        flows = self._program.solve(np.array(list(left.values()), dtype=np.float64), least_gain=_LEAST_GAIN)
        flows.sort(key=lambda one: (int(one[1] + 1e-6) - one[1], len(one[0]), one[0]))
        chosen = []
        for path, flow in flows:
            for _ in range(int(flow + 1e-6)):
                _spend(left, path)
                chosen.append(path)
        for path, flow in flows:
            if flow - int(flow + 1e-6) > 1e-6 and min(left[link] for link in edges_of(path)) > 0:
                _spend(left, path)
                chosen.append(path)
        while (shortest := self._shortest(left)) is not None:
            _spend(left, shortest)
            chosen.append(shortest)
        return chosen

    def _shortest(self, left: Mapping[Edge, int]) -> Path | None:
        found = [path for pair in self._pairs if (path := _fewest_hops(self._network, *pair, left))]
        return min(found, key=lambda path: (len(path), path), default=None)


class KeyweaveKnowingAll(Reps):
    """Keyweave's channels, and REPS's choice of paths once every outcome is known."""

    name = "Keyweave, knowing all"

    def plan(self, pairs: Sequence[tuple[int, int]]) -> None:
        """As Keyweave plans."""
        self._begin(pairs)
        self._channels = SlotPlanner(self._network).plan(pairs).channels


def _spend(left: dict[Edge, int], path: Path) -> None:
    for link in edges_of(path):
        left[link] -= 1


def _fewest_hops(network: PairNetwork, source: int, target: int, left: Mapping[Edge, int]) -> Path | None:
    before, queue = {source: source}, deque([source])
    while queue:
        node = queue.popleft()
        if node == target:
            path = [node]
            while path[-1] != source:
                path.append(before[path[-1]])
            return tuple(reversed(path))
        for other in network.neighbours[node]:
            if other not in before and left[edge(node, other)] > 0:
                before[other] = node
                queue.append(other)
    return None
