"""One session per pair of agents: frames both ways over one gRPC stream, requests with replies.

A session outlives its connections (transport.py): what was sent on a broken one is lost, and the next begins
with a handshake (handshake.py), before which nothing else is handled. A new incarnation in the hello means
that the peer has restarted and with it all that was shared with it is gone.
"""

import asyncio
import itertools
import time
import traceback
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import grpc

from keyweave.agent.keyplane.failure import KeyPlaneError, RevokedError, SignatureError
from keyweave.agent.keyplane.sessions import handshake
from keyweave.agent.keyplane.sessions.enrolment import Enrolment
from keyweave.agent.keyplane.sessions.handshake import Channel, Proven, Write
from keyweave.agent.keyplane.sessions.outbox import Outbox
from keyweave.agent.keyplane.sessions.pending import Pending, Then
from keyweave.common import log
from keyweave.common.names import NodeName
from keyweave.v1 import keyplane_pb2 as pb

HEARTBEAT_SECONDS = 0.5
SILENT_SECONDS = 2.0
CONCURRENT_REQUESTS = 256
# Calls of one peer that have not proved who they are yet; more are refused, or they could pile up unseen.
UNGREETED_CALLS = 8


class FrameHandler(Protocol):
    """What sessions need of the key plane."""

    def on_frame(self, peer: "Peer", frame: pb.Frame) -> pb.Frame | Awaitable[pb.Frame] | None:
        """Handle a request or notification; state changes happen before this returns, in frame order.

        An answer that comes later is a future that does not fail, or anything else to await, which takes
        a task.
        """
        ...

    def on_connected(self, peer: "Peer", *, restarted: bool) -> None:
        """A connection is up; `restarted` when the peer's process is another than before."""
        ...

    def on_disconnected(self, peer: "Peer") -> None:
        """The connection is gone."""
        ...

    def on_disbelieved(self, peer: "Peer", error: KeyPlaneError) -> None:
        """Somebody spoke for the peer with a signature or a certificate that is not good, and was refused."""
        ...


class _SessionEndedError(Exception):
    """The stream has ended; unwinds the connection's task group."""


@dataclass(slots=True)
class _Connection:
    outbox: Outbox
    proven: Proven
    last_heard: float
    # Set when a newer connection takes its place, or policy no longer names the peer.
    over: asyncio.Event


