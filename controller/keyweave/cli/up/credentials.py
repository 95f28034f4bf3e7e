"""Trust anchors and certificates for a network to try out; an operator's own PKI replaces them."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from keyweave.cli.state_dir import StateDir
from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.pki import Authority, Credential, hosts_of, identity_of, write_private
from keyweave.common.tls import CredentialFiles, SigningFiles, TlsFiles

_HOSTS = ("localhost", "127.0.0.1")
# A certificate that would run out sooner is issued anew.
_LEAST_REMAINING = dt.timedelta(days=7)


@dataclass(frozen=True, slots=True)
class _Anchor:
    """One authority: its name in file names, its plane, and whether its keys sign instead of doing TLS."""

    name: str
    plane: Plane
    certificate: str
    signing: bool = False


_ANCHORS = (
    _Anchor("control", Plane.CONTROL, "control-ca.pem"),
    _Anchor("key", Plane.KEY, "key-ca.pem"),
    _Anchor("sae", Plane.SAE, "ca.pem"),
    _Anchor("key-signing", Plane.KEY, "key-signing-ca.pem", signing=True),
)


class Credentials:
    """Everything below DIR/pki. What is there and still good is kept, so that clients need not change."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        state.pki.mkdir(parents=True, exist_ok=True)
        private = state.pki / "private"
        private.mkdir(mode=0o700, exist_ok=True)
        self._authorities: Mapping[str, Authority] = {
            anchor.name: _authority(anchor, state.pki, private / f"{anchor.name}-ca-key.pem")
            for anchor in _ANCHORS
        }
        for anchor in _ANCHORS:
            if not self._list(anchor.name).is_file():
                self._list(anchor.name).write_bytes(self._authorities[anchor.name].revoke((), number=1))

    def operator(self) -> TlsFiles:
        """The operator's certificate."""
        files = self._state.operator_tls()
        self._provide("control", Identity(Plane.CONTROL, Role.OPERATOR, "operator"), files, hosts=())
        return files

    def saes(self, sae_ids: Iterable[str]) -> None:
        """A certificate for each application."""
        for sae_id in sorted(set(sae_ids)):
            files = TlsFiles(
                certificate=self._state.sae_certificate(sae_id),
                private_key=self._state.sae_key(sae_id),
                trust_anchor=self._anchor("sae"),
            )
            self._provide("sae", Identity(Plane.SAE, Role.SAE, sae_id), files, hosts=())

    def process(self, process: str, name: str, identity: Identity) -> TlsFiles:
        """A process's certificate for one plane, in DIR/pki/<process>/<name>.pem."""
        files = TlsFiles(**self._paths(process, name, identity.plane))
        self._provide(identity.plane, identity, files, hosts=_HOSTS)
        return files

    def signing(self, process: str, node: str) -> SigningFiles:
        """An agent's enrolment with the signing authority, in DIR/pki/<process>/signing.pem."""
        files = SigningFiles(**self._paths(process, "signing", "key-signing"))
        self._provide("key-signing", Identity(Plane.KEY, Role.AGENT, node), files, hosts=())
        return files

    def renew(self, certificate: Path) -> Identity:
        """Put a new certificate and key in place of those in a file below DIR/pki."""
        name, parsed = self._issued(certificate)
        identity = identity_of(parsed)
        hosts = hosts_of(parsed)
        credential = self._authorities[name].issue(identity, hosts=hosts)
        credential.write(certificate, certificate.with_name(f"{certificate.stem}-key.pem"))
        return identity

    def revoke(self, certificate: Path) -> int:
        """Put the certificate in a file on its authority's revocation list; returns its serial number."""
        name, parsed = self._issued(certificate)
        before = x509.load_pem_x509_crl(self._list(name).read_bytes())
        serials = {entry.serial_number for entry in before} | {parsed.serial_number}
        number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
        replacement = self._list(name).with_suffix(".new")
        replacement.write_bytes(self._authorities[name].revoke(sorted(serials), number=number))
        replacement.replace(self._list(name))
        return parsed.serial_number

    def _issued(self, certificate: Path) -> tuple[str, x509.Certificate]:
        try:
            parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
        except OSError as error:
            raise InvalidInputError.of(str(certificate), f"cannot be read: {error.strerror}") from None
        except ValueError:
            raise InvalidInputError.of(str(certificate), "holds no certificate") from None
        for name in self._authorities:
            if _issued_by(parsed, self._anchor(name)):
                return name, parsed
        raise InvalidInputError.of(str(certificate), f"is from none of the authorities in {self._state.pki}")

    def _paths(self, process: str, name: str, anchor: str) -> dict[str, Path]:
        directory = self._state.pki / process
        directory.mkdir(exist_ok=True)
        return {
            "certificate": directory / f"{name}.pem",
            "private_key": directory / f"{name}-key.pem",
            "trust_anchor": self._anchor(anchor),
            "revocation_list": self._list(anchor),
        }

    def _anchor(self, name: str) -> Path:
        return self._state.pki / next(each.certificate for each in _ANCHORS if each.name == name)

    def _list(self, name: str) -> Path:
        return self._state.pki / f"{name}-crl.pem"

    def _provide(
        self, anchor: str, identity: Identity, files: CredentialFiles, *, hosts: tuple[str, ...]
    ) -> None:
        if not (files.private_key.is_file() and _is_good(files.certificate, files.trust_anchor, identity)):
            credential = self._authorities[anchor].issue(identity, hosts=hosts)
            credential.write(files.certificate, files.private_key)


def _authority(anchor: _Anchor, directory: Path, key: Path) -> Authority:
    certificate = directory / anchor.certificate
    if certificate.is_file() and key.is_file():
        return Authority(anchor.plane, Credential(certificate.read_bytes(), key.read_bytes()))
    authority = Authority.create(anchor.plane, signing=anchor.signing)
    write_private(key, authority.credential.private_key)
    certificate.write_bytes(authority.credential.certificate)
    return authority


def _issued_by(certificate: x509.Certificate, anchor_file: Path) -> bool:
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(anchor_file.read_bytes()))
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_good(certificate_file: Path, anchor_file: Path, identity: Identity) -> bool:
    """Whether this certificate is `identity`'s, from this anchor, and valid for a while."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    remaining = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    issued = _issued_by(certificate, anchor_file)
    return issued and identity.uri in uris and remaining > _LEAST_REMAINING
