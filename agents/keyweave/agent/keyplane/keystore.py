"""Confirmed keys that wait to be fetched: in memory only, each handed out at most once at each end."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import Protocol

from keyweave.agent import memory
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName
from keyweave.v1 import keyplane_pb2 as pb

# No batch takes longer from its first share to its confirmation: relaying, an exchange, three offers.
BATCH_LIFETIME_SECONDS = 6.0
# Keys of one stream that wait for the local SAE as slave. An SAE that fetches none stops its stream there.
MAX_SLAVE_KEYS = 100_000


class Protection(StrEnum):
    """What protects a key."""

    QKD = "qkd"
    HYBRID = "hybrid"
    PQC = "pqc"
    NONE = "none"


class Outcome(StrEnum):
    """What became of a key at one end, as the ledger has it."""

    DELIVERED = "delivered"
    EXPIRED = "expired"
    DESTROYED = "destroyed"
    # Delivered earlier, and not to be trusted.
    RECALLED = "recalled"


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


class Records(Protocol):
    """Where the store says what becomes of its keys."""

    def deliver(self, keys: Sequence[StoredKey], *, is_master: bool) -> None:
        """These keys are about to be handed out; an exception, and they are not."""
        ...

    def gone(self, keys: Sequence[StoredKey], outcome: Outcome, reason: str, *, is_master: bool) -> None:
        """These keys are destroyed, fetched by nobody."""
        ...


class _NoRecords:
    """Remembers nothing."""

    def deliver(self, keys: Sequence[StoredKey], *, is_master: bool) -> None:
        """See Records."""

    def gone(self, keys: Sequence[StoredKey], outcome: Outcome, reason: str, *, is_master: bool) -> None:
        """See Records."""


class KeyStore:
    """The keys of one node, as master (drawn in order) and as slave (collected by ID)."""

    def __init__(self, records: Records | None = None) -> None:
        self.records = records or _NoRecords()
        self._ready: dict[StreamName, dict[uuid.UUID, StoredKey]] = {}
        self._slave: dict[uuid.UUID, StoredKey] = {}
        self._slave_count: Counter[StreamName] = Counter()
        # By link and stream; None stands for every stream.
        self._quarantined_at: dict[tuple[LinkName, StreamName | None], float] = {}

    def quarantine(self, link: LinkName, now: float, streams: Iterable[StreamName | None] = (None,)) -> None:
        """A link went bad, for these streams or all: batches on their way over it must not be stored."""
        for stream in streams:
            self._quarantined_at[link, stream] = now

    def _refuse_quarantined(self, keys: Sequence[StoredKey]) -> None:
        for key in keys:
            for link, stream in product(key.provenance.links, (None, key.stream)):
                bad_at = self._quarantined_at.get((link, stream))
                if bad_at is not None and key.created < bad_at + BATCH_LIFETIME_SECONDS:
                    raise _refused(
                        keys, pb.FAILURE_CODE_LINK_UNUSABLE, "the batch may have been overheard", link
                    )

    def add_master(self, keys: Sequence[StoredKey]) -> None:
        """Keys that the local SAE may draw from now on; KeyPlaneError if a link of theirs went bad."""
        self._refuse_quarantined(keys)
        for key in keys:
            memory.lock(key.key)
            self._ready.setdefault(key.stream, {})[key.key_id] = key

    def add_slave(self, keys: Sequence[StoredKey]) -> None:
        """Keys that the local SAE may collect once it knows their IDs; KeyPlaneError likewise.

        The far agent chooses IDs and pace: neither may cost another key its place.
        """
        self._refuse_quarantined(keys)
        if any(key.key_id in self._slave for key in keys):
            raise _refused(keys, pb.FAILURE_CODE_MALFORMED, "a key ID is in use already")
        for stream, count in Counter(key.stream for key in keys).items():
            if self._slave_count[stream] + count > MAX_SLAVE_KEYS:
                reason = f"{self._slave_count[stream]} keys wait for their slave to fetch them"
                raise _refused(keys, pb.FAILURE_CODE_OVER_BUDGET, reason)
        for key in keys:
            memory.lock(key.key)
            self._slave[key.key_id] = key
            self._slave_count[key.stream] += 1

    def ready(self, stream: StreamName) -> int:
        """How many keys of a stream can be drawn."""
        return len(self._ready.get(stream, ()))

    def ready_matching(self, stream: StreamName, allowed: Callable[[Provenance], bool]) -> int:
        """How many of them are protected as `allowed` demands."""
        return sum(1 for key in self._ready.get(stream, {}).values() if allowed(key.provenance))

    def draw(
        self, stream: StreamName, number: int, allowed: Callable[[Provenance], bool], now: float
    ) -> tuple[StoredKey, ...]:
        """Take `number` keys out, oldest first, all or none (empty). Recorded before any leaves."""
        ready = self._ready.get(stream, {})
        chosen = [k for k in ready.values() if k.expires > now and allowed(k.provenance)][:number]
        if len(chosen) < number:
            return ()
        self.records.deliver(chosen, is_master=True)
        return tuple(ready.pop(key.key_id) for key in chosen)

    def take_out(
        self, stream: StreamName, number: int, doomed: Callable[[Provenance], bool], reason: str = ""
    ) -> tuple[uuid.UUID, ...]:
        """Destroy up to `number` of the keys that could be drawn, oldest first; which ones."""
        ready = self._ready.get(stream, {})
        chosen = [key_id for key_id, key in ready.items() if doomed(key.provenance)][:number]
        self._drop([ready.pop(key_id) for key_id in chosen], Outcome.DESTROYED, reason, is_master=True)
        return tuple(chosen)

    def find_slave(self, key_id: uuid.UUID, now: float) -> StoredKey | None:
        """A key that could be collected; None where it is unknown, expired or spent."""
        key = self._slave.get(key_id)
        return key if key is not None and key.expires > now else None

    def collect(self, key_ids: Iterable[uuid.UUID]) -> tuple[StoredKey, ...]:
        """Take keys out that `find_slave` has found. Recorded before any leaves."""
        chosen = [self._slave[key_id] for key_id in key_ids]
        self.records.deliver(chosen, is_master=False)
        return tuple(self._pop_slave(key.key_id) for key in chosen)

    def withdraw(self, stream: StreamName, key_ids: Sequence[uuid.UUID], reason: str = "") -> tuple[int, int]:
        """Destroy these keys of a stream; how many could have been drawn, and collected."""
        ready = self._ready.get(stream, {})
        drawable = [key_id for key_id in key_ids if key_id in ready]
        self._drop([ready.pop(key_id) for key_id in drawable], Outcome.DESTROYED, reason, is_master=True)
        found = [key_id for key_id in key_ids if (key := self._slave.get(key_id)) and key.stream == stream]
        self._drop([self._pop_slave(key_id) for key_id in found], Outcome.DESTROYED, reason, is_master=False)
        return len(drawable), len(found)

    def expire(self, now: float) -> dict[StreamName, list[uuid.UUID]]:
        """Destroy what has outlived its time; the IDs that went, by stream."""
        return self._destroy(lambda key: key.expires <= now, Outcome.EXPIRED, "")

    def destroy(
        self, doomed: Callable[[StoredKey], bool], reason: str = ""
    ) -> dict[StreamName, list[uuid.UUID]]:
        """Destroy undelivered keys; the IDs that went, by stream."""
        return self._destroy(doomed, Outcome.DESTROYED, reason)

    def _destroy(
        self, doomed: Callable[[StoredKey], bool], outcome: Outcome, reason: str
    ) -> dict[StreamName, list[uuid.UUID]]:
        masters = [key for ready in self._ready.values() for key in ready.values() if doomed(key)]
        slaves = [key for key in self._slave.values() if doomed(key)]
        for key in masters:
            del self._ready[key.stream][key.key_id]
        for key in slaves:
            self._pop_slave(key.key_id)
        self._drop(masters, outcome, reason, is_master=True)
        self._drop(slaves, outcome, reason, is_master=False)
        gone: dict[StreamName, list[uuid.UUID]] = {}
        for key in (*masters, *slaves):
            gone.setdefault(key.stream, []).append(key.key_id)
        return gone

    def _drop(self, keys: Sequence[StoredKey], outcome: Outcome, reason: str, *, is_master: bool) -> None:
        for key in keys:
            memory.wipe(key.key)
        if keys:
            self.records.gone(keys, outcome, reason, is_master=is_master)

    def _pop_slave(self, key_id: uuid.UUID) -> StoredKey:
        key = self._slave.pop(key_id)
        self._slave_count[key.stream] -= 1
        return key


def _refused(
    keys: Sequence[StoredKey], code: pb.FailureCode, reason: str, link: LinkName | None = None
) -> KeyPlaneError:
    """Overwrite keys that are not to be stored; the error to raise."""
    for key in keys:
        memory.wipe(key.key)
    return KeyPlaneError(code, reason, link=link or "")
