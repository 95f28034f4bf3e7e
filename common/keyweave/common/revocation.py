"""Which certificates are no longer good: expired, revoked, or issued by an anchor that is trusted no more.

TLS looks at a certificate once, at the handshake; connections of ours live for days. So whoever was let in is
remembered by a `Standing`, and asked about again for as long as the connection lives.

Revocation lists are X.509 CRLs (RFC 5280, section 5), complete ones, each signed by the trust anchor whose
certificates it lists. One that cannot be read, does not verify or is older than the one in force is not
taken; the last good one stays, also beyond its time: no revoked certificate becomes good because news stay
away.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from keyweave.common import log
from keyweave.common.errors import InvalidInputError
from keyweave.common.tls import CredentialFiles

# The system's clock may be set: what depends on it is looked at again after this, in seconds.
LOOK_AGAIN_SECONDS = 30.0
_CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\n?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered of a verified certificate: by which anchor, its number, its end (unix seconds).

    `anchor` is the SHA-256 of the anchor's public key; empty where no anchor issued it directly.
    """

    anchor: bytes
    serial: int
    not_after: float


@dataclass(frozen=True, slots=True)
class _List:
    """A revocation list that verified."""

    this_update: float
    next_update: float
    serials: frozenset[int]


class Trust:
    """The anchors of one plane and what they have revoked, as their files say now."""

    def __init__(self, name: str, files: CredentialFiles) -> None:
        self.name = name
        # Why the files on disk are not, or not all, in force; empty where they are.
        self.problem = ""
        self._anchor_file = files.trust_anchor
        self._list_file = files.revocation_list
        self._anchors = _read_anchors(files.trust_anchor)
        self._lists: Mapping[bytes, _List] = {}
        self._changed = asyncio.Event()
        if self._list_file is not None:
            self._lists = self._read_lists(self._list_file)
        self._note_problem(self._missing())

    @property
    def paths(self) -> tuple[Path, ...]:
        """What is read."""
        return (self._anchor_file,) if self._list_file is None else (self._anchor_file, self._list_file)

    def reload(self) -> None:
        """Take up what is on disk now, as far as it is good."""
        problem = ""
        try:
            anchors = _read_anchors(self._anchor_file)
            self._anchors = anchors
            if self._list_file is not None:
                self._lists = self._read_lists(self._list_file)
        except (InvalidInputError, OSError) as error:
            problem = str(error)
        else:
            log.get().info(
                "trust_reloaded",
                plane=self.name,
                anchors=len(self._anchors),
                revoked=sum(len(each.serials) for each in self._lists.values()),
            )
        self._note_problem(problem or self._missing())
        self._changed.set()
        self._changed = asyncio.Event()

    def current(self, now: float) -> bool:
        """Whether what is on disk is in force and no list has outlived its time."""
        return not self.problem and all(now < each.next_update for each in self._lists.values())

    def standing(self, certificate: x509.Certificate) -> Standing:
        """What to remember of a certificate."""
        anchor = next((key for key, each in self._anchors.items() if _issued_by(certificate, each)), b"")
        return Standing(anchor, certificate.serial_number, certificate.not_valid_after_utc.timestamp())

    def refusal(self, standing: Standing, now: float) -> str:
        """Why a certificate is no longer good (at unix time `now`); empty while it is."""
        if standing.not_after < now:
            return "expired: its certificate is no longer valid"
        if not standing.anchor:
            return "revocation unknown: no trust anchor issued it directly" if self._list_file else ""
        if standing.anchor not in self._anchors:
            return "its trust anchor was withdrawn"
        revoked = self._lists.get(standing.anchor)
        if revoked is not None and standing.serial in revoked.serials:
            return f"revoked: certificate {standing.serial:x} is on the revocation list"
        return ""

    async def until_refused(self, standing: Standing) -> str:
        """Return once a certificate is no longer good, with the reason."""
        while not (reason := self.refusal(standing, time.time())):
            left = max(0.0, standing.not_after - time.time()) + 0.01
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_AGAIN_SECONDS)):
                    await self._changed.wait()
        return reason

    def _read_lists(self, path: Path) -> dict[bytes, _List]:
        """The lists in a file, and those in force of anchors that it is silent about."""
        found = {anchor: each for anchor, each in self._lists.items() if anchor in self._anchors}
        blocks = _CRL_BLOCK.findall(_read(path))
        if not blocks:
            raise InvalidInputError.of(str(path), "holds no revocation list (BEGIN X509 CRL)")
        for block in blocks:
            anchor, read = self._verified(path, block)
            before = found.get(anchor)
            if before is not None and read.this_update < before.this_update:
                raise InvalidInputError.of(str(path), "holds a list that is older than the one in force")
            found[anchor] = read
        return found

    def _verified(self, path: Path, block: bytes) -> tuple[bytes, _List]:
        try:
            crl = x509.load_pem_x509_crl(block)
            # Partial, indirect and delta lists say so in a critical extension (RFC 5280, section 5.2).
            partial = any(extension.critical for extension in crl.extensions)
            anchor = next((key for key, each in self._anchors.items() if _signed_by(crl, each)), None)
        except ValueError as error:
            raise InvalidInputError.of(str(path), f"holds a list that cannot be read: {error}") from None
        if partial or crl.next_update_utc is None:
            raise InvalidInputError.of(str(path), "holds a list that is partial, indirect or without end")
        if anchor is None:
            raise InvalidInputError.of(
                str(path), f"holds a list that no anchor in {self._anchor_file} signed"
            )
        serials = frozenset(entry.serial_number for entry in crl)
        return anchor, _List(crl.last_update_utc.timestamp(), crl.next_update_utc.timestamp(), serials)

    def _missing(self) -> str:
        if self._list_file is None or self._anchors.keys() <= self._lists.keys():
            return ""
        return f"{self._list_file}: holds no list of one of the anchors in {self._anchor_file}"

    def _note_problem(self, problem: str) -> None:
        self.problem = problem
        if problem:
            log.get().error("trust_not_taken", plane=self.name, reason=problem, kept="what was in force")


def _issued_by(certificate: x509.Certificate, anchor: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(anchor)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _signed_by(crl: x509.CertificateRevocationList, anchor: x509.Certificate) -> bool:
    key = anchor.public_key()
    try:
        return crl.issuer == anchor.subject and crl.is_signature_valid(key)  # type: ignore[arg-type]
    except (TypeError, UnsupportedAlgorithm):
        return False


def _read_anchors(path: Path) -> dict[bytes, x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise InvalidInputError.of(str(path), f"holds no certificates that can be read: {error}") from None
    return {_key_hash(each): each for each in certificates}


def _key_hash(anchor: x509.Certificate) -> bytes:
    # Of the key, not of the certificate: an anchor that is renewed with its key stays the same anchor.
    key = anchor.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return sha256(key).digest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError.of(str(path), f"cannot be read: {error.strerror}") from None
