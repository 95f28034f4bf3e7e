"""What a holder sends to have its keys certified, and what makes it believable.

A request carries public keys only (PKCS #10). What its subject or extensions ask for counts for nothing:
names come from the token, or from the certificate that is renewed. Its signature proves that the sender has
the new key; at renewal, a signature by the key before proves for each certificate that it is the same holder.
So whoever has stolen the key of one plane can renew on that plane, and on no other.
"""

import struct

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa

from keyweave.common.errors import InvalidInputError
from keyweave.common.pki import PrivateKey, PublicKey

_RENEWAL = b"keyweave-renewal-1\0"


def make_request(key: PrivateKey) -> bytes:
    """A request (PEM) to certify the public half of `key`."""
    algorithm = None if isinstance(key, mldsa.MLDSA65PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, algorithm)
    return request.public_bytes(serialization.Encoding.PEM)


def requested_key(field: str, request: str | bytes, *, signing: bool) -> PublicKey:
    """The key that a request wants certified; InvalidInputError unless it is of the right kind."""
    try:
        parsed = x509.load_pem_x509_csr(request.encode() if isinstance(request, str) else request)
        key, proven = parsed.public_key(), parsed.is_signature_valid
    except (ValueError, TypeError) as error:
        raise InvalidInputError.of(field, f"is no certificate request that can be read: {error}") from None
    except Exception as error:  # noqa: BLE001  # what the library lets out for algorithms it does not have
        raise InvalidInputError.of(field, f"is of a kind not used here: {type(error).__name__}") from None
    if not proven:
        raise InvalidInputError.of(field, "is not signed by the key that it names")
    if signing:
        if not isinstance(key, mldsa.MLDSA65PublicKey):
            raise InvalidInputError.of(field, "must be for an ML-DSA-65 key")
    elif not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        raise InvalidInputError.of(field, "must be for an EC P-256 key")
    assert isinstance(key, PublicKey)
    return key


def sign_renewal(key: PrivateKey, kind: str, request: bytes, at: int) -> bytes:
    """The holder's word, by its present key, that `request` is its own, given at unix second `at`."""
    statement = _statement(kind, request, at)
    if isinstance(key, mldsa.MLDSA65PrivateKey):
        return key.sign(statement, _RENEWAL)
    return key.sign(statement, ec.ECDSA(hashes.SHA256()))


def renewal_is_signed(key: object, signature: bytes, kind: str, request: bytes, at: int) -> bool:
    """Whether the holder of `key` has signed this renewal."""
    statement = _statement(kind, request, at)
    try:
        if isinstance(key, mldsa.MLDSA65PublicKey):
            key.verify(signature, statement, _RENEWAL)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, statement, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _statement(kind: str, request: bytes, at: int) -> bytes:
    name = kind.encode()
    return _RENEWAL + struct.pack("!B", len(name)) + name + struct.pack("!Q", at) + request
