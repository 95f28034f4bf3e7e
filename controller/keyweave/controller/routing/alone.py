"""What a stream could be given if there were no others."""

from collections.abc import Mapping
from math import inf

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.allocate import share
from keyweave.controller.routing.candidates import generate
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import Candidate, Terrain, candidate
from keyweave.controller.routing.program import Demand
from keyweave.controller.topology import Stream


def rate_alone(ground: Terrain, stream: Stream, finder: Finder) -> float:
    """The rate (delivered bit/s) that sets of the finder's size carry on links that nobody else uses."""

    def price(_: StreamName, prices: Mapping[LinkName, float]) -> Candidate | None:
        routes = finder.cheapest(prices)
        return None if routes is None else candidate(stream.name, routes)

    options = list(generate(finder, stream.name, ground.capacity))
    demand = Demand(stream.name, 0.0, inf, options)
    return sum(share([demand], ground.capacity, price)[stream.name])
