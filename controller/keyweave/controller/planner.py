"""Step 4 as the process runs it."""

from keyweave.common.names import LinkName
from keyweave.controller import routing
from keyweave.controller.instructions import (
    Optimise,
)
from keyweave.controller.metrics import ControllerMetrics
from keyweave.controller.topology import Held, Plan, Snapshot


class MeasuredPlanner:
    """Step 4 with a stopwatch: repairs in the core, plans of everything in the optimiser's thread."""

    def __init__(self, metrics: ControllerMetrics) -> None:
        self._durations = metrics.planning_duration_seconds
        self._planner = routing.Planner()

    def plan(self, asked: Optimise) -> Plan:
        """Route all streams."""
        with self._durations.labels("plan").time():
            return self._planner.plan_streams(asked.snapshot, asked.basis, asked.previous.version + 1)

    def repair(
        self,
        snapshot: Snapshot,
        previous: Plan,
        changed_links: frozenset[LinkName],
        version: int,
        *,
        held: Held,
    ) -> Plan:
        """Route anew what a change of these links touched."""
        with self._durations.labels("repair").time():
            return self._planner.repair(snapshot, previous, changed_links, version, held=held)
