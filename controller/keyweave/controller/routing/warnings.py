"""What the network as it is built cannot give a stream, told when the stream is created.

Judged on intent: every link that exists and is in use counts, whether it is up or has told a rate yet or
not. What is said here no recovery of a link mends; only building or asking differently does.
"""

from dataclasses import replace

from keyweave.controller.routing import reasons
from keyweave.controller.routing.alone import rate_alone
from keyweave.controller.routing.disjoint import Finder
from keyweave.controller.routing.network import OVERHEAD, RATE_TOLERANCE, scope, terrain
from keyweave.controller.topology import LinkView, Snapshot, Stream


def warnings_for(snapshot: Snapshot, stream: Stream) -> tuple[str, ...]:
    """A sentence for each thing that the stream asks and the network cannot give; none where all is well.

    `stream` need not be among the snapshot's streams. Other streams are left out of account.
    """
    if stream.pqc_only:
        return ()
    built = _as_built(snapshot, stream)
    ground = terrain(built)
    limits = scope(ground, stream)
    size = next(
        (k for k in range(stream.k, 0, -1) if Finder(ground, limits, k).cheapest(ground.length_cost)), 0
    )
    if size == 0:
        return (reasons.no_path(built, ground, stream),)
    found: list[str] = []
    if size < stream.k:
        why = reasons.too_few_paths(ground, limits, stream.k)
        if size < stream.min_k:
            return (f"{why}; below min_k={stream.min_k}, so no quantum path will serve it",)
        found.append(f"{why}; goes on with {size}, which min_k={stream.min_k} allows")
    rate = rate_alone(ground, stream, Finder(ground, limits, size))
    if rate < stream.min_rate_bps * (1 - RATE_TOLERANCE):
        found.append(reasons.min_rate(stream, rate, rate))
    return tuple(found)


def _as_built(snapshot: Snapshot, stream: Stream) -> Snapshot:
    """The snapshot with every link in use. One whose rate is not known now carries all that is asked."""
    enough = 2 * OVERHEAD * max(stream.min_rate_bps, 1.0)

    def built(view: LinkView) -> LinkView:
        if view.takes_paths and view.usable_rate_bps > 0:
            return view
        return replace(view, takes_paths=True, usable_rate_bps=enough)

    links = {name: built(view) for name, view in snapshot.links.items() if not view.link.disabled}
    return replace(snapshot, links=links)
