"""Path sets for many streams under prices of links: what column generation asks for at every step."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import Candidate, Route, candidate
from keyweave.controller.routing.trees import Trees

# A set must be cheaper than its worth by this share: the solver's prices are no better.
_GAIN_RATIO = 1e-4
# Weight of hops, against the dearest link, where prices do not decide: no long loops over free links.
_HOP_PRICE_RATIO = 1e-7


@dataclass(frozen=True, slots=True)
class Seeker:
    """One stream that looks for path sets."""

    stream: StreamName
    finder: Finder
    # A stream that can do without shared risk groups is not to gain rate by them.
    apart: bool = False


class Pricing:
    """Finds cheapest path sets; single routes and pairs all at once, larger sets stream by stream."""

    def __init__(self, trees: Trees, hop_cost: Mapping[LinkName, float], seekers: Iterable[Seeker]) -> None:
        self._trees = trees
        self._hop_cost = hop_cost
        self._seekers = {seeker.stream: seeker for seeker in seekers}

    def cheapest(
        self,
        weight: Mapping[LinkName, float],
        worth: Mapping[StreamName, float] | None = None,
    ) -> dict[StreamName, Candidate]:
        """The cheapest set of each stream; with `worth`, only of those that have a set cheaper than it."""
        wanted = [s for name, s in self._seekers.items() if worth is None or name in worth]
        limits = {name: value * (1 - _GAIN_RATIO) for name, value in (worth or {}).items()}
        found: dict[StreamName, Candidate] = {}
        forest = self._trees.under(weight)
        single = forest.routes({i: s.finder.scope for i, s in enumerate(wanted)})
        hopeful: list[tuple[Seeker, Route]] = []
        for index, seeker in enumerate(wanted):
            # No set costs less than its size times the cheapest route without hop limits.
            if index not in single:
                continue
            route, cost = single[index]
            limit = limits.get(seeker.stream)
            if limit is None or cost * seeker.finder.k < limit:
                hopeful.append((seeker, route))
        paired = [seeker.finder.scope for seeker, _ in hopeful if seeker.finder.k == 2]
        pairs = iter(forest.pairs(paired))
        for seeker, route in hopeful:
            pair = next(pairs) if seeker.finder.k == 2 else None
            one = self._set(seeker, route, pair, weight)
            limit = limits.get(seeker.stream)
            if one is None:
                continue
            if limit is None or limit == inf or sum(weight[link] for link in one.links) < limit:
                found[seeker.stream] = one
        return found

    def better(
        self, prices: Mapping[LinkName, float], worth: Mapping[StreamName, float]
    ) -> dict[StreamName, Candidate]:
        """Sets worth more than the links they use cost, for the streams that have one."""
        dearest = max(prices.values(), default=0.0)
        if dearest <= 0:
            return {}
        per_hop = dearest * _HOP_PRICE_RATIO
        weight = {link: price + per_hop * self._hop_cost[link] for link, price in prices.items()}
        least = max(worth.values(), default=0.0) * _HOP_PRICE_RATIO
        worth = {name: value for name, value in worth.items() if value > least}
        return self.cheapest(weight, worth)

    def _set(
        self, seeker: Seeker, route: Route, pair: tuple[Route, ...] | None, weight: Mapping[LinkName, float]
    ) -> Candidate | None:
        finder = seeker.finder
        if finder.k == 1 and len(route) <= finder.scope.max_hops:
            return candidate((route,))
        if finder.k > 2:
            routes = finder.cheapest(weight)
        else:
            routes = (route,) if finder.k == 1 else pair
            if routes is not None and not finder.fits(routes):
                routes = finder.instead_of(routes, weight)
        if routes is None or (seeker.apart and finder.shares_risk(routes)):
            return None
        return candidate(routes)
