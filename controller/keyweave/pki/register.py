"""What the authorities of a network have issued and revoked: the part of their directory that needs no key.

    DIR/trust/     control-ca.pem, control-crl.pem, ... : public, copied to every machine
    DIR/private/   the anchors' keys, under a passphrase unless their owner wants none
    DIR/issued/    every certificate, by authority and serial number
    DIR/tokens/    one-time tokens by the hash of their secret
    DIR/service/   the enrolment service's own certificate and key
    DIR/journal.jsonl

One process at a time changes anything: commands and the service take the same lock.
"""

import datetime as dt
import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Identity, Plane
from keyweave.common.pki import identity_of
from keyweave.pki.holders import CONTROL, KEY, SAE, SIGNING
from keyweave.pki.journal import Journal

ANCHORS: Mapping[str, Plane] = {CONTROL: Plane.CONTROL, KEY: Plane.KEY, SAE: Plane.SAE, SIGNING: Plane.KEY}


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that an authority has issued."""

    authority: str
    certificate: x509.Certificate
    revoked: bool

    @property
    def identity(self) -> Identity:
        """Whom it names."""
        return identity_of(self.certificate)

    @property
    def serial(self) -> int:
        """Its number."""
        return self.certificate.serial_number

    @property
    def ends(self) -> dt.datetime:
        """When it expires."""
        return self.certificate.not_valid_after_utc


class Register:
    """A directory of authorities as everybody who may read it sees it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = Journal(directory / "journal.jsonl")
        if not (directory / "trust" / f"{CONTROL}-ca.pem").is_file():
            raise InvalidInputError.of("--dir", f"{directory} has no trust anchors; see `keyweave pki init`")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes the directory meanwhile."""
        with (self.directory / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def issued(self) -> tuple[Issued, ...]:
        """Every certificate, the oldest of each authority first."""
        found = []
        for name in ANCHORS:
            revoked = self.revoked(name)
            certificates = [
                x509.load_pem_x509_certificate(file.read_bytes())
                for file in (self.directory / "issued" / name).glob("*.pem")
            ]
            certificates.sort(key=lambda each: (each.not_valid_before_utc, each.not_valid_after_utc))
            found += [Issued(name, each, each.serial_number in revoked) for each in certificates]
        return tuple(found)

    def vouched(self, authority: str, certificate: x509.Certificate, now: dt.datetime) -> Identity:
        """Whom a certificate names, if this authority issued it and it is good; InvalidInputError."""
        try:
            certificate.verify_directly_issued_by(self.anchor(authority))
            identity = identity_of(certificate)
        except (ValueError, TypeError, InvalidSignature):
            raise InvalidInputError.of(authority, "the certificate is not from this authority") from None
        if not self.has(authority, certificate.serial_number):
            raise InvalidInputError.of(authority, "the certificate is not in this authority's register")
        if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
            raise InvalidInputError.of(authority, "the certificate has expired; enrol with a new token")
        if certificate.serial_number in self.revoked(authority):
            raise InvalidInputError.of(authority, "the certificate is revoked")
        return identity

    def has(self, authority: str, serial: int) -> bool:
        """Whether an authority has issued this number."""
        return self.issued_file(authority, serial).is_file()

    def revoked(self, authority: str) -> set[int]:
        """The numbers on an authority's list."""
        return {entry.serial_number for entry in self.revocation_list(authority)}

    def revocation_list(self, authority: str) -> x509.CertificateRevocationList:
        """An authority's list."""
        return x509.load_pem_x509_crl(self.list_file(authority).read_bytes())

    def list_ends(self, authority: str) -> dt.datetime:
        """When the list of an authority has outlived its time."""
        ends = self.revocation_list(authority).next_update_utc
        assert ends is not None
        return ends

    def anchor(self, authority: str) -> x509.Certificate:
        """A trust anchor."""
        return x509.load_pem_x509_certificate(self.anchor_file(authority).read_bytes())

    def trust_files(self) -> dict[str, str]:
        """The anchors and lists as every machine has them, by file name."""
        files = [file(name) for name in ANCHORS for file in (self.anchor_file, self.list_file)]
        return {file.name: file.read_text(encoding="ascii") for file in files}

    def anchor_file(self, authority: str) -> Path:
        """Where a trust anchor is."""
        return self.directory / "trust" / f"{authority}-ca.pem"

    def list_file(self, authority: str) -> Path:
        """Where an authority's revocation list is."""
        return self.directory / "trust" / f"{authority}-crl.pem"

    def issued_file(self, authority: str, serial: int) -> Path:
        """Where a certificate that was issued is kept."""
        return self.directory / "issued" / authority / f"{serial:x}.pem"
