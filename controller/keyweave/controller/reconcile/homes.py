"""Where streams were before maintenance took them away, so that they come back after it. Pure.

A stream stays where it is unless another way is much better, which a link that is back seldom is. So streams
that left for a window are planned, once its links take paths again, as if they had never left: they come back
unless that is worse. Some at a time, as with every move for the better. Owned by the core.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from keyweave.common.names import StreamName
from keyweave.controller.calendar import Window
from keyweave.controller.routing.plan import LEAST_MOVERS, MOVERS_RATIO
from keyweave.controller.topology import Path, Plan, Snapshot, StreamPlan

# A link that is not back so long after its window did not come back from it.
GIVE_UP_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Home:
    """Where a stream was, and until when it waits to come back."""

    plan: StreamPlan
    until: float


class Homes:
    """Streams that are away for maintenance."""

    def __init__(self) -> None:
        self._homes: dict[StreamName, Home] = {}

    def leave(self, windows: Iterable[Window], plan: Plan) -> None:
        """These windows begin: what runs over them is at home there."""
        for window in windows:
            for name, planned in plan.streams.items():
                if any(_crosses(window, path) for path in _in_use(planned)):
                    known = self._homes.get(name)
                    until = window.end + GIVE_UP_SECONDS
                    self._homes[name] = Home(known.plan if known else planned, until)

    def forget(self, name: StreamName) -> None:
        """The stream is another one now, or gone."""
        self._homes.pop(name, None)

    def give_up(self, now: float) -> None:
        """Forget streams that have waited for too long."""
        for name in [name for name, home in self._homes.items() if now >= home.until]:
            del self._homes[name]

    def ready(self, snapshot: Snapshot) -> dict[StreamName, StreamPlan]:
        """Streams that may come back now, as many as move in one plan."""
        most = max(LEAST_MOVERS, int(MOVERS_RATIO * len(snapshot.streams)))
        found = [name for name in sorted(self._homes) if _is_open(self._homes[name].plan, snapshot)]
        return {name: self._homes[name].plan for name in found[:most]}


def _in_use(plan: StreamPlan) -> list[Path]:
    return [path for path_set in plan.path_sets if path_set.rank == 0 for path in path_set.paths]


def _crosses(window: Window, path: Path) -> bool:
    return not window.links.isdisjoint(path.links) or not window.nodes.isdisjoint(path.trusted_nodes)


def _is_open(plan: StreamPlan, snapshot: Snapshot) -> bool:
    return all(
        all(
            link in snapshot.links
            and snapshot.links[link].takes_paths
            and snapshot.links[link].usable_rate_bps > 0
            and not snapshot.links[link].link.maintenance
            for link in path.links
        )
        and all(
            node in snapshot.nodes and not snapshot.nodes[node].maintenance for node in path.trusted_nodes
        )
        for path in _in_use(plan)
    )
