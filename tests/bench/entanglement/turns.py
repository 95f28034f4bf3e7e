"""A static time-division schedule: the pairs take turns, each with the whole network for a slot."""

from collections.abc import Sequence

from keyweave.controller.routing.entanglement.mending import mended
from keyweave.controller.routing.entanglement.plan import SlotPlan, SlotPlanner
from keyweave.controller.routing.entanglement.slots import Edge, PairNetwork
from tests.bench.entanglement.slotted import Slot


class Turns:
    """Keyweave's plan for one pair, then for the next."""

    name = "turns"

    def __init__(self, network: PairNetwork) -> None:
        self._network = network
        self._planner = SlotPlanner(network)
        self._alone: list[SlotPlan] = []

    def prepare(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Nothing: paths are found for whoever asks."""

    def plan(self, pairs: Sequence[tuple[int, int]]) -> None:
        """One plan for each pair."""
        self._alone = [self._planner.plan([pair]) for pair in pairs]

    def channels(self, number: int) -> dict[Edge, int]:
        """Those of the pair whose turn it is."""
        return self._whose(number).channels

    def connect(self, slot: Slot, good: dict[Edge, int]) -> list[tuple[int, int]]:
        """Swap; which pairs came about."""
        swaps = slot.swaps()
        paths = mended(self._network, self._whose(slot.number).lanes, good)
        return [(path[0], path[-1]) for path in paths if swaps.through(path)]

    def _whose(self, number: int) -> SlotPlan:
        return self._alone[number % len(self._alone)]
