"""The near end of a stream: it keeps the local SAE's buffer full of confirmed keys.

One loop per stream. Each round makes one batch over the best way there is: path sets in policy's order,
then, where the stream allows it, ML-KEM alone. Whatever fails is left alone for a while and the next way is
tried at once, without asking anybody: this is the local protection that works with the controller away.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf

from keyweave.agent import memory
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys.keystore import KeyStore, Protection, Provenance, StoredKey
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.streams import combine, kem, wire
from keyweave.agent.keyplane.streams.batch import BatchMaker
from keyweave.agent.keyplane.streams.budget import TokenBucket
from keyweave.agent.keyplane.streams.relay import Relays
from keyweave.agent.keyplane.terms import PathSetTerms, StreamTerms
from keyweave.common import log
from keyweave.common.names import NodeName, PathId
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb

MAX_BATCH_KEYS = 32
# Batches of one stream on their way at once: a single one would wait for every hop in turn. They go in
# rounds: batches that begin together stay together, so their frames share messages on every hop. The far end
# keeps a few more open (far.MAX_OPEN_BATCHES).
ROUNDS_AT_ONCE = 2
BATCHES_A_ROUND = 3
BATCHES_AT_ONCE = ROUNDS_AT_ONCE * BATCHES_A_ROUND
# Nothing worked: look again after this, unless something changes before.
IDLE_RETRY_SECONDS = 0.2
# Keys made by ML-KEM alone wait in a full buffer: how often a quantum path is tried, to replace them.
UPGRADE_RETRY_SECONDS = 0.5
# How long a way that failed is left alone; doubles up to the cap with each further failure.
BACKOFF_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 15.0
# After a start, quantum paths get this long to come up before ML-KEM steps in alone.
STARTUP_GRACE_SECONDS = 6.0
# A way in use whose pools are merely short is helped out by the next one; this long, that is no failover.
# ITU-T G.808.1 calls such a wait a hold-off time.
HOLD_OFF_SECONDS = 10.0
# Buffers are topped up at no less than this many keys a second, whatever rate is planned.
FLOOR_KEYS_PER_SECOND = 8

_PROTO_PROTECTION = {
    Protection.QKD: types_pb2.PROTECTION_QKD,
    Protection.HYBRID: types_pb2.PROTECTION_HYBRID,
    Protection.PQC: types_pb2.PROTECTION_PQC,
    Protection.NONE: types_pb2.PROTECTION_NONE,
}
# A pool that is merely short will fill; everything else means that the way itself does not work.
_SHORT = frozenset({pb.FAILURE_CODE_POOL_EXHAUSTED, pb.FAILURE_CODE_OVER_BUDGET})


@dataclass(slots=True)
class _Trouble:
    """A way that failed lately."""

    until: float
    pause: float
    short: bool


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How many keys were made; where none, whether pools were merely short."""

    made: int
    short: bool


# Upper bounds of the histogram of batch times, in seconds.
BATCH_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045),
    *(0.05, 0.06, 0.07, 0.08, 0.1, 0.2, 0.5, 1.0, inf),
)


@dataclass(slots=True)
class BatchTimes:
    """How long batches took from their first share to their confirmation."""

    # Batches that took no longer than the bound of the same place, and longer than the one before.
    counts: list[int] = field(default_factory=lambda: [0] * len(BATCH_SECONDS))
    sum_seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """One batch."""
        self.counts[bisect_left(BATCH_SECONDS, seconds)] += 1
        self.sum_seconds += seconds


@dataclass(slots=True)
class Counters:
    """What this end has done for the stream since the agent started."""

    confirmed_bits: int = 0
    failovers: int = 0
    last_failover_seconds: float = 0.0
    batches: BatchTimes = field(default_factory=BatchTimes)


