"""The few primitives of the key plane, each by its standard, all from `cryptography`."""

import hmac
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.poly1305 import Poly1305

TAG_KEY_BYTES = 32
TAG_BYTES = 16
HASH_BYTES = 32
_SHA256 = hashes.SHA256()


# ML-DSA-65 (FIPS 204), security category 3 as ML-KEM-768.
SigningKey = mldsa.MLDSA65PrivateKey
VerifyingKey = mldsa.MLDSA65PublicKey


class KemPrivateKey(Protocol):
    """An ML-KEM decapsulation key (FIPS 203)."""

    def public_bytes(self) -> bytes:
        """The encapsulation key."""
        ...

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The 32-byte shared secret; ValueError for a ciphertext of the wrong length."""
        ...


def poly1305_tag(key: bytes, data: bytes) -> bytes:
    """One-time authenticator of RFC 8439, section 2.5; `key` (32 bytes) must never be used again."""
    return Poly1305.generate_tag(key, data)


def poly1305_verify(key: bytes, data: bytes, tag: bytes) -> bool:
    """Whether `tag` is the authenticator of `data`, in constant time."""
    try:
        Poly1305.verify_tag(key, data, tag)
    except InvalidSignature:
        return False
    return True


def hkdf_extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869, section 2.2)."""
    return hmac.digest(salt or bytes(HASH_BYTES), ikm, "sha256")


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869, section 2.3); `length` in bytes, at most 8,160."""
    if length <= HASH_BYTES:
        # A single block, T(1): by far the most frequent, and faster without the object.
        block = HMAC(prk, _SHA256)
        block.update(info + b"\x01")
        return block.finalize()[:length]
    return HKDFExpand(_SHA256, length, info).derive(prk)


class TwoStepKdf:
    """Two-step key derivation (NIST SP 800-56C rev. 2, sections 2 and 5) of many secrets under one salt.

    The HMAC of the extraction takes the salt in once, and is copied for each secret.
    """

    def __init__(self, salt: bytes) -> None:
        self._extraction = HMAC(salt or bytes(HASH_BYTES), _SHA256)

    def derive(self, z: bytes, t: bytes, fixed_info: bytes, length: int) -> bytes:
        """`length` bytes from the hybrid secret Z || T.

        Both steps in one place: each of tens of thousands of keys a second goes through here at both ends.
        """
        extraction = self._extraction.copy()
        extraction.update(z + t)
        prk = extraction.finalize()
        if length > HASH_BYTES:
            return hkdf_expand(prk, fixed_info, length)
        block = HMAC(prk, _SHA256)
        block.update(fixed_info + b"\x01")
        return block.finalize()[:length]

    def extract(self, secret: bytes) -> bytes:
        """The first step alone: HKDF-Extract, as `hkdf_extract` under this salt."""
        extraction = self._extraction.copy()
        extraction.update(secret)
        return extraction.finalize()


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104)."""
    tag = HMAC(key, _SHA256)
    tag.update(data)
    return tag.finalize()


def equal(left: bytes, right: bytes) -> bool:
    """Comparison in constant time."""
    return hmac.compare_digest(left, right)


def digest(data: bytes) -> bytes:
    """SHA-256 (FIPS 180-4)."""
    return sha256(data).digest()


class _PrivateKey:
    def __init__(self, key: mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey) -> None:
        self._key = key

    def public_bytes(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext: bytes) -> bytes:
        return self._key.decapsulate(ciphertext)


def mlkem_private_key(parameter_set: int, seed: bytes | None = None) -> KemPrivateKey:
    """A decapsulation key for ML-KEM-768 or -1024 (FIPS 203), fresh unless a 64-byte seed d || z is given."""
    match parameter_set:
        case 768:
            kind: type[mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey] = mlkem.MLKEM768PrivateKey
        case 1024:
            kind = mlkem.MLKEM1024PrivateKey
        case _:
            raise ValueError(f"ML-KEM parameter set {parameter_set} is not offered; allowed: 768, 1024")
    return _PrivateKey(kind.generate() if seed is None else kind.from_seed_bytes(seed))


def mlkem_encapsulate(parameter_set: int, public: bytes) -> tuple[bytes, bytes]:
    """A fresh 32-byte shared secret and its ciphertext for an encapsulation key (FIPS 203)."""
    match parameter_set:
        case 768:
            return mlkem.MLKEM768PublicKey.from_public_bytes(public).encapsulate()
        case 1024:
            return mlkem.MLKEM1024PublicKey.from_public_bytes(public).encapsulate()
        case _:
            raise ValueError(f"ML-KEM parameter set {parameter_set} is not offered; allowed: 768, 1024")


def mldsa_verify(key: VerifyingKey, signature: bytes, data: bytes, context: bytes) -> bool:
    """ML-DSA.Verify (FIPS 204, algorithm 3); `context` has at most 255 bytes."""
    try:
        key.verify(signature, data, context)
    except (InvalidSignature, ValueError):
        return False
    return True


def framed(*fields: bytes) -> bytes:
    """Byte strings joined so that no two lists give the same: each after its length, 4 bytes."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)
