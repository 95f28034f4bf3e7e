"""Planning everything off the event loop: one plan at a time, in a thread of its own."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from keyweave.controller.instructions import Optimise
from keyweave.controller.stimuli import Optimised
from keyweave.controller.topology import Plan

Result = TypeVar("Result")


class Optimiser:
    """Carries out `Optimise`; the core asks for no second plan before it has the first."""

    def __init__(
        self, plan: Callable[[Optimise], Plan], submit: Callable[[Optimised], Awaitable[None]]
    ) -> None:
        self._plan = plan
        self._submit = submit
        self._asked: asyncio.Queue[Optimise] = asyncio.Queue(1)

    def execute(self, instruction: Optimise) -> None:
        """Begin, as soon as `run` has its turn."""
        self._asked.put_nowait(instruction)

    async def run(self) -> None:
        """Plan what is asked for until cancelled; a plan under way is then left to itself."""
        while True:
            asked = await self._asked.get()
            plan = await in_thread(partial(self._plan, asked), "optimise")
            await self._submit(Optimised(asked.number, plan))


async def in_thread(work: Callable[[], Result], name: str) -> Result:
    """What `work` returns, from a thread that nobody waits for once the caller is cancelled.

    A solver cannot be interrupted. An executor would make the process wait for it at its end.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Result] = loop.create_future()

    def run() -> None:
        outcome: concurrent.futures.Future[Result] = concurrent.futures.Future()
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001  # it is for whoever awaits the answer
            outcome.set_exception(error)
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody asks any more
            loop.call_soon_threadsafe(_settle, answer, outcome)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await answer


def _settle(answer: asyncio.Future[Result], outcome: concurrent.futures.Future[Result]) -> None:
    error = outcome.exception()
    if answer.done():
        return  # cancelled meanwhile
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(outcome.result())
