"""A line of the ledger: one JSON object whose last member chains it to the line before.

    {"sequence":7,"time_unix_nanos":...,"key_id":"...","created_unix_nanos":...,...,"chain_digest":"<hex>"}

The digest is SHA-256 over the digest of the line before and this line up to `,"chain_digest"`, as bytes. A
file begins with a line that names the digest before it; lines with a `note` say what was mended. No other
kind has a sequence, and none holds key material.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from keyweave.agent.keyplane.keys.keystore import Outcome, Provenance, StoredKey
from keyweave.v1 import types_pb2

DIGEST_BYTES = 32
NO_DIGEST = bytes(DIGEST_BYTES)
_MARK = b',"chain_digest":"'
# What follows a line's own members: the mark, the digest in hexadecimal digits, quote, brace, line feed.
TAIL_BYTES = len(_MARK) + 2 * DIGEST_BYTES + len('"}\n')

_PROTECTIONS = {
    "qkd": types_pb2.PROTECTION_QKD,
    "hybrid": types_pb2.PROTECTION_HYBRID,
    "pqc": types_pb2.PROTECTION_PQC,
    "none": types_pb2.PROTECTION_NONE,
}


_OUTCOMES = {
    Outcome.DELIVERED: types_pb2.LEDGER_OUTCOME_DELIVERED,
    Outcome.EXPIRED: types_pb2.LEDGER_OUTCOME_EXPIRED,
    Outcome.DESTROYED: types_pb2.LEDGER_OUTCOME_DESTROYED,
    Outcome.RECALLED: types_pb2.LEDGER_OUTCOME_RECALLED,
}


@dataclass(frozen=True, slots=True)
class Fate:
    """What the lines of the keys of one batch have in common."""

    stream: str
    peer_node: str
    master_sae: str
    slave_sae: str
    key_size_bits: int
    is_master: bool
    provenance: Provenance
    outcome: Outcome
    reason: str = ""

    @classmethod
    def of(cls, key: StoredKey, outcome: Outcome, reason: str = "", *, is_master: bool) -> "Fate":
        """Of a key that is in the store."""
        return cls(
            key.stream,
            key.peer_node,
            key.master_sae,
            key.slave_sae,
            len(key.key) * 8,
            is_master,
            key.provenance,
            outcome,
            reason,
        )


@lru_cache(maxsize=256)
def _common_members(fate: Fate) -> str:
    provenance = fate.provenance
    members = {
        "stream": fate.stream,
        "peer_node": fate.peer_node,
        "master_sae": fate.master_sae,
        "slave_sae": fate.slave_sae,
        "key_size_bits": fate.key_size_bits,
        "is_master": fate.is_master,
        "protection": provenance.protection.value,
        "path_ids": list(provenance.paths),
        "links": sorted(provenance.links),
        "trusted_nodes": list(provenance.trusted_nodes),
        "emulated": provenance.emulated,
        "vendor_domains": list(provenance.vendor_domains),
        "outcome": fate.outcome.value,
        "reason": fate.reason[:1000],
    }
    return _members(members)


def key_line(sequence: int, time_nanos: int, key_id: str, created_nanos: int, fate: Fate) -> bytes:
    """The line of one key, without its digest."""
    return (
        f'{{"sequence":{sequence},"time_unix_nanos":{time_nanos},"key_id":"{key_id}",'
        f'"created_unix_nanos":{created_nanos},{_common_members(fate)}'
    ).encode()


def head_line(node: str, next_sequence: int, time_nanos: int, previous: bytes) -> bytes:
    """The first line of a file, without its digest."""
    head = {
        "ledger": 1,
        "node": node,
        "next_sequence": next_sequence,
        "time_unix_nanos": time_nanos,
        "previous_digest": previous.hex(),
    }
    return ("{" + _members(head)).encode()


def note_line(note: str, time_nanos: int) -> bytes:
    """A line that says what was mended, without its digest."""
    return ("{" + _members({"note": note, "time_unix_nanos": time_nanos})).encode()


def _members(members: dict[str, Any]) -> str:
    return json.dumps(members, separators=(",", ":"))[1:-1]


def chained(line: bytes, previous: bytes) -> tuple[bytes, bytes]:
    """The whole line as it stands in the file, and its digest."""
    digest = hashlib.sha256(previous + line).digest()
    return line + _MARK + digest.hex().encode() + b'"}\n', digest


def digest_of(line: bytes) -> bytes | None:
    """The digest that a whole line states; None where it states none."""
    if line[-TAIL_BYTES:].startswith(_MARK):
        try:
            return bytes.fromhex(line[-2 * DIGEST_BYTES - 3 : -3].decode("ascii"))
        except ValueError:
            return None
    return None


def follows(line: bytes, previous: bytes) -> bool:
    """Whether a whole line follows on the line with digest `previous`, unaltered."""
    return digest_of(line) == hashlib.sha256(previous + line[:-TAIL_BYTES]).digest()


def members_of(line: bytes) -> dict[str, Any]:
    """A line's members; empty where it is no JSON object."""
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}


def count_in(members: Mapping[str, Any], name: str, otherwise: int) -> int:
    """The whole number of that name; `otherwise` where a damaged line has something else."""
    found = members.get(name)
    return found if type(found) is int else otherwise


def entry_of(members: dict[str, Any], node: str) -> types_pb2.LedgerEntry:
    """A key's line for the wire; KeyError, TypeError or ValueError where it is none of ours."""
    return types_pb2.LedgerEntry(
        sequence=members["sequence"],
        time_unix_nanos=members["time_unix_nanos"],
        node=node,
        stream=members["stream"],
        key_id=members["key_id"],
        key_size_bits=members["key_size_bits"],
        master_sae=members["master_sae"],
        slave_sae=members["slave_sae"],
        is_master=members["is_master"],
        peer_node=members["peer_node"],
        protection=_PROTECTIONS[members["protection"]],
        path_ids=members["path_ids"],
        links=members["links"],
        trusted_nodes=members["trusted_nodes"],
        emulated=members["emulated"],
        # Lines of before there were such domains do not have it.
        vendor_domains=members.get("vendor_domains", ()),
        outcome=_OUTCOMES[Outcome(members["outcome"])],
        reason=members["reason"],
        created_unix_nanos=members["created_unix_nanos"],
        chain_digest=bytes.fromhex(members["chain_digest"]),
    )