class NearEnd:
    """The sending half of one stream at this node."""

    def __init__(
        self,
        node: NodeName,
        terms: StreamTerms,
        peer: Peer,
        relays: Relays,
        store: KeyStore,
        on_event: Callable[[agent_pb2.AgentEvent], None],
        *,
        parameter_set: int = kem.DEFAULT_PARAMETER_SET,
    ) -> None:
        now = time.monotonic()
        self.terms = terms
        self.counters = Counters()
        self.protection = Protection.NONE
        self.path_ids: tuple[PathId, ...] = ()
        # What protected the keys that were made last, also while there are none: from there a stream moves.
        self._protection_before = Protection.NONE
        self._node = node
        self._maker = BatchMaker(node, terms, peer, relays, parameter_set)
        self._store = store
        self._on_event = on_event
        self._trouble: dict[tuple[PathId, ...], _Trouble] = {}
        self._sent_bits: dict[tuple[PathId, ...], float] = {}
        self._batch_keys = MAX_BATCH_KEYS
        self._budget = TokenBucket(*self._budget_terms(terms), now)
        self._grace_until = now + STARTUP_GRACE_SECONDS
        self._failing_since: float | None = None
        # Since when another way helps out the one in use.
        self._helped_since: float | None = None
        self._starved = True
        # Keys of batches that are being made.
        self._under_way = 0
        # Set while whole batches are missing and the way in use makes them.
        self._flowing = asyncio.Event()
        self._wake = asyncio.Event()
        self.delivered = asyncio.Event()

    @property
    def peer(self) -> Peer:
        """The agent at the far end."""
        return self._maker.peer

    def update(self, terms: StreamTerms, peer: Peer) -> None:
        """Policy has changed."""
        if terms.path_sets != self.terms.path_sets:
            self._trouble = {s.key: self._trouble[s.key] for s in terms.path_sets if s.key in self._trouble}
            self._sent_bits = {}
        self.terms = self._maker.terms = terms
        self._maker.peer = peer
        self._budget.resize(*self._budget_terms(terms), time.monotonic())
        self.wake()

    def wake(self) -> None:
        """Something that may matter to this stream has changed."""
        self._wake.set()

    def wake_if_short(self) -> None:
        """Pools have grown: a stream that waits for that goes on at once."""
        if any(trouble.short for trouble in self._trouble.values()):
            self._trouble = {key: t for key, t in self._trouble.items() if not t.short}
            self.wake()

    def path_back(self) -> None:
        """A link or session came back: ways that were given up are worth a try."""
        self._trouble.clear()
        self.wake()

    def confirmation_failed(self, reason: str) -> None:
        """The ends had different keys: an alarm."""
        self._event(agent_pb2.AGENT_EVENT_KIND_CONFIRMATION_FAILED, reason=reason)

    def forget(self) -> None:
        """The peer has restarted: its ML-KEM state is gone."""
        self._maker.forget()
        self.path_back()

    async def run(self) -> None:
        """Keep the buffer full until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(1, ROUNDS_AT_ONCE):
                group.create_task(self._follow(), name=f"stream-{self.terms.stream}-{number}")
            await self._lead()

    async def _lead(self) -> None:
        """Make batches one after the other, whatever way that takes."""
        while True:
            self._wake.clear()
            if self._must_refuse():
                self._note_starved(short=False)
                await self._pause(None)
                continue
            missing, affordable = self._missing(), self._affordable()
            key_bits = self.terms.key_size_bits
            if missing <= 0:
                weak = self._store.ready_matching(self.terms.stream, _by_pqc_alone)
                if not weak or not await self._upgrade(weak):
                    await self._pause(UPGRADE_RETRY_SECONDS if weak else None)
            elif affordable < min(missing, self._batch_keys, 4):
                await self._pause(min(missing, 4) * key_bits / self._budget.rate)
            elif self._flowing.is_set():
                await self._make_round()
            elif await self._make_batch(min(missing, affordable)):
                if self._whole_batch_missing():
                    self._flowing.set()
                # Others must get their turn even where a batch never really waits.
                await asyncio.sleep(0)
            else:
                await self._pause(IDLE_RETRY_SECONDS)

    async def _follow(self) -> None:
        """Make rounds beside those that `_lead` makes, for as long as the way in use works."""
        while True:
            await self._flowing.wait()
            await self._make_round()

    async def _make_round(self) -> None:
        """Make whole batches that begin together; where not all come about, no more of them."""
        made = await asyncio.gather(*(self._make_whole_batch() for _ in range(BATCHES_A_ROUND)))
        if not all(made):
            self._flowing.clear()
        # Others must get their turn even where a batch never really waits.
        await asyncio.sleep(0)

    async def _make_whole_batch(self) -> bool:
        return self._whole_batch_missing() and bool((await self._make_quantum_batch(MAX_BATCH_KEYS)).made)

    def _must_refuse(self) -> bool:
        """Whether policy knows no way, and buffered keys are not to outlive the last one."""
        return self.terms.refuse_when_exhausted and not self.terms.path_sets

    def _missing(self) -> int:
        """Keys that the buffer has room for and nobody is making."""
        return self.terms.buffer_keys - self._store.ready(self.terms.stream) - self._under_way

    def _affordable(self) -> int:
        """Keys that the stream's rate allows now."""
        return int(self._budget.available(time.monotonic()) // self.terms.key_size_bits) - self._under_way

    def _whole_batch_missing(self) -> bool:
        return self._batch_keys == MAX_BATCH_KEYS <= min(self._missing(), self._affordable())

    async def _upgrade(self, weak: int) -> bool:
        """Replace some of the `weak` keys made by ML-KEM alone, once there is a quantum path again."""
        wanted = min(weak, self._affordable())
        made = (await self._make_quantum_batch(wanted)).made if wanted > 0 else 0
        if not made:
            return False
        reason = "replaced by keys with QKD in them"
        gone = self._store.take_out(self.terms.stream, made, _by_pqc_alone, reason)
        # Where this gets lost, the far end's copies expire: nobody will ever ask for them.
        withdraw = pb.Withdraw(stream=self.terms.stream, reason=reason)
        withdraw.key_ids.extend(key_id.bytes for key_id in gone)
        self._maker.peer.post(pb.Frame(withdraw=withdraw))
        return True

    # ---- choosing the way ---------------------------------------------------------------------

    async def _make_batch(self, wanted: int) -> bool:
        """Make one batch over the first way that works."""
        outcome = await self._make_quantum_batch(wanted)
        if outcome.made:
            return True
        if self._pqc_may_step_in(outcome.short):
            try:
                await self._deliver(None, min(wanted, MAX_BATCH_KEYS, self._most_keys()))
            except KeyPlaneError as error:
                self._note_failure("ML-KEM alone", error)
            else:
                return True
        self._note_starved(outcome.short)
        return False

    async def _make_quantum_batch(self, wanted: int) -> "_Outcome":
        """Make one batch over the first path set that works."""
        short = False
        most_shares = max((len(path_set.paths) for path_set in self.terms.path_sets), default=0)
        for path_set in self._ways():
            # Where key for all shares merely comes slowly, what is buffered is used up before fewer do.
            if short and len(path_set.paths) < most_shares and self._store.ready(self.terms.stream):
                continue
            trouble = self._trouble.get(path_set.key)
            if trouble is not None and trouble.until > time.monotonic():
                short |= trouble.short
                continue
            try:
                count = min(wanted, self._batch_keys, self._most_keys())
                await self._deliver(path_set, count)
            except KeyPlaneError as error:
                short |= self._note_trouble(path_set, error)
            else:
                self._batch_keys = min(MAX_BATCH_KEYS, self._batch_keys * 2)
                return _Outcome(made=count, short=False)
        return _Outcome(made=0, short=short)

    def _most_keys(self) -> int:
        """Keys whose secret fits one message of a relay."""
        return wire.MAX_SECRET_BYTES // combine.secret_bytes_per_key(self.terms.key_size_bits)

    def _ways(self) -> Iterator[PathSetTerms]:
        """Path sets, best first: those of rank 0 in proportion to their rates, then the backups."""
        primary = [s for s in self.terms.path_sets if s.rank == 0]
        yield from sorted(primary, key=lambda s: self._sent_bits.get(s.key, 0.0) / max(s.rate_bps, 1.0))
        yield from (s for s in self.terms.path_sets if s.rank > 0)

    def _pqc_may_step_in(self, short: bool) -> bool:
        if not self.terms.pqc_when_exhausted or time.monotonic() < self._grace_until:
            return False
        # Where quantum key merely comes slowly, what is buffered is used up first.
        return not short or self._store.ready(self.terms.stream) == 0

    def _note_trouble(self, path_set: PathSetTerms, error: KeyPlaneError) -> bool:
        short = error.code in _SHORT
        if short and self._batch_keys > 1:
            self._batch_keys = max(1, self._batch_keys // 4)
        before = self._trouble.get(path_set.key)
        pause = (
            IDLE_RETRY_SECONDS
            if short
            else min(BACKOFF_CAP_SECONDS, before.pause * 2 if before else BACKOFF_SECONDS)
        )
        self._trouble[path_set.key] = _Trouble(time.monotonic() + pause, pause, short)
        if not short:
            self._note_failure(" + ".join(path_set.key), error)
        return short

    def _note_failure(self, way: str, error: KeyPlaneError) -> None:
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        log.get().info("batch_failed", stream=self.terms.stream, way=way, reason=str(error))

    def _note_starved(self, short: bool) -> None:
        if short:
            return
        if self.terms.refuse_when_exhausted:
            ours = (self.terms.stream, self.terms.local_sae)
            self._store.destroy(lambda key: (key.stream, key.master_sae) == ours, "no way left to make keys")
        if self._store.ready(self.terms.stream):
            return
        self.protection = Protection.NONE
        if not self._starved:
            self._starved = True
            self._event(agent_pb2.AGENT_EVENT_KIND_STREAM_STARVED, reason="no way left to make keys")

    async def _deliver(self, path_set: PathSetTerms | None, count: int) -> None:
        """Make a batch and put it where the local SAE can draw it."""
        self._under_way += count
        began = time.monotonic()
        try:
            keys = await self._maker.make(path_set, count)
            self._refuse_outdated(keys)
            # The link may have turned out to be eavesdropped on while the batch was being made.
            self._store.add_master(keys)
        except KeyPlaneError as error:
            if error.code == pb.FAILURE_CODE_CONFIRMATION_MISMATCH:
                self.confirmation_failed(str(error))
            raise
        finally:
            self._under_way -= count
        self.counters.batches.add(time.monotonic() - began)
        self._note_success(path_set, keys[0].provenance, count)

    def _refuse_outdated(self, keys: tuple[StoredKey, ...]) -> None:
        # Policy may have changed while the batch was being made: stored, it would fill the buffer with
        # keys that cannot be drawn.
        provenance, accepted = keys[0].provenance, self.terms.accepted
        if (
            self._must_refuse()
            or not self.terms.allows(provenance)
            or not all(path_id in accepted for path_id in provenance.paths)
        ):
            for key in keys:
                memory.wipe(key.key)
            raise KeyPlaneError(
                pb.FAILURE_CODE_NOT_ALLOWED, "the stream now requires more than this batch has"
            )

    # ---- what came of it -----------------------------------------------------------------------

    def _note_success(self, path_set: PathSetTerms | None, provenance: Provenance, count: int) -> None:
        now = time.monotonic()
        bits = count * self.terms.key_size_bits
        self._budget.take(bits, now)
        self.counters.confirmed_bits += bits
        if path_set is not None:
            self._trouble.pop(path_set.key, None)
            self._sent_bits[path_set.key] = self._sent_bits.get(path_set.key, 0.0) + bits
            self._grace_until = now
        primary = {s.key for s in self.terms.path_sets if s.rank == 0}
        sharing = self.path_ids in primary and provenance.paths in primary and self._failing_since is None
        moved = (provenance.protection, provenance.paths) != (self.protection, self.path_ids)
        if moved and self._helps_out(provenance, now):
            return
        left = (provenance.protection, provenance.paths) != (self._protection_before, self.path_ids)
        if left and self._protection_before is not Protection.NONE and not sharing:
            self._note_failover(provenance, path_set, now)
        self._helped_since = None
        self._protection_before = provenance.protection
        self.protection, self.path_ids = provenance.protection, provenance.paths
        self._failing_since = None
        if self._starved:
            self._starved = False
            self._event(agent_pb2.AGENT_EVENT_KIND_STREAM_SUPPLIED, reason=f"protected by {self.protection}")
        self.delivered.set()
        self.delivered = asyncio.Event()

    def _helps_out(self, provenance: Provenance, now: float) -> bool:
        """Whether a batch went another way only because the way in use has to wait for its pools."""
        in_use = self._trouble.get(self.path_ids)
        if in_use is None or not in_use.short or self._failing_since is not None:
            return False
        if self._helped_since is None:
            self._helped_since = now
        held_off = now - self._helped_since < HOLD_OFF_SECONDS
        return held_off and provenance.protection is self.protection

    def _note_failover(self, after: Provenance, path_set: PathSetTerms | None, now: float) -> None:
        failed = self._failing_since is not None
        duration = now - self._failing_since if self._failing_since is not None else 0.0
        self.counters.failovers += 1
        self.counters.last_failover_seconds = duration
        self._on_event(
            agent_pb2.AgentEvent(
                kind=agent_pb2.AGENT_EVENT_KIND_FAILOVER,
                stream=self.terms.stream,
                peer_node=self.terms.peer_node,
                reason=f"{'the way in use failed' if failed else 'moved without interruption'}: "
                f"{after.protection} {self._route(path_set)}",
                duration_seconds=duration,
                protection_before=_PROTO_PROTECTION[self._protection_before],
                protection_after=_PROTO_PROTECTION[after.protection],
                path_ids_before=self.path_ids,
                path_ids_after=after.paths,
            )
        )

    def _route(self, path_set: PathSetTerms | None) -> str:
        if path_set is None:
            return "alone"
        ends = (self._node, self.terms.peer_node)
        source, target = ends if self.terms.is_source else reversed(ends)
        routes = ("→".join((source, *path.trusted_nodes, target)) for path in path_set.paths)
        return "over " + " and ".join(routes)

    def _event(self, kind: agent_pb2.AgentEventKind, reason: str) -> None:
        self._on_event(
            agent_pb2.AgentEvent(
                kind=kind, stream=self.terms.stream, peer_node=self.terms.peer_node, reason=reason
            )
        )

    def _budget_terms(self, terms: StreamTerms) -> tuple[float, float]:
        rate = max(terms.rate_bps, FLOOR_KEYS_PER_SECOND * terms.key_size_bits)
        return rate, max(rate, float(terms.buffer_keys * terms.key_size_bits))

    async def _pause(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass


def _by_pqc_alone(provenance: Provenance) -> bool:
    return provenance.protection is Protection.PQC


def proto_protection(protection: Protection) -> types_pb2.Protection:
    """For the wire."""
    return _PROTO_PROTECTION[protection]
