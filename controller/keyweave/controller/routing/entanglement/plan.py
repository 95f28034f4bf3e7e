"""Which channels a slot uses, for whom: shares by linear program, then whole lanes, then what is left."""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from keyweave.controller.routing.entanglement.search import best_path
from keyweave.controller.routing.entanglement.sharing import Sharing
from keyweave.controller.routing.entanglement.slots import (
    Edge,
    Lanes,
    PairNetwork,
    Path,
    Spare,
    edges_of,
    expected_pairs,
)

# What a lane beyond its share of the program counts for: others may have better use for what it takes.
_BEYOND_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """Lanes, and all channels in use: theirs and those that may mend them."""

    lanes: tuple[Lanes, ...]
    channels: dict[Edge, int]


def plan_slot(network: PairNetwork, pairs: Sequence[tuple[int, int]]) -> SlotPlan:
    """Lanes for these pairs of nodes."""
    sharing = Sharing(network, pairs)
    shares = sharing.solve()
    spare, widths = Spare(network), Counter[Path]()
    for path, share in zip(sharing.paths, shares, strict=True):
        if whole := int(share + 1e-6):
            spare.take(path, whole)
            widths[path] = whole
    _round_up(network, spare, widths, dict(zip(sharing.paths, shares, strict=True)))
    _add_paths(network, spare, widths, pairs)
    lanes = [Lanes(path, width) for path, width in widths.items()]
    lanes.sort(key=lambda one: (len(one.path), -expected_pairs(network, one.path, one.width), one.path))
    _strengthen(network, spare, lanes)
    return SlotPlan(tuple(lanes), spare.used())


def _round_up(network: PairNetwork, spare: Spare, widths: Counter[Path], shares: dict[Path, float]) -> None:
    """Lane by lane what adds most, for as long as one fits."""

    def gain(path: Path) -> float:
        width = widths[path]
        more = expected_pairs(network, path, width + 1)
        more -= expected_pairs(network, path, width) if width else 0.0
        return more if shares[path] > width else _BEYOND_SHARE * more

    queue = [(-gain(path), path) for path in shares]
    heapq.heapify(queue)
    while queue:
        _, path = heapq.heappop(queue)
        if not _fits(spare, path):
            continue
        spare.take(path, 1)
        widths[path] += 1
        heapq.heappush(queue, (-gain(path), path))


def _fits(spare: Spare, path: Path) -> bool:
    return all(spare.channels[link] > 0 for link in edges_of(path)) and all(
        spare.memories[node] > (0 if node in (path[0], path[-1]) else 1) for node in path
    )


def _add_paths(
    network: PairNetwork, spare: Spare, widths: Counter[Path], pairs: Sequence[tuple[int, int]]
) -> None:
    """Paths that the program did not know, of whatever width gives most."""
    open_pairs = list(dict.fromkeys(pairs))
    while open_pairs:
        best: tuple[float, Path, int] | None = None
        for pair in list(open_pairs):
            found = _widths_tried(network, spare, pair)
            if found is None:
                open_pairs.remove(pair)
            elif best is None or found[0] > best[0]:
                best = found
        if best is None:
            return
        _, path, width = best
        spare.take(path, width)
        widths[path] += width


def _widths_tried(
    network: PairNetwork, spare: Spare, pair: tuple[int, int]
) -> tuple[float, Path, int] | None:
    best: tuple[float, Path, int] | None = None
    for width in range(1, min(spare.memories[pair[0]], spare.memories[pair[1]]) + 1):
        found = best_path(network, spare, pair, width)
        if found is None:
            break
        if best is None or found[1] > best[0]:
            best = found[1], found[0], width
    return best


def _strengthen(network: PairNetwork, spare: Spare, lanes: Sequence[Lanes]) -> None:
    """Spend what is left: on the edges whose lanes will most likely lack pairs, then around them."""
    load = Counter[Edge]()
    for one in lanes:
        for link in edges_of(one.path):
            load[link] += one.width
    used = spare.used()

    def slack(link: Edge) -> float:
        # Expected pairs less lanes, in units of the spread of that number.
        return (used[link] * network.success_ratio[link] - load[link]) / sqrt(load[link])

    queue = [(slack(link), link) for link in load]
    heapq.heapify(queue)
    while queue:
        _, link = heapq.heappop(queue)
        if spare.room(link) > 0:
            spare.take(link, 1)
            used[link] += 1
            heapq.heappush(queue, (slack(link), link))
    reached = {node for one in lanes for node in one.path}
    for link in network.channels:
        if (more := spare.room(link)) > 0 and not reached.isdisjoint(link):
            spare.take(link, more)
