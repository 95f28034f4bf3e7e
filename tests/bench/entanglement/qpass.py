"""Q-PASS (Shi and Qian, SIGCOMM 2020, section 4.2), written from the paper.

Before anybody asks: for each pair of nodes some paths of the least sum of creation rates, 1/p a hop (Yen's
algorithm). When pairs ask, the paths of all of them are taken from the best on, each in the width that is
left; then further paths over what remains; then every channel still free on any of the paths. After the
attempts paths are used as they are; a lane that lacks pairs is cut into segments of at most k hops, each of
which is replaced by the shortest way through what its two ends both hear of.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra, yen

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

LINK_STATE_HOPS = 3
PATHS_A_PAIR = 25


class QPass:
    """Q-PASS by creation rate."""

    name = "Q-PASS"
    # Whether the first known path without room ends the search among known paths.
    _stops = False

    def __init__(self, network: PairNetwork) -> None:
        self._network = network
        self._graph = self._weighted(dict.fromkeys(network.channels, 1))
        self._hops = dijkstra(self._graph, unweighted=True).astype(int)
        self._known: dict[tuple[int, int], list[Path]] = {}
        self.lanes: list[Lanes] = []
        self._channels: dict[Edge, int] = {}

    def prepare(self, pairs: Sequence[tuple[int, int]]) -> None:
        """The paths of these pairs. (The paper does so for all pairs; nobody else asks here.)"""
        for source, target in pairs:
            if (source, target) not in self._known:
                _, before = yen(self._graph, source, target, PATHS_A_PAIR, return_predecessors=True)
                self._known[source, target] = [_traced(each, source, target) for each in before]

    def plan(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Known paths from the best on, further ones, then all that is left on any of them."""
        spare, self.lanes = Spare(self._network), []
        paths = sorted((path for pair in pairs for path in self._known[pair]), key=self._metric)
        for path in paths:
            if not self._take(spare, path) and self._stops:
                break
        for pair in pairs:
            while (further := self._widest(spare, *pair)) is not None:
                self._take(spare, further)
        for path in [*(one.path for one in self.lanes), *paths]:
            for link in edges_of(path):
                spare.take(link, spare.room(link))
        self._channels = spare.used()

    def _metric(self, path: Path) -> tuple[float, Path]:
        return sum(1 / self._network.success_ratio[link] for link in edges_of(path)), path

    def _take(self, spare: Spare, path: Path) -> bool:
        width = _room(spare, path)
        if width == 0:
            return False
        spare.take(path, width)
        self.lanes.append(Lanes(path, width))
        return True

    def _widest(self, spare: Spare, source: int, target: int) -> Path | None:
        """Of the widest paths that there are the one with the best metric."""
        memories = spare.memories
        for width in range(min(memories[source], memories[target]), 0, -1):
            passable = {
                link: 1
                for link, count in spare.channels.items()
                if count >= width
                and all(node in (source, target) or memories[node] >= 2 * width for node in link)
            }
            if not passable:
                continue
            lengths, before = dijkstra(
                self._weighted(passable), indices=source, directed=False, return_predecessors=True
            )
            if np.isfinite(lengths[target]):
                return _traced(before, source, target)
        return None

    def _weighted(self, links: Mapping[Edge, int]) -> csr_array:
        size = len(self._network.memories)
        both = [(*link, self._network.success_ratio[link]) for link in links]
        both += [(b, a, success) for a, b, success in both]
        rows, columns, success = zip(*both, strict=True)
        places = np.array(rows, dtype=np.int32), np.array(columns, dtype=np.int32)
        return csr_array((1 / np.array(success), places), shape=(size, size))

    def channels(self, number: int) -> dict[Edge, int]:
        """The same in every slot."""
        del number
        return self._channels

    def connect(self, slot: Slot, good: dict[Edge, int]) -> list[tuple[int, int]]:
        """Swap; which pairs came about."""
        swaps = slot.swaps()
        return [(path[0], path[-1]) for path in self.selected(good) if swaps.through(path)]

    def selected(self, good: dict[Edge, int]) -> list[Path]:
        """Whole paths as they were planned, then lanes mended segment by segment."""
        chosen, broken = [], []
        for lanes in self.lanes:
            for _ in range(lanes.width):
                if all(good.get(link, 0) > 0 for link in edges_of(lanes.path)):
                    _spend(good, lanes.path)
                    chosen.append(lanes.path)
                else:
                    broken.append(lanes.path)
        for path in broken:
            whole = self._mended(path, good)
            if whole is not None:
                chosen.append(whole)
        return chosen

    def _mended(self, path: Path, good: dict[Edge, int]) -> Path | None:
        left, whole = dict(good), [path[0]]
        stops = [*path[:-1:LINK_STATE_HOPS], path[-1]]
        for first, last in pairwise(stops):
            way = self._heard_way(first, last, left)
            if way is None:
                return None
            _spend(left, way)
            whole += way[1:]
        good.update(left)
        return tuple(whole)

    def _heard_way(self, first: int, last: int, left: Mapping[Edge, int]) -> Path | None:
        """The fewest hops between two nodes over edges that both hear of."""
        heard = np.maximum(self._hops[first], self._hops[last]) <= LINK_STATE_HOPS
        before, layer = {first: first}, [first]
        while layer:
            following = []
            for node in layer:
                for other in self._network.neighbours[node]:
                    if other in before or left.get(edge(node, other), 0) <= 0:
                        continue
                    if not (heard[node] or heard[other]):
                        continue
                    before[other] = node
                    if other == last:
                        path = [last]
                        while path[-1] != first:
                            path.append(before[path[-1]])
                        return tuple(reversed(path))
                    following.append(other)
            layer = following
        return None


class QPassStopping(QPass):
    """As the authors ran it: the first path without room ends the search among the known ones."""

    name = "Q-PASS, stopping"
    _stops = True


def _traced(before: np.ndarray, source: int, target: int) -> Path:
    path = [target]
    while path[-1] != source:
        path.append(int(before[path[-1]]))
    return tuple(reversed(path))


def _room(spare: Spare, path: Path) -> int:
    ends = min(spare.memories[path[0]], spare.memories[path[-1]])
    between = min((spare.memories[node] // 2 for node in path[1:-1]), default=ends)
    return min(ends, between, *(spare.channels[link] for link in edges_of(path)))


def _spend(left: dict[Edge, int], path: Path) -> None:
    for link in edges_of(path):
        left[link] -= 1
