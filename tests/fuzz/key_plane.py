"""The key plane of one node, and one of its two peers gone bad."""

import asyncio
import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from keyweave.agent import crypto
from keyweave.agent.drivers.base import DeviceBlock, LinkEndInfo
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.keys.keystore import Origin, Protection, Provenance, StoredKey
from keyweave.agent.keyplane.plane import KeyPlane
from keyweave.agent.keyplane.sessions import handshake
from keyweave.agent.keyplane.sessions.handshake import Channel, Proven
from keyweave.agent.keyplane.sessions.session import Peer
from keyweave.agent.keyplane.streams import combine, far, kem, wire
from keyweave.agent.keyplane.streams.route import path_digest
from keyweave.agent.observer import Observer
from keyweave.common.file_watch import FileWatch
from keyweave.common.names import LinkName, NodeName, PathId, SaeId, StreamName
from keyweave.v1 import agent_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.fuzz.target import Target
from tests.fuzz.wire import Words, messages
from tests.guards import open_guard
from tests.integration.mesh_policy import MeshStream, hops_of, relay_rule, sae, stream_rule
from tests.unit.enrolled import enrolment

HERE = NodeName("m")
BAD, GOOD = NodeName("b"), NodeName("c")
BLOCK, BLOCKS = 512, 8
POOL = b"pool-identifier-"
BATCH = b"batch-identifier"
KEM = b"kem--identifier-"
KEY_IDS = [uuid.UUID(int=n).bytes for n in (1, 2)]
# Stands for a signature that the session makes when the frame is sent: it covers this session's hellos.
TO_BE_SIGNED = b"to be signed"
DIALLED = Channel(dialled_by_us=False, dialler_certificate=b"fingerprint")
DIALLING = Channel(dialled_by_us=True, dialler_certificate=b"fingerprint")
PING = 2**62

WITH_BAD = MeshStream(path_sets=((("b", "m"),),), name="s", min_k=1)
WITH_GOOD = MeshStream(
    path_sets=((("c", "m"),),), name="t", require_qkd=True, on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT
)
ACROSS = MeshStream(path_sets=((("b", "m", "c"),),), name="u")


def device_block(number: int) -> bytearray:
    """What both devices give under a number."""
    return bytearray(hashlib.shake_256(b"block %d" % number).digest(BLOCK))


def rules() -> list[agent_pb2.Rule]:
    """A stream with either peer, and one that crosses from the bad to the good one."""
    (path_id, path), *_ = ACROSS.paths.items()
    made = [agent_pb2.Rule(relay=relay_rule(ACROSS, path_id, path, HERE))]
    for peer, stream in ((BAD, WITH_BAD), (GOOD, WITH_GOOD)):
        address = agent_pb2.PeerRule(node=peer, key_plane_address=f"{peer}:1")
        link = agent_pb2.LinkRule(link=f"{peer}-{HERE}", peer_node=peer, abort_qber_ratio=0.11)
        made += [
            agent_pb2.Rule(peer=address),
            agent_pb2.Rule(link=link),
            agent_pb2.Rule(stream=stream_rule(stream, HERE)),
        ]
    return made


# ---- right frames, to be bent ------------------------------------------------------------------


