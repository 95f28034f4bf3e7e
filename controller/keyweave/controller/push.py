"""Step 6: policies on the wire, one stream per agent.

The core decides what is sent and that at most one push is outstanding; here a push becomes a snapshot or
a delta with a nonce, answers are matched to it, and heartbeats renew the lease. Whatever an agent says
goes to the core as a stimulus.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
from prometheus_client import Histogram

from keyweave.common import log
from keyweave.common.errors import (
    ConflictError,
    InvalidInputError,
    UnavailableError,
)
from keyweave.common.names import NodeName
from keyweave.common.validation import check
from keyweave.controller.agent_stream import ending, hello_of, node_of
from keyweave.controller.compile.policies import NodePolicy
from keyweave.controller.instructions import Confirm, Push
from keyweave.controller.stimuli import (
    PolicyAcked,
    PolicyConnected,
    PolicyDisconnected,
    PolicyNacked,
    PolicyStimulus,
)
from keyweave.v1 import agent_pb2

if TYPE_CHECKING:  # generic in the stubs only
    Context = grpc.aio.ServicerContext[agent_pb2.PolicyRequest, agent_pb2.PolicyResponse]
else:
    Context = grpc.aio.ServicerContext

HEARTBEATS_PER_LEASE = 3
_ROUND_TRIP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def _round_trips() -> Histogram:
    return Histogram(
        "keyweave_policy_push_duration_seconds",
        "From sending a policy to the agent's acknowledgement that it is applied and on disk",
        buckets=_ROUND_TRIP_BUCKETS,
        registry=None,
    )


Submit = Callable[[PolicyStimulus], Awaitable[None]]


@dataclass(slots=True)
class PushCounters:
    """What was sent and what came back, since the process started."""

    snapshots_total: int = 0
    deltas_total: int = 0
    acks_total: int = 0
    nacks_total: int = 0
    stale_answers_total: int = 0
    round_trips: Histogram = field(default_factory=_round_trips)


@dataclass(frozen=True, slots=True)
class _Outstanding:
    nonce: int
    version: int
    digest: bytes
    # By the event loop's clock.
    sent_at: float


class PolicySession:
    """One agent's policy stream, from its hello until it ends or a newer one replaces it."""

    def __init__(self, node: NodeName, epoch: int, lease_seconds: float, counters: PushCounters) -> None:
        self.node = node
        self._epoch = epoch
        self._lease_seconds = lease_seconds
        self._counters = counters
        self._nonce = 0
        self._next: Push | None = None
        self._outstanding: _Outstanding | None = None
        self._confirmed: agent_pb2.PolicyVersion | None = None
        self._confirm_now = False
        self._changed = asyncio.Event()
        self.replaced = False

    def push(self, instruction: Push) -> None:
        """Send this next; a newer one that comes before it was sent takes its place."""
        self._next = instruction
        self._changed.set()

    def confirm(self, instruction: Confirm) -> None:
        """Tell the agent that this is what it should have, now and at every heartbeat."""
        self._confirmed = self._version(instruction.version, instruction.digest)
        self._confirm_now = True
        self._changed.set()

    def fall_silent(self) -> None:
        """Keep the stream open and send nothing on it any more."""
        self._next = self._confirmed = None

    def replace(self) -> None:
        """End this stream: the agent has opened a newer one."""
        self.replaced = True
        self._changed.set()

    def answered(self, nonce: int) -> _Outstanding | None:
        """The push that an answer with this nonce answers; None if it is stale."""
        outstanding = self._outstanding
        if outstanding is None or outstanding.nonce != nonce:
            self._counters.stale_answers_total += 1
            return None
        self._outstanding = None
        return outstanding

    def applied(self, outstanding: _Outstanding) -> None:
        """Heartbeats confirm this policy from now on."""
        self._confirmed = self._version(outstanding.version, outstanding.digest)

    async def responses(self) -> AsyncIterator[agent_pb2.PolicyResponse]:
        """What to send, as it becomes due; ends when the session is replaced."""
        heartbeat_seconds = self._lease_seconds / HEARTBEATS_PER_LEASE
        while not self.replaced:
            if self._next is not None:
                instruction, self._next = self._next, None
                yield self._pushed(instruction)
            elif self._confirm_now and self._confirmed is not None:
                self._confirm_now = False
                yield self._heartbeat(self._confirmed)
            else:
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), heartbeat_seconds)
                except TimeoutError:
                    # Not while a push is in doubt: the agent may be past what a heartbeat would confirm.
                    self._confirm_now = self._outstanding is None

    def _pushed(self, push: Push) -> agent_pb2.PolicyResponse:
        self._nonce += 1
        # What was to be confirmed is no longer what the agent should have: it would refuse the older one.
        self._confirm_now = False
        target = push.target
        self._outstanding = _Outstanding(
            self._nonce, target.version, target.policy.digest, asyncio.get_running_loop().time()
        )
        response = agent_pb2.PolicyResponse(
            nonce=self._nonce,
            version=self._version(target.version, target.policy.digest),
            lease_seconds=self._lease_seconds,
        )
        fill(response, push.base, target.policy)
        if response.HasField("delta"):
            self._counters.deltas_total += 1
        else:
            self._counters.snapshots_total += 1
        return response

    def _heartbeat(self, version: agent_pb2.PolicyVersion) -> agent_pb2.PolicyResponse:
        self._nonce += 1
        return agent_pb2.PolicyResponse(
            nonce=self._nonce,
            version=version,
            lease_seconds=self._lease_seconds,
            heartbeat=agent_pb2.PolicyHeartbeat(),
        )

    def _version(self, version: int, digest: bytes) -> agent_pb2.PolicyVersion:
        return agent_pb2.PolicyVersion(epoch=self._epoch, version=version, digest=digest)


