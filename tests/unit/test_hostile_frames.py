"""Whatever another agent sends, in whatever order: it is refused, costs little, and takes nothing down."""

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from keyweave.agent.drivers.base import LinkEndInfo
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys import keystore
from keyweave.agent.keyplane.keys.keystore import KeyStore, Protection, Provenance, StoredKey
from keyweave.agent.keyplane.links.pool import _HalfBlock
from keyweave.agent.keyplane.plane import ALARMS_AT_ONCE, COMPLAINTS_AT_ONCE, KeyPlane
from keyweave.agent.keyplane.streams.far import MAX_OPEN_BATCHES, FarEnd, _Inbox
from keyweave.agent.keyplane.streams.kem import KemSecret
from keyweave.agent.keyplane.streams.near import NearEnd
from keyweave.agent.keyplane.streams.relay import MAX_LINKS, Relays, Share
from keyweave.agent.keyplane.terms import PathSetTerms, StreamTerms
from keyweave.agent.observer import Observer
from keyweave.agent.ring import MAX_UNACKED, Ring
from keyweave.common.errors import InvalidInputError
from keyweave.common.file_watch import FileWatch
from keyweave.common.names import LinkName, NodeName, PathId, StreamName
from keyweave.common.tls import Material
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.enrolled import enrolment
from tests.unit.stream_ends import BATCH, HERE, PEER, POOL, STREAM, TERMS, key, offer, path, share


@pytest.fixture
def far() -> FarEnd:
    return FarEnd(HERE, TERMS, KeyStore())


# ---- offers and shares --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        offer(path_ids=[]),
        offer(path_ids=["unknown"]),
        offer(vendor_domains=["b", "a"]),
        offer(vendor_domains=["../up"]),
        offer(vendor_domains=[f"v{n:03}" for n in range(MAX_LINKS + 1)]),
        offer(path_ids=["p", "p"]),
        offer(path_ids=["p", "unknown"], kem_id=bytes(16)),
        offer(key_ids=[]),
        offer(key_ids=[b"short"]),
        offer(key_ids=[bytes(16), bytes(16)]),
        offer(batch_id=b"short"),
        offer(key_size_bits=0),
        offer(key_size_bits=2**32 - 1),
        offer(key_ids=[n.to_bytes(16, "big") for n in range(513)]),
        offer(kem_id=b"nowhere", kem_step=2**64 - 1),
        offer(near_tag=b"short"),
        offer(master_sae="sae-a", slave_sae="sae-b"),
    ],
)
def test_a_malformed_offer_is_refused_by_the_key_planes_own_error(far: FarEnd, bad: pb.Offer) -> None:
    far.receive(share(BATCH), bytearray(32))
    with pytest.raises(KeyPlaneError):
        far.confirm(bad)


def test_bits_that_this_ends_own_device_emulated_cannot_be_offered_as_quantum_ones(far: FarEnd) -> None:
    secret = bytearray(b"x" * 32)
    far.receive(share(BATCH), secret, emulated=True)
    with pytest.raises(KeyPlaneError, match="offered as quantum"):
        far.confirm(offer(emulated=False))
    assert not any(secret)


def test_bits_that_came_through_a_vendors_domain_cannot_be_offered_without_its_name(far: FarEnd) -> None:
    for named in ([], ["other-metro"]):
        secret = bytearray(b"x" * 32)
        far.receive(share(BATCH), secret, vendor_domain="acme-metro")
        with pytest.raises(KeyPlaneError, match="those of a quantum channel"):
            far.confirm(offer(vendor_domains=named))
        assert not any(secret)


def test_an_offer_of_nothing_at_all_protects_no_key_whatever_the_stream_requires() -> None:
    assert not TERMS.allows(Provenance(Protection.NONE))


def test_an_offer_of_more_key_than_a_relay_carries_is_refused_before_any_of_it_is_derived() -> None:
    far = FarEnd(HERE, replace(TERMS, key_size_bits=8192), KeyStore())
    ids = [n.to_bytes(16, "big") for n in range(17)]
    with pytest.raises(KeyPlaneError, match="at most 16384 bytes together"):
        far.confirm(offer(key_ids=ids, key_size_bits=8192))


def test_shares_over_a_path_that_policy_has_taken_away_since_count_for_nothing(far: FarEnd) -> None:
    far.receive(share(BATCH), bytearray(32))
    far.terms = replace(TERMS, accepted={PathId("q"): path("q", "c")})
    with pytest.raises(KeyPlaneError, match="not the stream's"):
        far.confirm(offer())


