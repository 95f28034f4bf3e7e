"""An agent that turned hostile, with a valid certificate, over real sockets: the others go on."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from keyweave.agent.keyplane.sessions import handshake
from keyweave.agent.keyplane.sessions.enrolment import Enrolment
from keyweave.agent.keyplane.sessions.handshake import Channel
from keyweave.common.grpc_standing import peer_certificate
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.common.tls import SERVER_OPTIONS, server_credentials
from keyweave.v1 import keyplane_pb2 as pb
from keyweave.v1 import types_pb2
from tests.integration import mesh
from tests.integration.mesh import Mesh, wait_until
from tests.integration.mesh_policy import MeshStream

PAIR = ("a-b",)
DIRECT = MeshStream(path_sets=((("a", "b"),),), on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT)
SESSION = "/keyweave.v1.KeyPlaneService/Session"
# A string field that is not UTF-8, a length beyond the end, a field number of 0.
NO_MESSAGES = (b"\x0a\x04\x1a\x02\x0a\xff", b"\x0a\x7f", b"\x00\x00")
IDS = [n.to_bytes(16, "big") for n in range(32)]


def offer(**changed: Any) -> pb.Frame:
    fields: dict[str, Any] = {
        "stream": "s",
        "batch_id": bytes(16),
        "key_ids": IDS,
        "key_size_bits": 256,
        "master_sae": "sae-b",
        "slave_sae": "sae-a",
    }
    return pb.Frame(offer=pb.Offer(**fields | changed))


def relay(**changed: Any) -> pb.Frame:
    fields: dict[str, Any] = {
        "stream": "s",
        "path_id": "s:a-b",
        "reverse": True,
        "batch_id": bytes(16),
        "shares": 1,
        "link": "a-b",
        "pool_id": bytes(16),
        "ciphertext": b"c",
        "tag": bytes(16),
    }
    return pb.Frame(relay=pb.Relay(**fields | changed))


FRAMES = (
    pb.Frame(),
    *(pb.Frame(**{f.name: {}}) for f in pb.Frame.DESCRIPTOR.oneofs_by_name["body"].fields),  # type: ignore[arg-type]
    offer(),
    offer(path_ids=["unknown"]),
    offer(path_ids=["s:a-b"]),
    offer(key_ids=[b"short"]),
    offer(key_ids=[]),
    offer(kem_id=b"k", kem_step=2**64 - 1),
    offer(created_unix_nanos=-(2**63), near_tag=b"t" * 1000),
    pb.Frame(kem_offer=pb.KemOffer(stream="s", kem_id=bytes(16), parameter_set=768)),
    pb.Frame(kem_offer=pb.KemOffer(stream="s", kem_id=bytes(16), parameter_set=2**32 - 1)),
    pb.Frame(
        kem_offer=pb.KemOffer(
            stream="s", kem_id=bytes(16), parameter_set=768, encapsulation_key=b"\xff" * 1184
        )
    ),
    relay(),
    relay(offset=2**64 - 1, share=2**32 - 1, shares=2**32 - 1),
    relay(path_id="x" * 100_000),
    relay(ciphertext=bytes(100_000)),
    pb.Frame(withdraw=pb.Withdraw(stream="s", key_ids=[b"", bytes(16), bytes(17)])),
    pb.Frame(pool_open=pb.PoolOpen(link="a-b", pool_id=bytes(16), first_block=2**64 - 1)),
    pb.Frame(pool_truncate=pb.PoolTruncate(link="a-b", from_block=2**64 - 1, reason="r" * 5000)),
    pb.Frame(pool_grant_request=pb.PoolGrantRequest(link="a-b", wanted_bytes=2**64 - 1)),
    pb.Frame(quarantine=pb.Quarantine(link="a-b", streams=["s", "t"], since_unix_nanos=-(2**63))),
    pb.Frame(is_reply=True, relay_accepted=pb.RelayAccepted()),
    pb.Frame(is_reply=True, id=2**64 - 1),
)


@dataclass
class Hostile:
    """A server with node b's certificates that answers every call with the same bytes, then holds it."""

    says: Iterable[bytes]
    ends: bool = False
    # Whether it proves to be node b before it says that.
    greets: bool = True
    enrolment: Enrolment | None = None
    calls: int = 0
    heard: list[pb.Frame] = field(default_factory=list)

    async def session(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """Serve one call."""
        self.calls += 1
        frames = _frames(requests)
        if self.greets:
            await self._greet(frames, context)
        for message in self.says:
            await context.write(message)
        if not self.ends:
            await self.listen(frames, context)

    async def listen(self, frames: AsyncIterator[pb.Frame], _context: Any) -> None:
        """What it does once it has said everything."""
        async for frame in frames:
            self.heard.append(frame)

    async def _greet(self, frames: AsyncIterator[pb.Frame], context: Any) -> None:
        async def write(said: Sequence[pb.Frame]) -> None:
            await context.write(pb.SessionResponse(frames=said).SerializeToString())

        caller = x509.load_pem_x509_certificate(peer_certificate(context.auth_context()))
        channel = Channel(dialled_by_us=False, dialler_certificate=caller.fingerprint(hashes.SHA256()))
        assert self.enrolment is not None
        await handshake.greet(NodeName("b"), b"i" * 16, NodeName("a"), self.enrolment, channel, frames, write)


async def _frames(requests: AsyncIterator[bytes]) -> AsyncIterator[pb.Frame]:
    async for request in requests:
        for frame in pb.SessionRequest.FromString(request).frames:
            yield frame


@asynccontextmanager
async def instead_of_b(running: Mesh, hostile: Hostile) -> AsyncIterator[None]:
    """Node b's agent stops, and `hostile` listens where it did."""
    await running.stop("b")
    server = grpc.aio.server(options=list(SERVER_OPTIONS))
    handler: Any = grpc.stream_stream_rpc_method_handler(hostile.session)
    service = grpc.method_handlers_generic_handler("keyweave.v1.KeyPlaneService", {"Session": handler})
    server.add_generic_rpc_handlers((service,))
    files = running.files(Identity(Plane.KEY, Role.AGENT, "b"))
    hostile.enrolment = Enrolment(NodeName("b"), files, running.signing_files("b"))
    server.add_secure_port(f"{mesh.HOST}:{running.ports['b']}", server_credentials(files))
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@pytest.mark.parametrize("garbage", NO_MESSAGES)
@pytest.mark.parametrize("greets", [False, True], ids=["first", "after the proof"])
async def test_bytes_that_are_no_message_end_the_session_and_not_the_agent(
    tmp_path: Path, garbage: bytes, greets: bool
) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running:
        hostile = Hostile((garbage,), greets=greets)
        async with instead_of_b(running, hostile):
            agent = running.agents["a"]
            await wait_until(lambda: hostile.calls >= 2 or agent.task.done(), 10, "a dials again")
            assert not agent.task.done(), "node a's agent is up"
        await running.start("b")
        await running.supplied()


async def test_no_frame_of_a_hostile_peer_takes_an_agent_down(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running:
        await running.supplied()
        numbered = []
        for number, frame in enumerate(FRAMES, start=1):
            for frame_id in (0, number):
                sent = pb.Frame()
                sent.CopyFrom(frame)
                if not frame.is_reply:
                    sent.id = frame_id
                numbered.append(pb.SessionResponse(frames=[sent]).SerializeToString())
        last = offer()
        last.id = len(FRAMES) + 1
        numbered.append(pb.SessionResponse(frames=[last]).SerializeToString())
        hostile = Hostile(numbered)
        async with instead_of_b(running, hostile):
            agent = running.agents["a"]
            await wait_until(
                lambda: agent.task.done() or any(f.is_reply and f.id == last.id for f in hostile.heard),
                15,
                "a has answered the last request",
            )
            assert not agent.task.done(), "node a's agent is up"
            answers = [f for f in hostile.heard if f.is_reply and f.WhichOneof("body") != "failure"]
            kinds = {f.WhichOneof("body") for f in answers}
            assert kinds <= {"withdrawn", "kem_answer"}, "nothing was accepted"
        await running.start("b")
        await running.supplied()
        drawn = await running.enc_keys("a", "b")
        assert drawn.status_code == 200, drawn.text
        fetched = await running.dec_keys("b", "a", [drawn.json()["keys"][0]["key_ID"]])
        assert fetched.json()["keys"][0]["key"] == drawn.json()["keys"][0]["key"]


async def test_a_peer_whose_pools_break_as_they_open_does_not_make_an_agent_spin(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running:
        opened = 0

        class Breaking(Hostile):
            async def listen(self, frames: AsyncIterator[pb.Frame], context: Any) -> None:
                nonlocal opened
                async for frame in frames:
                    if frame.WhichOneof("body") != "pool_open":
                        continue
                    opened += 1
                    ask = frame.pool_open
                    answer = pb.PoolOpened(pool_id=ask.pool_id, first_block=ask.first_block, link=ask.link)
                    destroy = pb.PoolDestroy(link=ask.link, pool_id=ask.pool_id)
                    for said in (pb.Frame(pool_opened=answer), pb.Frame(pool_destroy=destroy)):
                        await context.write(pb.SessionResponse(frames=[said]).SerializeToString())

        async with instead_of_b(running, Breaking(())):
            await wait_until(lambda: opened >= 3, 10, "pools are tried again")
            before, began = opened, asyncio.get_running_loop().time()
            await wait_until(lambda: opened >= before + 10, 10, "and again")
            assert asyncio.get_running_loop().time() - began > 0.3, "at a pace"
            assert not running.agents["a"].task.done()


async def test_a_peer_that_policy_drops_and_takes_back_is_heard_again(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, PAIR, DIRECT) as running:
        await running.supplied()
        plane = running.plane("b")  # the dialled side: nobody there would dial again
        rules = list(running.agents["b"].agent.policies.policy.rules.values())
        guard = running.agents["b"].agent.guardian.guard
        plane.apply([], guard)
        assert running.ready_keys("b") == 0
        plane.apply(rules, guard)
        await running.supplied()
        drawn = await running.enc_keys("b", "a")
        assert drawn.status_code == 200, drawn.text
