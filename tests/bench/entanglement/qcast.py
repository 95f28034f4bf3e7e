"""Q-CAST (Shi and Qian, SIGCOMM 2020, section 4.3), written from the paper.

Major paths: of all S-D pairs the one whose widest path has the highest expected throughput EXT takes its
channels, until nobody has a path. Recovery paths: around every segment of at most k hops of a major path,
the widest that is left. After the attempts each major path is used lane by lane, hops without a pair being
replaced by recovery paths that have some.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keyweave.controller.routing.entanglement.slots import Edge, PairNetwork, Path, Spare, edge, edges_of
from tests.bench.entanglement.extended import best_path
from tests.bench.entanglement.slotted import Slot

LINK_STATE_HOPS = 3


@dataclass(frozen=True, slots=True)
class Planned:
    """A path and its channels on every edge."""

    path: Path
    width: int
    expected: float


@dataclass(frozen=True, slots=True)
class Major:
    """A major path with its recovery paths."""

    main: Planned
    recovery: tuple[Planned, ...]


def widest(network: PairNetwork, spare: Spare, source: int, target: int) -> Planned | None:
    """The path of the greatest width that there is; of those the one with the highest EXT."""
    for width in range(min(spare.memories[source], spare.memories[target]), 0, -1):
        found = best_path(network, spare, (source, target), width)
        if found is not None:
            return Planned(found[0], width, found[1])
    return None


class QCast:
    """Q-CAST."""

    name = "Q-CAST"
    # Whether a pair keeps its path for as long as it fits. What is chosen is the same, as room only shrinks;
    # the paper has every pair search anew after every choice.
    _keeps = False

    def __init__(self, network: PairNetwork) -> None:
        self._network = network
        self.majors: list[Major] = []
        self._channels: dict[Edge, int] = {}

    def prepare(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Nothing: paths are found for whoever asks."""

    def plan(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Major paths, then recovery paths."""
        network, spare = self._network, Spare(self._network)
        chosen: list[Planned] = []
        found: dict[tuple[int, int], Planned | None] = {}
        while True:
            for pair in pairs:
                known = found.get(pair)
                if self._keeps and pair in found and (known is None or _fits(spare, known)):
                    continue
                found[pair] = widest(network, spare, *pair)
            candidates = [one for one in found.values() if one is not None]
            if not candidates:
                break
            best = max(candidates, key=lambda one: one.expected)
            spare.take(best.path, best.width)
            chosen.append(best)
        self.majors = [Major(one, tuple(self._around(spare, one.path))) for one in chosen]
        self._channels = spare.used()

    def channels(self, number: int) -> dict[Edge, int]:
        """The same in every slot."""
        del number
        return self._channels

    def _around(self, spare: Spare, path: Path) -> list[Planned]:
        recovery = []
        for hops in range(1, LINK_STATE_HOPS + 1):
            for first in range(len(path) - hops):
                one = widest(self._network, spare, path[first], path[first + hops])
                if one is not None:
                    spare.take(one.path, one.width)
                    recovery.append(one)
        return recovery

    def connect(self, slot: Slot, good: dict[Edge, int]) -> list[tuple[int, int]]:
        """Swap; which pairs came about."""
        swaps, made = slot.swaps(), []
        for major in self.majors:
            path = major.main.path
            ordered = sorted(major.recovery, key=lambda one: (len(one.path), path.index(one.path[0])))
            for _ in range(major.main.width):
                whole = _mended(path, ordered, good)
                if whole is None:
                    break
                for each in edges_of(whole):
                    good[each] -= 1
                if swaps.through(whole):
                    made.append((path[0], path[-1]))
        return made


class QCastKeeping(QCast):
    """The same paths in less time."""

    name = "Q-CAST, keeping"
    _keeps = True


def _fits(spare: Spare, one: Planned) -> bool:
    inner = one.path[1:-1]
    return all(spare.room(link) >= one.width for link in edges_of(one.path)) and all(
        spare.memories[node] >= 2 * one.width for node in inner
    )


def _mended(path: Path, recovery: Sequence[Planned], good: dict[Edge, int]) -> Path | None:
    """The path with recovery paths in the place of hops without a pair; None where that cannot be."""
    whole, at = [path[0]], 0
    while at < len(path) - 1:
        if good.get(edge(path[at], path[at + 1]), 0) > 0:
            at += 1
            whole.append(path[at])
            continue
        detour = _detour(path, at, recovery, good, whole)
        if detour is None:
            return None
        start, detour_path = detour
        whole = whole[: whole.index(start) + 1] + list(detour_path[1:])
        at = path.index(detour_path[-1])
    return tuple(whole) if len(set(whole)) == len(whole) else None


def _detour(
    path: Path, at: int, recovery: Sequence[Planned], good: dict[Edge, int], whole: Sequence[int]
) -> tuple[int, Path] | None:
    for one in recovery:
        first, last = path.index(one.path[0]), path.index(one.path[-1])
        if (
            first <= at < last
            and one.path[0] in whole
            and all(good.get(each, 0) > 0 for each in edges_of(one.path))
        ):
            return one.path[0], one.path
    return None
