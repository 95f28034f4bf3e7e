"""What a controller gone wrong pushes: refused whole, by rule, and what is accepted can be applied."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import grpc
import pytest
from google.rpc import code_pb2

from keyweave.agent.endpoints import Endpoints
from keyweave.agent.policy import MAX_EPOCH_JUMP, Policy, PolicyStore, next_policy
from keyweave.agent.uplink import Uplink
from keyweave.common.file_watch import FileWatch
from keyweave.common.names import NodeName
from keyweave.common.policy_digest import policy_digest
from keyweave.common.tls import TlsFiles
from keyweave.v1 import agent_pb2
from tests.unit.test_agent_policy import (
    GOOD,
    GUARD,
    NODE,
    PEERS,
    link,
    peer,
    policy,
    push,
    refusal,
    relay,
    stream,
)


def renamed(rule: agent_pb2.Rule, rule_id: str) -> agent_pb2.Rule:
    changed = agent_pb2.Rule()
    changed.CopyFrom(rule)
    changed.rule_id = rule_id
    return changed


@pytest.mark.parametrize(
    "rule", [PEERS[0], link(), stream(), relay()], ids=["peer", "link", "stream", "relay"]
)
def test_two_rules_cannot_be_about_one_thing(rule: agent_pb2.Rule) -> None:
    twin = renamed(rule, rule.rule_id + "-again")
    found = refusal(push([*GOOD, twin]), policy())
    assert set(found) == {twin.rule_id}
    assert f"expected '{rule.rule_id}'" in found[twin.rule_id][1]


@pytest.mark.parametrize("length", [0, 201, 70_000])
def test_a_path_id_that_fits_no_header_is_refused(length: int) -> None:
    def rename(rule: agent_pb2.StreamRule) -> None:
        rule.accepted_paths[0].path_id = rule.path_sets[0].paths[0].path_id = "x" * length

    assert "path_id" in refusal(push([*PEERS, stream(rename)]), policy())["stream/s"][1]


def test_one_version_cannot_be_two_policies() -> None:
    assert "another digest" in refusal(push([*PEERS], version=7), policy())[""][1]


# ---- the agent's side of the policy stream ------------------------------------------------------


def uplink(path: Path) -> tuple[Uplink, PolicyStore]:
    policies = PolicyStore(path / "policy.json")
    files = TlsFiles(certificate=path / "c", private_key=path / "k", trust_anchor=path / "a")
    made = Uplink(
        NodeName("a"),
        Endpoints(["127.0.0.1:1"]),
        files,
        agent_pb2.TelemetryHello(incarnation=bytes(16)),
        policies,
        interval_seconds=1,
        observe=mock.Mock(),
        on_policy=mock.AsyncMock(),
        files=FileWatch(),
        lookup=mock.AsyncMock(),
        guard=lambda: GUARD,
    )
    return made, policies


async def take(up: Uplink, message: agent_pb2.PolicyResponse) -> str | None:
    answer = await up._take(message)
    return None if answer is None else answer.WhichOneof("kind")


async def test_a_refused_policy_still_fences_off_older_controllers(tmp_path: Path) -> None:
    up, policies = uplink(tmp_path)
    assert await take(up, push(GOOD, epoch=5)) == "ack"
    assert await take(up, push([link(peer_node="nobody")], epoch=6, version=1)) == "nack"
    assert await take(up, push(GOOD, epoch=5, version=9)) == "nack", "epoch 6 has been seen"
    again = PolicyStore(tmp_path / "policy.json")
    assert (again.highest_epoch, again.policy) == (6, policies.policy), "and that survives a crash"
    assert await take(up, push(GOOD, epoch=6, version=2)) == "ack"


async def test_an_epoch_out_of_reach_fences_off_nobody(tmp_path: Path) -> None:
    up, policies = uplink(tmp_path)
    await policies.save(Policy(5, 1, policy_digest([]), {}))
    assert await take(up, push(GOOD, epoch=6 + MAX_EPOCH_JUMP)) == "nack"
    assert policies.highest_epoch == 5


async def garbage(*_: object) -> AsyncIterator[None]:
    yield None  # what gRPC hands on for bytes that do not parse


@pytest.mark.parametrize("broken", ["Telemetry", "Policy"])
async def test_bytes_that_are_no_message_end_the_connection_and_not_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def call(answers: Callable[..., AsyncIterator[Any]]) -> Any:
        made = mock.Mock(spec=grpc.aio.StreamStreamCall, write=mock.AsyncMock())
        made.__aiter__ = lambda _self: answers()
        return made

    async def silence() -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield None

    stub = mock.Mock(Telemetry=lambda: call(silence), Policy=lambda: call(silence))
    setattr(stub, broken, lambda: call(garbage))
    monkeypatch.setattr("keyweave.agent.uplink.secure_channel", mock.MagicMock())
    monkeypatch.setattr("keyweave.agent.uplink.agent_pb2_grpc.AgentServiceStub", lambda _channel: stub)
    up, _ = uplink(tmp_path)
    assert await up._connection() == "the controller sent bytes that are no message"


def test_deltas_do_not_add_up_to_a_policy_that_no_snapshot_could_carry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "keyweave.agent.policy.MAX_POLICY_BYTES", sum(rule.ByteSize() for rule in GOOD), raising=False
    )
    next_policy(NODE, policy(PEERS), 5, push(GOOD), GUARD)
    refused = refusal(push([*GOOD, peer("e")]), policy())
    assert refused[""][0] == code_pb2.RESOURCE_EXHAUSTED
