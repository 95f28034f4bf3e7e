"""Shares of very many streams: near max-min in seconds, where the exact optimum would take minutes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf

import numpy as np

from keyweave.common.names import LinkName
from keyweave.controller.routing.allocate import MAX_SETS, Rates, without_crumbs
from keyweave.controller.routing.arcs import Floats
from keyweave.controller.routing.balance import Balance, Stage
from keyweave.controller.routing.filling import Filling
from keyweave.controller.routing.pricing import Pricing
from keyweave.controller.routing.program import SPLIT_SHARE, Demand

# Sets are looked for while splits are still coarse, by prices that fall with these powers of rates, in turn.
_COARSE = Stage(4.0, 1.0, 40, lean=0.2)
_POWERS = (4.0, 2.0, 1.0)
# What a hop costs beside them, where links advertise what is usual.
_HOP_COST = 1e-3
# Splits are refined stage by stage, as far as the work (crossings of links by sets, times steps) may go.
_FINE = (
    Stage(4.0, 1.0, 20, lean=0.3),
    Stage(8.0, 1.0, 20, lean=0.3),
    Stage(16.0, 1.0, 30, lean=0.3),
    Stage(4.0, 1.0, 100),
    Stage(8.0, 1.0, 200),
    Stage(16.0, 1.0, 200),
    Stage(32.0, 1.0, 200),
    Stage(32.0, 2.0, 200),
    Stage(32.0, 4.0, 200),
)
_COARSE_WORK, _FINE_WORK, _KEEPING_WORK = 30_000_000, 150_000_000, 18_000_000
_LEAST_STAGES, _LEAST_STEPS = 3, 10
# What a set carries of its stream's rate, at least, to be refined.
_IDLE_SHARE = 1e-3
# Where sets are given, so nearly are their splits: what is in use is not to change without need.
_KEEPING = Stage(16.0, 1.0, 60, lean=0.02)
# Once more without the sets that are not worth one.
_LAST = Stage(16.0, 1.0, 10, lean=0.02)
# Rounds of search, each of which gives a stream one more set at most: fewer for more streams.
_STREAM_ROUNDS = 30_000
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 10


class RoughShares:
    """As `allocate.share`, by rehearsing and filling instead of linear programs.

    When the same streams are shared again over the same links, links go on with what they advertised last.
    """

    def __init__(self) -> None:
        self._advertised: Mapping[LinkName, float] | None = None

    def share(
        self, demands: Sequence[Demand], residual: Mapping[LinkName, float], pricing: Pricing | None = None
    ) -> Rates:
        """Rates of every candidate of every demand."""
        spent = {link for link, left in residual.items() if left <= 0}
        for demand in demands if spent else ():
            demand.candidates = [one for one in demand.candidates if spent.isdisjoint(one.links)]
        residual = {link: left for link, left in residual.items() if left > 0}
        placeable = [demand for demand in demands if demand.candidates]
        if not placeable:
            return {demand.stream: () for demand in demands}
        balance = Balance(placeable, residual, self._advertised)
        if pricing is not None:
            _search(placeable, balance, pricing)
            _refine(balance)
        else:
            balance.settle([_within(_KEEPING, _KEEPING_WORK, balance)])
        balance.narrow(SPLIT_SHARE, MAX_SETS)
        goals = balance.settle([_LAST])
        self._advertised = balance.advertised()
        rates = _poured(placeable, residual, balance.shares(), goals)
        return {demand.stream: rates.get(demand.stream, ()) for demand in demands}


def _poured(
    demands: Sequence[Demand], residual: Mapping[LinkName, float], shares: Floats, goals: Floats
) -> Rates:
    """Rates of all candidates at these shares. Only those that have one are filled."""
    ends = np.cumsum([len(demand.candidates) for demand in demands]).tolist()
    kept = [
        [i for i, share in enumerate(shares[end - len(demand.candidates) : end].tolist()) if share > 0]
        for demand, end in zip(demands, ends, strict=True)
    ]
    filled = [
        replace(demand, candidates=[demand.candidates[i] for i in places])
        for demand, places in zip(demands, kept, strict=True)
    ]
    poured = Filling(filled, residual).pour(shares[shares > 0], goals)
    rates: Rates = {}
    for demand, places in zip(demands, kept, strict=True):
        found = dict(zip(places, without_crumbs(poured[demand.stream]), strict=True))
        rates[demand.stream] = tuple([found.get(i, 0.0) for i in range(len(demand.candidates))])
    return rates


def _within(stage: Stage, work: int, balance: Balance) -> Stage:
    """The stage with as many of its steps as the work allows, and some in any case."""
    return stage._replace(steps=max(_LEAST_STEPS, min(stage.steps, work // balance.crossings)))


def _refine(balance: Balance) -> None:
    work = _FINE_WORK
    for number, stage in enumerate(_FINE):
        work -= stage.steps * balance.crossings
        if number < _LEAST_STAGES or work > 0:
            balance.settle([stage])
        if number == 1:
            # Most sets have lost by now, and cost time only.
            balance.narrow(_IDLE_SHARE, MAX_SETS)


def _search(demands: Sequence[Demand], balance: Balance, pricing: Pricing) -> None:
    known = [{one.links for one in demand.candidates} for demand in demands]
    wanted = {demand.stream: inf for demand in demands}
    single = {d.stream: inf for d in demands if len(d.candidates[0].routes) == 1}
    rounds = max(_LEAST_ROUNDS, min(_MOST_ROUNDS, _STREAM_ROUNDS // len(demands)))
    for number in range(rounds):
        balance.settle([_within(_COARSE, _COARSE_WORK, balance)])
        prices = balance.prices(_POWERS[number % len(_POWERS)])
        weight = {link: price + _HOP_COST for link, price in prices.items()}
        # A search for several routes costs more than ten for one.
        at_once = rounds > _LEAST_ROUNDS or number == rounds - 1
        found = pricing.cheapest(weight, wanted if at_once else single)
        added = False
        for demand, sets in zip(demands, known, strict=True):
            one = found.get(demand.stream)
            if one is not None and one.links not in sets:
                sets.add(one.links)
                demand.candidates.append(one)
                added = True
        if not added and number >= len(_POWERS):
            break
        balance.take_up()
