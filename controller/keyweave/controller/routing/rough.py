"""Shares of very many streams: near max-min in seconds, where the exact optimum would take minutes."""

from collections.abc import Mapping, Sequence

from keyweave.common.names import LinkName
from keyweave.controller.routing.allocate import Rates, few, without_crumbs
from keyweave.controller.routing.filling import Filling
from keyweave.controller.routing.pricing import Pricing
from keyweave.controller.routing.program import Demand, width

# Rounds of pricing, each of which gives a stream one more set at most, and fillings in each and at last.
_ROUNDS = 5
_PASSES = 3
_LAST_PASSES = 16


def share_roughly(
    demands: Sequence[Demand], residual: Mapping[LinkName, float], pricing: Pricing | None = None
) -> Rates:
    """As `allocate.share`, by filling instead of linear programs."""
    for demand in demands:
        demand.candidates = [one for one in demand.candidates if width(one, residual) > 0]
    residual = {link: left for link, left in residual.items() if left > 0}
    placeable = {demand.stream: demand for demand in demands if demand.candidates}
    if not placeable:
        return {demand.stream: () for demand in demands}
    known = {name: {one.links for one in demand.candidates} for name, demand in placeable.items()}
    for _ in range(_ROUNDS if pricing is not None else 0):
        assert pricing is not None
        filled = Filling(list(placeable.values()), residual).fill(_PASSES)
        added = 0
        for name, one in pricing.better(filled.link_prices, filled.worth).items():
            if one.links not in known[name]:
                known[name].add(one.links)
                placeable[name].candidates.append(one)
                added += 1
        if not added:
            break
    rates = Filling(list(placeable.values()), residual).fill(_LAST_PASSES).rates
    return {demand.stream: without_crumbs(few(rates.get(demand.stream, ()))) for demand in demands}
