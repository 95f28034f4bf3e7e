"""`keyweave health`: what a container's health check runs, where nothing speaks gRPC to the port itself."""

import asyncio
from typing import Annotated

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from keyweave.cli.exits import ExitCode, UnreachableError
from keyweave.common.health import READY

Address = Annotated[
    str, typer.Argument(help="host:port of the process's `health_listen`.", envvar="KEYWEAVE_HEALTH_ADDRESS")
]
Alive = Annotated[bool, typer.Option("--alive", help="Only whether it lives, not whether it is ready.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for an answer.", min=0.1, max=60)]


def health(address: Address = "127.0.0.1:21004", alive: Alive = False, timeout: Timeout = 3.0) -> None:
    """Ask a process whether it is ready: exit code 0 if so, 3 if not (yet), 5 if it does not answer."""
    status = asyncio.run(_ask(address, "" if alive else READY, timeout))
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(status)
    typer.echo(name.lower().replace("_", " "))
    if status != health_pb2.HealthCheckResponse.SERVING:
        raise typer.Exit(ExitCode.DEGRADED)


async def _ask(address: str, service: str, patience: float) -> "health_pb2.HealthCheckResponse.ServingStatus":
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=patience)
        except grpc.aio.AioRpcError as error:
            raise UnreachableError(f"{address}: {error.code().name}: {error.details()}") from None
        return answer.status
