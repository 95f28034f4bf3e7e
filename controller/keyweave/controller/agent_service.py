# ruff: noqa: N802  # gRPC names its methods
"""What agents call: the three streams of the protocol, each where it is handled."""

from collections.abc import AsyncIterator
from typing import Any

from keyweave.controller.ingest import TelemetryIntake
from keyweave.controller.inspection import Inspection
from keyweave.controller.push import PolicyPusher
from keyweave.v1 import agent_pb2, agent_pb2_grpc

# A grpc.aio servicer context; the generated stubs know only one that is synchronous as well.
Context = Any


class AgentService(agent_pb2_grpc.AgentServiceServicer):
    """Hands each stream on. Errors go through keyweave.common.grpc_errors.ErrorInterceptor."""

    def __init__(self, intake: TelemetryIntake, pusher: PolicyPusher, inspection: Inspection) -> None:
        self._intake = intake
        self._pusher = pusher
        self._inspection = inspection

    async def Telemetry(  # type: ignore[override]  # the stubs know only generators; grpc.aio takes both
        self, request_iterator: AsyncIterator[agent_pb2.TelemetryRequest], context: Context
    ) -> None:
        """Measurements, alarms and reports up; acknowledgements and credit down."""
        await self._intake.telemetry(request_iterator, context)

    async def Policy(  # type: ignore[override]
        self, request_iterator: AsyncIterator[agent_pb2.PolicyRequest], context: Context
    ) -> None:
        """Desired state down; what the agent has, applied or refused, up."""
        await self._pusher.policy(request_iterator, context)

    async def Inspect(  # type: ignore[override]
        self, request_iterator: AsyncIterator[agent_pb2.InspectRequest], context: Context
    ) -> None:
        """Queries down; pages of answers up."""
        await self._inspection.inspect(request_iterator, context)
