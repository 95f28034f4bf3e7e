"""Rates within one priority class: minimum rates first, then max-min fair, over several path sets a stream.

Max-min fairness is reached level by level: raise all streams together as far as the links allow, hold those
that can rise no further at any optimum (their dual value is positive), go on with the rest. At every level
the prices of links call for further path sets until none is worth adding (column generation), so that the
levels are those over all path sets there are, not only over those that were thought of first.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.network import Candidate
from keyweave.controller.routing.pricing import Pricing
from keyweave.controller.routing.program import SPLIT_SHARE, Demand, Program, Solution, width

# An optimum at a corner of the program splits few streams, and those seldom over more than four sets.
MAX_SETS = 8
# No set of rank 0 carries less than this share of its stream's rate.
MIN_SHARE = 0.01

# Less than one 256-bit key in 43 minutes is no supply: keys live for an hour by default.
MIN_RATE_BPS = 0.1

# A level settles a stream at least; networks with 1,000 streams have some tens of levels. After so many, what
# is left is dealt out in equal shares: the worst streams have long been settled.
_MAX_LEVELS = 400
_MAX_PRICING_PASSES = 60
_MAX_FLOOR_PROGRAMS = 48
_MAX_NARROWING_PASSES = 2
_POUR_ROUNDS = 24
_RELATIVE_TOLERANCE = 1e-6
# A dual value of less than this share of the greatest is the solver's dust.
_PRICE_RATIO = 1e-5

Rates = dict[StreamName, tuple[float, ...]]


def share(
    demands: Sequence[Demand], residual: Mapping[LinkName, float], pricing: Pricing | None = None
) -> Rates:
    """Rates (delivered bit/s) of every candidate of every demand, within what is left of the links.

    `pricing` may append candidates to the demands. Demands stand in the order in which their minimum
    rates are granted.
    """
    for demand in demands:
        demand.candidates = [one for one in demand.candidates if width(one, residual) > 0]
    residual = {link: left for link, left in residual.items() if left > 0}
    placeable = [demand for demand in demands if demand.candidates]
    if not placeable:
        return {demand.stream: () for demand in demands}
    rates = _Class(placeable, residual, pricing).rates()
    for _ in range(_MAX_NARROWING_PASSES):
        if not _narrow(placeable, rates):
            break
        # What a stream loses with its least sets, others may leave it elsewhere.
        rates = _Class(placeable, residual, None).rates()
    for demand in placeable:
        rates[demand.stream] = few(rates[demand.stream])
    _pour(placeable, rates, residual)
    for demand in placeable:
        rates[demand.stream] = without_crumbs(rates[demand.stream])
    return {demand.stream: rates.get(demand.stream, ()) for demand in demands}


def _narrow(demands: Sequence[Demand], rates: Rates) -> bool:
    """Leave streams the sets that are worth one only; whether any had others."""
    narrowed = False
    for demand in demands:
        found = rates[demand.stream]
        kept = [i for i, rate in enumerate(few(found)) if rate > 0] or [0]
        narrowed = narrowed or sum(rate > 0 for rate in found) > len(kept)
        demand.candidates = [demand.candidates[i] for i in kept]
        rates[demand.stream] = tuple(found[i] for i in kept)
    return narrowed


class _Class:
    """The exact optimum of one priority class."""

    def __init__(
        self, demands: Sequence[Demand], residual: Mapping[LinkName, float], pricing: Pricing | None
    ) -> None:
        self._demands = demands
        self._index = {demand.stream: i for i, demand in enumerate(demands)}
        self._known = [{one.links for one in demand.candidates} for demand in demands]
        self._residual = residual
        self._pricing = pricing
        self._program = Program(demands, residual)

    def rates(self) -> Rates:
        granted = self._grant_minimum_rates()
        held = self._raise_levels(granted)
        found = self._program.economise(held)
        if found is None:
            # Held rates come from a feasible program less its tolerance; should the solver find otherwise,
            # equal shares still give everybody something.
            found = {demand.stream: (0.0,) * len(demand.candidates) for demand in self._demands}
        _fit(self._demands, found, self._residual)
        return found

    def _grant_minimum_rates(self) -> dict[StreamName, float]:
        """How much of each minimum rate can be had: in full as far down as possible, then in part."""
        # Least first: where not all fit, as many as can be are met, and none starves the rest for nothing.
        floors = [
            (d.stream, min(d.min_rate_bps, d.max_rate_bps)) for d in self._demands if d.min_rate_bps > 0
        ]
        pending = sorted(floors, key=lambda floor: (floor[1], floor[0]))
        granted: dict[StreamName, float] = {}
        programs = 0

        def reach(goals: Mapping[StreamName, float]) -> float:
            nonlocal programs
            programs += 1
            solution = self._solve(goals, granted, ceiling=1.0)
            return 0.0 if solution is None else solution.level

        while pending and programs < _MAX_FLOOR_PROGRAMS:
            low, high = 0, len(pending)
            size = high
            while low < high:
                if reach(dict(pending[:size])) >= 1 - _RELATIVE_TOLERANCE:
                    low = size
                else:
                    high = size - 1
                size = (low + high + 1) // 2
            granted.update(pending[:low])
            if low < len(pending):
                stream, wanted = pending[low]
                granted[stream] = wanted * reach({stream: wanted})
            pending = pending[low + 1 :]
        return granted

    def _raise_levels(self, granted: Mapping[StreamName, float]) -> dict[StreamName, float]:
        held = dict(granted)
        rising = set(self._index)
        for _ in range(_MAX_LEVELS):
            goals = {stream: 1.0 for stream in self._index if stream in rising}
            solution = self._solve(goals, held)
            if solution is None:
                break
            prices = {stream: solution.stream_prices[stream] for stream in goals}
            settled_above = max(prices.values()) * _PRICE_RATIO
            for stream in goals:
                # Every optimum gives a stream with a price exactly the level. At least one has a price.
                if prices[stream] >= settled_above:
                    held[stream] = max(solution.level, granted.get(stream, 0.0))
                    rising.discard(stream)
            if not rising:
                return held
        # Those that still rise have reached the last level at least.
        return held | {stream: max(solution.level, held.get(stream, 0.0)) for stream in rising if solution}

    def _solve(
        self, goals: Mapping[StreamName, float], held: Mapping[StreamName, float], ceiling: float = inf
    ) -> Solution | None:
        """The highest level over all path sets there are."""
        solution = self._program.raise_level(goals, held, ceiling)
        for _ in range(_MAX_PRICING_PASSES):
            if self._pricing is None or solution is None or solution.level >= ceiling:
                break
            if not self._add_candidates(solution, self._pricing):
                break
            solution = self._program.raise_level(goals, held, ceiling)
        return solution

    def _add_candidates(self, solution: Solution, pricing: Pricing) -> bool:
        """Add, per stream, the path set that is worth more than the links it uses cost, if there is one."""
        added = False
        for stream, one in pricing.better(solution.link_prices, solution.worth).items():
            index = self._index[stream]
            if one.links not in self._known[index]:
                self._known[index].add(one.links)
                self._demands[index].candidates.append(one)
                self._program.add(index, [one])
                added = True
        return added


def few(rates: tuple[float, ...]) -> tuple[float, ...]:
    """The largest MAX_SETS rates that are worth a path set; 0 for the others."""
    floor = SPLIT_SHARE * (1 - 1e-3) * sum(rates)
    largest = sorted(range(len(rates)), key=lambda i: (-rates[i], i))[:MAX_SETS]
    return tuple(rate if i in largest and rate >= floor else 0.0 for i, rate in enumerate(rates))


def without_crumbs(rates: tuple[float, ...]) -> tuple[float, ...]:
    """The rates without sets that carry too little of them to be worth having."""
    if sum(rates) < MIN_RATE_BPS:
        return (0.0,) * len(rates)
    while any(0 < rate < MIN_SHARE * sum(rates) for rate in rates):
        least = min(rate for rate in rates if rate > 0)
        rates = tuple(0.0 if rate == least else rate for rate in rates)
    return rates


def _fit(demands: Sequence[Demand], rates: Rates, residual: Mapping[LinkName, float]) -> None:
    """Scale rates down to what the links carry exactly: solvers keep limits within a tolerance only."""
    used = load(demands, rates)
    factor = {
        link: min(1.0, residual[link] / use) * (1 - 1e-12)
        for link, use in used.items()
        if link in residual and use
    }
    for demand in demands:
        fitted = [
            min([rate * factor.get(link, 1.0) for link in one.links] + [one.bound_bps])
            for one, rate in zip(demand.candidates, rates[demand.stream], strict=True)
        ]
        total = sum(fitted)
        excess = max(1.0, total / demand.max_rate_bps) if total else 1.0
        rates[demand.stream] = tuple(rate / excess for rate in fitted)


def _pour(demands: Sequence[Demand], rates: Rates, residual: Mapping[LinkName, float]) -> None:
    """Deal out what pruning and tolerances have left: equal shares on each stream's widest set in use."""
    left = dict(residual)
    for link, use in load(demands, rates).items():
        if link in left:
            left[link] = max(0.0, left[link] - use)
    for _ in range(_POUR_ROUNDS):
        chosen: dict[StreamName, tuple[int, Candidate, float]] = {}
        for demand in demands:
            if option := _widest_in_use(demand, rates[demand.stream], left, residual):
                chosen[demand.stream] = option
        if not chosen:
            return
        users = Counter(link for _, one, _ in chosen.values() for link in one.links)
        gains = {
            stream: min([left[link] / users[link] for link in one.links if link in left] + [room])
            * (1 - 1e-12)
            for stream, (_, one, room) in chosen.items()
        }
        for stream, (index, one, _) in chosen.items():
            current = rates[stream]
            rates[stream] = (*current[:index], current[index] + gains[stream], *current[index + 1 :])
            for link in one.links:
                if link in left:
                    left[link] = max(0.0, left[link] - gains[stream])


def _widest_in_use(
    demand: Demand,
    rates: tuple[float, ...],
    left: Mapping[LinkName, float],
    residual: Mapping[LinkName, float],
) -> tuple[int, Candidate, float] | None:
    """Where a stream could get more, and at most how much; None if not worth mentioning."""
    room = demand.max_rate_bps - sum(rates)
    in_use = [i for i, rate in enumerate(rates) if rate > 0] or range(len(demand.candidates))
    best: tuple[int, Candidate, float] | None = None
    for i in in_use:
        one = demand.candidates[i]
        more = min(width(one, left), one.bound_bps - rates[i], room)
        if more > width(one, residual) * 1e-4 and (best is None or more > best[2]):
            best = (i, one, more)
    return best


def load(demands: Sequence[Demand], rates: Mapping[StreamName, tuple[float, ...]]) -> dict[LinkName, float]:
    """Delivered bit/s that cross each link."""
    used: dict[LinkName, float] = {}
    for demand in demands:
        for one, rate in zip(demand.candidates, rates.get(demand.stream, ()), strict=False):
            for link in one.links:
                used[link] = used.get(link, 0.0) + rate
    return used
