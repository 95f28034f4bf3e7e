"""The controller's configuration file."""

import ipaddress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyweave.common.rate_limit import RateTerms
from keyweave.common.tls import TlsFiles
from keyweave.controller.audit.config import AuditConfig
from keyweave.controller.exports.config import ExportsConfig

Address = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:]+):[0-9]{1,5}$", description="host:port")]


class LinkConfig(BaseModel):
    """How telemetry becomes a link's condition; thresholds of QBER are the link's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stale_after_seconds: Annotated[float, Field(gt=0, le=3600)] = 3.0
    hold_down_seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    hold_down_max_seconds: Annotated[float, Field(ge=0, le=86400)] = 300.0


class PageAccess(StrEnum):
    """Who may see the live page."""

    # Whoever is on this machine; only for a loopback address.
    LOCAL = "local"
    # Holders of a viewer's or operator's certificate of the control plane.
    MTLS = "mtls"


class PageConfig(BaseModel):
    """The live page; see docs/live-page.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: Address = "127.0.0.1:0"
    access: PageAccess = PageAccess.LOCAL
    # With `mtls`, a certificate that browsers know the site by; left out, the controller's own.
    tls: TlsFiles | None = None
    # Pages that may be open at a time.
    max_clients: Annotated[int, Field(ge=1, le=1000)] = 32

    @model_validator(mode="after")
    def _local_is_loopback(self) -> "PageConfig":
        host = self.listen.rpartition(":")[0].strip("[]")
        if self.access is PageAccess.LOCAL and not is_loopback(host):
            raise ValueError(
                f"listen: {self.listen} can be reached from elsewhere, and access 'local' asks nobody for a "
                "certificate; take a loopback address such as 127.0.0.1:8080, or access 'mtls'"
            )
        return self


class LeadershipConfig(BaseModel):
    """Several controllers on one PostgreSQL: one leads, the others stand by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Where agents and operators reach this controller; `listen` unless said, if that names a host.
    advertise: Address | None = None
    # Without being renewed the leader's lease ends after this long, and another one takes over.
    lease_seconds: Annotated[float, Field(ge=0.5, le=60)] = 1.5


class ControllerConfig(BaseModel):
    """Everything one controller process needs to know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Agents and operators dial the same port; their certificates decide what they may do.
    listen: Address = "127.0.0.1:0"
    metrics_listen: Address = "127.0.0.1:0"
    # gRPC health checking in plain text, for probes; none unless said.
    health_listen: Address | None = None
    state_dir: Path
    # A SQLAlchemy URL; empty takes SQLite at <state_dir>/controller.db.
    database_url: str = ""
    # Counts with PostgreSQL only.
    leadership: LeadershipConfig = LeadershipConfig()
    tls: TlsFiles
    # How long an agent may count on its policy without hearing again; heartbeats go out at a third of it.
    lease_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    # How long after a start the stored plan stands although links have not reported.
    warmup_seconds: Annotated[float, Field(ge=0, le=3600)] = 20.0
    links: LinkConfig = LinkConfig()
    # Left out, there is no page.
    page: PageConfig | None = None
    audit: AuditConfig = AuditConfig()
    exports: ExportsConfig = ExportsConfig()
    # How often one agent, operator or viewer may call; more gets RESOURCE_EXHAUSTED.
    calls: RateTerms = RateTerms(per_second=200, burst=2000)
    # Telemetry messages and changes of intent that may wait for the core; when full, agents get no credit.
    queue_limit: Annotated[int, Field(ge=16, le=1_000_000)] = 1024
    ready_file: Path | None = None
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"

    @property
    def store_url(self) -> str:
        """Where intent, plan and events are kept."""
        return self.database_url or f"sqlite+aiosqlite:///{self.state_dir / 'controller.db'}"

    def advertising(self, address: str) -> "ControllerConfig":
        """The same, reached by others at this address."""
        return ControllerConfig.model_validate(
            {**self.model_dump(), "leadership": {**self.leadership.model_dump(), "advertise": address}}
        )

    @property
    def advertised(self) -> str:
        """Where others are sent to reach this controller; empty where that is not known."""
        if self.leadership.advertise is not None:
            return self.leadership.advertise
        return "" if is_wildcard(self.listen.rpartition(":")[0]) else self.listen

    @property
    def audit_archive(self) -> Path:
        """Where old entries of the audit log go."""
        return self.audit.archive or self.state_dir / "audit"


def is_loopback(name: str) -> bool:
    """Whether a host name means this machine and nothing else (RFC 6761, section 6.3)."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Whether this means all addresses of a machine, and so nobody can be sent there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False
