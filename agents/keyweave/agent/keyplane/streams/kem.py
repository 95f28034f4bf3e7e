"""ML-KEM between the two ends of a stream: one signed exchange, then a ratchet that forgets.

The end that makes keys offers an ephemeral encapsulation key; the other answers with a ciphertext. Each signs
what it says with the ML-DSA-65 key that it proved to have when the session began, and nothing is used before
the other's signature verified. Both hold the same chain key then, and derive one secret per batch from it,
overwriting the chain key each time: whoever takes an end later learns nothing of earlier batches.
"""

from dataclasses import dataclass, field

from keyweave.agent import crypto, memory
from keyweave.agent.keyplane.failure import SignatureError
from keyweave.agent.keyplane.sessions.handshake import Proven
from keyweave.v1 import keyplane_pb2 as pb

# What one exchange is good for, at both ends; at the far one, time runs a little longer: the near end's last
# batch may still be on its way.
MAX_KEYS_PER_EXCHANGE = 1000
MAX_SECONDS_PER_EXCHANGE = 60.0
FAR_GRACE_SECONDS = 5.0
DEFAULT_PARAMETER_SET = 768
# A batch that got lost leaves a gap in the steps; a larger one than this is not a lost batch.
MAX_SKIPPED_STEPS = 1024

_OFFER = b"keyweave ml-kem offer 1"
_ANSWER = b"keyweave ml-kem answer 1"


@dataclass(frozen=True, slots=True)
class KemSecret:
    """One step of the ratchet."""

    kem_id: bytes
    step: int
    transcript: bytes
    secret: bytes = field(repr=False)


class Ratchet:
    """The chain of batch secrets that follows one ML-KEM exchange."""

    def __init__(self, kem_id: bytes, shared_secret: bytes, transcript: bytes, now: float) -> None:
        self.kem_id = kem_id
        self.transcript = transcript
        self.started = now
        self.keys_made = 0
        self.step = 0
        self._chain = bytearray(crypto.hkdf_extract(transcript, shared_secret))

    def advance(self) -> KemSecret:
        """The next batch secret; the state that could repeat it is overwritten."""
        secret = crypto.hkdf_expand(bytes(self._chain), b"keyweave batch secret 1", crypto.HASH_BYTES)
        self._chain[:] = crypto.hkdf_expand(bytes(self._chain), b"keyweave ratchet 1", crypto.HASH_BYTES)
        self.step += 1
        return KemSecret(self.kem_id, self.step, self.transcript, secret)

    def advance_to(self, step: int) -> KemSecret | None:
        """The secret of a later step, forgetting those between; None if it is past or too far ahead."""
        if not self.step < step <= self.step + MAX_SKIPPED_STEPS:
            return None
        while self.step < step - 1:
            self.advance()
        return self.advance()

    def is_fresh(self, now: float, refresh_seconds: float, count: int) -> bool:
        """Whether a batch of `count` keys may still come from this exchange, whatever policy says."""
        lasts = min(refresh_seconds, MAX_SECONDS_PER_EXCHANGE)
        return now - self.started < lasts and self.keys_made + count <= MAX_KEYS_PER_EXCHANGE

    def is_fresh_at_far_end(self, now: float, refresh_seconds: float, count: int) -> bool:
        """The same as the end sees it that is offered the batch."""
        return self.is_fresh(now - FAR_GRACE_SECONDS, refresh_seconds, count)

    def wipe(self) -> None:
        """Overwrite the state: nothing more comes from this exchange."""
        memory.wipe(self._chain)


def offer(
    stream: str, kem_id: bytes, parameter_set: int, ends: Proven
) -> tuple[pb.KemOffer, crypto.KemPrivateKey]:
    """A fresh encapsulation key, signed, and its private half."""
    key = crypto.mlkem_private_key(parameter_set)
    message = pb.KemOffer(
        stream=stream, kem_id=kem_id, parameter_set=parameter_set, encapsulation_key=key.public_bytes()
    )
    message.signature = ends.signer.sign(_OFFER, _offer_statement(message, _near_first(ends)))
    return message, key


def answer(message: pb.KemOffer, ends: Proven, now: float) -> tuple[pb.KemAnswer, Ratchet]:
    """The far end's part; SignatureError, or ValueError for a malformed offer."""
    nodes = _far_first(ends)
    if not ends.verifier.verify(_OFFER, message.signature, _offer_statement(message, nodes)):
        raise SignatureError(f"the signature of {ends.peer} on its ML-KEM offer does not verify")
    if len(message.kem_id) != 16:
        raise ValueError("kem_id must have 16 bytes")
    shared_secret, ciphertext = crypto.mlkem_encapsulate(message.parameter_set, message.encapsulation_key)
    statement = answer_statement(message, ciphertext, nodes)
    reply = pb.KemAnswer(
        kem_id=message.kem_id, ciphertext=ciphertext, signature=ends.signer.sign(_ANSWER, statement)
    )
    ratchet = Ratchet(message.kem_id, shared_secret, transcript_of(statement, reply), now)
    return reply, ratchet


def finish(
    message: pb.KemOffer, key: crypto.KemPrivateKey, reply: pb.KemAnswer, ends: Proven, now: float
) -> Ratchet:
    """The near end's part, with its ephemeral private key; SignatureError, or ValueError if malformed."""
    statement = answer_statement(message, reply.ciphertext, _near_first(ends))
    if not ends.verifier.verify(_ANSWER, reply.signature, statement):
        raise SignatureError(f"the signature of {ends.peer} on its ML-KEM answer does not verify")
    return Ratchet(message.kem_id, key.decapsulate(reply.ciphertext), transcript_of(statement, reply), now)


def transcript_of(statement: bytes, reply: pb.KemAnswer) -> bytes:
    """Hash that binds a key to the exchange: ends, stream, parameters, both public values and signatures."""
    return crypto.digest(crypto.framed(b"keyweave ml-kem 2", statement, reply.signature))


def answer_statement(message: pb.KemOffer, ciphertext: bytes, nodes: tuple[bytes, ...]) -> bytes:
    """What the far end signs: the offer with its signature, and its own ciphertext."""
    return crypto.framed(_offer_statement(message, nodes), message.signature, ciphertext)


def _offer_statement(message: pb.KemOffer, nodes: tuple[bytes, ...]) -> bytes:
    return crypto.framed(
        *nodes,
        message.stream.encode(),
        message.kem_id,
        message.parameter_set.to_bytes(4, "big"),
        message.encapsulation_key,
    )


def _near_first(ends: Proven) -> tuple[bytes, ...]:
    return ends.local.encode(), ends.local_incarnation, ends.peer.encode(), ends.peer_incarnation


def _far_first(ends: Proven) -> tuple[bytes, ...]:
    return ends.peer.encode(), ends.peer_incarnation, ends.local.encode(), ends.local_incarnation
