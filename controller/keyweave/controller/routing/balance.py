"""How very many streams should split over their path sets for near max-min rates: prices found by rehearsal.

Every link advertises a rate: what a stream may have that crosses it and nothing narrower. A stream takes what
its sets advertise, each a soft minimum over its links, and leans to sets that cost less; a link advertises
less while it is asked for more than it has. Where nobody moves any more, rates are alpha-fair (Mo and Walrand
2000; the dual of Low and Lapsley 1999, with advertised rates in place of prices: a price is one to the power
of -alpha), and near max-min for a large alpha, which therefore grows from stage to stage.

Links far above a stream's own level cost it next to nothing at a large alpha, but others need them. So a
set's cost has a second part, with prices that fall slower, and links that all of a stream's sets cross are
left out.
"""

from collections.abc import Mapping, Sequence
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from keyweave.common.names import LinkName
from keyweave.controller.routing.arcs import Floats
from keyweave.controller.routing.program import Demand


class Stage(NamedTuple):
    """So many steps under one pair of exponents."""

    alpha: float
    # Exponent of the prices by which streams spare links that are no limit of theirs.
    sparing: float
    steps: int
    # Share of a step towards cheaper sets. Its product with alpha and `_LINK_STEP` is what makes splits and
    # prices chase each other: at 1 they still come to rest.
    lean: float = 0.1


# Share of a step towards what a link could advertise.
_LINK_STEP = 0.3
# What sparing counts for beside the price of a stream's own limits.
_SPARING = 1.0
# No step changes a set's weight, or an advertised rate, by more than these (natural logarithms).
_MOST_LEAN = 3.0
_MOST_FALL = 1.0
_MOST_RISE = 0.3
# A link advertises at most so many times its capacity (logarithm): a stream can have several links' worth.
_BEYOND = 4.0
# No set's weight falls below this share of the stream's first, so that it can come back.
_LEAST_WEIGHT = -9.0
# A set that came up later begins with this share of the stream's first.
_NEW_WEIGHT = -2.0
# Bounds of exponents, so that products of two stay finite.
_EXPONENT = 300.0
# A stage is over once no split and no advertised rate moves by more than this (natural logarithm) in a step.
_AT_REST = 1e-4
_LOOK_EVERY = 10


class _Set(NamedTuple):
    """A candidate as columns have it: whose, which of its own, and what it crosses."""

    owner: int
    place: int
    limits: NDArray[np.int64]