class Peer:
    """Another agent, as this one talks with it."""

    def __init__(
        self,
        local: NodeName,
        node: NodeName,
        incarnation: bytes,
        enrolment: Enrolment,
        handler: FrameHandler,
    ) -> None:
        self.node = node
        self.incarnation = b""
        # What it last proved; kept when the connection is gone.
        self.last_proven: Proven | None = None
        self._local = local
        self._own_incarnation = incarnation
        self._enrolment = enrolment
        self._handler = handler
        self._connection: _Connection | None = None
        self._ids = itertools.count(1)
        self._pending = Pending(self._overdue)
        self._in_hand = 0
        self._ungreeted = 0
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether a connection is up and the peer has said hello."""
        return self._connection is not None

    @property
    def proven(self) -> Proven:
        """Both ends as they proved themselves on the present connection; KeyPlaneError without one."""
        if self._connection is None:
            raise self._unreachable(f"no session with {self.node}")
        return self._connection.proven

    def silent_seconds(self) -> float:
        """How long the peer has said nothing; infinite without a connection."""
        return time.monotonic() - self._connection.last_heard if self._connection else float("inf")

    @property
    def queued(self) -> int:
        """Frames that wait to be written."""
        return len(self._connection.outbox) if self._connection else 0

    def close(self) -> None:
        """Policy no longer names the peer: end its connection and take no other."""
        self._closed = True
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection; the next one has to prove itself anew."""
        if self._connection is not None:
            self._connection.over.set()

    def disbelieve(self, error: KeyPlaneError) -> None:
        """What was said in the peer's name is refused: let it be known. A connection that stands, stands."""
        self._handler.on_disbelieved(self, error)

    def post(self, frame: pb.Frame) -> bool:
        """Send without reply; False (and nothing sent) without a connection or when its queue is full."""
        return self._connection is not None and self._connection.outbox.put(frame)

    def ask(self, frame: pb.Frame, timeout_seconds: float, then: Then) -> int:
        """Send, and have `then` called once, with the reply or a failure; the number to forget it by.

        KeyPlaneError, and nothing sent, without a connection. Frames go out in the order of the calls.
        """
        number = frame.id = next(self._ids)
        if not self.post(frame):
            raise self._unreachable(f"no session with {self.node}")
        self._pending.add(number, timeout_seconds, then)
        return number

    async def request(self, frame: pb.Frame, timeout_seconds: float) -> pb.Frame:
        """Send and await the reply; KeyPlaneError if it is a failure or does not come.

        The frame is queued before this first suspends, so frames go out in the order of the calls.
        """
        future: asyncio.Future[pb.Frame] = asyncio.get_running_loop().create_future()
        number = self.ask(frame, timeout_seconds, partial(_settle, future))
        try:
            reply = await future
        except asyncio.CancelledError:
            self._pending.forget(number)
            raise
        if reply.WhichOneof("body") == "failure":
            raise KeyPlaneError.from_message(reply.failure)
        return reply

    async def run(self, incoming: AsyncIterator[pb.Frame], write: Write, channel: Channel) -> None:
        """Serve one connection until it ends. A newer one replaces an older."""
        proven = await self._greet(incoming, write, channel)
        if proven is None or self._closed:
            return
        restarted = bool(self.incarnation) and proven.peer_incarnation != self.incarnation
        self.incarnation, self.last_proven = proven.peer_incarnation, proven
        connection = _Connection(Outbox(), proven, time.monotonic(), asyncio.Event())
        if self._connection is not None:
            self._connection.over.set()
        self._connection = connection
        self._handler.on_connected(self, restarted=restarted)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_write_all(connection.outbox, write), name=f"session-write-{self.node}")
                group.create_task(self._beat(connection), name=f"session-heartbeat-{self.node}")
                group.create_task(_until_over(connection), name=f"session-over-{self.node}")
                await self._read(incoming, connection, group)
        except* _SessionEndedError:
            pass
        except* KeyPlaneError as errors:
            log.get().warning("session_malformed", peer=self.node, reason=str(errors.exceptions[0]))
        finally:
            if self._connection is connection:
                self._connection = None
                self._fail_pending()
                self._handler.on_disconnected(self)

    async def _greet(
        self, incoming: AsyncIterator[pb.Frame], write: Write, channel: Channel
    ) -> Proven | None:
        """Exchange hellos and proofs; None where the peer leaves without."""
        if self._ungreeted >= UNGREETED_CALLS:
            raise KeyPlaneError(
                pb.FAILURE_CODE_OVER_BUDGET,
                f"{self.node} has {self._ungreeted} calls open that have not said hello",
            )
        self._ungreeted += 1
        try:
            return await handshake.greet(
                self._local, self._own_incarnation, self.node, self._enrolment, channel, incoming, write
            )
        except (SignatureError, RevokedError) as error:
            self.disbelieve(error)
            raise
        finally:
            self._ungreeted -= 1

    async def _read(
        self, incoming: AsyncIterator[pb.Frame], connection: _Connection, group: asyncio.TaskGroup
    ) -> None:
        async for frame in incoming:
            if self._connection is not connection:
                break  # what a replaced connection still brings is out of order
            connection.last_heard = time.monotonic()
            self._receive(frame, connection, group)
        raise _SessionEndedError

    def _receive(self, frame: pb.Frame, connection: _Connection, group: asyncio.TaskGroup) -> None:
        if frame.is_reply:
            self._pending.answer(frame)
            return
        if frame.WhichOneof("body") == "heartbeat":
            return
        if frame.id and self._in_hand >= CONCURRENT_REQUESTS:
            busy = KeyPlaneError(pb.FAILURE_CODE_OVER_BUDGET, "too many requests in hand", node=self._local)
            answer: pb.Frame | Awaitable[pb.Frame] | None = pb.Frame(failure=busy.to_message())
        else:
            try:
                answer = self._handler.on_frame(self, frame)
            except KeyPlaneError as error:
                answer = pb.Frame(failure=error.to_message())
            except Exception as error:  # noqa: BLE001  # a frame of a peer must never end the agent
                answer = self._unforeseen(frame, error)
        if answer is None or not frame.id:
            return
        if isinstance(answer, pb.Frame):
            self._reply(frame.id, answer, connection)
            return
        self._in_hand += 1
        if not isinstance(answer, asyncio.Future):
            answer = group.create_task(self._answered(frame, answer), name=f"session-answer-{self.node}")
        # Not in the task itself: one that is cancelled before its first step runs nothing.
        answer.add_done_callback(partial(self._reply_later, frame.id, connection))

    async def _answered(self, request: pb.Frame, answer: Awaitable[pb.Frame]) -> pb.Frame:
        try:
            return await answer
        except KeyPlaneError as error:
            return pb.Frame(failure=error.to_message())
        except Exception as error:  # noqa: BLE001  # see _receive
            return self._unforeseen(request, error)

    def _reply_later(self, number: int, connection: _Connection, answer: asyncio.Future[pb.Frame]) -> None:
        self._in_hand -= 1
        if not answer.cancelled():
            self._reply(number, answer.result(), connection)

    def _unforeseen(self, frame: pb.Frame, error: Exception) -> pb.Frame:
        """A mistake of our own: its type and place are logged, not its text, which may hold key."""
        log.get().error(
            "frame_failed",
            peer=self.node,
            frame=frame.WhichOneof("body"),
            error=type(error).__name__,
            at=[f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)],
        )
        failed = KeyPlaneError(
            pb.FAILURE_CODE_MALFORMED, "this agent cannot handle the frame", node=self._local
        )
        return pb.Frame(failure=failed.to_message())

    def _reply(self, number: int, reply: pb.Frame, connection: _Connection) -> None:
        reply.id, reply.is_reply = number, True
        if not connection.outbox.put(reply):
            log.get().warning("session_reply_dropped", peer=self.node, reason="the peer reads too slowly")

    async def _beat(self, connection: _Connection) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if not len(connection.outbox):
                connection.outbox.put(pb.Frame(heartbeat=pb.SessionHeartbeat()))

    def _unreachable(self, reason: str) -> KeyPlaneError:
        return KeyPlaneError(pb.FAILURE_CODE_UNREACHABLE, reason, node=self._local)

    def _overdue(self, timeout_seconds: float) -> pb.Frame:
        error = self._unreachable(f"{self.node} did not answer in {timeout_seconds:g} s")
        return pb.Frame(failure=error.to_message())

    def _fail_pending(self) -> None:
        gone = self._unreachable(f"the session with {self.node} broke")
        self._pending.fail_all(pb.Frame(failure=gone.to_message()))


def _settle(future: asyncio.Future[pb.Frame], reply: pb.Frame) -> None:
    if not future.done():
        future.set_result(reply)


async def _write_all(outbox: Outbox, write: Write) -> None:
    while True:
        frames = await outbox.message()
        try:
            await write(frames)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            raise _SessionEndedError from None


async def _until_over(connection: _Connection) -> None:
    await connection.over.wait()
    raise _SessionEndedError
