"""Why nobody could be reached, as far as it can be told from here."""

import asyncio
import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from keyweave.common.tls import TlsFiles

_TCP_SECONDS = 2.0


async def is_refused(address: str) -> str:
    """Why no connection comes about at all; empty where somebody listens."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_TCP_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError:
        return "nobody answers there"
    except (OSError, ValueError, OverflowError) as error:
        return "nobody listens there" if isinstance(error, ConnectionRefusedError) else str(error)
    writer.close()
    return ""


def why(address: str, files: TlsFiles, server: str, now: dt.datetime) -> str:
    """What is wrong with a handshake that does not succeed: our certificate, or who is there."""
    found = wrong_certificate(files.certificate, files.trust_anchor, now)
    if found:
        return f"{address}: {found}"
    return (
        f"{address}: somebody listens, but no handshake succeeds; what answers there must be {server} with a "
        f"certificate that {files.trust_anchor} vouches for, and must take {files.certificate} (not revoked, "
        "same authority)"
    )


def wrong_certificate(certificate: Path, anchors: Path, now: dt.datetime) -> str:
    """Why nobody can accept this certificate; empty where nothing is wrong with it."""
    chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    own = chain[0]
    if now > own.not_valid_after_utc:
        ended = f"{own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        return f"the certificate {certificate} expired on {ended}; have a new one issued (`keyweave pki`)"
    if now < own.not_valid_before_utc:
        begins = f"{own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return f"the certificate {certificate} is valid from {begins} only; is this machine's clock right?"
    trusted = x509.load_pem_x509_certificates(anchors.read_bytes())
    if not any(_issued(one, anchor) for one in chain for anchor in trusted):
        return f"the certificate {certificate} is of none of the authorities in {anchors}"
    return ""


def _issued(certificate: x509.Certificate, anchor: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(anchor)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
