"""From secrets to delivered keys: the hybrid combiner and the confirmation of both ends.

Combiner: two-step derivation (NIST SP 800-56C rev. 2) from Z || T with the secrets concatenated as in
ETSI TS 103 744 (CatKDF): the ML-KEM secret first, then the QKD secret, each with its length before it,
and everything that describes the key as context. The result is computationally secure: anyone who
breaks both components learns it, and the claim is never information-theoretic.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from keyweave.agent import crypto
from keyweave.common.names import PathId, SaeId, StreamName

CHUNK_BITS = 256
_LENGTH = struct.Struct(">I")
_INDEX_AND_CHUNK = struct.Struct(">II")
_SALT = crypto.digest(b"keyweave combiner 1")
_KDF = crypto.TwoStepKdf(_SALT)
_KEY_LABEL = b"keyweave delivered key 1"
_NEAR_LABEL = b"keyweave confirmation near end 1"
_FAR_LABEL = b"keyweave confirmation far end 1"


@dataclass(frozen=True, slots=True)
class BatchContext:
    """What both ends must agree on about a batch of keys before either uses one."""

    stream: StreamName
    batch_id: bytes
    # UUIDs, 16 bytes each.
    key_ids: tuple[bytes, ...]
    key_size_bits: int
    master_sae: SaeId
    slave_sae: SaeId
    path_ids: tuple[PathId, ...]
    trusted_nodes: tuple[str, ...]
    vendor_domains: tuple[str, ...]
    emulated: bool
    kem_id: bytes
    kem_step: int
    # Hash over encapsulation key and ciphertext of the ML-KEM exchange; empty where there is none.
    kem_transcript: bytes
    # Canonical bytes of everything but the key IDs.
    encoded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Encode it once: keys and tags are bound to it alike."""
        object.__setattr__(self, "encoded", self._encode())

    def _encode(self) -> bytes:
        return b"".join(
            (
                text_field(self.stream),
                bytes_field(self.batch_id),
                struct.pack(">II?", self.key_size_bits, len(self.key_ids), self.emulated),
                text_field(self.master_sae),
                text_field(self.slave_sae),
                list_field(self.path_ids),
                list_field(self.trusted_nodes),
                list_field(self.vendor_domains),
                bytes_field(self.kem_id),
                struct.pack(">Q", self.kem_step),
                bytes_field(self.kem_transcript),
            )
        )


def secret_bytes_per_key(key_size_bits: int) -> int:
    """Relayed secret bytes that one key costs: as many as it has."""
    return key_size_bits // 8


def derive_keys(context: BatchContext, kem_secret: bytes, qkd_secret: bytes | bytearray) -> list[bytearray]:
    """The keys of a batch, in the order of their IDs.

    Args:
        context: what the keys are bound to.
        kem_secret: this batch's secret from the ML-KEM ratchet (32 bytes), or empty.
        qkd_secret: relayed secret, key_size_bits/8 bytes for every key, or empty.

    Every 256-bit chunk of a key is derived from a chunk of its own of the QKD secret.
    """
    if not kem_secret and not qkd_secret:
        raise ValueError("a key needs at least one component")
    size = context.key_size_bits // 8
    chunks = [
        (chunk, start, min(CHUNK_BITS // 8, size - start))
        for chunk, start in enumerate(range(0, size, CHUNK_BITS // 8))
    ]
    # What all keys of the batch have in common is put together once.
    shared, kem_field, qkd = context.encoded, bytes_field(kem_secret), bytes(qkd_secret)
    keys = []
    for index, key_id in enumerate(context.key_ids):
        key, label, begin = bytearray(), _KEY_LABEL + key_id, index * size
        for chunk, start, length in chunks:
            part = qkd[begin + start : begin + start + length]
            fixed_info = label + _INDEX_AND_CHUNK.pack(index, chunk) + shared
            key += _KDF.derive(kem_field, _LENGTH.pack(len(part)) + part, fixed_info, length)
        keys.append(key)
    return keys


@dataclass(frozen=True, slots=True)
class Tags:
    """Proofs that an end has the keys of a batch: by the one that made them, and by the other."""

    near: bytes
    far: bytes


def tags(context: BatchContext, keys: Sequence[bytearray]) -> Tags:
    """Both ends' proofs that they have these keys."""
    # The confirmation keys are derived, not delivered ones: a tag on the wire tells nothing of those.
    extracted = _KDF.extract(b"".join(keys))
    told = b"".join(context.key_ids) + context.encoded

    def tag(label: bytes) -> bytes:
        return crypto.mac(crypto.hkdf_expand(extracted, label, crypto.HASH_BYTES), label + told)

    return Tags(near=tag(_NEAR_LABEL), far=tag(_FAR_LABEL))


def bytes_field(value: bytes) -> bytes:
    """Bytes behind their length (32 bits), so that no two values run into one."""
    return _LENGTH.pack(len(value)) + value


def text_field(value: str) -> bytes:
    """Text likewise, in UTF-8."""
    return bytes_field(value.encode())


def list_field(values: Iterable[str]) -> bytes:
    """A list behind its count."""
    items = [text_field(value) for value in values]
    return _LENGTH.pack(len(items)) + b"".join(items)
