"""The far end of a stream: it receives shares, answers ML-KEM, checks an offer, and confirms it.

Everything here happens in the order the frames arrive, without suspending, so that the ratchets of both
ends stay in step.
"""

import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field, replace

from keyweave.agent import crypto, memory
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys import assembly
from keyweave.agent.keyplane.keys.keystore import (
    BATCH_LIFETIME_SECONDS,
    KeyStore,
    Origin,
    Protection,
    Provenance,
    StoredKey,
)
from keyweave.agent.keyplane.sessions.handshake import Proven
from keyweave.agent.keyplane.streams import combine, kem, wire
from keyweave.agent.keyplane.streams.combine import BatchContext
from keyweave.agent.keyplane.streams.relay import MAX_LINKS
from keyweave.agent.keyplane.terms import StreamTerms
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName, is_name
from keyweave.v1 import keyplane_pb2 as pb

# The near end makes one batch at a time; a few more may have got lost. Counted by the path that brought
# the first share, so that whoever floods one path pushes out nobody's batches but its own.
MAX_OPEN_BATCHES = 8
MAX_BATCH_KEYS = 512
REMEMBERED_CONFIRMATIONS = 256
# Keys of two requests (ETSI GS QKD 014 enc_keys), and as many that are asked for again.
REMEMBERED_ASSEMBLED = 512
# A slave fetches later than its master: its copies live longer by this.
SLAVE_GRACE_SECONDS = 60


@dataclass(slots=True)
class _Inbox:
    """Shares of one batch that have arrived."""

    began: float
    opened_by: PathId
    shares: dict[int, bytearray] = field(repr=False)
    paths: dict[int, PathId]
    count: int
    # Whether a share came over a link whose device at this end is an emulator.
    emulated: bool = False
    # Vendors' domains that such links lead through.
    vendor_domains: set[str] = field(default_factory=set)


