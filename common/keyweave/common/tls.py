"""TLS material from files, and the gRPC credentials made of it."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from pydantic import BaseModel, ConfigDict, Field

from keyweave.common import log
from keyweave.common.errors import InvalidInputError
from keyweave.common.file_watch import Stamp, stamp
from keyweave.common.identity import Identity

# HTTP/2 pings find a dead peer; reads are never wrapped in a timeout (grpc.aio leaks natively there).
KEEPALIVE_SECONDS = 2
HANDSHAKE_SECONDS = 5
_KEEPALIVE_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Of a peer whose kernel still acknowledges, gRPC ends the connection after this: a minute unless told.
    ("grpc.http2.ping_timeout_ms", 2 * KEEPALIVE_SECONDS * 1000),
)
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    *_KEEPALIVE_OPTIONS,
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_SECONDS * 500),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_SECONDS * 500),
    ("grpc.http2.max_ping_strikes", 0),
    # Two processes on one port would share its connections silently.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    # Two minutes unless told: so long would a client that says nothing keep its place.
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
)
CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    *_KEEPALIVE_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Two processes that dial the same place must not share a connection and with it an identity.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
)


class CredentialFiles(BaseModel):
    """Where a process finds its certificate, its key and the trust anchor of one plane (PEM files)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Annotated[Path, Field(description="certificate (chain), PEM")]
    private_key: Annotated[Path, Field(description="private key, PEM, readable by its owner only")]
    trust_anchor: Annotated[Path, Field(description="certificates of the plane's trust anchors, PEM")]
    revocation_list: Annotated[
        Path | None, Field(description="revocation lists (CRL) of the trust anchors, one each, PEM")
    ] = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its own certificate and key, and whom it trusts."""
        return self.certificate, self.private_key, self.trust_anchor


class TlsFiles(CredentialFiles):
    """A credential for TLS."""


class SigningFiles(CredentialFiles):
    """A credential of the key plane's signing authority: an ML-DSA-65 key, not for TLS."""


@dataclass(frozen=True, slots=True)
class Material:
    """What the files of a TLS credential held when they were read; certificate and key belong together."""

    certificate: bytes
    private_key: bytes = field(repr=False)
    trust_anchor: bytes

    @classmethod
    def read(cls, files: CredentialFiles) -> "Material":
        """OSError, or InvalidInputError where the files do not fit together (as in mid-rotation)."""
        material = cls(*(path.read_bytes() for path in files.paths))
        try:
            certificate = x509.load_pem_x509_certificate(material.certificate)
            key = serialization.load_pem_private_key(material.private_key, password=None)
        except (ValueError, TypeError) as error:
            raise InvalidInputError.of(
                str(files.certificate), f"with its key cannot be read: {error}"
            ) from None
        if certificate.public_key() != key.public_key():
            raise InvalidInputError.of(
                str(files.private_key), f"is not the key of the certificate {files.certificate}"
            )
        return material

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over the DER certificate."""
        return x509.load_pem_x509_certificate(self.certificate).fingerprint(hashes.SHA256())


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Mutual TLS for a gRPC server: no client without a certificate of the plane gets in.

    Each handshake takes the files as they are then, so certificates are rotated without a restart.
    """
    current = _Current(files)
    return grpc.dynamic_ssl_server_credentials(
        _server_configuration(current.material),
        current.fetch,  # type: ignore[arg-type]  # None is how it says "unchanged"; the stubs leave it out
        require_client_authentication=True,
    )


def secure_channel(address: str, files: TlsFiles, server: Identity) -> grpc.aio.Channel:
    """A channel to `address` that only `server` can answer, whatever the address."""
    return channel_with(Material.read(files), address, server)


def channel_with(material: Material, address: str, server: Identity) -> grpc.aio.Channel:
    """Like `secure_channel`, of files that were read already."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=material.trust_anchor,
        private_key=material.private_key,
        certificate_chain=material.certificate,
    )
    options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", server.dns_name)]
    return grpc.aio.secure_channel(address, credentials, options=options)


def renew_context(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Take the files into a context in use. Anchors are only added: `Trust` ends what is withdrawn."""
    try:
        Material.read(files)  # a key that is not the certificate's would spoil the context
        context.load_verify_locations(cafile=files.trust_anchor)
        context.load_cert_chain(files.certificate, files.private_key)
    except (OSError, InvalidInputError) as error:
        log.get().warning("certificate_not_taken", reason=str(error), kept="the one before")
    else:
        log.get().info("certificate_taken", file=str(files.certificate))


def _server_configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    pairs = [(material.private_key, material.certificate)]
    return grpc.ssl_server_certificate_configuration(pairs, root_certificates=material.trust_anchor)


class _Current:
    """The last files that fitted together; asked at every handshake, so it looks at stamps only."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp: Stamp = stamp(files.paths)
        self.material = Material.read(files)

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks before each handshake; None where nothing has changed."""
        now = stamp(self._files.paths)
        if now == self._stamp:
            return None
        self._stamp = now
        try:
            self.material = Material.read(self._files)
        except (OSError, InvalidInputError) as error:
            log.get().warning("certificate_not_taken", reason=str(error), kept="the one before")
            return None
        log.get().info("certificate_taken", file=str(self._files.certificate))
        return _server_configuration(self.material)
