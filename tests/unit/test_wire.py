"""One hop: whatever is altered on it, the tag tells; whatever comes malformed is named."""

import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.agent import crypto
from keyweave.agent.keyplane.streams import wire
from keyweave.v1 import keyplane_pb2 as pb

SECRET = b"sixteen secret b"


def relay() -> pb.Relay:
    return pb.Relay(
        stream="s",
        path_id="s:1",
        reverse=False,
        batch_id=b"b" * 16,
        share=0,
        shares=2,
        link="a-b",
        pool_id=b"p" * 16,
        first_lane=True,
        offset=4096,
    )


def one_time(secret: bytes = SECRET) -> bytearray:
    return bytearray(os.urandom(wire.overhead() + len(secret)))


@given(secret=st.binary(min_size=1, max_size=2048))
def test_what_is_sealed_opens_with_the_same_pool_bytes_and_those_are_overwritten(secret: bytes) -> None:
    pad = one_time(secret)
    ours, theirs = bytearray(pad), bytearray(pad)
    message = relay()
    wire.seal(message, secret, ours)
    assert wire.open_sealed(message, theirs) == bytearray(secret)
    assert not any(ours)
    assert not any(theirs)


def test_the_ciphertext_is_the_secret_under_the_pad_that_follows_the_tag_key() -> None:
    message, pad = relay(), one_time()
    expected = bytes(s ^ p for s, p in zip(SECRET, pad[crypto.TAG_KEY_BYTES :], strict=True))
    wire.seal(message, SECRET, pad)
    assert message.ciphertext == expected


CHANGES: dict[str, Callable[[pb.Relay], None]] = {
    "stream": lambda m: setattr(m, "stream", "t"),
    "path_id": lambda m: setattr(m, "path_id", "s:2"),
    "path_digest": lambda m: setattr(m, "path_digest", b"d" * 32),
    "reverse": lambda m: setattr(m, "reverse", True),
    "batch_id": lambda m: setattr(m, "batch_id", b"c" * 16),
    "share": lambda m: setattr(m, "share", 1),
    "shares": lambda m: setattr(m, "shares", 3),
    "link": lambda m: setattr(m, "link", "a-c"),
    "pool_id": lambda m: setattr(m, "pool_id", b"q" * 16),
    "first_lane": lambda m: setattr(m, "first_lane", False),
    "offset": lambda m: setattr(m, "offset", 4097),
    "ciphertext": lambda m: setattr(m, "ciphertext", bytes([m.ciphertext[0] ^ 1]) + m.ciphertext[1:]),
    "tag": lambda m: setattr(m, "tag", m.tag[:-1] + bytes([m.tag[-1] ^ 1])),
}


def test_every_field_of_the_message_has_a_change_below() -> None:
    assert set(CHANGES) == {each.name for each in pb.Relay.DESCRIPTOR.fields}


@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_any_field_is_found_out_and_burns_the_pool_bytes(field: str) -> None:
    message, pad = relay(), one_time()
    theirs = bytearray(pad)
    wire.seal(message, SECRET, pad)
    CHANGES[field](message)
    assert wire.open_sealed(message, theirs) is None
    assert not any(theirs)


def test_a_shortened_ciphertext_is_found_out() -> None:
    message, pad = relay(), one_time()
    theirs = bytearray(pad[:-1])
    wire.seal(message, SECRET, pad)
    message.ciphertext = message.ciphertext[:-1]
    assert wire.open_sealed(message, theirs) is None


def test_text_cannot_move_from_one_name_of_the_header_into_the_next() -> None:
    left, right = relay(), relay()
    left.stream, left.path_id = "ab", "c"
    right.stream, right.path_id = "a", "bc"
    assert wire.header(left, 1) != wire.header(right, 1)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("ciphertext", b"", "ciphertext has 0 bytes"),
        ("ciphertext", bytes(wire.MAX_SECRET_BYTES + 1), "allowed 1..16384"),
        ("tag", bytes(15), "tag has 15 bytes; expected 16"),
        ("batch_id", b"", "batch_id has 0 bytes"),
        ("pool_id", bytes(17), "pool_id has 17 bytes"),
        ("shares", 0, "share 0 of 0"),
        ("shares", 9, "at most 8 shares"),
        ("share", 2, "share 2 of 2"),
    ],
)
def test_a_malformed_message_is_named_by_its_field(field: str, value: object, problem: str) -> None:
    message = relay()
    wire.seal(message, SECRET, one_time())
    assert wire.well_formed(message) == ""
    setattr(message, field, value)
    assert problem in wire.well_formed(message)


def test_the_largest_secret_that_is_allowed_passes() -> None:
    message, secret = relay(), bytes(wire.MAX_SECRET_BYTES)
    wire.seal(message, secret, one_time(secret))
    assert wire.well_formed(message) == ""
