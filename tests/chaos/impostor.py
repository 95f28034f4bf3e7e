"""A controller that should not be obeyed: the real one's certificate and address, an epoch of its choice."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc

from keyweave.common.policy_digest import policy_digest
from keyweave.common.tls import SERVER_OPTIONS, TlsFiles, server_credentials
from keyweave.v1 import agent_pb2, agent_pb2_grpc


class Impostor(agent_pb2_grpc.AgentServiceServicer):
    """Pushes a snapshot to agents, one to all or each its own, and keeps what they say."""

    def __init__(
        self,
        epoch: int,
        rules: tuple[agent_pb2.Rule, ...] = (),
        *,
        by_node: Mapping[str, tuple[agent_pb2.Rule, ...]] | None = None,
    ) -> None:
        self.hellos: dict[str, agent_pb2.PolicyHello] = {}
        self.acks: dict[str, agent_pb2.PolicyAck] = {}
        self.nacks: dict[str, agent_pb2.PolicyNack] = {}
        self._epoch = epoch
        self._rules = rules
        # Only these nodes get a push, each its own.
        self._by_node = by_node
        self.events: list[tuple[str, agent_pb2.AgentEvent]] = []

    async def Telemetry(  # type: ignore[override]  # noqa: N802  # it writes, it does not yield
        self, request_iterator: Any, context: Any
    ) -> None:
        """Swallow everything, and remember the events."""
        node = ""
        async for request in request_iterator:
            node = request.hello.node or node
            if request.HasField("event"):
                self.events.append((node, request.event))
            answer = agent_pb2.TelemetryResponse(
                acked_sequence=request.sequence, credit_sequence=request.sequence + 64
            )
            await context.write(answer)

    async def Policy(  # type: ignore[override]  # noqa: N802  # it writes, it does not yield
        self, request_iterator: Any, context: Any
    ) -> None:
        """Push after the hello; keep what comes back."""
        node = ""
        async for request in request_iterator:
            match request.WhichOneof("kind"):
                case "hello":
                    node = request.hello.node
                    self.hellos[node] = request.hello
                    if self._by_node is None or node in self._by_node:
                        await context.write(self._push((self._by_node or {}).get(node, self._rules)))
                case "ack":
                    self.acks[node] = request.ack
                case "nack":
                    self.nacks[node] = request.nack

    async def Inspect(  # type: ignore[override]  # noqa: N802  # it asks nothing
        self, request_iterator: Any, context: Any
    ) -> None:
        """Listen, and ask nothing."""
        async for _ in request_iterator:
            pass

    def reasons(self, node: str, kind: agent_pb2.AgentEventKind) -> list[str]:
        """What a node gave as reasons in its events of a kind."""
        return [event.reason for name, event in self.events if (name, event.kind) == (node, kind)]

    def _push(self, rules: tuple[agent_pb2.Rule, ...]) -> agent_pb2.PolicyResponse:
        version = agent_pb2.PolicyVersion(epoch=self._epoch, version=10**6, digest=policy_digest(rules))
        return agent_pb2.PolicyResponse(
            nonce=1, version=version, lease_seconds=10, snapshot=agent_pb2.PolicySnapshot(rules=rules)
        )


@asynccontextmanager
async def reigning(impostor: Impostor, address: str, tls: TlsFiles) -> AsyncIterator[Impostor]:
    """The impostor, reachable where agents look for the controller."""
    server = grpc.aio.server(options=list(SERVER_OPTIONS))
    agent_pb2_grpc.add_AgentServiceServicer_to_server(impostor, server)
    server.add_secure_port(address, server_credentials(tls))
    await server.start()
    try:
        yield impostor
    finally:
        await server.stop(0)
