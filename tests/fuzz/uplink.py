"""What a controller that has a certificate can send an agent: policy, acknowledgements, queries."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from keyweave.agent import uplink
from keyweave.agent.endpoints import Endpoints
from keyweave.agent.guard.model import Guard
from keyweave.agent.keyplane.plane import KeyPlane
from keyweave.agent.ledger.ledger import Ledger
from keyweave.agent.lookup import Lookup
from keyweave.agent.observer import Observer
from keyweave.agent.pairs.plane import PairPlane
from keyweave.agent.policy import PolicyStore
from keyweave.agent.uplink import Uplink
from keyweave.common import validation
from keyweave.common.file_watch import FileWatch
from keyweave.common.names import NodeName
from keyweave.common.policy_digest import policy_digest
from keyweave.common.tls import TlsFiles
from keyweave.v1 import agent_pb2, types_pb2
from tests.fuzz.target import Target
from tests.fuzz.wire import Words, messages
from tests.guards import open_guard
from tests.integration.mesh_policy import MeshStream, relay_rule, stream_rule
from tests.unit.enrolled import enrolment

HERE = NodeName("m")
PEERS = ("b", "c")
EPOCH = 7
ORDER = "0" * 32


def _rules() -> list[agent_pb2.Rule]:
    made = []
    for peer in PEERS:
        stream = MeshStream(path_sets=(((peer, "m"),),), name=f"s-{peer}")
        across = MeshStream(path_sets=((("b", "m", "c"),),), name=f"u-{peer}")
        (path_id, path), *_ = across.paths.items()
        made += [
            agent_pb2.Rule(
                rule_id=f"peer/{peer}", peer=agent_pb2.PeerRule(node=peer, key_plane_address=f"{peer}:1")
            ),
            agent_pb2.Rule(
                rule_id=f"link/{peer}-m",
                link=agent_pb2.LinkRule(link=f"{peer}-m", peer_node=peer, abort_qber_ratio=0.11),
            ),
            agent_pb2.Rule(rule_id=f"stream/{stream.name}", stream=stream_rule(stream, "m")),
            agent_pb2.Rule(
                rule_id=f"relay/{across.name}/{path_id}", relay=relay_rule(across, path_id, path, "m")
            ),
        ]
    order = agent_pb2.OrderRule(
        order_id=ORDER, kind=types_pb2.ORDER_KIND_LINK_CLEAR, link="b-m", ordered_by="olga"
    )
    return [*made, agent_pb2.Rule(rule_id=f"order/{ORDER}", order=order)]


_RULES = _rules()
_SNAPSHOT = agent_pb2.PolicyResponse(
    nonce=1,
    version=agent_pb2.PolicyVersion(epoch=EPOCH, version=1, digest=policy_digest(_RULES)),
    lease_seconds=5,
    snapshot=agent_pb2.PolicySnapshot(rules=_RULES),
)
_DELTA = agent_pb2.PolicyResponse(
    nonce=2,
    version=agent_pb2.PolicyVersion(epoch=EPOCH, version=2, digest=policy_digest(_RULES[:-1])),
    lease_seconds=5,
    delta=agent_pb2.PolicyDelta(base_digest=policy_digest(_RULES), removed_rule_ids=[f"order/{ORDER}"]),
)
_WORDS = Words.of(
    texts=(
        "b",
        "c",
        "m",
        "b-m",
        "c-m",
        "s-b",
        "s-c",
        "u-b:b-m-c",
        f"order/{ORDER}",
        "b:1",
        *(r.rule_id for r in _RULES),
    ),
    blobs=(policy_digest(_RULES), policy_digest([])),
    numbers=(EPOCH, EPOCH + 1, 256, 1000),
    samples=(
        _SNAPSHOT,
        _DELTA,
        *_RULES,
        *(getattr(rule, rule.WhichOneof("kind")) for rule in _RULES),
        *(path for rule in _RULES for path in rule.stream.accepted_paths),
    ),
)


@dataclass(frozen=True)
class Pushed:
    """A push; an honest one has the digest of its rules and a version that may follow."""

    push: agent_pb2.PolicyResponse
    honest: bool


@dataclass
class Call:
    """A stream of which the test is the other side."""

    incoming: Sequence[Any]
    written: list[Any] = field(default_factory=list)

    async def write(self, message: Any) -> None:
        """What the agent says."""
        message.SerializeToString()
        self.written.append(message)

    async def __aiter__(self) -> AsyncIterator[Any]:
        for message in self.incoming:
            yield type(message).FromString(message.SerializeToString())
            await asyncio.sleep(0)


def uplink_of(
    directory: Path,
    node: NodeName,
    policies: PolicyStore,
    on_policy: Callable[[], Any],
    guard: Callable[[], Guard],
) -> Uplink:
    """An uplink that dials nobody."""
    nowhere = TlsFiles(certificate=directory, private_key=directory, trust_anchor=directory)
    return Uplink(
        node,
        Endpoints(["nowhere:1"]),
        nowhere,
        agent_pb2.TelemetryHello(node=node, incarnation=bytes(16)),
        policies,
        interval_seconds=1.0,
        observe=mock.Mock(),
        on_policy=on_policy,
        files=FileWatch(),
        lookup=mock.AsyncMock(),
        guard=guard,
    )


def _guard() -> Guard:
    return open_guard(HERE, (HERE, *PEERS))


# ---- policy ------------------------------------------------------------------------------------


async def _pushes(pushes: list[Pushed]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        policies = PolicyStore(directory / "policy.json")
        plane = KeyPlane(
            HERE,
            bytes(16),
            enrolment(HERE),
            Observer(),
            files=FileWatch(),
            on_report=mock.Mock(),
            on_event=mock.Mock(),
        )

        async def apply() -> None:
            plane.apply(policies.policy.rules.values(), _guard())

        agent = uplink_of(directory, HERE, policies, apply, _guard)
        running = asyncio.create_task(plane.run())
        await asyncio.sleep(0)
        try:
            for number, pushed in enumerate(pushes):
                before, seen = policies.policy, policies.highest_epoch
                answer = await agent._take(_finished(pushed, policies, number))
                _check_answer(answer, policies, before, seen)
                kept = PolicyStore(directory / "policy.json")
                assert (kept.policy, kept.highest_epoch) == (policies.policy, policies.highest_epoch)
            assert not running.done(), "the key plane has ended"
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            plane.close()


def _finished(pushed: Pushed, policies: PolicyStore, number: int) -> agent_pb2.PolicyResponse:
    push = agent_pb2.PolicyResponse.FromString(pushed.push.SerializeToString())
    if pushed.honest:
        push.version.epoch = max(policies.highest_epoch, EPOCH)
        push.version.version = 10 + number
        current = dict(policies.policy.rules)
        match push.WhichOneof("kind"):
            case "snapshot":
                # One rule in three keeps the ID that it came with.
                for index, rule in enumerate(push.snapshot.rules):
                    rule.rule_id = _id_of(rule) if index % 3 else rule.rule_id
                rules = {rule.rule_id: rule for rule in push.snapshot.rules}
            case "delta":
                push.delta.base_digest = policies.policy.digest
                removed = set(push.delta.removed_rule_ids)
                rules = {name: rule for name, rule in current.items() if name not in removed}
                rules |= {rule.rule_id: rule for rule in push.delta.upserts}
            case _:
                rules = current
        push.version.digest = policy_digest(rules.values())
    return push


def _id_of(rule: agent_pb2.Rule) -> str:
    match rule.WhichOneof("kind"):
        case "peer":
            return f"peer/{rule.peer.node}"
        case "link":
            return f"link/{rule.link.link}"
        case "stream":
            return f"stream/{rule.stream.stream}"
        case "relay":
            return f"relay/{rule.relay.stream}/{rule.relay.path_id}"
        case _:
            return rule.rule_id


def _check_answer(
    answer: agent_pb2.PolicyRequest | None, policies: PolicyStore, before: object, seen: int
) -> None:
    assert policies.highest_epoch >= max(seen, policies.policy.epoch), "the fence has come down"
    if answer is None:
        return
    answer.SerializeToString()
    if answer.HasField("nack"):
        assert policies.policy is before or policies.policy == before, "refused, and yet something changed"
        assert answer.nack.rules, "refused without a reason"
    else:
        assert answer.ack.version == policies.policy.as_version(), "acknowledged is what is in force"
        found = [v for rule in policies.policy.rules.values() for v in validation.violations(rule)]
        assert not found, f"a rule in force breaks the terms of the .proto: {found}"


# ---- acknowledgements and queries --------------------------------------------------------------


async def _acknowledgements(responses: list[agent_pb2.TelemetryResponse]) -> None:
    with tempfile.TemporaryDirectory() as name:
        policies = PolicyStore(Path(name) / "policy.json")
        agent = uplink_of(Path(name), HERE, policies, mock.AsyncMock(), _guard)
        for number in range(3):
            agent.event(agent_pb2.AgentEvent(kind=agent_pb2.AGENT_EVENT_KIND_STREAM_STARVED, count=number))
        call = Call(responses)
        stub: Any = mock.Mock()
        stub.Telemetry.return_value = call
        try:
            await agent._telemetry(stub)
        except* uplink._StreamEndedError:
            pass
        acked = max((response.acked_sequence for response in responses), default=0)
        least = len([number for number in (1, 2, 3) if number > acked])
        assert least <= len(agent.ring) <= 3, "an event was lost that nobody acknowledged, or is there twice"


async def _queries(queries: list[agent_pb2.InspectResponse]) -> None:
    with tempfile.TemporaryDirectory() as name:
        ledger = Ledger(Path(name), HERE, keep=timedelta(days=1))
        pairs = PairPlane(HERE, {}, on_event=lambda _event: None)
        lookup = Lookup(ledger, agent_pb2.TelemetryHello(node=HERE, incarnation=bytes(16)), pairs.bell_test)
        call: Any = Call(queries)
        answering = asyncio.create_task(lookup._answer(call))
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await answering
        answering.result()
        for request in call.written:
            assert not validation.violations(request), "an answer that the controller would refuse"


_LEDGER_QUERY = agent_pb2.LedgerQuery(stream="s-b", from_unix_nanos=1, to_unix_nanos=2, limit=10)
_QUERY_WORDS = Words.of(
    texts=("s-b",),
    numbers=(1, 2),
    samples=(
        _LEDGER_QUERY,
        agent_pb2.InspectResponse(query_id=1, ledger=_LEDGER_QUERY),
        agent_pb2.InspectResponse(query_id=1, cancel=agent_pb2.CancelQuery()),
    ),
)
_ACK_WORDS = Words.of(
    numbers=(1, 2, 3, 64),
    samples=(agent_pb2.TelemetryResponse(acked_sequence=1, credit_sequence=64),),
)

TARGETS = (
    Target(
        "policy pushes",
        st.lists(
            st.builds(
                Pushed, messages(agent_pb2.PolicyResponse, _WORDS), st.sampled_from((True, True, False))
            ),
            min_size=1,
            max_size=4,
        ),
        lambda pushes: asyncio.run(_pushes(pushes)),
        examples=100,
    ),
    Target(
        "telemetry acknowledgements",
        st.lists(messages(agent_pb2.TelemetryResponse, _ACK_WORDS), max_size=6),
        lambda responses: asyncio.run(_acknowledgements(responses)),
        examples=60,
    ),
    Target(
        "ledger queries",
        st.lists(messages(agent_pb2.InspectResponse, _QUERY_WORDS), max_size=6),
        lambda queries: asyncio.run(_queries(queries)),
        examples=60,
    ),
)
