"""The agent's streams to the controller: telemetry up, policy down, lookups. It dials, and comes back."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING

import grpc
from grpc_status import rpc_status

from keyweave.agent.drivers.base import DeviceReport
from keyweave.agent.endpoints import Endpoints
from keyweave.agent.guard.model import Guard
from keyweave.agent.policy import PolicyRefusedError, PolicyStore, next_policy
from keyweave.agent.ring import Ring
from keyweave.common import log
from keyweave.common.cancellation import raise_if_cancelled
from keyweave.common.errors import InvalidInputError, leader_named_by
from keyweave.common.file_watch import FileWatch
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.common.tls import TlsFiles, secure_channel
from keyweave.v1 import agent_pb2, agent_pb2_grpc

if TYPE_CHECKING:  # generic in grpc's stubs only
    _TelemetryCall = grpc.aio.StreamStreamCall[agent_pb2.TelemetryRequest, agent_pb2.TelemetryResponse]
    _PolicyCall = grpc.aio.StreamStreamCall[agent_pb2.PolicyRequest, agent_pb2.PolicyResponse]

RECONNECT_CAP_SECONDS = 5.0
RENEW_JITTER_SECONDS = 2.0
CONTROLLER = Identity(Plane.CONTROL, Role.CONTROLLER, "controller")


class _StreamEndedError(Exception):
    """One of the two streams is over: both are begun again."""


class _HelloChangedError(Exception):
    """What the hello says has changed: the telemetry stream is begun again."""


class _RenewedError(Exception):
    """Our certificate was replaced: the next connection shows the new one."""


class _GarbageError(Exception):
    """The controller sent what does not parse."""


class Uplink:
    """The connection to the controller."""

    def __init__(
        self,
        node: NodeName,
        endpoints: Endpoints,
        tls: TlsFiles,
        hello: agent_pb2.TelemetryHello,
        policies: PolicyStore,
        *,
        interval_seconds: float,
        observe: Callable[[agent_pb2.TelemetryBatch], None],
        on_policy: Callable[[], Awaitable[None]],
        files: FileWatch,
        lookup: Callable[["agent_pb2_grpc.AgentServiceAsyncStub"], Coroutine[None, None, None]],
        guard: Callable[[], Guard],
    ) -> None:
        self.ring = Ring()
        self.connected = False
        self.lease_ends = 0.0
        self.policies_refused_total = 0
        self._node = node
        self._endpoints = endpoints
        self._tls = tls
        self._hello = hello
        self._policies = policies
        self._interval = interval_seconds
        self._observe = observe
        self._on_policy = on_policy
        self._files = files
        self._lookup = lookup
        self._guard = guard
        self._hello_is_old = False
        self._reports: dict[str, list[agent_pb2.LinkSamples]] = {}
        self._credit = 0
        self._work = asyncio.Event()
        self._lease_renewed = asyncio.Event()

    def report(self, report: DeviceReport) -> None:
        """A device measured something; it goes with the next batch."""
        self._reports.setdefault(report.samples.link, []).append(report.samples)

    def event(self, event: agent_pb2.AgentEvent) -> None:
        """Something happened; it goes at once."""
        if not event.time_unix_nanos:
            event.time_unix_nanos = time.time_ns()
        self.ring.add_event(event)
        self._work.set()

    def say_hello_again(self) -> None:
        """What the hello says has changed: begin the telemetry stream anew."""
        self._hello_is_old = True
        self._work.set()

    async def run(self) -> None:
        """Keep the connection up, with full-jitter backoff between attempts, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._batch(), name="telemetry-batches")
            group.create_task(self._watch_lease(), name="policy-lease")
            while True:
                started = time.monotonic()
                reason = await self._connection()
                raise_if_cancelled()
                self.connected = False
                lasted = time.monotonic() - started > RECONNECT_CAP_SECONDS
                rounds = self._endpoints.failed(lasted=lasted)
                log.get().info("controller_lost", reason=reason, next=self._endpoints.current)
                # Full jitter: after a controller's restart its agents must not come back all at once.
                await asyncio.sleep(random.uniform(0, min(RECONNECT_CAP_SECONDS, 0.1 * 2**rounds)))  # noqa: S311

    async def _connection(self) -> str:
        """One connection, until it breaks; returns why."""
        reason = "the streams ended"
        try:
            async with secure_channel(self._endpoints.current, self._tls, CONTROLLER) as channel:
                stub: agent_pb2_grpc.AgentServiceAsyncStub = agent_pb2_grpc.AgentServiceStub(channel)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._telemetry(stub), name="telemetry-stream")
                    group.create_task(self._until_renewed(), name="uplink-renewal")
                    group.create_task(self._lookup(stub), name="lookup-stream")
                    # In the body, not a second task: see raise_if_cancelled.
                    await self._policy(stub)
        except* _StreamEndedError:
            reason = "the controller ended a stream"
        except* grpc.aio.AioRpcError as errors:
            reason = "; ".join(_describe(error) for error in errors.exceptions)
            for error in errors.exceptions:
                self._endpoints.told(_leader_of(error))
        except* _RenewedError:
            reason = "the certificate was replaced"
        except* (OSError, InvalidInputError) as errors:
            reason = "; ".join(str(error) for error in errors.exceptions)
        except* (asyncio.InvalidStateError, grpc.aio.UsageError):
            reason = "the connection broke while writing"
        except* _GarbageError:
            reason = "the controller sent bytes that are no message"
        return reason

    async def _until_renewed(self) -> None:
        await self._files.changed(self._tls.paths)
        # Agents whose certificates are replaced all at once must not all come back at once.
        await asyncio.sleep(random.uniform(0, RENEW_JITTER_SECONDS))  # noqa: S311
        raise _RenewedError

    # ---- telemetry ----------------------------------------------------------------------------

    async def _batch(self) -> None:
        """Turn what was reported into one batch an interval."""
        while True:
            await asyncio.sleep(self._interval)
            batch = agent_pb2.TelemetryBatch()
            for samples in self._reports.values():
                batch.links.extend(samples)
            self._reports = {}
            self._observe(batch)
            self.ring.add_batch(batch)
            self._work.set()

    async def _telemetry(self, stub: "agent_pb2_grpc.AgentServiceAsyncStub") -> None:
        while True:
            try:
                await self._tell(stub)
            except* _HelloChangedError:
                # The policy stream goes on: the agent is not lost.
                raise_if_cancelled()
                log.get().info("hello_again")

    async def _tell(self, stub: "agent_pb2_grpc.AgentServiceAsyncStub") -> None:
        call = stub.Telemetry()  # type: ignore[call-arg]  # written to, not iterated over
        self.ring.rewind()
        # A controller that has just started knows no sequence: the first message tells it, without credit.
        self._credit = self.ring.first_sequence
        self._hello_is_old = False
        await call.write(agent_pb2.TelemetryRequest(hello=self._hello))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send(call), name="telemetry-send")
            async for response in call:
                _refuse_garbage(response)
                self.connected = True
                self.ring.acked(response.acked_sequence)
                self._credit = max(self._credit, response.credit_sequence)
                self._work.set()
            raise _StreamEndedError

    async def _send(self, call: "_TelemetryCall") -> None:
        while True:
            self._work.clear()
            while (request := self.ring.next(self._credit)) is not None:
                await call.write(request)
            if self._hello_is_old:
                raise _HelloChangedError
            await self._work.wait()

    # ---- policy -------------------------------------------------------------------------------

    async def _policy(self, stub: "agent_pb2_grpc.AgentServiceAsyncStub") -> None:
        call = stub.Policy()  # type: ignore[call-arg]  # written to, not iterated over
        hello = agent_pb2.PolicyHello(
            node=self._node,
            incarnation=self._hello.incarnation,
            have=self._policies.policy.as_version(),
            highest_epoch=self._policies.highest_epoch,
        )
        await call.write(agent_pb2.PolicyRequest(hello=hello))
        async for push in call:
            _refuse_garbage(push)
            answer = await self._take(push)
            if answer is not None:
                await call.write(answer)
        raise _StreamEndedError

    async def _take(self, push: agent_pb2.PolicyResponse) -> agent_pb2.PolicyRequest | None:
        """Apply a push, durably and whole, or refuse it."""
        current = self._policies.policy
        try:
            policy = next_policy(self._node, current, self._policies.highest_epoch, push, self._guard())
        except PolicyRefusedError as error:
            self.policies_refused_total += 1
            log.get().warning("policy_refused", epoch=push.version.epoch, reason=str(error))
            await self._policies.note_epoch(push.version.epoch)
            self.event(
                agent_pb2.AgentEvent(kind=agent_pb2.AGENT_EVENT_KIND_POLICY_REFUSED, reason=str(error)[:1000])
            )
            return agent_pb2.PolicyRequest(
                nack=agent_pb2.PolicyNack(nonce=push.nonce, version=push.version, rules=error.rules)
            )
        if (policy.epoch, policy.version) != (current.epoch, current.version):
            await self._policies.save(policy)
            await self._on_policy()
        self.lease_ends = time.monotonic() + push.lease_seconds
        self._lease_renewed.set()
        if push.WhichOneof("kind") == "heartbeat":
            return None
        return agent_pb2.PolicyRequest(ack=agent_pb2.PolicyAck(nonce=push.nonce, version=policy.as_version()))

    async def _watch_lease(self) -> None:
        """Say once when the lease has run out; what policy allows goes on."""
        while True:
            await self._lease_renewed.wait()
            self._lease_renewed.clear()
            try:
                async with asyncio.timeout(max(0.0, self.lease_ends - time.monotonic())):
                    await self._lease_renewed.wait()
            except TimeoutError:
                log.get().warning("policy_lease_expired")
                self.event(
                    agent_pb2.AgentEvent(
                        kind=agent_pb2.AGENT_EVENT_KIND_LEASE_EXPIRED,
                        reason="no controller renewed it; the last policy stays in force",
                    )
                )


def _refuse_garbage(message: object) -> None:
    # For bytes that do not parse gRPC logs an error and hands on None, whatever its types say.
    if message is None:
        raise _GarbageError


def _leader_of(error: BaseException) -> str | None:
    """Where a controller that stands by says that the leader is."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, grpc.aio.AioRpcError):
        return None
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # has all that a call has
    except ValueError:
        return None  # details that do not say what the status says
    return leader_named_by(status) if status is not None else None


def _describe(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return (
        f"{error.code().name}: {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else str(error)
    )


def new_incarnation() -> bytes:
    """What tells this start of the process from every other."""
    return os.urandom(16)
