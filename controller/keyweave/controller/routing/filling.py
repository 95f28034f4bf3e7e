"""Near max-min rates of very many streams, by filling all path sets at once (water-filling, vectorised).

Every path set fills at a speed of its own until a link on its way is full. Speeds of a stream's sets add up
to 1, and are adapted from filling to filling (adaptive water-filling: Namyar et al., NSDI 2024, section 4):
a full link has as price what a bit/s more is worth to those it holds back, a set costs the sum of its links,
and streams lean on the sets that cost less than a bit/s is worth to them. Whenever it stops, no link carries
more than it can.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.crossings import crossings
from keyweave.controller.routing.program import Demand

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

# Rounds of one filling; each fills at least the links that hold all their path sets back.
_MAX_ROUNDS = 60
# No set's speed falls below this share of its stream's: one that got nothing now may get some later.
_LEAST_SPEED = 1e-4
# Prices fall with this power of the rate of those who share a full link: the higher, the more it is the
# poorest that count (alpha-fairness: Mo and Walrand 2000).
_FAIRNESS = 2.0
# How strongly speeds follow prices at first, and how soon that abates.
_LEAN = 0.3
_LEAN_PASSES = 20.0
_MOST_LEAN = 10.0


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
        own = real + np.arange(len(demands))
        sets = [one for demand in demands for one in demand.candidates]
        crossed, limits, bounds = crossings(sets, self._links, len(room))
        room += bounds
        self._room = np.array(room, dtype=np.float64)
        begins = np.concatenate(([0], np.cumsum(crossed)[:-1])).astype(np.int64)
        self._uses = np.insert(limits, begins, own[self._owner])
        self._starts = begins + np.arange(len(sets))
        self._user = np.repeat(np.arange(len(sets)), crossed + 1)

    def fill(self, passes: int) -> Filled:
        """Fill so many times over, each time at speeds that follow from the last."""
        floors = np.array([min(d.min_rate_bps, d.max_rate_bps) for d in self._demands])
        base = self._to_floors(floors, passes) if floors.any() else np.zeros(len(self._owner))
        room = np.maximum(0.0, self._room - np.bincount(self._uses, base[self._user], len(self._room)))
        speeds = self._present()
        for number in range(passes):
            more, held_by = self._once(room, speeds)
            rates = base + more
            worth, prices = self._prices(rates, held_by)
            speeds = self._lean(speeds, worth, prices, _LEAN / (1 + number / _LEAN_PASSES))
        return self._filled(rates, worth, prices)

    def pour(self, shares: Floats, goals: Floats) -> dict[StreamName, tuple[float, ...]]:
        """Rates at given shares of the sets: minimum rates, then each stream's goal, then what is left."""
        floors = np.array([min(d.min_rate_bps, d.max_rate_bps) for d in self._demands])
        rates = np.zeros(len(self._owner))
        real = len(self._links)
        for limit in (floors, goals if floors.any() else floors, np.full(len(floors), np.inf)):
            room = np.maximum(0.0, self._room - np.bincount(self._uses, rates[self._user], len(self._room)))
            wanted = np.maximum(0.0, limit - self._totals(rates))
            if not wanted.any():
                continue
            room[real : real + len(floors)] = np.minimum(room[real : real + len(floors)], wanted)
            speeds = shares * np.where(np.isfinite(wanted), wanted, 1.0)[self._owner]
            rates = rates + self._once(room, speeds)[0]
        return self._by_stream(rates)

    def _to_floors(self, floors: Floats, passes: int) -> Floats:
        """Rates of at most the minimum rates."""
        room = self._room.copy()
        real = len(self._links)
        room[real : real + len(floors)] = floors
        speeds = self._present()
        for number in range(passes):
            rates, held_by = self._once(room, speeds * floors[self._owner])
            worth, prices = self._prices(rates, held_by)
            speeds = self._lean(speeds, worth, prices, _LEAN / (1 + number / _LEAN_PASSES))
        return rates

    def _present(self) -> Floats:
        """Speeds as the sets are used at present; as many for each where they are not."""
        present = np.array([one.present_bps for demand in self._demands for one in demand.candidates])
        counts = np.bincount(self._owner, minlength=len(self._demands))
        totals = self._totals(present)[self._owner]
        evenly = np.asarray(1.0 / counts[self._owner], dtype=np.float64)
        return np.asarray(np.divide(present, totals, out=evenly, where=totals > 0), dtype=np.float64)

    def _totals(self, rates: Floats) -> Floats:
        return np.asarray(np.bincount(self._owner, rates, len(self._demands)), dtype=np.float64)

    def _lean(self, speeds: Floats, worth: Floats, prices: Floats, lean: float) -> Floats:
        costs = np.add.reduceat(prices[self._uses], self._starts)
        gain = np.clip(worth[self._owner] / np.maximum(costs, 1e-200), 1 / _MOST_LEAN, _MOST_LEAN)
        leaning = np.maximum(speeds, _LEAST_SPEED) * gain**lean
        return np.asarray(leaning / self._totals(leaning)[self._owner], dtype=np.float64)

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

    def _prices(self, rates: Floats, held_by: Indices) -> tuple[Floats, Floats]:
        """What a bit/s more is worth to each stream, and costs on each limit (0 where it is none)."""
        totals = self._totals(rates)
        typical = float(np.median(totals)) or 1.0
        worth = (np.maximum(totals, typical * 1e-6) / typical) ** -_FAIRNESS
        held = (held_by >= 0) & (held_by < len(self._links))
        part = rates[held] + 1e-12
        weight = np.bincount(held_by[held], part, len(self._room))
        dear = np.bincount(held_by[held], part * worth[self._owner[held]], len(self._room))
        return worth, np.divide(dear, weight, out=np.zeros(len(self._room)), where=weight > 0)

    def _filled(self, rates: Floats, worth: Floats, prices: Floats) -> Filled:
        return Filled(
            self._by_stream(rates),
            dict(zip(self._links, prices.tolist(), strict=False)),
            dict(zip((demand.stream for demand in self._demands), worth.tolist(), strict=True)),
        )

    def _by_stream(self, rates: Floats) -> dict[StreamName, tuple[float, ...]]:
        ends = [*self._first[1:].tolist(), len(rates)]
        found = rates.tolist()
        return {
            demand.stream: tuple(found[first:end])
            for demand, first, end in zip(self._demands, self._first.tolist(), ends, strict=True)
        }
