"""Keys made from confirmed keys: what both ends must agree on, and how each proves that it does.

A key of a size other than the buffered one is the beginning of as many buffered keys as it takes. A key for
several slaves is made so over the first one's stream; over each further stream it travels XORed with as many
bits of that stream's keys. Parts serve one key only, so no bit is stretched or used twice.
"""

import struct
from collections.abc import Iterable, Sequence

from keyweave.agent import crypto, memory
from keyweave.agent.keyplane.keys.keystore import Protection, Provenance
from keyweave.agent.keyplane.streams.combine import bytes_field, list_field, text_field
from keyweave.common.names import LinkName, PathId, is_name
from keyweave.v1 import keyplane_pb2 as pb

MIN_KEY_BITS = 64
MAX_KEY_BITS = 8192
# Slaves of one key besides the first (ETSI GS QKD 014 max_SAE_ID_count).
MAX_FURTHER_SLAVES = 16
# Names in one entry of `made_from`; a stream accepts at most 256 paths.
MAX_NAMES = 1024
MAX_NAME_CHARACTERS = 200
# In all names of `made_from` together: they are kept with the key, and written to the ledger.
MAX_MADE_FROM_CHARACTERS = 32 * 1024
MAX_SHARES = 8

_SALT = crypto.digest(b"keyweave assembled key 1")
_NEAR_LABEL = b"keyweave assembled key near end 1"
_FAR_LABEL = b"keyweave assembled key far end 1"


def parts_needed(key_bits: int, part_bits: int) -> int:
    """Buffered keys of `part_bits` that one key of `key_bits` uses up."""
    return -(-key_bits // part_bits)


def key_from(parts: Sequence[bytearray], key_bits: int, wrapped: bytes = b"") -> bytearray:
    """The key that these parts make, or, from its wrapped form, the key that they were wrapped with."""
    pad = b"".join(bytes(part) for part in parts)[: key_bits // 8]
    return memory.xor(wrapped, pad) if wrapped else bytearray(pad)


def near_tag(request: pb.Assemble, parts: Sequence[bytearray]) -> bytes:
    """Proof by the master's end that it has the parts, over everything in the request but the tag."""
    return _tag(_NEAR_LABEL, request, parts)


def far_tag(request: pb.Assemble, parts: Sequence[bytearray]) -> bytes:
    """Proof by the slave's end that it has the same."""
    return _tag(_FAR_LABEL, request, parts)


def _tag(label: bytes, request: pb.Assemble, parts: Sequence[bytearray]) -> bytes:
    # The tag's key is derived from whole parts under labels of its own; it is neither key nor pad.
    seed = crypto.hkdf_extract(_SALT, b"".join(bytes(part) for part in parts))
    return crypto.mac(crypto.hkdf_expand(seed, label, crypto.HASH_BYTES), label + encode(request))


def encode(request: pb.Assemble) -> bytes:
    """Canonical bytes of a request without its tag (docs/protocol.md)."""
    fields = [
        text_field(request.stream),
        bytes_field(request.key_id),
        struct.pack(">I", request.key_size_bits),
        text_field(request.master_sae),
        text_field(request.slave_sae),
        struct.pack(">I", len(request.part_ids)),
        *(bytes_field(part_id) for part_id in request.part_ids),
        bytes_field(request.wrapped),
        struct.pack(">I", len(request.made_from)),
    ]
    for entry in request.made_from:
        fields += [
            text_field(entry.stream),
            text_field(entry.protection),
            list_field(entry.path_ids),
            list_field(entry.links),
            list_field(entry.trusted_nodes),
            list_field(entry.vendor_domains),
            struct.pack(">?I", entry.emulated, entry.shares),
        ]
    return b"".join(fields)


def made_from(stream: str, provenance: Provenance) -> pb.AssembledFrom:
    """What protects the copy that goes over a stream, for the wire."""
    return pb.AssembledFrom(
        stream=stream,
        protection=provenance.protection.value,
        path_ids=provenance.paths,
        links=sorted(provenance.links),
        trusted_nodes=provenance.trusted_nodes,
        emulated=provenance.emulated,
        vendor_domains=provenance.vendor_domains,
        shares=provenance.shares,
    )


def provenance_from(entry: pb.AssembledFrom) -> Provenance:
    """What protects a copy, as the master's end states it; ValueError where that makes no sense."""
    names = (*entry.path_ids, *entry.links, *entry.trusted_nodes, *entry.vendor_domains)
    if len(names) > MAX_NAMES or any(len(name) > MAX_NAME_CHARACTERS for name in names):
        raise ValueError(
            f"made_from names more than {MAX_NAMES} things, or one in over {MAX_NAME_CHARACTERS} characters"
        )
    if not all(map(is_name, (entry.stream, *entry.links, *entry.trusted_nodes, *entry.vendor_domains))):
        raise ValueError("made_from holds a stream, link, node or domain that is no name")
    protection = Protection(entry.protection)
    if protection is Protection.NONE:
        raise ValueError("made_from names a way that protects nothing")
    if not protection.with_qkd:
        return Provenance(protection)
    if not 1 <= entry.shares <= min(MAX_SHARES, len(set(entry.path_ids))):
        raise ValueError(f"made_from states {entry.shares} shares over {len(set(entry.path_ids))} paths")
    return Provenance(
        protection,
        paths=tuple(PathId(path_id) for path_id in entry.path_ids),
        links=frozenset(LinkName(link) for link in entry.links),
        trusted_nodes=tuple(entry.trusted_nodes),
        emulated=entry.emulated,
        vendor_domains=tuple(entry.vendor_domains),
        fewest_shares=entry.shares,
    )


def well_formed(request: pb.Assemble, part_bits: int) -> str:
    """What is wrong with a request's shape, where the stream's keys have `part_bits`; empty if nothing is."""
    bits = request.key_size_bits
    if bits % 8 or not MIN_KEY_BITS <= bits <= MAX_KEY_BITS:
        return f"key_size_bits is {bits}; expected a multiple of 8 from {MIN_KEY_BITS} to {MAX_KEY_BITS}"
    if not _different_uuids((request.key_id, *request.part_ids)):
        return "key_id and part_ids are not different UUIDs"
    if len(request.part_ids) != parts_needed(bits, part_bits):
        return f"{len(request.part_ids)} part_ids; {bits} bits take {parts_needed(bits, part_bits)}"
    if len(request.wrapped) not in (0, bits // 8):
        return f"wrapped has {len(request.wrapped)} bytes; expected none or {bits // 8}"
    return _made_from_well_formed(request)


def _made_from_well_formed(request: pb.Assemble) -> str:
    streams = [entry.stream for entry in request.made_from]
    if len(set(streams)) != len(streams) or len(streams) > 1 + MAX_FURTHER_SLAVES:
        return f"made_from must name at most {1 + MAX_FURTHER_SLAVES} different streams"
    if request.stream not in streams:
        return f"made_from does not name stream '{request.stream}' itself"
    names = (
        name
        for e in request.made_from
        for name in (*e.path_ids, *e.links, *e.trusted_nodes, *e.vendor_domains)
    )
    if sum(map(len, names)) > MAX_MADE_FROM_CHARACTERS:
        return f"made_from has more than {MAX_MADE_FROM_CHARACTERS} characters of names"
    return ""


def _different_uuids(ids: Iterable[bytes]) -> bool:
    listed = list(ids)
    return len(set(listed)) == len(listed) and all(len(each) == 16 for each in listed)
