"""Confirmed keys that wait to be fetched: in memory only, each handed out at most once at each end."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from keyweave.agent import memory
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName
from keyweave.v1 import keyplane_pb2 as pb

# No batch takes longer from its first share to its confirmation: relaying, an exchange, three offers.
BATCH_LIFETIME_SECONDS = 6.0


class Protection(StrEnum):
    """What protects a key."""

    QKD = "qkd"
    HYBRID = "hybrid"
    PQC = "pqc"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a key came to be."""

    protection: Protection
    paths: tuple[PathId, ...] = ()
    links: frozenset[LinkName] = frozenset()
    trusted_nodes: tuple[str, ...] = ()
    emulated: bool = False

    @property
    def shares(self) -> int:
        """Disjoint paths the QKD component was split over; 0 where there is none."""
        return len(self.paths)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One confirmed key at one end."""

    key_id: uuid.UUID
    key: bytearray = field(repr=False)
    stream: StreamName
    peer_node: NodeName
    master_sae: SaeId
    slave_sae: SaeId
    provenance: Provenance
    created: float  # seconds since the Unix epoch
    expires: float


class KeyStore:
    """The keys of one node, as master (drawn in order) and as slave (collected by ID)."""

    def __init__(self) -> None:
        self._ready: dict[StreamName, dict[uuid.UUID, StoredKey]] = {}
        self._slave: dict[uuid.UUID, StoredKey] = {}
        self._quarantined_at: dict[LinkName, float] = {}

    def quarantine(self, link: LinkName, now: float) -> None:
        """A link went bad: batches that crossed it and are still being made must not be stored."""
        self._quarantined_at[link] = now

    def _refuse_quarantined(self, keys: Sequence[StoredKey]) -> None:
        for key in keys:
            for link in key.provenance.links & self._quarantined_at.keys():
                if key.created < self._quarantined_at[link] + BATCH_LIFETIME_SECONDS:
                    for doomed in keys:
                        memory.wipe(doomed.key)
                    raise KeyPlaneError(
                        pb.FAILURE_CODE_LINK_UNUSABLE, "the batch may have been overheard", link=link
                    )

    def add_master(self, keys: Sequence[StoredKey]) -> None:
        """Keys that the local SAE may draw from now on; KeyPlaneError if a link of theirs went bad."""
        self._refuse_quarantined(keys)
        for key in keys:
            memory.lock(key.key)
            self._ready.setdefault(key.stream, {})[key.key_id] = key

    def add_slave(self, keys: Sequence[StoredKey]) -> None:
        """Keys that the local SAE may collect once it knows their IDs; KeyPlaneError likewise."""
        self._refuse_quarantined(keys)
        for key in keys:
            memory.lock(key.key)
            self._slave[key.key_id] = key

    def ready(self, stream: StreamName) -> int:
        """How many keys of a stream can be drawn."""
        return len(self._ready.get(stream, ()))

    def ready_matching(self, stream: StreamName, allowed: Callable[[Provenance], bool]) -> int:
        """How many of them are protected as `allowed` demands."""
        return sum(1 for key in self._ready.get(stream, {}).values() if allowed(key.provenance))

    def draw(
        self, stream: StreamName, number: int, allowed: Callable[[Provenance], bool], now: float
    ) -> tuple[StoredKey, ...]:
        """Take `number` keys out, oldest first, all or none (empty)."""
        ready = self._ready.get(stream, {})
        chosen = [k for k in ready.values() if k.expires > now and allowed(k.provenance)][:number]
        if len(chosen) < number:
            return ()
        return tuple(ready.pop(key.key_id) for key in chosen)

    def take_out(
        self, stream: StreamName, number: int, doomed: Callable[[Provenance], bool]
    ) -> tuple[uuid.UUID, ...]:
        """Destroy up to `number` of the keys that could be drawn, oldest first; which ones."""
        ready = self._ready.get(stream, {})
        chosen = [key_id for key_id, key in ready.items() if doomed(key.provenance)][:number]
        for key_id in chosen:
            memory.wipe(ready.pop(key_id).key)
        return tuple(chosen)

    def find_slave(self, key_id: uuid.UUID, now: float) -> StoredKey | None:
        """A key that could be collected; None where it is unknown, expired or spent."""
        key = self._slave.get(key_id)
        return key if key is not None and key.expires > now else None

    def collect(self, key_ids: Iterable[uuid.UUID]) -> tuple[StoredKey, ...]:
        """Take keys out that `find_slave` has found."""
        return tuple(self._slave.pop(key_id) for key_id in key_ids)

    def expire(self, now: float) -> dict[StreamName, list[uuid.UUID]]:
        """Destroy what has outlived its time; the IDs that went, by stream."""
        return self.destroy(lambda key: key.expires <= now)

    def destroy(self, doomed: Callable[[StoredKey], bool]) -> dict[StreamName, list[uuid.UUID]]:
        """Destroy undelivered keys; the IDs that went, by stream."""
        gone: dict[StreamName, list[uuid.UUID]] = {}
        for keys in (*self._ready.values(), self._slave):
            for key_id in [k for k, key in keys.items() if doomed(key)]:
                key = keys.pop(key_id)
                memory.wipe(key.key)
                gone.setdefault(key.stream, []).append(key_id)
        return gone