def fill(response: agent_pb2.PolicyResponse, base: NodePolicy | None, target: NodePolicy) -> None:
    """Put `target` into `response`: as what differs from `base` if that is few rules or short, else whole."""
    if base is not None:
        changes = target.changes_from(base)
        upserts = [data for data in changes.values() if data is not None]
        removed = [rule_id for rule_id, data in changes.items() if data is None]
        if 2 * len(changes) < len(target.rules) or _size(upserts) + _size(removed) < _size(
            target.rules.values()
        ):
            response.delta.base_digest = base.digest
            response.delta.upserts.extend(agent_pb2.Rule.FromString(data) for data in upserts)
            response.delta.removed_rule_ids.extend(removed)
            return
    response.snapshot.rules.extend(agent_pb2.Rule.FromString(data) for data in target.rules.values())
    response.snapshot.SetInParent()


def _size(parts: Iterable[bytes | str]) -> int:
    return sum(map(len, parts))


class PolicyPusher:
    """All agents' policy streams."""

    def __init__(
        self,
        *,
        epoch: int,
        lease_seconds: float,
        known_node: Callable[[NodeName], bool],
        submit: Submit,
    ) -> None:
        self._epoch = epoch
        self._lease_seconds = lease_seconds
        self._known_node = known_node
        self._submit = submit
        self._sessions: dict[NodeName, PolicySession] = {}
        self._silent = False
        self._stopped = False
        self.counters = PushCounters()

    def execute(self, instruction: Push | Confirm) -> None:
        """Do what the core says; for an agent that has just gone, nothing."""
        session = self._sessions.get(instruction.node)
        if session is None or self._silent:
            return
        if isinstance(instruction, Push):
            session.push(instruction)
        else:
            session.confirm(instruction)

    def fall_silent(self) -> None:
        """Send nothing any more, heartbeats included: a newer controller has led."""
        self._silent = True
        for session in self._sessions.values():
            session.fall_silent()

    def stop(self) -> None:
        """End all streams: the process is shutting down. To the core, no agent is lost by that."""
        self._stopped = True
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.replace()

    async def policy(self, requests: AsyncIterator[agent_pb2.PolicyRequest], context: Context) -> None:
        """Serve one agent's policy stream until either side ends it."""
        node = node_of(context)
        hello = (await hello_of(requests, "a policy", node, self._known_node)).hello
        if self._stopped:
            raise UnavailableError("this controller is shutting down; dial again")
        session = PolicySession(node, self._epoch, self._lease_seconds, self.counters)
        older = self._sessions.get(node)
        if older is not None:
            older.replace()
        self._sessions[node] = session
        try:
            await self._submit(PolicyConnected(node, hello.have, hello.highest_epoch))
            await self._converse(session, requests, context)
        finally:
            if self._sessions.get(node) is session:
                del self._sessions[node]
                await self._submit(PolicyDisconnected(node))
        if self._stopped:
            raise UnavailableError("this controller is shutting down; dial again")
        if session.replaced:
            raise ConflictError(f"agent '{node}' has opened a newer policy stream")

    async def _converse(
        self, session: PolicySession, requests: AsyncIterator[agent_pb2.PolicyRequest], context: Context
    ) -> None:
        reader = asyncio.create_task(self._read(session, requests), name=f"policy-read:{session.node}")
        writer = asyncio.create_task(_write(session, context), name=f"policy-write:{session.node}")
        async with ending(reader, writer) as tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _read(self, session: PolicySession, requests: AsyncIterator[agent_pb2.PolicyRequest]) -> None:
        async for request in requests:
            check(request)
            match request.WhichOneof("kind"):
                case "ack":
                    await self._answered(session, request.ack)
                case "nack":
                    await self._answered(session, request.nack)
                case _:
                    raise InvalidInputError.of("kind", "only the first message may be a hello")

    async def _answered(
        self, session: PolicySession, answer: agent_pb2.PolicyAck | agent_pb2.PolicyNack
    ) -> None:
        if self._silent:
            return
        outstanding = session.answered(answer.nonce)
        if outstanding is None:
            log.get().debug("policy_answer_ignored", node=session.node, nonce=answer.nonce)
            return
        if isinstance(answer, agent_pb2.PolicyAck):
            self.counters.acks_total += 1
            self.counters.round_trips.observe(asyncio.get_running_loop().time() - outstanding.sent_at)
            session.applied(outstanding)
            await self._submit(PolicyAcked(session.node, outstanding.digest))
        else:
            self.counters.nacks_total += 1
            await self._submit(PolicyNacked(session.node, outstanding.digest, tuple(answer.rules)))


async def _write(session: PolicySession, context: Context) -> None:
    async for response in session.responses():
        await context.write(response)
