"""The master's end of assembled keys: every slave's KME has confirmed its copy, or there is no key."""

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from keyweave.agent import crypto, memory
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys import assembly
from keyweave.agent.keyplane.keys.keystore import Provenance, StoredKey
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.streams.batch import ask_until_answered
from keyweave.agent.keyplane.terms import StreamTerms
from keyweave.common.names import NodeName, StreamName
from keyweave.v1 import keyplane_pb2 as pb

# Requests on their way at once: a peer takes 1,024 frames, and others have frames for it too.
REQUESTS_AT_ONCE = 64

Withdraw = Callable[[StreamName, Iterable[uuid.UUID], str], None]


@dataclass(frozen=True, slots=True)
class Way:
    """A stream that carries a copy of a key, and what is used up for it, set aside in the store."""

    terms: StreamTerms
    peer: Peer
    parts: tuple[StoredKey, ...]

    @property
    def provenance(self) -> Provenance:
        """What protects the copy."""
        return Provenance.weakest([part.provenance for part in self.parts])


@dataclass(frozen=True, slots=True)
class _Copy:
    """One copy of one key, to be confirmed."""

    way: Way
    request: pb.Assemble
    far_tag: bytes


@dataclass(frozen=True, slots=True)
class Assembled:
    """A key, and its copy over every way, first the one that the master's own is like."""

    key: StoredKey
    copies: tuple[_Copy, ...]

    def by_stream(self) -> list[StoredKey]:
        """The key as each stream has it: what the ledger says of it, and what is called back."""
        ends = [copy.way.terms for copy in self.copies]
        streams = frozenset(end.stream for end in ends)
        return [
            replace(
                self.key,
                origin=replace(
                    self.key.origin,
                    stream=end.stream,
                    peer_node=end.peer_node,
                    slave_sae=end.peer_sae,
                    beside=streams - {end.stream},
                ),
            )
            for end in ends
        ]


class Assembler:
    """Makes keys out of others with the far ends that are to have a copy."""

    def __init__(self, node: NodeName, withdraw: Withdraw) -> None:
        self._node = node
        self._withdraw = withdraw

    def prepare(self, key_bits: int, ways: Sequence[Way]) -> Assembled:
        """A key over these ways, which nobody has confirmed yet."""
        key_id = uuid.uuid4()
        material = assembly.key_from(_bytes_of(ways[0]), key_bits)
        made_from = [assembly.made_from(way.terms.stream, way.provenance) for way in ways]
        copies = []
        for way in ways:
            parts = _bytes_of(way)
            # Over the first stream the parts are the key itself; XORed with it they would be zeros.
            wrapped = b"" if way is ways[0] else bytes(assembly.key_from(parts, key_bits, bytes(material)))
            request = pb.Assemble(
                stream=way.terms.stream,
                key_id=key_id.bytes,
                key_size_bits=key_bits,
                master_sae=way.terms.local_sae,
                slave_sae=way.terms.peer_sae,
                part_ids=[part.key_id.bytes for part in way.parts],
                wrapped=wrapped,
                made_from=made_from,
            )
            request.near_tag = assembly.near_tag(request, parts)
            copies.append(_Copy(way, request, assembly.far_tag(request, parts)))
        memory.lock(material)
        used = [part for way in ways for part in way.parts]
        origin = replace(
            used[0].origin,
            provenance=Provenance.weakest([way.provenance for way in ways]),
            created=min(part.created for part in used),
            expires=min(part.expires for part in used),
        )
        return Assembled(StoredKey(key_id.bytes, material, origin), tuple(copies))

    async def confirm(self, keys: Sequence[Assembled]) -> None:
        """Return once every slave's KME has proved that it has its copy; after a KeyPlaneError, `undo`."""
        limit = asyncio.Semaphore(REQUESTS_AT_ONCE)
        asking = [
            asyncio.create_task(self._confirm(copy, limit), name=f"assemble-{copy.request.stream}")
            for key in keys
            for copy in key.copies
        ]
        # Not a task group: one that fails while it is cancelled loses the cancellation (Python 3.11).
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            raise next((f for f in failures if not isinstance(f, KeyPlaneError)), failures[0])

    def undo(self, keys: Sequence[Assembled], reason: str) -> None:
        """Nobody gets these keys: the copies go, and what they were made from."""
        gone: dict[StreamName, list[uuid.UUID]] = {}
        for key in keys:
            memory.wipe(key.key.key)
            for copy in key.copies:
                ids = gone.setdefault(copy.way.terms.stream, [])
                ids += [key.key.key_id, *(part.key_id for part in copy.way.parts)]
        for stream, ids in gone.items():
            self._withdraw(stream, ids, reason)

    async def _confirm(self, copy: _Copy, limit: asyncio.Semaphore) -> None:
        async with limit:
            reply = await ask_until_answered(copy.way.peer, pb.Frame(assemble=copy.request))
        if not crypto.equal(reply.assembled.far_tag, copy.far_tag):
            raise KeyPlaneError(
                pb.FAILURE_CODE_CONFIRMATION_MISMATCH,
                f"the tag of {copy.way.terms.peer_node} for a copy is wrong",
                node=self._node,
            )


def _bytes_of(way: Way) -> list[bytearray]:
    return [part.key for part in way.parts]
