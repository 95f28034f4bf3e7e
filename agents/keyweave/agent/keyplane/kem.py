"""ML-KEM between the two ends of a stream: one exchange, then a ratchet that forgets.

The end that makes keys offers an ephemeral encapsulation key; the other answers with a ciphertext. Both
hold the same chain key then, and derive one secret per batch from it, overwriting the chain key each
time: whoever takes an end later learns nothing of earlier batches.
"""

from dataclasses import dataclass

from keyweave.agent import crypto, memory
from keyweave.v1 import keyplane_pb2 as pb

MAX_KEYS_PER_EXCHANGE = 1000
PARAMETER_SET = 768
# A batch that got lost leaves a gap in the steps; a larger one than this is not a lost batch.
MAX_SKIPPED_STEPS = 1024


@dataclass(frozen=True, slots=True)
class KemSecret:
    """One step of the ratchet."""

    kem_id: bytes
    step: int
    transcript: bytes
    secret: bytes


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
        """Whether a batch of `count` keys may still come from this exchange."""
        return now - self.started < refresh_seconds and self.keys_made + count <= MAX_KEYS_PER_EXCHANGE

    def wipe(self) -> None:
        """Overwrite the state: nothing more comes from this exchange."""
        memory.wipe(self._chain)


def transcript_of(offer: pb.KemOffer, ciphertext: bytes) -> bytes:
    """Hash that binds a key to the exchange: stream, ID, parameter set, both public values."""
    return crypto.digest(
        b"keyweave ml-kem 1"
        + crypto.digest(offer.stream.encode())
        + offer.kem_id
        + offer.parameter_set.to_bytes(4, "big")
        + crypto.digest(offer.encapsulation_key)
        + crypto.digest(ciphertext)
    )


def answer(offer: pb.KemOffer, now: float) -> tuple[pb.KemAnswer, Ratchet]:
    """The far end's part; ValueError for a malformed offer."""
    if len(offer.kem_id) != 16:
        raise ValueError("kem_id must have 16 bytes")
    shared_secret, ciphertext = crypto.mlkem_encapsulate(offer.parameter_set, offer.encapsulation_key)
    ratchet = Ratchet(offer.kem_id, shared_secret, transcript_of(offer, ciphertext), now)
    return pb.KemAnswer(kem_id=offer.kem_id, ciphertext=ciphertext), ratchet


def finish(offer: pb.KemOffer, key: crypto.KemPrivateKey, ciphertext: bytes, now: float) -> Ratchet:
    """The near end's part, with its ephemeral private key; ValueError for a malformed answer."""
    return Ratchet(offer.kem_id, key.decapsulate(ciphertext), transcript_of(offer, ciphertext), now)
