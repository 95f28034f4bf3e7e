"""Whatever another agent sends, in whatever order: it is refused, costs little, and takes nothing down."""

import asyncio
import itertools
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from keyweave.agent.drivers.base import DeviceBlock, LinkEndInfo
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys import keystore
from keyweave.agent.keyplane.keys.keystore import KeyStore, Protection, Provenance, StoredKey
from keyweave.agent.keyplane.links import journal as journal_module
from keyweave.agent.keyplane.links.journal import Journal
from keyweave.agent.keyplane.links.linkend import LinkEnd
from keyweave.agent.keyplane.links.linkwatch import Verdict
from keyweave.agent.keyplane.links.pool import MAX_GRANTED_RUNS, Lane, Pool, PoolError, User, _HalfBlock
from keyweave.agent.keyplane.plane import ALARMS_AT_ONCE, COMPLAINTS_AT_ONCE, KeyPlane
from keyweave.agent.keyplane.sessions import handshake, session, transport
from keyweave.agent.keyplane.sessions.handshake import Channel
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.streams.far import MAX_OPEN_BATCHES, FarEnd, _Inbox
from keyweave.agent.keyplane.streams.kem import KemSecret
from keyweave.agent.keyplane.streams.near import NearEnd
from keyweave.agent.keyplane.streams.relay import MAX_LINKS, Relays, Share
from keyweave.agent.keyplane.terms import LinkPolicy, PathSetTerms, RelayPath, StreamTerms
from keyweave.agent.observer import Observer
from keyweave.agent.ring import MAX_UNACKED, Ring
from keyweave.common.errors import InvalidInputError
from keyweave.common.file_watch import FileWatch
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName
from keyweave.common.tls import Material
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.enrolled import enrolment

HERE, PEER = NodeName("a"), NodeName("b")
STREAM = StreamName("s")
BATCH = b"batch-identifier"
POOL = b"pool-identifier-"
DIALLED = Channel(dialled_by_us=False, dialler_certificate=b"fingerprint")


def path(path_id: str, first_node: str = "b") -> RelayPath:
    link = LinkName(f"a-{first_node}")
    return RelayPath(PathId(path_id), link, NodeName(first_node), frozenset({link}), (), bytes(32))


TERMS = StreamTerms(
    stream=STREAM,
    is_source=False,
    peer_node=PEER,
    local_sae=SaeId("sae-a"),
    peer_sae=SaeId("sae-b"),
    key_size_bits=256,
    require_qkd=False,
    require_pqc=False,
    k=1,
    min_k=1,
    pqc_when_exhausted=True,
    refuse_when_exhausted=False,
    refresh_seconds=60,
    key_ttl_seconds=60,
    buffer_keys=64,
    rate_bps=1000.0,
    path_sets=(),
    accepted={PathId("p"): path("p"), PathId("q"): path("q", "c")},
)


def share(batch_id: bytes, path_id: str = "p") -> pb.Relay:
    return pb.Relay(stream=STREAM, path_id=path_id, batch_id=batch_id, share=0, shares=1)


def offer(**changed: Any) -> pb.Offer:
    fields: dict[str, Any] = {
        "stream": STREAM,
        "batch_id": BATCH,
        "key_ids": [bytes(15) + b"1"],
        "key_size_bits": 256,
        "master_sae": "sae-b",
        "slave_sae": "sae-a",
        "path_ids": ["p"],
    }
    return pb.Offer(**fields | changed)


@pytest.fixture
def far() -> FarEnd:
    return FarEnd(HERE, TERMS, KeyStore())


# ---- offers and shares --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        offer(path_ids=[]),
        offer(path_ids=["unknown"]),
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


def key(number: int, stream: str = "s", link: str = "l", created: float = 100.0) -> StoredKey:
    provenance = Provenance(Protection.HYBRID, (PathId("p"),), frozenset({LinkName(link)}))
    ends = (SaeId("m"), SaeId("s"))
    return StoredKey(
        uuid.UUID(int=number),
        bytearray(b"k" * 32),
        StreamName(stream),
        PEER,
        *ends,
        provenance,
        created,
        created + 60,
    )


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


# ---- pools --------------------------------------------------------------------------------------


