"""Certificates of one plane for a benchmark, on disk."""

from pathlib import Path

from keyweave.common.identity import Identity, Plane
from keyweave.common.pki import Authority
from keyweave.common.tls import TlsFiles

HOST = "127.0.0.1"


class Pki:
    """A trust anchor and what it issues."""

    def __init__(self, directory: Path, plane: Plane) -> None:
        self._directory = directory
        self._authority = Authority.create(plane)
        self._anchor = directory / f"{plane}-ca.pem"
        self._anchor.write_bytes(self._authority.credential.certificate)

    def files(self, identity: Identity) -> TlsFiles:
        """A certificate for `identity`."""
        stem = self._directory / f"{identity.role}-{identity.name}"
        files = TlsFiles(
            certificate=stem.with_suffix(".pem"),
            private_key=stem.with_suffix(".key"),
            trust_anchor=self._anchor,
        )
        self._authority.issue(identity, hosts=(HOST,)).write(files.certificate, files.private_key)
        return files
