"""Who a certificate says its holder is.

Every certificate of ours carries one URI, `keyweave://<plane>/<role>/<name>`, and, so that a client can
verify whom it reached whatever the address, the DNS name `<name>.<role>.<plane>.keyweave.internal`.
Planes have trust anchors of their own, so a certificate of one is worthless on another; the plane in the
URI says so a second time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from keyweave.common.errors import NotAllowedError

SCHEME = "keyweave://"
PQ_TLS_GROUP = "X25519MLKEM768"


class Plane(StrEnum):
    """What a trust anchor vouches for."""

    CONTROL = "control"
    KEY = "key"
    SAE = "sae"


class Role(StrEnum):
    """What a holder may do on its plane."""

    CONTROLLER = "controller"
    AGENT = "agent"
    OPERATOR = "operator"
    VIEWER = "viewer"
    EMULATOR = "emulator"
    # The service that enrols and renews; it is no controller.
    ENROLMENT = "enrolment"
    KME = "kme"
    SAE = "sae"


@dataclass(frozen=True, slots=True)
class Identity:
    """Plane, role and name of a certificate's holder."""

    plane: Plane
    role: Role
    name: str

    @property
    def uri(self) -> str:
        """As it stands in the certificate's subject alternative names."""
        return f"{SCHEME}{self.plane}/{self.role}/{self.name}"

    @property
    def dns_name(self) -> str:
        """The name under which a client verifies this holder."""
        return f"{self.name}.{self.role}.{self.plane}.keyweave.internal".lower()

    @classmethod
    def parse(cls, uri: str) -> "Identity":
        """The identity in a URI; ValueError where it is not one of ours."""
        if not uri.startswith(SCHEME):
            raise ValueError(f"'{uri}' does not start with {SCHEME}")
        plane, role, name = uri.removeprefix(SCHEME).split("/", 2)
        if not name:
            raise ValueError(f"'{uri}' names nobody")
        return cls(Plane(plane), Role(role), name)


def peer_identity(
    auth_context: Mapping[str, Iterable[bytes]], plane: Plane, roles: frozenset[Role]
) -> Identity:
    """Who is calling, or NotAllowedError unless it is one of `roles` on `plane` over TLS 1.3.

    `auth_context` is that of a grpc.aio servicer context. Connections that did not negotiate a
    post-quantum key exchange are refused: what they carry could be recorded today and read later.
    """
    uris = [value.decode() for value in auth_context.get("peer_uri", ())]
    try:
        (identity,) = (Identity.parse(uri) for uri in uris if uri.startswith(SCHEME))
    except ValueError:
        raise NotAllowedError("the client certificate carries no single keyweave:// URI") from None
    if identity.plane is not plane or identity.role not in roles:
        wanted = " or ".join(sorted(roles))
        raise NotAllowedError(f"{identity.uri} is no {wanted} of the {plane} plane")
    version = _first(auth_context, "ssl_tls_version")
    group = _first(auth_context, "ssl_negotiated_key_exchange_group")
    if version != "TLSv1.3" or group != PQ_TLS_GROUP:
        raise NotAllowedError(
            f"TLSv1.3 with {PQ_TLS_GROUP} is required; this connection has {version}, {group}"
        )
    return identity


def _first(auth_context: Mapping[str, Iterable[bytes]], key: str) -> str:
    return next((value.decode() for value in auth_context.get(key, ())), "none")
