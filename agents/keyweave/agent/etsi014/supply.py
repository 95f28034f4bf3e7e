"""What the ETSI GS QKD 014 face needs of the key plane, and nothing more."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any, Protocol

from keyweave.common.errors import KeyweaveError
from keyweave.common.names import SaeId


class Refusal(StrEnum):
    """Why the key plane gives nothing."""

    # No stream allows this caller and peer, or a key ID was not drawn for the caller.
    NOT_ALLOWED = "not_allowed"
    # At least one key ID is unknown, expired or spent.
    UNKNOWN_KEYS = "unknown_keys"
    # No key has, or will have, what the request's mandatory extensions demand.
    MANDATORY_UNMET = "mandatory_unmet"
    # No buffer of this KME will ever hold what the request takes.
    TOO_MUCH = "too_much"
    # Right in itself; there is no key now.
    UNAVAILABLE = "unavailable"

    @property
    def http_status(self) -> int:
        """As the standard's tables of status codes have it (5.1 to 5.3)."""
        return _HTTP_STATUS[self]


_HTTP_STATUS = {
    Refusal.NOT_ALLOWED: 401,
    Refusal.UNKNOWN_KEYS: 400,
    Refusal.MANDATORY_UNMET: 400,
    Refusal.TOO_MUCH: 400,
    Refusal.UNAVAILABLE: 503,
}


class SupplyError(KeyweaveError):
    """The key plane refuses and hands out nothing. The texts go to the caller: never key material."""

    def __init__(self, refusal: Refusal, message: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.message = message
        self.details = details
        self.http_status = refusal.http_status


@dataclass(frozen=True, slots=True)
class Demand:
    """What one extension parameter of a request wants of every key, beyond what the stream requires."""

    name: str
    with_qkd: bool = False
    with_pqc: bool = False
    min_shares: int = 0
    max_age_seconds: float = inf


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """What a master asks for. All keys, each for the peer and every further slave alike, or none."""

    number: int
    size_bits: int
    further_slaves: tuple[SaeId, ...] = ()
    mandatory: tuple[Demand, ...] = ()
    # Met where keys that meet them are ready; otherwise told as unmet.
    optional: tuple[Demand, ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveredKey:
    """One key on its way to an SAE; burned before it became one of these."""

    key_id: uuid.UUID
    # Raw bytes, kept out of reprs so that no log or traceback can show them.
    key: bytes = field(repr=False)
    # Provenance under `keyweave_` names (JSON values); empty where this SAE is not to see it.
    extension: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a master gets: its keys, and the names of optional demands that not all of them meet."""

    keys: tuple[DeliveredKey, ...]
    unmet: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SupplyStatus:
    """What the standard calls Status (6.1), for one caller as master and one peer as slave. Sizes in bits."""

    source_kme_id: str
    target_kme_id: str
    master_sae_id: SaeId
    slave_sae_id: SaeId
    key_size: int
    stored_key_count: int
    max_key_count: int
    max_key_per_request: int
    max_key_size: int
    min_key_size: int
    max_sae_id_count: int = 0
    # How the supply stands, under `keyweave_` names (JSON values).
    extension: Mapping[str, Any] = field(default_factory=dict)


class KeySupply(Protocol):
    """The key plane as applications see it. Every refusal is a SupplyError."""

    def status(self, caller: SaeId, peer: SaeId) -> SupplyStatus:
        """How the supply from `caller` to `peer` stands; NOT_ALLOWED unless a stream joins them."""

    async def draw(self, caller: SaeId, peer: SaeId, order: KeyOrder) -> Drawn:
        """Fresh keys for `caller` as master: all or none, burned before they are returned."""

    async def collect(
        self, caller: SaeId, peer: SaeId, key_ids: tuple[uuid.UUID, ...]
    ) -> tuple[DeliveredKey, ...]:
        """The keys that `peer` drew for `caller`, in the order asked: all or none, burned likewise."""
