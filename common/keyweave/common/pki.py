"""Trust anchors, certificates and revocation lists, as `keyweave pki`, `keyweave up` and tests issue them.

An operator's own PKI may issue the same; docs/security.md says what must be in them. TLS keys are EC P-256;
the key exchange that protects the content is post-quantum (see identity.py). The agents' signing keys, and
the authority that enrols them, are ML-DSA-65 (FIPS 204) throughout.
"""

import datetime as dt
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keyweave.common.identity import SCHEME, Identity, Plane

CLOCK_SKEW = dt.timedelta(minutes=5)
CA_DAYS = 3650
LEAF_DAYS = 365

PrivateKey = ec.EllipticCurvePrivateKey | mldsa.MLDSA65PrivateKey
PublicKey = ec.EllipticCurvePublicKey | mldsa.MLDSA65PublicKey


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    private_key: bytes

    def write(self, certificate_path: Path, key_path: Path) -> None:
        """Write both files; only their owner may read the key."""
        write_private(key_path, self.private_key)
        certificate_path.write_bytes(self.certificate)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


class Authority:
    """A trust anchor: of a plane's TLS certificates, or of the agents' signing keys."""

    def __init__(self, plane: Plane, credential: Credential) -> None:
        self.plane = plane
        self.credential = credential
        self._certificate = x509.load_pem_x509_certificate(credential.certificate)
        key = serialization.load_pem_private_key(credential.private_key, password=None)
        assert isinstance(key, PrivateKey)
        self._key = key

    @property
    def signing(self) -> bool:
        """Whether it enrols agents' ML-DSA-65 keys instead of TLS keys."""
        return isinstance(self._key, mldsa.MLDSA65PrivateKey)

    @property
    def certificate(self) -> x509.Certificate:
        """Its own, the trust anchor."""
        return self._certificate

    @classmethod
    def create(cls, plane: Plane, *, signing: bool = False) -> "Authority":
        """A new self-signed trust anchor; with `signing` one that enrols agents' ML-DSA-65 keys."""
        key = new_key(signing=signing)
        name = _name(f"Keyweave {plane} plane{' signing' if signing else ''}")
        builder = (
            _builder(name, name, key.public_key(), dt.timedelta(days=CA_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(sign_certificates=True), critical=True)
        )
        return cls(plane, Credential(_pem(builder.sign(key, _hash_for(key))), key_pem(key)))

    def issue(
        self,
        identity: Identity,
        *,
        hosts: tuple[str, ...] = (),
        valid_for: dt.timedelta = dt.timedelta(days=LEAF_DAYS),
    ) -> Credential:
        """A new key and a certificate of it; see `certify`."""
        key = new_key(signing=self.signing)
        certificate = self.certify(key.public_key(), identity, hosts=hosts, valid_for=valid_for)
        return Credential(certificate, key_pem(key))

    def certify(
        self,
        public_key: PublicKey,
        identity: Identity,
        *,
        hosts: tuple[str, ...] = (),
        valid_for: dt.timedelta = dt.timedelta(days=LEAF_DAYS),
    ) -> bytes:
        """A certificate (PEM) for `identity`, also valid as server for `hosts` (DNS names or IP addresses).

        A negative `valid_for` makes one that has expired (for tests). A signing authority's certificates
        name their holder by URI only: they are not for TLS.
        """
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
        if not self.signing:
            names += [_general_name(host) for host in (*_dns_names(identity), *hosts)]
        builder = (
            _builder(_name(identity.name), self._certificate.subject, public_key, valid_for)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if not self.signing:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(usage, critical=False)
        return _pem(builder.sign(self._key, _hash_for(self._key)))

    def revoke(
        self, serials: Iterable[int], *, number: int, valid_for: dt.timedelta = dt.timedelta(days=CA_DAYS)
    ) -> bytes:
        """A revocation list (PEM) of these serial numbers; a negative `valid_for` makes an expired one."""
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(min(now, now + valid_for) - CLOCK_SKEW)
            .next_update(now + valid_for)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self._key, _hash_for(self._key)).public_bytes(serialization.Encoding.PEM)


def serial_of(certificate: bytes) -> int:
    """The serial number of a PEM certificate."""
    return x509.load_pem_x509_certificate(certificate).serial_number


def identity_of(certificate: x509.Certificate) -> Identity:
    """Who a certificate of ours says its holder is; ValueError where it is not one of ours."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise ValueError("the certificate names nobody") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    (uri,) = (uri for uri in uris if uri.startswith(SCHEME))
    return Identity.parse(uri)


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and addresses of a certificate besides its holder's own name."""
    own = identity_of(certificate).dns_name
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = (name for name in names.get_values_for_type(x509.DNSName) if name != own)
    return (*dns, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


def new_key(*, signing: bool) -> PrivateKey:
    """A new key: ML-DSA-65 to sign with, else EC P-256 for TLS."""
    return mldsa.MLDSA65PrivateKey.generate() if signing else ec.generate_private_key(ec.SECP256R1())


def _hash_for(key: PrivateKey) -> hashes.SHA256 | None:
    # ML-DSA hashes by itself (FIPS 204, section 5).
    return None if isinstance(key, mldsa.MLDSA65PrivateKey) else hashes.SHA256()


def _dns_names(identity: Identity) -> tuple[str, ...]:
    # An SAE's ID may hold characters that no DNS name can; nobody dials an SAE anyway.
    return () if identity.plane is Plane.SAE and identity.role == "sae" else (identity.dns_name,)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: PublicKey, valid_for: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + valid_for) - CLOCK_SKEW)
        .not_valid_after(now + valid_for)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: PrivateKey) -> bytes:
    """A private key as it is stored where no passphrase protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
