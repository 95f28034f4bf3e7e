"""The key plane as the ETSI GS QKD 014 face sees it: who may have which key, and each only once."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any

from keyweave.agent.etsi014 import extensions
from keyweave.agent.etsi014.supply import (
    DeliveredKey,
    Demand,
    Drawn,
    KeyOrder,
    Refusal,
    SupplyError,
    SupplyStatus,
)
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys import assembly
from keyweave.agent.keyplane.keys.assemble import Assembler, Way
from keyweave.agent.keyplane.keys.keystore import Protection, Provenance, StoredKey
from keyweave.agent.keyplane.plane import KeyPlane
from keyweave.agent.keyplane.sessions.session import SILENT_SECONDS
from keyweave.agent.keyplane.streams.near import NearEnd
from keyweave.agent.ledger.ledger import LedgerError
from keyweave.agent.observer import Observer, Protected, Side
from keyweave.common.names import NodeName, SaeId, StreamName
from keyweave.v1 import keyplane_pb2 as pb

MAX_KEYS_PER_REQUEST = 128
# A request that comes a moment too early waits for the buffer rather than fail.
DRAW_WAIT_SECONDS = 1.0


class Served:
    """Keys handed out, by stream and protection."""

    def __init__(self) -> None:
        self.counts: dict[tuple[StreamName, Protection], int] = {}

    def add(self, key: StoredKey) -> None:
        """Count one."""
        place = (key.stream, key.provenance.protection)
        self.counts[place] = self.counts.get(place, 0) + 1


class Supply:
    """Implements `etsi014.supply.KeySupply` on a key plane."""

    def __init__(
        self, plane: KeyPlane, observer: Observer, *, show_provenance: Callable[[SaeId], bool]
    ) -> None:
        self.served = Served()
        self._plane = plane
        self._observer = observer
        self._show_provenance = show_provenance
        self._assembler = Assembler(plane.node, plane.aftermath.withdraw)
        self._found: dict[tuple[SaeId, SaeId], NearEnd] = {}

    def status(self, caller: SaeId, peer: SaeId) -> SupplyStatus:
        """How the supply from `caller` to `peer` stands."""
        near = self._stream(caller, peer)
        terms = near.terms
        return SupplyStatus(
            source_kme_id=self._plane.node,
            target_kme_id=terms.peer_node,
            master_sae_id=caller,
            slave_sae_id=peer,
            key_size=terms.key_size_bits,
            stored_key_count=min(
                terms.buffer_keys, self._plane.store.ready_matching(terms.stream, terms.allows)
            ),
            max_key_count=terms.buffer_keys,
            max_key_per_request=min(MAX_KEYS_PER_REQUEST, terms.buffer_keys),
            max_key_size=min(assembly.MAX_KEY_BITS, terms.buffer_keys * terms.key_size_bits),
            min_key_size=max(assembly.MIN_KEY_BITS, terms.min_key_size_bits),
            max_sae_id_count=assembly.MAX_FURTHER_SLAVES,
            extension=self._status_extension(near),
        )

    async def draw(self, caller: SaeId, peer: SaeId, order: KeyOrder) -> Drawn:
        """Confirmed keys for `caller` as master: all or none."""
        ends = [self._stream(caller, sae) for sae in (peer, *order.further_slaves)]
        _refuse_impossible(ends, order)
        deadline = time.monotonic() + DRAW_WAIT_SECONDS
        while True:
            silent = [end.terms.peer_node for end in ends if end.peer.silent_seconds() > SILENT_SECONDS]
            if silent:
                reason = f"the far agent, {silent[0]}, is silent: its SAE could not fetch the key"
            else:
                keys = await self._take(ends, order)
                if keys:
                    return self._drawn(keys, ends, order)
                reason = self._why_none(ends, order)
            await self._more_or_refuse(ends, order, deadline, reason)
            if any(self._plane.near.get(end.terms.stream) is not end for end in ends):
                raise SupplyError(Refusal.NOT_ALLOWED, "the stream has changed; ask again")

    async def collect(
        self, caller: SaeId, peer: SaeId, key_ids: tuple[uuid.UUID, ...]
    ) -> tuple[DeliveredKey, ...]:
        """The keys that `peer` drew for `caller`: all or none."""
        near = self._stream(caller, peer)
        stream, store, now = near.terms.stream, self._plane.store, time.time()
        found = [(key_id, store.find_slave(key_id, stream, now)) for key_id in key_ids]
        for key_id in key_ids:
            if store.waits_elsewhere(key_id, stream, now):
                raise SupplyError(Refusal.NOT_ALLOWED, f"key {key_id} was not drawn for {caller} by {peer}")
        if len(set(key_ids)) != len(key_ids) or any(
            key is None or not near.terms.allows(key.provenance) for _, key in found
        ):
            unknown = tuple(str(key_id) for key_id, key in found if key is None)
            raise SupplyError(
                Refusal.UNKNOWN_KEYS, "one or more keys specified are not found on KME", unknown
            )
        with _recorded():
            keys = store.collect(stream, key_ids)
        return tuple(self._hand_over(key, Side.SLAVE, (near,)) for key in keys)

    def _stream(self, caller: SaeId, peer: SaeId) -> NearEnd:
        known = self._found.get((caller, peer))
        if known is not None and self._plane.near.get(known.terms.stream) is known:
            return known
        self._found = {(end.terms.local_sae, end.terms.peer_sae): end for end in self._plane.near.values()}
        if (caller, peer) not in self._found:
            raise SupplyError(Refusal.NOT_ALLOWED, f"no key stream joins {caller} with {peer}")
        return self._found[caller, peer]

    # ---- taking keys --------------------------------------------------------------------------

    async def _take(self, ends: Sequence[NearEnd], order: KeyOrder) -> tuple[StoredKey, ...]:
        """Keys that meet the order, its optional part too if there are such; empty where there are none."""
        for demands in dict.fromkeys(((*order.mandatory, *order.optional), order.mandatory)):
            keys = await self._take_meeting(ends, order, demands)
            if keys:
                return keys
        return ()

    async def _take_meeting(
        self, ends: Sequence[NearEnd], order: KeyOrder, demands: tuple[Demand, ...]
    ) -> tuple[StoredKey, ...]:
        store, now = self._plane.store, time.time()
        allowed, youngest = _allowed(self._plane.node, ends, demands), _youngest(demands, now)
        terms = ends[0].terms
        if len(ends) == 1 and order.size_bits == terms.key_size_bits:
            with _recorded():
                keys = store.draw(terms.stream, order.number, allowed, now, created_after=youngest)
            if keys:
                ends[0].wake()
            return keys
        needed = _needed(ends, order)
        # Parts must have a component in common, or neither would protect the whole key.
        for common in (Demand("", with_qkd=True), Demand("", with_pqc=True)):
            alike = _allowed(self._plane.node, ends, (*demands, common))
            parts = store.set_aside(needed, alike, now, created_after=youngest)
            if parts:
                for end in ends:
                    end.wake()
                return await self._assemble(ends, order, parts)
        return ()

    async def _assemble(
        self, ends: Sequence[NearEnd], order: KeyOrder, parts: dict[StreamName, tuple[StoredKey, ...]]
    ) -> tuple[StoredKey, ...]:
        """Keys made of these parts, which are used up whatever comes of it."""
        assembled = []
        for index in range(order.number):
            ways = []
            for end in ends:
                each = assembly.parts_needed(order.size_bits, end.terms.key_size_bits)
                chosen = parts[end.terms.stream][index * each : (index + 1) * each]
                ways.append(Way(end.terms, end.peer, chosen))
            assembled.append(self._assembler.prepare(order.size_bits, ways))
        reason, good = "the request was given up", False
        try:
            await self._assembler.confirm(assembled)
            reason = "a stream of the keys, or a link that they were built on, has changed meanwhile"
            good = self._still_good(ends, {each.key.provenance for each in assembled})
        except KeyPlaneError as error:
            reason = str(error)
            if error.code == pb.FAILURE_CODE_CONFIRMATION_MISMATCH:
                ends[0].confirmation_failed(reason)
        finally:
            # Not lazily: every part has to go.
            whole = [self._plane.store.use_up(used, "made into other keys") for used in parts.values()]
            if not (good and all(whole)):
                self._assembler.undo(assembled, reason)
        if not (good and all(whole)):
            raise SupplyError(Refusal.UNAVAILABLE, "not every KME confirmed the keys", (reason,))
        try:
            copies = [copy for each in assembled for copy in each.by_stream()]
            with _recorded():
                self._plane.store.records.deliver(copies, is_master=True)
        except SupplyError as error:
            self._assembler.undo(assembled, error.message)
            raise
        if len(ends) > 1:
            self._plane.store.remember_copies(copies)
        return tuple(each.key for each in assembled)

    def _still_good(self, ends: Sequence[NearEnd], kinds: Iterable[Provenance]) -> bool:
        allowed = _allowed(self._plane.node, ends, ())
        return all(self._plane.near.get(end.terms.stream) is end for end in ends) and all(map(allowed, kinds))

    # ---- when there are none ------------------------------------------------------------------

    def _why_none(self, ends: Sequence[NearEnd], order: KeyOrder) -> str:
        for end in ends:
            terms = end.terms
            ready, needed = self._plane.store.ready(terms.stream), _needed((end,), order)[terms.stream]
            if end.protection is Protection.NONE and not ready:
                return f"no way that stream {terms.stream} allows can make keys now"
            if ready < needed:
                return f"{ready} keys are ready for {terms.peer_sae}, {needed} of them are needed"
        return "keys that are ready have no protection in common that all streams allow"

    def _unmet(self, ends: Sequence[NearEnd], order: KeyOrder) -> tuple[str, ...]:
        """Mandatory demands that keep the ready keys from being enough; empty where others do."""
        if not order.mandatory or not self._enough(ends, order, ()):
            return ()
        unmet = tuple(each.name for each in order.mandatory if not self._enough(ends, order, (each,)))
        return unmet or tuple(each.name for each in order.mandatory)

    def _enough(self, ends: Sequence[NearEnd], order: KeyOrder, demands: tuple[Demand, ...]) -> bool:
        allowed, store, now = _allowed(self._plane.node, ends, demands), self._plane.store, time.time()
        return all(
            store.can_draw(stream, number, allowed, now, created_after=_youngest(demands, now))
            for stream, number in _needed(ends, order).items()
        )

    async def _more_or_refuse(
        self, ends: Sequence[NearEnd], order: KeyOrder, deadline: float, reason: str
    ) -> None:
        """Wait for another batch; SupplyError once that is no use."""
        left = deadline - time.monotonic()
        full = all(self._plane.store.ready(end.terms.stream) >= end.terms.buffer_keys for end in ends)
        if (left <= 0 or full) and (unmet := self._unmet(ends, order)):
            raise SupplyError(Refusal.MANDATORY_UNMET, "no ready key is as demanded", unmet)
        if left <= 0:
            raise SupplyError(Refusal.UNAVAILABLE, "not enough keys", (reason,))
        for end in ends:
            end.wake()
        ready, needed = self._plane.store.ready, _needed(ends, order)
        short = min(ends, key=lambda end: ready(end.terms.stream) / needed[end.terms.stream])
        delivered = short.delivered
        try:
            async with asyncio.timeout(min(left, 0.2)):
                await delivered.wait()
        except TimeoutError:
            return

    # ---- handing them over --------------------------------------------------------------------

    def _drawn(self, keys: tuple[StoredKey, ...], ends: Sequence[NearEnd], order: KeyOrder) -> Drawn:
        now = time.time()
        unmet = tuple(
            each.name for each in order.optional if not all(_meets(key, each, ends, now) for key in keys)
        )
        return Drawn(tuple(self._hand_over(key, Side.MASTER, ends) for key in keys), unmet)

    def _hand_over(self, key: StoredKey, side: Side, ends: Sequence[NearEnd]) -> DeliveredKey:
        """The key has left the store: from here on it exists only for this response."""
        provenance = key.provenance
        caller, peer = (
            (key.master_sae, key.slave_sae) if side is Side.MASTER else (key.slave_sae, key.master_sae)
        )
        material = bytes(key.key)
        key.key[:] = bytes(len(key.key))
        self._observer.key_delivered(
            key_id=key.key_id,
            side=side,
            sae=caller,
            peer_sae=peer,
            stream=key.stream,
            further=tuple((end.terms.peer_sae, end.terms.stream) for end in ends[1:]),
            key=material,
            protection=Protected(provenance.protection.value),
            paths=provenance.paths,
            k=provenance.shares,
            require_qkd=any(end.terms.require_qkd for end in ends),
            require_pqc=any(end.terms.require_pqc for end in ends),
            required_k=max(end.terms.min_k for end in ends),
        )
        self.served.add(key)
        extension = self._provenance_extension(key) if self._show_provenance(caller) else {}
        return DeliveredKey(key.key_id, material, extension)

    def _provenance_extension(self, key: StoredKey) -> dict[str, Any]:
        provenance = key.provenance
        return {
            "keyweave_protection": provenance.protection.value,
            "keyweave_stream": key.stream,
            "keyweave_paths": list(provenance.paths),
            "keyweave_shares": provenance.shares,
            "keyweave_links": sorted(provenance.links),
            "keyweave_trusted_nodes": list(provenance.trusted_nodes),
            "keyweave_emulated": provenance.emulated,
            # The hops in there are unknown to anybody but the vendor.
            "keyweave_vendor_domains": list(provenance.vendor_domains),
        }

    def _status_extension(self, near: NearEnd) -> dict[str, Any]:
        status: dict[str, Any] = {"keyweave_extensions": extensions.SUPPORTED}
        if self._show_provenance(near.terms.local_sae):
            status |= {
                "keyweave_stream": near.terms.stream,
                "keyweave_protection": near.protection.value,
                "keyweave_paths": near.path_ids,
            }
        return status


def _allowed(
    node: NodeName, ends: Sequence[NearEnd], demands: tuple[Demand, ...]
) -> Callable[[Provenance], bool]:
    """Whoever learns one copy knows the key: every part must satisfy every stream and every demand."""
    terms = [end.terms for end in ends]

    def allowed(kind: Provenance) -> bool:
        if len(terms) == 1:
            fits = terms[0].allows(kind)
        else:
            fits = all(each.allows_copy(kind, node) for each in terms)
        return fits and all(_protects(kind, each, ends) for each in demands)

    return allowed


def _protects(provenance: Provenance, demand: Demand, ends: Sequence[NearEnd]) -> bool:
    protection = provenance.protection
    # What the guard does not count as QKD is none for an application either.
    counts = not provenance.emulated or all(end.terms.accept_emulated for end in ends)
    return (
        ((protection.with_qkd and counts) or not demand.with_qkd)
        and (protection.with_pqc or not demand.with_pqc)
        and provenance.shares >= demand.min_shares
    )


def _meets(key: StoredKey, demand: Demand, ends: Sequence[NearEnd], now: float) -> bool:
    return _protects(key.provenance, demand, ends) and now - key.created <= demand.max_age_seconds


def _youngest(demands: Iterable[Demand], now: float) -> float:
    """Keys must have been made after this."""
    return now - min((demand.max_age_seconds for demand in demands), default=inf)


def _needed(ends: Sequence[NearEnd], order: KeyOrder) -> dict[StreamName, int]:
    """Ready keys that an order takes from each stream."""
    return {
        end.terms.stream: order.number * assembly.parts_needed(order.size_bits, end.terms.key_size_bits)
        for end in ends
    }


def _refuse_impossible(ends: Sequence[NearEnd], order: KeyOrder) -> None:
    for end in ends:
        least = end.terms.min_key_size_bits
        if order.size_bits < least:
            reason = f"size: {order.size_bits} bits; no key for {end.terms.peer_sae} has fewer than {least}"
            raise SupplyError(Refusal.TOO_MUCH, reason)
        needed, most = _needed((end,), order)[end.terms.stream], end.terms.buffer_keys
        if needed > most:
            reason = (
                f"number: {order.number} keys of {order.size_bits} bits for {end.terms.peer_sae} take "
                f"{needed} keys of {end.terms.key_size_bits} bits, and no more than {most} are kept ready"
            )
            raise SupplyError(Refusal.TOO_MUCH, reason)


@contextmanager
def _recorded() -> Iterator[None]:
    """No key leaves without a line in the ledger."""
    try:
        yield
    except LedgerError as error:
        raise SupplyError(Refusal.UNAVAILABLE, "deliveries cannot be recorded", (str(error),)) from None
