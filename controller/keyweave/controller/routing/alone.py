"""What a stream could be given if there were no others."""

from math import inf

from keyweave.controller.routing.allocate import share
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import Terrain
from keyweave.controller.routing.pricing import Pricing, Seeker
from keyweave.controller.routing.program import Demand
from keyweave.controller.routing.trees import Trees
from keyweave.controller.topology import Stream


def rate_alone(ground: Terrain, stream: Stream, finder: Finder) -> float:
    """The rate (delivered bit/s) that sets of the finder's size carry on links that nobody else uses."""
    pricing = Pricing(Trees(ground), ground.length_cost, [Seeker(stream.name, finder)])
    options = list(pricing.cheapest(ground.length_cost).values())
    demand = Demand(stream.name, 0.0, inf, options)
    return sum(share([demand], ground.capacity, pricing)[stream.name])
