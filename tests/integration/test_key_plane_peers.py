"""Who may speak on the key plane: agents with a certificate of that plane that policy names, nobody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from keyweave.agent.keyplane.sessions import transport
from keyweave.common.identity import PQ_TLS_GROUP, Identity, Plane, Role, peer_identity
from keyweave.common.pki import Authority
from keyweave.common.tls import TlsFiles, secure_channel
from keyweave.v1 import keyplane_pb2 as pb
from keyweave.v1 import keyplane_pb2_grpc, types_pb2
from tests.integration import mesh
from tests.integration.mesh import Mesh
from tests.integration.mesh_policy import MeshStream

LINE = ("a-b", "b-c")
OVER_B = MeshStream(path_sets=((("a", "b", "c"),),), on_exhaustion=types_pb2.ON_EXHAUSTION_WAIT)
ANSWER_SECONDS = 5.0


@asynccontextmanager
async def calling(running: Mesh, files: TlsFiles, node: str) -> AsyncIterator[Any]:
    """A session with a node's key plane, by whoever holds `files`."""
    files = files.model_copy(update={"trust_anchor": running.trust_anchor(Plane.KEY)})
    address = f"{mesh.HOST}:{running.ports[node]}"
    async with secure_channel(address, files, Identity(Plane.KEY, Role.AGENT, node)) as channel:
        stub: Any = keyplane_pb2_grpc.KeyPlaneServiceStub(channel)
        yield stub.Session(timeout=ANSWER_SECONDS)


async def frames_until_refused(
    running: Mesh, files: TlsFiles, hello: str = ""
) -> tuple[list[str | None], grpc.StatusCode, str]:
    """What node b sends whoever holds `files` (and says it is `hello`), and how it ends the call."""
    received: list[str | None] = []
    async with calling(running, files, "b") as call:
        if hello:
            frame = pb.Frame(hello=pb.SessionHello(node=hello, incarnation=bytes(16)))
            with suppress(grpc.aio.AioRpcError):  # the refusal may come first
                await call.write(pb.SessionRequest(frames=[frame]))
        try:
            async for response in call:
                received.extend(frame.WhichOneof("body") for frame in response.frames)
        except grpc.aio.AioRpcError as error:
            return received, error.code(), str(error.details())
    raise AssertionError("the call ended as if all had been well")


async def refused(running: Mesh, files: TlsFiles) -> tuple[grpc.StatusCode, str]:
    """How node b refuses whoever holds `files`, without a single frame."""
    received, code, reason = await frames_until_refused(running, files)
    assert received == []
    return code, reason


async def test_nobody_without_an_agents_certificate_of_the_key_plane_gets_a_single_frame(
    tmp_path: Path,
) -> None:
    async with mesh.running(tmp_path, LINE, OVER_B) as running:
        await running.supplied()
        agent = Identity(Plane.KEY, Role.AGENT, "a")
        strangers = Authority.create(Plane.KEY)
        for files in (
            running.files(agent, issuer=strangers),
            running.files(Identity(Plane.CONTROL, Role.AGENT, "a")),
            running.files(Identity(Plane.CONTROL, Role.CONTROLLER, "controller")),
            running.files(Identity(Plane.SAE, Role.SAE, "sae-a")),
            running.files(Identity(Plane.SAE, Role.KME, "a")),
        ):
            code, _ = await refused(running, files)
            assert code is grpc.StatusCode.UNAVAILABLE, "the handshake fails"

        key_plane = running.authorities[Plane.KEY]
        for identity in (
            Identity(Plane.KEY, Role.CONTROLLER, "controller"),
            Identity(Plane.KEY, Role.KME, "a"),
            Identity(Plane.CONTROL, Role.AGENT, "a"),
            Identity(Plane.SAE, Role.SAE, "sae-a"),
        ):
            code, reason = await refused(running, running.files(identity, issuer=key_plane))
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert "is no agent of the key plane" in reason

        code, reason = await refused(running, running.files(Identity(Plane.KEY, Role.AGENT, "mallory")))
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert reason == "no policy here names the peer 'mallory'"

        assert (await running.enc_keys("a", "c")).status_code == 200, "and nobody else was disturbed"


async def test_an_agent_cannot_speak_for_another(tmp_path: Path) -> None:
    async with mesh.running(tmp_path, LINE, OVER_B) as running:
        files = running.files(Identity(Plane.KEY, Role.AGENT, "c"))
        received, code, reason = await frames_until_refused(running, files, hello="a")
        assert received == ["hello"], "the one frame that every peer gets first"
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "c does not begin with its hello" in reason


async def test_agents_speak_tls_1_3_with_a_post_quantum_key_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[dict[str, list[bytes]]] = []

    def noting_identity(auth_context: Any, plane: Plane, roles: frozenset[Role]) -> Identity:
        contexts.append({key: list(values) for key, values in auth_context.items()})
        return peer_identity(auth_context, plane, roles)

    monkeypatch.setattr(transport, "peer_identity", noting_identity)
    async with mesh.running(tmp_path, LINE, OVER_B) as running:
        await running.supplied()
    assert {context["ssl_negotiated_key_exchange_group"][0] for context in contexts} == {
        PQ_TLS_GROUP.encode()
    }
    assert {context["ssl_tls_version"][0] for context in contexts} == {b"TLSv1.3"}
    callers = {context["peer_uri"][0].decode() for context in contexts}
    assert callers == {"keyweave://key/agent/a", "keyweave://key/agent/b"}