class Balance:
    """Splits of streams and advertised rates of links. Every demand has at least one candidate."""

    def __init__(self, demands: Sequence[Demand], residual: Mapping[LinkName, float]) -> None:
        self._demands = demands
        self._links = {link: i for i, link in enumerate(residual)}
        # What links have left, then bounds of single sets.
        self._room = list(residual.values())
        most = [max(demand.max_rate_bps, 1e-9) for demand in demands]
        least = [min(max(d.min_rate_bps, 1e-9), limit) for d, limit in zip(demands, most, strict=True)]
        self._least, self._most = np.log(least), np.log(most)
        self._taken_up = [0] * len(demands)
        self._sets: list[_Set] = []
        self._level = np.zeros(0)
        self._lean = np.zeros(0)
        self.take_up()

    @property
    def crossings(self) -> int:
        """How many links all sets cross, which is what a step takes its time for."""
        return int(self._paths.nnz)

    def take_up(self) -> None:
        """Take up the candidates that demands have more by now."""
        sets, lean = list(self._sets), self._lean.tolist()
        for index, demand in enumerate(self._demands):
            known = self._taken_up[index]
            greatest = max(one.present_bps for one in demand.candidates)
            for place, one in enumerate(demand.candidates[known:], start=known):
                limits = [self._links[link] for link in one.links if link in self._links]
                if one.bound_bps < np.inf:
                    limits.append(len(self._room))
                    self._room.append(one.bound_bps)
                sets.append(_Set(index, place, np.array(limits, dtype=np.int64)))
                used = one.present_bps / greatest if greatest > 0 else float(known == 0)
                lean.append(max(_NEW_WEIGHT, log(used)) if used > 0 else _NEW_WEIGHT)
            self._taken_up[index] = len(demand.candidates)
        order = np.lexsort(([one.place for one in sets], [one.owner for one in sets])).tolist()
        self._arrange([sets[i] for i in order], np.array([lean[i] for i in order]))

    def narrow(self, least_share: float, most_sets: int) -> None:
        """Give up sets that carry less than a share of their stream's rate, and all but so many of each."""
        kept: list[int] = []
        shares = self._shares()
        ends = [*self._first[1:].tolist(), len(shares)]
        for first, end in zip(self._first.tolist(), ends, strict=True):
            largest = sorted(range(first, end), key=lambda i: (-shares[i], i))[:most_sets]
            kept += sorted(i for i in largest if shares[i] >= least_share or i == largest[0])
        self._arrange([self._sets[i] for i in kept], self._lean[kept])

    def _arrange(self, sets: list[_Set], lean: Floats) -> None:
        self._sets, self._lean = sets, lean
        self._owner = np.array([one.owner for one in sets], dtype=np.int64)
        self._first = np.searchsorted(self._owner, np.arange(len(self._demands)))
        starts = np.cumsum([0, *(len(one.limits) for one in sets)])
        indices = np.concatenate([one.limits for one in sets])
        self._paths = csr_matrix((np.ones(len(indices)), indices, starts), shape=(len(sets), len(self._room)))
        self._apart = self._without_common()
        self._capacity = np.log(self._room)
        if len(self._level) < len(self._room):
            users = np.maximum(self._paths.T @ self._shares(), 1e-9)
            new = (self._capacity - np.log(users))[len(self._level) :]
            self._level = np.concatenate((self._level, new))

    def _without_common(self) -> csr_matrix:
        """The links that make a difference between the sets of a stream."""
        counts = np.bincount(self._owner)
        owners = self._owner[np.repeat(np.arange(self._paths.shape[0]), np.diff(self._paths.indptr))]
        crossing = owners * self._paths.shape[1] + self._paths.indices
        _, where, times = np.unique(crossing, return_inverse=True, return_counts=True)
        apart = self._paths.copy()
        apart.data = (times[where] < counts[owners]).astype(np.float64)
        apart.eliminate_zeros()
        return apart

    def _shares(self) -> Floats:
        weight = np.exp(self._lean)
        return np.asarray(weight / np.add.reduceat(weight, self._first)[self._owner], dtype=np.float64)

    def shares(self) -> Floats:
        """Which share of its stream's rate each candidate is to carry, in the order of demands."""
        counts = [len(demand.candidates) for demand in self._demands]
        begins = np.cumsum([0, *counts])
        found = np.zeros(int(begins[-1]))
        found[[begins[one.owner] + one.place for one in self._sets]] = self._shares()
        return found

    def settle(self, stages: Sequence[Stage]) -> Floats:
        """Go through stages; the rates of streams that links advertise at last."""
        rates = np.zeros(0)
        for stage in stages:
            rates = self._through(stage)
        return rates

    def _through(self, stage: Stage) -> Floats:
        owner, first, paths, apart = self._owner, self._first, self._paths, self._apart
        onto, lengths = paths.T.tocsr(), 1e-9 * np.diff(paths.indptr)
        alpha, sparing = stage.alpha, stage.sparing
        share, total, averaged = self._shares(), np.zeros(len(owner)), 0
        last: Floats | None = None
        rate = np.zeros(len(first))
        for step in range(stage.steps):
            middle = float(np.median(self._level))
            height = self._level - middle
            prices = np.exp(np.clip(-alpha * height, -_EXPONENT, _EXPONENT))
            spared = np.exp(np.clip(-sparing * height, -_EXPONENT / 2, _EXPONENT / 2))
            advertised = middle - np.log(np.maximum(paths @ prices, 1e-300)) / alpha
            rate = np.clip(np.add.reduceat(share * advertised, first), self._least, self._most)
            own = np.exp(np.clip(alpha * (rate - middle), -_EXPONENT, _EXPONENT))[owner]
            other = np.exp(np.clip(sparing * (rate - middle), -_EXPONENT / 2, _EXPONENT / 2))[owner]
            cost = np.log((apart @ prices) * own + _SPARING * (apart @ spared) * other + lengths + 1e-300)
            gain = np.clip(np.add.reduceat(share * cost, first)[owner] - cost, -_MOST_LEAN, _MOST_LEAN)
            # The gain foreseen, not the last: without it splits and prices circle each other (Popov 1980).
            self._lean += stage.lean * (gain if last is None else 2 * gain - last)
            last = gain
            self._lean -= np.maximum.reduceat(self._lean, first)[owner]
            self._lean = np.maximum(self._lean, _LEAST_WEIGHT)
            share = self._shares()
            asked = np.log(np.maximum(onto @ (share * np.exp(rate)[owner]), 1e-30))
            change = np.clip(self._capacity - asked, -_MOST_FALL, _MOST_RISE)
            before = self._level
            self._level = np.minimum(before + _LINK_STEP * change, self._capacity + _BEYOND)
            if step >= stage.steps // 2:
                total += share
                averaged += 1
            if step % _LOOK_EVERY == 0 and self._rests(self._level - before, share * gain):
                break
        if averaged:
            # What is left of the circling cancels out.
            self._lean = np.maximum(np.log(np.maximum(total / averaged, 1e-9)), -20.0)
            self._lean -= np.maximum.reduceat(self._lean, first)[owner]
            self._lean = np.maximum(self._lean, _LEAST_WEIGHT)
        return np.asarray(np.exp(rate), dtype=np.float64)

    @staticmethod
    def _rests(change: Floats, gain: Floats) -> bool:
        return bool(np.abs(change).max() < _AT_REST and np.abs(gain).max() < _AT_REST)

    def prices(self, power: float) -> dict[LinkName, float]:
        """Costs of links for a search: they fall with that power of what links advertise."""
        real = self._level[: len(self._links)]
        costs = np.exp(np.clip(-power * (real - np.median(real)), -_EXPONENT / 2, _EXPONENT / 2))
        return dict(zip(self._links, costs.tolist(), strict=True))
