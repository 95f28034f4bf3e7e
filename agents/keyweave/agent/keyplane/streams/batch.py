"""Making one batch of keys at the near end: relay, exchange, derive, offer, verify. All of it, or nothing."""

import asyncio
import os
import time
from collections.abc import Coroutine, Sequence

from keyweave.agent import crypto, memory
from keyweave.agent.keyplane.failure import KeyPlaneError, SignatureError
from keyweave.agent.keyplane.keys.keystore import Origin, StoredKey
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.streams import combine, kem
from keyweave.agent.keyplane.streams.far import context_of, provenance_of
from keyweave.agent.keyplane.streams.relay import Relays, Share, vendor_domains
from keyweave.agent.keyplane.terms import PathSetTerms, StreamTerms
from keyweave.common.names import NodeName
from keyweave.v1 import keyplane_pb2 as pb

OFFER_TIMEOUT_SECONDS = 1.0
OFFER_ATTEMPTS = 3


class BatchMaker:
    """Makes batches of one stream's keys with the far end."""

    def __init__(
        self,
        node: NodeName,
        terms: StreamTerms,
        peer: Peer,
        relays: Relays,
        parameter_set: int = kem.DEFAULT_PARAMETER_SET,
    ) -> None:
        self.terms = terms
        self._parameter_set = parameter_set
        self.peer = peer
        self._node = node
        self._relays = relays
        self._ratchet: kem.Ratchet | None = None
        self._exchanging = asyncio.Lock()

    def forget(self) -> None:
        """Start a new ML-KEM exchange with the next batch."""
        if self._ratchet is not None:
            self._ratchet.wipe()
        self._ratchet = None

    async def make(self, path_set: PathSetTerms | None, count: int) -> tuple[StoredKey, ...]:
        """Keys that both ends are proved to have; without a path set by ML-KEM alone.

        KeyPlaneError leaves nothing behind.
        """
        terms = self.terms
        batch_id = os.urandom(16)
        qkd_secret, crossed = bytearray(), pb.RelayAccepted()
        if path_set is not None:
            qkd_secret, crossed = await self._relay(path_set, batch_id, count)
        try:
            kem_secret = await self._kem_secret(count, required=terms.require_pqc or path_set is None)
        except KeyPlaneError:
            memory.wipe(qkd_secret)
            raise
        offer = pb.Offer(
            stream=terms.stream,
            batch_id=batch_id,
            key_ids=_new_key_ids(count),
            key_size_bits=terms.key_size_bits,
            master_sae=terms.local_sae,
            slave_sae=terms.peer_sae,
            path_ids=path_set.key if path_set else (),
            kem_id=kem_secret.kem_id if kem_secret else b"",
            kem_step=kem_secret.step if kem_secret else 0,
            emulated=crossed.emulated,
            vendor_domains=crossed.vendor_domains,
            created_unix_nanos=time.time_ns(),
            trusted_nodes=[n for p in path_set.paths for n in p.trusted_nodes] if path_set else [],
        )
        provenance = provenance_of(offer, terms)
        if not terms.allows(provenance):
            raise KeyPlaneError(
                pb.FAILURE_CODE_NOT_ALLOWED, "this way gives less than the stream requires", node=self._node
            )
        context = context_of(offer, kem_secret.transcript if kem_secret else b"")
        keys = combine.derive_keys(context, kem_secret.secret if kem_secret else b"", qkd_secret)
        memory.wipe(qkd_secret)
        tags = combine.tags(context, keys)
        offer.near_tag = tags.near
        try:
            await self._confirm(offer, tags.far)
        except KeyPlaneError:
            for key in keys:
                memory.wipe(key)
            # Whatever the far end makes of its ratchet now, this end starts a new one.
            self.forget()
            raise
        created = time.time()
        origin = Origin(
            terms.stream,
            terms.peer_node,
            terms.local_sae,
            terms.peer_sae,
            provenance,
            created,
            created + terms.key_ttl_seconds,
        )
        return tuple(
            [StoredKey(key_id, key, origin) for key_id, key in zip(context.key_ids, keys, strict=True)]
        )

    async def _relay(
        self, path_set: PathSetTerms, batch_id: bytes, count: int
    ) -> tuple[bytearray, pb.RelayAccepted]:
        """Send one random share down each path; the secret is their XOR. All arrive, or none counts.

        With it goes what the nodes on the way told of all links together.
        """
        size = count * combine.secret_bytes_per_key(self.terms.key_size_bits)
        shares = [bytearray(os.urandom(size)) for _ in path_set.paths]
        sending = [
            self._relays.send(
                Share(
                    self.terms.stream,
                    path.path_id,
                    path.digest,
                    not self.terms.is_source,
                    batch_id,
                    index,
                    len(shares),
                ),
                path.first_link,
                path.first_node,
                shares[index],
            )
            for index, path in enumerate(path_set.paths)
        ]
        try:
            told = await _all_of(sending)
        except BaseException:
            for share in shares:
                memory.wipe(share)
            raise
        secret = bytearray(size)
        for share in shares:
            secret = memory.xor(secret, share)
            memory.wipe(share)
        return secret, pb.RelayAccepted(
            emulated=any(each.emulated for each in told),
            vendor_domains=vendor_domains(name for each in told for name in each.vendor_domains),
        )

    async def _kem_secret(self, count: int, *, required: bool) -> kem.KemSecret | None:
        """The next step of the ML-KEM ratchet, renewed where due; None where it fails and may.

        The caller sends its offer without suspending after this, so offers go out in the order of steps.
        """
        ratchet = self._fresh(count)
        if ratchet is None:
            async with self._exchanging:
                # Another batch may have made the exchange meanwhile.
                ratchet = self._fresh(count)
                if ratchet is None:
                    self.forget()
                    try:
                        ratchet = self._ratchet = await self._exchange()
                    except SignatureError:
                        raise  # somebody is in between: no key at all, whatever the stream can do without
                    except KeyPlaneError:
                        if required:
                            raise
                        return None
        ratchet.keys_made += count
        return ratchet.advance()

    def _fresh(self, count: int) -> kem.Ratchet | None:
        """The ratchet, where `count` more keys may still come from it."""
        ratchet = self._ratchet
        if ratchet is None or not ratchet.is_fresh(time.monotonic(), self.terms.refresh_seconds, count):
            return None
        return ratchet

    async def _exchange(self) -> kem.Ratchet:
        ends = self.peer.proven
        offer, private_key = kem.offer(self.terms.stream, os.urandom(16), self._parameter_set, ends)
        reply = await self.peer.request(pb.Frame(kem_offer=offer), OFFER_TIMEOUT_SECONDS)
        try:
            return kem.finish(offer, private_key, reply.kem_answer, ends, time.monotonic())
        except SignatureError as error:
            self.peer.disbelieve(error)
            raise
        except ValueError as error:
            reason = f"ML-KEM answer: {error}"
            raise KeyPlaneError(pb.FAILURE_CODE_MALFORMED, reason, node=self._node) from None

    async def _confirm(self, offer: pb.Offer, far_tag: bytes) -> None:
        """KeyPlaneError unless the far end proves that it has the same keys."""
        reply = await ask_until_answered(self.peer, pb.Frame(offer=offer))
        if not crypto.equal(reply.confirm.far_tag, far_tag):
            raise KeyPlaneError(
                pb.FAILURE_CODE_CONFIRMATION_MISMATCH, "the far end's tag is wrong", node=self._node
            )


