"""Confirmed keys that wait to be fetched: in memory only, each handed out at most once at each end."""

import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain, groupby, islice, product
from math import inf
from operator import attrgetter
from typing import Protocol

from keyweave.agent import memory
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName
from keyweave.v1 import keyplane_pb2 as pb

# No batch takes longer from its first share to its confirmation: relaying, an exchange, three offers.
BATCH_LIFETIME_SECONDS = 6.0
# Keys of one stream that wait for the local SAE as slave. An SAE that fetches none stops its stream there.
MAX_SLAVE_KEYS = 100_000
# Copies at other nodes of keys for several slaves, remembered to be called back; the oldest are forgotten.
MAX_COPIES = 10_000


class Protection(StrEnum):
    """What protects a key."""

    QKD = "qkd"
    HYBRID = "hybrid"
    PQC = "pqc"
    NONE = "none"

    @property
    def with_qkd(self) -> bool:
        """Whether QKD is mixed in."""
        return self in (Protection.QKD, Protection.HYBRID)

    @property
    def with_pqc(self) -> bool:
        """Whether ML-KEM is mixed in."""
        return self in (Protection.PQC, Protection.HYBRID)

    @classmethod
    def of(cls, *, with_qkd: bool, with_pqc: bool) -> "Protection":
        """By its components."""
        if with_qkd:
            return cls.HYBRID if with_pqc else cls.QKD
        return cls.PQC if with_pqc else cls.NONE


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
    # Vendors' domains it crossed, where nobody knows which hops it took.
    vendor_domains: tuple[str, ...] = ()
    # Of a key made from others: the fewest shares of any; unset where every path is a share.
    fewest_shares: int | None = None

    @property
    def shares(self) -> int:
        """Disjoint paths the QKD component was split over; 0 where there is none."""
        return len(self.paths) if self.fewest_shares is None else self.fewest_shares

    @classmethod
    def weakest(cls, parts: "Sequence[Provenance]") -> "Provenance":
        """Of a key that somebody learns, wholly or in part, who learns any of `parts`."""
        protection = Protection.of(
            with_qkd=all(part.protection.with_qkd for part in parts),
            with_pqc=all(part.protection.with_pqc for part in parts),
        )
        if len(set(parts)) == 1:
            return parts[0]
        if not protection.with_qkd:
            return cls(protection)
        return cls(
            protection,
            paths=tuple(dict.fromkeys(path for part in parts for path in part.paths)),
            links=frozenset().union(*(part.links for part in parts)),
            trusted_nodes=tuple(dict.fromkeys(node for part in parts for node in part.trusted_nodes)),
            emulated=any(part.emulated for part in parts),
            vendor_domains=tuple(sorted({name for part in parts for name in part.vendor_domains})),
            fewest_shares=min(part.shares for part in parts),
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """What the keys of one batch have in common."""

    stream: StreamName
    peer_node: NodeName
    master_sae: SaeId
    slave_sae: SaeId
    provenance: Provenance
    created: float  # seconds since the Unix epoch
    expires: float
    # Other streams over which copies of these keys went: what befalls one of them befalls these.
    beside: frozenset[StreamName] = frozenset()


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One confirmed key at one end."""

    # A UUID. Tens of thousands of keys wait, and few of their IDs are ever asked for as an object.
    id_bytes: bytes
    key: bytearray = field(repr=False)
    origin: Origin

    @property
    def key_id(self) -> uuid.UUID:
        """What SAEs and operators call it."""
        return uuid.UUID(bytes=self.id_bytes)

    @property
    def stream(self) -> StreamName:
        """Over which stream it came."""
        return self.origin.stream

    @property
    def peer_node(self) -> NodeName:
        """Where the other end's copy is."""
        return self.origin.peer_node

    @property
    def master_sae(self) -> SaeId:
        """Who draws it."""
        return self.origin.master_sae

    @property
    def slave_sae(self) -> SaeId:
        """Who collects it."""
        return self.origin.slave_sae

    @property
    def provenance(self) -> Provenance:
        """How it came to be."""
        return self.origin.provenance

    @property
    def created(self) -> float:
        """Since when it is here, in seconds since the Unix epoch."""
        return self.origin.created

    @property
    def expires(self) -> float:
        """When it is destroyed if nobody has fetched it."""
        return self.origin.expires

    def went_over(self, streams: Collection[StreamName]) -> bool:
        """Whether it, or a copy, went over any of these."""
        return self.origin.stream in streams or not self.origin.beside.isdisjoint(streams)


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
        # Ordered, as a plain dict walks over all that has been taken from its front.
        self._ready: dict[StreamName, OrderedDict[bytes, StoredKey]] = {}
        # How many ready keys of a stream came to be how: a few kinds, however many keys.
        self._kinds: dict[StreamName, Counter[Provenance]] = {}
        # Parts of keys that are being assembled: nobody draws them, and they are destroyed like others.
        self._aside: dict[bytes, StoredKey] = {}
        # One key may have copies for several SAEs of this node, each over a stream of its own.
        self._slave: dict[StreamName, dict[bytes, StoredKey]] = {}
        # Of delivered keys with several slaves, what their copies elsewhere are like; without the key.
        self._copies: OrderedDict[tuple[bytes, StreamName], StoredKey] = OrderedDict()
        # Before this nothing here expires: looking through all keys every second would hold up everything.
        self._next_expiry = inf
        # By link and stream; None stands for every stream.
        self._quarantined_at: dict[tuple[LinkName, StreamName | None], float] = {}

    def quarantine(self, link: LinkName, now: float, streams: Iterable[StreamName | None] = (None,)) -> None:
        """A link went bad, for these streams or all: batches on their way over it must not be stored."""
        for stream in streams:
            self._quarantined_at[link, stream] = now

    def _refuse_quarantined(self, keys: Sequence[StoredKey]) -> None:
        for origin, _ in _alike(keys):
            for link, stream in product(origin.provenance.links, (None, origin.stream)):
                bad_at = self._quarantined_at.get((link, stream))
                if bad_at is not None and origin.created < bad_at + BATCH_LIFETIME_SECONDS:
                    raise _refused(
                        keys, pb.FAILURE_CODE_LINK_UNUSABLE, "the batch may have been overheard", link
                    )

    def add_master(self, keys: Sequence[StoredKey]) -> None:
        """Keys that the local SAE may draw from now on; KeyPlaneError if a link of theirs went bad."""
        self._refuse_quarantined(keys)
        for origin, alike in _alike(keys):
            ready = self._ready.setdefault(origin.stream, OrderedDict())
            for key in alike:
                memory.lock(key.key)
                ready[key.id_bytes] = key
            self._kinds.setdefault(origin.stream, Counter())[origin.provenance] += len(alike)
            self._next_expiry = min(self._next_expiry, origin.expires)

    def add_slave(self, keys: Sequence[StoredKey]) -> None:
        """Keys that the local SAE may collect once it knows their IDs; KeyPlaneError likewise.

        The far agent chooses IDs and pace: neither may cost another key its place.
        """
        self._refuse_quarantined(keys)
        self._keep_slave(keys)

    def assemble_slave(self, key: StoredKey, part_ids: Iterable[uuid.UUID]) -> None:
        """Put `key` in the place of the slave's keys that it was made from; KeyPlaneError as above."""
        # No quarantine is looked up: it would have destroyed the parts.
        self._keep_slave((key,))
        self.destroy_slave(key.stream, part_ids, f"made into key {key.key_id}")

    def _keep_slave(self, keys: Sequence[StoredKey]) -> None:
        batches = _alike(keys)
        for origin, alike in batches:
            waiting = self._slave.setdefault(origin.stream, {})
            if any(key.id_bytes in waiting for key in alike):
                raise _refused(keys, pb.FAILURE_CODE_MALFORMED, "a key ID is in use already")
            if len(waiting) + len(alike) > MAX_SLAVE_KEYS:
                reason = f"{len(waiting)} keys wait for their slave to fetch them"
                raise _refused(keys, pb.FAILURE_CODE_OVER_BUDGET, reason)
        for origin, alike in batches:
            waiting = self._slave[origin.stream]
            for key in alike:
                memory.lock(key.key)
                waiting[key.id_bytes] = key
            self._next_expiry = min(self._next_expiry, origin.expires)

    def count(self) -> tuple[int, int]:
        """Keys that could be drawn, and collected."""
        return sum(map(len, self._ready.values())), sum(map(len, self._slave.values()))

    def ready(self, stream: StreamName) -> int:
        """How many keys of a stream can be drawn."""
        return len(self._ready.get(stream, ()))

    def ready_matching(self, stream: StreamName, allowed: Callable[[Provenance], bool]) -> int:
        """How many of them are protected as `allowed` demands."""
        return sum(count for kind, count in self._kinds.get(stream, {}).items() if allowed(kind))

    def draw(
        self,
        stream: StreamName,
        number: int,
        allowed: Callable[[Provenance], bool],
        now: float,
        *,
        created_after: float = -inf,
    ) -> tuple[StoredKey, ...]:
        """Take `number` keys out, oldest first, all or none (empty). Recorded before any leaves."""
        chosen = self._choose(stream, number, allowed, now, created_after)
        if chosen:
            self.records.deliver(chosen, is_master=True)
        return tuple(self._pop_ready(stream, key.id_bytes) for key in chosen)

    def can_draw(
        self,
        stream: StreamName,
        number: int,
        allowed: Callable[[Provenance], bool],
        now: float,
        *,
        created_after: float = -inf,
    ) -> bool:
        """Whether `draw` would give that many."""
        return bool(self._choose(stream, number, allowed, now, created_after))

    def set_aside(
        self,
        wanted: Mapping[StreamName, int],
        allowed: Callable[[Provenance], bool],
        now: float,
        *,
        created_after: float = -inf,
    ) -> dict[StreamName, tuple[StoredKey, ...]]:
        """Keep as many keys of each stream for one use, oldest first, all or none (empty)."""
        chosen = {
            stream: self._choose(stream, number, allowed, now, created_after)
            for stream, number in wanted.items()
        }
        if not all(chosen.values()):
            return {}
        for stream, keys in chosen.items():
            self._aside |= {key.id_bytes: self._pop_ready(stream, key.id_bytes) for key in keys}
        return chosen

    def use_up(self, keys: Iterable[StoredKey], reason: str) -> bool:
        """Destroy keys that were set aside; False if any had been destroyed for another reason before."""
        listed = tuple(keys)
        left = [key for key in listed if self._aside.pop(key.id_bytes, None) is not None]
        self._drop(left, Outcome.DESTROYED, reason, is_master=True)
        return len(left) == len(listed)

    def remember_copies(self, copies: Iterable[StoredKey]) -> None:
        """Copies that other nodes hold of a key delivered here: `destroy` names them when they have to go."""
        for copy in copies:
            self._copies[copy.id_bytes, copy.stream] = replace(copy, key=bytearray())
            self._next_expiry = min(self._next_expiry, copy.expires)
        while len(self._copies) > MAX_COPIES:
            self._copies.popitem(last=False)

    def _choose(
        self,
        stream: StreamName,
        number: int,
        allowed: Callable[[Provenance], bool],
        now: float,
        created_after: float,
    ) -> tuple[StoredKey, ...]:
        if self.ready_matching(stream, allowed) < number:
            return ()  # without looking at each key
        fitting = (
            key
            for key in self._ready[stream].values()
            if key.expires > now and key.created > created_after and allowed(key.provenance)
        )
        chosen = tuple(islice(fitting, number))
        return chosen if len(chosen) == number else ()

    def take_out(
        self, stream: StreamName, number: int, doomed: Callable[[Provenance], bool], reason: str = ""
    ) -> tuple[uuid.UUID, ...]:
        """Destroy up to `number` of the keys that could be drawn, oldest first; which ones."""
        ready = self._ready.get(stream, OrderedDict())
        chosen = list(islice((key_id for key_id, key in ready.items() if doomed(key.provenance)), number))
        keys = [self._pop_ready(stream, key_id) for key_id in chosen]
        self._drop(keys, Outcome.DESTROYED, reason, is_master=True)
        return tuple(key.key_id for key in keys)

    def find_slave(self, key_id: uuid.UUID, stream: StreamName, now: float) -> StoredKey | None:
        """A stream's key that could be collected; None where it is unknown, expired or spent."""
        key = self._slave.get(stream, {}).get(key_id.bytes)
        return key if key is not None and key.expires > now else None

    def waits_elsewhere(self, key_id: uuid.UUID, stream: StreamName, now: float) -> bool:
        """Whether a key of this ID could be collected, but only over other streams."""
        return self.find_slave(key_id, stream, now) is None and any(
            self.find_slave(key_id, other, now) for other in self._slave
        )

    def collect(self, stream: StreamName, key_ids: Iterable[uuid.UUID]) -> tuple[StoredKey, ...]:
        """Take keys out that `find_slave` has found. Recorded before any leaves."""
        chosen = [self._slave[stream][key_id.bytes] for key_id in key_ids]
        self.records.deliver(chosen, is_master=False)
        return tuple(self._pop_slave(key.id_bytes, stream) for key in chosen)

    def destroy_slave(self, stream: StreamName, key_ids: Iterable[uuid.UUID], reason: str) -> int:
        """Destroy those of these keys that could be collected; how many."""
        waiting = self._slave.get(stream, {})
        found = [key_id.bytes for key_id in key_ids if key_id.bytes in waiting]
        keys = [self._pop_slave(key_id, stream) for key_id in found]
        self._drop(keys, Outcome.DESTROYED, reason, is_master=False)
        return len(found)

    def withdraw(self, stream: StreamName, key_ids: Sequence[uuid.UUID], reason: str = "") -> tuple[int, int]:
        """Destroy these keys of a stream; how many could have been drawn, and collected."""
        ready = self._ready.get(stream, OrderedDict())
        wanted = [key_id.bytes for key_id in key_ids]
        keys = [self._pop_ready(stream, key_id) for key_id in wanted if key_id in ready]
        aside = [key_id for key_id in wanted if (key := self._aside.get(key_id)) and key.stream == stream]
        keys += [self._aside.pop(key_id) for key_id in aside]
        self._drop(keys, Outcome.DESTROYED, reason, is_master=True)
        return len(keys), self.destroy_slave(stream, key_ids, reason)

    def expire(self, now: float) -> dict[StreamName, list[uuid.UUID]]:
        """Destroy what has outlived its time; the IDs that went, by stream."""
        if now < self._next_expiry:
            return {}
        gone = self._destroy(lambda key: key.expires <= now, Outcome.EXPIRED, "")
        slaves = (keys.values() for keys in self._slave.values())
        ready = (keys.values() for keys in self._ready.values())
        left = chain(*ready, *slaves, self._aside.values(), self._copies.values())
        self._next_expiry = min((key.expires for key in left), default=inf)
        return gone

    def destroy(
        self, doomed: Callable[[StoredKey], bool], reason: str = ""
    ) -> dict[StreamName, list[uuid.UUID]]:
        """Destroy undelivered keys; the IDs that went, by stream."""
        return self._destroy(doomed, Outcome.DESTROYED, reason)

    def _destroy(
        self, doomed: Callable[[StoredKey], bool], outcome: Outcome, reason: str
    ) -> dict[StreamName, list[uuid.UUID]]:
        masters = [key for ready in self._ready.values() for key in ready.values() if doomed(key)]
        aside = [key for key in self._aside.values() if doomed(key)]
        copies = [copy for copy in self._copies.values() if doomed(copy)]
        slaves = [key for waiting in self._slave.values() for key in waiting.values() if doomed(key)]
        for key in masters:
            self._pop_ready(key.stream, key.id_bytes)
        for key in aside:
            del self._aside[key.id_bytes]
        for key in slaves:
            self._pop_slave(key.id_bytes, key.stream)
        for copy in copies:
            del self._copies[copy.id_bytes, copy.stream]
        self._drop((*masters, *aside), outcome, reason, is_master=True)
        self._drop(slaves, outcome, reason, is_master=False)
        gone: dict[StreamName, list[uuid.UUID]] = {}
        for key in (*masters, *aside, *slaves, *copies):
            gone.setdefault(key.stream, []).append(key.key_id)
        return gone

    def _drop(self, keys: Sequence[StoredKey], outcome: Outcome, reason: str, *, is_master: bool) -> None:
        for key in keys:
            memory.wipe(key.key)
        if keys:
            self.records.gone(keys, outcome, reason, is_master=is_master)

    def _pop_ready(self, stream: StreamName, key_id: bytes) -> StoredKey:
        key = self._ready[stream].pop(key_id)
        kinds = self._kinds[stream]
        kinds[key.provenance] -= 1
        if not kinds[key.provenance]:
            del kinds[key.provenance]
        return key

    def _pop_slave(self, key_id: bytes, stream: StreamName) -> StoredKey:
        return self._slave[stream].pop(key_id)


def _alike(keys: Iterable[StoredKey]) -> list[tuple[Origin, list[StoredKey]]]:
    """Runs of keys that came to be in one way; a batch is one."""
    return [(origin, list(run)) for origin, run in groupby(keys, key=attrgetter("origin"))]


def _refused(
    keys: Sequence[StoredKey], code: pb.FailureCode, reason: str, link: LinkName | None = None
) -> KeyPlaneError:
    """Overwrite keys that are not to be stored; the error to raise."""
    for key in keys:
        memory.wipe(key.key)
    return KeyPlaneError(code, reason, link=link or "")
