"""When this process's own certificates end, for whoever watches over it."""

from pathlib import Path

from cryptography import x509

from keyweave.common.file_watch import Stamp, stamp
from keyweave.common.tls import CredentialFiles


class CertificateExpiry:
    """The end of what a certificate file holds now; the file is read again when it has changed."""

    def __init__(self, files: CredentialFiles) -> None:
        self._path: Path = files.certificate
        self._read: Stamp | None = None
        self._not_after = 0.0

    def not_after(self) -> float:
        """Unix seconds at which the first of the chain ends; as last read while the file cannot be read."""
        now = stamp((self._path,))
        if now != self._read:
            try:
                chain = x509.load_pem_x509_certificates(self._path.read_bytes())
            except (OSError, ValueError):
                return self._not_after
            self._not_after = min(each.not_valid_after_utc.timestamp() for each in chain)
            self._read = now
        return self._not_after
