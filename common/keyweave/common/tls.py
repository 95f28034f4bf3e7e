"""TLS material from files, and the gRPC credentials made of it."""

from pathlib import Path
from typing import Annotated

import grpc
from pydantic import BaseModel, ConfigDict, Field

from keyweave.common.identity import Identity

# HTTP/2 pings find a dead peer; reads are never wrapped in a timeout (grpc.aio leaks natively there).
KEEPALIVE_SECONDS = 2
_KEEPALIVE_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    *_KEEPALIVE_OPTIONS,
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_SECONDS * 500),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_SECONDS * 500),
    ("grpc.http2.max_ping_strikes", 0),
    # Two processes on one port would share its connections silently.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
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


class TlsFiles(BaseModel):
    """Where a process finds its certificate, its key and the trust anchor of one plane (PEM files)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Annotated[Path, Field(description="certificate (chain), PEM")]
    private_key: Annotated[Path, Field(description="private key, PEM, readable by its owner only")]
    trust_anchor: Annotated[Path, Field(description="certificates of the plane's trust anchors, PEM")]


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Mutual TLS for a gRPC server: no client without a certificate of the plane gets in."""
    return grpc.ssl_server_credentials(
        [(files.private_key.read_bytes(), files.certificate.read_bytes())],
        root_certificates=files.trust_anchor.read_bytes(),
        require_client_auth=True,
    )


def secure_channel(address: str, files: TlsFiles, server: Identity) -> grpc.aio.Channel:
    """A channel to `address` that only `server` can answer, whatever the address."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=files.trust_anchor.read_bytes(),
        private_key=files.private_key.read_bytes(),
        certificate_chain=files.certificate.read_bytes(),
    )
    options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", server.dns_name)]
    return grpc.aio.secure_channel(address, credentials, options=options)
