"""Health for whoever watches over processes: Kubernetes' probes, Docker, load balancers.

They have no certificate of the control plane and no way to present one, so this is a port of its own: gRPC
health checking (grpc.health.v1) in plain text and nothing else. It tells two bits to whoever can reach it:
the process lives, it is ready. Off unless configured.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from keyweave.common import log
from keyweave.common.errors import InvalidInputError

# The service to ask for readiness. The empty name, the server as a whole, is alive as long as it answers.
READY = "ready"
# Whether the database answers that controllers share; of other processes this is not known.
DATABASE = "database"
# Calls at once; a prober needs one. Nobody is known here, so nobody may hold more.
CALLS_AT_ONCE = 16
_OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 4096))


class Health:
    """What is told; not ready until `ready` says so."""

    def __init__(self) -> None:
        self._servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs

    async def ready(self, value: bool) -> None:
        """From now on the process does, or does not do, its work."""
        status = health_pb2.HealthCheckResponse
        await self._servicer.set(READY, status.SERVING if value else status.NOT_SERVING)

    async def database(self, value: bool) -> None:
        """From now on the database does, or does not, answer."""
        status = health_pb2.HealthCheckResponse
        await self._servicer.set(DATABASE, status.SERVING if value else status.NOT_SERVING)

    @classmethod
    @asynccontextmanager
    async def served(cls, listen: str | None) -> AsyncIterator["Health"]:
        """Answer at `listen` while in the context; with None nobody is answered."""
        health_of_process = cls()
        await health_of_process.ready(False)
        if listen is None:
            yield health_of_process
            return
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=CALLS_AT_ONCE)
        health_pb2_grpc.add_HealthServicer_to_server(health_of_process._servicer, server)
        try:
            port = server.add_insecure_port(listen)
        except RuntimeError as error:
            raise InvalidInputError.of(
                "health_listen", f"{listen} cannot be bound ({error}); is another process using the port?"
            ) from None
        await health_of_process._servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        await server.start()
        log.get().info("health_served", address=f"{listen.rpartition(':')[0]}:{port}")
        try:
            yield health_of_process
        finally:
            await server.stop(0)
