"""The store of confirmed keys: all or nothing, each once, and destroyed means overwritten."""

import uuid

import pytest

from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys.keystore import (
    BATCH_LIFETIME_SECONDS,
    KeyStore,
    Origin,
    Protection,
    Provenance,
    StoredKey,
)
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName

STREAM, OTHER = StreamName("s"), StreamName("t")
HYBRID = Provenance(Protection.HYBRID, paths=(PathId("p"),))
PQC = Provenance(Protection.PQC)
BORN, EXPIRES = 100.0, 200.0


def stored(
    number: int, *, stream: StreamName = STREAM, provenance: Provenance = HYBRID, expires: float = EXPIRES
) -> StoredKey:
    origin = Origin(stream, NodeName("far"), SaeId("m"), SaeId("s"), provenance, BORN, expires)
    return StoredKey(uuid.UUID(int=number).bytes, bytearray([number] * 32), origin)


def anything(_: Provenance) -> bool:
    return True


def quantum(provenance: Provenance) -> bool:
    return provenance.protection is not Protection.PQC


@pytest.fixture
def store() -> KeyStore:
    return KeyStore()


def test_keys_are_drawn_oldest_first_and_each_once(store: KeyStore) -> None:
    keys = [stored(n) for n in (3, 1, 2)]
    store.add_master(keys)
    assert store.draw(STREAM, 2, anything, BORN) == tuple(keys[:2])
    assert store.draw(STREAM, 1, anything, BORN) == (keys[2],)
    assert store.draw(STREAM, 1, anything, BORN) == ()


def test_a_draw_of_more_than_there_are_takes_none(store: KeyStore) -> None:
    store.add_master(tuple(stored(n) for n in (1, 2)))
    assert store.draw(STREAM, 3, anything, BORN) == ()
    assert store.ready(STREAM) == 2


def test_a_draw_takes_only_what_is_protected_as_demanded(store: KeyStore) -> None:
    store.add_master([stored(1, provenance=PQC), stored(2), stored(3, provenance=PQC)])
    assert store.ready_matching(STREAM, quantum) == 1
    assert store.draw(STREAM, 2, quantum, BORN) == ()
    assert [key.key_id.int for key in store.draw(STREAM, 1, quantum, BORN)] == [2]
    assert store.ready(STREAM) == 2


def test_streams_do_not_draw_on_one_another(store: KeyStore) -> None:
    store.add_master([stored(1, stream=OTHER)])
    assert store.draw(STREAM, 1, anything, BORN) == ()
    assert store.ready(STREAM) == 0
    assert store.ready(OTHER) == 1


def test_an_expired_key_is_neither_drawn_nor_found(store: KeyStore) -> None:
    store.add_master([stored(1)])
    store.add_slave([stored(2)])
    assert store.draw(STREAM, 1, anything, EXPIRES) == ()
    assert store.find_slave(uuid.UUID(int=2), STREAM, EXPIRES) is None
    assert store.find_slave(uuid.UUID(int=2), STREAM, EXPIRES - 0.001) is not None


def test_a_slave_key_is_found_until_it_is_collected_and_never_again(store: KeyStore) -> None:
    key = stored(1)
    store.add_slave([key])
    assert store.find_slave(key.key_id, STREAM, BORN) is key
    assert store.find_slave(key.key_id, STREAM, BORN) is key, "looking spends nothing"
    assert store.collect(STREAM, [key.key_id]) == (key,)
    assert store.find_slave(key.key_id, STREAM, BORN) is None


def test_a_slave_cannot_find_what_the_local_master_may_draw(store: KeyStore) -> None:
    key = stored(1)
    store.add_master([key])
    assert store.find_slave(key.key_id, STREAM, BORN) is None


def test_expiry_overwrites_exactly_what_has_outlived_its_time_at_both_faces(store: KeyStore) -> None:
    old, young, old_slave = stored(1, expires=150), stored(2), stored(3, stream=OTHER, expires=150)
    store.add_master([old, young])
    store.add_slave([old_slave])
    assert store.expire(150) == {STREAM: [old.key_id], OTHER: [old_slave.key_id]}
    assert not any(old.key)
    assert not any(old_slave.key)
    assert any(young.key)
    assert store.draw(STREAM, 1, anything, 150) == (young,)


def test_destroying_overwrites_the_doomed_and_spares_the_rest(store: KeyStore) -> None:
    doomed, spared = stored(1, provenance=PQC), stored(2)
    store.add_master([doomed, spared])
    assert store.destroy(lambda key: not quantum(key.provenance)) == {STREAM: [doomed.key_id]}
    assert not any(doomed.key)
    assert any(spared.key)
    assert store.ready(STREAM) == 1
    assert store.destroy(lambda _: False) == {}


def test_keys_that_better_ones_replace_go_oldest_first_overwritten_and_no_other(store: KeyStore) -> None:
    weak = [stored(n, provenance=PQC) for n in (4, 1, 2)]
    store.add_master([weak[0], stored(3), *weak[1:]])
    gone = store.take_out(STREAM, 2, lambda provenance: not quantum(provenance))
    assert gone == (weak[0].key_id, weak[1].key_id)
    assert [any(key.key) for key in weak] == [False, False, True]
    assert [key.key_id.int for key in store.draw(STREAM, 2, anything, BORN)] == [3, 2]
    assert store.take_out(STREAM, 5, quantum) == ()


def test_a_stored_key_does_not_show_its_bytes(store: KeyStore) -> None:
    key = stored(0x41)
    store.add_master([key])
    assert "AAAA" not in repr(key)
    assert "4141" not in repr(key)


@pytest.mark.parametrize("side", ["master", "slave"])
def test_a_batch_that_was_on_its_way_when_its_link_went_bad_is_not_stored(store: KeyStore, side: str) -> None:
    bad = Provenance(Protection.HYBRID, paths=(PathId("p"),), links=frozenset({LinkName("tapped")}))
    store.quarantine(LinkName("tapped"), BORN - BATCH_LIFETIME_SECONDS / 2)
    late, elsewhere = stored(1, provenance=bad), stored(2)
    add = store.add_master if side == "master" else store.add_slave
    with pytest.raises(KeyPlaneError, match="link tapped"):
        add([late])
    assert not any(late.key)
    assert store.ready(STREAM) == 0
    assert store.find_slave(late.key_id, STREAM, BORN) is None
    add([elsewhere])
    assert any(elsewhere.key)


def test_a_link_that_went_bad_long_ago_may_carry_keys_again(store: KeyStore) -> None:
    over = Provenance(Protection.HYBRID, paths=(PathId("p"),), links=frozenset({LinkName("tapped")}))
    store.quarantine(LinkName("tapped"), BORN - BATCH_LIFETIME_SECONDS)
    store.add_master([stored(1, provenance=over)])
    assert store.ready(STREAM) == 1