def test_a_flood_over_one_path_pushes_out_no_batch_of_another(far: FarEnd) -> None:
    far.receive(share(BATCH, "q"), bytearray(b"x" * 32))
    floods = [bytearray(b"y" * 32) for _ in range(MAX_OPEN_BATCHES * 4)]
    for number, secret in enumerate(floods):
        far.receive(share(number.to_bytes(16, "big"), "p"), secret)
    assert sum(any(secret) for secret in floods) == MAX_OPEN_BATCHES, "older ones are overwritten"
    with pytest.raises(KeyPlaneError, match="different keys"):  # so its share was still there
        far.confirm(offer(path_ids=["q"]))


# ---- the store ----------------------------------------------------------------------------------


def test_an_offer_cannot_take_the_place_of_a_key_that_has_its_id_already() -> None:
    store = KeyStore()
    victim, intruder = key(1), key(1, stream="t")
    store.add_slave([victim])
    store.add_slave([intruder])
    assert store.find_slave(victim.key_id, STREAM, 100.0) is victim
    second = key(1)
    with pytest.raises(KeyPlaneError, match="in use"):
        store.add_slave([second])
    assert store.find_slave(victim.key_id, STREAM, 100.0) is victim
    assert not any(second.key)


def test_keys_that_their_slave_never_fetches_are_bounded_stream_by_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keystore, "MAX_SLAVE_KEYS", 2)
    store = KeyStore()
    store.add_slave([key(1), key(2)])
    with pytest.raises(KeyPlaneError, match="wait for their slave") as refused:
        store.add_slave([key(3)])
    assert refused.value.code == pb.FAILURE_CODE_OVER_BUDGET
    store.add_slave([key(4, stream="t")])
    store.collect(STREAM, [key(1).key_id])
    store.add_slave([key(5)])
    store.destroy(lambda stored: stored.stream == "s")
    store.add_slave([key(6), key(7)])


def test_a_neighbour_quarantines_a_link_for_the_streams_it_is_on_only() -> None:
    store = KeyStore()
    store.quarantine(LinkName("l"), 100.0, [STREAM])
    with pytest.raises(KeyPlaneError, match="overheard"):
        store.add_master([key(1)])
    store.add_master([key(2, stream="t")])
    assert store.ready(StreamName("t")) == 1


# ---- relays and quarantines ---------------------------------------------------------------------


async def sent_and_answered(told: pb.RelayAccepted, vendor_domain: str = "") -> pb.RelayAccepted:
    """What a node says of the way of a share that it sent, where its peer answers so."""
    answer = mock.AsyncMock(return_value=pb.Frame(relay_accepted=told))
    taken = mock.Mock(pool_id=POOL, first_lane=True, offset=0, data=bytearray(33))
    link_end = mock.Mock(peer_node=PEER)
    link_end.name = LinkName("a-b")
    link_end.pools.acquire = mock.AsyncMock(return_value=taken)
    link_end.info.emulated, link_end.info.vendor_domain = True, vendor_domain
    peers = {PEER: mock.Mock(connected=True, request=answer)}
    relays = Relays(HERE, {LinkName("a-b"): link_end}, peers, mock.Mock(), mock.Mock())
    what = Share(STREAM, PathId("p"), bytes(32), reverse=False, batch_id=BATCH, index=0, count=1)
    return await relays.send(what, LinkName("a-b"), PEER, b"x")


async def test_a_reply_cannot_be_made_to_grow_from_hop_to_hop() -> None:
    accepted = await sent_and_answered(pb.RelayAccepted(links=["x" * 4096] * 1000))
    assert accepted.ByteSize() < (MAX_LINKS + 2) * 70


async def test_a_peer_that_tells_of_many_vendors_cannot_make_another_one_forgotten() -> None:
    many = pb.RelayAccepted(vendor_domains=[f"a{n:03}" for n in range(MAX_LINKS)])
    with pytest.raises(KeyPlaneError, match="vendors' domains on one way"):
        await sent_and_answered(many, "z-metro")
    accepted = await sent_and_answered(pb.RelayAccepted(vendor_domains=["a-metro"]), "z-metro")
    assert list(accepted.vendor_domains) == ["a-metro", "z-metro"]


def plane(node: str) -> KeyPlane:
    return KeyPlane(
        NodeName(node),
        bytes(16),
        enrolment(node),
        Observer(),
        files=FileWatch(),
        on_report=mock.Mock(),
        on_event=mock.Mock(),
    )