def test_grants_that_follow_on_one_another_are_one_run() -> None:
    lane = Lane(64)
    lane.append(bytearray(64))
    lane.grant(0, 8)
    lane.grant(8, 40)
    assert lane.next_run(User.GRANTEE, 40, 64) == 0


def test_a_peer_that_gives_crumbs_cannot_make_the_books_grow() -> None:
    lane = Lane(4 * MAX_GRANTED_RUNS)
    lane.append(bytearray(4 * MAX_GRANTED_RUNS))
    for number in range(MAX_GRANTED_RUNS):
        lane.grant(2 * number, 2 * number + 1)
    with pytest.raises(PoolError, match="runs of granted bytes"):
        lane.grant(2 * MAX_GRANTED_RUNS, 2 * MAX_GRANTED_RUNS + 1)


def test_a_peer_that_asks_for_crumbs_gets_no_more_when_the_books_are_full() -> None:
    pool = Pool(POOL, 1, 16 * MAX_GRANTED_RUNS, owns_first_lane=True)
    pool.append(1, bytearray(16 * MAX_GRANTED_RUNS), 0)
    pool.peer_next_block = 2
    given = 0
    while pool.grant(1) is not None:
        given += 1
        pool.allocate(1)
    assert given == MAX_GRANTED_RUNS


async def test_offsets_are_not_covered_before_the_disk_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, disk = threading.Event(), threading.Event()

    def slow_write(_path: Path, _text: str) -> None:
        begun.set()
        assert disk.wait(10)

    monkeypatch.setattr(journal_module, "write_atomically", slow_write)
    journal = Journal(tmp_path / "l.json")
    reserving = asyncio.create_task(journal.reserve(POOL, {True: 100}))
    taking = asyncio.create_task(journal.taken(7))
    await asyncio.to_thread(begun.wait, 10)
    assert not journal.covers(POOL, {True: 1})
    assert journal.highest_block == 0
    disk.set()
    await asyncio.gather(reserving, taking)
    assert journal.covers(POOL, {True: 100})
    assert journal.highest_block == 7


# ---- a link end ---------------------------------------------------------------------------------


class Wire:
    """A session that keeps what is posted."""

    def __init__(self) -> None:
        self.connected = True
        self.posted: list[pb.Frame] = []

    def post(self, frame: pb.Frame) -> bool:
        self.posted.append(frame)
        return self.connected

    def sent(self, kind: str) -> list[Any]:
        return [getattr(frame, kind) for frame in self.posted if frame.WhichOneof("body") == kind]


class LinkRig:
    """One end of a link whose pool is open and holds four blocks."""

    def __init__(self, directory: Path, *, node: str = "b", peer: str = "a") -> None:
        self.wire = Wire()
        self.verdicts: list[Verdict] = []
        info = LinkEndInfo(LinkName("a-b"), NodeName(peer), "model", emulated=True, block_bytes=64)
        self.link = LinkEnd(
            NodeName(node),
            info,
            mock.Mock(),
            Journal(directory / "l.json"),
            Observer(),
            on_report=mock.Mock(),
            on_verdict=lambda _link, _before, after: self.verdicts.append(after),
            on_event=mock.Mock(),
            on_supply=mock.Mock(),
        )
        self.bind(LinkPolicy(NodeName(peer), 0.11, maintenance=False))

    def bind(self, policy: LinkPolicy | None) -> None:
        self.link.bind(self.wire, policy)  # type: ignore[arg-type]

    def open(self, blocks: int = 4) -> Pool:
        self.link.on_frame(
            pb.Frame(pool_open=pb.PoolOpen(link="a-b", pool_id=POOL, first_block=1, block_bytes=64))
        )
        pool = self.link.pool
        assert pool is not None
        for number in range(1, blocks + 1):
            pool.append(number, bytearray(64), produced_unix_nanos=number * 10**9)
        return pool


@pytest.mark.parametrize("block_bytes", [0, 1, 63, 65, 2**32 - 1])
@pytest.mark.parametrize("pool_id", [b"", POOL])
def test_a_pool_of_another_shape_is_not_opened(tmp_path: Path, block_bytes: int, pool_id: bytes) -> None:
    rig = LinkRig(tmp_path)
    wrong = pb.PoolOpen(link="a-b", pool_id=pool_id, first_block=2**64 - 1, block_bytes=block_bytes)
    rig.link.on_frame(pb.Frame(pool_open=wrong))
    assert rig.link.pool is None


