"""Where events go: `exports` in the controller's configuration."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from keyweave.common.names import NAME_PATTERN
from keyweave.controller.event_kinds import KindName, Severity
from keyweave.controller.events import Event

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")]
HostPort = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:\[\]]+):[0-9]{1,5}$")]
_RANK = (Severity.INFO, Severity.MINOR, Severity.MAJOR)
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClientTls(_Section):
    """TLS to a receiver; with a certificate of our own where it asks for one."""

    trust_anchor: Path
    certificate: Path | None = None
    private_key: Path | None = None
    # The name in the receiver's certificate, where it is not the one it is dialled by.
    server_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together; set both or neither")
        return self


class SinkConfig(_Section):
    """What all receivers have: a name, by which the spool knows what they have, and what they want."""

    name: Name
    # The least severity that goes there, and which kinds; empty means all.
    min_severity: Severity = Severity.INFO
    kinds: frozenset[KindName] = frozenset()

    def wants(self, event: Event) -> bool:
        """Whether this event goes there."""
        return _RANK.index(event.severity) >= _RANK.index(self.min_severity) and (
            not self.kinds or event.kind in self.kinds
        )


class SyslogConfig(SinkConfig):
    """A syslog server: RFC 5424 over TLS (RFC 5425)."""

    address: HostPort
    tls: ClientTls
    # 13 is "log audit" (RFC 5424, table 1).
    facility: Annotated[int, Field(ge=0, le=23)] = 13
    # What it is told that this host is called; empty takes the host's own name.
    hostname: Annotated[str, Field(pattern=r"^[!-~]{0,255}$")] = ""
    # Of our structured data; 32473 is for examples (RFC 5612). Put your own organisation's number here.
    enterprise_number: Annotated[int, Field(ge=1, le=4294967295)] = 32473
    # A message counts as taken once it has been with the server so long and the connection still stands.
    settle_seconds: Annotated[float, Field(ge=0.1, le=300)] = 5.0
    # RFC 5425 wants every server to take 2048 and most to take 8192.
    max_bytes: Annotated[int, Field(ge=2048, le=65536)] = 8192


class MqttConfig(SinkConfig):
    """An MQTT broker."""

    broker: HostPort
    tls: ClientTls | None = None
    username: Annotated[str, Field(min_length=1)] | None = None
    password_file: Path | None = None
    # Topics are <prefix>/<network>/events/<kind>, .../links/<name>/state and so on.
    topic_prefix: Annotated[str, Field(pattern=r"^[^+#/\x00\s]{1,64}(/[^+#/\x00\s]{1,64}){0,7}$")] = (
        "keyweave"
    )

    @model_validator(mode="after")
    def _passwords_need_tls(self) -> Self:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file: without username there is nobody whose password it is")
        if self.password_file is not None and self.tls is None:
            raise ValueError("password_file: is not sent without `tls`")
        return self


class WebhookConfig(SinkConfig):
    """An HTTPS endpoint that takes CloudEvents."""

    url: Annotated[str, Field(max_length=2048)]
    # Whom to trust; left out, whom this machine trusts.
    trust_anchor: Path | None = None
    # Text of which every request carries a signature, HMAC-SHA256; see docs/audit.md.
    secret_file: Path | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0

    @field_validator("url")
    @classmethod
    def _https(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL):
            if not parts.hostname:
                raise ValueError(f"'{url}' names no host")
            if parts.username or parts.password:
                raise ValueError("a password does not belong into a URL; sign with secret_file")
            return url
        raise ValueError(f"'{url}' is not https:// (http:// only to this machine)")


class ExportsConfig(_Section):
    """All receivers of events."""

    # What this network is called in topics and as the source of CloudEvents.
    network: Name = "default"
    # Events that may wait for a receiver; beyond that the oldest are dropped and counted.
    spool_events: Annotated[int, Field(ge=100, le=100_000)] = 100_000
    syslog: tuple[SyslogConfig, ...] = ()
    mqtt: tuple[MqttConfig, ...] = ()
    webhooks: tuple[WebhookConfig, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [sink.name for sink in (*self.syslog, *self.mqtt, *self.webhooks)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two receivers are called '{twice[0]}'; each needs a name of its own")
        return self