def crossing(path_id: str, source_side: str, here: str, target_side: str) -> agent_pb2.RelayRule:
    return agent_pb2.RelayRule(
        stream=STREAM,
        path_id=path_id,
        hops=[
            types_pb2.Hop(link=f"{a}-{b}", from_node=a, to_node=b)
            for a, b in ((source_side, here), (here, target_side))
        ],
        budget_bps=1,
        burst_bits=1,
    )


def test_a_quarantine_comes_to_rest_though_a_streams_paths_form_a_circle() -> None:
    """Transit nodes x, y, z, each next to both others on some path of one stream, in both orders."""
    nodes = {name: plane(name) for name in "xyz"}
    on_the_way: list[tuple[str, str, pb.Quarantine]] = []

    def posted(sender: str, receiver: str, frame: pb.Frame) -> bool:
        on_the_way.append((sender, receiver, frame.quarantine))
        return True

    for name, each in nodes.items():
        others = sorted(set("xyz") - {name})
        for other in others:
            wire = mock.Mock(node=other)
            wire.post.side_effect = partial(posted, name, other)
            each.peers[NodeName(other)] = wire
        one, other = others
        each.relays.apply([crossing("1", one, name, other), crossing("2", other, name, one)], None)

    first = pb.Quarantine(link="l", streams=[STREAM], since_unix_nanos=123_456_789_012_345_678)
    on_the_way.append(("y", "x", first))
    passed = 0
    while on_the_way:
        sender, receiver, notice = on_the_way.pop()
        assert notice.since_unix_nanos == first.since_unix_nanos, "the moment is passed on exactly"
        peer = nodes[receiver].peers[NodeName(sender)]
        nodes[receiver].on_frame(peer, pb.Frame(quarantine=notice))
        passed += 1
        assert passed < 20, "it goes round and round"
    assert passed >= 3


def test_a_quarantine_that_found_no_session_is_sent_when_there_is_one() -> None:
    here = plane("x")
    there = mock.Mock(node=NodeName("z"))
    there.post.return_value = False
    sender = mock.Mock(node=NodeName("y"))
    here.peers.update({NodeName("y"): sender, NodeName("z"): there})
    here.relays.apply([crossing("1", "y", "x", "z")], None)
    notice = pb.Quarantine(link="l", streams=[STREAM], since_unix_nanos=5)
    here.on_frame(sender, pb.Frame(quarantine=notice))
    there.post.return_value = True
    here.on_connected(there, restarted=False)
    assert there.post.call_args.args[0].quarantine.since_unix_nanos == 5
    assert there.post.call_count == 2


def refusal(here: KeyPlane, peer: Any, frame: pb.Frame) -> pb.FailureCode | None:
    try:
        here.on_frame(peer, frame)
    except KeyPlaneError as error:
        return error.code
    return None


def test_alarms_of_one_peer_are_limited_and_those_of_others_still_heard() -> None:
    here = plane("x")
    loud, quiet = mock.Mock(node=NodeName("y")), mock.Mock(node=NodeName("z"))
    frame = pb.Frame(quarantine=pb.Quarantine(link="l", streams=["t"]))
    outcomes = [refusal(here, loud, frame) for _ in range(int(ALARMS_AT_ONCE) + 100)]
    assert outcomes[: int(ALARMS_AT_ONCE)] == [None] * int(ALARMS_AT_ONCE)
    assert pb.FAILURE_CODE_OVER_BUDGET in outcomes
    here.on_frame(quiet, frame)


@pytest.mark.parametrize("link", ["", "x" * 64, "../l", "x\n"])
def test_a_quarantine_of_what_is_no_link_name_is_refused(link: str) -> None:
    with pytest.raises(KeyPlaneError, match="not a name"):
        plane("x").on_frame(mock.Mock(node=PEER), pb.Frame(quarantine=pb.Quarantine(link=link)))


def test_a_relay_that_wants_no_reply_spends_no_pad() -> None:
    with pytest.raises(KeyPlaneError, match="without an id"):
        plane("x").on_frame(mock.Mock(node=PEER), pb.Frame(relay=share(BATCH)))


@pytest.mark.parametrize("kind", [field.name for field in pb.Frame.DESCRIPTOR.oneofs_by_name["body"].fields])
def test_an_empty_frame_of_any_kind_is_refused_by_the_key_planes_own_error(kind: str) -> None:
    frame = pb.Frame(id=1)
    getattr(frame, kind).SetInParent()
    with pytest.raises(KeyPlaneError):
        plane("x").on_frame(mock.Mock(node=PEER), frame)


