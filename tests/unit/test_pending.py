"""A request is answered once: by its reply, or by a failure at its own time."""

import asyncio

from keyweave.agent.keyplane.sessions.pending import Pending
from keyweave.v1 import keyplane_pb2 as pb

SOON_SECONDS, LATE_SECONDS, DEADLINE_SECONDS = 0.01, 3600.0, 30.0


class Asked:
    """Requests, and what each got."""

    def __init__(self) -> None:
        self.pending = Pending(lambda seconds: pb.Frame(failure=pb.Failure(reason=f"{seconds:g}")))
        self.got: list[tuple[int, pb.Frame]] = []
        self._more = asyncio.Event()

    def ask(self, number: int, timeout_seconds: float) -> None:
        def then(reply: pb.Frame) -> None:
            self.got.append((number, reply))
            self._more.set()

        self.pending.add(number, timeout_seconds, then)

    async def until(self, count: int) -> list[int]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(self.got) < count:
                self._more.clear()
                await self._more.wait()
        return [number for number, _ in self.got]


async def test_a_request_that_nobody_answers_fails_at_its_time_and_no_other_with_it() -> None:
    asked = Asked()
    asked.ask(1, LATE_SECONDS)
    # The timer stands for the first; a shorter wait moves it up.
    asked.ask(2, SOON_SECONDS)
    assert await asked.until(1) == [2]
    assert asked.got[0][1].failure.reason == "0.01"
    asked.pending.answer(pb.Frame(id=1, is_reply=True))
    assert await asked.until(2) == [2, 1]


async def test_after_one_has_failed_the_next_still_does() -> None:
    asked = Asked()
    asked.ask(1, SOON_SECONDS)
    asked.ask(2, 3 * SOON_SECONDS)
    assert await asked.until(2) == [1, 2]


async def test_a_timer_that_finds_its_request_answered_leaves_the_next_its_time() -> None:
    asked = Asked()
    asked.ask(1, SOON_SECONDS)
    asked.pending.answer(pb.Frame(id=1, is_reply=True))
    asked.ask(2, 2 * SOON_SECONDS)
    assert await asked.until(2) == [1, 2]
    assert asked.got[1][1].failure.reason == "0.02"


async def test_a_reply_counts_once_and_one_that_comes_too_late_or_is_forgotten_not_at_all() -> None:
    asked = Asked()
    for number in (1, 2):
        asked.ask(number, LATE_SECONDS)
    asked.pending.forget(2)
    for number in (1, 1, 2, 3):
        asked.pending.answer(pb.Frame(id=number, is_reply=True))
    assert [number for number, _ in asked.got] == [1]


async def test_a_broken_session_fails_all_that_wait_and_what_is_asked_meanwhile_stands() -> None:
    asked = Asked()
    again = Asked()

    def ask_again(_failure: pb.Frame) -> None:
        asked.pending.add(9, LATE_SECONDS, lambda reply: again.got.append((9, reply)))

    asked.ask(1, LATE_SECONDS)
    asked.pending.add(2, LATE_SECONDS, ask_again)
    asked.pending.fail_all(pb.Frame(failure=pb.Failure(reason="broken")))
    assert [(number, reply.failure.reason) for number, reply in asked.got] == [(1, "broken")]
    assert not again.got
    asked.pending.answer(pb.Frame(id=9, is_reply=True))
    assert [number for number, _ in again.got] == [9]
