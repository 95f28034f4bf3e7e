"""TLS to receivers."""

import ssl
from pathlib import Path

from keyweave.common.errors import InvalidInputError
from keyweave.controller.exports.config import ClientTls


def client_context(tls: ClientTls, sink: str) -> ssl.SSLContext:
    """TLS 1.2 or later to somebody whom `trust_anchor` vouches for; InvalidInputError names a wrong file."""
    context = trusting(tls.trust_anchor, sink)
    if tls.certificate is not None:
        try:
            context.load_cert_chain(tls.certificate, tls.private_key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise _unreadable(sink, tls.certificate, error) from None
    return context


def trusting(trust_anchor: Path | None, sink: str) -> ssl.SSLContext:
    """TLS to whom these anchors vouch for, or without them to whom this machine trusts."""
    try:
        context = ssl.create_default_context(cafile=trust_anchor)
    except (OSError, ValueError) as error:
        raise _unreadable(sink, trust_anchor, error) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _unreadable(sink: str, path: Path | None, error: Exception) -> InvalidInputError:
    return InvalidInputError.of(f"exports.{sink}", f"{path} cannot be read: {error}")
