"""Planning pair streams off the event loop: one plan at a time, in a thread of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from keyweave.controller.instructions import PlanPairs
from keyweave.controller.optimiser import in_thread
from keyweave.controller.routing.entanglement.serve import plan_pairs
from keyweave.controller.stimuli import PairsPlanned


class PairPlanner:
    """Carries out `PlanPairs`; the core asks for no second plan before it has the first."""

    def __init__(self, submit: Callable[[PairsPlanned], Awaitable[None]]) -> None:
        self._submit = submit
        self._asked: asyncio.Queue[PlanPairs] = asyncio.Queue(1)

    def execute(self, instruction: PlanPairs) -> None:
        """Begin, as soon as `run` has its turn."""
        self._asked.put_nowait(instruction)

    async def run(self) -> None:
        """Plan what is asked for until cancelled; a plan under way is then left to itself."""
        while True:
            asked = await self._asked.get()
            work = partial(plan_pairs, asked.network, asked.demands, asked.previous)
            await self._submit(PairsPlanned(asked.number, await in_thread(work, "plan-pairs")))
