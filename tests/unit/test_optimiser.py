"""The optimiser's thread: one plan at a time, and nobody waits for it at the end."""

import asyncio
import threading

import pytest

from keyweave.controller.instructions import Optimise
from keyweave.controller.optimiser import Optimiser, in_thread
from keyweave.controller.stimuli import Optimised
from keyweave.controller.topology import Plan, Snapshot

ASKED = Optimise(7, Snapshot(1, {}, {}, {}), Plan(version=1, snapshot_version=1))
ANSWER = Plan(version=2, snapshot_version=1)


async def test_what_is_asked_is_answered_by_its_number_while_the_loop_goes_on() -> None:
    answers: asyncio.Queue[Optimised] = asyncio.Queue()
    go_on = threading.Event()

    def plan(asked: Optimise) -> Plan:
        assert asked is ASKED
        assert go_on.wait(10.0), "the loop is held up"
        return ANSWER

    optimiser = Optimiser(plan, answers.put)
    task = asyncio.create_task(optimiser.run())
    optimiser.execute(ASKED)
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.wait_for(answers.get(), 10.0) == Optimised(7, ANSWER)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_shutdown_does_not_wait_for_a_plan_under_way() -> None:
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def plan(_: Optimise) -> Plan:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(30.0)
        return ANSWER

    async def submit(_: Optimised) -> None:
        pytest.fail("a plan of a process that has stopped")

    optimiser = Optimiser(plan, submit)
    task = asyncio.create_task(optimiser.run())
    optimiser.execute(ASKED)
    await asyncio.wait_for(begun.wait(), 10.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 1.0)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "optimise"]
    assert thread.daemon, "or the interpreter would wait for it"
    go_on.set()
    await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)


async def test_what_fails_in_the_thread_fails_in_its_caller() -> None:
    def work() -> int:
        raise ArithmeticError("no basis")

    with pytest.raises(ArithmeticError, match="no basis"):
        await in_thread(work, "work")
