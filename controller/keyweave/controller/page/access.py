"""Who may see the page: whoever is on this machine, or readers with a certificate of the control plane."""

import ssl
import time
from typing import Protocol
from weakref import WeakKeyDictionary

from aiohttp import web
from cryptography import x509

from keyweave.common.identity import SCHEME, Identity, Plane
from keyweave.common.revocation import Standing, Trust
from keyweave.common.tls import TlsFiles
from keyweave.controller.config import is_loopback
from keyweave.controller.security import READERS

# What a browser sends from another site's page; from our own or the address bar, "same-origin" or "none".
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})


class Access(Protocol):
    """Decides request by request; asked again for as long as a connection is open."""

    def refusal(self, request: web.Request) -> str:
        """Why `request` is refused; empty where it may pass."""


class LocalAccess:
    """Loopback only, without certificates.

    A page of another site could have its own name lead to our address (DNS rebinding) and so read what a
    browser on this machine can; then that name stands in `Host`.
    """

    def refusal(self, request: web.Request) -> str:
        """Only names of loopback addresses are answered."""
        if not is_loopback(host_name(request.headers.get("Host", ""))):
            return "this page answers to localhost and loopback addresses only"
        return foreign(request)


class CertificateAccess:
    """Mutual TLS: an operator's or viewer's certificate of the control plane, for as long as it is good."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._callers: WeakKeyDictionary[ssl.SSLObject, tuple[Standing, str]] = WeakKeyDictionary()

    def refusal(self, request: web.Request) -> str:
        """Judge the certificate that the connection was made with, by what is known of it now."""
        connection = request.transport.get_extra_info("ssl_object") if request.transport else None
        certificate = connection.getpeercert(binary_form=True) if connection is not None else None
        if connection is None or certificate is None:
            return "a client certificate is required: connect over mutual TLS"
        known = self._callers.get(connection)
        if known is None:
            parsed = x509.load_der_x509_certificate(certificate)
            known = self._callers[connection] = self._trust.standing(parsed), _not_a_reader(parsed)
        standing, wrong = known
        reason = self._trust.refusal(standing, time.time())
        if wrong or reason:
            return wrong or f"the client certificate is no longer good: {reason}"
        return foreign(request)


def foreign(request: web.Request) -> str:
    """Why a request that another site's page made is refused; empty for others.

    Such a page could not read the answer, but it could use up the places for open pages. A link that people
    follow to us is no such request.
    """
    told = request.headers
    followed = told.get("Sec-Fetch-Mode") == "navigate" and told.get("Sec-Fetch-Dest") == "document"
    if told.get("Sec-Fetch-Site") in _FOREIGN_SITES and not followed:
        return "pages of other sites may not read this one"
    return ""


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.3 only; no client without a certificate of the control plane gets in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=files.trust_anchor)
    context.load_cert_chain(files.certificate, files.private_key)
    context.set_alpn_protocols(["http/1.1"])
    # A resumed session is not verified again, so a certificate could outlive its expiry in a ticket.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


def host_name(host: str) -> str:
    """The name or address in a `Host` header or an address of ours, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _not_a_reader(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        (identity,) = (Identity.parse(uri) for uri in uris if uri.startswith(SCHEME))
    except (x509.ExtensionNotFound, ValueError):
        return f"the client certificate carries no single {SCHEME} URI"
    if identity.plane is not Plane.CONTROL or identity.role not in READERS:
        return f"{identity.uri} is no {' or '.join(sorted(READERS))} of the {Plane.CONTROL} plane"
    return ""
