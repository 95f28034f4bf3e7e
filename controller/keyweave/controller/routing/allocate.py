"""Rates within one priority class: minimum rates first, then max-min fair, over several path sets a stream.

Max-min fairness is reached level by level: raise all streams together as far as the links allow, hold those
that can rise no further at any optimum (their dual value is positive), go on with the rest. The first level
is exact over the candidates, and while levels are raised, prices of links call for further candidates
(column generation), so that few candidates do nearly as well as all paths.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.candidates import MAX_CANDIDATES
from keyweave.controller.routing.network import Candidate
from keyweave.controller.routing.program import SPLIT_SHARE, Demand, Program, Solution, width

MAX_SETS = 3
# No set of rank 0 carries less than this share of its stream's rate.
MIN_SHARE = 0.01

# Less than one 256-bit key in 43 minutes is no supply: keys live for an hour by default.
MIN_RATE_BPS = 0.1

# After so many levels what is left is dealt out in equal shares: the worst streams have long been settled.
_MAX_LEVELS = 12
_MAX_PRICING_PASSES = 4
_MAX_FLOOR_PROGRAMS = 48
_MAX_NARROWING_PASSES = 2
_POUR_ROUNDS = 24
_RELATIVE_TOLERANCE = 1e-6

Rates = dict[StreamName, tuple[float, ...]]
# Finds the cheapest path set of a stream under prices (per bit/s) of links.
Pricing = Callable[[StreamName, Mapping[LinkName, float]], Candidate | None]


def share(
    demands: Sequence[Demand], residual: Mapping[LinkName, float], pricing: Pricing | None = None
) -> Rates:
    """Rates (delivered bit/s) of every candidate of every demand, within what is left of the links.

    `pricing` may append candidates to the demands. Demands stand in the order in which their minimum
    rates are granted.
    """
    for demand in demands:
        demand.candidates = [one for one in demand.candidates if width(one, residual) > 0]
    placeable = [demand for demand in demands if demand.candidates]
    if not placeable:
        return {demand.stream: () for demand in demands}
    rates = _optimum(placeable, residual, pricing)
    for _ in range(_MAX_NARROWING_PASSES):
        if not _narrow(placeable, rates):
            break
        # What a stream loses with its least sets, others may leave it elsewhere.
        rates = _optimum(placeable, residual, None)
    for demand in placeable:
        rates[demand.stream] = _few(rates[demand.stream])
    _pour(placeable, rates, residual)
    for demand in placeable:
        rates[demand.stream] = _without_crumbs(rates[demand.stream])
    return {demand.stream: rates.get(demand.stream, ()) for demand in demands}


def _optimum(demands: Sequence[Demand], residual: Mapping[LinkName, float], pricing: Pricing | None) -> Rates:
    granted = _grant_minimum_rates(demands, residual, pricing)
    rates = _raise_levels(demands, residual, granted, pricing)
    _fit(demands, rates, residual)
    return rates


def _narrow(demands: Sequence[Demand], rates: Rates) -> bool:
    """Leave streams that are spread over too many sets their largest only; whether there were any."""
    narrowed = False
    for demand in demands:
        found = rates[demand.stream]
        if sum(rate > 0 for rate in found) > MAX_SETS:
            kept = [i for i, rate in enumerate(_few(found)) if rate > 0]
            demand.candidates = [demand.candidates[i] for i in kept]
            rates[demand.stream] = tuple(found[i] for i in kept)
            narrowed = True
    return narrowed


def _grant_minimum_rates(
    demands: Sequence[Demand], residual: Mapping[LinkName, float], pricing: Pricing | None
) -> dict[StreamName, float]:
    """How much of each minimum rate can be had: in full as far down the order as possible, then in part."""
    # Least first: where not all fit, as many as can be are met, and none starves the rest for nothing.
    floors = [(d.stream, min(d.min_rate_bps, d.max_rate_bps)) for d in demands if d.min_rate_bps > 0]
    pending = sorted(floors, key=lambda floor: (floor[1], floor[0]))
    granted: dict[StreamName, float] = {}
    programs = 0

    def reach(goals: Mapping[StreamName, float]) -> float:
        nonlocal programs
        programs += 1
        solution = _solve_with_pricing(demands, residual, goals, granted, pricing, ceiling=1.0)
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


def _raise_levels(
    demands: Sequence[Demand],
    residual: Mapping[LinkName, float],
    granted: Mapping[StreamName, float],
    pricing: Pricing | None,
) -> Rates:
    held = dict(granted)
    rising = {demand.stream for demand in demands}
    for _ in range(_MAX_LEVELS):
        goals = {demand.stream: 1.0 for demand in demands if demand.stream in rising}
        solution = _solve_with_pricing(demands, residual, goals, held, pricing)
        if solution is None:
            break
        prices = {stream: solution.stream_prices[stream] for stream in goals}
        settled_above = max(prices.values()) * 1e-3
        for stream in goals:
            held[stream] = max(solution.level, granted.get(stream, 0.0))
            # Every optimum gives a stream with a price exactly the level. At least one has a price.
            if prices[stream] >= settled_above:
                rising.discard(stream)
        if not rising:
            break
    final = Program(demands, residual).economise(held)
    if final is None:
        # Held rates come from a feasible program less its tolerance; should the solver find otherwise,
        # equal shares still give everybody something.
        return {demand.stream: (0.0,) * len(demand.candidates) for demand in demands}
    return dict(final.rates)


def _solve_with_pricing(
    demands: Sequence[Demand],
    residual: Mapping[LinkName, float],
    goals: Mapping[StreamName, float],
    held: Mapping[StreamName, float],
    pricing: Pricing | None,
    ceiling: float = inf,
) -> Solution | None:
    solution = Program(demands, residual).raise_level(goals, held, ceiling)
    for _ in range(_MAX_PRICING_PASSES):
        if pricing is None or solution is None or solution.level >= ceiling:
            break
        if not _add_candidates(demands, residual, solution, pricing):
            break
        solution = Program(demands, residual).raise_level(goals, held, ceiling)
    return solution


def _add_candidates(
    demands: Sequence[Demand], residual: Mapping[LinkName, float], solution: Solution, pricing: Pricing
) -> bool:
    """Add, per stream, the path set that is worth more than the links it uses cost, if there is one."""
    dearest = max(solution.link_prices.values(), default=0.0)
    if dearest <= 0:
        return False
    # A small price everywhere keeps free links from being used in long loops.
    prices = {
        link: solution.link_prices.get(link, 0.0) + dearest * 1e-6
        for link, left in residual.items()
        if left > 0
    }
    added = False
    for demand in demands:
        worth = solution.stream_prices.get(demand.stream, 0.0)
        if worth <= 0 or len(demand.candidates) >= MAX_CANDIDATES:
            continue
        found = pricing(demand.stream, prices)
        if found is None or any(found.key == one.key for one in demand.candidates):
            continue
        cost = sum(solution.link_prices.get(link, 0.0) for link in found.links)
        if cost < worth * (1 - 1e-3):
            demand.candidates.append(found)
            added = True
    return added


def _few(rates: tuple[float, ...]) -> tuple[float, ...]:
    """The largest MAX_SETS rates that are worth a path set; 0 for the others."""
    floor = SPLIT_SHARE * (1 - 1e-3) * sum(rates)
    largest = sorted(range(len(rates)), key=lambda i: (-rates[i], i))[:MAX_SETS]
    return tuple(rate if i in largest and rate >= floor else 0.0 for i, rate in enumerate(rates))


def _without_crumbs(rates: tuple[float, ...]) -> tuple[float, ...]:
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
