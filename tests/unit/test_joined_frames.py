"""Frames that wait, or that others are about to send, share a transport message."""

import asyncio
from collections.abc import Sequence

from keyweave.agent.keyplane.sessions import session
from keyweave.agent.keyplane.sessions.outbox import (
    JOIN_TURNS,
    MESSAGE_BYTES,
    MESSAGE_FRAMES,
    OUTBOX_FRAMES,
    Outbox,
)
from keyweave.v1 import keyplane_pb2 as pb


class Written:
    """What went out, message by message; the writing task ends with the last frame."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.messages: list[list[int]] = []
        self._more = asyncio.Event()
        self._task = asyncio.create_task(session._write_all(self.outbox, self._write))

    async def _write(self, frames: Sequence[pb.Frame]) -> None:
        self.messages.append([frame.id for frame in frames])
        self._more.set()

    def put(self, number: int) -> None:
        assert self.outbox.put(pb.Frame(id=number))

    async def until(self, frames: int) -> list[list[int]]:
        async with asyncio.timeout(10):
            while sum(map(len, self.messages)) < frames:
                self._more.clear()
                await self._more.wait()
        self._task.cancel()
        return self.messages


async def test_answers_of_tasks_that_have_their_turn_now_go_together() -> None:
    written = Written()

    async def answer(number: int) -> None:
        # As long a way as each of them has: some turns of the loop, all the same.
        for _ in range(3):
            await asyncio.sleep(0)
        written.put(number)

    async with asyncio.TaskGroup() as group:
        for number in (1, 2, 3):
            group.create_task(answer(number))
    assert await written.until(3) == [[1, 2, 3]]


async def test_answers_a_turn_apart_go_together() -> None:
    written = Written()

    async def answer() -> None:
        for number in (1, 2, 3):
            written.put(number)
            await asyncio.sleep(0)

    await answer()
    assert await written.until(3) == [[1, 2, 3]]


async def test_a_frame_alone_waits_for_nothing_but_a_turn() -> None:
    written = Written()
    written.put(1)
    for _ in range(4):
        await asyncio.sleep(0)
    assert written.messages == [[1]]
    written.put(2)
    assert await written.until(2) == [[1], [2]]


async def test_whoever_goes_on_sending_holds_up_no_message() -> None:
    written = Written()
    for number in range(1, 3 * JOIN_TURNS + 1):
        written.put(number)
        await asyncio.sleep(0)
    messages = await written.until(3 * JOIN_TURNS)
    assert max(map(len, messages)) <= JOIN_TURNS + 2
    assert [number for message in messages for number in message] == list(range(1, 3 * JOIN_TURNS + 1))


async def test_a_message_has_no_more_frames_than_the_peer_takes() -> None:
    written = Written()
    for number in range(MESSAGE_FRAMES + 1):
        written.put(number)
    assert [len(message) for message in await written.until(MESSAGE_FRAMES + 1)] == [MESSAGE_FRAMES, 1]


async def test_large_frames_go_by_few_and_a_full_outbox_takes_no_more() -> None:
    outbox = Outbox()
    large = pb.Frame(relay=pb.Relay(ciphertext=bytes(MESSAGE_BYTES // 2)))
    for _ in range(OUTBOX_FRAMES):
        assert outbox.put(large)
    assert not outbox.put(large)
    assert len(await outbox.message()) == 2
    assert outbox.put(large)
