"""The port that agents and operators dial: their services, health checking, reflection; mutual TLS."""

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from keyweave.common.grpc_errors import Interceptor
from keyweave.common.tls import SERVER_OPTIONS, TlsFiles, server_credentials
from keyweave.v1 import admin_pb2, admin_pb2_grpc, agent_pb2, agent_pb2_grpc

ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
AGENT = agent_pb2.DESCRIPTOR.services_by_name["AgentService"].full_name
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class RpcServer:
    """One controller's port. Bound once made; answers from `start` on."""

    def __init__(
        self,
        listen: str,
        tls: TlsFiles,
        interceptors: Sequence[Interceptor],
        agents: agent_pb2_grpc.AgentServiceServicer,
        admin: admin_pb2_grpc.AdminServiceServicer,
    ) -> None:
        self._server = grpc.aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
        agent_pb2_grpc.add_AgentServiceServicer_to_server(agents, self._server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, self._server)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        services = (AGENT, ADMIN, _HEALTH, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(services, self._server)
        port = self._server.add_secure_port(listen, server_credentials(tls))
        self.address = f"{listen.rpartition(':')[0]}:{port}"

    async def start(self, *, leads: bool) -> None:
        """Answer from now on; health checking tells clients whether this is the one to ask."""
        await self._server.start()
        status = health_pb2.HealthCheckResponse
        for service in (AGENT, ADMIN):
            await self._health.set(service, status.SERVING if leads else status.NOT_SERVING)
        for service in ("", _HEALTH):
            await self._health.set(service, status.SERVING)

    async def going(self) -> None:
        """Tell clients that this one will stop."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls, and end those under way after this long."""
        await self._server.stop(grace_seconds)
