"""The guard: what this node's owner allows, whatever a controller says. Policy can only tighten it.

One YAML file at each node, which no controller can write. `checks` holds policy against it.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyweave.common import settings
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import NAME_PATTERN, NAME_RULE, NodeName

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$", description=NAME_RULE)]
Sae = Annotated[str, Field(min_length=1, max_length=128)]
QberRatio = Annotated[float, Field(gt=0, le=0.5)]
Bps = Annotated[int, Field(ge=0, le=10**12)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sharing(_Part):
    """With whom a local SAE may share keys, and what every such key needs at the least."""

    peer_sae: Sae
    peer_node: Name
    # Without default: which attacks a key withstands is not to be left to chance.
    require_qkd: bool
    require_pqc: bool
    # Shares that a key with QKD in it is split over, each down a path of its own.
    min_k: Annotated[int, Field(ge=1, le=8)] = 1
    min_key_size_bits: Annotated[int, Field(ge=64, le=8192)] = 256
    # Names of streams that may serve the two; left out: any name.
    streams: tuple[Name, ...] | None = None
    # Trusted nodes must be of these domains, as `trust_domains` lists them; left out: any.
    allowed_trust_domains: tuple[Name, ...] | None = None
    # On each path; left out: no limit.
    max_trusted_nodes: Annotated[int, Field(ge=0, le=64)] | None = None


class LinkGuard(_Part):
    """A link of its own kind."""

    qber_ceiling_ratio: QberRatio


class TransitGuard(_Part):
    """What this node relays for others."""

    # Both ends of a relayed path must be among them.
    for_nodes: tuple[Name, ...]
    # Relayed secret bits a second that each neighbouring peer may send through this node.
    max_bps: Bps
    max_bps_from: dict[Name, Bps] = Field(default_factory=dict)

    def bps_from(self, peer: NodeName) -> int:
        """What `peer` may send."""
        return self.max_bps_from.get(peer, self.max_bps)


class Guard(_Part):
    """A whole guard file."""

    # As in the agent's configuration: so that no node runs by another's guard.
    node: Name
    # Nodes this agent has business with: neighbours, and far ends of its streams.
    peers: tuple[Name, ...]
    # No link is used at a higher QBER, whatever threshold policy sets.
    qber_ceiling_ratio: QberRatio
    links: dict[Name, LinkGuard] = Field(default_factory=dict)
    # Which nodes the owner holds to be of a domain, whatever the controller's own list says.
    trust_domains: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)
    saes: dict[Sae, tuple[Sharing, ...]] = Field(default_factory=dict)
    # SAEs that are not listed. "allow" lets a controller invent them: for a laboratory.
    other_saes: Literal["refuse", "allow"] = "refuse"
    # Which local SAEs may have pairs of a pair stream that ends here. Of streams that are not listed: as
    # `other_saes` says.
    pair_streams: dict[Name, tuple[Sae, ...]] = Field(default_factory=dict)
    # Left out: this node relays nothing.
    transit: TransitGuard | None = None
    # Whether key bits that an emulator made count as QKD: for a laboratory.
    accept_emulated: bool = False
    # Whether the controller may order that key held under suspicion be used after all.
    may_clear_quarantine: bool = False

    @model_validator(mode="after")
    def _domains_are_listed(self) -> Self:
        for sae, sharings in self.saes.items():
            for sharing in sharings:
                unknown = set(sharing.allowed_trust_domains or ()) - self.trust_domains.keys()
                if unknown:
                    text = f"saes.{sae}: {', '.join(sorted(unknown))} is not among trust_domains"
                    raise ValueError(text)
        return self

    @property
    def digest(self) -> bytes:
        """SHA-256 of what the file says, whatever its comments, order and layout. 32 bytes."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).digest()

    def qber_ceiling(self, link: str) -> float:
        """The QBER at which a link stops at the latest."""
        own = self.links.get(link)
        return own.qber_ceiling_ratio if own else self.qber_ceiling_ratio

    def may_take_pairs(self, sae: str, stream: str) -> bool:
        """Whether a local SAE may have pairs of a stream."""
        named = self.pair_streams.get(stream)
        return sae in named if named is not None else self.other_saes == "allow"

    def notes(self) -> Iterator[str]:
        """What an owner should have meant to allow."""
        if self.other_saes == "allow":
            yield "other_saes is 'allow': a controller may set up streams for SAEs that are not listed"
        if self.accept_emulated:
            yield "accept_emulated is true: key bits that an emulator made count as QKD"
        for sae, sharings in self.saes.items():
            for sharing in sharings:
                if not (sharing.require_qkd or sharing.require_pqc):
                    yield f"keys of '{sae}' with '{sharing.peer_sae}' may be made by QKD or ML-KEM alone"
                if sharing.min_k == 1 and not sharing.require_pqc and sharing.max_trusted_nodes != 0:
                    yield f"a single trusted node may see keys of '{sae}' with '{sharing.peer_sae}'"

    def nodes_of(self, domains: tuple[str, ...]) -> set[str]:
        """All nodes of some domains."""
        return {node for domain in domains for node in self.trust_domains[domain]}


def load(path: Path, node: str) -> Guard:
    """The guard of `node`; InvalidInputError names every wrong field with its line."""
    guard = settings.load(path, Guard)
    if guard.node != node:
        raise InvalidInputError.of(f"{path}: node", f"is '{guard.node}'; this agent is '{node}'")
    return guard