async def _all_of(sending: Sequence[Coroutine[object, object, pb.RelayAccepted]]) -> list[pb.RelayAccepted]:
    """The outcome of all, once each has one; the first failure where any has failed."""
    if len(sending) == 1:
        return [await sending[0]]
    # Not a task group: one that fails while it is cancelled loses the cancellation (Python 3.11).
    outcomes = await asyncio.gather(*sending, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if failures:
        raise next((f for f in failures if not isinstance(f, KeyPlaneError)), failures[0])
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


def _new_key_ids(count: int) -> list[bytes]:
    """Random UUIDs (version 4, RFC 9562 section 5.4), from one read of the system's random source."""
    drawn = bytearray(os.urandom(16 * count))
    for start in range(0, len(drawn), 16):
        drawn[start + 6] = drawn[start + 6] & 0x0F | 0x40
        drawn[start + 8] = drawn[start + 8] & 0x3F | 0x80
    return [bytes(drawn[start : start + 16]) for start in range(0, len(drawn), 16)]


async def ask_until_answered(peer: Peer, question: pb.Frame) -> pb.Frame:
    """The answer to an idempotent request: where it gets lost, it is asked for again."""
    for attempt in range(OFFER_ATTEMPTS):
        try:
            # Sending gives a frame its id, and the one before may still be in the queue.
            frame = pb.Frame()
            frame.CopyFrom(question)
            return await peer.request(frame, OFFER_TIMEOUT_SECONDS)
        except KeyPlaneError as error:
            last = attempt == OFFER_ATTEMPTS - 1
            if error.code != pb.FAILURE_CODE_UNREACHABLE or last or not peer.connected:
                raise
    raise AssertionError("unreachable")
