"""An agent's own signing key, and whose signatures it believes: ML-DSA-65 (FIPS 204), bound at enrolment.

The signing authority is a trust anchor of its own, post-quantum from root to leaf. Its certificates reach an
agent as files, from whoever enrols it; the controller neither has nor hands over any of them.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from keyweave.agent import crypto
from keyweave.agent.keyplane.failure import RevokedError, SignatureError
from keyweave.common import log
from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import SCHEME, Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.common.revocation import Standing, Trust
from keyweave.common.tls import SigningFiles, TlsFiles

# An ML-DSA-65 certificate of ours has about 5,500 bytes.
MAX_CERTIFICATE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Signer:
    """This agent's signing key with its certificate (DER)."""

    certificate: bytes
    key: crypto.SigningKey = field(repr=False)

    @classmethod
    def read(cls, files: SigningFiles, node: NodeName) -> "Signer":
        """InvalidInputError where the files are not an enrolment of `node`."""
        try:
            certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
            key = serialization.load_pem_private_key(files.private_key.read_bytes(), password=None)
        except OSError as error:
            raise InvalidInputError.of(str(error.filename), f"cannot be read: {error.strerror}") from None
        except (ValueError, TypeError) as error:
            raise InvalidInputError.of(str(files.certificate), f"with its key: {error}") from None
        if not isinstance(key, crypto.SigningKey):
            raise InvalidInputError.of(str(files.private_key), "is not an ML-DSA-65 key")
        if certificate.public_key() != key.public_key():
            raise InvalidInputError.of(str(files.private_key), f"is not the key of {files.certificate}")
        if _uris(certificate) != [agent_identity(node).uri]:
            raise InvalidInputError.of(str(files.certificate), f"is not {agent_identity(node).uri}")
        return cls(certificate.public_bytes(serialization.Encoding.DER), key)

    def sign(self, context: bytes, statement: bytes) -> bytes:
        """Sign; `context` says what for, so that no signature can stand for another kind of thing."""
        return self.key.sign(statement, context)


@dataclass(frozen=True, slots=True)
class Verifier:
    """A peer's key as its certificate has it, vetted."""

    standing: Standing
    key: crypto.VerifyingKey

    def verify(self, context: bytes, signature: bytes, statement: bytes) -> bool:
        """Whether `signature` is the peer's, over `statement`, for `context`."""
        return crypto.mldsa_verify(self.key, signature, statement, context)


class Enrolment:
    """What this agent is on the key plane, and whom it believes there, as the files say now."""

    def __init__(self, node: NodeName, tls: TlsFiles, signing: SigningFiles) -> None:
        self.tls = tls
        self.tls_trust = Trust("key", tls)
        self.signing_trust = Trust("key signing", signing)
        self.signer = Signer.read(signing, node)
        self._node = node
        self._files = signing

    @property
    def own_paths(self) -> tuple[Path, ...]:
        """The files of this agent's own credentials."""
        return (*self.tls.paths, self._files.certificate, self._files.private_key)

    def reload_signer(self) -> None:
        """Sign with the key on disk from the next session on; keep the one before where it is bad."""
        try:
            self.signer = Signer.read(self._files, self._node)
        except InvalidInputError as error:
            log.get().error("signing_key_not_taken", reason=str(error), kept="the one before")
        else:
            log.get().info("signing_key_taken", file=str(self._files.certificate))

    def vet(self, node: NodeName, certificate: bytes) -> Verifier:
        """The signing key that `node` shows (DER); SignatureError unless it was enrolled, RevokedError."""
        if not certificate:
            raise SignatureError(f"{node} shows no signing certificate")
        if len(certificate) > MAX_CERTIFICATE_BYTES:
            raise SignatureError(f"the signing certificate of {node} has {len(certificate)} bytes")
        try:
            parsed = x509.load_der_x509_certificate(certificate)
            key, uris = parsed.public_key(), _uris(parsed)
            usage = parsed.extensions.get_extension_for_class(x509.KeyUsage).value
            begins = parsed.not_valid_before_utc.timestamp()
        except (ValueError, x509.ExtensionNotFound):
            raise SignatureError(f"the signing certificate of {node} cannot be read") from None
        if not isinstance(key, crypto.VerifyingKey) or not usage.digital_signature:
            raise SignatureError(f"the signing certificate of {node} is not for ML-DSA-65 signatures")
        if uris != [agent_identity(node).uri]:
            raise SignatureError(f"the signing certificate of {node} names somebody else")
        standing = self.signing_trust.standing(parsed)
        if not standing.anchor:
            raise SignatureError(
                f"the signing certificate of {node} is from no authority that is trusted here"
            )
        now = time.time()
        if now < begins:
            raise SignatureError(f"the signing certificate of {node} is not valid yet")
        reason = self.signing_trust.refusal(standing, now)
        if reason:
            raise RevokedError(f"{node} {reason}")
        return Verifier(standing, key)


def agent_identity(node: NodeName) -> Identity:
    """An agent as certificates of the key plane name it, for TLS and for signing."""
    return Identity(Plane.KEY, Role.AGENT, node)


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [u for u in names.get_values_for_type(x509.UniformResourceIdentifier) if u.startswith(SCHEME)]
