"""What holders and the enrolment service say to each other: JSON over TLS 1.3.

GET  /v1/trust    trust anchors and revocation lists, for anybody
POST /v1/enrol    a token's secret and requests -> certificates, once
POST /v1/renew    by client certificate: requests signed by the present keys -> certificates
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from keyweave.common.identity import Identity, Plane, Role

# How the service shows itself to who has certificates already.
SERVICE = Identity(Plane.CONTROL, Role.ENROLMENT, "enrolment")

# A request for an ML-DSA-65 key has about 7,300 characters, its certificate as many.
_Pem = Annotated[str, Field(max_length=16_384)]
_Kind = Annotated[str, Field(pattern=r"^[a-z]{1,16}$")]
MAX_BODY_BYTES = 128 * 1024
ENROL_PATH, RENEW_PATH, TRUST_PATH = "/v1/enrol", "/v1/renew", "/v1/trust"


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Enrol(_Message):
    """The token's secret, whom it is for, and a request for each certificate of that holder."""

    secret: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    role: Annotated[str, Field(max_length=32)]
    name: Annotated[str, Field(max_length=64)]
    requests: Annotated[dict[_Kind, _Pem], Field(max_length=8)]


class Renewal(_Message):
    """One certificate to renew: the present one, the request, the present key's signature (base64)."""

    certificate: _Pem
    request: _Pem
    signature: Annotated[str, Field(max_length=8192)]


class Renew(_Message):
    """What a holder wants renewed, and when it said so (unix seconds)."""

    at: Annotated[int, Field(ge=0, le=2**62)]
    renewals: Annotated[dict[_Kind, Renewal], Field(min_length=1, max_length=8)]


class Certificates(_Message):
    """Certificates by kind; trust anchors and revocation lists by file name (PEM)."""

    certificates: dict[str, str]
    trust: dict[str, str]


class Problem(_Message):
    """Why nothing was done."""

    problem: str
