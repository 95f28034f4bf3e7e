"""Who is asking: the SAE that a client certificate names.

The TLS layer has verified the chain against the SAE plane's trust anchor before anything here runs. A
connection's certificate never changes, so it is parsed once per connection.
"""

import ssl
import time
from dataclasses import dataclass
from enum import StrEnum
from weakref import WeakKeyDictionary

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from keyweave.agent.etsi014.supply import Refusal, SupplyError
from keyweave.common.identity import SCHEME, Identity, Plane, Role
from keyweave.common.names import SaeId
from keyweave.common.revocation import Standing, Trust

MAX_SAE_ID_CHARACTERS = 128  # as streams have them (keyweave.v1.Stream)


class SaeIdFrom(StrEnum):
    """Which part of a client certificate is the SAE's ID."""

    # The name in the URI `keyweave://sae/sae/<ID>`.
    URI = "uri"
    # The one DNS name among the subject alternative names.
    DNS = "dns"
    # The one common name of the subject.
    CN = "cn"
    # SHA-256 over the DER certificate, 64 lower-case hexadecimal digits.
    FINGERPRINT = "fingerprint"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated SAE, and the certificate that says so."""

    sae_id: SaeId
    standing: Standing


def sae_id(certificate: bytes, source: SaeIdFrom) -> SaeId:
    """The SAE that a verified DER certificate names; SupplyError (401) where it names none."""
    return caller(certificate, source).sae_id


def caller(certificate: bytes, source: SaeIdFrom, trust: Trust | None = None) -> Caller:
    """Like `sae_id`, with what is to be remembered of the certificate."""
    parsed = x509.load_der_x509_certificate(certificate)
    try:
        name = _name(parsed, source)
    except ValueError as error:
        raise SupplyError(
            Refusal.NOT_ALLOWED, f"the client certificate names no SAE (SAE ID from {source}): {error}"
        ) from None
    end = parsed.not_valid_after_utc.timestamp()
    return Caller(SaeId(name), trust.standing(parsed) if trust else Standing(b"", parsed.serial_number, end))


class Callers:
    """The caller behind each open connection."""

    def __init__(self, source: SaeIdFrom, trust: Trust | None = None) -> None:
        self._source = source
        self._trust = trust
        self._by_connection: WeakKeyDictionary[ssl.SSLObject, Caller] = WeakKeyDictionary()

    def of(self, request: web.Request) -> SaeId:
        """Who sent `request`; SupplyError (401) unless a certificate that is still valid says so."""
        transport = request.transport
        connection = None if transport is None else transport.get_extra_info("ssl_object")
        if connection is None:
            raise SupplyError(
                Refusal.NOT_ALLOWED, "a client certificate is required: connect over mutual TLS"
            )
        known = self._by_connection.get(connection)
        if known is None:
            certificate = connection.getpeercert(binary_form=True)
            if certificate is None:
                raise SupplyError(Refusal.NOT_ALLOWED, "a client certificate is required")
            known = self._by_connection[connection] = caller(certificate, self._source, self._trust)
        # TLS looks at a certificate at the handshake only, and connections may live for days.
        now = time.time()
        if known.standing.not_after < now:
            raise SupplyError(
                Refusal.NOT_ALLOWED,
                "the client certificate has expired since this connection was made: connect with a new one",
            )
        reason = self._trust.refusal(known.standing, now) if self._trust else ""
        if reason:
            raise SupplyError(Refusal.NOT_ALLOWED, f"the client certificate is no longer good: {reason}")
        return known.sae_id


def _name(certificate: x509.Certificate, source: SaeIdFrom) -> str:
    names = _alternative_names(certificate)
    identities = [
        Identity.parse(uri)
        for uri in names.get_values_for_type(x509.UniformResourceIdentifier)
        if uri.startswith(SCHEME)
    ]
    # The SAE plane's anchor vouches for KMEs too, and a KME must not pass for an SAE by its DNS name or CN.
    for identity in identities:
        if (identity.plane, identity.role) != (Plane.SAE, Role.SAE):
            raise ValueError(f"{identity.uri} is not an SAE of the {Plane.SAE} plane")
    match source:
        case SaeIdFrom.URI:
            name = _only([identity.name for identity in identities], f"{SCHEME}sae/sae/<SAE ID> URI")
        case SaeIdFrom.DNS:
            name = _only(names.get_values_for_type(x509.DNSName), "DNS name")
        case SaeIdFrom.CN:
            attributes = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            name = _only([str(attribute.value) for attribute in attributes], "common name")
        case SaeIdFrom.FINGERPRINT:
            name = certificate.fingerprint(hashes.SHA256()).hex()
    if len(name) > MAX_SAE_ID_CHARACTERS:
        raise ValueError(f"the name has {len(name)} characters, more than {MAX_SAE_ID_CHARACTERS}")
    return name


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _only(found: list[str], what: str) -> str:
    # Two names would let the caller be either; nobody could say which one was meant.
    if len(found) != 1 or not found[0]:
        raise ValueError(f"expected exactly one {what}, found {len(found)}")
    return found[0]
