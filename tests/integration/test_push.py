"""Policies over real sockets and mutual TLS, as an agent sees them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from immutables import Map

from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.common.pki import Authority
from keyweave.common.policy_digest import combine, policy_digest, serialized_rule_digest
from keyweave.common.tls import SERVER_OPTIONS, TlsFiles, secure_channel, server_credentials
from keyweave.controller.agent_service import AgentService
from keyweave.controller.compile.policies import NodePolicy
from keyweave.controller.ingest import TelemetryIntake
from keyweave.controller.inspection import Inspection
from keyweave.controller.instructions import Confirm, Push, VersionedPolicy
from keyweave.controller.push import PolicyPusher
from keyweave.controller.stimuli import (
    Batch,
    PolicyAcked,
    PolicyConnected,
    PolicyDisconnected,
    PolicyNacked,
    PolicyStimulus,
)
from keyweave.v1 import agent_pb2, agent_pb2_grpc

if TYPE_CHECKING:  # generic in grpc's stubs only
    Call = grpc.aio.StreamStreamCall[agent_pb2.PolicyRequest, agent_pb2.PolicyResponse]

CONTROLLER = Identity(Plane.CONTROL, Role.CONTROLLER, "controller")
A = NodeName("a")
EPOCH = 4
LEASE_SECONDS = 0.3


def policy(*peers: str) -> NodePolicy:
    """A policy with a rule for each of these peers."""
    rules = {
        f"peer/{peer}": agent_pb2.Rule(
            rule_id=f"peer/{peer}", peer=agent_pb2.PeerRule(node=peer, key_plane_address=f"{peer}:1")
        ).SerializeToString(deterministic=True)
        for peer in peers
    }
    return NodePolicy(Map(rules), combine(map(serialized_rule_digest, rules.values())))


@dataclass
class PolicyPlane:
    """A server with the policy service, and a core that is the test itself."""

    pusher: PolicyPusher
    heard: "asyncio.Queue[PolicyStimulus]"
    address: str
    authority: Authority
    directory: Path
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def files(self, identity: Identity, issuer: Authority | None = None) -> TlsFiles:
        """A certificate on disk."""
        stem = self.directory / identity.uri.replace("/", "_")
        files = TlsFiles(
            certificate=stem.with_suffix(".pem"),
            private_key=stem.with_suffix(".key"),
            trust_anchor=self.directory / "ca.pem",
        )
        (issuer or self.authority).issue(identity).write(files.certificate, files.private_key)
        return files

    def dial(self, role: Role = Role.AGENT, name: str = "a") -> "Wire":
        """Open a policy stream with a certificate of this role and name."""
        channel = secure_channel(self.address, self.files(Identity(Plane.CONTROL, role, name)), CONTROLLER)
        self.channels.append(channel)
        return Wire(agent_pb2_grpc.AgentServiceStub(channel).Policy())  # type: ignore[call-arg]

    async def connected(self, *, have: bytes = b"", highest_epoch: int = 0) -> "Wire":
        """A policy stream past its hello, known to the core."""
        wire = self.dial()
        await wire.hello(have=have, highest_epoch=highest_epoch)
        assert isinstance(await self.heard.get(), PolicyConnected)
        return wire


class Wire:
    """The agent's side of one policy stream."""

    def __init__(self, call: "Call") -> None:
        self.call = call

    async def hello(self, *, node: str = "a", have: bytes = b"", highest_epoch: int = 0) -> None:
        version = agent_pb2.PolicyVersion(epoch=3 if have else 0, version=7 if have else 0, digest=have)
        hello = agent_pb2.PolicyHello(
            node=node, incarnation=b"i" * 16, have=version, highest_epoch=highest_epoch
        )
        await self.call.write(agent_pb2.PolicyRequest(hello=hello))

    async def ack(self, response: agent_pb2.PolicyResponse) -> None:
        ack = agent_pb2.PolicyAck(nonce=response.nonce, version=response.version)
        await self.call.write(agent_pb2.PolicyRequest(ack=ack))

    async def nack(self, response: agent_pb2.PolicyResponse, rule_id: str) -> None:
        nack = agent_pb2.PolicyNack(
            nonce=response.nonce, version=response.version, rules=[agent_pb2.RuleStatus(rule_id=rule_id)]
        )
        await self.call.write(agent_pb2.PolicyRequest(nack=nack))

    async def next(self) -> agent_pb2.PolicyResponse:
        response = await self.call.read()
        assert isinstance(response, agent_pb2.PolicyResponse), "the stream has ended"
        return response

    async def failure(self) -> tuple[grpc.StatusCode, str]:
        """How the stream ended."""
        return await self.call.code(), await self.call.details()


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[PolicyPlane]:
    authority = Authority.create(Plane.CONTROL)
    (tmp_path / "ca.pem").write_bytes(authority.credential.certificate)
    heard: asyncio.Queue[PolicyStimulus] = asyncio.Queue()

    async def ignore(_batch: Batch) -> None:
        return None

    pusher = PolicyPusher(
        epoch=EPOCH, lease_seconds=LEASE_SECONDS, known_node=lambda node: node == "a", submit=heard.put
    )
    intake = TelemetryIntake(known_node=lambda _node: True, submit=ignore)
    inspection = Inspection(known_node=lambda _node: True)
    server = grpc.aio.server(interceptors=(ErrorInterceptor(),), options=SERVER_OPTIONS)
    agent_pb2_grpc.add_AgentServiceServicer_to_server(AgentService(intake, pusher, inspection), server)
    made = PolicyPlane(pusher, heard, "", authority, tmp_path)
    port = server.add_secure_port("127.0.0.1:0", server_credentials(made.files(CONTROLLER)))
    made.address = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield made
    finally:
        for channel in made.channels:
            await channel.close(None)
        await server.stop(0)


