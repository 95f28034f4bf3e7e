"""Whoever opens a session, and whatever frames come: a call or a frame fails alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.sessions import handshake, outbox, session, transport
from keyweave.agent.keyplane.sessions.handshake import Channel
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.enrolled import enrolment
from tests.unit.stream_ends import HERE, PEER

DIALLED = Channel(dialled_by_us=False, dialler_certificate=b"fingerprint")

Answer = pb.Frame | Awaitable[pb.Frame] | None


class Handler:
    """A key plane that does with a frame what the test says."""

    def __init__(self, handle: Callable[[pb.Frame], Answer]) -> None:
        self.handle = handle
        self.connections = 0
        self.disbelieved: list[KeyPlaneError] = []
        self.connected = asyncio.Event()

    def on_frame(self, _peer: Peer, frame: pb.Frame) -> Answer:
        return self.handle(frame)

    def on_connected(self, _peer: Peer, *, restarted: bool) -> None:
        del restarted
        self.connections += 1
        self.connected.set()

    def on_disconnected(self, _peer: Peer) -> None:
        self.connections -= 1

    def on_disbelieved(self, _peer: Peer, error: KeyPlaneError) -> None:
        self.disbelieved.append(error)


class Caller:
    """The other side of one connection, over queues."""

    def __init__(self, peer: Peer) -> None:
        self._to: asyncio.Queue[pb.Frame | Exception | None] = asyncio.Queue()
        self.received: asyncio.Queue[pb.Frame] = asyncio.Queue()
        self.task = asyncio.create_task(peer.run(self._incoming(), self._write, DIALLED))

    async def _write(self, frames: Sequence[pb.Frame]) -> None:
        for frame in frames:
            await self.received.put(frame)

    def send(self, frame: pb.Frame | Exception | None) -> None:
        self._to.put_nowait(frame)

    async def hello(self) -> None:
        """Say who we are and prove it, as the dialling side."""

        async def received() -> AsyncIterator[pb.Frame]:
            while True:
                yield await self.received.get()

        async def write(frames: Sequence[pb.Frame]) -> None:
            for frame in frames:
                self.send(frame)

        ours = Channel(dialled_by_us=True, dialler_certificate=DIALLED.dialler_certificate)
        await handshake.greet(PEER, bytes(16), HERE, enrolment(PEER), ours, received(), write)

    async def reply_to(self, number: int) -> pb.Frame:
        while True:
            frame = await self.received.get()
            if frame.is_reply and frame.id == number:
                return frame

    async def _incoming(self) -> AsyncIterator[pb.Frame]:
        while (frame := await self._to.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            yield frame


def fails(error: Exception) -> Callable[[pb.Frame], Answer]:
    def handle(_frame: pb.Frame) -> Answer:
        raise error

    return handle


def fails_later(error: Exception) -> Callable[[pb.Frame], Answer]:
    async def answer() -> pb.Frame:
        raise error

    return lambda _frame: answer()


@pytest.mark.parametrize("handle", [fails(ValueError("key")), fails_later(KeyError("key"))])
async def test_a_frame_that_we_cannot_handle_fails_alone(handle: Callable[[pb.Frame], Answer]) -> None:
    handler = Handler(handle)
    caller = Caller(Peer(HERE, PEER, bytes(16), enrolment(HERE), handler))
    await caller.hello()
    for number in range(1, session.CONCURRENT_REQUESTS + 10):
        caller.send(pb.Frame(id=number, offer=pb.Offer()))
        reply = await caller.reply_to(number)
        assert reply.failure.code == pb.FAILURE_CODE_MALFORMED
        assert "key" not in reply.failure.reason
    caller.send(None)
    await caller.task


async def test_a_connection_that_a_newer_one_replaces_ends_though_its_caller_says_nothing() -> None:
    handler = Handler(lambda _frame: None)
    peer = Peer(HERE, PEER, bytes(16), enrolment(HERE), handler)
    old = Caller(peer)
    await old.hello()
    await handler.connected.wait()
    new = Caller(peer)
    await new.hello()
    await old.task
    assert peer.connected
    new.send(None)
    await new.task
    assert not peer.connected


async def test_a_peer_that_policy_no_longer_names_loses_its_connection() -> None:
    handler = Handler(lambda _frame: None)
    peer = Peer(HERE, PEER, bytes(16), enrolment(HERE), handler)
    caller, late = Caller(peer), Caller(peer)
    await caller.hello()
    await handler.connected.wait()
    peer.close()
    await caller.task
    await late.hello()
    await late.task
    assert not peer.connected


async def test_calls_without_a_hello_cannot_pile_up() -> None:
    peer = Peer(HERE, PEER, bytes(16), enrolment(HERE), Handler(lambda _frame: None))
    callers = [Caller(peer) for _ in range(session.UNGREETED_CALLS)]
    for caller in callers:
        await caller.received.get()
    one_more = Caller(peer)
    with pytest.raises(KeyPlaneError, match="have not said hello"):
        await one_more.task
    for caller in callers:
        caller.send(None)
        await caller.task
    fresh = Caller(peer)
    await fresh.hello()
    fresh.send(None)
    await fresh.task


async def test_a_peer_cannot_put_off_everybody_elses_turn_by_messages_of_many_frames() -> None:
    async def messages(frames: int) -> AsyncIterator[pb.SessionRequest]:
        yield pb.SessionRequest(frames=[pb.Frame(heartbeat=pb.SessionHeartbeat())] * frames)

    assert len([frame async for frame in transport._frames(messages(outbox.MESSAGE_FRAMES))]) == 64
    with pytest.raises(KeyPlaneError, match="65 frames"):
        await anext(transport._frames(messages(outbox.MESSAGE_FRAMES + 1)))
