"""Connections between agents: one gRPC stream each, dialled by the agent whose name sorts first.

Certificates are rotated without a break: when the own files are replaced, and before the peer's signing
certificate ends, a second connection is made beside the first, which ends once the second is up.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from keyweave.agent.keyplane.failure import KeyPlaneError, RevokedError
from keyweave.agent.keyplane.sessions.enrolment import Enrolment, agent_identity
from keyweave.agent.keyplane.sessions.handshake import Channel
from keyweave.agent.keyplane.sessions.outbox import MESSAGE_FRAMES
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.common import log
from keyweave.common.cancellation import raise_if_cancelled
from keyweave.common.errors import InvalidInputError
from keyweave.common.file_watch import FileWatch
from keyweave.common.grpc_standing import peer_certificate
from keyweave.common.identity import Plane, Role, peer_identity
from keyweave.common.names import NodeName
from keyweave.common.tls import Material, channel_with
from keyweave.v1 import keyplane_pb2 as pb
from keyweave.v1 import keyplane_pb2_grpc

if TYPE_CHECKING:  # generic in grpc's stubs only
    _Call = grpc.aio.StreamStreamCall[pb.SessionRequest, pb.SessionResponse]

RECONNECT_CAP_SECONDS = 2.0
# After new files, an agent's sessions are renewed one by one within this time.
RENEW_JITTER_SECONDS = 2.0
# Half of what is left to the peer's certificate, but no more often than this.
LEAST_RENEWAL_SECONDS = 5.0
# One connection and its successor.
CONNECTIONS_AT_ONCE = 2

# How else than by its status a connection may break; files may be gone, or not fit together, for a moment.
_BROKEN = (KeyPlaneError, InvalidInputError, asyncio.InvalidStateError, grpc.aio.UsageError, OSError)


async def dial(peer: Peer, address: Callable[[], str], enrolment: Enrolment, files: FileWatch) -> None:
    """Keep a connection to `peer` up, with full-jitter backoff between attempts, until cancelled."""
    failures = 0
    while True:
        started = time.monotonic()
        await _connected(peer, address, enrolment, files)
        raise_if_cancelled()
        failures = 0 if time.monotonic() - started > RECONNECT_CAP_SECONDS else failures + 1
        # Full jitter: peers of a restarted agent must not all come back at the same instant.
        await asyncio.sleep(random.uniform(0, min(RECONNECT_CAP_SECONDS, 0.05 * 2**failures)))  # noqa: S311


async def _connected(peer: Peer, address: Callable[[], str], enrolment: Enrolment, files: FileWatch) -> None:
    """A connection and its successors, until the last one has ended."""

    def connect() -> asyncio.Task[None]:
        return asyncio.create_task(_connection(peer, address, enrolment), name=f"connection-{peer.node}")

    def wait_for_renewal() -> asyncio.Task[None]:
        return asyncio.create_task(_renewal_due(peer, enrolment, files), name=f"renewal-{peer.node}")

    connections, renewal = {connect()}, wait_for_renewal()
    try:
        while connections:
            done, _ = await asyncio.wait({*connections, renewal}, return_when=asyncio.FIRST_COMPLETED)
            for ended in done & connections:
                connections.discard(ended)
                ended.result()
            if renewal in done:
                renewal.result()
                renewal = wait_for_renewal()
                if len(connections) < CONNECTIONS_AT_ONCE:
                    connections.add(connect())
    finally:
        for task in (*connections, renewal):
            task.cancel()
        await asyncio.gather(*connections, renewal, return_exceptions=True)


async def _renewal_due(peer: Peer, enrolment: Enrolment, files: FileWatch) -> None:
    """Return when a connection with new certificates is wanted at one of its ends."""
    proven = peer.last_proven
    left = float("inf") if proven is None else proven.verifier.standing.not_after - time.time()
    try:
        async with asyncio.timeout(max(LEAST_RENEWAL_SECONDS, min(left / 2, 7 * 86400.0))):
            await files.changed(enrolment.own_paths)
    except TimeoutError:
        return
    await asyncio.sleep(random.uniform(0, RENEW_JITTER_SECONDS))  # noqa: S311


async def _connection(peer: Peer, address: Callable[[], str], enrolment: Enrolment) -> None:
    """One connection, until it breaks."""
    try:
        material = Material.read(enrolment.tls)
        async with channel_with(material, address(), agent_identity(peer.node)) as channel:
            stub: keyplane_pb2_grpc.KeyPlaneServiceAsyncStub = keyplane_pb2_grpc.KeyPlaneServiceStub(channel)
            call = stub.Session()  # type: ignore[call-arg]  # written to, not iterated over
            ours = Channel(dialled_by_us=True, dialler_certificate=material.fingerprint)
            await peer.run(_frames(call), partial(_write, call), ours)
    except grpc.aio.AioRpcError as error:
        reason = f"{error.code().name}: {error.details()}"
    except _BROKEN as error:
        reason = str(error)
    except BaseExceptionGroup as group:
        rest = group.split((grpc.aio.AioRpcError, *_BROKEN))[1]
        if rest is not None:
            raise rest from None
        reason = str(group.exceptions[0])
    else:
        reason = "the peer ended it, or a newer one took its place"
    raise_if_cancelled()
    log.get().info("session_lost", peer=peer.node, reason=reason)


async def _write(call: "_Call", frames: Sequence[pb.Frame]) -> None:
    await call.write(pb.SessionRequest(frames=frames))


async def _frames(
    messages: AsyncIterable[pb.SessionRequest | pb.SessionResponse | None],
) -> AsyncIterator[pb.Frame]:
    async for message in messages:
        # For bytes that do not parse gRPC logs an error and hands on None, whatever its types say.
        if message is None:
            raise KeyPlaneError(pb.FAILURE_CODE_MALFORMED, "the peer sent bytes that are no message")
        # All frames of a message are handled before anybody else's turn comes.
        if len(message.frames) > MESSAGE_FRAMES:
            reason = f"a message of {len(message.frames)} frames; allowed are {MESSAGE_FRAMES}"
            raise KeyPlaneError(pb.FAILURE_CODE_MALFORMED, reason)
        for frame in message.frames:
            yield frame


class KeyPlaneServicer(keyplane_pb2_grpc.KeyPlaneServiceServicer):
    """The side that is dialled."""

    def __init__(self, find_peer: Callable[[NodeName], Peer | None], enrolment: Enrolment) -> None:
        self._find_peer = find_peer
        self._enrolment = enrolment

    async def Session(  # type: ignore[override]  # noqa: N802 (gRPC's name; it writes, it does not yield)
        self,
        request_iterator: AsyncIterator[pb.SessionRequest],
        context: "grpc.aio.ServicerContext[pb.SessionRequest, pb.SessionResponse]",
    ) -> None:
        """Serve a peer that policy names; others get nothing."""
        caller = peer_identity(context.auth_context(), Plane.KEY, frozenset({Role.AGENT}))
        peer = self._find_peer(NodeName(caller.name))
        if peer is None:
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, f"no policy here names the peer '{caller.name}'"
            )
        certificate = x509.load_pem_x509_certificate(peer_certificate(context.auth_context()))
        standing = self._enrolment.tls_trust.standing(certificate)
        refusal = self._enrolment.tls_trust.refusal(standing, time.time())
        if refusal:
            peer.disbelieve(RevokedError(f"{peer.node} {refusal}"))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, refusal)

        async def write(frames: Sequence[pb.Frame]) -> None:
            await context.write(pb.SessionResponse(frames=frames))

        channel = Channel(
            dialled_by_us=False,
            dialler_certificate=certificate.fingerprint(hashes.SHA256()),
            peer=standing,
        )
        try:
            await peer.run(_frames(request_iterator), write, channel)
        except KeyPlaneError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