def test_a_pool_that_policy_takes_away_at_one_end_goes_at_the_other_too(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    rig.open()
    rig.bind(None)
    assert [destroy.pool_id for destroy in rig.wire.sent("pool_destroy")] == [POOL]


def test_a_peer_that_counts_on_a_pool_which_is_gone_is_told_so(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    rig.link.on_frame(pb.Frame(pool_intake=pb.PoolIntake(link="a-b", pool_id=POOL, next_block=9)))
    assert [destroy.pool_id for destroy in rig.wire.sent("pool_destroy")] == [POOL]


def test_what_the_peer_no_longer_trusts_is_dated_by_when_it_was_produced(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    rig.open()
    truncate = pb.Frame(pool_truncate=pb.PoolTruncate(link="a-b", pool_id=POOL, from_block=3))
    rig.link.on_frame(truncate)
    assert [verdict.since for verdict in rig.verdicts] == [3.0], "keys made since then are not trusted"


@pytest.mark.parametrize(
    "frame",
    [
        pb.Frame(pool_grant=pb.PoolGrant(link="a-b", pool_id=POOL, start_offset=2**64 - 1, end_offset=0)),
        pb.Frame(pool_grant=pb.PoolGrant(link="a-b", pool_id=POOL, start_offset=0, end_offset=2**64 - 1)),
        pb.Frame(pool_burn=pb.PoolBurn(link="a-b", pool_id=POOL, below_offset=2**64 - 1)),
        pb.Frame(pool_intake=pb.PoolIntake(link="a-b", pool_id=POOL, next_block=2**64 - 1)),
        pb.Frame(pool_truncate=pb.PoolTruncate(link="a-b", pool_id=POOL, from_block=2**64 - 1)),
        pb.Frame(pool_truncate=pb.PoolTruncate(link="a-b", pool_id=POOL, from_block=0)),
        pb.Frame(pool_destroy=pb.PoolDestroy(link="a-b")),
        pb.Frame(pool_opened=pb.PoolOpened(link="a-b")),
        pb.Frame(pool_opened=pb.PoolOpened(link="a-b", pool_id=POOL, end_block=2**64 - 1)),
        pb.Frame(
            pool_open=pb.PoolOpen(
                link="a-b", pool_id=b"released-pool-id", first_block=1, end_block=2**64 - 1, block_bytes=64
            )
        ),
        pb.Frame(pool_open=pb.PoolOpen(link="a-b", pool_id=POOL, first_block=9, end_block=1, block_bytes=64)),
    ],
)
def test_any_two_pool_frames_leave_the_link_end_standing(tmp_path: Path, frame: pb.Frame) -> None:
    rig = LinkRig(tmp_path)
    rig.open()
    rig.link.on_frame(frame)
    rig.link.on_frame(frame)
    rig.link.on_frame(pb.Frame(pool_destroy=pb.PoolDestroy(link="a-b")))
    assert rig.open() is rig.link.pool, "a new pool can be opened"


# ---- sessions -----------------------------------------------------------------------------------

Answer = pb.Frame | Awaitable[pb.Frame] | None


class Handler:
    """A key plane that does with a frame what the test says."""

    def __init__(self, handle: Callable[[pb.Frame], Answer]) -> None:
        self.handle = handle
        self.connections = 0
        self.disbelieved: list[KeyPlaneError] = []
        self.connected = asyncio.Event()

    def on_frame(self, _peer: Peer, frame: pb.Frame) -> Answer:
        return self.handle(frame)

    def on_connected(self, _peer: Peer, *, restarted: bool) -> None:
        del restarted
        self.connections += 1
        self.connected.set()

    def on_disconnected(self, _peer: Peer) -> None:
        self.connections -= 1

    def on_disbelieved(self, _peer: Peer, error: KeyPlaneError) -> None:
        self.disbelieved.append(error)


class Caller:
    """The other side of one connection, over queues."""

    def __init__(self, peer: Peer) -> None:
        self._to: asyncio.Queue[pb.Frame | Exception | None] = asyncio.Queue()
        self.received: asyncio.Queue[pb.Frame] = asyncio.Queue()
        self.task = asyncio.create_task(peer.run(self._incoming(), self._write, DIALLED))

    async def _write(self, frames: Sequence[pb.Frame]) -> None:
        for frame in frames:
            await self.received.put(frame)

    def send(self, frame: pb.Frame | Exception | None) -> None:
        self._to.put_nowait(frame)

    async def hello(self) -> None:
        """Say who we are and prove it, as the dialling side."""

        async def received() -> AsyncIterator[pb.Frame]:
            while True:
                yield await self.received.get()

        async def write(frames: Sequence[pb.Frame]) -> None:
            for frame in frames:
                self.send(frame)

        ours = Channel(dialled_by_us=True, dialler_certificate=DIALLED.dialler_certificate)
        await handshake.greet(PEER, bytes(16), HERE, enrolment(PEER), ours, received(), write)

    async def reply_to(self, number: int) -> pb.Frame:
        while True:
            frame = await self.received.get()
            if frame.is_reply and frame.id == number:
                return frame

    async def _incoming(self) -> AsyncIterator[pb.Frame]:
        while (frame := await self._to.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            yield frame


def fails(error: Exception) -> Callable[[pb.Frame], Answer]:
    def handle(_frame: pb.Frame) -> Answer:
        raise error

    return handle


def fails_later(error: Exception) -> Callable[[pb.Frame], Answer]:
    async def answer() -> pb.Frame:
        raise error

    return lambda _frame: answer()


@pytest.mark.parametrize("handle", [fails(ValueError("key")), fails_later(KeyError("key"))])
async def test_a_frame_that_we_cannot_handle_fails_alone(handle: Callable[[pb.Frame], Answer]) -> None:
    handler = Handler(handle)
    caller = Caller(Peer(HERE, PEER, bytes(16), enrolment(HERE), handler))
    await caller.hello()
    for number in range(1, session.CONCURRENT_REQUESTS + 10):
        caller.send(pb.Frame(id=number, offer=pb.Offer()))
        reply = await caller.reply_to(number)
        assert reply.failure.code == pb.FAILURE_CODE_MALFORMED
        assert "key" not in reply.failure.reason
    caller.send(None)
    await caller.task


async def test_a_connection_that_a_newer_one_replaces_ends_though_its_caller_says_nothing() -> None:
    handler = Handler(lambda _frame: None)
    peer = Peer(HERE, PEER, bytes(16), enrolment(HERE), handler)
    old = Caller(peer)
    await old.hello()
    await handler.connected.wait()
    new = Caller(peer)
    await new.hello()
    await old.task
    assert peer.connected
    new.send(None)
    await new.task
    assert not peer.connected


async def test_a_peer_that_policy_no_longer_names_loses_its_connection() -> None:
    handler = Handler(lambda _frame: None)
    peer = Peer(HERE, PEER, bytes(16), enrolment(HERE), handler)
    caller, late = Caller(peer), Caller(peer)
    await caller.hello()
    await handler.connected.wait()
    peer.close()
    await caller.task
    await late.hello()
    await late.task
    assert not peer.connected


async def test_calls_without_a_hello_cannot_pile_up() -> None:
    peer = Peer(HERE, PEER, bytes(16), enrolment(HERE), Handler(lambda _frame: None))
    callers = [Caller(peer) for _ in range(session.UNGREETED_CALLS)]
    for caller in callers:
        await caller.received.get()
    one_more = Caller(peer)
    with pytest.raises(KeyPlaneError, match="have not said hello"):
        await one_more.task
    for caller in callers:
        caller.send(None)
        await caller.task
    fresh = Caller(peer)
    await fresh.hello()
    fresh.send(None)
    await fresh.task


# ---- relays and quarantines ---------------------------------------------------------------------


async def test_a_reply_cannot_be_made_to_grow_from_hop_to_hop() -> None:
    flood = pb.Frame(relay_accepted=pb.RelayAccepted(links=["x" * 4096] * 1000))
    peer = mock.Mock(connected=True, request=mock.AsyncMock(return_value=flood))
    taken = mock.Mock(pool_id=POOL, first_lane=True, offset=0, data=bytearray(33))
    link_end = mock.Mock(peer_node=PEER)
    link_end.pools.acquire = mock.AsyncMock(return_value=taken)
    link_end.info.emulated = True
    relays = Relays(HERE, {LinkName("a-b"): link_end}, {PEER: peer}, mock.Mock(), mock.Mock())
    what = Share(STREAM, PathId("p"), bytes(32), reverse=False, batch_id=BATCH, index=0, count=1)
    accepted = await relays.send(what, LinkName("a-b"), PEER, b"x")
    assert accepted.ByteSize() < (MAX_LINKS + 2) * 70


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
    [("../up", 64, "link"), ("a-b", 0, "block_bytes"), ("a-b", 63, "block_bytes")],
)
async def test_a_device_that_describes_nonsense_is_refused_by_the_name_of_the_field(
    tmp_path: Path, link: str, block_bytes: int, field: str
) -> None:
    info = LinkEndInfo(LinkName(link), PEER, "model", emulated=True, block_bytes=block_bytes)
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


async def test_a_batch_that_policy_has_overtaken_does_not_fill_the_buffer() -> None:
    near, make, store = near_end(TERMS)
    weak = replace(key(1), provenance=Provenance(Protection.PQC))

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
    made = replace(key(1), provenance=Provenance(Protection.HYBRID, (PathId("p"),)))

    def policy_changes(*_: object) -> tuple[StoredKey, ...]:
        near.terms = replace(TERMS, accepted={PathId("q"): path("q", "c")})
        return (made,)

    make.side_effect = policy_changes
    with pytest.raises(KeyPlaneError, match="now requires more"):
        await near._deliver(None, 1)
    assert store.ready(STREAM) == 0
    assert not any(made.key)


def test_blocks_that_come_while_no_policy_bounds_the_error_rate_are_not_used_later(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    policy = rig.link.policy
    rig.bind(None)
    blocks = [DeviceBlock(number, bytearray(b"x" * 64), number) for number in (1, 2)]
    rig.link._take_in(blocks[0])
    assert not any(blocks[0].key)
    rig.bind(policy)
    pool = rig.open(blocks=0)
    assert (pool.first_block, pool.kept_bytes) == (2, 0)
    rig.link._take_in(blocks[1])
    assert pool.kept_bytes == 64


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


async def test_a_peer_cannot_put_off_everybody_elses_turn_by_messages_of_many_frames() -> None:
    async def messages(frames: int) -> AsyncIterator[pb.SessionRequest]:
        yield pb.SessionRequest(frames=[pb.Frame(heartbeat=pb.SessionHeartbeat())] * frames)

    assert len([frame async for frame in transport._frames(messages(session.MESSAGE_FRAMES))]) == 64
    with pytest.raises(KeyPlaneError, match="65 frames"):
        await anext(transport._frames(messages(session.MESSAGE_FRAMES + 1)))


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


async def test_a_block_that_a_device_gives_again_is_not_used_again(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    pool = rig.open(blocks=0)

    async def given(*numbers: int) -> None:
        async def blocks(*_: object) -> AsyncIterator[tuple[DeviceBlock, ...]]:
            yield tuple(DeviceBlock(number, bytearray(b"x" * 64), number) for number in numbers)

        rig.link._driver = mock.Mock(take_blocks=blocks)
        await rig.link.take_blocks()

    await given(1, 2)
    await given(2, 1, 3, 3)
    assert rig.link.pool is pool, "which a block twice would have destroyed"
    assert (pool.next_block, rig.link.intake_bytes_total) == (4, 3 * 64)
    rig.bind(None)
    rig.bind(LinkPolicy(NodeName("a"), 0.11, maintenance=False))
    await given(1, 2, 3)
    assert rig.open(blocks=0).first_block == 4, "nor may a new pool begin below what was used"


def test_two_pools_cannot_have_one_id(tmp_path: Path) -> None:
    rig = LinkRig(tmp_path)
    for number in (1, 2):
        rig.link.hold.add(DeviceBlock(number, bytearray(64), number), 0.0)
    rig.link.release_held()
    ask = pb.PoolOpen(link="a-b", pool_id=POOL, first_block=1, end_block=3, block_bytes=64)
    rig.link.on_frame(pb.Frame(pool_open=ask))
    ask.end_block = 0
    rig.link.on_frame(pb.Frame(pool_open=ask))
    assert [pool.first_block for pool in rig.link.pools] == [1]
