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
from scipy.sparse import csr_matrix, vstack

from keyweave.common.names import LinkName
from keyweave.controller.routing.arcs import Floats, Indices
from keyweave.controller.routing.crossings import crossings
from keyweave.controller.routing.network import Candidate
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
# Bytes of a table of streams by links.
_TABLE_SIZE = 2**21


class Balance:
    """Splits of streams and advertised rates of links. Every demand has at least one candidate."""

    def __init__(
        self,
        demands: Sequence[Demand],
        residual: Mapping[LinkName, float],
        advertised: Mapping[LinkName, float] | None = None,
    ) -> None:
        """`advertised` is what links begin with (logarithms); else with equal shares of what they have."""
        self._demands = demands
        self._links = {link: i for i, link in enumerate(residual)}
        # What links have left, then bounds of single sets.
        self._room = list(residual.values())
        most = [max(demand.max_rate_bps, 1e-9) for demand in demands]
        least = [min(max(d.min_rate_bps, 1e-9), limit) for d, limit in zip(demands, most, strict=True)]
        self._least, self._most = np.log(least), np.log(most)
        self._taken_up = [0] * len(demands)
        # Of each set: whose it is, and which of its own.
        self._owner = np.zeros(0, dtype=np.int64)
        self._place = np.zeros(0, dtype=np.int64)
        self._paths = csr_matrix((0, len(self._room)))
        self._level = np.zeros(0)
        self._lean = np.zeros(0)
        self.take_up()
        if advertised is not None:
            self._level[: len(self._links)] = [advertised[link] for link in self._links]

    @property
    def crossings(self) -> int:
        """How many links all sets cross, which is what a step takes its time for."""
        return int(self._paths.nnz)

    def take_up(self) -> None:
        """Take up the candidates that demands have more by now."""
        owners: list[int] = []
        places: list[int] = []
        sets: list[Candidate] = []
        lean: list[float] = []
        for index, demand in enumerate(self._demands):
            known, count = self._taken_up[index], len(demand.candidates)
            if known == count:
                continue
            fresh = demand.candidates[known:]
            lean += (
                _first_leans([one.present_bps for one in fresh]) if known == 0 else [_NEW_WEIGHT] * len(fresh)
            )
            owners += [index] * len(fresh)
            places += range(known, count)
            sets += fresh
            self._taken_up[index] = count
        counts, limits, bounds = crossings(sets, self._links, len(self._room))
        self._room += bounds
        starts = np.concatenate(([0], np.cumsum(counts)))
        more = csr_matrix((np.ones(len(limits)), limits, starts), shape=(len(sets), len(self._room)))
        self._paths.resize(len(self._owner), len(self._room))
        self._owner = np.append(self._owner, np.array(owners, dtype=np.int64))
        self._place = np.append(self._place, np.array(places, dtype=np.int64))
        self._lean = np.append(self._lean, lean)
        self._paths = vstack([self._paths, more], format="csr")
        self._arrange(np.lexsort((self._place, self._owner)))

    def narrow(self, least_share: float, most_sets: int) -> None:
        """Give up sets that carry less than a share of their stream's rate, and all but so many of each."""
        shares = self._shares()
        # The largest of each stream first; of equal ones the one that came first.
        order = np.lexsort((np.arange(len(shares)), -shares, self._owner))
        rank = np.arange(len(shares)) - self._first[self._owner]
        kept = (rank == 0) | ((rank < most_sets) & (shares[order] >= least_share))
        self._arrange(np.sort(order[kept]))

    def _arrange(self, rows: Indices) -> None:
        """Keep these sets, in this order, which is that of their streams."""
        self._owner, self._place, self._lean = self._owner[rows], self._place[rows], self._lean[rows]
        self._first = np.searchsorted(self._owner, np.arange(len(self._demands)))
        self._paths = self._paths[rows]
        self._apart, self._common = self._told_apart()
        self._capacity = np.log(self._room)
        if len(self._level) < len(self._room):
            users = np.maximum(self._paths.T @ self._shares(), 1e-9)
            new = (self._capacity - np.log(users))[len(self._level) :]
            self._level = np.concatenate((self._level, new))

    def _told_apart(self) -> tuple[csr_matrix, csr_matrix]:
        """By set, what not all sets of its stream cross; and by stream, what all of them cross."""
        paths, owner, first = self._paths, self._owner, self._first
        streams, count = len(self._demands), len(owner)
        members = csr_matrix((np.ones(count), np.arange(count), np.append(first, count)), (streams, count))
        common = members @ paths
        sets = np.diff(members.indptr)
        common = _only(common, common.data == np.repeat(sets, np.diff(common.indptr)))
        # Looked up in tables of a size that the processor's cache holds.
        width = paths.shape[1]
        at_once = max(1, _TABLE_SIZE // width)
        differs = np.empty(paths.nnz, dtype=bool)
        for begin in range(0, streams, at_once):
            table = common[begin : begin + at_once].astype(bool).toarray().ravel()
            rows = np.arange(first[begin], first[begin + at_once] if begin + at_once < streams else count)
            span = slice(paths.indptr[rows[0]], paths.indptr[rows[-1] + 1])
            lines = np.repeat((owner[rows] - begin) * width, np.diff(paths.indptr[rows[0] : rows[-1] + 2]))
            differs[span] = ~table[lines + paths.indices[span]]
        return _only(paths, differs), common

    def _shares(self) -> Floats:
        weight = np.exp(self._lean)
        return np.asarray(weight / np.add.reduceat(weight, self._first)[self._owner], dtype=np.float64)

    def shares(self) -> Floats:
        """Which share of its stream's rate each candidate is to carry, in the order of demands."""
        counts = [len(demand.candidates) for demand in self._demands]
        begins = np.cumsum([0, *counts])
        found = np.zeros(int(begins[-1]))
        found[begins[self._owner] + self._place] = self._shares()
        return found

    def settle(self, stages: Sequence[Stage]) -> Floats:
        """Go through stages; the rates of streams that links advertise at last."""
        rates = np.zeros(0)
        for stage in stages:
            rates = self._through(stage)
        return rates

    def _through(self, stage: Stage) -> Floats:
        owner, first, apart, common = self._owner, self._first, self._apart, self._common
        onto, commonly, lengths = apart.T, common.T, 1e-9 * np.diff(self._paths.indptr)
        alpha, sparing = stage.alpha, stage.sparing
        share, total, averaged = self._shares(), np.zeros(len(owner)), 0
        last: Floats | None = None
        rate = np.zeros(len(first))
        for step in range(stage.steps):
            middle = float(np.median(self._level))
            height = self._level - middle
            prices = np.exp(np.clip(-alpha * height, -_EXPONENT, _EXPONENT))
            spared = np.exp(np.clip(-sparing * height, -_EXPONENT / 2, _EXPONENT / 2))
            price = apart @ prices
            dear = np.maximum(price + (common @ prices)[owner], 1e-300)
            advertised = middle - np.log(dear) / alpha
            rate = np.clip(np.add.reduceat(share * advertised, first), self._least, self._most)
            own = np.exp(np.clip(alpha * (rate - middle), -_EXPONENT, _EXPONENT))[owner]
            other = np.exp(np.clip(sparing * (rate - middle), -_EXPONENT / 2, _EXPONENT / 2))[owner]
            cost = np.log(price * own + _SPARING * (apart @ spared) * other + lengths + 1e-300)
            gain = np.clip(np.add.reduceat(share * cost, first)[owner] - cost, -_MOST_LEAN, _MOST_LEAN)
            # The gain foreseen, not the last: without it splits and prices circle each other (Popov 1980).
            self._lean += stage.lean * (gain if last is None else 2 * gain - last)
            last = gain
            self._lean -= np.maximum.reduceat(self._lean, first)[owner]
            self._lean = np.maximum(self._lean, _LEAST_WEIGHT)
            share = self._shares()
            given = np.exp(rate)
            asked = np.log(np.maximum(onto @ (share * given[owner]) + commonly @ given, 1e-30))
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

    def advertised(self) -> dict[LinkName, float]:
        """What links advertise by now (logarithms)."""
        return dict(zip(self._links, self._level.tolist(), strict=False))

    def prices(self, power: float) -> dict[LinkName, float]:
        """Costs of links for a search: they fall with that power of what links advertise."""
        real = self._level[: len(self._links)]
        costs = np.exp(np.clip(-power * (real - np.median(real)), -_EXPONENT / 2, _EXPONENT / 2))
        return dict(zip(self._links, costs.tolist(), strict=True))


def _first_leans(present: Sequence[float]) -> list[float]:
    """How a stream's first sets are weighted: as they are used now, or alike where none is."""
    greatest = max(present)
    if greatest <= 0:
        return [0.0] * len(present)
    return [max(_NEW_WEIGHT, log(rate / greatest)) if rate > 0 else _NEW_WEIGHT for rate in present]


def _only(crossings: csr_matrix, which: NDArray[np.bool_]) -> csr_matrix:
    """Some of the crossings, row by row."""
    before = np.concatenate(([0], np.cumsum(which)))
    kept = crossings.indices[which]
    return csr_matrix((np.ones(len(kept)), kept, before[crossings.indptr]), shape=crossings.shape)