@pytest.mark.parametrize(
    ("link", "block_bytes", "field"),
    [
        ("../up", 64, "link"),
        ("a-b", 0, "block_bytes"),
        ("a-b", -2, "block_bytes"),
        ("a-b", 63, "block_bytes"),
    ],
)
async def test_a_device_that_describes_nonsense_is_refused_by_the_name_of_the_field(
    tmp_path: Path, link: str, block_bytes: int, field: str
) -> None:
    info = LinkEndInfo(LinkName(link), PEER, "model", True, block_bytes, measures=False)
    driver = mock.Mock(link_ends=mock.AsyncMock(return_value=(info,)))
    with pytest.raises(InvalidInputError, match=field):
        await plane("x").add_driver(driver, tmp_path)


# ---- the near end, the ring ---------------------------------------------------------------------


def near_end(terms: StreamTerms) -> tuple[NearEnd, mock.AsyncMock, KeyStore]:
    store = KeyStore()
    near = NearEnd(HERE, terms, mock.Mock(), mock.Mock(), store, mock.Mock())
    make = mock.AsyncMock(side_effect=KeyPlaneError(pb.FAILURE_CODE_UNREACHABLE, "no"))
    near._maker = mock.Mock(make=make, terms=terms)
    return near, make, store


async def test_a_batch_of_long_keys_fits_one_message_of_a_relay() -> None:
    path_set = PathSetTerms(0, 1000.0, (path("p"),))
    near, make, _ = near_end(replace(TERMS, key_size_bits=8192, path_sets=(path_set,)))
    await near._make_quantum_batch(64)
    assert [call.args for call in make.await_args_list] == [(path_set, 16)]


def made_by(provenance: Provenance) -> StoredKey:
    any_key = key(1)
    return replace(any_key, origin=replace(any_key.origin, provenance=provenance))


async def test_a_batch_that_policy_has_overtaken_does_not_fill_the_buffer() -> None:
    near, make, store = near_end(TERMS)
    weak = made_by(Provenance(Protection.PQC))

    def policy_changes(*_: object) -> tuple[StoredKey, ...]:
        near.terms = replace(TERMS, require_qkd=True)
        return (weak,)

    make.side_effect = policy_changes
    with pytest.raises(KeyPlaneError, match="now requires more"):
        await near._deliver(None, 1)
    assert store.ready(STREAM) == 0
    assert not any(weak.key)


def test_a_controller_that_never_acknowledges_cannot_make_the_ring_grow() -> None:
    ring = Ring()
    for number in itertools.count():
        ring.add_batch(agent_pb2.TelemetryBatch())
        if ring.next(2**63) is None:
            break
        assert number <= MAX_UNACKED
    assert ring.unacked == MAX_UNACKED
    ring.acked(1)
    assert ring.next(2**63) is not None


async def test_a_batch_over_a_path_that_policy_has_taken_away_meanwhile_is_not_stored() -> None:
    near, make, store = near_end(TERMS)
    made = made_by(Provenance(Protection.HYBRID, (PathId("p"),)))

    def policy_changes(*_: object) -> tuple[StoredKey, ...]:
        near.terms = replace(TERMS, accepted={PathId("q"): path("q", "c")})
        return (made,)

    make.side_effect = policy_changes
    with pytest.raises(KeyPlaneError, match="now requires more"):
        await near._deliver(None, 1)
    assert store.ready(STREAM) == 0
    assert not any(made.key)


def test_nothing_that_holds_key_shows_it() -> None:
    secret = b"\xa5\x5a" * 16
    shares = {0: bytearray(secret)}
    holders: list[object] = [
        KemSecret(bytes(16), 1, bytes(32), secret),
        _Inbox(0.0, PathId("p"), shares, {}, 1),
        _HalfBlock(bytearray(secret), 32),
        Material(b"", secret, b""),
    ]
    for holder in holders:
        assert "xa5" not in repr(holder), type(holder).__name__


def test_a_peers_bad_shares_are_told_of_now_and_then_and_none_goes_uncounted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = mock.Mock(return_value=1000.0)
    monkeypatch.setattr("keyweave.agent.keyplane.plane.time.monotonic", clock)
    here = plane("x")
    loud, quiet = mock.Mock(node=NodeName("y")), mock.Mock(node=NodeName("z"))
    for _ in range(500):
        here._other_path(loud, share(BATCH))
    told: Any = here._on_event
    assert told.call_count == COMPLAINTS_AT_ONCE
    here._bad_tag(quiet, share(BATCH))
    assert told.call_count == COMPLAINTS_AT_ONCE + 1, "others are still heard"
    clock.return_value += 1
    here._other_path(loud, share(BATCH))
    assert told.call_args.args[0].occurrences == 500 - COMPLAINTS_AT_ONCE + 1
