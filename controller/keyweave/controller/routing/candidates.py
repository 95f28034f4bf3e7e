"""The path sets a stream chooses from: the widest, the shortest, and ones that go another way."""

from collections import Counter
from collections.abc import Mapping

from keyweave.common.names import LinkName, StreamName
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import Candidate, candidate

# Of at most this many, allocation adds some itself where prices show that another route would help.
MAX_CANDIDATES = 8
_GENERATED = 5
# A link that an earlier candidate uses counts as so many hops more: the k shortest paths proper mostly
# differ in one hop and end at the same bottleneck.
_REUSE_PENALTY = 1.5


def generate(finder: Finder, stream: StreamName, residual: Mapping[LinkName, float]) -> tuple[Candidate, ...]:
    """Candidates over links that have something left (delivered bit/s), the widest first."""
    found: dict[object, Candidate] = {}
    widest = finder.widest(residual)
    if widest is None:
        return ()
    first = candidate(stream, widest)
    found[first.key] = first
    uses: Counter[LinkName] = Counter()
    base = {link: finder.terrain.length_cost[link] for link, left in residual.items() if left > 0}
    for _ in range(_GENERATED):
        weight = {link: cost * (1 + _REUSE_PENALTY * uses[link]) for link, cost in base.items()}
        routes = finder.cheapest(weight)
        if routes is None:
            break
        another = candidate(stream, routes)
        uses.update(another.links)
        found.setdefault(another.key, another)
    return _risk_disjoint(finder, tuple(found.values()))


def _risk_disjoint(finder: Finder, found: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """The candidates whose paths share no risk group; all of them if none is like that."""
    apart = tuple(one for one in found if not finder.shares_risk(path.hops for path in one.paths))
    return apart or found