async def test_an_agent_without_a_policy_gets_a_snapshot_with_epoch_version_digest_and_lease(
    plane: PolicyPlane,
) -> None:
    wire = await plane.connected()
    target = policy("b", "c")
    plane.pusher.execute(Push(A, VersionedPolicy(5, target), None))
    response = await wire.next()
    assert (response.version.epoch, response.version.version) == (EPOCH, 5)
    assert response.version.digest == target.digest == policy_digest(response.snapshot.rules)
    assert response.lease_seconds == pytest.approx(LEASE_SECONDS)
    await wire.ack(response)
    assert await plane.heard.get() == PolicyAcked(A, target.digest)


async def test_what_the_agent_has_and_has_seen_reaches_the_core(plane: PolicyPlane) -> None:
    wire = plane.dial()
    await wire.hello(have=b"d" * 32, highest_epoch=9)
    connected = await plane.heard.get()
    assert isinstance(connected, PolicyConnected)
    assert (connected.node, connected.have.digest, connected.highest_epoch) == ("a", b"d" * 32, 9)


async def test_an_agent_that_has_what_is_desired_gets_a_heartbeat_at_once_and_then_every_third_of_a_lease(
    plane: PolicyPlane,
) -> None:
    wire = await plane.connected(have=policy("b").digest)
    plane.pusher.execute(Confirm(A, 1, policy("b").digest))
    loop = asyncio.get_running_loop()
    began = loop.time()
    beats = [await wire.next() for _ in range(4)]
    assert {beat.WhichOneof("kind") for beat in beats} == {"heartbeat"}
    assert {(beat.version.epoch, beat.version.digest) for beat in beats} == {(EPOCH, policy("b").digest)}
    assert [beat.nonce for beat in beats] == sorted({beat.nonce for beat in beats})
    assert loop.time() - began >= 3 * LEASE_SECONDS / 3 * 0.9
    assert plane.heard.empty(), "a heartbeat needs no answer"


async def test_a_change_against_a_known_base_travels_as_the_difference(plane: PolicyPlane) -> None:
    wire = await plane.connected()
    base, target = policy("b", "c", "d", "e"), policy("b", "c", "d", "f")
    plane.pusher.execute(Push(A, VersionedPolicy(2, target), base))
    response = await wire.next()
    assert response.delta.base_digest == base.digest
    assert [rule.rule_id for rule in response.delta.upserts] == ["peer/f"]
    assert list(response.delta.removed_rule_ids) == ["peer/e"]


async def test_a_change_that_leaves_little_of_its_base_travels_whole(plane: PolicyPlane) -> None:
    wire = await plane.connected()
    plane.pusher.execute(Push(A, VersionedPolicy(2, policy("x")), policy("b", "c", "d", "e")))
    assert (await wire.next()).WhichOneof("kind") == "snapshot"


async def test_a_policy_without_rules_is_a_snapshot_too(plane: PolicyPlane) -> None:
    wire = await plane.connected()
    plane.pusher.execute(Push(A, VersionedPolicy(2, policy()), None))
    response = await wire.next()
    assert response.WhichOneof("kind") == "snapshot"
    assert response.version.digest == policy().digest


async def test_while_an_answer_is_due_nothing_is_sent_and_afterwards_heartbeats_confirm_what_was_applied(
    plane: PolicyPlane,
) -> None:
    wire = await plane.connected(have=policy("b").digest)
    plane.pusher.execute(Confirm(A, 1, policy("b").digest))
    await wire.next()
    plane.pusher.execute(Push(A, VersionedPolicy(2, policy("c")), policy("b")))
    push = await wire.next()
    while push.WhichOneof("kind") == "heartbeat":  # one that was on its way before
        push = await wire.next()
    reading = asyncio.ensure_future(wire.next())
    silent, _ = await asyncio.wait({reading}, timeout=LEASE_SECONDS)
    assert not silent
    await wire.ack(push)
    beat = await reading
    assert beat.WhichOneof("kind") == "heartbeat"
    assert (beat.version.version, beat.version.digest) == (2, policy("c").digest)


