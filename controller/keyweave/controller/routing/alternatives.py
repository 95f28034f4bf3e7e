"""Path sets that go different ways, whatever their links have left: what an explanation compares."""

from collections import Counter

from keyweave.common.names import LinkName
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import Candidate, candidate

_SEARCHES = 5
# A link that an earlier set uses counts as so many hops more: the k shortest paths proper mostly differ in
# one hop and end at the same bottleneck.
_REUSE_PENALTY = 1.5


def alternatives(finder: Finder) -> tuple[Candidate, ...]:
    """Different sets of the finder's size, the cheapest first."""
    found: dict[tuple[LinkName, ...], Candidate] = {}
    uses: Counter[LinkName] = Counter()
    for _ in range(_SEARCHES):
        costs = finder.terrain.length_cost.items()
        routes = finder.cheapest({link: cost * (1 + _REUSE_PENALTY * uses[link]) for link, cost in costs})
        if routes is None:
            break
        one = candidate(routes)
        uses.update(one.links)
        found.setdefault(one.links, one)
    return tuple(found.values())
