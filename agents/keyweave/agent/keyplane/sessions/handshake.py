"""How a session begins: both ends say who they are, and prove it with their signing keys.

TLS has let the peer in by its TLS key; here it shows a second, post-quantum one. So whoever steals a TLS key
alone gets no session, on either side, and the client learns whether the server's enrolment was revoked.

What both sign: both hellos whole (node, incarnation, signing certificate, fresh challenge), who dialled, and
the TLS certificate with which the dialling end came. Python's gRPC offers neither the TLS exporter nor, at a
client, the server's certificate: closer to the channel it cannot be bound (docs/security.md).
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from keyweave.agent import crypto
from keyweave.agent.keyplane.failure import KeyPlaneError, SignatureError
from keyweave.agent.keyplane.sessions.enrolment import Enrolment, Signer, Verifier
from keyweave.common.names import NodeName
from keyweave.common.revocation import Standing
from keyweave.v1 import keyplane_pb2 as pb

Write = Callable[[Sequence[pb.Frame]], Awaitable[None]]

CHALLENGE_BYTES = 32
INCARNATION_BYTES = 16
_DIALLER = b"keyweave session 1 dialler"
_DIALLED = b"keyweave session 1 dialled"


@dataclass(frozen=True, slots=True)
class Channel:
    """What is known of the connection below: who dialled, and the dialling end's TLS certificate (SHA-256).

    `peer` is what the peer's TLS certificate is worth; None at the dialling end, which cannot see it.
    """

    dialled_by_us: bool
    dialler_certificate: bytes
    peer: Standing | None = None


@dataclass(frozen=True, slots=True)
class Proven:
    """Both ends of a session, with the keys that they have shown each other."""

    local: NodeName
    local_incarnation: bytes
    signer: Signer
    peer: NodeName
    peer_incarnation: bytes
    verifier: Verifier
    tls: Standing | None


async def greet(
    local: NodeName,
    incarnation: bytes,
    peer: NodeName,
    enrolment: Enrolment,
    channel: Channel,
    incoming: AsyncIterator[pb.Frame],
    write: Write,
) -> Proven | None:
    """Exchange hellos and proofs; None where the peer leaves without.

    KeyPlaneError for what is no hello, SignatureError and RevokedError for a peer that is not let in.
    """
    signer = enrolment.signer
    ours = pb.SessionHello(
        node=local,
        incarnation=incarnation,
        signing_certificate=signer.certificate,
        challenge=os.urandom(CHALLENGE_BYTES),
    )
    await write([pb.Frame(hello=ours)])
    first = await anext(incoming, None)
    if first is None:
        return None
    theirs = first.hello
    sizes = (len(theirs.incarnation), len(theirs.challenge))
    if (
        first.WhichOneof("body") != "hello"
        or theirs.node != peer
        or sizes != (INCARNATION_BYTES, CHALLENGE_BYTES)
    ):
        raise KeyPlaneError(pb.FAILURE_CODE_MALFORMED, f"{peer} does not begin with its hello")
    verifier = enrolment.vet(peer, theirs.signing_certificate)
    by_us, by_them = (_DIALLER, _DIALLED) if channel.dialled_by_us else (_DIALLED, _DIALLER)
    hellos = (ours, theirs) if channel.dialled_by_us else (theirs, ours)
    statement = session_statement(channel.dialler_certificate, *hellos)
    await write([pb.Frame(proof=pb.SessionProof(signature=signer.sign(by_us, statement)))])
    second = await anext(incoming, None)
    if second is None:
        return None
    if not verifier.verify(by_them, second.proof.signature, statement):
        raise SignatureError(f"the proof of {peer} does not verify")
    return Proven(local, incarnation, signer, peer, theirs.incarnation, verifier, channel.peer)


def session_statement(
    dialler_certificate: bytes, dialler: pb.SessionHello, dialled: pb.SessionHello
) -> bytes:
    """What both ends of a session sign, each with the context of its side."""
    return crypto.framed(dialler_certificate, *_fields(dialler), *_fields(dialled))


def _fields(hello: pb.SessionHello) -> tuple[bytes, ...]:
    return hello.node.encode(), hello.incarnation, hello.signing_certificate, hello.challenge
