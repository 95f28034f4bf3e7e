"""What one hop of a relay looks like: canonical header bytes, one-time pad, one-time tag."""

import struct
from functools import lru_cache

from keyweave.agent import crypto, memory
from keyweave.v1 import keyplane_pb2 as pb

MAX_SECRET_BYTES = 16 * 1024
_FIXED = struct.Struct(">?16sBB16s?QI")


def overhead() -> int:
    """Pool bytes that a message costs beyond the secret's own length."""
    return crypto.TAG_KEY_BYTES


def header(relay: pb.Relay, size: int) -> bytes:
    """Every field but ciphertext and tag, unambiguously: variable ones carry their length."""
    fixed = _FIXED.pack(
        relay.reverse,
        relay.batch_id,
        relay.share,
        relay.shares,
        relay.pool_id,
        relay.first_lane,
        relay.offset,
        size,
    )
    return _names(relay.stream, relay.path_id, relay.path_digest, relay.link) + fixed


@lru_cache(maxsize=1024)
def _names(stream: str, path_id: str, path_digest: bytes, link: str) -> bytes:
    """What the headers of all shares over one hop of a path begin with."""
    fields = (stream.encode(), path_id.encode(), path_digest, link.encode())
    return b"keyweave relay 1" + b"".join(struct.pack(">H", len(text)) + text for text in fields)


def seal(relay: pb.Relay, secret: bytes | bytearray, one_time: bytearray) -> None:
    """Encrypt `secret` into `relay` and tag it; `one_time` (tag key, then pad) is overwritten."""
    ciphertext = memory.xor(secret, one_time[crypto.TAG_KEY_BYTES :])
    relay.ciphertext = bytes(ciphertext)
    tag_key = bytes(one_time[: crypto.TAG_KEY_BYTES])
    relay.tag = crypto.poly1305_tag(tag_key, header(relay, len(secret)) + relay.ciphertext)
    memory.wipe(one_time)


def open_sealed(relay: pb.Relay, one_time: bytearray) -> bytearray | None:
    """The secret in `relay`, or None if its tag is wrong; `one_time` is overwritten either way."""
    tag_key = bytes(one_time[: crypto.TAG_KEY_BYTES])
    data = header(relay, len(relay.ciphertext)) + relay.ciphertext
    secret = None
    if crypto.poly1305_verify(tag_key, data, relay.tag):
        secret = memory.xor(relay.ciphertext, one_time[crypto.TAG_KEY_BYTES :])
    memory.wipe(one_time)
    return secret


def well_formed(relay: pb.Relay) -> str:
    """What is wrong with a relay message's shape; empty if nothing is."""
    if not 0 < len(relay.ciphertext) <= MAX_SECRET_BYTES:
        return f"ciphertext has {len(relay.ciphertext)} bytes; allowed 1..{MAX_SECRET_BYTES}"
    for name, value, size in (
        ("tag", relay.tag, crypto.TAG_BYTES),
        ("batch_id", relay.batch_id, 16),
        ("pool_id", relay.pool_id, 16),
    ):
        if len(value) != size:
            return f"{name} has {len(value)} bytes; expected {size}"
    if not 1 <= relay.shares <= 8 or relay.share >= relay.shares:
        return f"share {relay.share} of {relay.shares}; allowed at most 8 shares, counted from 0"
    return ""
