"""The enrolment service's own certificate, and the fingerprint by which holders of tokens know it."""

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from keyweave.common.pki import PrivateKey, key_pem, new_key
from keyweave.common.process import write_atomically
from keyweave.common.tls import TlsFiles
from keyweave.pki.authorities import PRIVATE, Authorities
from keyweave.pki.holders import CONTROL
from keyweave.pki.messages import SERVICE
from keyweave.pki.register import Register
from keyweave.pki.tokens import public_key_sha256

VALID_DAYS = 365


def service_files(directory: Path) -> TlsFiles:
    """The service's own certificate and key below a directory of authorities."""
    return TlsFiles(
        certificate=directory / "service" / "enrolment.pem",
        private_key=directory / "service" / "enrolment-key.pem",
        trust_anchor=directory / "trust" / "control-ca.pem",
    )


def service_key_sha256(register: Register) -> str:
    """The fingerprint by which holders of tokens know the service."""
    key = serialization.load_pem_private_key(service_files(register.directory).private_key.read_bytes(), None)
    return public_key_sha256(key.public_key())


def provide_service_certificate(authorities: Authorities, now: dt.datetime) -> bool:
    """Certify the service's key where it has no certificate for a while; under `changing`.

    The key stays, and with it the fingerprint in tokens that are out.
    """
    files = service_files(authorities.register.directory)
    if files.certificate.is_file():
        ends = x509.load_pem_x509_certificate(files.certificate.read_bytes()).not_valid_after_utc
        if ends - now > dt.timedelta(days=VALID_DAYS / 3):
            return False
    if files.private_key.is_file():
        key = serialization.load_pem_private_key(files.private_key.read_bytes(), None)
    else:
        key = new_key(signing=False)
        write_atomically(files.private_key, key_pem(key).decode(), mode=PRIVATE)
    assert isinstance(key, PrivateKey)
    valid_for = dt.timedelta(days=VALID_DAYS)
    pem = authorities.certify(CONTROL, key.public_key(), SERVICE, hosts=(), valid_for=valid_for)
    write_atomically(files.certificate, pem.decode())
    return True
