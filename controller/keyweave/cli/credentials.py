"""Trust anchors and certificates for a network to try out; an operator's own PKI replaces them."""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from keyweave.cli.state_dir import StateDir
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority, Credential, write_private
from keyweave.common.tls import TlsFiles

_HOSTS = ("localhost", "127.0.0.1")
# A certificate that would run out sooner is issued anew.
_LEAST_REMAINING = dt.timedelta(days=7)


class Credentials:
    """Everything below DIR/pki. What is there and still good is kept, so that clients need not change."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        state.pki.mkdir(parents=True, exist_ok=True)
        private = state.pki / "private"
        private.mkdir(mode=0o700, exist_ok=True)
        self._anchors = {
            Plane.CONTROL: state.pki / "control-ca.pem",
            Plane.KEY: state.pki / "key-ca.pem",
            Plane.SAE: state.pki / "ca.pem",
        }
        self._authorities = {
            plane: _authority(plane, anchor, private / f"{plane}-ca-key.pem")
            for plane, anchor in self._anchors.items()
        }

    def operator(self) -> TlsFiles:
        """The operator's certificate."""
        files = self._state.operator_tls()
        return self._provide(Identity(Plane.CONTROL, Role.OPERATOR, "operator"), files, hosts=())

    def saes(self, sae_ids: Iterable[str]) -> None:
        """A certificate for each application."""
        for sae_id in sorted(set(sae_ids)):
            files = TlsFiles(
                certificate=self._state.sae_certificate(sae_id),
                private_key=self._state.sae_key(sae_id),
                trust_anchor=self._anchors[Plane.SAE],
            )
            self._provide(Identity(Plane.SAE, Role.SAE, sae_id), files, hosts=())

    def process(self, process: str, name: str, identity: Identity) -> TlsFiles:
        """A process's certificate for one plane, in DIR/pki/<process>/<name>.pem."""
        directory = self._state.pki / process
        directory.mkdir(exist_ok=True)
        files = TlsFiles(
            certificate=directory / f"{name}.pem",
            private_key=directory / f"{name}-key.pem",
            trust_anchor=self._anchors[identity.plane],
        )
        return self._provide(identity, files, hosts=_HOSTS)

    def _provide(self, identity: Identity, files: TlsFiles, *, hosts: tuple[str, ...]) -> TlsFiles:
        if not (files.private_key.is_file() and _is_good(files.certificate, files.trust_anchor, identity)):
            credential = self._authorities[identity.plane].issue(identity, hosts=hosts)
            credential.write(files.certificate, files.private_key)
        return files


def _authority(plane: Plane, certificate: Path, key: Path) -> Authority:
    if certificate.is_file() and key.is_file():
        return Authority(plane, Credential(certificate.read_bytes(), key.read_bytes()))
    authority = Authority.create(plane)
    write_private(key, authority.credential.private_key)
    certificate.write_bytes(authority.credential.certificate)
    return authority


def _is_good(certificate_file: Path, anchor_file: Path, identity: Identity) -> bool:
    """Whether this certificate is `identity`'s, from this anchor, and valid for a while."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(anchor_file.read_bytes()))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, InvalidSignature, x509.ExtensionNotFound):
        return False
    remaining = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return identity.uri in uris and remaining > _LEAST_REMAINING
