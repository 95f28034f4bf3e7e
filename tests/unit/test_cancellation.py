"""A cancellation survives a task group whose child fails at the same moment, and none is made up."""

import asyncio

import pytest

from keyweave.common.cancellation import raise_if_cancelled, to_its_end


class _ChildFailedError(Exception):
    """What the child raises."""


async def _loop(child_may_fail: asyncio.Event, rounds: list[str]) -> None:
    """Run a group whose child fails, catch that, and go on."""
    for _ in range(2):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_fail(child_may_fail))
                await asyncio.Event().wait()
        except* _ChildFailedError:
            pass
        raise_if_cancelled()
        rounds.append("done")


async def _fail(may_fail: asyncio.Event) -> None:
    try:
        await may_fail.wait()
    except asyncio.CancelledError:
        raise _ChildFailedError from None
    raise _ChildFailedError


async def test_a_child_that_fails_is_no_cancellation() -> None:
    may_fail, rounds = asyncio.Event(), list[str]()
    may_fail.set()
    await _loop(may_fail, rounds)
    assert rounds == ["done", "done"]


async def test_a_cancellation_at_the_moment_a_child_fails_is_kept() -> None:
    rounds: list[str] = []
    task = asyncio.create_task(_loop(asyncio.Event(), rounds))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rounds == []


async def test_a_step_that_must_not_be_cut_off_is_waited_for_and_then_the_task_is_cancelled() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def step() -> None:
        begun.set()
        await go_on.wait()
        done.set()

    task = asyncio.create_task(to_its_end(step()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()
