"""A controller that should not be obeyed: the real one's certificate and address, an epoch of its choice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from keyweave.common.policy_digest import policy_digest
from keyweave.common.tls import SERVER_OPTIONS, TlsFiles, server_credentials
from keyweave.v1 import agent_pb2, agent_pb2_grpc


class Impostor(agent_pb2_grpc.AgentServiceServicer):
    """Pushes one snapshot to every agent and keeps their answers."""

    def __init__(self, epoch: int, rules: tuple[agent_pb2.Rule, ...] = ()) -> None:
        self.hellos: dict[str, agent_pb2.PolicyHello] = {}
        self.acks: dict[str, agent_pb2.PolicyAck] = {}
        self.nacks: dict[str, agent_pb2.PolicyNack] = {}
        self._epoch = epoch
        self._rules = rules

    async def Telemetry(  # type: ignore[override]  # noqa: N802  # it writes, it does not yield
        self, request_iterator: Any, context: Any
    ) -> None:
        """Swallow everything."""
        async for request in request_iterator:
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
                    await context.write(self._push())
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

    def _push(self) -> agent_pb2.PolicyResponse:
        version = agent_pb2.PolicyVersion(epoch=self._epoch, version=10**6, digest=policy_digest(self._rules))
        return agent_pb2.PolicyResponse(
            nonce=1, version=version, lease_seconds=10, snapshot=agent_pb2.PolicySnapshot(rules=self._rules)
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
