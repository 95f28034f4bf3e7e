"""What the `snmp` driver is told: a device, how it knows us, and for each link what its objects mean."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from keyweave.agent.drivers.mapping import (
    DetectorReadings,
    FaultTable,
    LinkMapping,
    LinkReadings,
    Links,
    Reading,
    StatusTable,
)

# Of an instance, as 1.3.6.1.2.1.1.3.0; a leading dot is left out.
Oid = Annotated[
    str,
    Field(pattern=r"^\.?[0-2](\.(0|[1-9]\d{0,9})){2,127}$"),
    AfterValidator(lambda text: text.removeprefix(".")),
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SnmpReading(Reading):
    """A number at the device; a Counter32 or Counter64 is read as what it counts in a second."""

    oid: Oid


class StatusSettings(StatusTable):
    """Where the device tells its state, and what its words or numbers mean."""

    oid: Oid


class FaultSettings(FaultTable):
    """Where the device tells what is wrong with it."""

    oid: Oid


class LinkSettings(LinkMapping):
    """One link end's device."""

    # How often it is asked.
    interval_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 1.0
    # Changes with every measurement; without it the device measures anew before it is asked again.
    sequence: Oid | None = None
    status: StatusSettings | None = None
    fault: FaultSettings | None = None
    quantities: LinkReadings[SnmpReading] = Field(default_factory=dict)
    detectors: DetectorReadings[SnmpReading] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _measures_something(self) -> Self:
        if not self.quantities and not any(self.detectors.values()):
            raise ValueError("gives neither quantities nor detectors; map at least one of them")
        return self


class V3(_Section):
    """The user-based security model (RFC 3414) with authentication and privacy."""

    user: Annotated[str, Field(min_length=1, max_length=32)]
    auth: Literal["sha1", "sha224", "sha256", "sha384", "sha512"] = "sha256"
    auth_password_file: Path
    # aes256 as in draft-blumenthal-aes-usm-04; aes256-reeder as many routers have it.
    privacy: Literal["aes128", "aes256", "aes256-reeder"] = "aes128"
    privacy_password_file: Path


class V2c(_Section):
    """Communities: no authentication and no privacy. For a device that has nothing better."""

    community_file: Path


class SnmpSettings(_Section):
    """`settings` of this driver in an agent's configuration."""

    address: Annotated[
        str, Field(pattern=r"^\[?[^\s\]]+\]?:\d{1,5}$", description="host:port of the device; 161 is usual")
    ]
    v3: V3 | None = None
    v2c: V2c | None = None
    # How long an answer may take, and how often it is asked for again before the device counts as away.
    timeout_seconds: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    links: Links[LinkSettings]

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        if (self.v3 is None) == (self.v2c is None):
            raise ValueError("v3 or v2c: give one of them, v3 where the device can")
        return self