class FarEnd:
    """The receiving half of one stream at this node."""

    def __init__(
        self,
        node: NodeName,
        terms: StreamTerms,
        store: KeyStore,
        least_parameter_set: int = kem.DEFAULT_PARAMETER_SET,
    ) -> None:
        self.terms = terms
        self._least_parameter_set = least_parameter_set
        self._node = node
        self._store = store
        self._inboxes: OrderedDict[bytes, _Inbox] = OrderedDict()
        self._ratchet: kem.Ratchet | None = None
        self._confirmed: OrderedDict[bytes, bytes] = OrderedDict()
        # Answers to assembled keys, by the tag of the request.
        self._assembled: OrderedDict[bytes, bytes] = OrderedDict()

    def accepts(self, relay: pb.Relay) -> bool:
        """Whether a share may end here: the path is one of the stream's, towards this end."""
        return PathId(relay.path_id) in self.terms.accepted and relay.reverse == self.terms.is_source

    def last_hop(self, relay: pb.Relay) -> tuple[LinkName, NodeName]:
        """Over which link and from whom shares of this path must come."""
        path = self.terms.accepted[PathId(relay.path_id)]
        return path.first_link, path.first_node

    def receive(
        self, relay: pb.Relay, secret: bytearray, *, emulated: bool = False, vendor_domain: str = ""
    ) -> pb.Frame:
        """Keep a share until its batch is offered, with what this end knows of the last link."""
        now = time.monotonic()
        for batch_id in [b for b, old in self._inboxes.items() if old.began < now - BATCH_LIFETIME_SECONDS]:
            self._discard(batch_id)
        inbox = self._inboxes.get(relay.batch_id) or self._open(relay, now)
        if inbox.count != relay.shares or relay.share in inbox.shares:
            memory.wipe(secret)
            raise self._failure(pb.FAILURE_CODE_MALFORMED, f"share {relay.share} came twice or counts differ")
        inbox.shares[relay.share] = secret
        inbox.emulated |= emulated
        inbox.vendor_domains |= {vendor_domain} - {""}
        inbox.paths[relay.share] = PathId(relay.path_id)
        return pb.Frame(relay_accepted=pb.RelayAccepted())

    def _open(self, relay: pb.Relay, now: float) -> _Inbox:
        path_id = PathId(relay.path_id)
        same = [batch_id for batch_id, old in self._inboxes.items() if old.opened_by == path_id]
        if len(same) >= MAX_OPEN_BATCHES:
            self._discard(same[0])
        inbox = self._inboxes[relay.batch_id] = _Inbox(now, path_id, {}, {}, relay.shares)
        return inbox

    def answer_kem(self, offer: pb.KemOffer, ends: Proven) -> pb.Frame:
        """A new ML-KEM exchange; it replaces the one before. SignatureError where it is not the peer's."""
        if offer.parameter_set < self._least_parameter_set:
            raise self._failure(
                pb.FAILURE_CODE_NOT_ALLOWED,
                f"ML-KEM-{offer.parameter_set} is offered; this node asks for {self._least_parameter_set}",
            )
        try:
            answer, ratchet = kem.answer(offer, ends, time.monotonic())
        except ValueError as error:
            raise self._failure(pb.FAILURE_CODE_MALFORMED, str(error)) from None
        self._forget_ratchet()
        self._ratchet = ratchet
        return pb.Frame(kem_answer=answer)

    def confirm(self, offer: pb.Offer) -> pb.Frame:
        """Derive the offered keys; keep them and prove it, if both ends have the same."""
        known = self._confirmed.get(offer.batch_id)
        if known is not None:
            return pb.Frame(confirm=pb.Confirm(batch_id=offer.batch_id, far_tag=known))
        provenance = self._check(offer)
        qkd_secret = self._gather(offer)
        kem_secret = self._kem_secret(offer)
        context = context_of(offer, kem_secret.transcript if kem_secret else b"")
        keys = combine.derive_keys(context, kem_secret.secret if kem_secret else b"", qkd_secret)
        memory.wipe(qkd_secret)
        tags = combine.tags(context, keys)
        if not crypto.equal(tags.near, offer.near_tag):
            for key in keys:
                memory.wipe(key)
            raise self._failure(
                pb.FAILURE_CODE_CONFIRMATION_MISMATCH,
                "the ends derived different keys: destroyed",
            )
        created = time.time()
        expires = created + self.terms.key_ttl_seconds + SLAVE_GRACE_SECONDS
        origin = Origin(
            self.terms.stream,
            self.terms.peer_node,
            context.master_sae,
            context.slave_sae,
            provenance,
            created,
            expires,
        )
        self._store.add_slave(
            [StoredKey(key_id, key, origin) for key_id, key in zip(context.key_ids, keys, strict=True)]
        )
        self._confirmed[offer.batch_id] = tags.far
        while len(self._confirmed) > REMEMBERED_CONFIRMATIONS:
            self._confirmed.popitem(last=False)
        return pb.Frame(confirm=pb.Confirm(batch_id=offer.batch_id, far_tag=tags.far))

    def assemble(self, request: pb.Assemble) -> pb.Frame:
        """Make a key for the local SAE out of keys that wait for it, in their place, and prove it."""
        answer = self._assembled.get(request.near_tag)
        if answer is None:
            answer = self._assemble(request)
            self._assembled[request.near_tag] = answer
            while len(self._assembled) > REMEMBERED_ASSEMBLED:
                self._assembled.popitem(last=False)
        return pb.Frame(assembled=pb.Assembled(key_id=request.key_id, far_tag=answer))

    def _assemble(self, request: pb.Assemble) -> bytes:
        """The tag for a request that has not been seen before."""
        terms, now = self.terms, time.time()
        if (request.master_sae, request.slave_sae) != (terms.peer_sae, terms.local_sae):
            raise self._failure(pb.FAILURE_CODE_NOT_ALLOWED, "the key is for other SAEs than the stream's")
        if problem := assembly.well_formed(request, terms.key_size_bits):
            raise self._failure(pb.FAILURE_CODE_MALFORMED, problem)
        if request.key_size_bits < terms.min_key_size_bits:
            reason = f"{request.key_size_bits} bits; the guard allows no less than {terms.min_key_size_bits}"
            raise self._failure(pb.FAILURE_CODE_NOT_ALLOWED, reason)
        part_ids = [uuid.UUID(bytes=part_id) for part_id in request.part_ids]
        parts = [part for part_id in part_ids if (part := self._store.find_slave(part_id, terms.stream, now))]
        if len(parts) != len(part_ids):
            raise self._failure(pb.FAILURE_CODE_UNKNOWN_STATE, "not all parts of the key are here")
        provenance = self._assembled_provenance(request, parts)
        if not terms.allows(provenance) or (
            len(request.made_from) > 1 and not terms.allows_copy(provenance, self._node)
        ):
            reason = "a copy of the key is protected less than this stream requires"
            raise self._failure(pb.FAILURE_CODE_NOT_ALLOWED, reason)
        secrets = [part.key for part in parts]
        if not crypto.equal(assembly.near_tag(request, secrets), request.near_tag):
            # Sent on, these keys would not be the ones that the other end has.
            reason = "the ends have different parts: destroyed"
            self._store.destroy_slave(terms.stream, part_ids, reason)
            raise self._failure(pb.FAILURE_CODE_CONFIRMATION_MISMATCH, reason)
        tag = assembly.far_tag(request, secrets)
        origin = replace(
            parts[0].origin,
            provenance=provenance,
            created=min(part.created for part in parts),
            expires=min(part.expires for part in parts),
            beside=frozenset(
                StreamName(entry.stream) for entry in request.made_from if entry.stream != terms.stream
            ),
        )
        material = assembly.key_from(secrets, request.key_size_bits, request.wrapped)
        key = StoredKey(request.key_id, material, origin)
        self._store.assemble_slave(key, part_ids)
        return tag

    def _assembled_provenance(self, request: pb.Assemble, parts: list[StoredKey]) -> Provenance:
        """Of all copies: what this end knows of its own parts, and what the other end states of the rest."""
        own = Provenance.weakest([part.provenance for part in parts])
        try:
            return Provenance.weakest(
                [
                    own if entry.stream == self.terms.stream else assembly.provenance_from(entry)
                    for entry in request.made_from
                ]
            )
        except ValueError as error:
            raise self._failure(pb.FAILURE_CODE_MALFORMED, str(error)) from None

    def forget(self) -> None:
        """The peer has restarted, or the stream is gone: destroy shares and ML-KEM state."""
        for batch_id in list(self._inboxes):
            self._discard(batch_id)
        self._forget_ratchet()
        self._confirmed.clear()
        self._assembled.clear()

    def _check(self, offer: pb.Offer) -> Provenance:
        """What protects the offered keys; KeyPlaneError unless they are what the stream asks for."""
        terms = self.terms
        if (offer.master_sae, offer.slave_sae) != (terms.peer_sae, terms.local_sae):
            raise self._failure(pb.FAILURE_CODE_NOT_ALLOWED, "the offer names other SAEs than the stream")
        if offer.key_size_bits != terms.key_size_bits:
            raise self._failure(
                pb.FAILURE_CODE_NOT_ALLOWED,
                f"keys of {offer.key_size_bits} bits; the stream has {terms.key_size_bits}",
            )
        ids = list(offer.key_ids)
        if not 0 < len(set(ids)) == len(ids) <= MAX_BATCH_KEYS or any(len(i) != 16 for i in ids):
            raise self._failure(pb.FAILURE_CODE_MALFORMED, "key_ids are not 1..512 different UUIDs")
        if len(offer.batch_id) != 16:
            raise self._failure(pb.FAILURE_CODE_MALFORMED, "batch_id must have 16 bytes")
        if len(ids) * offer.key_size_bits // 8 > wire.MAX_SECRET_BYTES:
            reason = f"all keys of a batch have at most {wire.MAX_SECRET_BYTES} bytes together"
            raise self._failure(pb.FAILURE_CODE_MALFORMED, reason)
        if problem := _domains_problem(offer):
            raise self._failure(pb.FAILURE_CODE_MALFORMED, problem)
        if any(PathId(path_id) not in terms.accepted for path_id in offer.path_ids):
            # Policy may have changed since the shares came: what it no longer names counts for nothing.
            raise self._failure(pb.FAILURE_CODE_NOT_ALLOWED, "a path of the offer is not the stream's")
        provenance = provenance_of(offer, terms)
        if not terms.allows(provenance):
            raise self._failure(pb.FAILURE_CODE_NOT_ALLOWED, "the offer lacks what the stream requires")
        return provenance

    def _gather(self, offer: pb.Offer) -> bytearray:
        """The XOR of all shares of a batch; exactly those, over exactly those paths, that are offered."""
        if not offer.path_ids:
            return bytearray()
        inbox = self._inboxes.get(offer.batch_id)
        paths = [inbox.paths.get(i) for i in range(len(offer.path_ids))] if inbox else []
        size = len(offer.key_ids) * combine.secret_bytes_per_key(offer.key_size_bits)
        if (
            inbox is None
            or inbox.count != len(offer.path_ids)
            or paths != list(offer.path_ids)
            or len(set(offer.path_ids)) != len(offer.path_ids)
            or any(len(share) != size for share in inbox.shares.values())
        ):
            raise self._failure(pb.FAILURE_CODE_UNKNOWN_STATE, "the offered shares are not here")
        if inbox.emulated and not offer.emulated:
            # Somebody on the way told the near end something else than this end's own device says.
            self._discard(offer.batch_id)
            raise self._failure(pb.FAILURE_CODE_NOT_ALLOWED, "emulated key bits are offered as quantum ones")
        if not inbox.vendor_domains <= set(offer.vendor_domains):
            self._discard(offer.batch_id)
            reason = "key bits from a vendor's domain are offered as those of a quantum channel"
            raise self._failure(pb.FAILURE_CODE_NOT_ALLOWED, reason)
        secret = bytearray(size)
        for share in inbox.shares.values():
            secret = memory.xor(secret, share)
        self._discard(offer.batch_id)
        return secret

    def _kem_secret(self, offer: pb.Offer) -> kem.KemSecret | None:
        if not offer.kem_id:
            return None
        secret, ratchet, count = None, self._ratchet, len(offer.key_ids)
        if ratchet is not None and ratchet.kem_id == offer.kem_id:
            if not ratchet.is_fresh_at_far_end(time.monotonic(), self.terms.refresh_seconds, count):
                self._forget_ratchet()
                raise self._failure(
                    pb.FAILURE_CODE_NOT_ALLOWED, "the offered ML-KEM exchange is used up or too old"
                )
            secret = ratchet.advance_to(offer.kem_step)
        if ratchet is None or secret is None:
            raise self._failure(pb.FAILURE_CODE_UNKNOWN_STATE, "the offered ML-KEM step is not here")
        ratchet.keys_made += count
        return secret

    def _forget_ratchet(self) -> None:
        if self._ratchet is not None:
            self._ratchet.wipe()
        self._ratchet = None

    def _discard(self, batch_id: bytes) -> None:
        for share in self._inboxes.pop(batch_id).shares.values():
            memory.wipe(share)

    def _failure(self, code: pb.FailureCode, reason: str) -> KeyPlaneError:
        return KeyPlaneError(code, reason, node=self._node)


