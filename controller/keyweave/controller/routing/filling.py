"""Near max-min rates of very many streams, by filling all path sets at once (water-filling, vectorised).

Every path set fills at a speed of its own until a link on its way is full. Speeds of a stream's sets add up
to 1; after each filling they become what its sets have got, so that streams lean on the sets that give them
most (adaptive water-filling: Namyar et al., NSDI 2024, section 4). Whenever it stops, no link carries more
than it can.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.program import Demand

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

# Rounds of one filling; each fills at least the links that hold all their path sets back.
_MAX_ROUNDS = 60
# No set's speed falls below this share of its stream's: one that got nothing now may get some later.
_LEAST_SPEED = 1e-4
# Prices fall with this power of the rate of those who share a full link: the higher, the more it is the
# poorest that count (alpha-fairness: Mo and Walrand 2000).
_FAIRNESS = 4.0


@dataclass(frozen=True, slots=True)
class Filled:
    """Rates of all candidates, and what links are worth to those who share them."""

    rates: Mapping[StreamName, tuple[float, ...]]
    link_prices: Mapping[LinkName, float]
    worth: Mapping[StreamName, float]


class Filling:
    """The candidates of some demands as arrays. Every demand has at least one."""

    def __init__(self, demands: Sequence[Demand], residual: Mapping[LinkName, float]) -> None:
        self._demands = demands
        self._links = {link: i for i, link in enumerate(residual)}
        counts = [len(demand.candidates) for demand in demands]
        self._owner = np.repeat(np.arange(len(demands)), counts)
        self._first = np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int64)
        # What holds a set back: its links, its stream's greatest rate, and its own bound.
        real = len(self._links)
        room = list(residual.values())
        room += [demand.max_rate_bps for demand in demands]
        uses: list[int] = []
        starts: list[int] = []
        column = 0
        for index, demand in enumerate(demands):
            for one in demand.candidates:
                starts.append(len(uses))
                uses += [self._links[link] for link in one.links if link in self._links]
                uses.append(real + index)
                if one.bound_bps < np.inf:
                    uses.append(len(room))
                    room.append(one.bound_bps)
                column += 1
        self._room = np.array(room, dtype=np.float64)
        self._uses = np.array(uses, dtype=np.int64)
        self._starts = np.array(starts, dtype=np.int64)
        self._user = np.repeat(np.arange(column), np.diff([*starts, len(uses)]))

    def fill(self, passes: int) -> Filled:
        """Fill so many times over, each time at speeds that follow from the last."""
        floors = np.array([min(d.min_rate_bps, d.max_rate_bps) for d in self._demands])
        base = self._to_floors(floors, passes) if floors.any() else np.zeros(len(self._owner))
        room = self._room - np.bincount(self._uses, base[self._user], len(self._room))
        speeds = self._evenly()
        rates, held_by = base, np.full(len(self._owner), -1)
        for _ in range(passes):
            more, held_by = self._once(np.maximum(room, 0.0), speeds)
            rates = base + more
            speeds = self._speeds(rates)
        return self._filled(rates, held_by)

    def _to_floors(self, floors: Floats, passes: int) -> Floats:
        """Rates of at most the minimum rates."""
        room = self._room.copy()
        real = len(self._links)
        room[real : real + len(floors)] = floors
        speeds = self._evenly() * floors[self._owner]
        rates = np.zeros(len(self._owner))
        for _ in range(passes):
            rates, _ = self._once(room, speeds)
            speeds = self._speeds(rates) * floors[self._owner]
        return rates

    def _evenly(self) -> Floats:
        counts = np.bincount(self._owner, minlength=len(self._demands))
        return np.asarray(1.0 / counts[self._owner], dtype=np.float64)

    def _totals(self, rates: Floats) -> Floats:
        return np.asarray(np.bincount(self._owner, rates, len(self._demands)), dtype=np.float64)

    def _speeds(self, rates: Floats) -> Floats:
        totals = self._totals(rates)[self._owner]
        shares = np.divide(rates, totals, out=self._evenly(), where=totals > 0)
        return np.maximum(shares, _LEAST_SPEED)

    def _once(self, room: Floats, speeds: Floats) -> tuple[Floats, Indices]:
        """One filling from nothing: rates, and which limit holds each set back."""
        left = room.copy()
        rates = np.zeros(len(speeds))
        held_by = np.full(len(speeds), -1)
        active = speeds > 0
        # Entries (set, limit) that still matter.
        user, uses, starts = self._user, self._uses, self._starts
        ids = np.arange(len(speeds))
        for _ in range(_MAX_ROUNDS):
            if not active.any():
                break
            entry_on = active[user]
            user, uses = user[entry_on], uses[entry_on]
            ids = np.flatnonzero(active)
            starts = np.searchsorted(user, ids)
            pressure = np.bincount(uses, speeds[user], len(left))
            level = np.divide(left, pressure, out=np.full(len(left), np.inf), where=pressure > 0)
            reach = np.minimum.reduceat(level[uses], starts)
            reach_of = np.full(len(speeds), np.inf)
            reach_of[ids] = reach
            # A limit is final where it holds back every set that is under it.
            beyond = level[uses] > reach_of[user] * (1 + 1e-9)
            waiting = np.bincount(uses, beyond, len(left)) > 0
            final_entry = ~waiting[uses] & ~beyond
            ended = np.zeros(len(speeds), dtype=bool)
            ended[user[final_entry]] = True
            done = np.flatnonzero(ended)
            rates[done] = speeds[done] * reach_of[done]
            held_by[user[final_entry]] = uses[final_entry]
            taken = ended[user]
            left = np.maximum(0.0, left - np.bincount(uses[taken], rates[user[taken]], len(left)))
            active[done] = False
        if active.any():
            # Out of rounds: what all can have at once without another look.
            ids = np.flatnonzero(active)
            rates[ids] = speeds[ids] * reach_of[ids]
        return rates * (1 - 1e-9), held_by

    def _filled(self, rates: Floats, held_by: Indices) -> Filled:
        totals = self._totals(rates)
        typical = float(np.median(totals)) or 1.0
        worth = (np.maximum(totals, typical * 1e-6) / typical) ** -_FAIRNESS
        real = len(self._links)
        held = (held_by >= 0) & (held_by < real)
        weight = np.bincount(held_by[held], minlength=real)
        dear = np.bincount(held_by[held], worth[self._owner[held]], real)
        prices = np.divide(dear, weight, out=np.zeros(real), where=weight > 0)
        ends = [*self._first[1:].tolist(), len(rates)]
        found = rates.tolist()
        return Filled(
            {
                demand.stream: tuple(found[first:end])
                for demand, first, end in zip(self._demands, self._first.tolist(), ends, strict=True)
            },
            dict(zip(self._links, prices.tolist(), strict=True)),
            dict(zip((demand.stream for demand in self._demands), worth.tolist(), strict=True)),
        )
