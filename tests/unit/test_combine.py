"""The combiner: both components and every word of the context decide the key, and nothing else does."""

import uuid
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.agent import crypto
from keyweave.agent.keyplane.streams import combine
from keyweave.agent.keyplane.streams.combine import BatchContext
from keyweave.common.names import PathId, SaeId, StreamName

KEM = bytes(range(32))
CONTEXT = BatchContext(
    stream=StreamName("bank"),
    batch_id=b"B" * 16,
    key_ids=(uuid.UUID(int=1).bytes, uuid.UUID(int=2).bytes),
    key_size_bits=256,
    master_sae=SaeId("a"),
    slave_sae=SaeId("b"),
    path_ids=(PathId("p1"), PathId("p2")),
    trusted_nodes=("n1", "n2"),
    vendor_domains=(),
    emulated=False,
    kem_id=b"K" * 16,
    kem_step=7,
    kem_transcript=b"T" * 32,
)
QKD = bytes(range(100, 164))  # two keys of 32 bytes

CHANGES: dict[str, BatchContext] = {
    "stream": replace(CONTEXT, stream=StreamName("bang")),
    "batch_id": replace(CONTEXT, batch_id=b"C" * 16),
    "key_ids": replace(CONTEXT, key_ids=(uuid.UUID(int=1).bytes, uuid.UUID(int=3).bytes)),
    "key_size_bits": replace(CONTEXT, key_size_bits=248),
    "master_sae": replace(CONTEXT, master_sae=SaeId("c")),
    "slave_sae": replace(CONTEXT, slave_sae=SaeId("c")),
    "path_ids": replace(CONTEXT, path_ids=(PathId("p2"), PathId("p1"))),
    "trusted_nodes": replace(CONTEXT, trusted_nodes=("n1",)),
    "emulated": replace(CONTEXT, emulated=True),
    "vendor_domains": replace(CONTEXT, vendor_domains=("acme-metro",)),
    "kem_id": replace(CONTEXT, kem_id=b"L" * 16),
    "kem_step": replace(CONTEXT, kem_step=8),
    "kem_transcript": replace(CONTEXT, kem_transcript=b"U" * 32),
}


def test_the_same_inputs_give_the_same_keys() -> None:
    assert combine.derive_keys(CONTEXT, KEM, QKD) == combine.derive_keys(CONTEXT, KEM, bytearray(QKD))


def test_every_field_of_the_context_has_a_change_below() -> None:
    assert set(CHANGES) == {each.name for each in fields(BatchContext) if each.init}


@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_any_field_of_the_context_changes_the_last_key(field: str) -> None:
    changed = combine.derive_keys(CHANGES[field], KEM, QKD)[-1]
    assert changed[:31] != combine.derive_keys(CONTEXT, KEM, QKD)[-1][:31]


@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_any_field_of_the_context_changes_the_tags_even_over_the_same_keys(
    field: str,
) -> None:
    keys = combine.derive_keys(CONTEXT, KEM, QKD)
    changed, same = combine.tags(CHANGES[field], keys), combine.tags(CONTEXT, keys)
    assert changed.near != same.near
    assert changed.far != same.far


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"master_sae": "ab", "slave_sae": "c"}, {"master_sae": "a", "slave_sae": "bc"}),
        ({"path_ids": ("x",), "trusted_nodes": ()}, {"path_ids": (), "trusted_nodes": ("x",)}),
        ({"path_ids": ("ab",)}, {"path_ids": ("a", "b")}),
        ({"kem_id": b"xy", "kem_transcript": b"z"}, {"kem_id": b"x", "kem_transcript": b"yz"}),
    ],
)
def test_text_cannot_move_from_one_field_into_the_next(
    left: dict[str, object], right: dict[str, object]
) -> None:
    assert replace(CONTEXT, **left).encoded != replace(CONTEXT, **right).encoded  # type: ignore[arg-type]


@given(position=st.integers(0, 31), bit=st.integers(0, 7))
def test_one_flipped_bit_of_the_kem_secret_changes_every_key(position: int, bit: int) -> None:
    flipped = bytearray(KEM)
    flipped[position] ^= 1 << bit
    before, after = combine.derive_keys(CONTEXT, KEM, QKD), combine.derive_keys(CONTEXT, bytes(flipped), QKD)
    assert all(old != new for old, new in zip(before, after, strict=True))


@given(position=st.integers(0, 63), bit=st.integers(0, 7))
def test_one_flipped_bit_of_the_qkd_secret_changes_the_key_it_belongs_to(position: int, bit: int) -> None:
    flipped = bytearray(QKD)
    flipped[position] ^= 1 << bit
    before, after = combine.derive_keys(CONTEXT, KEM, QKD), combine.derive_keys(CONTEXT, KEM, flipped)
    changed = [old != new for old, new in zip(before, after, strict=True)]
    assert changed == [position < 32, position >= 32]


def test_the_ml_kem_secret_comes_before_the_qkd_secret_each_with_its_length() -> None:
    one_key = replace(CONTEXT, key_ids=CONTEXT.key_ids[:1])
    fixed_info = (
        b"keyweave delivered key 1" + one_key.key_ids[0] + bytes(8) + one_key.encoded
    )  # key 0, chunk 0
    kdf = crypto.TwoStepKdf(crypto.digest(b"keyweave combiner 1"))
    expected = kdf.derive(b"\x00\x00\x00\x20" + KEM, b"\x00\x00\x00\x20" + QKD[:32], fixed_info, 32)
    assert combine.derive_keys(one_key, KEM, QKD[:32]) == [expected]


def test_an_absent_component_is_not_an_empty_place_for_the_other() -> None:
    one_key = replace(CONTEXT, key_ids=CONTEXT.key_ids[:1])
    assert combine.derive_keys(one_key, KEM, b"") != combine.derive_keys(one_key, b"", KEM)


@pytest.mark.parametrize(("bits", "chunks"), [(64, 1), (256, 1), (264, 2), (512, 2), (1024, 4)])
def test_keys_over_256_bits_are_chunks_each_from_a_chunk_of_its_own_of_the_qkd_secret(
    bits: int, chunks: int
) -> None:
    context = replace(CONTEXT, key_size_bits=bits)
    secret = bytes(n % 251 for n in range(2 * bits // 8))
    before = combine.derive_keys(context, KEM, secret)
    assert [len(key) for key in before] == [bits // 8] * 2
    for chunk in range(chunks):
        flipped = bytearray(secret)
        flipped[chunk * 32] ^= 1
        after = combine.derive_keys(context, KEM, flipped)
        differing = {i // 32 for i in range(bits // 8) if before[0][i] != after[0][i]}
        assert differing == {chunk}
        assert after[1] == before[1]


def test_the_keys_of_a_batch_differ_even_where_their_secrets_do_not() -> None:
    first, second = combine.derive_keys(CONTEXT, KEM, b"")
    assert first != second


def test_the_two_ends_prove_themselves_with_different_tags() -> None:
    keys = combine.derive_keys(CONTEXT, KEM, QKD)
    tags = combine.tags(CONTEXT, keys)
    assert tags.near != tags.far


def test_a_tag_proves_every_key_of_the_batch() -> None:
    keys = combine.derive_keys(CONTEXT, KEM, QKD)
    other = [keys[0], bytearray(reversed(keys[1]))]
    assert combine.tags(CONTEXT, keys).near != combine.tags(CONTEXT, other).near
    assert combine.tags(CONTEXT, keys).far != combine.tags(CONTEXT, other).far


def test_no_key_is_made_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one component"):
        combine.derive_keys(CONTEXT, b"", b"")