def _domains_problem(offer: pb.Offer) -> str:
    names = list(offer.vendor_domains)
    if len(names) > MAX_LINKS or not all(map(is_name, names)) or names != sorted(set(names)):
        return f"vendor_domains are not at most {MAX_LINKS} different names, sorted"
    return ""


def context_of(offer: pb.Offer, kem_transcript: bytes) -> BatchContext:
    """What an offer binds its keys to."""
    return BatchContext(
        stream=StreamName(offer.stream),
        batch_id=offer.batch_id,
        key_ids=tuple(offer.key_ids),
        key_size_bits=offer.key_size_bits,
        master_sae=SaeId(offer.master_sae),
        slave_sae=SaeId(offer.slave_sae),
        path_ids=tuple(PathId(path_id) for path_id in offer.path_ids),
        trusted_nodes=tuple(offer.trusted_nodes),
        vendor_domains=tuple(offer.vendor_domains),
        emulated=offer.emulated,
        kem_id=offer.kem_id,
        kem_step=offer.kem_step,
        kem_transcript=kem_transcript,
    )


def provenance_of(offer: pb.Offer, terms: StreamTerms) -> Provenance:
    """What protects the offered keys. Paths that the stream does not have count for nothing."""
    known = [terms.accepted[PathId(p)] for p in offer.path_ids if PathId(p) in terms.accepted]
    if len(known) != len(offer.path_ids):
        known = []
    match bool(known), bool(offer.kem_id):
        case True, True:
            protection = Protection.HYBRID
        case True, False:
            protection = Protection.QKD
        case False, True:
            protection = Protection.PQC
        case _:
            protection = Protection.NONE
    return Provenance(
        protection=protection,
        paths=tuple(path.path_id for path in known),
        links=frozenset().union(*(path.links for path in known)),
        trusted_nodes=tuple(node for path in known for node in path.trusted_nodes),
        emulated=offer.emulated,
        vendor_domains=tuple(offer.vendor_domains),
    )
