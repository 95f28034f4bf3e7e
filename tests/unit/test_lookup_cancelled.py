"""A lookup that is cancelled ends, also in the moment in which its connection breaks."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from keyweave.agent.lookup import Lookup
from keyweave.agent.pairs.plane import PairPlane
from keyweave.common.names import NodeName
from keyweave.v1 import agent_pb2


class BreakingCall:
    """Raises gRPC's own error where it is cancelled, as a call does whose connection breaks just then."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()

    async def write(self, _request: agent_pb2.InspectRequest) -> None:
        """Swallow the hello."""

    async def __aiter__(self) -> AsyncIterator[agent_pb2.InspectResponse]:
        self.reading.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            metadata = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE, metadata, metadata, "broken", None
            ) from None
        yield agent_pb2.InspectResponse()


class Stub:
    def __init__(self) -> None:
        self.calls: list[BreakingCall] = []

    def Inspect(self) -> BreakingCall:  # noqa: N802  # gRPC names its methods
        self.calls.append(BreakingCall())
        return self.calls[-1]


async def test_a_lookup_cancelled_while_its_connection_breaks_does_not_dial_again(tmp_path: Path) -> None:
    ledger: Any = tmp_path  # never looked at
    stub: Any = Stub()
    pairs = PairPlane(NodeName("a"), {}, on_event=lambda _event: None)
    lookup = Lookup(ledger, agent_pb2.TelemetryHello(node="a"), pairs.bell_test)
    task = asyncio.create_task(lookup.run(stub))
    await asyncio.sleep(0)
    await stub.calls[0].reading.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=2)
    assert done, "it goes on after its cancellation"
    assert task.cancelled()
    assert len(stub.calls) == 1
