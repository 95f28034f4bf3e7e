"""Keys made from keys: what the slave's KME refuses, what both ends derive, and that no bit serves twice."""

import time
import uuid
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.agent.etsi014.supply import Demand
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys import assembly
from keyweave.agent.keyplane.keys.keystore import KeyStore, Origin, Protection, Provenance, StoredKey
from keyweave.agent.keyplane.keys.supply import Supply, _allowed
from keyweave.agent.keyplane.streams.far import FarEnd
from keyweave.agent.keyplane.terms import StreamTerms
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.stream_ends import HERE, PEER, STREAM, TERMS

KEY_ID = uuid.UUID(int=1000)
HYBRID = Provenance(Protection.HYBRID, (PathId("p"),), frozenset({LinkName("a-b")}), ("t",))
QKD, PQC = replace(HYBRID, protection=Protection.QKD), Provenance(Protection.PQC)
PARTS = [bytes([number]) * 32 for number in (1, 2, 3)]


def part(number: int, provenance: Provenance = HYBRID, *, created: float | None = None) -> StoredKey:
    now = time.time()
    ends = (SaeId("sae-b"), SaeId("sae-a"))
    origin = Origin(STREAM, PEER, *ends, provenance, created or now, now + 60 + number)
    return StoredKey(uuid.UUID(int=number).bytes, bytearray(PARTS[number - 1]), origin)


def request(size: int = 512, **changed: Any) -> pb.Assemble:
    """A right request for a key of two parts, unless changed; its tag is right in any case."""
    fields: dict[str, Any] = {
        "stream": STREAM,
        "key_id": KEY_ID.bytes,
        "key_size_bits": size,
        "master_sae": "sae-b",
        "slave_sae": "sae-a",
        "part_ids": [uuid.UUID(int=number).bytes for number in (1, 2)],
        "made_from": [assembly.made_from(STREAM, HYBRID)],
    }
    made = pb.Assemble(**fields | changed)
    made.near_tag = assembly.near_tag(made, [bytearray(PARTS[0]), bytearray(PARTS[1])])
    return made


def far_end(
    *parts: StoredKey, terms: StreamTerms = TERMS, store: KeyStore | None = None
) -> tuple[FarEnd, KeyStore]:
    store = store or KeyStore()
    store.add_slave(parts or (part(1), part(2), part(3)))
    return FarEnd(HERE, terms, store), store


def keys_in(store: KeyStore) -> set[int]:
    return {key.key_id.int for waiting in store._slave.values() for key in waiting.values()}