async def test_a_push_that_was_not_sent_yet_gives_way_to_a_newer_one(plane: PolicyPlane) -> None:
    wire = await plane.connected()
    for version, target in enumerate((policy("b"), policy("c"), policy("d")), start=1):
        plane.pusher.execute(Push(A, VersionedPolicy(version, target), None))
    assert (await wire.next()).version.version == 3
    assert plane.pusher.counters.snapshots_total == 1


async def test_a_refusal_reaches_the_core_with_its_rules(plane: PolicyPlane) -> None:
    wire = await plane.connected()
    plane.pusher.execute(Push(A, VersionedPolicy(1, policy("b")), None))
    await wire.nack(await wire.next(), "peer/b")
    nacked = await plane.heard.get()
    assert isinstance(nacked, PolicyNacked)
    assert (nacked.digest, nacked.rules[0].rule_id) == (policy("b").digest, "peer/b")


async def test_an_answer_with_a_stale_nonce_is_ignored(plane: PolicyPlane) -> None:
    wire = await plane.connected()
    plane.pusher.execute(Push(A, VersionedPolicy(1, policy("b")), None))
    first = await wire.next()
    await wire.ack(first)
    assert await plane.heard.get() == PolicyAcked(A, policy("b").digest)
    await wire.ack(first)
    plane.pusher.execute(Push(A, VersionedPolicy(2, policy("c")), policy("b")))
    second = await wire.next()
    while second.WhichOneof("kind") == "heartbeat":
        second = await wire.next()
    await wire.ack(second)
    assert await plane.heard.get() == PolicyAcked(A, policy("c").digest)
    assert plane.pusher.counters.stale_answers_total == 1


async def test_a_newer_stream_of_the_same_agent_replaces_the_older_one(plane: PolicyPlane) -> None:
    older = await plane.connected()
    newer = await plane.connected()
    code, details = await older.failure()
    assert code is grpc.StatusCode.ABORTED
    assert "newer" in details
    plane.pusher.execute(Push(A, VersionedPolicy(1, policy("b")), None))
    assert (await newer.next()).version.version == 1
    assert plane.heard.empty(), "to the core, the agent was never lost"


async def test_the_core_hears_of_an_agent_that_hangs_up(plane: PolicyPlane) -> None:
    wire = await plane.connected()
    wire.call.cancel()
    assert await plane.heard.get() == PolicyDisconnected(A)


async def test_a_controller_that_fell_silent_sends_not_even_heartbeats(plane: PolicyPlane) -> None:
    wire = await plane.connected()
    plane.pusher.execute(Confirm(A, 1, policy("b").digest))
    await wire.next()
    plane.pusher.fall_silent()
    plane.pusher.execute(Push(A, VersionedPolicy(2, policy("c")), None))
    reading = asyncio.ensure_future(wire.call.read())
    answered, _ = await asyncio.wait({reading}, timeout=LEASE_SECONDS)
    if answered:  # a heartbeat that was on its way before
        assert isinstance(beat := reading.result(), agent_pb2.PolicyResponse)
        assert beat.version.version == 1
        reading = asyncio.ensure_future(wire.call.read())
        answered, _ = await asyncio.wait({reading}, timeout=LEASE_SECONDS)
    assert not answered
    wire.call.cancel()
    await asyncio.wait({reading})


async def test_a_controller_that_shuts_down_says_so_and_loses_no_agent(plane: PolicyPlane) -> None:
    wire = await plane.connected()
    plane.pusher.stop()
    code, details = await wire.failure()
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in details
    assert plane.heard.empty()


@pytest.mark.parametrize(
    ("role", "name", "speaks_for", "code", "words"),
    [
        (Role.OPERATOR, "olga", "olga", grpc.StatusCode.PERMISSION_DENIED, "is no agent of"),
        (Role.AGENT, "b", "a", grpc.StatusCode.PERMISSION_DENIED, "cannot speak for 'a'"),
        (Role.AGENT, "b", "b", grpc.StatusCode.FAILED_PRECONDITION, "keyweave node create b"),
    ],
)
async def test_only_the_agent_of_a_known_node_is_served(
    plane: PolicyPlane, role: Role, name: str, speaks_for: str, code: grpc.StatusCode, words: str
) -> None:
    wire = plane.dial(role, name)
    await wire.hello(node=speaks_for)
    assert (await wire.failure())[0] is code
    assert words in (await wire.failure())[1]
    assert plane.heard.empty()


async def test_a_stream_that_does_not_begin_with_a_hello_is_refused(plane: PolicyPlane) -> None:
    wire = plane.dial()
    await wire.ack(agent_pb2.PolicyResponse(nonce=1))
    assert (await wire.failure())[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_second_hello_is_refused(plane: PolicyPlane) -> None:
    wire = await plane.connected()
    await wire.hello()
    assert (await wire.failure())[0] is grpc.StatusCode.INVALID_ARGUMENT
