"""One module for each dashboard."""

from collections.abc import Callable, Mapping

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.boards import agents, controller, entanglement, link, overview, pilot, streams

# By the name of the file.
BOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "overview": overview.build,
    "link": link.build,
    "streams": streams.build,
    "entanglement": entanglement.build,
    "agents": agents.build,
    "controller": controller.build,
    "pilot": pilot.build,
}
