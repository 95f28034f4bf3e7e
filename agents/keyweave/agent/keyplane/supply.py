"""The key plane as the ETSI GS QKD 014 face sees it: who may have which key, and each only once."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keyweave.agent.etsi014.supply import DeliveredKey, Refusal, SupplyError, SupplyStatus
from keyweave.agent.keyplane.keystore import Protection, StoredKey
from keyweave.agent.keyplane.near import NearEnd
from keyweave.agent.keyplane.plane import KeyPlane
from keyweave.agent.keyplane.session import SILENT_SECONDS
from keyweave.agent.keyplane.terms import StreamTerms
from keyweave.agent.ledger.ledger import LedgerError
from keyweave.agent.observer import Observer, Protected, Side
from keyweave.common.names import SaeId, StreamName

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
            max_key_size=terms.key_size_bits,
            min_key_size=terms.key_size_bits,
        )

    async def draw(self, caller: SaeId, peer: SaeId, number: int, size_bits: int) -> tuple[DeliveredKey, ...]:
        """`number` confirmed keys for `caller` as master: all or none."""
        near = self._stream(caller, peer)
        if size_bits != near.terms.key_size_bits:
            raise SupplyError(Refusal.UNAVAILABLE, f"only keys of {near.terms.key_size_bits} bits are ready")
        deadline = time.monotonic() + DRAW_WAIT_SECONDS
        while True:
            terms = near.terms
            if self._plane.peers[terms.peer_node].silent_seconds() > SILENT_SECONDS:
                reason = f"the far agent, {terms.peer_node}, is silent: its SAE could not fetch the key"
            else:
                with _recorded():
                    taken = self._plane.store.draw(terms.stream, number, terms.allows, time.time())
                if taken:
                    near.wake()
                    return tuple(self._hand_over(key, Side.MASTER, terms) for key in taken)
                reason = self._why_none(near, number)
            await self._more_or_refuse(near, deadline, reason)
            if self._plane.near.get(terms.stream) is not near:
                raise SupplyError(Refusal.NOT_ALLOWED, "the stream has changed; ask again")

    async def collect(
        self, caller: SaeId, peer: SaeId, key_ids: tuple[uuid.UUID, ...]
    ) -> tuple[DeliveredKey, ...]:
        """The keys that `peer` drew for `caller`: all or none."""
        near = self._stream(caller, peer)
        now = time.time()
        found = [(key_id, self._plane.store.find_slave(key_id, now)) for key_id in key_ids]
        for key_id, key in found:
            if key is not None and (key.slave_sae, key.master_sae) != (caller, peer):
                raise SupplyError(Refusal.NOT_ALLOWED, f"key {key_id} was not drawn for {caller} by {peer}")
        if len(set(key_ids)) != len(key_ids) or any(
            key is None or not near.terms.allows(key.provenance) for _, key in found
        ):
            unknown = tuple(str(key_id) for key_id, key in found if key is None)
            raise SupplyError(
                Refusal.UNKNOWN_KEYS, "one or more keys specified are not found on KME", unknown
            )
        with _recorded():
            keys = self._plane.store.collect(key_ids)
        return tuple(self._hand_over(key, Side.SLAVE, near.terms) for key in keys)

    def _stream(self, caller: SaeId, peer: SaeId) -> NearEnd:
        for near in self._plane.near.values():
            if (near.terms.local_sae, near.terms.peer_sae) == (caller, peer):
                return near
        raise SupplyError(Refusal.NOT_ALLOWED, f"no key stream joins {caller} with {peer}")

    def _why_none(self, near: NearEnd, number: int) -> str:
        ready = self._plane.store.ready(near.terms.stream)
        if near.protection is Protection.NONE and not ready:
            return "no way that the stream allows can make keys now"
        return f"{ready} keys are ready, {number} were asked for"

    async def _more_or_refuse(self, near: NearEnd, deadline: float, reason: str) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise SupplyError(Refusal.UNAVAILABLE, "not enough keys", (reason,))
        near.wake()
        delivered = near.delivered
        try:
            async with asyncio.timeout(min(left, 0.2)):
                await delivered.wait()
        except TimeoutError:
            return

    def _hand_over(self, key: StoredKey, side: Side, terms: StreamTerms) -> DeliveredKey:
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
            key=material,
            protection=Protected(provenance.protection.value),
            paths=provenance.paths,
            k=provenance.shares,
            require_qkd=terms.require_qkd,
            require_pqc=terms.require_pqc,
            required_k=terms.min_k,
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
        }


@contextmanager
def _recorded() -> Iterator[None]:
    """No key leaves without a line in the ledger."""
    try:
        yield
    except LedgerError as error:
        raise SupplyError(Refusal.UNAVAILABLE, "deliveries cannot be recorded", (str(error),)) from None