def _sealed(stream: MeshStream, offset: int) -> tuple[pb.Relay, bytes]:
    """A share for two keys as the bad peer would rightly send it, and the secret in it."""
    (path_id, path), *_ = stream.paths.items()
    relay = pb.Relay(
        stream=stream.name,
        path_id=path_id,
        path_digest=path_digest(stream.name, path_id, hops_of(path)),
        batch_id=BATCH,
        shares=1,
        link="b-m",
        pool_id=POOL,
        first_lane=True,
        offset=offset,
    )
    secret = bytes(range(64))
    lane = b"".join(bytes(device_block(n)[: BLOCK // 2]) for n in range(1, BLOCKS + 1))
    wire.seal(relay, secret, bytearray(lane[offset : offset + len(secret) + wire.overhead()]))
    return relay, secret


def _offer(secret: bytes) -> pb.Offer:
    offer = pb.Offer(
        stream="s",
        batch_id=BATCH,
        key_ids=KEY_IDS,
        key_size_bits=256,
        master_sae=sae("b"),
        slave_sae=sae("m"),
        path_ids=["s:b-m"],
        created_unix_nanos=1,
    )
    context = far.context_of(offer, b"")
    offer.near_tag = combine.tags(context, combine.derive_keys(context, b"", secret)).near
    return offer


def _frames() -> list[pb.Frame]:
    relay, secret = _sealed(WITH_BAD, 0)
    across, _ = _sealed(ACROSS, 96)
    kem_offer = pb.KemOffer(
        stream="s",
        kem_id=KEM,
        parameter_set=768,
        encapsulation_key=crypto.mlkem_private_key(768).public_bytes(),
        signature=TO_BE_SIGNED,
    )
    assemble = pb.Assemble(
        stream="s",
        key_id=bytes(15) + b"9",
        key_size_bits=512,
        master_sae=sae("b"),
        slave_sae=sae("m"),
        part_ids=KEY_IDS,
        made_from=[
            pb.AssembledFrom(stream="s", protection="qkd", path_ids=["s:b-m"], links=["b-m"], shares=1),
            pb.AssembledFrom(stream="t", protection="hybrid", path_ids=["x"], trusted_nodes=["c"], shares=1),
        ],
        near_tag=bytes(32),
    )
    link = "b-m"
    bodies: list[dict[str, Any]] = [
        {"relay": relay},
        {"relay": relay},
        {"offer": _offer(secret)},
        {"offer": _offer(secret)},
        {"relay": across},
        {"kem_offer": kem_offer},
        {"assemble": assemble},
        {"pool_open": pb.PoolOpen(link=link, pool_id=POOL[::-1], first_block=2, block_bytes=BLOCK)},
        {"pool_opened": pb.PoolOpened(link=link, pool_id=POOL, first_block=1)},
        {"pool_intake": pb.PoolIntake(link=link, pool_id=POOL, next_block=BLOCKS + 1)},
        {"pool_grant_request": pb.PoolGrantRequest(link=link, pool_id=POOL, wanted_bytes=64)},
        {"pool_grant": pb.PoolGrant(link=link, pool_id=POOL, start_offset=256, end_offset=512)},
        {"pool_destroy": pb.PoolDestroy(link=link, pool_id=POOL, reason="why not")},
        {"pool_truncate": pb.PoolTruncate(link=link, pool_id=POOL, from_block=5, reason="heard")},
        {"driver_message": pb.DriverMessage(link=link, body=b'{"kind":"ask"}')},
        {"pool_burn": pb.PoolBurn(link=link, pool_id=POOL, below_offset=300)},
        {"quarantine": pb.Quarantine(link=link, streams=["s", "t", "u"], since_unix_nanos=1, reason="x")},
        {"withdraw": pb.Withdraw(stream="s", key_ids=KEY_IDS, reason="x")},
        {"heartbeat": pb.SessionHeartbeat()},
    ]
    return [pb.Frame(id=number, **body) for number, body in enumerate(bodies, 1)]


def _answers() -> list[pb.Frame]:
    return [
        pb.Frame(relay_accepted=pb.RelayAccepted(links=["b-m"], emulated=True)),
        pb.Frame(kem_answer=pb.KemAnswer(kem_id=KEM, ciphertext=bytes(1088), signature=bytes(3309))),
        pb.Frame(confirm=pb.Confirm(batch_id=BATCH, far_tag=bytes(32))),
        pb.Frame(assembled=pb.Assembled(key_id=bytes(16), far_tag=bytes(32))),
        pb.Frame(failure=pb.Failure(code=pb.FAILURE_CODE_OVER_BUDGET, reason="no", node="b")),
    ]


_SAMPLES = (*_frames(), *_answers())
WORDS = Words.of(
    texts=(
        "s",
        "t",
        "u",
        "b-m",
        "c-m",
        "m",
        "b",
        "c",
        "s:b-m",
        "t:c-m",
        "u:b-m-c",
        sae("m"),
        sae("b"),
        "qkd",
    ),
    blobs=(POOL, BATCH, KEM, *KEY_IDS, bytes(16), TO_BE_SIGNED),
    numbers=(1, 2, 3, 96, 256, 512, BLOCK, BLOCKS, BLOCKS + 1),
    samples=(
        *_SAMPLES,
        *(getattr(frame, frame.WhichOneof("body")) for frame in _SAMPLES if not frame.HasField("heartbeat")),
    ),
)


@dataclass
class Talk:
    """What the bad peer says, and what it answers when it is asked."""

    frames: list[pb.Frame]
    answers: list[pb.Frame]


TALKS = st.builds(
    Talk,
    st.lists(messages(pb.Frame, WORDS), min_size=1, max_size=8),
    st.lists(messages(pb.Frame, WORDS), max_size=4),
)


# ---- the plane and its peers -------------------------------------------------------------------


@dataclass
class Caller:
    """The other side of one session, over queues."""

    node: NodeName
    peer: Peer
    answers: list[pb.Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._to: asyncio.Queue[pb.Frame | None] = asyncio.Queue()
        self._from: asyncio.Queue[pb.Frame] = asyncio.Queue()
        self.proven: Proven | None = None
        self.task = asyncio.create_task(self.peer.run(self._incoming(), self._write, DIALLED))

    async def greet(self) -> None:
        """Begin the session, rightly."""

        async def received() -> AsyncIterator[pb.Frame]:
            while True:
                yield await self._from.get()

        async def write(frames: Sequence[pb.Frame]) -> None:
            for frame in frames:
                self._to.put_nowait(frame)

        incarnation = self.node.encode() * 16
        self.proven = await handshake.greet(
            self.node, incarnation, HERE, enrolment(self.node), DIALLING, received(), write
        )

    def send(self, frame: pb.Frame) -> None:
        """One frame, as it would come out of the wire."""
        copy = pb.Frame.FromString(frame.SerializeToString())
        if copy.WhichOneof("body") == "kem_offer" and copy.kem_offer.signature == TO_BE_SIGNED:
            self._sign(copy.kem_offer)
        self._to.put_nowait(copy)

    def hang_up(self) -> None:
        """End the stream."""
        self._to.put_nowait(None)

    async def is_served(self) -> bool:
        """Whether frames are still answered."""
        self.send(pb.Frame(id=PING, withdraw=pb.Withdraw(stream="nowhere")))
        async with asyncio.timeout(10):
            while True:
                frame = await self._from.get()
                if frame.is_reply and frame.id == PING:
                    return frame.failure.code == pb.FAILURE_CODE_NOT_ALLOWED

    def _sign(self, offer: pb.KemOffer) -> None:
        assert self.proven is not None
        nodes = kem._near_first(self.proven)
        offer.signature = self.proven.signer.sign(kem._OFFER, kem._offer_statement(offer, nodes))

    async def _incoming(self) -> AsyncIterator[pb.Frame]:
        while (frame := await self._to.get()) is not None:
            yield frame

    async def _write(self, frames: Sequence[pb.Frame]) -> None:
        for frame in frames:
            if frame.id and not frame.is_reply and self.answers:
                answer = pb.Frame()
                answer.CopyFrom(self.answers.pop(0))
                answer.id, answer.is_reply = frame.id, True
                self.send(answer)
            await self._from.put(frame)


@dataclass
class Rig:
    """A running key plane with both peers connected."""

    plane: KeyPlane
    bad: Caller
    good: Caller
    task: asyncio.Task[None]
    unforeseen: list[Exception]

    def key(self, number: int, stream: str, peer: NodeName) -> StoredKey:
        """A key as it would come from a batch over the link to `peer`."""
        link = f"{peer}-{HERE}"
        kind = Provenance(Protection.HYBRID, (PathId(f"{stream}:{link}"),), frozenset({LinkName(link)}))
        now = time.time()
        ends = (SaeId(sae(peer)), SaeId(sae(HERE)))
        material = bytearray(os.urandom(32))
        key_id = uuid.UUID(int=number)
        origin = Origin(StreamName(stream), peer, *ends, kind, now, now + 600)
        return StoredKey(key_id.bytes, material, origin)

    def hold_together(self) -> None:
        """What must be so whatever a peer said."""
        store = self.plane.store
        for name, waits in store._slave.items():
            for key in waits.values():
                assert self.plane.far[name].terms.allows(key.provenance), f"{key} is below its requirements"
                assert len(key.key) * 8 == self.plane.far[name].terms.key_size_bits or key.stream == "s"
        for name, ready in store._ready.items():
            for key in ready.values():
                assert self.plane.near[name].terms.allows(key.provenance), f"{key} is below its requirements"
        waiting = sum(map(len, store._slave.values()))
        assert store.count() == (sum(map(len, store._ready.values())), waiting), "the store miscounts"


@asynccontextmanager
async def running() -> AsyncIterator[Rig]:
    """A key plane in the middle, with pools open on both links."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        unforeseen: list[Exception] = []

        def note(_peer: Peer, _frame: pb.Frame, error: Exception) -> pb.Frame:
            unforeseen.append(error)
            return pb.Frame(failure=pb.Failure(code=pb.FAILURE_CODE_MALFORMED))

        stack.enter_context(mock.patch.object(Peer, "_unforeseen", note))
        plane = KeyPlane(
            HERE,
            bytes(16),
            enrolment(HERE),
            Observer(),
            files=FileWatch(),
            on_report=mock.Mock(),
            on_event=_serializable,
        )
        infos = [
            LinkEndInfo(LinkName(f"{peer}-m"), peer, "model", emulated=True, block_bytes=BLOCK)
            for peer in (BAD, GOOD)
        ]
        driver = mock.Mock(link_ends=mock.AsyncMock(return_value=infos), watch=_never, take_blocks=_never)
        await plane.add_driver(driver, directory)
        task = asyncio.create_task(plane.run())
        await asyncio.sleep(0)
        plane.apply(rules(), open_guard(HERE, (HERE, BAD, GOOD)))
        callers = {}
        for peer in (BAD, GOOD):
            callers[peer] = Caller(peer, plane.peers[peer])
            await callers[peer].greet()
        rig = Rig(plane, callers[BAD], callers[GOOD], task, unforeseen)
        for peer, caller in callers.items():
            link = f"{peer}-m"
            opening = pb.PoolOpen(link=link, pool_id=POOL, first_block=1, block_bytes=BLOCK)
            caller.send(pb.Frame(pool_open=opening))
            assert await caller.is_served()
            end = plane.links[LinkName(link)]
            for number in range(1, BLOCKS + 1):
                end._take_in(DeviceBlock(number, device_block(number), time.time_ns()))
            caller.send(pb.Frame(pool_intake=pb.PoolIntake(link=link, pool_id=POOL, next_block=BLOCKS + 1)))
        try:
            yield rig
        finally:
            for caller in callers.values():
                caller.hang_up()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await asyncio.gather(*(caller.task for caller in callers.values()))
            plane.close()


def _serializable(event: agent_pb2.AgentEvent) -> None:
    event.SerializeToString()


async def _never(*_: object) -> AsyncIterator[Any]:
    await asyncio.Event().wait()
    yield None


# ---- targets -----------------------------------------------------------------------------------


async def _frames_of_a_peer(talk: Talk) -> None:
    async with running() as rig:
        theirs = rig.key(100, "t", GOOD)
        rig.plane.store.add_slave([theirs])
        rig.bad.answers = list(talk.answers)
        for frame in talk.frames:
            rig.bad.send(frame)
        assert await rig.bad.is_served()
        for _ in range(20):  # what the near ends make of the answers
            await asyncio.sleep(0)
        if rig.unforeseen:
            raise rig.unforeseen[0]
        if rig.task.done():
            rig.task.result()
        assert not rig.task.done(), "the key plane has ended"
        rig.hold_together()
        assert rig.plane.store.find_slave(theirs.key_id, theirs.stream, time.time()) is theirs
        assert any(theirs.key), "a key of others was overwritten"
        assert await rig.good.is_served()


async def _greetings(frames: list[pb.Frame]) -> None:
    handler = mock.Mock()
    peer = Peer(HERE, BAD, bytes(16), enrolment(HERE), handler)

    async def incoming() -> AsyncIterator[pb.Frame]:
        for frame in frames:
            yield pb.Frame.FromString(frame.SerializeToString())

    with suppress(KeyPlaneError):
        await peer.run(incoming(), mock.AsyncMock(), DIALLED)
    handler.on_connected.assert_not_called()
    handler.on_frame.assert_not_called()
    good = Caller(BAD, peer)
    await good.greet()
    good.hang_up()
    await good.task
    handler.on_connected.assert_called_once()


_HELLO = pb.SessionHello(
    node=BAD,
    incarnation=bytes(16),
    signing_certificate=enrolment(BAD).signer.certificate,
    challenge=bytes(32),
)
_GREETINGS = Words.of(
    texts=("b", "m", "c"),
    blobs=(_HELLO.signing_certificate, enrolment(GOOD).signer.certificate, bytes(3309)),
    samples=(
        _HELLO,
        pb.Frame(hello=_HELLO),
        pb.SessionProof(signature=bytes(3309)),
        pb.Frame(proof=pb.SessionProof(signature=bytes(3309))),
    ),
)

TARGETS = (
    Target("key plane frames", TALKS, lambda talk: asyncio.run(_frames_of_a_peer(talk)), examples=150),
    Target(
        "key plane greetings",
        st.lists(messages(pb.Frame, _GREETINGS), max_size=3)
        | messages(pb.Frame, _GREETINGS).map(lambda frame: [pb.Frame(hello=_HELLO), frame]),
        lambda frames: asyncio.run(_greetings(frames)),
        examples=60,
    ),
)