@pytest.mark.parametrize("size", [264, 384, 504, 512])
def test_the_key_takes_the_place_of_its_parts_and_both_prove_the_same(size: int) -> None:
    far, store = far_end()
    asked = request(size)
    answer = far.assemble(asked).assembled
    assert answer.far_tag == assembly.far_tag(asked, [bytearray(PARTS[0]), bytearray(PARTS[1])])
    assert answer.far_tag != asked.near_tag
    key = store.find_slave(KEY_ID, STREAM, time.time())
    assert key is not None
    assert bytes(key.key) == (PARTS[0] + PARTS[1])[: size // 8]
    assert keys_in(store) == {KEY_ID.int, 3}


def test_asked_again_it_gives_the_same_answer_and_makes_no_other_key() -> None:
    far, store = far_end()
    asked = request()
    first = far.assemble(asked)
    assert far.assemble(asked) == first
    store.collect(STREAM, [KEY_ID])
    assert far.assemble(asked) == first
    assert keys_in(store) == {3}, "what was collected does not come back"


def test_a_wrapped_key_comes_out_as_it_went_in() -> None:
    far, store = far_end()
    secret = bytes(range(64))
    wrapped = bytes(assembly.key_from([bytearray(PARTS[0]), bytearray(PARTS[1])], 512, secret))
    assert wrapped != secret
    far.assemble(request(wrapped=wrapped))
    key = store.find_slave(KEY_ID, STREAM, time.time())
    assert key is not None
    assert bytes(key.key) == secret


def test_the_key_is_as_old_as_its_oldest_part_and_lives_no_longer_than_any() -> None:
    far, store = far_end(part(1), part(2, created=100.0))
    far.assemble(request())
    key = store.find_slave(KEY_ID, STREAM, time.time())
    assert key is not None
    assert key.created == 100.0
    assert key.expires < time.time() + 62


OTHER = assembly.made_from("t", HYBRID)


@pytest.mark.parametrize(
    "bad",
    [
        request(key_id=b"short"),
        request(key_id=uuid.UUID(int=1).bytes),
        request(part_ids=[uuid.UUID(int=1).bytes] * 2),
        request(part_ids=[uuid.UUID(int=1).bytes]),
        request(part_ids=[uuid.UUID(int=number).bytes for number in (1, 2, 3)]),
        request(part_ids=[uuid.UUID(int=number).bytes for number in (1, 9)]),
        request(key_size_bits=0),
        request(key_size_bits=56),
        request(key_size_bits=500),
        request(key_size_bits=8200),
        request(key_size_bits=2**32 - 8),
        request(wrapped=b"x"),
        request(wrapped=bytes(65)),
        request(master_sae="sae-x"),
        request(slave_sae="sae-b"),
        request(made_from=[]),
        request(made_from=[OTHER]),
        request(made_from=[assembly.made_from(STREAM, HYBRID)] * 2),
        request(made_from=[assembly.made_from(name, HYBRID) for name in (STREAM, *map(str, range(17)))]),
        request(made_from=[assembly.made_from(STREAM, HYBRID), pb.AssembledFrom(stream="t")]),
        request(
            made_from=[assembly.made_from(STREAM, HYBRID), pb.AssembledFrom(stream="t", protection="none")]
        ),
        request(
            made_from=[assembly.made_from(STREAM, HYBRID), pb.AssembledFrom(stream="t", protection="qkd")]
        ),
        request(
            made_from=[
                assembly.made_from(STREAM, HYBRID),
                pb.AssembledFrom(stream="t", protection="qkd", path_ids=["q"], shares=2),
            ]
        ),
        request(
            made_from=[
                assembly.made_from(STREAM, HYBRID),
                pb.AssembledFrom(stream="t", protection="pqc", links=["x" * 201]),
            ]
        ),
        request(
            made_from=[
                assembly.made_from(STREAM, HYBRID),
                pb.AssembledFrom(stream="t", protection="pqc", path_ids=["x"] * 1025),
            ]
        ),
    ],
)
def test_a_malformed_request_is_refused_and_its_parts_stay(bad: pb.Assemble) -> None:
    far, store = far_end()
    with pytest.raises(KeyPlaneError) as refused:
        far.assemble(bad)
    assert refused.value.code != pb.FAILURE_CODE_CONFIRMATION_MISMATCH
    assert keys_in(store) == {1, 2, 3}


@pytest.mark.parametrize("field", ["key_id", "wrapped", "near_tag", "made_from"])
def test_whatever_is_changed_on_the_way_the_tag_shows_it_and_the_parts_are_destroyed(field: str) -> None:
    far, store = far_end()
    asked = request(wrapped=bytes(64))
    if field == "made_from":
        asked.made_from[0].emulated = True
    else:
        setattr(asked, field, bytes(len(getattr(asked, field)) - 1) + b"\x07")
    with pytest.raises(KeyPlaneError) as refused:
        far.assemble(asked)
    assert refused.value.code == pb.FAILURE_CODE_CONFIRMATION_MISMATCH
    assert keys_in(store) == {3}


@pytest.mark.parametrize(
    ("required", "elsewhere", "allowed"),
    [
        ({}, HYBRID, True),
        ({}, PQC, True),
        ({"require_qkd": True}, HYBRID, True),
        ({"require_qkd": True}, QKD, True),
        ({"require_qkd": True}, PQC, False),
        ({"require_pqc": True}, PQC, True),
        ({"require_pqc": True}, QKD, False),
        ({"require_qkd": True, "require_pqc": True}, QKD, False),
    ],
)
def test_the_slaves_kme_refuses_a_key_of_which_any_copy_lacks_what_its_stream_requires(
    required: dict[str, Any], elsewhere: Provenance, allowed: bool
) -> None:
    far, store = far_end(terms=replace(TERMS, **required))
    asked = request(made_from=[assembly.made_from(STREAM, HYBRID), assembly.made_from("t", elsewhere)])
    if allowed:
        far.assemble(asked)
        assert KEY_ID.int in keys_in(store)
    else:
        with pytest.raises(KeyPlaneError, match="less than this stream requires"):
            far.assemble(asked)
        assert keys_in(store) == {1, 2, 3}


def test_it_believes_its_own_record_of_its_parts_and_not_what_the_other_end_states() -> None:
    far, _ = far_end(part(1, PQC), part(2, PQC), terms=replace(TERMS, require_qkd=True))
    with pytest.raises(KeyPlaneError, match="less than this stream requires"):
        far.assemble(request(made_from=[assembly.made_from(STREAM, HYBRID)]))


def test_a_key_of_two_shares_has_no_copy_of_fewer() -> None:
    two = replace(HYBRID, paths=(PathId("p"), PathId("q")))
    far, store = far_end(part(1, two), part(2, two), terms=replace(TERMS, k=2, min_k=2))
    with pytest.raises(KeyPlaneError, match="less than this stream requires"):
        far.assemble(request(made_from=[assembly.made_from(STREAM, two), assembly.made_from("t", HYBRID)]))
    far.assemble(request(made_from=[assembly.made_from(STREAM, two), assembly.made_from("t", two)]))
    assert KEY_ID.int in keys_in(store)


def test_a_stream_that_restricts_its_relays_takes_no_copy_over_other_nodes() -> None:
    mine = replace(HYBRID, trusted_nodes=("m",))
    way = replace(TERMS.accepted[PathId("p")], trusted_nodes=(NodeName("m"),))
    terms = replace(TERMS, restricts_relays=True, accepted={PathId("p"): way})
    for node, allowed in (("m", True), (HERE, True), (PEER, True), ("x", False)):
        far, store = far_end(part(1, mine), part(2, mine), terms=terms)
        other = replace(HYBRID, trusted_nodes=(node,))
        asked = request(made_from=[assembly.made_from(STREAM, mine), assembly.made_from("t", other)])
        if allowed:
            far.assemble(asked)
        else:
            with pytest.raises(KeyPlaneError, match="less than this stream requires"):
                far.assemble(asked)
        assert (KEY_ID.int in keys_in(store)) == allowed


def test_parts_that_a_component_does_not_protect_in_common_protect_nothing() -> None:
    assert Provenance.weakest([QKD, PQC]).protection is Protection.NONE
    assert not TERMS.allows(Provenance.weakest([QKD, PQC]))


PROVENANCES = st.builds(
    Provenance,
    st.sampled_from([Protection.QKD, Protection.HYBRID, Protection.PQC]),
    st.lists(st.sampled_from("pqr"), min_size=1, max_size=3, unique=True).map(
        lambda names: tuple(PathId(name) for name in names)
    ),
    st.frozensets(st.sampled_from("lmn").map(LinkName)),
    st.lists(st.sampled_from("xyz"), unique=True).map(tuple),
    st.booleans(),
)


@given(st.lists(PROVENANCES, min_size=1, max_size=5), st.booleans(), st.booleans(), st.integers(1, 3))
def test_what_is_allowed_of_the_whole_is_allowed_of_every_part(
    parts: list[Provenance], require_qkd: bool, require_pqc: bool, min_k: int
) -> None:
    terms = replace(TERMS, require_qkd=require_qkd, require_pqc=require_pqc, min_k=min_k)
    whole = Provenance.weakest(parts)
    if terms.allows(whole):
        for each in parts:
            assert not require_qkd or each.protection.with_qkd
            assert not require_pqc or each.protection.with_pqc
            if whole.protection.with_qkd and not whole.emulated:  # else ML-KEM alone carries it
                assert each.shares >= min_k
    if whole.protection.with_qkd:
        assert whole.links >= frozenset().union(*(each.links for each in parts))
        assert set(whole.trusted_nodes) >= {node for each in parts for node in each.trusted_nodes}


@given(PROVENANCES)
def test_a_provenance_says_the_same_on_the_other_side_of_the_wire(provenance: Provenance) -> None:
    back = assembly.provenance_from(assembly.made_from("t", provenance))
    assert back.protection is provenance.protection
    if provenance.protection.with_qkd:
        assert (back.paths, back.links, back.trusted_nodes) == (
            provenance.paths,
            provenance.links,
            provenance.trusted_nodes,
        )
        assert (back.shares, back.emulated) == (provenance.shares, provenance.emulated)


def test_keys_set_aside_can_be_neither_drawn_nor_set_aside_again_and_are_destroyed_like_others() -> None:
    store = KeyStore()
    keys = [part(number) for number in (1, 2, 3)]
    store.add_master(keys)
    now = time.time()
    taken = store.set_aside({STREAM: 2}, lambda _: True, now)
    assert [key.key_id.int for key in taken[STREAM]] == [1, 2]
    assert store.set_aside({STREAM: 2}, lambda _: True, now) == {}
    assert store.set_aside({STREAM: 1, StreamName("none"): 1}, lambda _: True, now) == {}
    assert store.draw(STREAM, 2, lambda _: True, now) == ()
    assert store.destroy(lambda key: key.key_id.int == 1) == {STREAM: [keys[0].key_id]}
    assert not any(keys[0].key)
    assert not store.use_up(taken[STREAM], "made into another"), "one was gone"
    assert not any(keys[1].key)
    assert store.ready(STREAM) == 1


def test_a_key_smaller_than_the_guard_allows_is_not_made() -> None:
    far, store = far_end(terms=replace(TERMS, min_key_size_bits=512))
    with pytest.raises(KeyPlaneError, match="no less than 512"):
        far.assemble(request(504))
    assert keys_in(store) == {1, 2, 3}
    far.assemble(request(512))


def test_what_a_peer_states_of_other_copies_cannot_be_made_to_grow() -> None:
    far, store = far_end()
    long = replace(HYBRID, paths=tuple(PathId(f"{number:0200d}") for number in range(200)))
    with pytest.raises(KeyPlaneError, match="characters of names"):
        far.assemble(request(made_from=[assembly.made_from(STREAM, HYBRID), assembly.made_from("t", long)]))
    assert keys_in(store) == {1, 2, 3}


def ends_of(*terms: StreamTerms) -> list[Any]:
    return [mock.Mock(terms=each) for each in terms]


def test_every_key_of_an_order_is_held_against_terms_that_changed_while_they_were_confirmed() -> None:
    ends = ends_of(TERMS, replace(TERMS, stream=StreamName("t"), require_qkd=True))
    plane = mock.Mock(node=HERE, near={end.terms.stream: end for end in ends})
    supply = Supply(plane, mock.Mock(), show_provenance=lambda _: True)
    assert supply._still_good(ends, [HYBRID, HYBRID])
    assert not supply._still_good(ends, [HYBRID, PQC])
    plane.near[StreamName("t")] = mock.Mock()
    assert not supply._still_good(ends, [HYBRID, HYBRID])


def test_emulated_bits_that_the_guard_does_not_count_meet_no_demand_for_qkd() -> None:
    emulated, wanted = replace(HYBRID, emulated=True), Demand("x", with_qkd=True)
    for accepts in (False, True):
        allowed = _allowed(HERE, ends_of(replace(TERMS, accept_emulated=accepts)), (wanted,))
        assert allowed(emulated) == accepts
        assert allowed(HYBRID)
