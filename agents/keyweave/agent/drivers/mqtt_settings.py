"""What the `mqtt` driver is told: a broker, and for each link what its device's messages mean."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyweave.agent.drivers.json_words import Pointer, TimeFormat
from keyweave.agent.drivers.mapping import (
    DetectorReadings,
    FaultTable,
    LinkMapping,
    LinkReadings,
    Links,
    Reading,
    StatusTable,
)

# MQTT 3.1.1, 4.7: a filter; `+` and `#` stand for whole levels.
_LEVEL = r"(\+|[^+#/\x00]*)"
Topic = Annotated[str, Field(pattern=rf"^(#|{_LEVEL}(/{_LEVEL})*(/#)?)$", min_length=1, max_length=1024)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MqttReading(Reading):
    """A number in a message; of the link's topic unless it names its own."""

    topic: Topic | None = None
    pointer: Pointer


class StatusSettings(StatusTable):
    """Where the device tells its state, and what its words mean."""

    topic: Topic | None = None
    pointer: Pointer = ""


class FaultSettings(FaultTable):
    """Where the device tells what is wrong with it."""

    topic: Topic | None = None
    pointer: Pointer = ""


class TimeSettings(_Section):
    """Where a message tells when it was measured."""

    pointer: Pointer
    format: TimeFormat = "unix_seconds"


class KeySettings(_Section):
    """Where a device publishes key blocks."""

    topic: Topic
    number: Pointer
    key: Pointer
    encoding: Literal["base64", "hex"] = "base64"
    block_bytes: Annotated[int, Field(ge=2, le=65536, multiple_of=2)]
    time: TimeSettings | None = None


class LinkSettings(LinkMapping):
    """One link end's device."""

    # Where readings and states that name no topic are.
    topic: Topic | None = None
    # How often the device publishes.
    interval_seconds: Annotated[float, Field(ge=0.01, le=3600)] = 1.0
    # Older measurements are refused; only where messages tell their time.
    max_age_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    time: TimeSettings | None = None
    status: StatusSettings | None = None
    fault: FaultSettings | None = None
    quantities: LinkReadings[MqttReading] = Field(default_factory=dict)
    detectors: DetectorReadings[MqttReading] = Field(default_factory=dict)
    key: KeySettings | None = None

    @model_validator(mode="after")
    def _says_where_everything_is(self) -> Self:
        """ValueError names what has neither a topic of its own nor one of the link."""
        if not self.quantities and not any(self.detectors.values()) and self.key is None:
            raise ValueError("gives neither quantities nor detectors nor key; map at least one of them")
        if self.topic is not None:
            return self
        parts: dict[str, MqttReading | StatusSettings | FaultSettings | None] = {
            "status": self.status,
            "fault": self.fault,
        }
        parts |= {f"quantities.{name}": reading for name, reading in self.quantities.items()}
        for detector, readings in self.detectors.items():
            parts |= {f"detectors.{detector}.{name}": reading for name, reading in readings.items()}
        lost = [name for name, part in parts.items() if part is not None and part.topic is None]
        if lost:
            raise ValueError(f"{', '.join(lost)}: no topic, and the link has none; set `topic` of either")
        return self

    @property
    def measures(self) -> bool:
        """Whether any quantity is mapped."""
        return bool(self.quantities) or any(self.detectors.values())


class BrokerTls(_Section):
    """TLS to the broker; with a certificate of our own where it asks for one."""

    trust_anchor: Path
    certificate: Path | None = None
    private_key: Path | None = None

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together; set both or neither")
        return self


class MqttSettings(_Section):
    """`settings` of this driver in an agent's configuration."""

    broker: Annotated[
        str, Field(pattern=r"^\[?[^\s\]]+\]?:\d{1,5}$", description="host:port; 8883 is usual with TLS")
    ]
    tls: BrokerTls | None = None
    username: Annotated[str, Field(min_length=1)] | None = None
    password_file: Path | None = None
    # What each connection's client ID begins with; a random part follows.
    client_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,40}$")] | None = None
    links: Links[LinkSettings]

    @model_validator(mode="after")
    def _secrets_need_tls(self) -> Self:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file: without username there is nobody whose password it is")
        if self.tls is None:
            if self.password_file is not None:
                raise ValueError("password_file: is not sent without `tls`")
            keys = [name for name, link in self.links.items() if link.key is not None]
            if keys:
                raise ValueError(f"links.{keys[0]}.key: key is not taken without `tls`")
        return self
