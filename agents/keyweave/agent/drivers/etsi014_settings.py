"""What the `etsi014` driver is told: who we are to the vendor's KMEs, and each link's KME at this end."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from keyweave.agent.drivers.mapping import LinkMapping, Links
from keyweave.common.names import NAME_PATTERN


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KmeTls(_Section):
    """Our certificate as an SAE of the vendor's, and the only authority that its KMEs are believed by."""

    certificate: Path
    private_key: Path
    trust_anchor: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return self.certificate, self.private_key, self.trust_anchor


class LinkSettings(LinkMapping):
    """One link end: the vendor's KME here, and whose keys it has."""

    kme: Annotated[
        str,
        Field(
            pattern=r"^https://[^\s/?#@]+(/[^\s?#]*)?$",
            description="what comes before /api/v1/keys of the KME",
        ),
    ]
    peer_sae: Annotated[
        str, Field(min_length=1, max_length=255, description="the SAE ID of the agent at the other end")
    ]
    vendor_domain: Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$", description="in provenance")]
    # What the KME calls its own size, where this is left out. Both halves of a block must be whole bytes.
    key_size_bits: Annotated[int, Field(ge=64, le=65536, multiple_of=16)] | None = None
    # At most so many are asked for at once, and never more than the KME allows.
    keys_per_request: Annotated[int, Field(ge=1, le=128)] = 32
    # How often the KME is asked for its status, and for keys where it had none.
    interval_seconds: Annotated[float, Field(ge=0.05, le=60)] = 1.0


class Etsi014Settings(_Section):
    """`settings` of this driver in an agent's configuration."""

    tls: KmeTls
    # A KME that has not answered by then counts as away.
    answer_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    links: Links[LinkSettings]
