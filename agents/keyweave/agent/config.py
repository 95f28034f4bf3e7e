"""The agent's configuration file."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyweave.agent.drivers.joined import Only
from keyweave.agent.pairs.keys.settings import PairKeySettings
from keyweave.common.names import NAME_PATTERN
from keyweave.common.rate_limit import RateTerms
from keyweave.common.tls import SigningFiles, TlsFiles

HostPort = Annotated[
    str, Field(pattern=r"^\[?[^\s\]]+\]?:\d{1,5}$", description="host:port; port 0 takes a free one")
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ControllerSection(_Section):
    """Where the controller is: one address, or those of several controllers of which one leads."""

    address: HostPort | None = None
    addresses: Annotated[tuple[HostPort, ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _one_or_several(self) -> "ControllerSection":
        if (self.address is None) == (not self.addresses):
            raise ValueError("give either address (host:port) or addresses (a list of them)")
        if len(set(self.addresses)) != len(self.addresses):
            raise ValueError("addresses: each may be named once")
        return self

    @property
    def all(self) -> tuple[str, ...]:
        """Every address to dial."""
        return self.addresses or (self.address or "",)


class KeyPlaneSection(_Section):
    """Where other agents reach this one."""

    listen: HostPort
    tls: TlsFiles
    # The ML-DSA-65 credential of this agent's enrolment; the trust anchor is the signing authority's.
    signing: SigningFiles
    # What this agent offers, and the least that it accepts.
    kem_parameter_set: Literal[768, 1024] = 768
    # How often one peer may dial.
    calls: RateTerms = RateTerms(per_second=10, burst=40)


class KmeSection(_Section):
    """The ETSI GS QKD 014 face."""

    listen: HostPort
    tls: TlsFiles
    # Which part of a client certificate is the SAE ID.
    sae_id_from: Literal["uri", "dns", "cn", "fingerprint"] = "uri"
    # SAEs that are not shown the provenance of their keys.
    hide_provenance_from: tuple[str, ...] = ()
    # How often one SAE may ask; more gets 429.
    requests: RateTerms = RateTerms(per_second=2000, burst=4000)


class DriverSection(_Section):
    """One driver and its own settings."""

    driver: str
    # What of it is used, where another driver gives the rest of the same link.
    only: Only | None = None
    settings: dict[str, Any] = Field(default_factory=dict)


class AgentConfig(_Section):
    """Everything an agent is told before it starts."""

    node: Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")]
    state_dir: Path
    controller: ControllerSection
    control_tls: TlsFiles
    key_plane: KeyPlaneSection
    kme: KmeSection
    metrics_listen: HostPort = "127.0.0.1:0"
    # gRPC health checking in plain text, for probes; none unless said.
    health_listen: HostPort | None = None
    # What this node's owner allows; policy can only tighten it. See docs/operations.md.
    guard: Path
    drivers: Annotated[tuple[DriverSection, ...], Field(min_length=1)]
    # How keys are made of entangled pairs (BBM92).
    pair_keys: PairKeySettings = PairKeySettings()
    # How long blocks of a link under suspicion are held for an operator to decide; then they are destroyed.
    quarantine_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 24
    # How long lines of the ledger are kept.
    ledger_keep_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    telemetry_interval_seconds: Annotated[float, Field(ge=0.05, le=10)] = 0.2
    ready_file: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
