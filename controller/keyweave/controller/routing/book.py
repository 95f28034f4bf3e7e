"""Who uses which link, by one plan: what a repair looks up instead of reading the plan of every stream."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.grants import in_use
from keyweave.controller.topology import PathSet, Plan, StreamPlan

# Loads are counted in whole millionths of a bit/s, so that sums do not depend on their order.
COUNTS_PER_BPS = 1_000_000

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Book:
    """Streams and loads of links by one plan. `following` another costs only what differs."""

    plans: Mapping[StreamName, StreamPlan]
    # The place of each link in `counts`.
    numbers: Mapping[LinkName, int]
    # Delivered bit/s that all streams take of each link together, in counts.
    counts: Counts
    # What each stream takes: numbers of links, a link of two paths twice, and counts.
    loads: Mapping[StreamName, tuple[Counts, Counts]]
    # Streams with a set over the link; and those of them that have one in use.
    holders: Mapping[LinkName, frozenset[StreamName]]
    users: Mapping[LinkName, frozenset[StreamName]]

    def following(self, plan: Plan) -> "Book":
        """The book of `plan`."""
        if plan.streams is self.plans:
            return self
        old = [one for name, one in self.plans.items() if plan.streams.get(name) is not one]
        new = [one for name, one in plan.streams.items() if self.plans.get(name) is not one]
        if not old and not new:
            return Book(plan.streams, self.numbers, self.counts, self.loads, self.holders, self.users)
        numbers = dict(self.numbers)
        loads = dict(self.loads)
        gone = [loads.pop(one.stream) for one in old]
        come = [_loads(one, numbers) for one in new]
        loads.update(zip((one.stream for one in new), come, strict=True))
        counts = np.zeros(len(numbers), dtype=np.int64)
        counts[: len(self.counts)] = self.counts
        counts -= total(gone, len(numbers))
        counts += total(come, len(numbers))
        return Book(
            plan.streams,
            numbers,
            counts,
            loads,
            _members(self.holders, old, new, lambda one: one.path_sets),
            _members(self.users, old, new, in_use),
        )

    def taken(self, without: Iterable[StreamName]) -> Mapping[LinkName, float]:
        """What streams take of each link, delivered bit/s, but for these."""
        rest = self.counts - total([self.loads[name] for name in without], len(self.counts))
        return dict(zip(self.numbers, (rest / COUNTS_PER_BPS).tolist(), strict=True))


def total(loads: list[tuple[Counts, Counts]], size: int) -> Counts:
    """The loads of streams together."""
    found = np.zeros(size, dtype=np.int64)
    if loads:
        np.add.at(found, np.concatenate([n for n, _ in loads]), np.concatenate([c for _, c in loads]))
    return found


def _loads(plan: StreamPlan, numbers: dict[LinkName, int]) -> tuple[Counts, Counts]:
    links: list[int] = []
    counts: list[int] = []
    for path_set in in_use(plan):
        load = round(path_set.rate_bps * COUNTS_PER_BPS)
        for path in path_set.paths:
            for hop in path.hops:
                links.append(numbers.setdefault(hop.link, len(numbers)))
                counts.append(load)
    return np.array(links, dtype=np.int64), np.array(counts, dtype=np.int64)


def _members(
    before: Mapping[LinkName, frozenset[StreamName]],
    old: list[StreamPlan],
    new: list[StreamPlan],
    sets_of: Callable[[StreamPlan], Iterable[PathSet]],
) -> Mapping[LinkName, frozenset[StreamName]]:
    changed: dict[LinkName, set[StreamName]] = {}
    for plans, change in ((old, set[StreamName].discard), (new, set[StreamName].add)):
        for one in plans:
            for link in {hop.link for each in sets_of(one) for path in each.paths for hop in path.hops}:
                if link not in changed:
                    changed[link] = set(before.get(link, ()))
                change(changed[link], one.stream)
    return {**before, **{link: frozenset(names) for link, names in changed.items()}}


NO_BOOK = Book({}, {}, np.zeros(0, dtype=np.int64), {}, {}, {})
