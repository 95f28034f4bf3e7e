"""The emulator's configuration file."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from keyweave.common.rate_limit import RateTerms
from keyweave.common.tls import TlsFiles
from keyweave.emulator.classical import NetworkConfig


class EmulatorConfig(BaseModel):
    """What an emulator process is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: Annotated[Path, Field(description="scenario file, YAML")]
    # Port 0 takes a free one; the ready file says which.
    listen: Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$", description="host:port")]
    tls: Annotated[TlsFiles, Field(description="keyweave://control/emulator/emulator on the control plane")]
    health_listen: Annotated[
        str | None,
        Field(
            pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$", description="host:port of gRPC health checking"
        ),
    ] = None
    # Key that every link holds at the start, so that pools fill quickly; at most 64 KiB a link.
    warm_blocks_seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    # How many times faster than the clock the scenario's time passes: its timeline, drift, ageing. Key is
    # made, and photons are counted, in real time.
    speed: Annotated[float, Field(ge=1, le=10_000)] = 1.0
    # Proxies that agents dial through, for faults of the classical network; left out, there are none.
    network: NetworkConfig | None = None
    # How often one agent or operator may call.
    calls: RateTerms = RateTerms(per_second=100, burst=1000)
    ready_file: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
