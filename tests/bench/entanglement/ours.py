"""Keyweave's own planner, in the harness of the others."""

from collections.abc import Sequence

from keyweave.controller.routing.entanglement.mending import mended
from keyweave.controller.routing.entanglement.plan import SlotPlan, SlotPlanner
from keyweave.controller.routing.entanglement.slots import Edge, PairNetwork
from tests.bench.entanglement.slotted import Slot


class Ours:
    """Shares by linear program, mending within three hops."""

    name = "Keyweave"

    def __init__(self, network: PairNetwork) -> None:
        self._network = network
        self._planner = SlotPlanner(network)
        self._plan = SlotPlan((), {})

    def prepare(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Nothing: paths are found for whoever asks."""

    def plan(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Lanes and spare channels."""
        self._plan = self._planner.plan(pairs)

    def channels(self, number: int) -> dict[Edge, int]:
        """The same in every slot."""
        del number
        return self._plan.channels

    def connect(self, slot: Slot, good: dict[Edge, int]) -> list[tuple[int, int]]:
        """Swap; which pairs came about."""
        swaps = slot.swaps()
        paths = mended(self._network, self._plan.lanes, good)
        return [(path[0], path[-1]) for path in paths if swaps.through(path)]
