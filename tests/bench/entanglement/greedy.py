"""Greedy by hops: the baseline of Q-CAST's evaluation, written from the paper (section 6).

Each pair in turn builds a path: always to the neighbour with a free channel that is fewest hops from the
target. The path takes the greatest width it can, and there is no recovery.
"""

from collections import deque
from collections.abc import Sequence

from keyweave.controller.routing.entanglement.slots import (
    Edge,
    Lanes,
    PairNetwork,
    Path,
    Spare,
    edge,
    edges_of,
)
from tests.bench.entanglement.slotted import Slot


class Greedy:
    """Greedy by hops."""

    name = "greedy"

    def __init__(self, network: PairNetwork) -> None:
        self._network = network
        self._lanes: list[Lanes] = []
        self._channels: dict[Edge, int] = {}

    def prepare(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Nothing: paths are found for whoever asks."""

    def plan(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Path after path, pair by pair."""
        spare, self._lanes = Spare(self._network), []
        hops = {target: self._hops_to(target) for _, target in pairs}
        open_pairs = deque(pairs)
        while open_pairs:
            path = self._walk(spare, *open_pairs[0], hops[open_pairs[0][1]])
            width = 0 if path is None else _widest(spare, path)
            if path is None or width == 0:
                open_pairs.popleft()
                continue
            spare.take(path, width)
            self._lanes.append(Lanes(path, width))
        self._channels = spare.used()

    def channels(self, number: int) -> dict[Edge, int]:
        """The same in every slot."""
        del number
        return self._channels

    def _hops_to(self, target: int) -> dict[int, int]:
        hops, queue = {target: 0}, deque([target])
        while queue:
            node = queue.popleft()
            for other in self._network.neighbours[node]:
                if other not in hops:
                    hops[other] = hops[node] + 1
                    queue.append(other)
        return hops

    def _walk(self, spare: Spare, source: int, target: int, hops: dict[int, int]) -> Path | None:
        path = [source]
        while path[-1] != target:
            last = path[-1]
            onward = [
                node
                for node in self._network.neighbours[last]
                if spare.channels[edge(last, node)] > 0
                and spare.memories[node] > (1 if node == target else 2)
            ]
            if not onward:
                return None
            node = min(onward, key=lambda each: hops[each])
            if node in path:
                return None
            path.append(node)
        return tuple(path)

    def connect(self, slot: Slot, good: dict[Edge, int]) -> list[tuple[int, int]]:
        """Swap; which pairs came about."""
        swaps, made = slot.swaps(), []
        for lanes in self._lanes:
            for _ in range(lanes.width):
                if min(good.get(each, 0) for each in edges_of(lanes.path)) > 0:
                    for each in edges_of(lanes.path):
                        good[each] -= 1
                    if swaps.through(lanes.path):
                        made.append((lanes.path[0], lanes.path[-1]))
        return made


def _widest(spare: Spare, path: Path) -> int:
    ends = min(spare.memories[path[0]], spare.memories[path[-1]])
    between = min((spare.memories[node] // 2 for node in path[1:-1]), default=ends)
    return min(ends, between, *(spare.channels[each] for each in edges_of(path)))
